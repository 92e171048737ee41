/* blas.h: OpenBLAS for the largest products of training.
 *
 * Only wide operands are worth handing over: the own kernels win below (tests/bench/bench_model.c
 * measures both).  OpenBLAS chooses its kernels ("core") once, when it is loaded, from
 * OPENBLAS_CORETYPE or from the processor; a processor that it does not know gets its oldest ones,
 * several times slower than ours, and then nothing is handed over.
 *
 * Runs on the calling thread alone; equal input gives equal bits.  Any thread. */
#ifndef UNDINE_LEARNER_BLAS_H
#define UNDINE_LEARNER_BLAS_H

#include "learner/model/kernels.h"

enum { BLAS_KERNELS_MAX = 96 };

/* The core in use, as OpenBLAS names it: "SkylakeX". */
const char *blas_core(void);
/* The core that OPENBLAS_CORETYPE should name before this program is loaded; NULL where the core in
 * use is of this processor's class. */
const char *blas_core_wanted(void);
/* The same choice for a processor whose fastest own kernels are `own` and for OpenBLAS on `core`.
 */
const char *blas_core_wanted_for(const char *own, const char *core);

/* Is OpenBLAS the faster way for this product, on a core of the right class? */
bool blas_wins(const struct gemm *g);
/* The product, whatever its size.  a has a_col or a_row 1; sizes and strides are at most INT_MAX.
 */
void blas_gemm(const struct gemm *g);

/* What trainers hand to model_set_product: blas_gemm where it wins. NULL where OpenBLAS runs on a
 * slow core.  From here on OpenBLAS uses one thread in this process. */
kernels_product blas_product(void);
/* What training computes with: "avx512 + OpenBLAS SkylakeX", or "avx512" where OpenBLAS is not
 * used; part of what equal models need. */
void blas_kernels(char *out, size_t size);

#endif
