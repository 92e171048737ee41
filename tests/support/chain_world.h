/* chain_world.h: a small model that changes at random, for tests of deltas: rows change, go and
 * come back, ids wait and stop waiting, the dense part moves.  What it is now can be taken whole or
 * as what changed since it was taken last. */
#ifndef UNDINE_TESTS_SUPPORT_CHAIN_WORLD_H
#define UNDINE_TESTS_SUPPORT_CHAIN_WORLD_H

#include "base/random.h"
#include "learner/version.h"

enum { CHAIN_WORLD_IDS = 24, CHAIN_WORLD_TABLES = 5, CHAIN_WORLD_WIDTH = 16 };

struct chain_world_row {
    uint64_t key;
    bool there, changed; /* changed: since the state was taken last */
    float weight[CHAIN_WORLD_WIDTH], slot[CHAIN_WORLD_WIDTH], count;
    uint32_t seen_day, stamp;
};

struct chain_world {
    struct random random;
    uint64_t step;
    bool waiting, shared; /* has ids that wait; has a row of the id 0 */
    float dense;          /* added to every dense parameter */
    struct chain_world_row row[CHAIN_WORLD_TABLES][CHAIN_WORLD_IDS];
    struct chain_world_row wait[CHAIN_WORLD_TABLES][CHAIN_WORLD_IDS];
};

void chain_world_init(struct chain_world *w, uint64_t seed, bool waiting, bool shared);
/* About one in `one_in` of all rows changes, goes or comes. */
void chain_world_step(struct chain_world *w, uint32_t one_in);
/* Rows in an order of their own; the caller frees it.  Both forget what changed. */
struct snapshot *chain_world_full(struct chain_world *w);
struct snapshot *chain_world_delta(struct chain_world *w);
/* The same as chain_world_full, and nothing is forgotten. */
struct snapshot *chain_world_look(const struct chain_world *w);

/* Asserts that both are the same to the last bit. */
void chain_world_same(const struct snapshot *a, const struct snapshot *b);

/* Write what the world is, as a full version or as a delta on *chain, open it beside *chain and put
 * it there. */
void chain_world_write(struct chain_world *w, const char *dir, struct version_chain **chain,
                       bool delta, bool publish, struct version_info *info);

#endif
