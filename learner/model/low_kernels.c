#include "learner/model/low_kernels.h"

#include "learner/model/low_kernels_inside.h"

#include <math.h>
#include <string.h>

int low_limit(size_t k)
{
    double most = floor(sqrt((double)INT32_MAX / (double)(k > 0 ? k : 1)));
    return most < (double)INT16_MAX ? (int)most : INT16_MAX;
}

/* The largest of those so far and |x|, where NaN is larger than all. */
static real larger(real top, real x)
{
    real size = x < 0 ? -x : x;
    return size <= top || isnan(top) ? top : size;
}

static int16_t integer(real x)
{
    return isnan(x) ? 0 : (int16_t)lrint((double)x);
}

/* ---- into integers ------------------------------------------------------------------------ */

static void portable_rows(const struct low_rows *out, const real *x, size_t n, size_t x_stride,
                          size_t k, int limit)
{
    int16_t *q = out->q;
    for (size_t i = 0; i < n; i++, x += x_stride, q += out->stride) {
        real top = LOW_LEAST;
        for (size_t c = 0; c < k; c++) {
            top = larger(top, x[c]);
        }
        out->scale[i] = top / (real)limit;
        real inverse = (real)limit / top;
        for (size_t c = 0; c < k; c++) {
            q[c] = integer(x[c] * inverse);
        }
        memset(q + k, 0, (out->stride - k) * sizeof *q);
    }
}

void low_columns_of(const struct low_columns *out, const real *w, int limit)
{
    for (size_t j = 0; j < out->n; j++) {
        real top = LOW_LEAST;
        for (size_t i = 0; i < out->k; i++) {
            top = larger(top, w[i * out->n + j]);
        }
        out->scale[j] = top / (real)limit;
        real inverse = (real)limit / top;
        for (size_t i = 0; i < (out->k + 1) / 2 * 2; i++) {
            int16_t *q = out->q + (i / 2 * out->n + j) * 2 + i % 2;
            *q = i < out->k ? integer(w[i * out->n + j] * inverse) : 0;
        }
    }
}

static void portable_mix(const struct low_columns *out, real *p, const real *h, const real *w,
                         const real *c, int limit)
{
    for (size_t i = 0; i < out->k; i++) {
        for (size_t j = 0; j < out->n; j++) {
            p[i * out->n + j] = h[i * out->n + j] + c[i] * w[i * out->n + j];
        }
    }
    low_columns_of(out, p, limit);
}

/* ---- product ------------------------------------------------------------------------------ */

static void portable_product(const struct low_product *g)
{
    size_t pairs = (g->b.k + 1) / 2;
    for (size_t i = 0; i < g->m; i++) {
        const int16_t *a = g->a.q + i * g->a.stride;
        for (size_t j = 0; j < g->b.n; j++) {
            int32_t sum = 0;
            for (size_t p = 0; p < pairs; p++) {
                const int16_t *b = g->b.q + (p * g->b.n + j) * 2;
                sum += (int32_t)a[2 * p] * b[0] + (int32_t)a[2 * p + 1] * b[1];
            }
            real scaled = (real)sum * g->a.scale[i];
            g->c[i * g->ldc + j] = scaled * g->b.scale[j] + g->bias[j];
        }
    }
}

/* ---- Dice --------------------------------------------------------------------------------- */

static real dice_of(const struct low_dice *d, size_t c, real s)
{
    real t = s * d->slope[c] + d->shift[c];
    real whole = (real)floor((double)t), r = t - whole;
    if (isinf(t)) {
        r = 0;
    }
    real e = ((LOW_EXP_3 * r + LOW_EXP_2) * r + LOW_EXP_1) * r + LOW_EXP_0;
    real p = R(1.0) / (R(1.0) + e * (real)exp2((double)whole));
    return s * (d->rest[c] * p + d->alpha[c]);
}

static void portable_dice_rows(const struct low_rows *out, real *s, size_t n, size_t stride,
                               const struct low_dice *dice, int limit)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < stride; c++) {
            s[i * stride + c] = dice_of(dice, c, s[i * stride + c]);
        }
    }
    portable_rows(out, s, n, stride, stride, limit);
}

static void portable_dice_dot(real *out, const real *s, size_t n, size_t stride,
                              const struct low_dice *dice, const real *w, real bias)
{
    for (size_t i = 0; i < n; i++) {
        real sum = 0;
        for (size_t c = 0; c < stride; c++) {
            sum += dice_of(dice, c, s[i * stride + c]) * w[c];
        }
        out[i] = bias + sum;
    }
}

static const struct low_kernels low_kernels_portable = {
    .name = "portable",
    .rows = portable_rows,
    .mix = portable_mix,
    .product = portable_product,
    .dice_rows = portable_dice_rows,
    .dice_dot = portable_dice_dot,
};

const struct low_kernels *low_kernels_available(size_t i)
{
    const struct low_kernels *sets[3] = {NULL, NULL, NULL};
    size_t n = 0;
#ifdef UNDINE_LOW_KERNELS_VNNI
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
        sets[n++] = &low_kernels_vnni;
    }
#endif
    sets[n++] = &low_kernels_portable;
    return i < n ? sets[i] : NULL;
}
