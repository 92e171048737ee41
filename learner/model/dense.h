/* dense.h: affine layer, out (n, O) = x (n, I) W (I, O) + b (O). */
#ifndef UNDINE_LEARNER_MODEL_DENSE_H
#define UNDINE_LEARNER_MODEL_DENSE_H

#include "learner/model/buffer.h"
#include "learner/model/params.h"

struct dense {
    uint32_t in, out;
    size_t in_stride, out_stride;
    size_t weight, bias; /* offsets */
};

struct dense_scratch {
    struct buffer w, w_t, b, dw, sums, parts;
};

void dense_declare(struct dense *d, struct params *p, const char *prefix, uint32_t in,
                   uint32_t out);
void dense_init(const struct dense *d, const struct params *p, real *values, uint64_t seed);
void dense_scratch_release(struct dense_scratch *s);

/* Once before the forwards of a pass: the padded weights.  False where memory is out. */
bool dense_prepare(const struct dense *d, struct dense_scratch *s, const struct pass *pass);
/* out (n, out_stride), x (n rows of length x_stride). */
void dense_forward(const struct dense *d, const struct dense_scratch *s, const struct pass *pass,
                   real *out, const real *x, size_t x_stride, size_t n);
/* dout (n, out_stride): ADDS into the gradients; dx (n, in_stride) is written, NULL to skip it. */
bool dense_backward(const struct dense *d, struct dense_scratch *s, const struct pass *pass,
                    real *dx, const real *dout, const real *x, size_t x_stride, size_t n);

#endif
