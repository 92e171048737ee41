/* trainer_update.h: what a batch's gradient does to rows and dense parameters, shared among the
 * workers.
 *
 * Rows of a table are cut into runs whose length follows from their number alone, a dense tensor is
 * one part: equal bits for any number of workers.  Learner thread, after trainer_state.h's model
 * backward. */
#ifndef UNDINE_LEARNER_TRAINER_UPDATE_H
#define UNDINE_LEARNER_TRAINER_UPDATE_H

#include "learner/trainer_state.h"

/* Norm of the merged gradients of the batch's rows and the trained dense parameters together. */
double trainer_gradient_norm(struct trainer *t);
/* One step of the optimizer, with the gradient clipped by its norm (consumed). */
void trainer_update(struct trainer *t, double norm);

#endif
