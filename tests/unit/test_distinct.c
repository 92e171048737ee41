#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "base/random.h"
#include "learner/distinct.h"

#include <string.h>

enum { KEYS = 6000, IDS = 2000 };

/* Small numbers and ids of which the high or the low half alone differs, besides hashes. */
static uint64_t key_of(uint32_t id)
{
    switch (id % 4) {
    case 0:
        return id;
    case 1:
        return (uint64_t)id << 32;
    default:
        return hash_mix64(id);
    }
}

/* The numbers must be those of a look through a list. */
static void check_batch(struct distinct *d, struct random *r, uint32_t n_ids)
{
    static uint64_t keys[KEYS];
    static uint32_t numbers[KEYS], first[IDS];
    uint32_t n = 0;
    memset(first, 0, sizeof first);
    distinct_begin(d);
    assert_int_equal(d->n, 0);
    for (size_t at = 0, run; at < KEYS; at += run) {
        run = 1 + (size_t)random_below(r, 700);
        run = run < KEYS - at ? run : KEYS - at;
        uint32_t ids[KEYS];
        for (size_t i = 0; i < run; i++) {
            ids[i] = (uint32_t)random_below(r, n_ids);
            keys[at + i] = key_of(ids[i]);
        }
        assert_int_equal(distinct_number(d, keys + at, numbers + at, run, NULL), 0);
        for (size_t i = 0; i < run; i++) {
            first[ids[i]] = first[ids[i]] > 0 ? first[ids[i]] : ++n;
            assert_int_equal(numbers[at + i], first[ids[i]] - 1);
        }
    }
    assert_int_equal(d->n, n);
    for (uint32_t id = 0; id < n_ids; id++) {
        assert_true(first[id] == 0 || d->key[first[id] - 1] == key_of(id));
    }
}

static void test_keys_are_numbered_as_they_come(void **state)
{
    (void)state;
    struct distinct d = {0};
    struct random r = {.state = 5};
    for (uint32_t n_ids = 1; n_ids <= IDS; n_ids = n_ids * 3 / 2 + 1) {
        check_batch(&d, &r, n_ids);
        check_batch(&d, &r, 1 + n_ids / 2);
    }
    distinct_release(&d);
}

/* Slots name their batch by 32 bits: what an old one of the same number left there must be gone. */
static void test_batch_numbers_start_again(void **state)
{
    (void)state;
    struct distinct d = {0};
    struct random r = {.state = 6};
    check_batch(&d, &r, IDS);
    assert_int_equal(d.batch, 1);
    d.batch = UINT32_MAX - 1;
    for (int i = 0; i < 3; i++) {
        check_batch(&d, &r, IDS / 2);
    }
    assert_int_equal(d.batch, 2);
    distinct_release(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_numbered_as_they_come),
        cmocka_unit_test(test_batch_numbers_start_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
