/* Dice by itself: the acceptance list D1 to D9 and the golden values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "learner/model/activation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS_MAX = 64, STRIDE = 16 };
static const double NEAR = sizeof(real) == 8 ? 1e-9 : 2e-6;

struct dice {
    struct activation act;
    struct activation_scratch scratch;
    struct params params;
    real values[128], grads[128];
    struct pass pass;
    size_t n, width;
    real s[ROWS_MAX * STRIDE], y[ROWS_MAX * STRIDE], g[ROWS_MAX * STRIDE];
};

static void dice_open(struct dice *d, enum model_dice mode, size_t n, size_t width)
{
    struct model_options opt = MODEL_OPTIONS_DEFAULT;
    opt.dice.mode = mode;
    memset(d, 0, sizeof *d);
    activation_declare(&d->act, &d->params, "x", (uint32_t)width, ACT_DICE, &opt);
    activation_init(&d->act, d->values);
    d->pass = (struct pass){
        .k = kernels_available(0), .values = d->values, .statistics = d->values, .grads = d->grads};
    d->n = n;
    d->width = width;
}

static void dice_close(struct dice *d)
{
    activation_scratch_release(&d->scratch);
}

static real *at(struct dice *d, real *x, size_t i, size_t c)
{
    (void)d;
    return &x[i * STRIDE + c];
}

static real *alpha(struct dice *d)
{
    return d->values + d->act.alpha;
}

/* The rows are noted in two parts, as layers do. */
static void forward(struct dice *d)
{
    size_t half = d->n / 2;
    assert_true(activation_begin(&d->act, &d->scratch, &d->pass, 2));
    activation_note(&d->act, &d->scratch, d->pass.k, 0, d->s, half);
    activation_note(&d->act, &d->scratch, d->pass.k, 1, d->s + half * STRIDE, d->n - half);
    activation_settle(&d->act, &d->scratch, &d->pass, d->n);
    activation_rows(&d->act, &d->scratch, d->pass.k, d->y, d->s, d->n);
}

/* Training leaves the moving averages where they were. */
static void forward_only(struct dice *d)
{
    real before[128];
    memcpy(before, d->values, sizeof before);
    forward(d);
    memcpy(d->values, before, sizeof before);
}

static void randomize(struct dice *d, uint64_t seed)
{
    struct random r = {seed};
    for (size_t i = 0; i < d->n; i++) {
        for (size_t c = 0; c < d->width; c++) {
            *at(d, d->s, i, c) = (real)(random_normal(&r) + 0.3 * (double)c);
            *at(d, d->g, i, c) = (real)random_normal(&r);
        }
    }
    for (size_t c = 0; c < d->width; c++) {
        alpha(d)[c] = (real)random_unit(&r);
        d->values[d->act.mean + c] = (real)(0.2 * random_normal(&r));
        d->values[d->act.var + c] = (real)(0.5 + random_unit(&r));
    }
    d->values[d->act.updates] = 1;
}

static void assert_near(double got, double expected, const char *what)
{
    if (!(fabs(got - expected) <= NEAR * fmax(1.0, fabs(expected)))) {
        fail_msg("%s is %.12g, expected %.12g", what, got, expected);
    }
}

/* ---- golden ------------------------------------------------------------------------------- */

static const double GOLDEN_S[3][2] = {{1, -2}, {3, .5}, {-1, 4}};
static const double GOLDEN_G[3][2] = {{1, .5}, {-1, 2}, {.3, 1}};
static const double GOLDEN_MU[2] = {1, .8333333333};
static const double GOLDEN_V[2] = {2.6666666667, 6.0555555556};
static const double GOLDEN_Y[3][2] = {
    {.625, -.3285195219}, {2.4890193304, .2064030768}, {-.4203268899, 3.0478938956}};
static const double GOLDEN_DS_B[3][2] = {
    {.7902240513, .0696042025}, {-.9122851362, .8470848975}, {.0434860417, .7530265616}};
static const double GOLDEN_DS_A[3][2] = {
    {.7398198315, .0005406816}, {-1.0715208291, .9368533475}, {.1019132951, 1.0651597710}};
static const double GOLDEN_DALPHA[2] = {-.4131768036, .6395997380};
static const double GOLDEN_MEAN[2] = {.01, .0083333333},
                    GOLDEN_VAR[2] = {1.0166666667, 1.0505555556};

static void golden_fill(struct dice *d)
{
    for (size_t i = 0; i < 3; i++) {
        for (size_t c = 0; c < 2; c++) {
            *at(d, d->s, i, c) = (real)GOLDEN_S[i][c];
            *at(d, d->g, i, c) = (real)GOLDEN_G[i][c];
        }
    }
    alpha(d)[0] = R(0.25);
    alpha(d)[1] = R(-0.1);
}

static void backward(struct dice *d)
{
    const struct kernels *k = d->pass.k;
    double sum[STRIDE] = {0};
    size_t half = d->n / 2, at = half * STRIDE;
    assert_true(activation_backward_begin(&d->act, &d->scratch, 2));
    activation_backward_rows(&d->act, &d->scratch, k, 0, d->g, d->y, d->s, half);
    activation_backward_rows(&d->act, &d->scratch, k, 1, d->g + at, d->y + at, d->s + at,
                             d->n - half);
    activation_backward_end(&d->act, &d->scratch, &d->pass);
    real centered[ROWS_MAX * STRIDE];
    const real *g = activation_center(&d->act, &d->scratch, k, centered, d->g, d->s, d->n, sum);
    assert_true(g == (d->scratch.through_statistics ? centered : d->g));
    memmove(d->g, g, d->n * STRIDE * sizeof *g);
}

static void golden_check(struct dice *d, const double ds[3][2])
{
    backward(d);
    for (size_t i = 0; i < 3; i++) {
        for (size_t c = 0; c < 2; c++) {
            assert_near((double)*at(d, d->y, i, c), GOLDEN_Y[i][c], "y");
            assert_near((double)*at(d, d->g, i, c), ds[i][c], "ds");
        }
    }
    for (size_t c = 0; c < 2; c++) {
        assert_near((double)d->grads[d->act.alpha + c], GOLDEN_DALPHA[c], "dalpha");
    }
}

static void test_d_golden_through_statistics(void **state)
{
    (void)state;
    struct dice d;
    dice_open(&d, DICE_BATCH, 3, 2);
    golden_fill(&d);
    d.values[d.act.updates] = 1; /* long-settled averages at (0, 1) */
    forward(&d);
    golden_check(&d, GOLDEN_DS_B);
    for (size_t c = 0; c < 2; c++) {
        assert_near((double)d.values[d.act.mean + c], GOLDEN_MEAN[c], "moving mean");
        assert_near((double)d.values[d.act.var + c], GOLDEN_VAR[c], "moving variance");
    }
    dice_close(&d);
}

static void test_d_golden_constant_statistics(void **state)
{
    (void)state;
    struct dice d;
    dice_open(&d, DICE_RUNNING, 3, 2);
    golden_fill(&d);
    for (size_t c = 0; c < 2; c++) {
        d.values[d.act.mean + c] = (real)GOLDEN_MU[c];
        d.values[d.act.var + c] = (real)GOLDEN_V[c];
    }
    d.values[d.act.updates] = 1;
    forward(&d);
    golden_check(&d, GOLDEN_DS_A);
    dice_close(&d);
}

/* ---- D1, D2 ------------------------------------------------------------------------------- */

#ifdef UNDINE_REAL_DOUBLE /* differences of 1e-5 say nothing in float */
static double objective(struct dice *d, const real *g)
{
    double sum = 0.0;
    forward_only(d);
    for (size_t i = 0; i < d->n * STRIDE; i++) {
        sum += (double)g[i] * (double)d->y[i];
    }
    return sum;
}

static double slope(struct dice *d, const real *g, real *x)
{
    real old = *x;
    *x = old + (real)1e-5;
    double up = objective(d, g);
    *x = old - (real)1e-5;
    double down = objective(d, g);
    *x = old;
    return (up - down) / 2e-5;
}

static void test_d1_gradient(void **state)
{
    (void)state;
    static const size_t ns[] = {2, 3, 17};
    struct dice d;
    real g[ROWS_MAX * STRIDE];
    for (int mode = DICE_BATCH; mode <= DICE_RUNNING; mode++) {
        for (size_t k = 0; k < 3; k++) {
            dice_open(&d, (enum model_dice)mode, ns[k], 5);
            randomize(&d, 10 + k);
            memcpy(g, d.g, sizeof g);
            forward_only(&d);
            backward(&d);
            for (size_t i = 0; i < d.n; i++) {
                for (size_t c = 0; c < 5; c++) {
                    double want = slope(&d, g, at(&d, d.s, i, c));
                    assert_true(fabs((double)*at(&d, d.g, i, c) - want) <=
                                1e-6 * fmax(1, fabs(want)));
                }
            }
            for (size_t c = 0; c < 5; c++) {
                double want = slope(&d, g, &alpha(&d)[c]);
                assert_true(fabs((double)d.grads[d.act.alpha + c] - want) <=
                            1e-6 * fmax(1, fabs(want)));
            }
            dice_close(&d);
        }
    }
}
#endif

/* The part of the gradient that goes through the statistics sums to what the bracket leaves: with
 * (B) = (A) + correction, the sum of ds over rows is that of g d alone. */
static void test_d2_bracket_sums_to_zero(void **state)
{
    (void)state;
    struct dice d;
    dice_open(&d, DICE_BATCH, 17, 5);
    randomize(&d, 4);
    real g[ROWS_MAX * STRIDE];
    memcpy(g, d.g, sizeof g);
    forward_only(&d);
    backward(&d);
    for (size_t c = 0; c < 5; c++) {
        double bracket = 0.0;
        for (size_t i = 0; i < d.n; i++) {
            double s = (double)*at(&d, d.s, i, c); /* y = s d */
            bracket += (double)*at(&d, d.g, i, c) -
                       (double)g[i * STRIDE + c] * (double)*at(&d, d.y, i, c) / s;
        }
        assert_true(fabs(bracket) < (sizeof(real) == 8 ? 1e-12 : 1e-4));
    }
    dice_close(&d);
}

/* ---- D3 to D9 ----------------------------------------------------------------------------- */

static void test_d3_prelu_limit(void **state)
{
    (void)state;
    struct dice d;
    for (double s = -1e-2; s < 1e-2; s += 1e-5) {
        dice_open(&d, DICE_RUNNING, 1, 1);
        d.pass.statistics = NULL;
        d.values[d.act.var] = 0; /* E = 0, Var = 0: sqrt(eps) = 1e-4 is all that is left */
        alpha(&d)[0] = R(0.25);
        d.s[0] = (real)s;
        forward(&d);
        double prelu = (double)d.s[0] * (d.s[0] > 0 ? 1.0 : 0.25);
        double gap = fabs((double)d.y[0] - prelu);
        assert_true(gap <= 2.1e-5);
        assert_true(fabs(s) < 1e-3 || gap <= 4e-8);
        dice_close(&d);
    }
}

static void test_d4_identity_and_invariance(void **state)
{
    (void)state;
    struct dice d, moved;
    dice_open(&d, DICE_BATCH, 17, 5);
    randomize(&d, 5);
    for (size_t c = 0; c < 5; c++) {
        alpha(&d)[c] = 1;
    }
    forward_only(&d);
    for (size_t i = 0; i < 17 * STRIDE; i++) {
        assert_near((double)d.y[i], (double)d.s[i], "y with alpha = 1");
    }
    for (size_t c = 0; c < 5; c++) {
        alpha(&d)[c] = 0; /* then p = y / s */
    }
    moved = d;
    moved.scratch = (struct activation_scratch){0};
    moved.pass.values = moved.values;
    moved.pass.statistics = moved.values;
    for (size_t i = 0; i < 17; i++) {
        for (size_t c = 0; c < 5; c++) {
            *at(&d, moved.s, i, c) = 3 * *at(&d, d.s, i, c) + R(2.0);
        }
    }
    forward_only(&d);
    forward_only(&moved);
    for (size_t i = 0; i < 17; i++) {
        for (size_t c = 0; c < 5; c++) {
            double p = (double)*at(&d, d.y, i, c) / (double)*at(&d, d.s, i, c);
            double q = (double)*at(&d, moved.y, i, c) / (double)*at(&d, moved.s, i, c);
            assert_true(fabs(p - q) < (sizeof(real) == 8 ? 1e-7 : 1e-5));
        }
    }
    dice_close(&d);
    dice_close(&moved);
}

static void test_d5_single_row(void **state)
{
    (void)state;
    struct dice d;
    dice_open(&d, DICE_BATCH, 1, 2);
    d.s[0] = R(3.0);
    d.s[1] = R(-2.0);
    alpha(&d)[0] = R(0.5);
    forward(&d);
    assert_near((double)d.y[0], 1.5 * 3.0 / 2, "y of one row");
    assert_near((double)d.y[1], -1.0, "y of one row, alpha 0");
    dice_close(&d);
}

static void test_d6_serving_equals_training(void **state)
{
    (void)state;
    struct dice d;
    real trained[ROWS_MAX * STRIDE];
    dice_open(&d, DICE_BATCH, 40, 5);
    randomize(&d, 6);
    d.values[d.act.updates] = 0; /* nothing seen: the first batch counts in full */
    forward(&d);
    memcpy(trained, d.y, sizeof trained);
    d.pass.statistics = NULL;
    forward(&d);
    for (size_t i = 0; i < 40 * STRIDE; i++) {
        assert_near((double)d.y[i], (double)trained[i], "y when serving");
    }
    dice_close(&d);
}

static void test_d7_rows_behind_do_not_count(void **state)
{
    (void)state;
    struct dice d;
    real before[ROWS_MAX * STRIDE];
    dice_open(&d, DICE_BATCH, 17, 5);
    randomize(&d, 7);
    forward_only(&d);
    memcpy(before, d.y, sizeof before);
    for (size_t i = 17 * STRIDE; i < ROWS_MAX * STRIDE; i++) {
        d.s[i] = 1000; /* memory that is no row of this batch */
    }
    forward_only(&d);
    assert_memory_equal(before, d.y, 17 * STRIDE * sizeof(real));
    dice_close(&d);
}

static void test_d8_permutations(void **state)
{
    (void)state;
    struct dice d, p;
    dice_open(&d, DICE_BATCH, 17, 5);
    randomize(&d, 8);
    p = d;
    p.scratch = (struct activation_scratch){0};
    p.pass.values = p.values;
    p.pass.statistics = p.values;
    for (size_t i = 0; i < 17; i++) {
        for (size_t c = 0; c < 5; c++) {
            *at(&d, p.s, 16 - i, 4 - c) = *at(&d, d.s, i, c);
            alpha(&p)[4 - c] = alpha(&d)[c];
        }
    }
    forward_only(&d);
    forward_only(&p);
    for (size_t i = 0; i < 17; i++) {
        for (size_t c = 0; c < 5; c++) {
            assert_near((double)*at(&d, p.y, 16 - i, 4 - c), (double)*at(&d, d.y, i, c),
                        "permuted");
        }
    }
    dice_close(&d);
    dice_close(&p);
}

static void test_d9_serving_form(void **state)
{
    (void)state;
    struct dice d;
    dice_open(&d, DICE_AUTO, 17, 5);
    randomize(&d, 9);
    d.pass.statistics = NULL;
    forward(&d);
    for (size_t i = 0; i < 17; i++) {
        for (size_t c = 0; c < 5; c++) {
            double x = (double)*at(&d, d.s, i, c);
            double z = (x - (double)d.values[d.act.mean + c]) /
                       sqrt((double)d.values[d.act.var + c] + 1e-8);
            double p = 1.0 / (1.0 + exp(-z));
            assert_near((double)*at(&d, d.y, i, c), (1 - p) * (double)alpha(&d)[c] * x + p * x,
                        "blaze form");
        }
    }
    dice_close(&d);
}

/* ---- moving averages ---------------------------------------------------------------------- */

/* Auto: batch statistics from 32 rows on, the moving ones below. */
static void test_auto_threshold(void **state)
{
    (void)state;
    struct dice d;
    for (size_t n = DICE_ROWS_MIN - 1; n <= DICE_ROWS_MIN; n++) {
        dice_open(&d, DICE_AUTO, n, 5);
        randomize(&d, 12);
        forward(&d);
        assert_int_equal(d.scratch.through_statistics, n == DICE_ROWS_MIN);
        dice_close(&d);
    }
}

/* One row at a time, the averages still find mean and variance of the rows. */
static void test_running_from_single_rows(void **state)
{
    (void)state;
    struct dice d;
    struct random r = {13};
    dice_open(&d, DICE_RUNNING, 1, 1);
    double mean = 0.0, var = 0.0;
    int n = 0;
    for (int i = 0; i < 5000; i++) {
        d.s[0] = (real)(3.0 + 2.0 * random_normal(&r));
        forward(&d);
        assert_true(isfinite(d.y[0]) && d.values[d.act.var] > 0);
        if (i >= 1000) {
            mean += (double)d.values[d.act.mean];
            var += (double)d.values[d.act.var];
            n++;
        }
    }
    assert_true(fabs(mean / n - 3.0) < 0.1);
    assert_true(fabs(var / n - 4.0) < 0.3);
    dice_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_d_golden_through_statistics),
        cmocka_unit_test(test_d_golden_constant_statistics),
#ifdef UNDINE_REAL_DOUBLE
        cmocka_unit_test(test_d1_gradient),
#endif
        cmocka_unit_test(test_d2_bracket_sums_to_zero),
        cmocka_unit_test(test_d3_prelu_limit),
        cmocka_unit_test(test_d4_identity_and_invariance),
        cmocka_unit_test(test_d5_single_row),
        cmocka_unit_test(test_d6_serving_equals_training),
        cmocka_unit_test(test_d7_rows_behind_do_not_count),
        cmocka_unit_test(test_d8_permutations),
        cmocka_unit_test(test_d9_serving_form),
        cmocka_unit_test(test_auto_threshold),
        cmocka_unit_test(test_running_from_single_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
