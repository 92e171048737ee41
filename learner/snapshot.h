/* snapshot.h: everything that a model is at one moment, in plain arrays, ready to be written or
 * compared.  The learner fills one at a batch boundary and gives it away; the publisher owns it
 * from then on, so nothing in it points into the learner.  One that version_load made has the rows
 * of its tables, and of what waits, where they lie in the version's files: sorted, and read only.
 */
#ifndef UNDINE_LEARNER_SNAPSHOT_H
#define UNDINE_LEARNER_SNAPSHOT_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/schema.h"
#include "learner/model/model.h"
#include "learner/model/model_digest.h"
#include "learner/model/row.h"

#include <stdbool.h>

struct norms;
struct version_chain;

struct snapshot_table {
    char name[SCHEMA_NAME_MAX];
    uint32_t dim, n_slots; /* n_slots: floats of optimizer state a row */
    uint64_t n_rows;
    uint64_t *key; /* (n) ascending after snapshot_sort */
    float *weight; /* (n, dim) */
    float *raw;    /* (n, dim) weights as the trainer keeps them, NULL where `weight` is that */
    float *slot;   /* (n, n_slots), NULL if none */
    float *count;  /* (n) n_j */
    uint32_t *seen_day; /* (n) event day of the last touch */
    uint32_t *stamp;    /* (n) training step of the last touch */
    uint64_t n_removed; /* of a delta; else 0 */
    uint64_t
        *removed; /* (n_removed) ids that have no row any more, whether the base has one or
                     not, ascending and each once after snapshot_sort; none of them is in key */
    struct snapshot_table *older; /* of a delta: rows copied before these, of which those that are
                                     neither here nor removed count; NULL after snapshot_sort */
};

/* Named arrays of anything else: optimizer state of the dense part, metric state. */
enum snapshot_type { /* as enum safetensors_type */
                     SNAPSHOT_F32,
                     SNAPSHOT_F64,
                     SNAPSHOT_U64,
                     SNAPSHOT_U32,
                     SNAPSHOT_U8,
                     SNAPSHOT_I64
};
struct snapshot_array {
    char name[96];
    enum snapshot_type type;
    uint64_t rows, cols; /* cols 0 = one dimension */
    void *data;
};

enum {
    SNAPSHOT_ARRAYS_MAX = 1024
}; /* train: 250 of the optimizer, 128 of slices, 128 frozen, 40 */
/* A delta is everything but the rows that did not change: its tables, and what waits, hold the rows
 * that were made or touched since the snapshot that the learner gave away before, its base, and the
 * ids that went since then.  Arrays, counts and metrics are whole once shadow_settle has turned
 * logs into arrays.  Base and delta are together the snapshot that would have been taken instead.
 */
struct snapshot {
    bool delta;
    struct schema schema;
    struct model_options model;
    struct row_init row_init[SCHEMA_TABLES_MAX];
    uint64_t trained_seq;  /* examples below it are learned */
    int64_t event_time_ms; /* emit time of the newest learned example */
    uint64_t examples, positives, batches;
    uint32_t n_tables;
    struct snapshot_table table[SCHEMA_TABLES_MAX];
    uint32_t n_waiting;                               /* n_tables with admission, else 0 */
    struct snapshot_table waiting[SCHEMA_TABLES_MAX]; /* ids that wait for a row: no weights */
    uint32_t n_dense; /* model parameters and statistics: model.safetensors */
    struct snapshot_array dense[SNAPSHOT_ARRAYS_MAX];
    uint32_t n_train; /* what only the trainer needs: train.safetensors */
    struct snapshot_array train[SNAPSHOT_ARRAYS_MAX];
    char *metrics_json;  /* snapshot_metrics_attach: progressive metrics at this moment, for the
                            manifest */
    struct norms *norms; /* norms_attach; version_write does both */
    char *norms_json;
    struct arena memory;          /* owns all of the above, but what lies in: */
    struct version_chain *mapped; /* owned; NULL = nothing does */
};

struct snapshot *snapshot_new(void);
void snapshot_free(struct snapshot *s);
/* As new, with the memory that it has.  NULL-safe. */
void snapshot_clear(struct snapshot *s);
/* Add an array of n = rows * max(cols, 1) elements, uninitialised; returns its data or NULL. */
void *snapshot_dense(struct snapshot *s, const char *name, enum snapshot_type t, uint64_t rows,
                     uint64_t cols);
void *snapshot_train(struct snapshot *s, const char *name, enum snapshot_type t, uint64_t rows,
                     uint64_t cols);
const struct snapshot_array *snapshot_find(const struct snapshot_array *a, uint32_t n,
                                           const char *name);
size_t snapshot_type_bytes(enum snapshot_type t);
uint64_t snapshot_array_bytes(const struct snapshot_array *a);
/* Sort the rows of every table, and what waits, by key, in place; what lies in pieces is one table
 * then.  UNDINE_ENOMEM, UNDINE_ECORRUPT
 * (an id twice). */
int snapshot_sort(struct snapshot *s, struct undine_err *err);
/* model_digest (learner/model/model_digest.h) of tables and dense arrays: equal for equal models,
 * and the same from a version on disk.  Rows may stand in any order.  Not of a delta. */
struct hash128 snapshot_digest(const struct snapshot *s);
/* The same where the sums of the tables' rows are known; of a delta those of the whole model. */
struct hash128 snapshot_digest_of(const struct snapshot *s, const struct model_digest_rows *rows);

#endif
