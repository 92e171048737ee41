/* version_overlay.h: where the newest row of an id lies that deltas changed.
 *
 * An overlay of a table is a short stack of runs: immutable open-addressing tables id -> (part of
 * the chain, row in it) of a delta or of several put together, the newest on top.  Runs are shared
 * by reference count.  A new delta is pushed as a run of its own; while the run below is at most
 * FACTOR times as large as the top, both become one.  So a stack over n changes has about
 * log(n)/log(FACTOR) runs, a lookup looks into each at most once, and a change is copied a few
 * times in its life instead of with every delta.
 *
 * A run is immutable and its count atomic: any thread may read; a stack is of one owner. */
#ifndef UNDINE_LEARNER_MODEL_VERSION_OVERLAY_H
#define UNDINE_LEARNER_MODEL_VERSION_OVERLAY_H

#include "learner/model/version_reader.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { VERSION_RUNS_MAX = 20 };
#define VERSION_ROW_GONE UINT32_MAX

struct version_slot {
    uint64_t key;
    uint32_t part; /* 0 = free: part 0 of a chain is the full version */
    uint32_t row;  /* VERSION_ROW_GONE = the id has no row any more */
};

struct version_run {
    atomic_uint refs;
    uint64_t n, mask;
    struct version_slot slot[]; /* (mask + 1) slot hash_mix64(key) & mask and onwards */
};

struct version_overlay {
    uint32_t n;                                /* 0 = nothing is changed */
    struct version_run *run[VERSION_RUNS_MAX]; /* the newest last */
};

/* The newest entry of an id, NULL where no delta has it. */
static inline const struct version_slot *version_overlay_find(const struct version_overlay *o,
                                                              uint64_t key)
{
    uint64_t hash = o->n > 0 ? hash_mix64(key) : 0;
    for (uint32_t i = o->n; i > 0; i--) {
        const struct version_run *run = o->run[i - 1];
        uint64_t at = hash & run->mask;
        for (; run->slot[at].part != 0; at = (at + 1) & run->mask) {
            if (run->slot[at].key == key) {
                return &run->slot[at];
            }
        }
    }
    return NULL;
}

/* Ask for what version_overlay_find will look at. */
static inline void version_overlay_prefetch(const struct version_overlay *o, uint64_t key)
{
    uint64_t hash = o->n > 0 ? hash_mix64(key) : 0;
    for (uint32_t i = 0; i < o->n; i++) {
        __builtin_prefetch(&o->run[i]->slot[hash & o->run[i]->mask]);
    }
}

/* Put the changes of table t of a delta, part `part` (> 0) of the chain, on top. */
int version_overlay_push(struct version_overlay *o, const struct version_table *t, uint32_t part,
                         struct undine_err *err);
/* to: empty. */
void version_overlay_share(struct version_overlay *to, const struct version_overlay *from);
void version_overlay_release(struct version_overlay *o); /* fine on a zeroed one */

#endif
