/* metrics.h: how good the predictions were, each made before its example was learned.
 *
 *   AUC      P(score of a positive > score of a negative) + 1/2 P(equal), by average ranks
 *   GAUC     sum of n_u AUC_u over sum of n_u, over users with both classes (DIN, Eq. 10: n_u
 *            impressions of user u); users of one class are counted apart, not averaged in
 *   logloss  mean of -y ln p - (1 - y) ln(1 - p)
 *   NE       logloss over the entropy of the mean label: 1 = no better than the average rate
 *   calibration  sum of p over sum of y
 *
 *   ECE      expected calibration error: predictions fall into METRICS_BINS bins of equal width by
 * p; sum over the bins of its weight over all weight, times |mean p - mean y| in it (Guo et al.,
 * arXiv 1706.04599, Eq. 3); unlike calibration, what is too high in one place and too low in
 * another does not cancel
 *
 * A negative that stands for 1/r of its kind (sampled at rate r) weighs 1/r in logloss, NE,
 * calibration and ECE; AUC and GAUC do not depend on the share of negatives and count rows.
 *
 * Since the start: AUC by a histogram of the logit, 2^17 buckets over -16..16, equal buckets
 * counted as ties, so the error is half the share of pairs that fall in one bucket (tests: < 1e-4).
 * Over the newest window: exact, from a ring of predictions.  What cannot be computed (one class
 * only, no examples) is NaN.  No locks: the owner sees to them. */
#ifndef UNDINE_LEARNER_METRICS_H
#define UNDINE_LEARNER_METRICS_H

#include "base/err.h"
#include "learner/op_log.h"

#include <stddef.h>
#include <stdint.h>

enum { METRICS_BUCKETS = 1 << 17, METRICS_BINS = 20 };

struct metrics_row {
    uint64_t user;
    float logit;
    float weight; /* 1/r for a negative, -1 for a positive, -1 - 1/r for a negative withdrawn */
};

/* Sums over predictions, in the order in which they came. */
struct metrics_sums {
    double weight, loss, p, label;
};

struct metrics_bin { /* of the predictions p in [b, b + 1) / METRICS_BINS; 1 belongs to the last */
    double examples, weight, p, label;
};

struct metrics {
    uint64_t examples, positives;
    struct metrics_sums sums;
    struct metrics_bin bin[METRICS_BINS]; /* since the start */
    uint64_t (*bucket)[2]; /* (METRICS_BUCKETS) rows of label 0 and 1, less those withdrawn */
    struct metrics_row *window;
    uint64_t window_max, window_n, window_at; /* window_at: where the next one goes */
    struct op_log log;                        /* of metrics_op, where it is on */
};

struct metrics_op { /* a call of metrics_add or metrics_withdraw */
    uint64_t user;
    float logit, sample_rate;
    uint32_t label; /* METRICS_WITHDRAWN: of neither */
    uint32_t zero;
};
enum { METRICS_WITHDRAWN = 2 };

/* Do again what a log says: n bytes of it.  UNDINE_ECORRUPT where that is no log. */
int metrics_again(struct metrics *m, const void *log, size_t n, struct undine_err *err);

int metrics_init(struct metrics *m, uint64_t window_max, struct undine_err *err);
void metrics_release(struct metrics *m); /* NULL-safe */

/* One prediction.  sample_rate in (0, 1]; logit finite. */
void metrics_add(struct metrics *m, uint64_t user, float logit, int label, float sample_rate);
/* The impression was added with label 0 and is about to be added with label 1: take the negative
 * out, so that it counts once.  Which one it was is not kept.  Of the sums it is taken out at the
 * score that it has now: weight and labels are exact, p and loss off by what the model has moved in
 * between.  Of the histogram goes the negative of the nearest score, so AUC stays within 0..1.  The
 * window gets a row of its own for it, see metrics_rows_settle.  Nothing happens where there is no
 * negative: it came before this learner, or in a batch that was skipped. */
void metrics_withdraw(struct metrics *m, uint64_t user, float logit, float sample_rate);
/* The newest rows, oldest first, into out (room for window_max); returns how many. */
size_t metrics_window(const struct metrics *m, struct metrics_row *out);
/* Put a row into the window alone (to restore one, oldest first). */
void metrics_window_add(struct metrics *m, const struct metrics_row *row);

double metrics_auc(const struct metrics *m); /* since the start */

double metrics_logloss(const struct metrics_sums *s);
double metrics_normalized_entropy(const struct metrics_sums *s);
double metrics_calibration(const struct metrics_sums *s);

double metrics_ece(const struct metrics_bin bin[METRICS_BINS]);

/* Drop withdrawals, each with the negative of the same user that has the nearest score, where the
 * window still has one; returns how many rows are left.  For all below.  Reorders rows if there are
 * any withdrawals. */
size_t metrics_rows_settle(struct metrics_row *rows, size_t n);

/* Of rows in any order, none a withdrawal. */
void metrics_rows_bins(struct metrics_bin out[METRICS_BINS], const struct metrics_row *rows,
                       size_t n);
struct metrics_sums metrics_rows_sums(const struct metrics_row *rows, size_t n);
/* Exact; reorders rows. */
double metrics_rows_auc(struct metrics_row *rows, size_t n);
struct metrics_gauc {
    double gauc;
    uint64_t users, users_one_class;
};
struct metrics_gauc metrics_rows_gauc(struct metrics_row *rows, size_t n);

/* All of the above in one. */
struct metrics_summary {
    uint64_t examples, positives; /* since the start */
    double auc, logloss, normalized_entropy, calibration, ece;
    uint64_t window_examples; /* the newest rows, settled */
    double gauc;              /* of them, as everything below */
    uint64_t gauc_users, gauc_users_one_class;
    double window_auc, window_logloss, window_normalized_entropy, window_calibration, window_ece;
};
/* What is since the start; nothing of the window. */
void metrics_summarize(const struct metrics *m, struct metrics_summary *out);
/* The window, from what metrics_window gave; reorders rows. */
void metrics_rows_summarize(struct metrics_row *rows, size_t n, struct metrics_summary *out);

/* Improvement over a base model in percent of what it gains on chance (DIN, Eq. 11). */
double metrics_rela_impr(double auc, double base_auc);

#endif
