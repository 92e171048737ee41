/* guard.h: when learning has to stop because what arrives, or what comes of it, is not believable.
 *
 * Looks at predictions and features in windows of examples that follow each other without overlap.
 * At a window's last batch, before it is learned, three numbers must lie in their bands:
 *   label rate   share of positives; jumps when clicks get lost or are joined wrongly
 *   calibration  sum of predictions over sum of labels; drifts when the model does not fit any more
 *   missing      share of features without a value; jumps when a producer drops one
 * And batches skipped in a row (loss or gradient not finite) must stay few: more of them are a
 * model that has diverged.  Examples weigh as in metrics.h, so sampled negatives count for all they
 * stand for.  Windows are cut by examples alone, so a replay stops where the live run did.  No
 * locks: the trainer's. */
#ifndef UNDINE_LEARNER_GUARD_H
#define UNDINE_LEARNER_GUARD_H

#include "base/schema.h"
#include "learner/metrics.h"

struct guard_options {
    uint64_t window; /* examples; a window ends with the batch that fills it */
    double label_rate_min, label_rate_max;   /* 0..1 */
    double calibration_min, calibration_max; /* 0 and 0 = off */
    double missing_max;                      /* 0..1; 1 = off */
    uint64_t skipped_max;                    /* batches in a row; 0 = any number */
};

struct guard {         /* plain numbers: part of a snapshot as it is */
    uint64_t examples; /* of the open window */
    uint64_t skipped;  /* batches in a row up to now */
    struct metrics_sums sums;
    uint64_t missing[SCHEMA_FIELDS_MAX]; /* examples of the window without a value */
};

/* UNDINE_ECONFIG with the key and value at fault. */
int guard_check(const struct guard_options *opt, struct undine_err *err);

/* A prediction of the batch at hand. */
void guard_add(struct guard *g, double logit, double label, double sample_rate);

/* The prediction that comes next is of an impression that was added with label 0 before. */
void guard_withdraw(struct guard *g, double logit, double sample_rate);

/* After the last prediction of a batch.  UNDINE_OK, or UNDINE_EGUARD and the number that left its
 * band; a window that is full ends here. */
int guard_judge(struct guard *g, const struct guard_options *opt, const struct schema *schema,
                struct undine_err *err);
/* A batch was skipped, or was not.  UNDINE_EGUARD where that were too many in a row. */
int guard_skipped(struct guard *g, const struct guard_options *opt, bool skipped,
                  struct undine_err *err);

#endif
