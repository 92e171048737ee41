/* The index against plain arrays: pages are split and joined, entries found, moved and taken out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "learner/table_index.h"

#include "base/hash.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

enum { IDS = 100000 };

static uint32_t row_of[IDS]; /* row + 1 that the id must have, 0 = none */

static uint64_t hash_of(uint32_t id)
{
    return table_index_hash((uint64_t)id + 1);
}

/* Row + 1 of an id, as table_find looks for it; the row number stands for the id. */
static uint32_t look_up(const struct table_index *x, uint32_t id)
{
    const struct table_index_page *p = table_index_page(x, hash_of(id));
    uint32_t tag = table_index_tag(hash_of(id));
    for (uint32_t at = table_index_first(tag);; at = (at + 1) % TABLE_INDEX_SLOTS) {
        if (p->slot[at].row == 0 ||
            (p->slot[at].tag == tag && p->slot[at].row == row_of[id] && row_of[id] != 0)) {
            return p->slot[at].row;
        }
    }
}

static void check_all(const struct table_index *x)
{
    uint32_t n = 0, entries = 0, pages = 0;
    for (uint32_t id = 0; id < IDS; id++) {
        n += row_of[id] != 0;
        assert_int_equal(look_up(x, id), row_of[id]);
    }
    for (uint64_t i = 0; i >> x->bits == 0;) {
        const struct table_index_page *p = x->page[i];
        assert_true(p->n <= TABLE_INDEX_FULL);
        entries += p->n;
        pages++;
        i += (uint64_t)1 << (x->bits - p->bits);
    }
    assert_int_equal(entries, n);
    assert_int_equal(pages, x->n_pages);
}

static void test_pages_come_and_go_with_their_entries(void **state)
{
    (void)state;
    struct table_budget budget = {0};
    struct table_index x;
    struct undine_err err;
    assert_int_equal(table_index_init(&x, &budget, &err), 0);
    for (uint32_t id = 0; id < IDS; id++) {
        row_of[id] = id + 1;
        assert_int_equal(table_index_add(&x, hash_of(id), id, &err), 0);
    }
    check_all(&x);
    uint32_t most = x.n_pages;
    assert_true(most >= IDS / TABLE_INDEX_FULL);
    for (uint32_t id = 0; id < IDS; id++) {
        if (id % 50 != 0) {
            table_index_remove(&x, hash_of(id), id);
            row_of[id] = 0;
        }
    }
    check_all(&x);
    assert_true(x.n_pages * 10 < most);
    assert_true(budget.used_bytes == x.account.bytes);
    table_index_release(&x);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_random_adds_moves_and_removes(void **state)
{
    (void)state;
    enum { STEPS = 1000000 };
    struct table_budget budget = {0};
    struct table_index x;
    struct undine_err err;
    struct random r = {.state = 20261123};
    print_message("seed 20261123\n");
    memset(row_of, 0, sizeof row_of);
    assert_int_equal(table_index_init(&x, &budget, &err), 0);
    for (uint32_t step = 0; step < STEPS; step++) {
        /* The share of ids that are there goes up and down. */
        uint32_t id = (uint32_t)random_below(&r, IDS);
        uint64_t chance = step / 250000 % 2 == 0 ? 3 : 15;
        if (row_of[id] == 0) {
            if (random_below(&r, 16) >= chance) {
                row_of[id] = id + 1;
                assert_int_equal(table_index_add(&x, hash_of(id), id, &err), 0);
            }
        } else if (random_below(&r, 16) < chance) {
            table_index_remove(&x, hash_of(id), row_of[id] - 1);
            row_of[id] = 0;
        } else {
            uint32_t to = row_of[id] == id + 1 ? id + IDS : id;
            table_index_move(&x, hash_of(id), row_of[id] - 1, to);
            row_of[id] = to + 1;
        }
        if (step % 100000 == 0) {
            check_all(&x);
        }
    }
    check_all(&x);
    table_index_release(&x);
}

/* More ids of one hash prefix than a page holds are refused, and those that are there stay. */
static void test_ids_that_cannot_be_told_apart_are_an_error(void **state)
{
    (void)state;
    struct table_budget budget = {0};
    struct table_index x;
    struct undine_err err = {0};
    assert_int_equal(table_index_init(&x, &budget, &err), 0);
    uint32_t n = 0;
    int rc = 0;
    for (; rc == 0 && n <= TABLE_INDEX_SLOTS; n++) {
        rc = table_index_add(&x, (uint64_t)0xABCDEF01 << 32, n, &err);
    }
    assert_int_equal(rc, UNDINE_EFULL);
    assert_int_equal(n, TABLE_INDEX_FULL + 1);
    assert_non_null(strstr(err.msg, "share the first 21 bits"));
    for (uint32_t row = 0; row < TABLE_INDEX_FULL; row++) {
        table_index_remove(&x, (uint64_t)0xABCDEF01 << 32, row);
    }
    assert_int_equal(table_index_page(&x, (uint64_t)0xABCDEF01 << 32)->n, 0);
    table_index_release(&x);
    assert_int_equal(budget.used_bytes, 0);
}

/* The most that any one of n adds clears and copies. */
static uint64_t worst_add(uint64_t (*hash)(uint64_t), uint32_t n)
{
    struct table_budget budget = {0};
    struct table_index x;
    uint64_t worst = 0;
    assert_int_equal(table_index_init(&x, &budget, NULL), 0);
    for (uint32_t row = 0; row < n; row++) {
        uint64_t before = x.moved_bytes;
        assert_int_equal(table_index_add(&x, hash(row), row, NULL), 0);
        uint64_t moved = x.moved_bytes - before;
        worst = moved > worst ? moved : worst;
    }
    print_message("%u ids, %u pages, directory of %llu: the worst add moves %llu bytes\n", n,
                  x.n_pages, (unsigned long long)1 << x.bits, (unsigned long long)worst);
    table_index_release(&x);
    assert_int_equal(budget.used_bytes, 0);
    return worst;
}

static uint64_t spread(uint64_t i)
{
    return table_index_hash(hash_mix64(i));
}

/* All alike in the first 20 bits, so that pages and the directory are of the greatest depth. */
static uint64_t crowded(uint64_t i)
{
    return spread(i) >> 20 | (uint64_t)0x5A5A5 << 44;
}

/* Not a time, which another program on the machine would blur: the bytes that one insert clears and
 * copies.  Pages of a split, and the directory where it doubles: at 10,000,000 ids 0.1 MB, some
 * hundredths of a millisecond.  Where ids crowd in one page out of 2^21, each insert that splits
 * doubles the directory, up to its greatest size. */
static void test_no_add_moves_more_than_pages_and_directory(void **state)
{
    (void)state;
    uint64_t pages = 3 * sizeof(struct table_index_page), pointer = sizeof(void *);
    assert_true(worst_add(spread, 10000) <= pages + 64 * pointer);
    assert_true(worst_add(spread, 1000000) <= pages + 4096 * pointer);
    assert_true(worst_add(spread, 10000000) <= pages + 16384 * pointer);
    uint64_t deepest = (uint64_t)1 << TABLE_INDEX_BITS_MAX;
    assert_true(worst_add(crowded, TABLE_INDEX_FULL + 1000) <=
                TABLE_INDEX_BITS_MAX * pages + 4 * deepest * pointer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_come_and_go_with_their_entries),
        cmocka_unit_test(test_random_adds_moves_and_removes),
        cmocka_unit_test(test_ids_that_cannot_be_told_apart_are_an_error),
        cmocka_unit_test(test_no_add_moves_more_than_pages_and_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
