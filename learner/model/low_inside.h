/* low_inside.h: what a unit uses of its tower. */
#ifndef UNDINE_LEARNER_MODEL_LOW_INSIDE_H
#define UNDINE_LEARNER_MODEL_LOW_INSIDE_H

#include "learner/model/low.h"

/* low_tower_open without the weights of the first layer. */
bool low_tower_open_above(struct low_tower *t, const struct tower *of, const real *values,
                          const struct low_kernels *low, const struct kernels *k);
bool low_tower_reserve(const struct low_tower *t, struct low_tower_scratch *s);
/* The place of s_0 for up to LOW_BLOCK_ROWS rows, and out (n) from it. */
real *low_tower_input(const struct low_tower_scratch *s);
void low_tower_above(const struct low_tower *t, const struct low_tower_scratch *s, real *out,
                     size_t n);

#endif
