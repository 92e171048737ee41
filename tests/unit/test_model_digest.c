/* The model digest follows rows that come, go and change, and tells apart what differs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/model_digest.h"

#include <string.h>

enum { ROWS = 50, WIDTH = 5 };

struct rows {
    uint64_t key[ROWS];
    float row[ROWS * WIDTH];
};

static struct rows some_rows(void)
{
    struct rows r;
    for (uint64_t i = 0; i < ROWS; i++) {
        r.key[i] = hash_mix64(i);
        for (uint64_t d = 0; d < WIDTH; d++) {
            r.row[i * WIDTH + d] = (float)(hash_mix64(i * WIDTH + d) % 1000) / 7.0f;
        }
    }
    return r;
}

static struct model_digest_rows of(const struct rows *r, uint64_t n)
{
    struct model_digest_rows d = {0};
    model_digest_rows_add(&d, r->key, r->row, n, WIDTH);
    return d;
}

static void assert_equal(struct model_digest_rows a, struct model_digest_rows b)
{
    assert_int_equal(a.n, b.n);
    assert_true(a.sum.low == b.sum.low && a.sum.high == b.sum.high);
}

static void test_rows_come_and_go_in_any_order(void **state)
{
    (void)state;
    struct rows r = some_rows();
    struct model_digest_rows whole = of(&r, ROWS), d = {0};
    for (uint64_t i = ROWS; i > 0; i--) {
        model_digest_row_add(&d, r.key[i - 1], r.row + (i - 1) * WIDTH, WIDTH);
    }
    assert_equal(d, whole);
    for (uint64_t i = ROWS / 2; i < ROWS; i++) {
        model_digest_row_remove(&d, r.key[i], r.row + i * WIDTH, WIDTH);
    }
    assert_equal(d, of(&r, ROWS / 2));
    for (uint64_t i = 0; i < ROWS / 2; i++) {
        model_digest_row_remove(&d, r.key[i], r.row + i * WIDTH, WIDTH);
    }
    assert_equal(d, (struct model_digest_rows){0});
}

/* The sum as formats.md has it, by the bytes, with the carry from the low half. */
static void test_sum_is_that_of_the_document(void **state)
{
    (void)state;
    struct rows r = some_rows();
    struct model_digest_rows d = of(&r, ROWS);
    unsigned __int128 sum = 0;
    for (uint64_t i = 0; i < ROWS; i++) {
        uint8_t bytes[8 + 4 * WIDTH];
        memcpy(bytes, &r.key[i], 8);
        memcpy(bytes + 8, r.row + i * WIDTH, sizeof(float) * WIDTH);
        struct hash128 h = hash128_bytes(bytes, sizeof bytes);
        sum += (unsigned __int128)h.high << 64 | h.low;
    }
    assert_int_equal(d.sum.low, (uint64_t)sum);
    assert_int_equal(d.sum.high, (uint64_t)(sum >> 64));
}

static struct hash128 whole(const char *table, const struct model_digest_rows *rows,
                            const char *dense, const float *value)
{
    struct model_digest d = {0};
    struct model_digest_tensor list[] = {{dense, value, sizeof *value}, {"a", "x", 1}};
    model_digest_table(&d, table, rows);
    model_digest_dense(&d, list, 2);
    return d.value;
}

static void test_whatever_differs_tells(void **state)
{
    (void)state;
    struct rows r = some_rows(), other = r;
    float one = 1.0f, two = 2.0f;
    other.row[17] = -other.row[17];
    struct model_digest_rows a = of(&r, ROWS), b = of(&other, ROWS), fewer = of(&r, ROWS - 1);
    const struct hash128 h[] = {whole("t", &a, "w", &one),     whole("u", &a, "w", &one),
                                whole("t", &b, "w", &one),     whole("t", &a, "v", &one),
                                whole("t", &fewer, "w", &one), whole("t", &a, "w", &two)};
    for (size_t i = 1; i < sizeof h / sizeof h[0]; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_true(h[i].low != h[k].low || h[i].high != h[k].high);
        }
    }
    struct hash128 again = whole("t", &a, "w", &one);
    assert_memory_equal(&again, &h[0], sizeof again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows_come_and_go_in_any_order),
                                       cmocka_unit_test(test_sum_is_that_of_the_document),
                                       cmocka_unit_test(test_whatever_differs_tells)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
