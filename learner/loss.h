/* loss.h: what an example of each kind pulls its logit by.
 *
 * Logloss -y ln p - (1 - y) ln(1 - p) of p = sigmoid(logit): dloss/dlogit = p - y.
 *   EXAMPLE_NEGATIVE, EXAMPLE_POSITIVE  p, p - 1
 *   EXAMPLE_CORRECTION                  (p - 1) - (p - 0) = -1: the positive, less the negative
 * that was learned.  A negative that was sampled out is corrected by an EXAMPLE_POSITIVE.  Of the
 * impression's gradient at rate r the mean over the choice is r (p - 1) + (1 - r)(p - 1) = p - 1
 *   EXAMPLE_FNW_POSITIVE                weight 1 + p:            (1 + p)(p - 1)
 *   EXAMPLE_FNW_NEGATIVE                weight (1 - p)(1 + p):   (1 - p)(1 + p) p
 *
 * The last two are fake negative weighting (Ktena et al., "Addressing Delayed Feedback for
 * Continuous Training with Neural Networks in CTR prediction", RecSys 2019): every impression is a
 * negative, and with probability q a positive too.  Weights are the model's own and have no
 * gradient.  The mean pull (1 - p)(1 + p)(p - q) is zero at p = q, and points there from both
 * sides.  Pure. */
#ifndef UNDINE_LEARNER_LOSS_H
#define UNDINE_LEARNER_LOSS_H

#include "featurestore/example_log.h"

/* dloss/dlogit; p in [0, 1].  No EXAMPLE_FORGET. */
float loss_slope(enum example_kind kind, float p);

#endif
