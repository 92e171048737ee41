/* Plain loops over KERNELS_LANES neighbours that the compiler turns into vectors, and vectors by
 * hand where it does not.  Sums over rows keep one accumulator a column; sums along a row keep one
 * a lane and add the lanes in a fixed tree. No option that lets the compiler reorder additions is
 * used. */
#include "learner/model/kernels_isa.h"
#include "learner/model/kernels_vec.h"

#include <stdint.h>
#include <string.h>

/* ---- exponential and sigmoid -------------------------------------------------------------- */

/* e^x: x = n ln 2 + r, a polynomial for e^r on |r| <= ln 2 / 2, 2^n put together from bits.  In
 * float the polynomial is the minimax one of the relative error (1.1e-7) among those that begin
 * with 1 + r, in double Taylor's.  Adding MAGIC rounds to an integer and leaves n in the low bits.
 */
#ifdef UNDINE_REAL_DOUBLE
enum { EXP_SHIFT = 52, EXP_TERMS = 14 };
#define EXP_HIGHEST 708.0
#define EXP_MAGIC   0x1.8p52
#define EXP_ONE     0x3FF0000000000000U
#define LN2_HIGH    0x1.62e42feep-1
#define LN2_LOW     0x1.a39ef35793c76p-33
static const real EXP_TERM[EXP_TERMS] = {
    1.0,
    1.0,
    0.5,
    0.16666666666666666,
    0.041666666666666664,
    0.008333333333333333,
    0.001388888888888889,
    0.0001984126984126984,
    2.48015873015873e-05,
    2.7557319223985893e-06,
    2.755731922398589e-07,
    2.505210838544172e-08,
    2.08767569878681e-09,
    1.6059043836821613e-10,
};
#else
enum { EXP_SHIFT = 23, EXP_TERMS = 6 };
#define EXP_HIGHEST 87.0F
#define EXP_MAGIC   0x1.8p23F
#define EXP_ONE     0x3F800000U
#define LN2_HIGH    0x1.62e4p-1F
#define LN2_LOW     0x1.7f7d1cp-20F
static const real EXP_TERM[EXP_TERMS] = {
    1.0F, 1.0F, 0.49999228826F, 0.16667116313F, 0.04189054998F, 0.0083124777F,
};
#endif

/* Of -EXP_HIGHEST..EXP_HIGHEST, and of what is nearest to x there.  NaN stays NaN. */
VEC_INLINE vec vec_exp(vec x)
{
    x = vec_hold(x, -EXP_HIGHEST, EXP_HIGHEST);
    vec shifted = x * R(1.4426950408889634) + EXP_MAGIC;
    vec n = shifted - EXP_MAGIC;
    vec r = (x - n * LN2_HIGH) - n * LN2_LOW;
    vec e = vec_of(EXP_TERM[EXP_TERMS - 1]);
#pragma GCC unroll 16
    for (int i = EXP_TERMS - 2; i >= 0; i--) {
        e = e * r + EXP_TERM[i];
    }
    return e * vec_from_bits((vec_to_bits(shifted) << EXP_SHIFT) + EXP_ONE);
}

/* 2^x of x held at +-126: the same polynomial, and nothing is rounded before it. */
VEC_INLINE vec vec_exp2(vec x)
{
#ifdef UNDINE_REAL_DOUBLE
    return vec_exp(x * 0.69314718055994531);
#else
    static const real term[EXP_TERMS] = {
        1.0F, 0.69314718056F, 0.24022280183F, 0.055505606098F, 0.0096698092343F, 0.001330018857F,
    };
    x = vec_hold(x, -126.0F, 126.0F);
    vec shifted = x + EXP_MAGIC;
    vec r = x - (shifted - EXP_MAGIC);
    vec e = vec_of(term[EXP_TERMS - 1]);
#pragma GCC unroll 16
    for (int i = EXP_TERMS - 2; i >= 0; i--) {
        e = e * r + term[i];
    }
    return vec_from_bits(vec_to_bits(e) + (vec_to_bits(shifted) << EXP_SHIFT));
#endif
}

/* p = 1 / (1 + e), q = 1 - p, both without cancellation; and without overflow, e being what the
 * two above make: 1 + e and its inverse are numbers of full precision. */
VEC_INLINE void vec_share(vec *p, vec *q, vec e)
{
    *p = R(1.0) / (R(1.0) + e);
    *q = e * *p;
}

/* The same of sigmoid(-x). */
VEC_INLINE void vec_sigmoid(vec *p, vec *q, vec x)
{
    vec_share(p, q, vec_exp(x));
}

static void k_exp_negative(real *restrict out, const real *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i += VEC_LANES) {
        vec_store(out + i, vec_exp(vec_load(x + i)));
    }
}

static real exp_one(real x)
{
    return vec_exp(vec_of(x))[0];
}

/* The lanes in a fixed tree: halves are added until one is left. */
VEC_INLINE real vec_sum(vec x)
{
    vec_bits order = {0};
#pragma GCC unroll 16
    for (vec_lane l = 0; l < VEC_LANES; l++) {
        order[l] = l;
    }
#pragma GCC unroll 4
    for (vec_lane half = VEC_LANES / 2; half > 0; half /= 2) {
        x += __builtin_shuffle(x, order ^ half);
    }
    return x[0];
}

static void k_softmax(real *a, size_t n)
{
    real top = a[0];
    for (size_t i = 1; i < n; i++) {
        top = a[i] > top ? a[i] : top;
    }
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        a[i] = exp_one(a[i] - top);
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
    for (size_t i = 0; i < n; i += VEC_LANES) {
        vec p, q;
        vec_sigmoid(&p, &q, -vec_load(s + i));
        vec_store(y + i, p);
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

/* Rows are taken in runs, one group of channels after the other: a run stays in the first cache,
 * its sums in registers.  So many rows are summed in real, then in double. */
enum { SUM_ROWS = 32 };

/* VEC_LANES channels of Dice, inv in base 2: e^((mean - s) / r) = 2^((mean - s) inv).  slope is
 * dice_slope. */
struct dice_vec {
    vec mean, inv, alpha, slope;
};
#define LOG2_E R(1.4426950408889634)
#define LN_2   R(0.69314718055994531)

VEC_INLINE struct dice_vec dice_vec(const struct dice_channels *ch, size_t c)
{
    struct dice_vec v = {.mean = vec_load(ch->mean + c),
                         .inv = vec_load(ch->inv + c),
                         .alpha = vec_load(ch->alpha + c)};
    v.slope = (R(1.0) - v.alpha) * v.inv;
    v.inv *= LOG2_E;
    return v;
}

/* y of s. */
VEC_INLINE vec dice_of(const struct dice_vec *v, vec s)
{
    vec p, q;
    vec_share(&p, &q, vec_exp2((v->mean - s) * v->inv));
    return s * (p + v->alpha * q);
}

static void k_dice(real *restrict y, const real *restrict s, size_t n, size_t stride,
                   const struct dice_channels *ch)
{
    for (size_t i = 0; i < n; i += SUM_ROWS) {
        size_t end = (n - i < SUM_ROWS ? n : i + SUM_ROWS) * stride;
        for (size_t c = 0; c < stride; c += VEC_LANES) {
            struct dice_vec v = dice_vec(ch, c);
            for (size_t at = i * stride + c; at < end; at += stride) {
                __builtin_prefetch(s + at + SUM_ROWS * stride);
                vec_store(y + at, dice_of(&v, vec_load(s + at)));
            }
        }
    }
}

/* Of a run of rows, per channel: dice_sums, t_z in base 2, and dw. */
struct dice_run {
    vec dalpha, t, t_z, dw;
};

/* From dL/dy to dL/ds; ADDS into the run's sums.  *y = Dice's output. */
VEC_INLINE vec dice_back(const struct dice_vec *v, struct dice_run *run, vec g, vec s, vec *y)
{
    vec p, q, x = (v->mean - s) * v->inv;
    vec_share(&p, &q, vec_exp2(x));
    vec on = p + v->alpha * q;
    vec gsq = g * s * q, t = gsq * p;
    run->dalpha += gsq;
    run->t += t;
    run->t_z -= t * x;
    *y = s * on;
    return g * on + t * v->slope;
}

VEC_INLINE void add_vec(double *restrict to, vec x)
{
    wide_store(to, wide_add(wide_load(to), wide_of(x)));
}

VEC_INLINE void add_run(const struct dice_sums *sums, size_t c, const struct dice_run *run)
{
    add_vec(sums->dalpha + c, run->dalpha);
    add_vec(sums->t + c, run->t);
    add_vec(sums->t_z + c, run->t_z * LN_2);
}

static void k_dice_backward(real *restrict g, real *restrict y, const real *restrict s, size_t n,
                            size_t stride, const struct dice_channels *ch,
                            const struct dice_sums *sums)
{
    for (size_t i = 0; i < n; i += SUM_ROWS) {
        size_t end = (n - i < SUM_ROWS ? n : i + SUM_ROWS) * stride;
        for (size_t c = 0; c < stride; c += VEC_LANES) {
            struct dice_vec v = dice_vec(ch, c);
            struct dice_run run = {0};
            for (size_t at = i * stride + c; at < end; at += stride) {
                vec y_at;
                __builtin_prefetch(s + at + SUM_ROWS * stride);
                vec_store(g + at, dice_back(&v, &run, vec_load(g + at), vec_load(s + at), &y_at));
                vec_store(y + at, y_at);
            }
            add_run(sums, c, &run);
        }
    }
}

static void k_dice_dot_backward(real *restrict g, double *restrict dw, const real *restrict d,
                                const real *restrict s, size_t n, size_t stride,
                                const struct dice_channels *ch, const real *restrict w,
                                const struct dice_sums *sums)
{
    for (size_t i = 0; i < n; i += SUM_ROWS) {
        size_t end = n - i < SUM_ROWS ? n : i + SUM_ROWS;
        for (size_t c = 0; c < stride; c += VEC_LANES) {
            struct dice_vec v = dice_vec(ch, c);
            struct dice_run run = {0};
            vec w_c = vec_load(w + c);
            for (size_t r = i; r < end; r++) {
                size_t at = r * stride + c;
                vec y;
                __builtin_prefetch(s + at + SUM_ROWS * stride);
                vec_store(g + at, dice_back(&v, &run, d[r] * w_c, vec_load(s + at), &y));
                run.dw += d[r] * y;
            }
            add_run(sums, c, &run);
            add_vec(dw + c, run.dw);
        }
    }
}

static void k_dice_center(real *restrict out, double *restrict sum, const real *restrict g,
                          const real *restrict s, size_t n, size_t stride,
                          const struct dice_center *center)
{
    for (size_t c = 0; c < stride; c += VEC_LANES) {
        vec mean = vec_load(center->mean + c), shift = vec_load(center->shift + c);
        vec slope = vec_load(center->slope + c);
        struct vec_wide sum_c = wide_load(sum + c);
        for (size_t at = c; at < n * stride; at += stride) {
            vec g_i = vec_load(g + at) - (shift + slope * (vec_load(s + at) - mean));
            vec_store(out + at, g_i);
            sum_c = wide_add(sum_c, wide_of(g_i));
        }
        wide_store(sum + c, sum_c);
    }
}

/* Rows in turns into two sums: one addition need not wait for the other. */
static void k_column_sums(double *restrict sum, const real *restrict x, size_t n, size_t stride)
{
    for (size_t c = 0; c < stride; c += VEC_LANES) {
        struct vec_wide even = wide_load(sum + c), odd = {0};
        size_t i = 0;
        for (const real *at = x + c; i + 1 < n; i += 2, at += 2 * stride) {
            even = wide_add(even, wide_of(vec_load(at)));
            odd = wide_add(odd, wide_of(vec_load(at + stride)));
        }
        if (i < n) {
            even = wide_add(even, wide_of(vec_load(x + i * stride + c)));
        }
        wide_store(sum + c, wide_add(even, odd));
    }
}

/* One pass, about the first row: what cancels in the variance is its distance from the mean, not
 * the mean's from 0, and double has digits left for a first row that is far off. */
static void k_moments(double *restrict mean, double *restrict var, const real *restrict s, size_t n,
                      size_t stride)
{
    double scale = n > 0 ? 1.0 / (double)n : 0.0;
    for (size_t c = 0; c < stride; c += VEC_LANES) {
        struct vec_wide sum = {0}, squares = {0};
        struct vec_wide about = n > 0 ? wide_of(vec_load(s + c)) : sum;
        for (size_t at = c; at < n * stride; at += stride) {
            struct vec_wide d = wide_less(wide_of(vec_load(s + at)), about);
            sum = wide_add(sum, d);
            squares = wide_add_product(squares, d, d);
        }
        struct vec_wide apart = wide_scale(sum, scale);
        wide_store(mean + c, wide_add(about, apart));
        wide_store(var + c,
                   wide_add_product(wide_scale(squares, scale), apart, wide_scale(apart, -1.0)));
    }
    for (size_t c = 0; c < stride; c++) {
        var[c] = var[c] < 0.0 ? 0.0 : var[c]; /* a last bit; NaN stays NaN */
    }
}

/* ---- dot products ------------------------------------------------------------------------- */

VEC_INLINE real dot_row(const real *restrict x, const real *restrict w, size_t stride)
{
    vec acc = {0};
    for (size_t c = 0; c < stride; c += VEC_LANES) {
        acc += vec_load(x + c) * vec_load(w + c);
    }
    return vec_sum(acc);
}

static void k_dot(real *restrict out, const real *restrict x, size_t n, size_t stride,
                  const real *restrict w, real bias)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = bias + dot_row(x + i * stride, w, stride);
    }
}

enum { DOT_ROWS = 8 /* whose sums stay in registers while the channels go by */ };

/* `rows` is a constant where it is inlined. */
VEC_INLINE void dice_dot_rows(real *restrict out, const real *restrict s, size_t rows,
                              size_t stride, const struct dice_channels *ch, const real *restrict w,
                              real bias)
{
    vec acc[DOT_ROWS] = {{0}};
    for (size_t c = 0; c < stride; c += VEC_LANES) {
        struct dice_vec v = dice_vec(ch, c);
        vec w_c = vec_load(w + c);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            acc[i] += dice_of(&v, vec_load(s + i * stride + c)) * w_c;
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
        out[i] = bias + vec_sum(acc[i]);
    }
}

static void k_dice_dot(real *restrict out, const real *restrict s, size_t n, size_t stride,
                       const struct dice_channels *ch, const real *restrict w, real bias)
{
    size_t i = 0;
    for (; i + DOT_ROWS <= n; i += DOT_ROWS) {
        dice_dot_rows(out + i, s + i * stride, DOT_ROWS, stride, ch, w, bias);
    }
    for (; i < n; i++) {
        dice_dot_rows(out + i, s + i * stride, 1, stride, ch, w, bias);
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
        vec c_i = vec_of(c[i]);
        for (size_t j = 0; j < stride; j += VEC_LANES) {
            vec_store(p + j, vec_load(h + j) + c_i * vec_load(w + j));
        }
    }
}

/* `count` is a constant where these are inlined: h, w, dh and dw are as large as the first cache,
 * so that they come from the second once for each call; two examples a call need half of that. */
VEC_INLINE void mix_columns_of(real *restrict p, const real *restrict h, const real *restrict w,
                               const real *const *c, size_t n, size_t stride, size_t count)
{
    for (size_t j = 0; j < stride; j += VEC_LANES) {
        vec c_j[KERNELS_MIX_MAX];
#pragma GCC unroll 2
        for (size_t x = 0; x < count; x++) {
            c_j[x] = vec_load(c[x] + j);
        }
        for (size_t at = j; at < n * stride; at += stride) {
            vec h_at = vec_load(h + at), w_at = vec_load(w + at);
#pragma GCC unroll 2
            for (size_t x = 0; x < count; x++) {
                vec_store(p + x * n * stride + at, h_at + c_j[x] * w_at);
            }
        }
    }
}

static void k_mix_columns(real *p, const real *h, const real *w, const real *const *c, size_t count,
                          size_t n, size_t stride)
{
    if (count == 2) {
        mix_columns_of(p, h, w, c, n, stride, 2);
    } else {
        mix_columns_of(p, h, w, c, n, stride, 1);
    }
}

VEC_INLINE void mix_backward_of(real *restrict dh, real *restrict dw, real *const *dc,
                                const real *restrict dp, const real *restrict w,
                                const real *const *c, size_t n, size_t stride, size_t count)
{
    size_t size = n * stride;
    for (size_t i = 0; i < n; i++, dh += stride, dw += stride, dp += stride, w += stride) {
        vec c_i[KERNELS_MIX_MAX], dot[KERNELS_MIX_MAX] = {{0}};
#pragma GCC unroll 2
        for (size_t x = 0; x < count; x++) {
            c_i[x] = vec_of(c[x][i]);
        }
        for (size_t j = 0; j < stride; j += VEC_LANES) {
            vec dh_j = vec_load(dh + j), dw_j = vec_load(dw + j), w_j = vec_load(w + j);
#pragma GCC unroll 2
            for (size_t x = 0; x < count; x++) {
                vec dp_j = vec_load(dp + x * size + j);
                dot[x] += dp_j * w_j;
                dh_j += dp_j;
                dw_j += c_i[x] * dp_j;
            }
            vec_store(dh + j, dh_j);
            vec_store(dw + j, dw_j);
        }
#pragma GCC unroll 2
        for (size_t x = 0; x < count; x++) {
            dc[x][i] += vec_sum(dot[x]);
        }
    }
}

static void k_mix_backward(real *dh, real *dw, real *const *dc, const real *dp, const real *w,
                           const real *const *c, size_t count, size_t n, size_t stride)
{
    if (count == 2) {
        mix_backward_of(dh, dw, dc, dp, w, c, n, stride, 2);
    } else {
        mix_backward_of(dh, dw, dc, dp, w, c, n, stride, 1);
    }
}

enum { POOL_VECS = 3 };

/* `vecs` neighbours of the columns, a constant where it is inlined. */
VEC_INLINE void pool_columns(real *restrict v, const real *restrict a, const real *restrict e,
                             size_t n, size_t stride, size_t vecs)
{
    vec acc[POOL_VECS] = {{0}};
    for (size_t i = 0; i < n; i++, e += stride) {
        vec a_i = vec_of(a[i]);
#pragma GCC unroll 4
        for (size_t j = 0; j < vecs; j++) {
            acc[j] += a_i * vec_load(e + j * VEC_LANES);
        }
    }
#pragma GCC unroll 4
    for (size_t j = 0; j < vecs; j++) {
        vec_store(v + j * VEC_LANES, acc[j]);
    }
}

static void k_pool(real *restrict v, const real *restrict a, const real *restrict e, size_t n,
                   size_t stride)
{
    size_t c = 0;
    for (; c + POOL_VECS * VEC_LANES <= stride; c += POOL_VECS * VEC_LANES) {
        pool_columns(v + c, a, e + c, n, stride, POOL_VECS);
    }
    for (; c < stride; c += VEC_LANES) {
        pool_columns(v + c, a, e + c, n, stride, 1);
    }
}

static void k_outer(real *restrict e, const real *restrict a, const real *restrict v, size_t n,
                    size_t stride, bool add)
{
    for (size_t i = 0; i < n; i++, e += stride) {
        vec a_i = vec_of(a[i]);
        for (size_t j = 0; j < stride; j += VEC_LANES) {
            vec e_j = add ? vec_load(e + j) : (vec){0};
            vec_store(e + j, e_j + a_i * vec_load(v + j));
        }
    }
}

/* ---- optimizer steps ---------------------------------------------------------------------- */

static void k_sgd(real *restrict w, const real *restrict g, size_t n, real rate)
{
    for (size_t i = 0; i < n; i++) {
        w[i] -= rate * g[i];
    }
}

VEC_INLINE void adagrad_vec(vec *w, vec *a, vec g, real rate, real eps)
{
    *a += g * g;
    *w -= rate * g / (vec_sqrt(*a) + eps);
}

static void k_adagrad(real *restrict w, real *restrict a, const real *restrict g, size_t n,
                      real rate, real eps)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec w_i = vec_load(w + i), a_i = vec_load(a + i);
        adagrad_vec(&w_i, &a_i, vec_load(g + i), rate, eps);
        vec_store(w + i, w_i);
        vec_store(a + i, a_i);
    }
    if (i < n) {
        vec w_i = vec_load_first(w + i, n - i), a_i = vec_load_first(a + i, n - i);
        adagrad_vec(&w_i, &a_i, vec_load_first(g + i, n - i), rate, eps);
        vec_store_first(w + i, w_i, n - i);
        vec_store_first(a + i, a_i, n - i);
    }
}

VEC_INLINE void adam_vec(vec *w, vec *m, vec *v, vec g, const struct adam_step *s)
{
    *m = s->beta1 * *m + s->take1 * g;
    *v = s->beta2 * *v + s->take2 * g * g;
    *w -= s->rate * *m / (vec_sqrt(*v) * s->correct_v + s->eps);
}

static void k_adam(real *restrict w, real *restrict m, real *restrict v, const real *restrict g,
                   size_t n, const struct adam_step *step)
{
    const struct adam_step s = *step;
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec w_i = vec_load(w + i), m_i = vec_load(m + i), v_i = vec_load(v + i);
        adam_vec(&w_i, &m_i, &v_i, vec_load(g + i), &s);
        vec_store(w + i, w_i);
        vec_store(m + i, m_i);
        vec_store(v + i, v_i);
    }
    if (i < n) {
        size_t left = n - i;
        vec w_i = vec_load_first(w + i, left), m_i = vec_load_first(m + i, left);
        vec v_i = vec_load_first(v + i, left);
        adam_vec(&w_i, &m_i, &v_i, vec_load_first(g + i, left), &s);
        vec_store_first(w + i, w_i, left);
        vec_store_first(m + i, m_i, left);
        vec_store_first(v + i, v_i, left);
    }
}

/* In KERNELS_LANES lanes, so that the compiler may use vectors without reordering. */
static double k_squares(const real *x, size_t n)
{
    double lane[KERNELS_LANES] = {0};
    size_t i = 0;
    for (; i + KERNELS_LANES <= n; i += KERNELS_LANES) {
        for (size_t l = 0; l < KERNELS_LANES; l++) {
            lane[l] += (double)x[i + l] * (double)x[i + l];
        }
    }
    for (size_t l = 0; i < n; i++, l++) {
        lane[l] += (double)x[i] * (double)x[i];
    }
    for (size_t half = KERNELS_LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            lane[l] += lane[l + half];
        }
    }
    return lane[0];
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
    .sgd = k_sgd,
    .adagrad = k_adagrad,
    .adam = k_adam,
    .squares = k_squares,
    .exp_negative = k_exp_negative,
};
