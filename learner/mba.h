/* mba.h: mini-batch aware regularization (DIN, arXiv 1706.06978v4, sec. 5.1, Eq. 4-7).
 *
 * Plain L2 would touch every row of every table in every batch.  MBA writes it as a sum over the
 * instances that hold an id (Eq. 4) and so touches only the rows of the batch (Eq. 7):
 *   w_j -= eta (g_j + lambda alpha_mj / n_j w_j)
 * n_j is the number of instances that held id j, anywhere in them and however often (history or
 * candidate, since they share the table); `running`: counted as the stream goes by, this batch
 * included, so n_j >= 1.  alpha_mj is 1 (Eq. 6, `once`) or the number of instances of this batch
 * that hold j (Eq. 5, `count`).  The typeset Eq. 4 has no 1/2, Eq. 7 no 2: the penalty that Eq. 7
 * differentiates is lambda/2 |w|^2.
 *
 * Coupled: the term joins the gradient and passes through the optimizer; with Adam or Adagrad this
 * is the reading in which lambda = 0.01 does anything.  Decoupled: taken off the weight beside the
 * step. It is no lazily caught-up L2: a row that is not touched owes nothing. */
#ifndef UNDINE_LEARNER_MBA_H
#define UNDINE_LEARNER_MBA_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum mba_form { MBA_ONCE /* Eq. 6: alpha = max of I */, MBA_COUNT /* Eq. 5: count in the batch */ };

struct mba_options {
    double lambda; /* 0 = off */
    enum mba_form form;
    bool decoupled; /* false: added to the gradient before the optimizer */
};

/* rate lambda < 1 or the term would overshoot zero at n_j = 1.  UNDINE_ECONFIG. */
int mba_check(const struct mba_options *opt, double rate, struct undine_err *err);

/* lambda alpha / n_j; n_instances (c_mj) is already part of count (n_j). */
float mba_strength(const struct mba_options *opt, float count, float n_instances);
/* Coupled: g (n) += strength w (n).  Returns the share of w for the optimizer to take off beside
 * the step: rate strength where decoupled, else 0. */
float mba_apply(const struct mba_options *opt, float strength, float rate, float *restrict g,
                const float *restrict w, size_t n);

#endif
