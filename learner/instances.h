/* instances.h: n_j, the number of instances that hold an id: what MBA divides by (DIN, arXiv
 * 1706.06978v4, Eq. 4-7).
 *
 * An instance counts once for an id, however often it holds it and wherever (history or candidate,
 * since they share the table).  A row's own counter (table_row.count) grows by this batch's
 * instances before the update, so n_j >= 1; as a float it stands still at 2^24 single steps.
 *   running    all instances so far: over N of them the decay is rate lambda H_N, not rate lambda
 *   window     so far, but what is older counts `decay` times less with every period of `window`
 *              examples: rate lambda for each effective window, on a stream without end
 *   projected  max(n_j, n_j S / s): what a pass of S = `epoch` examples will hold, judged by the
 *              s seen so far; rate lambda for a stationary id over that pass
 *   fixed      n_j of a finished pass (paper-exact), read from a version of it; 1 for other ids
 *
 * A window's decay is owed until the row's next touch: its stamp tells how many periods began since
 * (a period is counted in examples, and the steps at which periods began are remembered, as many as
 * can still matter).  Learner thread. */
#ifndef UNDINE_LEARNER_INSTANCES_H
#define UNDINE_LEARNER_INSTANCES_H

#include "base/schema.h"
#include "learner/chain_columns.h"
#include "learner/snapshot.h"
#include "learner/table.h"

enum instances_mode { INSTANCES_RUNNING, INSTANCES_WINDOW, INSTANCES_PROJECTED, INSTANCES_FIXED };

enum { INSTANCES_PATH_MAX = 1024 };

struct instances_options {
    enum instances_mode mode;
    uint64_t window;                 /* examples */
    double decay;                    /* in (0, 0.999] */
    uint64_t epoch;                  /* S, examples */
    char counts[INSTANCES_PATH_MAX]; /* directory of a version with its train file */
};

struct instances {
    const struct instances_options *opt; /* borrowed */
    uint32_t *start; /* (n) first step of each period but the oldest, ascending */
    uint32_t n, capacity;
    uint64_t next_examples;      /* the period that begins once so many examples are learned */
    struct version_chain *known; /* fixed */
    struct chain_column count[SCHEMA_TABLES_MAX]; /* fixed: numbers of its rows */
    uint32_t table[SCHEMA_TABLES_MAX];            /* fixed: number of the table in the version */
    double ratio; /* of the batch: what the row's own counter is multiplied with */
};

/* UNDINE_ECONFIG with the value at fault. */
int instances_check(const struct instances_options *opt, struct undine_err *err);
/* Reads the version of `fixed`: UNDINE_ECONFIG where it lacks a table of the schema or its counts
 * are a window's, and the errors of version_chain_open_path. */
int instances_open(struct instances *c, const struct instances_options *opt,
                   const struct schema *schema, struct undine_err *err);
void instances_release(struct instances *c); /* NULL-safe, and fine on a zeroed one */

/* A batch of n examples is about to be learned as step `stamp`, after `before` others. */
void instances_begin(struct instances *c, uint32_t stamp, uint64_t before, uint32_t n);
/* Count c_mj instances of the batch (r's stamp is still that of its last touch), and return n_j of
 * this batch. */
double instances_count(const struct instances *c, uint32_t table, struct table_row *r, float c_mj);

/* State that is not in the rows, into a snapshot and back.  Back: UNDINE_ESTATE where the fixed
 * counts are not those that the snapshot was made with, UNDINE_ECORRUPT.  A snapshot of another
 * mode begins the first period after its `examples`. */
bool instances_snapshot(const struct instances *c, struct snapshot *s);
int instances_restore(struct instances *c, const struct snapshot *s, struct undine_err *err);

#endif
