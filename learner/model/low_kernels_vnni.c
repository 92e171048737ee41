/* AVX-512 VNNI: vpdpwssd multiplies two pairs of 16-bit integers in each of 16 lanes and adds both
 * to the lane's 32 bits; it starts as often as a fused multiply-add, which does half of it.
 *
 * (vdpbf16ps looks like the natural choice and is not: on Emerald Rapids it starts once in two
 * cycles, a quarter as often as a fused multiply-add.) */
#include "learner/model/low_kernels_inside.h"

#include <immintrin.h>
#include <string.h>

enum { LANES = 16, TILE_ROWS = 8, TILE_VECS = 3 };
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* |x| as bits: as integers they order as the numbers do, and NaN stands above infinity. */
INLINE __m512i size_of(__m512 x)
{
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

INLINE __m512i least(void)
{
    return _mm512_castps_si512(_mm512_set1_ps(LOW_LEAST));
}

INLINE float largest(__m512i sizes)
{
    int bits = _mm512_reduce_max_epi32(sizes);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- into integers ------------------------------------------------------------------------ */

INLINE void put_integers(int16_t *q, __m512 x, __m512 inverse)
{
    __m512i integers = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
    _mm256_storeu_si256((__m256i *)(void *)q, _mm512_cvtsepi32_epi16(integers));
}

/* The first k of x, 0 behind them, from c on. */
INLINE __m512 load(const float *x, size_t c, size_t k)
{
    unsigned mask = k - c < LANES ? (1U << (k - c)) - 1 : 0xffffU;
    return _mm512_maskz_loadu_ps((__mmask16)mask, x + c);
}

static void vnni_rows(const struct low_rows *out, const real *x, size_t n, size_t x_stride,
                      size_t k, int limit)
{
    int16_t *q = out->q;
    for (size_t i = 0; i < n; i++, x += x_stride, q += out->stride) {
        __m512i sizes = least();
        for (size_t c = 0; c < k; c += LANES) {
            sizes = _mm512_max_epi32(sizes, size_of(load(x, c, k)));
        }
        float top = largest(sizes);
        out->scale[i] = top / (float)limit;
        __m512 inverse = _mm512_set1_ps((float)limit / top);
        size_t c = 0;
        for (; c < k; c += LANES) {
            put_integers(q + c, load(x, c, k), inverse);
        }
        for (; c < out->stride; c += LANES) {
            _mm256_storeu_si256((__m256i *)(void *)(q + c), _mm256_setzero_si256());
        }
    }
}

/* Rows 2i and 2i + 1 of a vector of columns. */
INLINE void put_pairs(int16_t *q, __m512 even, __m512 odd, __m512 inverse)
{
    __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(even, inverse));
    __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(odd, inverse));
    high = _mm512_slli_epi32(high, 16);
    _mm512_storeu_si512(q, _mm512_mask_blend_epi16(0xaaaaaaaaU, low, high));
}

static void vnni_mix(const struct low_columns *out, real *p, const real *h, const real *w,
                     const real *c, int limit)
{
    size_t k = out->k, n = out->n;
    __m512 most = _mm512_set1_ps((float)limit);
    for (size_t j = 0; j < n; j += LANES) {
        __m512i sizes = least();
        for (size_t i = 0, at = j; i < k; i++, at += n) {
            __m512 p_i = _mm512_fmadd_ps(_mm512_set1_ps(c[i]), _mm512_loadu_ps(w + at),
                                         _mm512_loadu_ps(h + at));
            _mm512_storeu_ps(p + at, p_i);
            sizes = _mm512_max_epi32(sizes, size_of(p_i));
        }
        __m512 top = _mm512_castsi512_ps(sizes);
        _mm512_storeu_ps(out->scale + j, _mm512_div_ps(top, most));
        __m512 inverse = _mm512_div_ps(most, top);
        for (size_t i = 0; i < k; i += 2) {
            const float *at = p + i * n + j;
            __m512 odd = i + 1 < k ? _mm512_loadu_ps(at + n) : _mm512_setzero_ps();
            put_pairs(out->q + (i / 2 * n + j) * 2, _mm512_loadu_ps(at), odd, inverse);
        }
    }
}

/* ---- product ------------------------------------------------------------------------------ */

INLINE __m512i pair_of(const int16_t *q)
{
    int32_t pair;
    memcpy(&pair, q, sizeof pair);
    return _mm512_set1_epi32(pair);
}

/* sum += a b, pair by pair.  The instruction itself: with the intrinsic, GCC 12 copies each sum
 * before it is added to, and keeps the copies on the stack. */
INLINE void add_pairs(__m512i *sum, __m512i a, __m512i b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b));
}

/* Rows i.. and columns j.. of c; rows and vecs are constants wherever it is inlined. */
INLINE void tile(const struct low_product *g, size_t i0, size_t j0, size_t rows, size_t vecs)
{
    __m512i sum[TILE_ROWS][TILE_VECS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < vecs; j++) {
            sum[i][j] = _mm512_setzero_si512();
        }
    }
    size_t stride = g->a.stride, ldb = 2 * g->b.n;
    const int16_t *a = g->a.q + i0 * stride, *b = g->b.q + 2 * j0;
    for (size_t p = (g->b.k + 1) / 2; p > 0; p--, a += 2, b += ldb) {
        __m512i b_p[TILE_VECS];
        UNROLL
        for (size_t j = 0; j < vecs; j++) {
            b_p[j] = _mm512_loadu_si512(b + 2 * LANES * j);
        }
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            __m512i a_ip = pair_of(a + i * stride);
            UNROLL
            for (size_t j = 0; j < vecs; j++) {
                add_pairs(&sum[i][j], a_ip, b_p[j]);
            }
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        __m512 scale = _mm512_set1_ps(g->a.scale[i0 + i]);
        UNROLL
        for (size_t j = 0; j < vecs; j++) {
            size_t at = j0 + j * LANES;
            __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[i][j]), scale);
            _mm512_storeu_ps(g->c + (i0 + i) * g->ldc + at,
                             _mm512_fmadd_ps(scaled, _mm512_loadu_ps(g->b.scale + at),
                                             _mm512_loadu_ps(g->bias + at)));
        }
    }
}

#define TILE(rows, vecs)                                                                           \
    static void tile_##rows##_##vecs(const struct low_product *g, size_t i, size_t j)              \
    {                                                                                              \
        tile(g, i, j, rows, vecs);                                                                 \
    }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) TILE(rows, 3)
#define TILE_NAMES(rows)                                                                           \
    {                                                                                              \
        tile_##rows##_1, tile_##rows##_2, tile_##rows##_3                                          \
    }
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
TILES(7)
TILES(8)

typedef void (*tile_fn)(const struct low_product *g, size_t i, size_t j);
static const tile_fn TILE_OF[TILE_ROWS][TILE_VECS] = {
    TILE_NAMES(1), TILE_NAMES(2), TILE_NAMES(3), TILE_NAMES(4),
    TILE_NAMES(5), TILE_NAMES(6), TILE_NAMES(7), TILE_NAMES(8),
};

/* Rows are cut evenly: 50 are 8 + 6 times 7, not 6 times 8 and a slow 2. */
static void vnni_product(const struct low_product *g)
{
    size_t tiles = (g->m + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t j = 0; j < g->b.n;) {
        size_t left = (g->b.n - j) / LANES;
        size_t vecs = left == 4 ? 2 : left < TILE_VECS ? left : TILE_VECS; /* 4 = 2 + 2 */
        for (size_t t = 0, i = 0; t < tiles; t++) {
            size_t rows = g->m / tiles + (t < g->m % tiles);
            TILE_OF[rows - 1][vecs - 1](g, i, j);
            i += rows;
        }
        j += vecs * LANES;
    }
}

/* ---- Dice --------------------------------------------------------------------------------- */

struct dice_vec {
    __m512 slope, shift, alpha, rest;
};

INLINE struct dice_vec dice_vec(const struct low_dice *d, size_t c)
{
    return (struct dice_vec){_mm512_loadu_ps(d->slope + c), _mm512_loadu_ps(d->shift + c),
                             _mm512_loadu_ps(d->alpha + c), _mm512_loadu_ps(d->rest + c)};
}

INLINE __m512 dice_of(const struct dice_vec *d, __m512 s)
{
    __m512 t = _mm512_fmadd_ps(s, d->slope, d->shift);
    /* t less its floor; scalef takes the floor itself. */
    __m512 r = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 e = _mm512_fmadd_ps(_mm512_set1_ps(LOW_EXP_3), r, _mm512_set1_ps(LOW_EXP_2));
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(LOW_EXP_1));
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(LOW_EXP_0));
    e = _mm512_scalef_ps(e, t);
    __m512 p = _mm512_rcp14_ps(_mm512_add_ps(e, _mm512_set1_ps(1.0F)));
    return _mm512_mul_ps(s, _mm512_fmadd_ps(p, d->rest, d->alpha));
}

/* So many rows at once, a constant wherever they are inlined, keep the processor's units busy: a
 * vector's steps wait for each other. */
enum { DICE_ROWS = 4 };

INLINE void dice_rows_of(const struct low_rows *out, real *s, size_t first, size_t rows,
                         size_t stride, const struct low_dice *dice, int limit)
{
    __m512i sizes[DICE_ROWS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        sizes[i] = least();
    }
    for (size_t c = 0; c < stride; c += LANES) {
        struct dice_vec d = dice_vec(dice, c);
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            __m512 y = dice_of(&d, _mm512_loadu_ps(s + i * stride + c));
            _mm512_storeu_ps(s + i * stride + c, y);
            sizes[i] = _mm512_max_epi32(sizes[i], size_of(y));
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        float top = largest(sizes[i]);
        __m512 inverse = _mm512_set1_ps((float)limit / top);
        int16_t *q = out->q + (first + i) * out->stride;
        out->scale[first + i] = top / (float)limit;
        for (size_t c = 0; c < stride; c += LANES) {
            put_integers(q + c, _mm512_loadu_ps(s + i * stride + c), inverse);
        }
    }
}

static void vnni_dice_rows(const struct low_rows *out, real *s, size_t n, size_t stride,
                           const struct low_dice *dice, int limit)
{
    size_t i = 0;
    for (; i + DICE_ROWS <= n; i += DICE_ROWS) {
        dice_rows_of(out, s + i * stride, i, DICE_ROWS, stride, dice, limit);
    }
    for (; i < n; i++) {
        dice_rows_of(out, s + i * stride, i, 1, stride, dice, limit);
    }
}

union four {
    __m128 all;
    float each[DICE_ROWS];
};

/* The sums of up to four rows' lanes: columns of 4 x 4 lanes become rows, three times over.  Each
 * row's lanes are added in one order, whatever stands beside it. */
INLINE __m128 sum_of_four(const __m512 *sum, size_t rows)
{
    __m512 a = sum[0], b = rows > 1 ? sum[1] : a, c = rows > 2 ? sum[2] : a;
    __m512 d = rows > 3 ? sum[3] : a;
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    __m512 four = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(four), _mm512_extractf32x8_ps(four, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

INLINE void dice_dot_of(real *out, const real *s, size_t rows, size_t stride,
                        const struct low_dice *dice, const real *w, real bias)
{
    __m512 sum[DICE_ROWS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (size_t c = 0; c < stride; c += LANES) {
        struct dice_vec d = dice_vec(dice, c);
        __m512 w_c = _mm512_loadu_ps(w + c);
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            __m512 y = dice_of(&d, _mm512_loadu_ps(s + i * stride + c));
            sum[i] = _mm512_fmadd_ps(y, w_c, sum[i]);
        }
    }
    union four y = {.all = sum_of_four(sum, rows)};
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        out[i] = bias + y.each[i];
    }
}

static void vnni_dice_dot(real *out, const real *s, size_t n, size_t stride,
                          const struct low_dice *dice, const real *w, real bias)
{
    size_t i = 0;
    for (; i + DICE_ROWS <= n; i += DICE_ROWS) {
        dice_dot_of(out + i, s + i * stride, DICE_ROWS, stride, dice, w, bias);
    }
    for (; i < n; i++) {
        dice_dot_of(out + i, s + i * stride, 1, stride, dice, w, bias);
    }
}

const struct low_kernels low_kernels_vnni = {
    .name = "avx512-vnni",
    .rows = vnni_rows,
    .mix = vnni_mix,
    .product = vnni_product,
    .dice_rows = vnni_dice_rows,
    .dice_dot = vnni_dice_dot,
};
