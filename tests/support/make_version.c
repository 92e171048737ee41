/* make_version DIR: publish a small version into DIR, for tests that are scripts. */
#include "tests/support/version_fixture.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct version_fixture f = {.seed = 31, .n_rows = 12, .trained_seq = 100};
    struct version_info info;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: make_version DIR\n");
        return 2;
    }
    version_fixture_write(argv[1], &f, true, &info);
    (void)printf("%s %s\n", info.name, info.digest);
    return 0;
}
