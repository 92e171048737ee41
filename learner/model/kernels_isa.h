/* kernels_isa.h: what gemm.c and kernels.c, compiled once for each instruction set, share.
 * KERNELS_ISA is set by the build: avx512, avx2 or portable. */
#ifndef UNDINE_LEARNER_MODEL_KERNELS_ISA_H
#define UNDINE_LEARNER_MODEL_KERNELS_ISA_H

#include "learner/model/kernels.h"

#define KERNELS_PASTE2(a, b) a##_##b
#define KERNELS_PASTE(a, b)  KERNELS_PASTE2(a, b)
#define KERNELS_TEXT2(a)     #a
#define KERNELS_TEXT(a)      KERNELS_TEXT2(a)

extern const struct kernels kernels_avx512, kernels_avx2, kernels_portable;
void gemm_avx512(const struct gemm *g);
void gemm_avx2(const struct gemm *g);
void gemm_portable(const struct gemm *g);

#endif
