/* trainer.h: the learner thread: examples in order, predict first, then train.
 *
 * Mini-batches are cut by the examples alone: a batch closes at batch_max examples, or before an
 * example whose emit time is max_delay_ms past that of its first.  The log's watermark only tells
 * when a batch that is not full can be closed now.  So the model is a function of the log and the
 * options.  "Past" is emit time of the first + max_delay_ms or later.  An EXAMPLE_FORGET closes the
 * open batch, then drops the user's rows: what the user did before it is gone, what comes after it
 * is learned anew.  The entry holds the ids (hash_feature of the table) of the schema's user_id
 * fields in counts and ids.
 *
 * A prediction is made before its example is learned: p = sigmoid(logit).  Dice by batch statistics
 * normalises it with the features (never the labels) of its batch; Dice `running` does not.
 * One thread owns a trainer, except where marked "any thread".  Options.workers - 1 threads of its
 * own help that thread inside a step; what is learned is the same for any number of them, to the
 * bit. */
#ifndef UNDINE_LEARNER_TRAINER_H
#define UNDINE_LEARNER_TRAINER_H

#include "base/restore_progress.h"
#include "base/schema.h"
#include "featurestore/example_log.h"
#include "learner/attention.h"
#include "learner/frozen.h"
#include "learner/gate_window.h"
#include "learner/guard.h"
#include "learner/metrics.h"
#include "learner/model/model.h"
#include "learner/optimizer.h"
#include "learner/regularizer.h"
#include "learner/retention.h"
#include "learner/schedule.h"
#include "learner/slices.h"
#include "learner/snapshot.h"

struct trainer_options {
    struct restore_progress *progress; /* NULL = nobody asks; borrowed */
    struct model_options model;
    uint32_t batch_max;   /* examples */
    int64_t max_delay_ms; /* event time */
    struct optimizer_options optimizer;
    double table_rate[SCHEMA_TABLES_MAX]; /* of a table's rows; 0 = optimizer.rate */
    struct schedule_options schedule;     /* of every rate */
    double clip_norm; /* global norm over merged rows and dense parameters; 0 = off */
    struct regularizer_options regularizer; /* of the rows */
    double dropout; /* share of an example's ids left out while it is trained: dropout.h */
    struct guard_options guard;
    double row_scale;             /* standard deviation of a new row */
    uint64_t metrics_window;      /* predictions kept for exact windowed AUC and GAUC */
    struct slices_options slices; /* parts of the stream with metrics of their own */
    struct frozen_options frozen; /* block 0: the caller freezes (trainer_freeze) */
    struct gate_window_options gate; /* pairs_max 0 = off; else frozen.sample > 0 */
    uint32_t workers; /* threads that share a step, the caller included; 0 = 1; equal bits */
    uint64_t memory_max_bytes; /* of the embedding tables: beyond it the trainer stops
                                  (UNDINE_EFULL), or rows go */
    enum retention_full memory_full;
    uint32_t admission;      /* instances after which an id has its own row: admission.h; 0 = 1 */
    int64_t expire_after_ms; /* event time without a touch, rounded up to days; 0 = never */
    bool changes;            /* keep in mind which rows change, for trainer_changes */
};

struct trainer_frozen { /* of one model over a block (frozen.h); NaN where there is nothing */
    uint64_t examples, skipped; /* scored, and left out because the score was no number */
    uint64_t freezes;
    double auc, gauc, logloss, calibration;    /* since start; gauc: newest window */
    uint64_t gauc_users, gauc_users_one_class; /* of a block each */
    uint64_t bytes;
};

struct trainer_slices { /* in the order of the options */
    uint32_t n;
    struct {
        char name[SCHEMA_NAME_MAX];
        struct metrics_summary metrics;
    } slice[SLICES_MAX];
};

struct trainer_metrics {
    uint64_t examples, positives, batches, rows;
    double auc, gauc, logloss, normalized_entropy,
        calibration; /* since start; gauc: newest window */
    double window_auc, window_logloss, window_normalized_entropy, window_calibration;
    uint64_t gauc_users, gauc_users_one_class;
    double ece, window_ece;
    struct metrics_bin bin[METRICS_BINS]; /* since start */
    double seconds_training;              /* time spent in batches */
    uint32_t workers;                     /* that shared them in this process */
    uint64_t batches_skipped;             /* non-finite loss or gradient; part of `batches` */
    uint64_t rows_forgotten;              /* dropped for forgotten users */
    uint64_t rows_expired, rows_evicted;
    uint64_t ids_waiting, ids_admitted, waiting_dropped; /* admission; dropped: expired, evicted */
    uint64_t tombstones;              /* ids dropped since the last snapshot, for whatever reason */
    uint64_t popularity_rows_refused; /* shows of items that have no click rate */
    double popularity_auc,
        popularity_logloss; /* since start: the first candidate field's click rate */
    struct trainer_frozen frozen;
    uint32_t n_attention; /* sequences with an activation unit: all of a `din`, in their order */
    struct {
        char sequence[SCHEMA_NAME_MAX];
        struct attention_summary weights;
    } attention[SCHEMA_SEQUENCES_MAX];
    uint64_t table_bytes;
    uint64_t example_digest; /* of every example learned, in order (example_block_chain) */
    uint64_t trained_seq;
    int64_t event_time_ms;
};

struct trainer;
/* What trainer_open would refuse of them, but for files and memory: UNDINE_ECONFIG with the names
 * and values at fault. */
int trainer_check(const struct schema *schema, const struct trainer_options *opt,
                  struct undine_err *err);
int trainer_open(struct trainer **out, const struct schema *schema,
                 const struct trainer_options *opt, struct undine_err *err);
void trainer_close(struct trainer *t);

/* Put a snapshot's state back (all of it: rows, slots, n_j, dense, metrics).  UNDINE_ESTATE where
 * it is of another schema, model or optimizer, or holds nothing for a trainer.  Only on a trainer
 * that has learned nothing yet; after a failure it is good for closing alone. */
int trainer_restore(struct trainer *t, const struct snapshot *s, struct undine_err *err);
/* A trainer that has learned nothing begins with this example instead of the first of the stream. */
void trainer_begin_at(struct trainer *t, uint64_t seq);
/* Copy everything out at a batch boundary.  Caller owns *out (snapshot_free). */
int trainer_snapshot(struct trainer *t, struct snapshot **out, struct undine_err *err);
/* Copy what changed since the snapshot before, whole or delta, which is its base; the one that was
 * restored counts as such.  1 = *out is a delta; 0 = what changed is not known (options.changes is
 * off, nothing was copied or restored yet, the restored rows did not all fit, memory was out): take
 * a whole one.  A delta may name ids as removed that its base does not have: made and gone in
 * between. */
int trainer_changes(struct trainer *t, struct snapshot **out, struct undine_err *err);
/* A delta that nobody needs any more: its memory is the next one's.  Any thread; instead of
 * snapshot_free, for whatever snapshot. */
void trainer_recycle(struct trainer *t, struct snapshot *s);
/* Before trainer_changes, between batches: sweep for a moment what is gone, or trainer_changes does
 * all that is left of it at once.  1 = nothing is left, 0 = call again, < 0 = UNDINE_ENOMEM. */
int trainer_settle(struct trainer *t, struct undine_err *err);

/* Told of each batch that is not learned: skipped, or stopped at by a guard.  On the learner's
 * thread, in the middle of a step: may look (trainer_state.h), may not call the trainer. */
typedef void (*trainer_refused_fn)(void *payload, const struct trainer *t, const char *why);
void trainer_on_refused(struct trainer *t, trainer_refused_fn fn, void *payload);
/* From now on the frozen metrics are of the model as it is (nothing where they are off). */
void trainer_freeze(struct trainer *t);

/* With a gate (options.gate), instead of trainer_freeze.  The model as it is becomes a candidate:
 * just before the snapshot that it is written from. */
void trainer_candidate(struct trainer *t);
/* The candidate was published as this version: it is what is frozen from its snapshot on.  0 = it
 * was not: what was frozen stays.  Nothing where there is no candidate. */
void trainer_candidate_judged(struct trainer *t, uint64_t published);
/* What is published is this version (0 = none), which may have been somebody else's doing.  Where it
 * is another model than the one that is frozen, nothing is until the next publication. */
enum trainer_published_kind {
    TRAINER_PUBLISHED_OTHER,
    TRAINER_PUBLISHED_THIS, /* the model as it is now */
    TRAINER_PUBLISHED_SAME  /* the frozen one under another number */
};
void trainer_published(struct trainer *t, uint64_t version, enum trainer_published_kind kind);
uint64_t trainer_published_version(const struct trainer *t);
/* Calibration over the newest full block (gate_window.h). */
const struct gate_block *trainer_gate_block(const struct trainer *t);

/* Train every batch that can be closed now, at most batches_max of them.  Returns how many, or < 0:
 * training cannot go on with this trainer (UNDINE_EGUARD: a guard, see guard.h; UNDINE_ENOMEM,
 * UNDINE_EFULL, UNDINE_ECORRUPT, UNDINE_EIO).  The log is read from the trainer's trained_seq on;
 * at the end calls example_log_consumed. */
int trainer_step(struct trainer *t, struct example_log *log, uint32_t batches_max,
                 struct undine_err *err);
/* The halves of trainer_step, for a caller that holds blocks itself.  Learn the block's examples
 * from the next one on, until its end or batches_max batches; the tail stays as open batch. */
int trainer_learn(struct trainer *t, const struct example_block *block, uint32_t batches_max,
                  struct undine_err *err);
/* Train the open batch if no example can join it any more.  Returns 1 or 0, or < 0. */
int trainer_learn_due(struct trainer *t, int64_t watermark_ms, struct undine_err *err);
uint64_t trainer_seq(const struct trainer *t);          /* next example to learn */
int64_t trainer_next_close_ms(const struct trainer *t); /* watermark at which the open batch may
                                                           close; INT64_MAX where none is open */
/* A consistent copy taken after the last step.  Any thread. Windowed AUC and GAUC are computed
 * here, so it costs a sort of the window. */
void trainer_metrics(struct trainer *t, struct trainer_metrics *out);
/* The same of each slice, copied one after the other: one may be a batch ahead of another.  Any
 * thread; a sort of each window. */
void trainer_slices(struct trainer *t, struct trainer_slices *out);

#endif
