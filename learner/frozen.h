/* frozen.h: scores of one fixed model, while the learner goes on.
 *
 * Progressive metrics compare scores that a user got from different models over time, and so punish
 * memory of the user: a rate that moves after each of the user's clicks reorders rows that no model
 * would have ranked so at one moment.  Frozen metrics score a block of examples with the model as
 * it stood at one point, which is what a scorer serves, and compare rows of one user within the
 * block.
 *
 * No copy of the tables is made.  At a freeze the dense values are copied; from then on the first
 * time a batch gathers an id, and so before anything learns from it, its weights are kept
 * (frozen_rows.h).  What was kept is the frozen model's embedding matrix: every row that an example
 * needs is in it.  An id that is new since the freeze is kept with its initial weights, which is
 * what a scorer gives an unknown id.  So is one whose row left its table before it was kept, and
 *  one of a forgotten user.  What rows owe the regularizer is paid as of the freeze, as in a
 * version. The learner's numbers are only read.
 *
 * With admission (admission.h) an unknown id gets the table's shared row, kept with the freeze:
 * that is what stands here for "initial weights", and ids admitted since are such.
 *
 * Memory: the weights of the rows touched since the freeze and one more dense part.  Learner
 * thread. */
#ifndef UNDINE_LEARNER_FROZEN_H
#define UNDINE_LEARNER_FROZEN_H

#include "learner/batch_builder.h"
#include "learner/frozen_rows.h"
#include "learner/model/model.h"
#include "learner/regularizer.h"
#include "learner/snapshot.h"
#include "learner/table.h"

#include <stdbool.h>

struct frozen_options {
    uint64_t block; /* examples between two freezes; 0 = the caller says when */
    double sample;  /* share of users that are scored, chosen by hash; 0 = off */
};
int frozen_check(const struct frozen_options *opt, struct undine_err *err);

struct frozen_list { /* of uint32_t */
    uint32_t *at;
    size_t n, capacity;
};

struct frozen_sequence {
    struct frozen_list step_offset, of_example, number; /* number: of the builder -> ours + 1 */
    struct frozen_list offset[SCHEMA_STEP_FIELDS_MAX], rows[SCHEMA_STEP_FIELDS_MAX];
};

struct frozen {
    const struct schema *schema; /* borrowed */
    const struct table *tables;  /* borrowed; one for each of the schema */
    struct frozen_options opt;
    bool active;                    /* there is a frozen model */
    struct regularizer regularizer; /* as it was, for regularizer_keep alone */
    uint64_t freeze;                /* number of the freeze, part of the grouping key */
    uint64_t not_finite;            /* scores left out */
    struct model *model;
    struct model_scratch *scratch;
    struct frozen_rows rows_kept[SCHEMA_TABLES_MAX];
    struct frozen_list entry[SCHEMA_TABLES_MAX]; /* row of the batch at hand -> entry kept */
    /* the sampled examples of the batch at hand */
    uint32_t n, batch_max;
    uint32_t *example; /* (n) number in the builder */
    float *logit;      /* (n) */
    struct frozen_list offset[SCHEMA_FIELDS_MAX], rows[SCHEMA_FIELDS_MAX];
    struct frozen_sequence sequence[SCHEMA_SEQUENCES_MAX];
    struct batch batch;
};

int frozen_open(struct frozen **out, const struct schema *schema, const struct model_options *model,
                const struct table *tables, const struct frozen_options *opt, uint32_t batch_max,
                struct undine_err *err);
void frozen_close(struct frozen *f); /* NULL-safe */

/* From now on score with the model as it is, after so many training steps. */
void frozen_freeze(struct frozen *f, struct model *now, const struct regularizer *regularizer,
                   uint64_t steps);
/* After a batch was gathered and before it is caught up and learned: keep the rows that may change,
 * then score the sampled examples into n, example and logit (n = 0 where nothing is frozen).
 * UNDINE_ENOMEM.
 */
int frozen_score(struct frozen *f, const struct batch_builder *b, struct undine_err *err);
/* Nothing is frozen any more. */
void frozen_thaw(struct frozen *f);
/* Of a frozen model that is not asked for scores: keep the rows of the batch that may change.
 * UNDINE_ENOMEM. */
int frozen_keep(struct frozen *f, const struct batch_builder *b, struct undine_err *err);
/* A user asked to be forgotten: the weights of an id of theirs become its initial ones. */
void frozen_forget(struct frozen *f, uint32_t table, uint64_t key);

/* Is the user among the sampled? */
bool frozen_samples(double sample, uint64_t user);
/* What stands for (user, block) as a user of metrics_rows_gauc: rows of two blocks never meet. */
uint64_t frozen_group(uint64_t user, uint64_t block);
uint64_t frozen_bytes(const struct frozen *f);

/* State in a snapshot's train arrays: frozen.state (4) u64 active, freeze, not_finite, steps;
 * frozen.dense f32; frozen.key.<table> u64 and frozen.weight.<table> (n, width) f32 of what is
 * kept.  False where memory is out. */
bool frozen_save(const struct frozen *f, struct snapshot *s);
/* Into one that was just opened.  1; or 2: nothing is frozen any more, since admission was
 * switched, which says what unknown ids have; or 0: the snapshot holds nothing of it and nothing is
 * frozen; UNDINE_ECORRUPT, UNDINE_ENOMEM. */
int frozen_load(struct frozen *f, const struct snapshot *s, const struct regularizer *regularizer,
                struct undine_err *err);

#endif
