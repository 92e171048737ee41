/* Every kernel of every instruction set that this processor has, against plain loops in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "learner/model/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 37, STRIDE = 48, SIZE = N * STRIDE };
static const double LIMIT = sizeof(real) == 8 ? 1e-12 : 4e-6;
static const double EXP_LIMIT = sizeof(real) == 8 ? 1e-15 : 2e-7;

static void fill(real *x, size_t n, struct random *r)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (real)random_normal(r);
    }
}

static void assert_close(double got, double expected, const char *isa, const char *what, size_t i)
{
    if (!(fabs(got - expected) <= LIMIT * fmax(1.0, fabs(expected)))) {
        fail_msg("%s: %s[%zu] is %.17g, expected %.17g", isa, what, i, got, expected);
    }
}

static double sigmoid(double z)
{
    return z >= 0 ? 1.0 / (1.0 + exp(-z)) : exp(z) / (1.0 + exp(z));
}

static void check_gemm(const struct kernels *k, size_t m, size_t n, size_t depth, bool transposed,
                       int start, struct random *r)
{
    real *a = calloc(m * depth + 1, sizeof *a), *b = calloc(depth * n + 1, sizeof *b);
    real *c = calloc(m * n + 1, sizeof *c), *old = calloc(m * n + 1, sizeof *old);
    real *bias = calloc(n, sizeof *bias);
    assert_true(a != NULL && b != NULL && c != NULL && old != NULL && bias != NULL);
    fill(a, m * depth, r);
    fill(b, depth * n, r);
    fill(c, m * n, r);
    fill(bias, n, r);
    memcpy(old, c, m * n * sizeof *c);
    k->gemm(&(struct gemm){c, n, a, transposed ? 1 : depth, transposed ? m : 1, b, n, m, n, depth,
                           start == 1 ? bias : NULL, start == 2});
    for (size_t i = 0; i < m * n; i++) {
        double sum = start == 1 ? (double)bias[i % n] : start == 2 ? (double)old[i] : 0.0;
        for (size_t p = 0; p < depth; p++) {
            real a_ip = transposed ? a[p * m + i / n] : a[i / n * depth + p];
            sum += (double)a_ip * (double)b[p * n + i % n];
        }
        assert_close((double)c[i] / sqrt((double)depth + 1), sum / sqrt((double)depth + 1), k->name,
                     "gemm", i);
    }
    free(a);
    free(b);
    free(c);
    free(old);
    free(bias);
}

static void test_gemm(void **state)
{
    (void)state;
    struct random r = {1};
    static const size_t ms[] = {1, 2, 3, 5, 7, 8, 9, 13, 50, 300}, depths[] = {0, 1, 36, 129, 300};
    const struct kernels *k;
    for (size_t i = 0; (k = kernels_available(i)) != NULL; i++) {
        for (size_t m = 0; m < sizeof ms / sizeof ms[0]; m++) {
            for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
                check_gemm(k, ms[m], 16 * (1 + (m + d) % 8), depths[d], (m + d) % 2 == 0,
                           (int)((m + 2 * d) % 3), &r);
            }
        }
    }
}

/* The promise of kernels.h: a row of the product does not depend on how many there are. */
static void test_gemm_rows_are_independent(void **state)
{
    (void)state;
    enum { M = 300, K = 200, WIDTH = 80 };
    static real a[M * K], b[K * WIDTH], all[M * WIDTH], one[WIDTH];
    struct random r = {2};
    const struct kernels *k;
    fill(a, M * K, &r);
    fill(b, K * WIDTH, &r);
    for (size_t i = 0; (k = kernels_available(i)) != NULL; i++) {
        k->gemm(&(struct gemm){all, WIDTH, a, K, 1, b, WIDTH, M, WIDTH, K, NULL, false});
        for (size_t row = 0; row < M; row++) {
            k->gemm(
                &(struct gemm){one, WIDTH, a + row * K, K, 1, b, WIDTH, 1, WIDTH, K, NULL, false});
            assert_memory_equal(one, all + row * WIDTH, sizeof one);
        }
    }
}

static void test_exp(void **state)
{
    (void)state;
    enum { POINTS = 1 << 16 };
    static real x[POINTS], e[POINTS];
    const struct kernels *k;
    double lowest = sizeof(real) == 8 ? -708.0 : -87.0;
    for (size_t i = 0; i < POINTS; i++) {
        x[i] = (real)(i % 2 == 0 ? lowest * (double)i / POINTS : -4.0 * (double)i / POINTS);
    }
    for (size_t s = 0; (k = kernels_available(s)) != NULL; s++) {
        double worst = 0.0;
        k->exp_negative(e, x, POINTS);
        for (size_t i = 0; i < POINTS; i++) {
            double expected = exp((double)x[i]);
            worst = fmax(worst, fabs((double)e[i] - expected) / expected);
        }
        printf("%s: exp: largest relative error %.3g\n", k->name, worst);
        assert_true(worst <= EXP_LIMIT);
        real odd[KERNELS_LANES] = {(real)NAN, (real)-INFINITY, R(-1e30), 0}, out[KERNELS_LANES];
        k->exp_negative(out, odd, KERNELS_LANES);
        assert_true(isnan(out[0]));
        assert_true(out[1] >= 0 && out[1] < R(1e-37) && out[2] == out[1]);
        assert_true(out[3] == 1);
    }
}

struct fields {
    real s[SIZE], y[SIZE], g[SIZE], g0[SIZE];
    real mean[STRIDE], inv[STRIDE], alpha[STRIDE], shift[STRIDE], slope[STRIDE];
    double sums[3 * STRIDE], moments[2 * STRIDE];
};

static void fields_init(struct fields *f)
{
    struct random r = {3};
    fill(f->s, SIZE, &r);
    fill(f->g0, SIZE, &r);
    fill(f->mean, STRIDE, &r);
    fill(f->alpha, STRIDE, &r);
    fill(f->shift, STRIDE, &r);
    fill(f->slope, STRIDE, &r);
    for (size_t c = 0; c < STRIDE; c++) {
        f->inv[c] = (real)(0.2 + random_unit(&r));
    }
    memset(f->sums, 0, sizeof f->sums);
    memcpy(f->g, f->g0, sizeof f->g);
}

static void check_dice(const struct kernels *k, struct fields *f)
{
    struct dice_channels ch = {f->mean, f->inv, f->alpha};
    double sums[3 * STRIDE] = {0};
    static real y[SIZE];
    k->dice(f->y, f->s, N, STRIDE, &ch);
    k->dice_backward(f->g, y, f->s, N, STRIDE, &ch,
                     &(struct dice_sums){f->sums, f->sums + STRIDE, f->sums + 2 * STRIDE});
    assert_memory_equal(y, f->y, sizeof y);
    for (size_t i = 0; i < SIZE; i++) {
        size_t c = i % STRIDE;
        double s = (double)f->s[i], alpha = (double)f->alpha[c], g = (double)f->g0[i];
        double z = (s - (double)f->mean[c]) * (double)f->inv[c], p = sigmoid(z);
        double t = g * s * p * (1 - p); /* dL/dz but for 1 - alpha */
        assert_close((double)f->y[i], s * (alpha + (1 - alpha) * p), k->name, "dice", i);
        assert_close((double)f->g[i],
                     g * (alpha + (1 - alpha) * p) + (1 - alpha) * t * (double)f->inv[c], k->name,
                     "dice_backward", i);
        sums[c] += g * (1 - p) * s;
        sums[STRIDE + c] += t;
        sums[2 * STRIDE + c] += t * z;
    }
    for (size_t i = 0; i < 3 * STRIDE; i++) {
        assert_close(f->sums[i] / N, sums[i] / N, k->name, "dice sums", i);
    }
    memcpy(f->g, f->g0, sizeof f->g);
    double column[STRIDE] = {0};
    k->dice_center(f->g, column, f->g0, f->s, N, STRIDE,
                   &(struct dice_center){f->mean, f->shift, f->slope});
    for (size_t i = 0; i < SIZE; i++) {
        size_t c = i % STRIDE;
        double part =
            (double)f->shift[c] + (double)f->slope[c] * ((double)f->s[i] - (double)f->mean[c]);
        assert_close((double)f->g[i], (double)f->g0[i] - part, k->name, "dice_center", i);
        column[c] -= (double)f->g[i];
    }
    for (size_t c = 0; c < STRIDE; c++) {
        assert_true(fabs(column[c]) < 1e-12);
    }
}

/* Dice with a dot product on top is Dice, then the dot product. */
static void check_dice_dot(const struct kernels *k, struct fields *f)
{
    struct dice_channels ch = {f->mean, f->inv, f->alpha};
    real out[N], apart[N];
    double sums[3 * STRIDE] = {0}, dw[2][STRIDE] = {{0}};
    const real *w = f->slope;
    k->dice(f->y, f->s, N, STRIDE, &ch);
    k->dot(apart, f->y, N, STRIDE, w, R(0.5));
    k->dice_dot(out, f->s, N, STRIDE, &ch, w, R(0.5));
    for (size_t i = 0; i < N; i++) {
        assert_close((double)out[i], (double)apart[i], k->name, "dice_dot", i);
    }
    static real g[SIZE];
    memset(f->sums, 0, sizeof f->sums);
    k->dot_backward(f->g, dw[0], out, f->y, N, STRIDE, w);
    k->dice_backward(f->g, f->y, f->s, N, STRIDE, &ch,
                     &(struct dice_sums){sums, sums + STRIDE, sums + 2 * STRIDE});
    k->dice_dot_backward(g, dw[1], out, f->s, N, STRIDE, &ch, w,
                         &(struct dice_sums){f->sums, f->sums + STRIDE, f->sums + 2 * STRIDE});
    for (size_t i = 0; i < SIZE; i++) {
        assert_close((double)g[i], (double)f->g[i], k->name, "dice_dot_backward", i);
    }
    for (size_t c = 0; c < STRIDE; c++) {
        assert_close(dw[1][c] / N, dw[0][c] / N, k->name, "dice_dot_backward dw", c);
    }
    for (size_t i = 0; i < 3 * STRIDE; i++) {
        assert_close(f->sums[i] / N, sums[i] / N, k->name, "dice_dot_backward sums", i);
    }
    memset(f->sums, 0, sizeof f->sums);
    memcpy(f->g, f->g0, sizeof f->g);
}

static void check_activations(const struct kernels *k, struct fields *f)
{
    double dalpha[STRIDE] = {0};
    k->sigmoid(f->y, f->s, SIZE);
    k->sigmoid_backward(f->g, f->y, SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        double p = sigmoid((double)f->s[i]);
        assert_close((double)f->y[i], p, k->name, "sigmoid", i);
        assert_close((double)f->g[i], (double)f->g0[i] * p * (1 - p), k->name, "sigmoid_backward",
                     i);
    }
    memcpy(f->g, f->g0, sizeof f->g);
    k->tanh_backward(f->g, f->y, SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        double y = (double)f->y[i];
        assert_close((double)f->g[i], (double)f->g0[i] * (1 - y * y), k->name, "tanh_backward", i);
    }
    memcpy(f->g, f->g0, sizeof f->g);
    k->relu(f->y, f->s, SIZE);
    k->relu_backward(f->g, f->s, SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        assert_true(f->y[i] == (f->s[i] > 0 ? f->s[i] : 0));
        assert_true(f->g[i] == (f->s[i] > 0 ? f->g0[i] : 0));
    }
    memcpy(f->g, f->g0, sizeof f->g);
    memset(f->sums, 0, sizeof f->sums);
    k->prelu(f->y, f->s, N, STRIDE, f->alpha);
    k->prelu_backward(f->g, f->s, N, STRIDE, f->alpha, f->sums);
    for (size_t i = 0; i < SIZE; i++) {
        double slope = f->s[i] > 0 ? 1.0 : (double)f->alpha[i % STRIDE];
        assert_close((double)f->y[i], (double)f->s[i] * slope, k->name, "prelu", i);
        assert_close((double)f->g[i], (double)f->g0[i] * slope, k->name, "prelu_backward", i);
        dalpha[i % STRIDE] += f->s[i] > 0 ? 0.0 : (double)f->g0[i] * (double)f->s[i];
    }
    for (size_t c = 0; c < STRIDE; c++) {
        assert_close(f->sums[c] / N, dalpha[c] / N, k->name, "prelu dalpha", c);
    }
}

/* Columns that lie far from 0 and hardly vary, and a first row that is not like the others. */
static void check_moments_far(const struct kernels *k)
{
    static real s[SIZE];
    double moments[2 * STRIDE];
    struct random r = {17};
    for (size_t i = 0; i < SIZE; i++) {
        s[i] = (real)(1000.0 + random_normal(&r) + (i < STRIDE ? 100.0 : 0.0));
    }
    k->moments(moments, moments + STRIDE, s, N, STRIDE);
    for (size_t c = 0; c < STRIDE; c++) {
        double mean = 0.0, var = 0.0;
        for (size_t i = 0; i < N; i++) {
            mean += (double)s[i * STRIDE + c] / N;
        }
        for (size_t i = 0; i < N; i++) {
            double d = (double)s[i * STRIDE + c] - mean;
            var += d * d / N;
        }
        assert_true(fabs(moments[c] / mean - 1.0) < 1e-13);
        assert_true(fabs(moments[STRIDE + c] / var - 1.0) < 1e-11);
    }
    for (size_t i = 0; i < SIZE; i++) {
        s[i] = R(1e6) / R(3.0);
    }
    k->moments(moments, moments + STRIDE, s, N, STRIDE);
    for (size_t c = 0; c < STRIDE; c++) {
        assert_true(moments[c] == (double)s[0] && moments[STRIDE + c] == 0.0);
    }
}

/* Two examples at once are one, then the other. */
static void check_mix_two(const struct kernels *k, struct fields *f)
{
    enum { ROWS = 16 };
    static real p[2 * ROWS * STRIDE], one[ROWS * STRIDE];
    real c[2][STRIDE], d[2][2][ROWS] = {{{0}}}, sum[2][2][ROWS * STRIDE];
    const real *both[2] = {c[0], c[1]};
    struct random r = {23};
    fill(c[0], STRIDE, &r);
    fill(c[1], STRIDE, &r);
    k->mix_columns(p, f->s, f->g0, both, 2, ROWS, STRIDE);
    for (size_t x = 0; x < 2; x++) {
        k->mix_columns(one, f->s, f->g0, both + x, 1, ROWS, STRIDE);
        assert_memory_equal(one, p + x * ROWS * STRIDE, sizeof one);
        for (size_t i = 0; i < ROWS * STRIDE; i++) {
            assert_close((double)one[i],
                         (double)f->s[i] + (double)c[x][i % STRIDE] * (double)f->g0[i], k->name,
                         "mix_columns", i);
        }
    }
    memset(sum, 0, sizeof sum);
    k->mix_backward(sum[0][0], sum[0][1], (real *[]){d[0][0], d[0][1]}, p, f->s, both, 2, ROWS,
                    STRIDE);
    for (size_t x = 0; x < 2; x++) {
        const real *dp = p + x * ROWS * STRIDE;
        k->mix_backward(sum[1][0], sum[1][1], (real *[]){d[1][x]}, dp, f->s, both + x, 1, ROWS,
                        STRIDE);
        for (size_t i = 0; i < ROWS; i++) {
            double dot = 0.0;
            for (size_t j = 0; j < STRIDE; j++) {
                dot += (double)dp[i * STRIDE + j] * (double)f->s[i * STRIDE + j];
            }
            assert_close((double)d[0][x][i] / STRIDE, dot / STRIDE, k->name, "mix_backward", i);
        }
    }
    assert_memory_equal(sum[0], sum[1], sizeof sum[0]);
    assert_memory_equal(d[0], d[1], sizeof d[0]);
}

static void check_sums(const struct kernels *k, struct fields *f)
{
    memset(f->sums, 0, sizeof f->sums);
    k->moments(f->moments, f->moments + STRIDE, f->s, N, STRIDE);
    k->column_sums(f->sums, f->s, N, STRIDE);
    for (size_t c = 0; c < STRIDE; c++) {
        double mean = 0.0, var = 0.0;
        for (size_t i = 0; i < N; i++) {
            mean += (double)f->s[i * STRIDE + c] / N;
        }
        for (size_t i = 0; i < N; i++) {
            double d = (double)f->s[i * STRIDE + c] - mean;
            var += d * d / N;
        }
        assert_true(fabs(f->moments[c] - mean) < 1e-13);
        assert_true(fabs(f->moments[STRIDE + c] - var) < 1e-13);
        assert_true(fabs(f->sums[c] - mean * N) < 1e-12);
    }
    real a[N];
    double dw[STRIDE] = {0};
    k->dot(a, f->s, N, STRIDE, f->alpha, R(0.5));
    k->dot_backward(f->g, dw, a, f->s, N, STRIDE, f->alpha);
    for (size_t i = 0; i < N; i++) {
        double sum = 0.5;
        for (size_t c = 0; c < STRIDE; c++) {
            sum += (double)f->s[i * STRIDE + c] * (double)f->alpha[c];
            assert_close((double)f->g[i * STRIDE + c], (double)a[i] * (double)f->alpha[c], k->name,
                         "dot_backward", i);
        }
        assert_close((double)a[i], sum, k->name, "dot", i);
    }
    for (size_t c = 0; c < STRIDE; c++) {
        for (size_t i = 0; i < N; i++) {
            dw[c] -= (double)a[i] * (double)f->s[i * STRIDE + c];
        }
        assert_close(dw[c] / N, 0.0, k->name, "dot_backward dw", c);
    }
}

static void check_mix(const struct kernels *k, struct fields *f)
{
    static real p[SIZE], dh[SIZE], dw[SIZE];
    real c[N], dc[N] = {0};
    struct random r = {4};
    fill(c, N, &r);
    memset(dh, 0, sizeof dh);
    memset(dw, 0, sizeof dw);
    k->mix_rows(p, f->g0, f->s, c, N, STRIDE);
    for (size_t i = 0; i < SIZE; i++) {
        assert_close((double)p[i], (double)f->g0[i] + (double)c[i / STRIDE] * (double)f->s[i],
                     k->name, "mix_rows", i);
    }
    k->mix_backward(dh, dw, (real *[]){dc}, p, f->s, (const real *[]){c}, 1, N, STRIDE);
    for (size_t i = 0; i < SIZE; i++) {
        assert_true(dh[i] == p[i]);
        assert_close((double)dw[i], (double)c[i / STRIDE] * (double)p[i], k->name, "mix dw", i);
    }
    for (size_t i = 0; i < N; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < STRIDE; j++) {
            sum += (double)p[i * STRIDE + j] * (double)f->s[i * STRIDE + j];
        }
        assert_close((double)dc[i] / STRIDE, sum / STRIDE, k->name, "mix dc", i);
    }
    k->mix_columns(p, f->g0, f->s, (const real *[]){f->mean}, 1, N, STRIDE);
    for (size_t i = 0; i < SIZE; i++) {
        assert_close((double)p[i], (double)f->g0[i] + (double)f->mean[i % STRIDE] * (double)f->s[i],
                     k->name, "mix_columns", i);
    }
}

static void check_pool(const struct kernels *k, struct fields *f)
{
    real a[N], v[STRIDE];
    struct random r = {5};
    fill(a, N, &r);
    memcpy(f->g, f->g0, sizeof f->g);
    k->pool(v, a, f->s, N, STRIDE);
    k->outer(f->g, a, f->mean, N, STRIDE, true);
    k->outer(f->y, a, f->mean, N, STRIDE, false);
    for (size_t c = 0; c < STRIDE; c++) {
        double sum = 0.0;
        for (size_t i = 0; i < N; i++) {
            sum += (double)a[i] * (double)f->s[i * STRIDE + c];
            assert_close((double)f->g[i * STRIDE + c],
                         (double)f->g0[i * STRIDE + c] + (double)a[i] * (double)f->mean[c], k->name,
                         "outer, added", i);
            assert_close((double)f->y[i * STRIDE + c], (double)a[i] * (double)f->mean[c], k->name,
                         "outer", i);
        }
        assert_close((double)v[c] / N, sum / N, k->name, "pool", c);
    }
    double sum = 0.0;
    a[3] = 500;
    k->softmax(a, N);
    for (size_t i = 0; i < N; i++) {
        sum += (double)a[i];
    }
    assert_close(sum, 1.0, k->name, "softmax", 0);
    assert_close((double)a[3], 1.0, k->name, "softmax of the largest", 3);
}

static void test_elementwise(void **state)
{
    (void)state;
    static struct fields f;
    const struct kernels *k;
    for (size_t i = 0; (k = kernels_available(i)) != NULL; i++) {
        fields_init(&f);
        check_dice(k, &f);
        check_dice_dot(k, &f);
        check_moments_far(k);
        check_mix_two(k, &f);
        fields_init(&f);
        check_activations(k, &f);
        fields_init(&f);
        check_sums(k, &f);
        fields_init(&f);
        check_mix(k, &f);
        fields_init(&f);
        check_pool(k, &f);
    }
}

enum { STEP_MAX = 40 };
struct step { /* what an optimizer looks at, and one number behind it that nobody may touch */
    real w[STEP_MAX + 1], m[STEP_MAX + 1], v[STEP_MAX + 1], g[STEP_MAX + 1];
};

static void step_init(struct step *s)
{
    struct random r = {9};
    fill(s->w, STEP_MAX + 1, &r);
    fill(s->m, STEP_MAX + 1, &r);
    fill(s->v, STEP_MAX + 1, &r);
    fill(s->g, STEP_MAX + 1, &r);
    for (size_t i = 0; i <= STEP_MAX; i++) {
        s->v[i] *= s->v[i];
    }
}

static void check_steps(const struct kernels *k, size_t n)
{
    const struct adam_step o = {R(0.9), R(0.999), R(0.1), R(0.001), R(0.05), R(2.0), R(0.0625)};
    struct step s, old;
    step_init(&old);
    s = old;
    k->sgd(s.w, s.g, n, R(0.05));
    for (size_t i = 0; i <= STEP_MAX; i++) {
        double w = (double)old.w[i] - (i < n ? 0.05 * (double)old.g[i] : 0.0);
        assert_close((double)s.w[i], w, k->name, "sgd", i);
    }
    s = old;
    k->adagrad(s.w, s.v, s.g, n, R(0.05), R(0.0625));
    for (size_t i = 0; i <= STEP_MAX; i++) {
        double g = i < n ? (double)old.g[i] : 0.0, a = (double)old.v[i] + g * g;
        assert_close((double)s.v[i], a, k->name, "adagrad's sum", i);
        assert_close((double)s.w[i], (double)old.w[i] - 0.05 * g / (sqrt(a) + 0.0625), k->name,
                     "adagrad", i);
    }
    s = old;
    k->adam(s.w, s.m, s.v, s.g, n, &o);
    for (size_t i = 0; i <= STEP_MAX; i++) {
        double g = (double)old.g[i], m = (double)old.m[i], v = (double)old.v[i];
        m = i < n ? 0.9 * m + 0.1 * g : m;
        v = i < n ? 0.999 * v + 0.001 * g * g : v;
        double w = (double)old.w[i] - (i < n ? 0.05 * m / (sqrt(v) * 2.0 + 0.0625) : 0.0);
        assert_close((double)s.m[i], m, k->name, "adam's m", i);
        assert_close((double)s.v[i], v, k->name, "adam's v", i);
        assert_close((double)s.w[i], w, k->name, "adam", i);
    }
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)old.g[i] * (double)old.g[i];
    }
    assert_true(fabs(k->squares(old.g, n) - sum) <= 1e-13 * fmax(1.0, sum));
}

static void test_optimizer_steps(void **state)
{
    (void)state;
    const struct kernels *k;
    for (size_t i = 0; (k = kernels_available(i)) != NULL; i++) {
        for (size_t n = 0; n <= STEP_MAX; n++) {
            check_steps(k, n);
        }
    }
}

static void test_stride(void **state)
{
    (void)state;
    assert_int_equal(kernels_stride(1), 16);
    assert_int_equal(kernels_stride(16), 16);
    assert_int_equal(kernels_stride(17), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_gemm_rows_are_independent),
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_optimizer_steps),
        cmocka_unit_test(test_stride),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
