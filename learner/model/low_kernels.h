/* low_kernels.h: the loops of scoring in 16-bit integers (low.h), compiled for the processors that
 * multiply them twice as fast as numbers of 32 bits, and once plainly, as the reference.
 *
 * A number is q * scale, q an integer of at most `limit` in absolute value; a scale is one row's,
 * or one column's of weights.  It comes from the largest number there, so nothing is ever cut off.
 * Products are summed in 32 bits without any rounding: low_limit says how large q may be for so
 * many terms.  Rounding is to the nearest, ties to even.  A row or column that holds NaN or
 * infinity has a scale of NaN or infinity, and gives NaN.
 *
 * As in kernels.h: strides are multiples of KERNELS_LANES; a row depends on its own input row
 * alone, whatever the number of rows.  Nothing here allocates or fails.  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_LOW_KERNELS_H
#define UNDINE_LEARNER_MODEL_LOW_KERNELS_H

#include "learner/model/kernels.h"

#include <stdint.h>

/* x (n, k) as q (n, stride) and scale (n); q is 0 from k on. */
struct low_rows {
    int16_t *q;
    real *scale;
    size_t stride;
};

/* w (k, n) as q (ceil(k / 2), n, 2), rows 2i and 2i + 1 beside each other, and scale (n). */
struct low_columns {
    int16_t *q;
    real *scale;
    size_t k, n; /* n a multiple of KERNELS_LANES */
};

/* c (m, n) = bias (n) on each row + a b. */
struct low_product {
    real *c;
    size_t ldc;
    struct low_rows a;
    struct low_columns b;
    const real *bias;
    size_t m;
};

/* Dice for a model that does not change, per channel: y = s (alpha + rest p), p = 1 / (1 + 2^t),
 * t = slope s + shift.  alpha and rest are 0 in the padding. */
struct low_dice {
    const real *slope, *shift, *alpha, *rest;
};

struct low_kernels {
    const char *name; /* "avx512-vnni", "portable" */
    /* x (n rows, x_stride apart; the first k of each) as integers of at most `limit`. */
    void (*rows)(const struct low_rows *out, const real *x, size_t n, size_t x_stride, size_t k,
                 int limit);
    /* h + diag(c) w as columns of integers: h, w (k, n); p (k, n) is for its own use. */
    void (*mix)(const struct low_columns *out, real *p, const real *h, const real *w, const real *c,
                int limit);
    void (*product)(const struct low_product *g);
    /* Dice of s (n, stride), which becomes y, and y as integers.  Error of p: 6e-5. */
    void (*dice_rows)(const struct low_rows *out, real *s, size_t n, size_t stride,
                      const struct low_dice *dice, int limit);
    /* out (n) = bias + Dice of s (n, stride) times w (stride). */
    void (*dice_dot)(real *out, const real *s, size_t n, size_t stride, const struct low_dice *dice,
                     const real *w, real bias);
};

/* The i-th set that this processor can run, fastest first; NULL past the last ("portable"). */
const struct low_kernels *low_kernels_available(size_t i);

/* The largest q with k q^2 < 2^31, at most 2^15 - 1. */
int low_limit(size_t k);

/* w (k, n) as columns, plainly: what is done once. */
void low_columns_of(const struct low_columns *out, const real *w, int limit);

#endif
