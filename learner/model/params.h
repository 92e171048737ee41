/* params.h: the list of a model's tensors while it is put together, and what a pass may touch.
 * Every layer declares its tensors in order; the list then fixes the layout of one block. */
#ifndef UNDINE_LEARNER_MODEL_PARAMS_H
#define UNDINE_LEARNER_MODEL_PARAMS_H

#include "base/workers.h"
#include "learner/model/kernels.h"
#include "learner/model/model.h"

enum { PARAMS_MAX = 256 }; /* 5 towers of 8 layers with 6 tensors, and 2 each, are 250 */

struct params {
    struct model_param list[PARAMS_MAX];
    size_t n, n_values;
};

/* Append tensor (rows, cols) named "<prefix>.<name>"; returns its offset in the block. */
size_t params_add(struct params *p, const char *prefix, const char *name, uint32_t rows,
                  uint32_t cols, bool trained);

/* Uniform in +-sqrt(6 / (rows + cols)) (Glorot and Bengio 2010); a function of seed and name. */
void params_init_glorot(const struct params *p, size_t offset, real *values, uint64_t seed);

/* What one forward or backward works on. */
struct pass {
    const struct kernels *k;
    const real *values;
    real *statistics; /* training: `values`, to update Dice's moving averages; serving: NULL */
    real *grads;      /* backward only */
    struct workers *workers; /* training: share the work; serving, or where none: NULL */
    kernels_product product; /* training: tried before k->gemm; serving, or where none: NULL */
};

/* The same for one of the workers, who shares nothing further. */
struct pass pass_alone(const struct pass *pass);

/* The own product is cut by rows of c among the workers: a row depends on its own row of a alone,
 * so the cut never shows in the bits.  Another library's is one worker's. */
void pass_gemm(const struct pass *pass, const struct gemm *g);

#endif
