#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/schedule.h"

#include <math.h>
#include <string.h>

static void assert_near(double a, double b)
{
    assert_true(fabs(a - b) < 1e-12);
}

static void test_constant(void **state)
{
    (void)state;
    const struct schedule_options o = {.floor = 0.1};
    assert_near(schedule_factor(&o, 1), 1.0);
    assert_near(schedule_factor(&o, UINT64_MAX), 1.0);
}

static void test_warmup_then_decay(void **state)
{
    (void)state;
    struct schedule_options o = {.warmup = 1000,
                                 .decay = SCHEDULE_EXPONENTIAL,
                                 .decay_rate = 0.5,
                                 .decay_examples = 200,
                                 .floor = 0.1};
    assert_near(schedule_factor(&o, 250), 0.25);
    assert_near(schedule_factor(&o, 1000), 1.0);
    assert_near(schedule_factor(&o, 1200), 0.5);
    assert_near(schedule_factor(&o, 1300), 0.5 * sqrt(0.5));
    assert_near(schedule_factor(&o, 9000), 0.1);
    o.decay = SCHEDULE_INVERSE_SQRT;
    assert_near(schedule_factor(&o, 1600), 0.5);
    o.decay = SCHEDULE_LINEAR;
    assert_near(schedule_factor(&o, 1050), 0.75);
    assert_near(schedule_factor(&o, 100000), 0.1);
}

static void test_options_are_checked(void **state)
{
    (void)state;
    struct undine_err err;
    struct schedule_options o = {
        .decay = SCHEDULE_EXPONENTIAL, .decay_rate = 0.9, .decay_examples = 100, .floor = 0.0};
    assert_int_equal(schedule_check(&o, &err), 0);
    o.decay_rate = 1.5;
    assert_int_equal(schedule_check(&o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "optimizer.decay_rate is 1.5"));
    o.decay_rate = 0.9;
    o.decay_examples = 0;
    assert_int_equal(schedule_check(&o, &err), UNDINE_ECONFIG);
    o.decay_examples = 1;
    o.floor = NAN;
    assert_int_equal(schedule_check(&o, &err), UNDINE_ECONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_warmup_then_decay),
        cmocka_unit_test(test_options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
