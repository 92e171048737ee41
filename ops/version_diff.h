/* version_diff.h: what is different between two versions, full or delta: rows of tables and dense
 * tensors.
 *
 * Rows are walked in the order of their ids in both at once: time in proportion to both, memory to
 * what deltas changed.  Of a table that only one has, or that has another width, all rows are added
 * and removed.  One thread. */
#ifndef UNDINE_OPS_VERSION_DIFF_H
#define UNDINE_OPS_VERSION_DIFF_H

#include "learner/model/version_chain.h"

enum { VERSION_DIFF_TOP_MAX = 1000 };

struct version_diff_row { /* one that is in both and not equal */
    uint64_t key;
    double distance, norm_a, norm_b; /* Euclidean */
};

struct version_diff_table {
    char name[SCHEMA_NAME_MAX];
    bool in_a, in_b;
    uint32_t width_a, width_b;
    uint64_t rows_a, rows_b, added, removed, moved;
    double distance_sum, distance_max; /* of those that moved */
    struct version_diff_row *top;      /* (n_top) farthest first, equal ones by key */
    uint32_t n_top;
};

struct version_diff_tensor {
    char name[SAFETENSORS_NAME_MAX];
    bool in_a, in_b, same_shape;
    uint64_t elements;               /* of a, or of b where a has none */
    double norm_a, norm_b, distance; /* distance: where the shapes are the same */
    double largest;                  /* absolute difference of an element */
};

struct version_diff {
    bool equal; /* the models: their digests */
    uint32_t n_tables;
    struct version_diff_table table[2 * SCHEMA_TABLES_MAX];
    uint32_t n_tensors;
    struct version_diff_tensor *tensor;
};

/* top: rows listed of each table, at most VERSION_DIFF_TOP_MAX.  UNDINE_ENOMEM. */
int version_diff_make(struct version_diff *out, const struct version_chain *a,
                      const struct version_chain *b, uint32_t top, struct undine_err *err);
void version_diff_release(struct version_diff *d); /* fine on a zeroed one */

#endif
