/* trainer_state.h: what a trainer consists of, for the files that make it up: trainer.c (the loop),
 * trainer_train.c (one batch), trainer_frozen.c (frozen metrics), trainer_state.c (snapshot and
 * restore), trainer_admission.c (the same of what waits for a row), trainer_changes.c (snapshots of
 * what changed). */
#ifndef UNDINE_LEARNER_TRAINER_STATE_H
#define UNDINE_LEARNER_TRAINER_STATE_H

#include "base/workers.h"
#include "learner/admission.h"
#include "learner/batch_builder.h"
#include "learner/dropout.h"
#include "learner/frozen.h"
#include "learner/metrics.h"
#include "learner/popularity.h"
#include "learner/retention.h"
#include "learner/slices.h"
#include "learner/table.h"
#include "learner/trainer.h"

#include <pthread.h>

struct trainer_counters { /* since the start of the stream; part of a snapshot */
    uint64_t examples, positives, batches, batches_skipped, steps, rows_forgotten;
    uint64_t example_digest; /* example_block_chain over all that was learned */
};

struct trainer {
    struct schema schema;
    struct trainer_options opt;
    struct table_budget budget;
    struct table table[SCHEMA_TABLES_MAX];
    struct admission admission; /* k = 0 where it is off */
    struct retention retention;
    struct regularizer regularizer;
    struct workers *workers; /* NULL = the caller alone */
    struct model *model;
    struct model_scratch *scratch;
    float *dense_slot;     /* (optimizer_slots, n_values): of parameter p, slots * p.offset on */
    float *statistics;     /* (n_values) what is not trained, as it was before the batch */
    float *logit, *dlogit; /* (batch_max) */
    struct batch_builder *builder;
    struct dropout dropout;
    float *statistics_new;      /* dropout: (n_values) what is not trained, as the batch made it */
    struct example_block block; /* the block being read; n_examples 0 = none */
    uint64_t next_seq;          /* next example to put into a batch */
    uint64_t trained_seq;       /* next example to learn */
    uint64_t next_digest;       /* the chain up to next_seq, the open batch included */
    int64_t event_time_ms;
    struct guard guard;
    trainer_refused_fn refused; /* NULL = nobody */
    void *refused_payload;

    /* What trainer_metrics reads: written between two steps of the learner, under the lock. */
    pthread_mutex_t lock;
    struct trainer_counters counters;
    struct metrics metrics, popularity_metrics;
    struct slices slices;
    struct attention attention;
    uint64_t rows, table_bytes, published_seq;
    int64_t published_event_time_ms;
    struct retention_counters published_retention;
    uint64_t tombstones, ids_waiting, ids_admitted;
    int64_t training_ns;

    pthread_mutex_t query_lock;      /* owner of window_copy; taken before `lock` */
    struct metrics_row *window_copy; /* (metrics_window) */

    struct popularity popularity; /* learner thread */

    struct snapshot *open; /* the next delta, as far as it was copied; NULL = not begun */
    uint64_t open_rows;
    uint32_t piece_rows; /* changed rows that are copied at once, at least */
    struct snapshot *spare; /* memory for the one after it; under the lock */

    struct frozen *frozen;              /* NULL = off; learner thread */
    struct metrics frozen_metrics;      /* under the lock */
    struct frozen *frozen_next;         /* the candidate; NULL = no gate; learner thread */
    struct gate_window gate;            /* learner thread */
    struct trainer_frozen frozen_shown; /* freezes, skipped, bytes; under the lock */
};

/* Predict the examples of the builder, then learn them; empties the builder. */
int trainer_train_batch(struct trainer *t, struct undine_err *err);

/* trainer_rows.c: which rows there are.  The step and event day that the open batch is learned as.
 */
uint32_t trainer_now(const struct trainer *t);
uint32_t trainer_today(const struct trainer *t);
int trainer_rows_open(struct trainer *t, struct undine_err *err);
/* Around a batch; learned: it was not skipped. */
int trainer_rows_begin(struct trainer *t, struct undine_err *err);
int trainer_rows_end(struct trainer *t, uint32_t now, bool learned, struct undine_err *err);
/* Drop an id's row, or its entry as waiting.  1 = dropped, 0 = it had none. */
int trainer_rows_forget(struct trainer *t, uint32_t table, uint64_t id, struct undine_err *err);

/* Copy the learner's own progress to where trainer_metrics sees it. */
void trainer_publish_progress(struct trainer *t);

/* *out = a table's rows but for their weights and slots, in the snapshot's memory.  False where
 * memory is out. */
bool trainer_copy_keys(const struct table *t, const char *name, struct snapshot *s,
                       struct snapshot_table *out);

/* trainer_state.c: a snapshot, or one of what changed (a delta).  1, or < 0. */
int trainer_copy(struct trainer *t, bool changes, struct snapshot **out, struct undine_err *err);

/* trainer_changes.c: which rows changed since a snapshot was taken. */
void trainer_changes_open(struct trainer *t);
void trainer_changes_begin(struct trainer *t); /* from here on */
/* From here on, where the rows are as in s; else only a whole snapshot can be next. */
void trainer_changes_restored(struct trainer *t, const struct snapshot *s);
/* After a batch: copy what changed, if that is much, while it is near at hand. */
void trainer_changes_piece(struct trainer *t);
/* The next delta with all rows, and what waits, in it; NULL where memory is out. */
struct snapshot *trainer_changes_close(struct trainer *t);
void trainer_changes_drop(struct trainer *t);

/* trainer_admission.c: ids that wait for a row, and what else admission remembers. */
bool trainer_admission_copy(const struct trainer *t, struct snapshot *s);
bool trainer_admission_save(const struct trainer *t, struct snapshot *s);
/* After the rows and retention's counters, before retention counts what there is. */
int trainer_admission_restore(struct trainer *t, const struct snapshot *s, struct undine_err *err);

/* Frozen metrics: all of this does nothing where they are off. */
int trainer_frozen_open(struct trainer *t, struct undine_err *err);
/* The gathered batch, before it is learned. */
int trainer_frozen_score(struct trainer *t, struct undine_err *err);
/* Freeze where a multiple of frozen.block was crossed. */
void trainer_frozen_due(struct trainer *t, uint64_t examples_before);
void trainer_frozen_publish(struct trainer *t);                            /* under the lock */
void trainer_frozen_totals(struct trainer *t, struct trainer_frozen *out); /* under the lock */
bool trainer_frozen_save(const struct trainer *t, struct snapshot *s);
int trainer_frozen_restore(struct trainer *t, const struct snapshot *s, struct undine_err *err);

/* trainer_gate.c; all of this does nothing where there is no gate. */
int trainer_gate_open(struct trainer *t, struct undine_err *err); /* after the frozen metrics */
void trainer_gate_close(struct trainer *t);
void trainer_gate_note(struct trainer *t); /* the predicted batch, before it is learned */

#endif
