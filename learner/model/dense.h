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
    struct buffer w, b;      /* padded */
    struct buffer w_t;       /* (out, in_stride) */
    struct buffer dw_parts;  /* (in, out_stride) of each part */
    struct buffer sums;      /* double (out_stride) */
    struct buffer sum_parts; /* the same of each part */
    size_t n_parts;
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

/* Backward, a few rows at a time: begin; rows; end.  What is summed over rows is summed in parts of
 * the caller's cut, then over the parts in order; a part is one worker's at a time.  False where
 * memory is out. */
bool dense_backward_begin(const struct dense *d, struct dense_scratch *s, const struct pass *pass,
                          size_t n_parts);
/* dout (n, out_stride), x (n rows of length x_stride); first: of this part.  Then dx (n, in_stride)
 * of any rows is written. */
void dense_backward_rows(const struct dense *d, const struct dense_scratch *s,
                         const struct pass *pass, size_t part, bool first, const real *dout,
                         const real *x, size_t x_stride, size_t n);
void dense_backward_input(const struct dense *d, const struct dense_scratch *s,
                          const struct pass *pass, real *dx, const real *dout, size_t n);
/* Where the part's rows of dout are to be summed, double (out_stride), for b. */
double *dense_bias_part(const struct dense *d, const struct dense_scratch *s, size_t part);
/* ADDS into the gradients. */
void dense_backward_end(const struct dense *d, struct dense_scratch *s, const struct pass *pass);

#endif
