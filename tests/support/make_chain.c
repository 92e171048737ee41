/* make_chain DIR N SEED: publish a full version and N deltas on it into DIR, then write the same
 * model as a full version again, for tests that are scripts. */
#include "tests/support/chain_world.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct chain_world w;
    struct version_chain *chain = NULL;
    struct version_info info;
    if (argc != 4) {
        (void)fprintf(stderr, "usage: make_chain DIR N SEED\n");
        return 2;
    }
    unsigned long seed = strtoul(argv[3], NULL, 10);
    chain_world_init(&w, seed, seed % 2 == 0, seed % 3 == 0);
    chain_world_write(&w, argv[1], &chain, false, true, &info);
    for (unsigned long i = strtoul(argv[2], NULL, 10); i > 0; i--) {
        chain_world_step(&w, 4);
        chain_world_write(&w, argv[1], &chain, true, true, &info);
    }
    (void)printf("%s ", info.name);
    chain_world_write(&w, argv[1], &chain, false, false, &info);
    (void)printf("%s %s\n", info.name, info.digest);
    version_chain_close(chain);
    return 0;
}
