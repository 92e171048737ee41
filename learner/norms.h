/* norms.h: how large the weights of a model are: norms of the embedding rows by table, and of the
 * dense parameters tensor by tensor.
 *
 * Computed when a version is made or read, from its sorted snapshot: no work for the thread that
 * learns, and a function of the model alone. */
#ifndef UNDINE_LEARNER_NORMS_H
#define UNDINE_LEARNER_NORMS_H

#include "learner/snapshot.h"

enum { NORMS_QUANTILES = 3 };
extern const double NORMS_QUANTILE[NORMS_QUANTILES]; /* .01 .5 .99 */

/* Of the Euclidean norms of a table's embeddings, without the weight of a linear part; NaN where it
 * has no rows.  Rows with a norm that is not finite are left out of all but `rows`. */
struct norms_table {
    char name[SCHEMA_NAME_MAX];
    uint64_t rows;
    double mean, largest;
    double quantile[NORMS_QUANTILES]; /* within 1/16 of the value; 0 below 2^-24 (octaves.h) */
};
/* Euclidean norm of a trained dense tensor, and its largest absolute value. */
struct norms_tensor {
    char name[sizeof((struct snapshot_array *)0)->name];
    double norm, largest;
};
struct norms {
    uint32_t n_tables, n_tensors;
    struct norms_table table[SCHEMA_TABLES_MAX];
    struct norms_tensor tensor[SNAPSHOT_ARRAYS_MAX];
};

/* s: sorted.  Dice's moving statistics are no weights and are left out. */
void norms_of(struct norms *out, const struct snapshot *s);
/* Into s->norms, and as JSON into s->norms_json:
 * {"tables":{NAME:{"mean":,"largest":,"p01":,"p50":,"p99":}},"tensors":{NAME:{"norm":,"largest":}}},
 * what is no number null.  UNDINE_ENOMEM. */
int norms_attach(struct snapshot *s, struct undine_err *err);

#endif
