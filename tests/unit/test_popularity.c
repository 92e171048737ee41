#include "learner/popularity.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static void test_rates(void **state)
{
    (void)state;
    struct popularity p;
    assert_int_equal(popularity_open(&p, 100, NULL), 0);
    assert_float_equal(popularity_predict(&p, 7), 0.5, 0);
    for (int i = 0; i < 98; i++) {
        assert_int_equal(popularity_learn(&p, 7, 1.0, i < 49, NULL), 0);
    }
    /* prior (49 + 1) / (98 + 2); the id itself has the same rate */
    assert_float_equal(popularity_predict(&p, 8), 0.5, 1e-12);
    assert_float_equal(popularity_predict(&p, 7), 0.5, 1e-12);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(popularity_learn(&p, 9, 1.0, 1.0, NULL), 0);
    }
    double prior = (149.0 + 1) / (198.0 + 2);
    assert_float_equal(popularity_predict(&p, 9), (100 + 20 * prior) / 120, 1e-6);
    assert_float_equal(popularity_predict(&p, 0), prior, 1e-12);
    popularity_release(&p);
}

static void test_bound_and_growth(void **state)
{
    (void)state;
    struct popularity p;
    assert_int_equal(popularity_open(&p, 5000, NULL), 0);
    for (uint64_t key = 1; key <= 6000; key++) {
        assert_int_equal(popularity_learn(&p, key, 2.0, key % 2 == 0 ? 2.0 : 0.0, NULL), 0);
    }
    assert_int_equal(p.n_rows, 5000);
    assert_int_equal(p.rows_refused, 1000);
    assert_true(popularity_predict(&p, 2) > popularity_predict(&p, 3));
    assert_float_equal(p.shows, 12000, 0);
    popularity_release(&p);
}

static void test_restore(void **state)
{
    (void)state;
    struct popularity a, b;
    assert_int_equal(popularity_open(&a, 100000, NULL), 0);
    assert_int_equal(popularity_open(&b, 100000, NULL), 0);
    for (uint64_t i = 0; i < 20000; i++) {
        assert_int_equal(popularity_learn(&a, 1 + i % 3000, 1.0, i % 7 == 0, NULL), 0);
    }
    static struct popularity_row rows[3000];
    uint64_t n = 0;
    for (uint64_t i = 0; i < a.capacity; i++) {
        if (a.row[i].key != 0) {
            rows[n++] = a.row[i];
        }
    }
    assert_int_equal(n, 3000);
    assert_int_equal(popularity_restore(&b, rows, n, a.shows, a.clicks, NULL), 0);
    for (uint64_t key = 0; key < 3100; key++) {
        assert_true(popularity_predict(&a, key) == popularity_predict(&b, key));
    }
    popularity_release(&a);
    popularity_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_bound_and_growth),
        cmocka_unit_test(test_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
