/* linear.h: the wide part of Wide & Deep (arXiv 1606.07792) without crosses, DeepFM's first order
 * term (arXiv 1703.04247, Eq. 2), and the item bias of DIN's code: a number for each id of each
 * field,
 *
 *   logit += sum over fields of the pool (sum or mean, the field's own) of w_j over its ids j.
 *
 * w_j is the last number of the row that holds j's embedding, so a row stays one lookup, and to
 * optimizer, regularizer, version and scorer it is one more column.  Steps of a sequence have no
 * part in it: what a candidate's id is worth and what it is worth to have seen it are two things.
 */
#ifndef UNDINE_LEARNER_MODEL_LINEAR_H
#define UNDINE_LEARNER_MODEL_LINEAR_H

#include "learner/model/batch.h"

/* ADDS to logit (B). */
void linear_forward(const struct schema *schema, const struct batch *batch, real *logit);
/* dlogit (B).  ADDS into table->grad. */
void linear_backward(const struct schema *schema, const struct batch *batch, const real *dlogit);

#endif
