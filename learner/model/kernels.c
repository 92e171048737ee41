/* Plain loops over KERNELS_LANES neighbours that the compiler turns into vectors.  Sums over rows
 * keep one accumulator a column; sums along a row keep one a lane and add the lanes in a fixed
 * tree. No option that lets the compiler reorder additions is used. */
#include "learner/model/kernels_isa.h"

#include <stdint.h>
#include <string.h>

#define LANES     KERNELS_LANES
#define FOR_LANES for (size_t l = 0; l < LANES; l++)

/* ---- exponential and sigmoid -------------------------------------------------------------- */

/* e^x for x <= 0: x = n ln 2 + r, a Taylor polynomial for e^r on |r| <= ln 2 / 2, 2^n put together
 * from bits.  Adding MAGIC rounds to an integer and leaves n in the low bits.  NaN stays NaN. */
#ifdef UNDINE_REAL_DOUBLE
typedef uint64_t bits_t;
enum { EXP_SHIFT = 52, EXP_TERMS = 14 };
#define EXP_LOWEST (-708.0)
#define EXP_MAGIC  0x1.8p52
#define EXP_ONE    0x3FF0000000000000U
#define LN2_HIGH   0x1.62e42feep-1
#define LN2_LOW    0x1.a39ef35793c76p-33
#else
typedef uint32_t bits_t;
enum { EXP_SHIFT = 23, EXP_TERMS = 8 };
#define EXP_LOWEST (-87.0F)
#define EXP_MAGIC  0x1.8p23F
#define EXP_ONE    0x3F800000U
#define LN2_HIGH   0x1.62e4p-1F
#define LN2_LOW    0x1.7f7d1cp-20F
#endif

static const real INVERSE_FACTORIAL[14] = {
    R(1.0),
    R(1.0),
    R(0.5),
    R(0.16666666666666666),
    R(0.041666666666666664),
    R(0.008333333333333333),
    R(0.001388888888888889),
    R(0.0001984126984126984),
    R(2.48015873015873e-05),
    R(2.7557319223985893e-06),
    R(2.755731922398589e-07),
    R(2.505210838544172e-08),
    R(2.08767569878681e-09),
    R(1.6059043836821613e-10),
};

static inline __attribute__((always_inline)) real exp_lane(real x)
{
    x = x < EXP_LOWEST ? EXP_LOWEST : x;
    real shifted = x * R(1.4426950408889634) + EXP_MAGIC;
    real n = shifted - EXP_MAGIC;
    real r = (x - n * LN2_HIGH) - n * LN2_LOW;
    real e = INVERSE_FACTORIAL[EXP_TERMS - 1];
#pragma GCC unroll 16
    for (int i = EXP_TERMS - 2; i >= 0; i--) {
        e = e * r + INVERSE_FACTORIAL[i];
    }
    bits_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << EXP_SHIFT) + EXP_ONE;
    real scale;
    memcpy(&scale, &bits, sizeof scale);
    return e * scale;
}

/* p = sigmoid(z), q = 1 - p, both without cancellation and without overflow. */
static inline __attribute__((always_inline)) void sigmoid_lane(real *p, real *q, real z)
{
    real e = exp_lane(z < 0 ? z : -z);
    real large = R(1.0) / (R(1.0) + e);
    real small = e * large;
    *p = z < 0 ? small : large;
    *q = z < 0 ? large : small;
}

static void k_exp_negative(real *restrict out, const real *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        FOR_LANES
        {
            out[i + l] = exp_lane(x[i + l]);
        }
    }
}

static real sum_lanes(const real *x)
{
    real t[LANES];
    memcpy(t, x, sizeof t);
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            t[l] += t[l + half];
        }
    }
    return t[0];
}

static void k_softmax(real *a, size_t n)
{
    real top = a[0];
    for (size_t i = 1; i < n; i++) {
        top = a[i] > top ? a[i] : top;
    }
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        a[i] = exp_lane(a[i] - top);
        sum += (double)a[i];
    }
    real scale = (real)(1.0 / sum);
    for (size_t i = 0; i < n; i++) {
        a[i] *= scale;
    }
}

/* ---- activations -------------------------------------------------------------------------- */

static void k_sigmoid(real *restrict y, const real *restrict s, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        FOR_LANES
        {
            real q;
            sigmoid_lane(&y[i + l], &q, s[i + l]);
        }
    }
}

static void k_relu(real *restrict y, const real *restrict s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = s[i] > 0 ? s[i] : s[i] * R(0.0); /* NaN stays NaN */
    }
}

static void k_sigmoid_backward(real *restrict g, const real *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g[i] *= y[i] * (R(1.0) - y[i]);
    }
}

static void k_relu_backward(real *restrict g, const real *restrict s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g[i] = s[i] > 0 ? g[i] : R(0.0);
    }
}

static void k_tanh_backward(real *restrict g, const real *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g[i] *= R(1.0) - y[i] * y[i];
    }
}

static void k_prelu(real *restrict y, const real *restrict s, size_t n, size_t stride,
                    const real *restrict alpha)
{
    for (size_t i = 0; i < n; i++, y += stride, s += stride) {
        for (size_t c = 0; c < stride; c++) {
            y[c] = s[c] * (s[c] > 0 ? R(1.0) : alpha[c]);
        }
    }
}

static void k_prelu_backward(real *restrict g, const real *restrict s, size_t n, size_t stride,
                             const real *restrict alpha, double *restrict dalpha)
{
    for (size_t i = 0; i < n; i++, g += stride, s += stride) {
        for (size_t c = 0; c < stride; c++) {
            dalpha[c] += s[c] > 0 ? 0.0 : (double)(g[c] * s[c]);
            g[c] *= s[c] > 0 ? R(1.0) : alpha[c];
        }
    }
}

static void k_dice(real *restrict y, const real *restrict s, size_t n, size_t stride,
                   const struct dice_channels *ch)
{
    const real *restrict mean = ch->mean, *restrict inv = ch->inv, *restrict alpha = ch->alpha;
    for (size_t i = 0; i < n; i++, y += stride, s += stride) {
        for (size_t c = 0; c < stride; c += LANES) {
            FOR_LANES
            {
                real p, q;
                sigmoid_lane(&p, &q, (s[c + l] - mean[c + l]) * inv[c + l]);
                y[c + l] = s[c + l] * (p + alpha[c + l] * q);
            }
        }
    }
}

/* g: dL/dy in, dL/ds out; returns y.  ADDS into three sums, LANES apart. */
static inline __attribute__((always_inline)) real
dice_backward_lane(real *g, real s, real mean, real inv, real alpha, real *sums)
{
    real p, q;
    real z = (s - mean) * inv;
    sigmoid_lane(&p, &q, z);
    real slope = p + alpha * q;
    real dz = *g * (R(1.0) - alpha) * s * p * q;
    sums[0] += *g * q * s;
    sums[LANES] += dz;
    sums[2 * LANES] += dz * z;
    *g = *g * slope + dz * inv;
    return s * slope;
}

/* So many rows are summed in real, then in double. */
enum { SUM_ROWS = 32 };

/* LANES columns of at most SUM_ROWS rows. */
static inline __attribute__((always_inline)) void
dice_backward_columns(real *restrict g, const real *restrict s, size_t rows, size_t stride,
                      const real *restrict mean, const real *restrict inv,
                      const real *restrict alpha, real *restrict part)
{
    for (size_t r = 0; r < rows; r++, g += stride, s += stride) {
        FOR_LANES
        {
            (void)dice_backward_lane(&g[l], s[l], mean[l], inv[l], alpha[l], &part[l]);
        }
    }
}

static inline __attribute__((always_inline)) void add_lanes(double *restrict to,
                                                            const real *restrict part)
{
    FOR_LANES
    {
        to[l] += (double)part[l];
    }
}

static void k_dice_backward(real *restrict g, const real *restrict s, size_t n, size_t stride,
                            const struct dice_channels *ch, const struct dice_sums *sums)
{
    for (size_t i = 0; i < n; i += SUM_ROWS) {
        size_t rows = n - i < SUM_ROWS ? n - i : SUM_ROWS;
        for (size_t c = 0; c < stride; c += LANES) {
            real part[3 * LANES] = {0};
            dice_backward_columns(g + i * stride + c, s + i * stride + c, rows, stride,
                                  ch->mean + c, ch->inv + c, ch->alpha + c, part);
            add_lanes(sums->dalpha + c, part);
            add_lanes(sums->dz + c, part + LANES);
            add_lanes(sums->dz_z + c, part + 2 * LANES);
        }
    }
}

static inline __attribute__((always_inline)) void
dice_dot_backward_columns(real *restrict g, const real *restrict d, const real *restrict s,
                          size_t rows, size_t stride, const real *restrict mean,
                          const real *restrict inv, const real *restrict alpha,
                          const real *restrict w, real *restrict part)
{
    for (size_t r = 0; r < rows; r++, g += stride, s += stride) {
        FOR_LANES
        {
            real g_l = d[r] * w[l];
            real y = dice_backward_lane(&g_l, s[l], mean[l], inv[l], alpha[l], &part[l]);
            part[3 * LANES + l] += d[r] * y;
            g[l] = g_l;
        }
    }
}

static void k_dice_dot_backward(real *restrict g, double *restrict dw, const real *restrict d,
                                const real *restrict s, size_t n, size_t stride,
                                const struct dice_channels *ch, const real *restrict w,
                                const struct dice_sums *sums)
{
    for (size_t i = 0; i < n; i += SUM_ROWS) {
        size_t rows = n - i < SUM_ROWS ? n - i : SUM_ROWS;
        for (size_t c = 0; c < stride; c += LANES) {
            real part[4 * LANES] = {0};
            dice_dot_backward_columns(g + i * stride + c, d + i, s + i * stride + c, rows, stride,
                                      ch->mean + c, ch->inv + c, ch->alpha + c, w + c, part);
            add_lanes(sums->dalpha + c, part);
            add_lanes(sums->dz + c, part + LANES);
            add_lanes(sums->dz_z + c, part + 2 * LANES);
            add_lanes(dw + c, part + 3 * LANES);
        }
    }
}

static void k_dice_center(real *restrict g, const real *restrict s, size_t n, size_t stride,
                          const real *restrict mean, const real *restrict shift,
                          const real *restrict slope)
{
    for (size_t i = 0; i < n; i++, g += stride, s += stride) {
        for (size_t c = 0; c < stride; c++) {
            g[c] -= shift[c] + slope[c] * (s[c] - mean[c]);
        }
    }
}

static void k_column_sums(double *restrict sum, const real *restrict x, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++, x += stride) {
        for (size_t c = 0; c < stride; c++) {
            sum[c] += (double)x[c];
        }
    }
}

static void k_moments(double *restrict mean, double *restrict var, const real *restrict s, size_t n,
                      size_t stride)
{
    memset(mean, 0, stride * sizeof *mean);
    memset(var, 0, stride * sizeof *var);
    k_column_sums(mean, s, n, stride);
    double scale = n > 0 ? 1.0 / (double)n : 0.0;
    for (size_t c = 0; c < stride; c++) {
        mean[c] *= scale;
    }
    for (size_t i = 0; i < n; i++, s += stride) {
        for (size_t c = 0; c < stride; c++) {
            double d = (double)s[c] - mean[c];
            var[c] += d * d;
        }
    }
    for (size_t c = 0; c < stride; c++) {
        var[c] *= scale;
    }
}

/* ---- dot products ------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) real dot_row(const real *restrict x,
                                                          const real *restrict w, size_t stride)
{
    real acc[LANES] = {0};
    for (size_t c = 0; c < stride; c += LANES) {
        FOR_LANES
        {
            acc[l] += x[c + l] * w[c + l];
        }
    }
    return sum_lanes(acc);
}

static void k_dot(real *restrict out, const real *restrict x, size_t n, size_t stride,
                  const real *restrict w, real bias)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = bias + dot_row(x + i * stride, w, stride);
    }
}

static void k_dice_dot(real *restrict out, const real *restrict s, size_t n, size_t stride,
                       const struct dice_channels *ch, const real *restrict w, real bias)
{
    const real *restrict mean = ch->mean, *restrict inv = ch->inv, *restrict alpha = ch->alpha;
    for (size_t i = 0; i < n; i++, s += stride) {
        real acc[LANES] = {0};
        for (size_t c = 0; c < stride; c += LANES) {
            FOR_LANES
            {
                real p, q;
                sigmoid_lane(&p, &q, (s[c + l] - mean[c + l]) * inv[c + l]);
                acc[l] += s[c + l] * (p + alpha[c + l] * q) * w[c + l];
            }
        }
        out[i] = bias + sum_lanes(acc);
    }
}

static void k_dot_backward(real *restrict g, double *restrict dw, const real *restrict d,
                           const real *restrict x, size_t n, size_t stride, const real *restrict w)
{
    for (size_t i = 0; i < n; i++, g += stride, x += stride) {
        for (size_t c = 0; c < stride; c++) {
            g[c] = d[i] * w[c];
            dw[c] += (double)(d[i] * x[c]);
        }
    }
}

/* ---- activation unit and pooling ---------------------------------------------------------- */

static void k_mix_rows(real *restrict p, const real *restrict h, const real *restrict w,
                       const real *restrict c, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++, p += stride, h += stride, w += stride) {
        for (size_t j = 0; j < stride; j++) {
            p[j] = h[j] + c[i] * w[j];
        }
    }
}

static void k_mix_columns(real *restrict p, const real *restrict h, const real *restrict w,
                          const real *restrict c, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++, p += stride, h += stride, w += stride) {
        for (size_t j = 0; j < stride; j++) {
            p[j] = h[j] + c[j] * w[j];
        }
    }
}

static void k_mix_backward(real *restrict dh, real *restrict dw, real *restrict dc,
                           const real *restrict dp, const real *restrict w, const real *restrict c,
                           size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++, dh += stride, dw += stride, dp += stride, w += stride) {
        dc[i] += dot_row(dp, w, stride);
        for (size_t j = 0; j < stride; j++) {
            dh[j] += dp[j];
            dw[j] += c[i] * dp[j];
        }
    }
}

static void k_pool(real *restrict v, const real *restrict a, const real *restrict e, size_t n,
                   size_t stride)
{
    memset(v, 0, stride * sizeof *v);
    for (size_t i = 0; i < n; i++, e += stride) {
        for (size_t j = 0; j < stride; j++) {
            v[j] += a[i] * e[j];
        }
    }
}

static void k_outer(real *restrict e, const real *restrict a, const real *restrict v, size_t n,
                    size_t stride, bool add)
{
    for (size_t i = 0; i < n; i++, e += stride) {
        for (size_t j = 0; j < stride; j++) {
            e[j] = (add ? e[j] : R(0.0)) + a[i] * v[j];
        }
    }
}

const struct kernels KERNELS_PASTE(kernels, KERNELS_ISA) = {
    .name = KERNELS_TEXT(KERNELS_ISA),
    .gemm = KERNELS_PASTE(gemm, KERNELS_ISA),
    .sigmoid = k_sigmoid,
    .relu = k_relu,
    .sigmoid_backward = k_sigmoid_backward,
    .relu_backward = k_relu_backward,
    .tanh_backward = k_tanh_backward,
    .prelu = k_prelu,
    .prelu_backward = k_prelu_backward,
    .dice = k_dice,
    .dice_backward = k_dice_backward,
    .dice_dot = k_dice_dot,
    .dice_dot_backward = k_dice_dot_backward,
    .dice_center = k_dice_center,
    .moments = k_moments,
    .column_sums = k_column_sums,
    .dot = k_dot,
    .dot_backward = k_dot_backward,
    .mix_rows = k_mix_rows,
    .mix_columns = k_mix_columns,
    .mix_backward = k_mix_backward,
    .pool = k_pool,
    .outer = k_outer,
    .softmax = k_softmax,
    .exp_negative = k_exp_negative,
};
