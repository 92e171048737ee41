#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/optimizer.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

enum { N = 21, STEPS = 10 };

static const struct optimizer_options OPTIONS = {.rate = 0.05,
                                                 .dense_rate = 0.01,
                                                 .eps = 1e-8,
                                                 .beta1 = 0.9,
                                                 .beta2 = 0.999,
                                                 .accumulator = 0.1,
                                                 .beta = 1.0,
                                                 .l1 = 0.01,
                                                 .l2 = 0.1};

/* FTRL-proximal's weight for its sums z and n. */
static double ftrl_weight(const struct optimizer_options *o, double z, double n)
{
    double sign = z > 0.0 ? 1.0 : -1.0;
    return fabs(z) <= o->l1 ? 0.0 : -(z - sign * o->l1) / ((o->beta + sqrt(n)) / o->rate + o->l2);
}

/* The z that stands for an initial weight. */
static double ftrl_initial(const struct optimizer_options *o, double w)
{
    double sign = w > 0.0 ? 1.0 : -1.0;
    return -w * (o->beta / o->rate + o->l2) - sign * o->l1;
}

/* One coordinate in double, straight from the formulas of optimizer.h. */
static void reference(const struct optimizer_options *o, double *w, double *a, double *b, double g,
                      int t)
{
    switch (o->kind) {
    case OPTIMIZER_SGD:
        *w -= o->rate * g;
        break;
    case OPTIMIZER_ADAGRAD:
        *a += g * g;
        *w -= o->rate * g / (sqrt(*a) + o->eps);
        break;
    case OPTIMIZER_ADAM:
        *a = o->beta1 * *a + (1.0 - o->beta1) * g;
        *b = o->beta2 * *b + (1.0 - o->beta2) * g * g;
        *w -= o->rate * (*a / (1.0 - pow(o->beta1, t))) /
              (sqrt(*b / (1.0 - pow(o->beta2, t))) + o->eps);
        break;
    case OPTIMIZER_FTRL: {
        double sigma = (sqrt(*b + g * g) - sqrt(*b)) / o->rate;
        *a += g - sigma * *w;
        *b += g * g;
        *w = ftrl_weight(o, *a, *b);
        break;
    }
    }
}

/* O1: ten steps of every kind against the scalar reference. */
static void test_o1_ten_steps(void **state)
{
    (void)state;
    for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_FTRL; kind++) {
        struct optimizer_options o = OPTIONS;
        o.kind = (enum optimizer_kind)kind;
        struct random r = {.state = 99};
        float w[N], slot[2 * N], g[N];
        double w_ref[N], a_ref[N], b_ref[N];
        for (int i = 0; i < N; i++) {
            w[i] = (float)random_normal(&r);
            w_ref[i] = (double)w[i];
            slot[i] = slot[N + i] = optimizer_slot_initial(&o);
            a_ref[i] = b_ref[i] = (double)slot[i];
            if (kind == OPTIMIZER_FTRL) {
                a_ref[i] = ftrl_initial(&o, w_ref[i]);
            }
        }
        for (int t = 1; t <= STEPS; t++) {
            struct optimizer_step step = optimizer_step(&o, o.rate, (uint64_t)t);
            for (int i = 0; i < N; i++) {
                g[i] = (float)random_normal(&r);
                reference(&o, &w_ref[i], &a_ref[i], &b_ref[i], (double)g[i], t);
            }
            optimizer_apply(&step, w, slot, g, N);
        }
        for (int i = 0; i < N; i++) {
            assert_true(fabs((double)w[i] - w_ref[i]) <= 4e-6);
        }
    }
}

/* O2: Adam's correction follows the global step; rows that are left out keep m and v. */
static void test_o2_lazy_adam(void **state)
{
    (void)state;
    struct optimizer_options o = OPTIONS;
    o.kind = OPTIMIZER_ADAM;
    float w[1] = {1.0f}, slot[2] = {0.0f, 0.0f}, g[1] = {0.5f};
    struct optimizer_step late = optimizer_step(&o, o.rate, 100000);
    optimizer_apply(&late, w, slot, g, 1);
    double expected = 1.0 - 0.05 * (0.1 * 0.5) / (sqrt(0.001 * 0.25) + 1e-8);
    assert_true(fabs((double)w[0] - expected) < 1e-6);
    float other[1] = {1.0f}, other_slot[2] = {0.0f, 0.0f};
    struct optimizer_step first = optimizer_step(&o, o.rate, 1);
    optimizer_apply(&first, other, other_slot, g, 1);
    assert_true(fabs((double)other[0] - 0.95) < 1e-6);
}

/* FTRL starts from the weight that stands there, steps as its formula says, and with l1 leaves a
 * weight at 0 until its gradients add up to more. */
static void test_ftrl(void **state)
{
    (void)state;
    struct optimizer_options o = OPTIONS;
    o.kind = OPTIMIZER_FTRL;
    o.l1 = o.l2 = 0.0;
    struct optimizer_step step = optimizer_step(&o, o.rate, 1);
    float w[1] = {0.3f}, slot[2] = {0.0f, 0.0f}, none[1] = {0.0f}, g[1] = {0.5f};
    optimizer_apply(&step, w, slot, none, 1);
    optimizer_apply(&step, w, slot, none, 1);
    assert_true(fabsf(w[0] - 0.3f) < 1e-7f); /* untouched weights keep their initial value */
    optimizer_apply(&step, w, slot, g, 1);
    /* One step: w1 (beta + |g|) = w0 (beta + |g|) - rate g. */
    assert_true(fabs((double)w[0] - (0.3 - 0.05 * 0.5 / 1.5)) < 1e-6);

    o.l1 = 1.0;
    step = optimizer_step(&o, o.rate, 1);
    float sparse[1] = {0.0f}, sparse_slot[2] = {0.0f, 0.0f}, small[1] = {0.4f};
    for (int t = 1; t <= 5; t++) {
        optimizer_apply(&step, sparse, sparse_slot, small, 1);
        assert_true(t * 0.4 > 1.0 ? sparse[0] < 0.0f : sparse[0] == 0.0f);
    }
}

static void test_options_are_checked(void **state)
{
    (void)state;
    struct undine_err err;
    struct optimizer_options o = OPTIONS;
    assert_int_equal(optimizer_check(&o, &err), 0);
    o.rate = NAN;
    assert_int_equal(optimizer_check(&o, &err), UNDINE_ECONFIG);
    o = OPTIONS;
    o.kind = OPTIMIZER_ADAGRAD;
    o.accumulator = 0.0;
    o.eps = 0.0;
    assert_int_equal(optimizer_check(&o, &err), UNDINE_ECONFIG);
    o = OPTIONS;
    o.kind = OPTIMIZER_ADAM;
    o.beta2 = 1.0;
    assert_int_equal(optimizer_check(&o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "beta2"));
    o = OPTIONS;
    o.kind = OPTIMIZER_FTRL;
    assert_int_equal(optimizer_check(&o, &err), 0);
    o.beta = 0.0;
    assert_int_equal(optimizer_check(&o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "optimizer.beta is 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_o1_ten_steps),
        cmocka_unit_test(test_o2_lazy_adam),
        cmocka_unit_test(test_ftrl),
        cmocka_unit_test(test_options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
