#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/loss.h"

#include <math.h>

static double sigmoid(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

/* Of a label, weighted; the weight is a constant. */
static double loss(double z, double label, double weight)
{
    double p = sigmoid(z);
    return -weight * (label * log(p) + (1.0 - label) * log(1.0 - p));
}

static double slope(double z, double label, double weight)
{
    const double h = 1e-5;
    return (loss(z + h, label, weight) - loss(z - h, label, weight)) / (2.0 * h);
}

/* Against central differences of the weighted logloss, the weights held at p. */
static void test_slopes_are_those_of_the_weighted_logloss(void **state)
{
    (void)state;
    for (double z = -6.0; z <= 6.0; z += 0.37) {
        double p = sigmoid(z);
        const double expected[EXAMPLE_KINDS] = {
            [EXAMPLE_NEGATIVE] = slope(z, 0.0, 1.0),
            [EXAMPLE_POSITIVE] = slope(z, 1.0, 1.0),
            [EXAMPLE_CORRECTION] = slope(z, 1.0, 1.0) - slope(z, 0.0, 1.0),
            [EXAMPLE_FNW_NEGATIVE] = slope(z, 0.0, (1.0 - p) * (1.0 + p)),
            [EXAMPLE_FNW_POSITIVE] = slope(z, 1.0, 1.0 + p),
        };
        for (int kind = 0; kind < EXAMPLE_KINDS; kind++) {
            if (kind != EXAMPLE_FORGET) {
                float got = loss_slope((enum example_kind)kind, (float)p);
                assert_true(fabs((double)got - expected[kind]) < 1e-6);
            }
        }
    }
}

/* Where a lone logit comes to rest by gradient descent on the mean pull. */
static double rest(double (*pull)(double p, double q), double q)
{
    double z = 0.0;
    for (int i = 0; i < 20000; i++) {
        z -= pull(sigmoid(z), q);
    }
    return sigmoid(z);
}

static double slope_of(enum example_kind kind, double p)
{
    return (double)loss_slope(kind, (float)p);
}

/* Every impression is a negative, and with probability q a positive too. */
static double pull_fnw(double p, double q)
{
    return slope_of(EXAMPLE_FNW_NEGATIVE, p) + q * slope_of(EXAMPLE_FNW_POSITIVE, p);
}

/* Half of the clicks come behind their negative. */
static double pull_correct(double p, double q)
{
    return (1.0 - q / 2.0) * slope_of(EXAMPLE_NEGATIVE, p) +
           q / 2.0 * (slope_of(EXAMPLE_POSITIVE, p) + slope_of(EXAMPLE_CORRECTION, p));
}

/* The same with negatives kept at 0.1: late clicks of the others are plain positives.  What is
 * learned is the rate in the sampled stream, see the shift of the logit. */
static double pull_sampled(double p, double q)
{
    const double r = 0.1;
    return (1.0 - q / 2.0) * r * slope_of(EXAMPLE_NEGATIVE, p) +
           q / 2.0 * slope_of(EXAMPLE_POSITIVE, p) +
           q / 2.0 *
               (r * slope_of(EXAMPLE_CORRECTION, p) + (1.0 - r) * slope_of(EXAMPLE_POSITIVE, p));
}

/* Plain labels of the same stream: what fnw and corrections are for. */
static double pull_naive(double p, double q)
{
    return slope_of(EXAMPLE_NEGATIVE, p) + q * slope_of(EXAMPLE_POSITIVE, p);
}

static void test_fixed_points_are_the_click_rate(void **state)
{
    (void)state;
    static const double rates[] = {0.01, 0.1, 0.5, 0.9};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        double q = rates[i], sampled = q / (q + 0.1 * (1.0 - q));
        assert_true(fabs(rest(pull_fnw, q) - q) < 1e-4);
        assert_true(fabs(rest(pull_correct, q) - q) < 1e-4);
        assert_true(fabs(rest(pull_sampled, q) - sampled) < 1e-4);
        assert_true(fabs(rest(pull_naive, q) - q / (1.0 + q)) < 1e-4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slopes_are_those_of_the_weighted_logloss),
        cmocka_unit_test(test_fixed_points_are_the_click_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
