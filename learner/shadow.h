/* shadow.h: the learner's metrics, followed by the thread that writes versions.
 *
 * A delta holds what was done to them (op_log.h) and not what they are: megabytes that the learner
 * would stand still for.  Every snapshot goes through shadow_settle in the order in which the
 * learner gave them: from a whole one the shadow takes the state, with a delta it does what the
 * learner did, and puts the arrays into the snapshot that a whole one would have, in their place.
 * One thread at a time. */
#ifndef UNDINE_LEARNER_SHADOW_H
#define UNDINE_LEARNER_SHADOW_H

#include "learner/snapshot.h"

struct shadow;
/* window: trainer_options.metrics_window of the learner. */
int shadow_open(struct shadow **out, uint64_t window, struct undine_err *err);
void shadow_close(struct shadow *w); /* NULL-safe */

/* After an error, or a snapshot that never came here, only one without logs can be next (a whole
 * one is).  UNDINE_ENOMEM; UNDINE_ESTATE where there is a log but not what it goes on from;
 * UNDINE_ECORRUPT. */
int shadow_settle(struct shadow *w, struct snapshot *s, struct undine_err *err);

#endif
