/* make_version DIR [MODEL [FLAG...]]: publish a small version into DIR, for tests that are scripts.
 * MODEL: options as in a manifest, {} for the small model; flags as in version_fixture.h. */
#include "tests/support/version_fixture.h"

#include <stdio.h>
#include <string.h>

static struct model_options wanted;

static void take_wanted(struct model_options *o)
{
    wanted.seed = o->seed;
    *o = wanted;
}

static bool set_flag(struct version_fixture *f, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"own_tables", &f->own_tables},
                 {"shared", &f->shared},
                 {"two_sequences", &f->two_sequences},
                 {"spread", &f->spread}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strcmp(name, flags[i].name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    struct version_fixture f = {.seed = 31, .n_rows = 12, .trained_seq = 100};
    struct version_info info;
    struct undine_err err = {0};
    bool good = argc >= 2;
    if (argc > 2 && strcmp(argv[2], "{}") != 0) {
        good = model_options_from_json(&wanted, argv[2], &err) == UNDINE_OK;
        f.form = take_wanted;
    }
    for (int i = 3; i < argc; i++) {
        good = good && set_flag(&f, argv[i]);
    }
    if (!good) {
        (void)fprintf(stderr, "usage: make_version DIR [MODEL [FLAG...]]\n%s\n", err.msg);
        return 2;
    }
    version_fixture_write(argv[1], &f, true, &info);
    (void)printf("%s %s\n", info.name, info.digest);
    return 0;
}
