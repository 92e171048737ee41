/* kernels_vec.h: the widest vectors of the instruction set that a file is compiled for, and what
 * the compiler's own operators on them do not offer.  Double where real is. */
#ifndef UNDINE_LEARNER_MODEL_KERNELS_VEC_H
#define UNDINE_LEARNER_MODEL_KERNELS_VEC_H

#include "learner/model/real.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { VEC_BYTES = 64 };
#elif defined(__AVX2__)
enum { VEC_BYTES = 32 };
#else
enum { VEC_BYTES = 16 };
#endif
enum { VEC_LANES = VEC_BYTES / sizeof(real) };

typedef real vec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));

#ifdef UNDINE_REAL_DOUBLE
typedef uint64_t vec_lane;
#else
typedef uint32_t vec_lane;
#endif
typedef vec_lane vec_bits __attribute__((vector_size(VEC_BYTES)));

/* As many doubles as a vec has lanes, in vectors of full width. */
enum { WIDE_PARTS = sizeof(double) / sizeof(real) };
typedef double vec_doubles __attribute__((vector_size(VEC_BYTES), aligned(8), may_alias));
typedef real vec_part __attribute__((vector_size(VEC_BYTES / WIDE_PARTS)));
struct vec_wide {
    vec_doubles part[WIDE_PARTS];
};
enum { WIDE_LANES = VEC_LANES / WIDE_PARTS };

#define VEC_INLINE static inline __attribute__((always_inline))

VEC_INLINE vec vec_load(const real *p)
{
    return *(const vec *)p;
}

VEC_INLINE void vec_store(real *p, vec x)
{
    *(vec *)p = x;
}

/* The first n < VEC_LANES lanes; the others are 0, and not stored. */
VEC_INLINE vec vec_load_first(const real *p, size_t n)
{
#if defined(__AVX512F__) && !defined(UNDINE_REAL_DOUBLE)
    return _mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p);
#elif defined(__AVX512F__)
    return _mm512_maskz_loadu_pd((__mmask8)((1U << n) - 1), p);
#else
    vec x = {0};
    for (size_t l = 0; l < n; l++) {
        x[l] = p[l];
    }
    return x;
#endif
}

VEC_INLINE void vec_store_first(real *p, vec x, size_t n)
{
#if defined(__AVX512F__) && !defined(UNDINE_REAL_DOUBLE)
    _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), x);
#elif defined(__AVX512F__)
    _mm512_mask_storeu_pd(p, (__mmask8)((1U << n) - 1), x);
#else
    for (size_t l = 0; l < n; l++) {
        p[l] = x[l];
    }
#endif
}

VEC_INLINE vec vec_of(real x)
{
    return (vec){0} + x;
}

#define FOR_WIDE_PARTS _Pragma("GCC unroll 2") for (size_t h = 0; h < WIDE_PARTS; h++)

VEC_INLINE struct vec_wide wide_load(const double *p)
{
    struct vec_wide w;
    FOR_WIDE_PARTS
    {
        w.part[h] = *(const vec_doubles *)(p + h * WIDE_LANES);
    }
    return w;
}

VEC_INLINE void wide_store(double *p, struct vec_wide w)
{
    FOR_WIDE_PARTS
    {
        *(vec_doubles *)(p + h * WIDE_LANES) = w.part[h];
    }
}

VEC_INLINE vec_doubles doubles_of(vec_part x)
{
#if defined(UNDINE_REAL_DOUBLE)
    return x;
#elif defined(__AVX512F__)
    return _mm512_cvtps_pd(x);
#elif defined(__AVX2__)
    return _mm256_cvtps_pd(x);
#else
    return __builtin_convertvector(x, vec_doubles);
#endif
}

/* The same numbers in double. */
VEC_INLINE struct vec_wide wide_of(vec x)
{
    struct vec_wide w;
    vec_part part[WIDE_PARTS];
    memcpy(part, &x, sizeof x);
    FOR_WIDE_PARTS
    {
        w.part[h] = doubles_of(part[h]);
    }
    return w;
}

VEC_INLINE struct vec_wide wide_add(struct vec_wide a, struct vec_wide b)
{
    FOR_WIDE_PARTS
    {
        a.part[h] += b.part[h];
    }
    return a;
}

VEC_INLINE struct vec_wide wide_less(struct vec_wide a, struct vec_wide b)
{
    FOR_WIDE_PARTS
    {
        a.part[h] -= b.part[h];
    }
    return a;
}

/* a + b c */
VEC_INLINE struct vec_wide wide_add_product(struct vec_wide a, struct vec_wide b, struct vec_wide c)
{
    FOR_WIDE_PARTS
    {
        a.part[h] += b.part[h] * c.part[h];
    }
    return a;
}

VEC_INLINE struct vec_wide wide_scale(struct vec_wide a, double b)
{
    FOR_WIDE_PARTS
    {
        a.part[h] *= b;
    }
    return a;
}

/* x > limit ? limit : x, and x < limit ? limit : x: NaN stays NaN, which is why these are not the
 * compiler's to find. */
#if defined(__AVX512F__) && !defined(UNDINE_REAL_DOUBLE)
#define VEC_X86(name) _mm512_##name##_ps
#elif defined(__AVX512F__)
#define VEC_X86(name) _mm512_##name##_pd
#elif defined(__AVX2__) && !defined(UNDINE_REAL_DOUBLE)
#define VEC_X86(name) _mm256_##name##_ps
#elif defined(__AVX2__)
#define VEC_X86(name) _mm256_##name##_pd
#elif defined(__x86_64__) && !defined(UNDINE_REAL_DOUBLE)
#define VEC_X86(name) _mm_##name##_ps
#elif defined(__x86_64__)
#define VEC_X86(name) _mm_##name##_pd
#endif

VEC_INLINE vec vec_hold(vec x, real low, real high)
{
#ifdef VEC_X86
    return VEC_X86(min)(vec_of(high), VEC_X86(max)(vec_of(low), x));
#else
    for (size_t l = 0; l < VEC_LANES; l++) {
        x[l] = x[l] < low ? low : x[l] > high ? high : x[l];
    }
    return x;
#endif
}

VEC_INLINE vec vec_sqrt(vec x)
{
#ifdef VEC_X86
    return VEC_X86(sqrt)(x);
#else
    for (size_t l = 0; l < VEC_LANES; l++) {
        x[l] = sizeof(real) == sizeof(float) ? (real)__builtin_sqrtf((float)x[l])
                                             : (real)__builtin_sqrt((double)x[l]);
    }
    return x;
#endif
}

/* The bits of the numbers as integers, and back. */
VEC_INLINE vec_bits vec_to_bits(vec x)
{
    vec_bits b;
    memcpy(&b, &x, sizeof b);
    return b;
}

VEC_INLINE vec vec_from_bits(vec_bits b)
{
    vec x;
    memcpy(&x, &b, sizeof x);
    return x;
}

#endif
