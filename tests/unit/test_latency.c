#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_latency.c: quantiles of the histogram of durations against those of the sorted list. */
#include "tests/bench/latency.h"

#include "base/err.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 20000 };

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles_are_those_of_the_list(void **state)
{
    static struct latency l, half[2], sum;
    static int64_t ns[N];
    struct random r = {.state = 3};
    (void)state;
    for (size_t i = 0; i < N; i++) { /* from nanoseconds to minutes */
        ns[i] = (int64_t)exp(random_unit(&r) * 25.0);
        latency_record(&l, ns[i]);
        latency_record(&half[i % 2], ns[i]);
    }
    qsort(ns, N, sizeof ns[0], ascending);
    static const double q[] = {0.0001, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0};
    latency_add(&sum, &half[0]);
    latency_add(&sum, &half[1]);
    assert_memory_equal(&sum, &l, sizeof l);
    for (size_t i = 0; i < sizeof q / sizeof q[0]; i++) {
        double want = (double)ns[(size_t)ceil(q[i] * N) - 1];
        double got = (double)latency_quantile_ns(&l, q[i]);
        assert_true(got >= want && got <= want * (1.0 + 1.0 / 128.0));
    }
    assert_int_equal(latency_quantile_ns(&l, 1.0), l.max_ns);
}

static void small_ones_are_exact_and_large_ones_end(void **state)
{
    (void)state;
    for (int64_t ns = 0; ns < 256; ns++) {
        struct latency l = {0};
        latency_record(&l, ns);
        latency_record(&l, 1000000);
        assert_int_equal(latency_quantile_ns(&l, 0.5), ns);
    }
    struct latency l = {0};
    assert_int_equal(latency_quantile_ns(&l, 0.99), 0);
    latency_record(&l, -5);
    assert_int_equal(latency_quantile_ns(&l, 1.0), 0);
    latency_record(&l, INT64_MAX);
    assert_int_equal(latency_quantile_ns(&l, 1.0), LATENCY_MAX_NS);
    assert_int_equal(l.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_the_list),
        cmocka_unit_test(small_ones_are_exact_and_large_ones_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
