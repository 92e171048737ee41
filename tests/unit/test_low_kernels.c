/* Every set of integer kernels that this processor has, against sums without rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "learner/model/low_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 70, WIDTH_MAX = 208 };

static real x[ROWS_MAX * WIDTH_MAX], h[ROWS_MAX * WIDTH_MAX], w[WIDTH_MAX * WIDTH_MAX];
static real p[WIDTH_MAX * WIDTH_MAX], c[ROWS_MAX * WIDTH_MAX], again[ROWS_MAX * WIDTH_MAX];
static int16_t q[ROWS_MAX * WIDTH_MAX], q_again[ROWS_MAX * WIDTH_MAX];
static int16_t b[WIDTH_MAX * WIDTH_MAX * 2];
static real scale[WIDTH_MAX], scale_again[WIDTH_MAX], b_scale[WIDTH_MAX], bias[WIDTH_MAX];

static void fill(real *to, size_t n, struct random *r)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (real)random_normal(r);
    }
}

static void test_limit(void **state)
{
    (void)state;
    assert_int_equal(low_limit(1), INT16_MAX);
    for (size_t k = 1; k < 5000; k++) {
        int64_t limit = low_limit(k), sum = (int64_t)k * limit * limit;
        assert_true(sum <= INT32_MAX);
        assert_true(limit == INT16_MAX || (int64_t)k * (limit + 1) * (limit + 1) > INT32_MAX);
    }
}

/* n rows of k numbers, x_stride apart: none further from its number than half a step. */
static void check_rows(const struct low_kernels *l, size_t n, size_t k, size_t x_stride)
{
    size_t stride = kernels_stride(k);
    int limit = low_limit(k);
    struct low_rows to = {q, scale, stride}, one = {q_again, scale_again, stride};
    memset(q, 0x55, sizeof q);
    l->rows(&to, x, n, x_stride, k, limit);
    for (size_t i = 0; i < n; i++) {
        int most = 0;
        for (size_t j = 0; j < stride; j++) {
            int got = q[i * stride + j];
            double of = j < k ? (double)x[i * x_stride + j] : 0.0;
            assert_true(fabs((double)scale[i] * got - of) <= 0.51 * (double)scale[i]);
            most = abs(got) > most ? abs(got) : most;
        }
        assert_int_equal(most, limit);
        l->rows(&one, x + i * x_stride, 1, x_stride, k, limit);
        assert_memory_equal(q_again, q + i * stride, stride * sizeof *q);
        assert_memory_equal(scale_again, scale + i, sizeof *scale);
    }
}

static void test_rows(void **state)
{
    (void)state;
    struct random r = {1};
    const struct low_kernels *l;
    for (size_t i = 0; (l = low_kernels_available(i)) != NULL; i++) {
        for (size_t k = 1; k < WIDTH_MAX; k += 1 + k / 5) {
            fill(x, ROWS_MAX * WIDTH_MAX, &r);
            check_rows(l, 1 + k % ROWS_MAX, k, kernels_stride(k));
            check_rows(l, 1 + (7 * k) % 40, k, k + 3);
        }
    }
}

static void test_rows_of_nothing_and_of_no_numbers(void **state)
{
    (void)state;
    const struct low_kernels *l;
    struct low_rows to = {q, scale, 32};
    for (size_t i = 0; (l = low_kernels_available(i)) != NULL; i++) {
        memset(x, 0, sizeof x);
        x[32 + 3] = (real)1e-40;
        x[64 + 5] = (real)NAN;
        x[96 + 20] = -(real)INFINITY;
        x[5 * 32 - 1] = (real)NAN; /* behind the row */
        l->rows(&to, x, 5, 32, 31, 1000);
        for (size_t j = 0; j < 32; j++) {
            assert_int_equal(q[j], 0);
            assert_int_equal(q[32 + j], 0);
        }
        assert_true(isfinite(scale[0]) && isfinite(scale[1]) && isfinite(scale[4]));
        assert_true(isnan(scale[2]) && isinf(scale[3]));
    }
}

static void test_mix(void **state)
{
    (void)state;
    struct random r = {2};
    const struct low_kernels *l;
    for (size_t i = 0; (l = low_kernels_available(i)) != NULL; i++) {
        for (size_t k = 1; k < 60; k += 7) {
            size_t n = 16 * (1 + k % 6);
            int limit = low_limit(k);
            struct low_columns to = {b, b_scale, k, n};
            fill(h, k * n, &r);
            fill(w, k * n, &r);
            fill(c, k, &r);
            memset(b, 0x55, sizeof b);
            l->mix(&to, p, h, w, c, limit);
            for (size_t at = 0; at < (k + 1) / 2 * 2 * n; at++) {
                size_t row = at / n, j = at % n;
                double of = row < k ? (double)h[at] + (double)c[row] * (double)w[at] : 0.0;
                double got = (double)b_scale[j] * b[(row / 2 * n + j) * 2 + row % 2];
                assert_true(fabs(got - of) <= 0.51 * (double)b_scale[j]);
            }
        }
    }
}

/* The integers' sum itself, then three roundings of 32 bits. */
static void check_product(const struct low_kernels *l, size_t m, size_t k, size_t n)
{
    size_t stride = kernels_stride(k);
    struct low_product g = {c, n, {q, scale, stride}, {b, b_scale, k, n}, bias, m};
    l->product(&g);
    for (size_t at = 0; at < m * n; at++) {
        size_t i = at / n, j = at % n;
        int64_t sum = 0;
        for (size_t d = 0; d < k; d++) {
            sum += q[i * stride + d] * (int64_t)b[(d / 2 * n + j) * 2 + d % 2];
        }
        assert_true(sum <= INT32_MAX && sum >= INT32_MIN);
        double scaled = (double)sum * (double)scale[i] * (double)b_scale[j];
        double want = scaled + (double)bias[j];
        assert_true(fabs((double)c[at] - want) <= 3e-7 * (fabs(scaled) + fabs(want)));
    }
    memcpy(again, c, m * n * sizeof *c);
    for (size_t i = 0; i < m; i++) { /* the same bits alone */
        struct low_product one = g;
        one.m = 1;
        one.a.q += i * stride;
        one.a.scale += i;
        one.c = p;
        l->product(&one);
        assert_memory_equal(p, again + i * n, n * sizeof *p);
    }
}

static void test_product(void **state)
{
    (void)state;
    static const size_t ms[] = {1, 2, 7, 8, 9, 13, 17, 50, 64}, ks[] = {1, 2, 36, 37, 80, 199};
    struct random r = {3};
    const struct low_kernels *l;
    for (size_t s = 0; (l = low_kernels_available(s)) != NULL; s++) {
        for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
            for (size_t d = 0; d < sizeof ks / sizeof ks[0]; d++) {
                size_t m = ms[i], k = ks[d], n = 16 * (1 + (i + d) % 8);
                fill(x, m * k, &r);
                fill(w, k * n, &r);
                fill(bias, n, &r);
                l->rows(&(struct low_rows){q, scale, kernels_stride(k)}, x, m, k, k, low_limit(k));
                low_columns_of(&(struct low_columns){b, b_scale, k, n}, w, low_limit(k));
                check_product(l, m, k, n);
            }
        }
    }
}

/* As large as integers may be: the sum just fits. */
static void test_product_at_the_limit(void **state)
{
    (void)state;
    const struct low_kernels *l;
    for (size_t s = 0; (l = low_kernels_available(s)) != NULL; s++) {
        for (size_t k = 1; k < 200; k += 33) {
            for (int sign = -1; sign <= 1; sign += 2) {
                for (size_t i = 0; i < 3 * k; i++) {
                    x[i] = 1;
                }
                for (size_t i = 0; i < k * 16; i++) {
                    w[i] = (real)sign;
                }
                memset(bias, 0, sizeof bias);
                l->rows(&(struct low_rows){q, scale, kernels_stride(k)}, x, 3, k, k, low_limit(k));
                low_columns_of(&(struct low_columns){b, b_scale, k, 16}, w, low_limit(k));
                check_product(l, 3, k, 16);
            }
        }
    }
}

/* ---- Dice --------------------------------------------------------------------------------- */

static real channels[4][WIDTH_MAX], weights[WIDTH_MAX];

static struct low_dice random_dice(size_t n, struct random *r)
{
    for (size_t j = 0; j < n; j++) {
        channels[0][j] = (real)(-1.5 * exp(random_normal(r)));
        channels[1][j] = (real)random_normal(r);
        channels[2][j] = (real)(0.3 * random_normal(r));
        channels[3][j] = R(1.0) - channels[2][j];
        weights[j] = (real)random_normal(r);
    }
    return (struct low_dice){channels[0], channels[1], channels[2], channels[3]};
}

static double dice_of(const struct low_dice *d, size_t j, double s)
{
    double t = (double)d->slope[j] * s + (double)d->shift[j];
    return s * ((double)d->alpha[j] + (double)d->rest[j] / (1.0 + exp2(t)));
}

/* How far y may be: 6e-5 of the factor p, and what 32 bits make of t. */
static double dice_room(const struct low_dice *d, size_t j, double s)
{
    double t = fabs((double)d->slope[j] * s) + fabs((double)d->shift[j]);
    return fabs(s) * (fabs((double)d->rest[j]) * (8e-5 + 1e-7 * fmin(t, 1e3)) + 1e-6);
}

static void check_dice(const struct low_kernels *l, size_t n, size_t stride, double size,
                       struct random *r)
{
    struct low_dice d = random_dice(stride, r);
    struct low_rows to = {q, scale, stride}, one = {q_again, scale_again, stride};
    fill(x, n * stride, r);
    for (size_t i = 0; i < n * stride; i++) {
        x[i] *= (real)size;
    }
    memcpy(h, x, n * stride * sizeof *h);
    l->dice_rows(&to, h, n, stride, &d, 5000);
    l->dice_dot(c, x, n, stride, &d, weights, R(0.25));
    for (size_t i = 0; i < n; i++) {
        double sum = 0.25, room = 1e-6;
        for (size_t j = 0; j < stride; j++) {
            size_t at = i * stride + j;
            double y = dice_of(&d, j, (double)x[at]), far = dice_room(&d, j, (double)x[at]);
            assert_true(fabs((double)h[at] - y) <= far);
            double step = (double)scale[i];
            assert_true(fabs(step * q[at] - (double)h[at]) <= 0.51 * step);
            sum += y * (double)weights[j];
            room += (far + 1e-6 * fabs(y)) * fabs((double)weights[j]);
        }
        assert_true(fabs((double)c[i] - sum) <= room);
        real dot;
        l->dice_dot(&dot, x + i * stride, 1, stride, &d, weights, R(0.25));
        assert_memory_equal(&dot, &c[i], sizeof dot);
        memcpy(again, x + i * stride, stride * sizeof *again);
        l->dice_rows(&one, again, 1, stride, &d, 5000);
        assert_memory_equal(q_again, q + i * stride, stride * sizeof *q);
        assert_memory_equal(scale_again, scale + i, sizeof *scale);
    }
}

static void test_dice(void **state)
{
    (void)state;
    struct random r = {4};
    const struct low_kernels *l;
    for (size_t s = 0; (l = low_kernels_available(s)) != NULL; s++) {
        for (size_t n = 1; n < 64; n += 1 + n / 3) {
            for (size_t stride = 16; stride <= WIDTH_MAX; stride += 64) {
                check_dice(l, n, stride, 1.0, &r);
                check_dice(l, n, stride, 1e4, &r);
            }
        }
    }
}

static void test_dice_of_no_numbers(void **state)
{
    (void)state;
    struct random r = {5};
    struct low_dice d = random_dice(32, &r);
    const struct low_kernels *l;
    for (size_t s = 0; (l = low_kernels_available(s)) != NULL; s++) {
        fill(x, 96, &r);
        x[3] = (real)NAN;
        x[32 + 30] = (real)INFINITY;
        x[33] = (real)NAN;
        l->dice_dot(c, x, 3, 32, &d, weights, 0);
        assert_true(isnan(c[0]) && isnan(c[1]) && isfinite(c[2]));
        l->dice_rows(&(struct low_rows){q, scale, 32}, x, 3, 32, &d, 1000);
        assert_true(isnan(scale[0]) && isnan(scale[1]) && isfinite(scale[2]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_rows_of_nothing_and_of_no_numbers),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_product_at_the_limit),
        cmocka_unit_test(test_dice),
        cmocka_unit_test(test_dice_of_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
