/* kernels.h: the loops that cost time, compiled for several instruction sets and chosen once.
 *
 * All matrices are row-major.  Widths that kernels walk over are padded to a stride that is a
 * multiple of KERNELS_LANES; padding holds finite values (zero in weights, so they reach nothing).
 *
 * Order of additions is fixed by the shape: equal input gives equal bits.  An output row of gemm,
 * dot and of every element-wise kernel depends on its own input row alone, whatever the number of
 * rows: this makes a score independent of what else is scored with it.  Instruction sets may differ
 * from each other in the last bits (fused multiply-add), the same one never does.
 *
 * Small and narrow products are most of a DIN, and there an own microkernel measures faster than
 * OpenBLAS (tests/bench/bench_model.c); it also keeps the promise on rows, which a BLAS does not
 * give.  So serving uses nothing else, and training may be given another library for the rest
 * (kernels_product).
 * Nothing here allocates or fails.  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_KERNELS_H
#define UNDINE_LEARNER_MODEL_KERNELS_H

#include "learner/model/real.h"

#include <stdbool.h>
#include <stddef.h>

enum { KERNELS_LANES = 16, KERNELS_MIX_MAX = 2 };

/* c (m, n) = [c if add | bias (n) on each row if not NULL | 0] + a (m, k) b (k, n).
 * n, ldc and ldb are multiples of KERNELS_LANES.  a[i,p] stands at a + i*a_row + p*a_col, so that a
 * transposed a costs nothing. */
struct gemm {
    real *c;
    size_t ldc;
    const real *a;
    size_t a_row, a_col;
    const real *b;
    size_t ldb;
    size_t m, n, k;
    const real *bias;
    bool add;
};

/* Another library's product, tried before the own one in training: computes all of c and returns
 * true, or leaves c alone and returns false.  Equal input must give equal bits. */
typedef bool (*kernels_product)(const struct gemm *g);

/* Per channel, padded to the stride: y = s (alpha + (1 - alpha) p), p = sigmoid((s - mean) inv),
 * inv = 1 / sqrt(var + eps). */
struct dice_channels {
    const real *mean, *inv, *alpha;
};

/* Sums over rows that Dice's backward needs, per channel: dL/dalpha, and those of t = dL/dy s p q
 * and of t z.  Through z goes dL/dz = (1 - alpha) t, and so (1 - alpha) inv t to s; that factor is
 * dice_slope, rounded once and for rows and sums alike, so that what cancels between them does so
 * where inv is large. */
struct dice_sums {
    double *dalpha, *t, *t_z;
};

/* What of dL/ds went through the statistics: shift + slope (s - mean), per channel. */
struct dice_center {
    const real *mean, *shift, *slope;
};

static inline real dice_slope(real alpha, real inv)
{
    return (R(1.0) - alpha) * inv;
}

/* m = beta1 m + take1 g;  v = beta2 v + take2 g^2;  w -= rate m / (sqrt(v) correct_v + eps) */
struct adam_step {
    real beta1, beta2, take1, take2, rate, correct_v, eps;
};

struct kernels {
    const char *name; /* "avx512", "avx2", "portable" */
    void (*gemm)(const struct gemm *g);

    /* Element by element over n, a multiple of KERNELS_LANES. */
    void (*sigmoid)(real *y, const real *s, size_t n);
    void (*relu)(real *y, const real *s, size_t n);
    void (*sigmoid_backward)(real *g, const real *y, size_t n); /* g: dL/dy in, dL/ds out */
    void (*relu_backward)(real *g, const real *s, size_t n);
    void (*tanh_backward)(real *g, const real *y, size_t n);

    /* Over (n, stride). */
    void (*prelu)(real *y, const real *s, size_t n, size_t stride, const real *alpha);
    /* ADDS into dalpha (stride). */
    void (*prelu_backward)(real *g, const real *s, size_t n, size_t stride, const real *alpha,
                           double *dalpha);
    void (*dice)(real *y, const real *s, size_t n, size_t stride, const struct dice_channels *ch);
    /* g: dL/dy in; out: dL/ds with constant statistics.  Writes y once more, which costs nothing
     * here.  ADDS into the sums. */
    void (*dice_backward)(real *g, real *y, const real *s, size_t n, size_t stride,
                          const struct dice_channels *ch, const struct dice_sums *sums);
    /* The two above with a dot product on top, y and dL/dy never written:
     * out (n) = bias + y w (stride). */
    void (*dice_dot)(real *out, const real *s, size_t n, size_t stride,
                     const struct dice_channels *ch, const real *w, real bias);
    /* d (n): dL/dout in; g (n, stride): dL/ds out, with constant statistics.  ADDS into the sums,
     * and d y into dw (stride). */
    void (*dice_dot_backward)(real *g, double *dw, const real *d, const real *s, size_t n,
                              size_t stride, const struct dice_channels *ch, const real *w,
                              const struct dice_sums *sums);
    /* out = g - center; ADDS the sum of each column of out. */
    void (*dice_center)(real *out, double *sum, const real *g, const real *s, size_t n,
                        size_t stride, const struct dice_center *center);
    /* Mean and biased variance of each column, in double. */
    void (*moments)(double *mean, double *var, const real *s, size_t n, size_t stride);
    /* ADDS the sum of each column. */
    void (*column_sums)(double *sum, const real *x, size_t n, size_t stride);

    /* out (n) = bias + x (n, stride) w (stride). */
    void (*dot)(real *out, const real *x, size_t n, size_t stride, const real *w, real bias);
    /* g (n, stride) = d (n) w;  ADDS d x into dw (stride). */
    void (*dot_backward)(real *g, double *dw, const real *d, const real *x, size_t n, size_t stride,
                         const real *w);

    /* p (n, stride) = h + diag(c) w. */
    void (*mix_rows)(real *p, const real *h, const real *w, const real *c, size_t n, size_t stride);
    /* With c along the columns, of count = 1..KERNELS_MIX_MAX examples: p (count, n, stride), the
     * x-th h + w diag(c[x]). */
    void (*mix_columns)(real *p, const real *h, const real *w, const real *const *c, size_t count,
                        size_t n, size_t stride);
    /* Backward of mix_rows, dp (count, n, stride): of each example in turn dh += dp,
     * dw += diag(c) dp, dc[i] += dp[i] . w[i]. */
    void (*mix_backward)(real *dh, real *dw, real *const *dc, const real *dp, const real *w,
                         const real *const *c, size_t count, size_t n, size_t stride);

    /* v (stride) = sum of a (n) times the rows of e (n, stride). */
    void (*pool)(real *v, const real *a, const real *e, size_t n, size_t stride);
    /* e (n, stride) = [e if add] + a (n) v (stride). */
    void (*outer)(real *e, const real *a, const real *v, size_t n, size_t stride, bool add);
    /* In place over n values, any n > 0; the largest is subtracted first. */
    void (*softmax)(real *a, size_t n);
    /* Steps of learner/optimizer.h on n numbers, any n; what each number becomes depends on its own
     * w, g and state alone. */
    void (*sgd)(real *w, const real *g, size_t n, real rate);
    void (*adagrad)(real *w, real *a, const real *g, size_t n, real rate, real eps);
    void (*adam)(real *w, real *m, real *v, const real *g, size_t n, const struct adam_step *step);
    /* Sum of squares in double, any n. */
    double (*squares)(const real *x, size_t n);
    /* out = e^x for x <= 0, n a multiple of KERNELS_LANES; relative error <= 2e-7 (float),
     * 1e-15 (double); 0 > x below the smallest normal number is held there. */
    void (*exp_negative)(real *out, const real *x, size_t n);
};

/* The i-th set that this processor can run, fastest first; NULL past the last ("portable"). */
const struct kernels *kernels_available(size_t i);
/* Width rounded up to KERNELS_LANES. */
size_t kernels_stride(size_t width);

#endif
