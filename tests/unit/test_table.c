#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/table.h"

#include "base/hash.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct table_options OPTIONS = {
    .dim = 18, .n_slots = 18, .slot_initial = 0.1f, .init = {.seed = 7, .scale = 0.05f}};

static struct table open_table(const struct table_options *opt, struct table_budget *budget)
{
    struct table t;
    struct undine_err err;
    assert_int_equal(table_init(&t, opt, budget, &err), 0);
    return t;
}

static void test_a_new_row_is_a_function_of_its_id(void **state)
{
    (void)state;
    struct table_budget budget = {0};
    struct table a = open_table(&OPTIONS, &budget), b = open_table(&OPTIONS, &budget);
    uint64_t keys[2] = {11, 12}, swapped[2] = {12, 11};
    uint32_t rows_a[2], rows_b[2];
    assert_int_equal(table_need(&a, keys, rows_a, 2, NULL), 0);
    assert_int_equal(table_need(&b, swapped, rows_b, 2, NULL), 0);
    const struct table_row *x = table_row(&a, rows_a[0]), *y = table_row(&b, rows_b[1]);
    assert_memory_equal(x->value, y->value, 36 * sizeof(float));
    assert_true(x->value[18] == 0.1f && x->value[35] == 0.1f);
    assert_true(x->count == 0.0f);
    float expected[18];
    row_initial(expected, 18, 11, &OPTIONS.init);
    assert_memory_equal(x->value, expected, sizeof expected);
    table_release(&a);
    table_release(&b);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_rows_never_move_and_every_id_is_found(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct table_options opt = OPTIONS;
    opt.dim = 2;
    opt.n_slots = 0;
    struct table_budget budget = {0};
    struct table t = open_table(&opt, &budget);
    uint32_t *rows = calloc(N, sizeof *rows);
    uint64_t first_key = 1;
    uint32_t first;
    assert_int_equal(table_need(&t, &first_key, &first, 1, NULL), 0);
    const struct table_row *kept = table_row(&t, first);
    for (uint64_t k = 0; k < N; k++) {
        uint64_t key = k + 1; /* counted ids, the worst an index could get */
        assert_int_equal(table_need(&t, &key, &rows[k], 1, NULL), 0);
        table_row(&t, rows[k])->count = (float)k;
    }
    assert_int_equal(t.n_rows, N);
    assert_ptr_equal(kept, table_row(&t, first));
    for (uint64_t k = 0; k < N; k++) {
        assert_int_equal(table_find(&t, k + 1), rows[k]);
        assert_true(table_row(&t, rows[k])->count == (float)k);
    }
    assert_int_equal(table_find(&t, N + 1), TABLE_NONE);
    free(rows);
    table_release(&t);
}

static void test_memory_stays_within_a_quarter_of_ideal(void **state)
{
    (void)state;
    struct table_budget budget = {0};
    struct table t = open_table(&OPTIONS, &budget);
    double worst = 0.0;
    for (uint64_t k = 1; k <= 300000; k++) {
        uint64_t key = hash_mix64(k);
        uint32_t row;
        assert_int_equal(table_need(&t, &key, &row, 1, NULL), 0);
        double ideal = (double)k * (8.0 + 4.0 + 4.0 + 2.0 * 18.0 * 4.0);
        double ratio = (double)table_bytes(&t) / ideal;
        worst = k >= 20000 && ratio > worst ? ratio : worst;
    }
    print_message("bytes over ideal, worst from 20,000 rows on: %.4f\n", worst);
    assert_true(worst <= 1.25);
    table_release(&t);
}

static void test_the_bound_refuses_and_changes_nothing(void **state)
{
    (void)state;
    struct table_budget budget = {.max_bytes = 1 << 20};
    struct table t = open_table(&OPTIONS, &budget);
    struct undine_err err = {0};
    int rc = 0;
    uint64_t key = 0;
    while (rc == 0) {
        uint32_t row;
        key++;
        rc = table_need(&t, &key, &row, 1, &err);
    }
    assert_int_equal(rc, UNDINE_EFULL);
    assert_non_null(strstr(err.msg, "1048576"));
    assert_true(budget.used_bytes <= budget.max_bytes);
    assert_int_equal(t.n_rows, key - 1);
    for (uint64_t k = 1; k < key; k++) {
        assert_int_not_equal(table_find(&t, k), TABLE_NONE);
    }
    assert_int_equal(table_find(&t, key), TABLE_NONE);
    table_release(&t);
}

/* Random needs and erases against an array of what must be there. */
static void test_erase_against_a_model(void **state)
{
    (void)state;
    enum { IDS = 4000, STEPS = 200000 };
    struct table_options opt = OPTIONS;
    opt.dim = 3;
    struct table_budget budget = {0};
    struct table t = open_table(&opt, &budget);
    static float expected[IDS]; /* count that the row must have; -1 = no row */
    for (size_t i = 0; i < IDS; i++) {
        expected[i] = -1.0f;
    }
    struct random r = {.state = 20240607};
    print_message("seed 20240607\n");
    uint64_t erased = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        uint64_t i = random_below(&r, IDS), key = i * 977 + 1;
        if (random_below(&r, 3) == 0) {
            int rc = table_erase(&t, key, NULL);
            assert_int_equal(rc, expected[i] >= 0.0f);
            erased += (uint64_t)rc;
            expected[i] = -1.0f;
        } else {
            uint32_t row;
            assert_int_equal(table_need(&t, &key, &row, 1, NULL), 0);
            struct table_row *x = table_row(&t, row);
            assert_true(x->key == key);
            assert_true(x->count == (expected[i] < 0.0f ? 0.0f : expected[i]));
            x->count = (float)(step % 1000 + 1);
            expected[i] = x->count;
        }
    }
    uint32_t n = 0;
    for (uint64_t i = 0; i < IDS; i++) {
        n += expected[i] >= 0.0f;
        assert_int_equal(table_find(&t, i * 977 + 1) != TABLE_NONE, expected[i] >= 0.0f);
    }
    assert_int_equal(t.n_rows, n);
    assert_true(t.n_segments * TABLE_SEGMENT_ROWS < n + 2 * TABLE_SEGMENT_ROWS);
    assert_int_equal(t.n_tombstones, erased);
    table_tombstones_clear(&t);
    assert_int_equal(t.n_tombstones, 0);
    table_release(&t);
}

static void test_an_erased_row_leaves_nothing(void **state)
{
    (void)state;
    struct table_budget budget = {0};
    struct table t = open_table(&OPTIONS, &budget);
    uint64_t key = 42;
    uint32_t row;
    assert_int_equal(table_need(&t, &key, &row, 1, NULL), 0);
    table_row(&t, row)->value[0] = 123.0f;
    assert_int_equal(table_erase(&t, key, NULL), 1);
    assert_int_equal(table_erase(&t, key, NULL), 0);
    assert_int_equal(t.n_tombstones, 1);
    assert_true(t.tombstones[0] == key);
    assert_true(table_row(&t, row)->value[0] == 0.0f && table_row(&t, row)->key == 0);
    assert_int_equal(t.n_rows, 0);
    table_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_row_is_a_function_of_its_id),
        cmocka_unit_test(test_rows_never_move_and_every_id_is_found),
        cmocka_unit_test(test_memory_stays_within_a_quarter_of_ideal),
        cmocka_unit_test(test_the_bound_refuses_and_changes_nothing),
        cmocka_unit_test(test_erase_against_a_model),
        cmocka_unit_test(test_an_erased_row_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
