/* merge_plan.h: where the rows of a model lie in the parts of its chain, in the order of their ids.
 *
 * A plan is a list of pieces, runs of rows that stand behind one another in one part's files too.
 * Whoever copies the pieces of a column one after the other has the column as a full version has
 * it. What no delta touched stays in long runs, so a plan is as large as the changes are, not as
 * the model is.  Made by merging the ascending ids of all parts at once; where several have an id,
 * the newest part's word holds.  One thread. */
#ifndef UNDINE_LEARNER_MERGE_PLAN_H
#define UNDINE_LEARNER_MERGE_PLAN_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Ids of a part, the full version first: both lists ascending, nothing in both. */
struct merge_source {
    const uint64_t *key, *removed;
    uint64_t n, n_removed;
};

struct merge_piece {
    uint32_t part, row, n;
};

struct merge_plan {
    struct merge_piece *piece;
    size_t n_pieces, capacity;
    uint64_t n_rows;
};

/* UNDINE_ENOMEM. */
int merge_plan_make(struct merge_plan *out, const struct merge_source *source, uint32_t n_sources,
                    struct undine_err *err);
void merge_plan_release(struct merge_plan *p); /* fine on a zeroed one */

#endif
