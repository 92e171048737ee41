/* low_kernels_inside.h: what the plain kernels and those of the processor share. */
#ifndef UNDINE_LEARNER_MODEL_LOW_KERNELS_INSIDE_H
#define UNDINE_LEARNER_MODEL_LOW_KERNELS_INSIDE_H

#include "learner/model/low_kernels.h"

/* The scale is that of no smaller number, so that its inverse is finite. */
#define LOW_LEAST R(1e-30)

/* 2^r for 0 <= r < 1: the minimax polynomial of third degree of the relative error (7.5e-5). */
#define LOW_EXP_0 R(0.99992522)
#define LOW_EXP_1 R(0.69583354)
#define LOW_EXP_2 R(0.22606716)
#define LOW_EXP_3 R(0.078024523)

extern const struct low_kernels low_kernels_vnni;

#endif
