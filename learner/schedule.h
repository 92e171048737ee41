/* schedule.h: how the learning rate changes as the stream goes by: a factor on every rate.
 *
 *   warm-up       rises linearly to 1 over the first `warmup` examples
 *   exponential   decay_rate ^ (e / decay_examples)
 *   inverse_sqrt  1 / sqrt(1 + e / decay_examples)
 *   linear        1 - e / decay_examples
 * with e = examples since the warm-up ended; never below `floor`.  Counted in examples and not in
 * batches or hours, so that it does not depend on the batch size or on how fast events arrive.  An
 * endless stream wants a floor: a rate that goes to 0 is a model that stops following. */
#ifndef UNDINE_LEARNER_SCHEDULE_H
#define UNDINE_LEARNER_SCHEDULE_H

#include "base/err.h"

#include <stdint.h>

enum schedule_decay {
    SCHEDULE_CONSTANT,
    SCHEDULE_EXPONENTIAL,
    SCHEDULE_INVERSE_SQRT,
    SCHEDULE_LINEAR
};

struct schedule_options {
    uint64_t warmup; /* examples; 0 = none */
    enum schedule_decay decay;
    double decay_rate;       /* exponential: in (0, 1] */
    uint64_t decay_examples; /* at least 1 where decay is not constant */
    double floor;            /* least factor of the decay, 0..1 */
};

/* UNDINE_ECONFIG with the value at fault. */
int schedule_check(const struct schedule_options *opt, struct undine_err *err);

/* Factor for a batch; examples: learned before it and in it. */
double schedule_factor(const struct schedule_options *opt, uint64_t examples);

#endif
