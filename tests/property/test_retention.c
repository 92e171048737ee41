/* Rows that expire, are evicted, forgotten and looked up again, against a naive list of ids and
 * their last touch: who lives, who went (tombstones), what was counted, and that memory stays
 * within its budget.  Now and then everything is copied into fresh tables, as a restart does:
 * nothing may show it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "learner/retention.h"

#include "base/hash.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

enum { TABLES = 3, IDS = 30000, STEPS = 2400, BATCH = 60 };

struct twin { /* of one id */
    uint32_t stamp, day;
    bool lives;
    int32_t tombstones;
};

struct world {
    struct table_budget budget;
    struct table table[TABLES]; /* two of rows, one of waiting ids */
    struct retention z;
    struct retention_options opt;
    struct twin twin[TABLES][IDS];
    struct retention_counters counters;
    uint64_t live_bytes;
    uint32_t day;
};

static const uint32_t DIMS[TABLES] = {18, 4, 0};

static uint64_t key_of(uint32_t k, uint32_t id)
{
    return hash_mix64(((uint64_t)k << 32) + id + 1);
}

static void open_tables(struct world *w)
{
    struct table *tables[TABLES];
    for (uint32_t k = 0; k < TABLES; k++) {
        struct table_options opt = {.dim = DIMS[k],
                                    .n_slots = DIMS[k],
                                    .init = {.seed = 3, .scale = 0.1f},
                                    .silent = k == 2};
        assert_int_equal(table_init(&w->table[k], &opt, &w->budget, NULL), 0);
        tables[k] = &w->table[k];
    }
    assert_int_equal(retention_init(&w->z, &w->opt, tables, 2, TABLES, NULL), 0);
}

/* Every id of the naive list lives exactly where the tables say so. */
static void compare(const struct world *w)
{
    uint64_t live = 0;
    for (uint32_t k = 0; k < TABLES; k++) {
        uint64_t rows = 0;
        for (uint32_t id = 0; id < IDS; id++) {
            const struct twin *x = &w->twin[k][id];
            uint32_t row = table_find(&w->table[k], key_of(k, id));
            assert_int_equal(row != TABLE_NONE, x->lives);
            if (x->lives) {
                assert_int_equal(table_row(&w->table[k], row)->stamp, x->stamp);
                assert_int_equal(table_row(&w->table[k], row)->seen_day, x->day);
            }
            rows += x->lives;
        }
        live += rows;
    }
    uint64_t held = 0;
    for (uint32_t k = 0; k < TABLES; k++) {
        held += w->table[k].n_rows;
    }
    assert_int_equal(held, live + retention_unswept(&w->z, false) + retention_unswept(&w->z, true));
    assert_int_equal(w->z.live_bytes, w->live_bytes);
    assert_memory_equal(&w->z.counters, &w->counters, sizeof w->counters);
}

/* After a whole sweep: the tombstones name what went since the last look, each as often as it did.
 */
static void compare_tombstones(struct world *w)
{
    for (uint32_t k = 0; k < 2; k++) {
        struct table *t = &w->table[k];
        size_t n = 0;
        for (uint32_t id = 0; id < IDS; id++) {
            n += (size_t)w->twin[k][id].tombstones;
        }
        assert_int_equal(t->n_tombstones, n);
        struct table ids; /* id number + 1 in count */
        struct table_budget none = {0};
        struct table_options opt = {.dim = 0};
        assert_int_equal(table_init(&ids, &opt, &none, NULL), 0);
        for (uint32_t id = 0; id < IDS; id++) {
            uint64_t key = key_of(k, id);
            uint32_t row;
            assert_int_equal(table_need(&ids, &key, &row, 1, NULL), 0);
            table_row(&ids, row)->local = id;
        }
        for (size_t i = 0; i < n; i++) {
            uint32_t row = table_find(&ids, t->tombstones[i]);
            assert_int_not_equal(row, TABLE_NONE);
            w->twin[k][table_row(&ids, row)->local].tombstones--;
        }
        for (uint32_t id = 0; id < IDS; id++) {
            assert_int_equal(w->twin[k][id].tombstones, 0);
        }
        table_release(&ids);
        table_tombstones_clear(t);
    }
    assert_int_equal(w->table[2].n_tombstones, 0);
}

static void twin_drop(struct world *w, uint32_t k, uint32_t id, uint64_t *counter)
{
    struct twin *x = &w->twin[k][id];
    x->lives = false;
    x->tombstones += k < 2;
    w->live_bytes -= retention_row_bytes(&w->z, k);
    if (k == 2) {
        w->counters.waiting_dropped++;
    } else {
        (*counter)++;
    }
}

/* Naively: every id that was not touched for so long. */
static void twin_expire(struct world *w)
{
    for (uint32_t k = 0; k < TABLES; k++) {
        for (uint32_t id = 0; id < IDS; id++) {
            const struct twin *x = &w->twin[k][id];
            if (w->opt.expire_days > 0 && x->lives && w->day > x->day + w->opt.expire_days) {
                twin_drop(w, k, id, &w->counters.rows_expired);
            }
        }
    }
}

/* Naively: the ids of the oldest step, and again, until the rest is small enough. */
static void twin_evict(struct world *w, uint32_t now)
{
    uint64_t part = w->z.part_bytes;
    if (w->opt.full != RETENTION_EVICT || w->live_bytes <= 28 * part) {
        return;
    }
    while (w->live_bytes > 27 * part) {
        uint32_t oldest = now;
        for (uint32_t i = 0; i < TABLES * IDS; i++) {
            const struct twin *x = &w->twin[i / IDS][i % IDS];
            oldest = x->lives && x->stamp < oldest ? x->stamp : oldest;
        }
        for (uint32_t i = 0; oldest < now && i < TABLES * IDS; i++) {
            const struct twin *x = &w->twin[i / IDS][i % IDS];
            if (x->lives && x->stamp == oldest) {
                twin_drop(w, i / IDS, i % IDS, &w->counters.rows_evicted);
            }
        }
        if (oldest == now) {
            return;
        }
    }
}

static void touch(struct world *w, uint32_t k, uint32_t id, uint32_t now)
{
    uint64_t key = key_of(k, id);
    uint32_t row;
    assert_int_equal(table_need(&w->table[k], &key, &row, 1, NULL), 0);
    struct table_row *r = table_row(&w->table[k], row);
    struct twin *x = &w->twin[k][id];
    if (r->stamp != now) {
        /* An id that went begins anew, whether the sweep has been there or not. */
        assert_int_equal(r->stamp, x->lives ? x->stamp : 0);
        assert_true(r->count == (x->lives ? 1.0f : 0.0f));
    }
    r->count = 1.0f;
    retention_touch(&w->z, k, r, now, w->day);
    w->live_bytes += x->lives ? 0 : retention_row_bytes(&w->z, k);
    *x = (struct twin){.stamp = now, .day = w->day, .lives = true, .tombstones = x->tombstones};
}

static void forget(struct world *w, uint32_t k, uint32_t id)
{
    uint64_t none = 0;
    uint32_t row = table_find(&w->table[k], key_of(k, id));
    if (row != TABLE_NONE) {
        retention_forget(&w->z, k, table_row(&w->table[k], row));
    }
    int rc = table_erase(&w->table[k], key_of(k, id), NULL);
    assert_int_equal(rc, w->twin[k][id].lives);
    if (rc > 0) {
        struct retention_counters kept = w->counters;
        twin_drop(w, k, id, &none);
        w->counters = kept;
    }
}

/* Copy what lives into fresh tables, in another order. */
static void restart(struct world *w)
{
    struct table old[TABLES];
    struct retention z = w->z;
    assert_int_equal(retention_sweep(&z, true, NULL), 0);
    w->z = z;
    compare_tombstones(w);
    memcpy(old, w->table, sizeof old);
    struct table_budget before = w->budget;
    w->budget = (struct table_budget){.max_bytes = before.max_bytes};
    struct retention_counters counters = w->z.counters;
    retention_release(&w->z);
    open_tables(w);
    w->z.counters = counters;
    for (uint32_t k = 0; k < TABLES; k++) {
        for (uint32_t i = old[k].n_rows; i > 0; i--) {
            const struct table_row *from = table_row(&old[k], i - 1);
            uint32_t row;
            assert_int_equal(table_need(&w->table[k], &from->key, &row, 1, NULL), 0);
            struct table_row *r = table_row(&w->table[k], row);
            r->stamp = from->stamp;
            r->seen_day = from->seen_day;
            r->count = from->count;
        }
        old[k].account.budget = old[k].index.account.budget = &before;
        table_release(&old[k]);
    }
    assert_int_equal(before.used_bytes, 0);
    assert_int_equal(retention_restore(&w->z, NULL), 0);
}

static void run(enum retention_full full, uint32_t expire_days, uint64_t max_bytes, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    struct random r = {.state = seed};
    w->budget.max_bytes = max_bytes;
    w->opt = (struct retention_options){
        .full = full, .expire_days = expire_days, .memory_max_bytes = max_bytes};
    open_tables(w);
    print_message("seed %llu\n", (unsigned long long)seed);
    uint64_t most = 0;
    for (uint32_t now = 1; now <= STEPS; now++) {
        /* Days go by in leaps now and then; ids come from a window that moves; the share of the
         * tables shifts to and fro. */
        w->day += random_below(&r, 40) == 0 ? (uint32_t)random_below(&r, 5) : 0;
        assert_int_equal(retention_begin(&w->z, now, w->day, NULL), 0);
        twin_expire(w);
        for (uint32_t i = 0; i < BATCH; i++) {
            uint32_t k =
                random_below(&r, 10) < 8 ? now / 700 % TABLES : (uint32_t)random_below(&r, TABLES);
            uint32_t id = (uint32_t)((now * 20 + random_below(&r, 12000)) % IDS);
            touch(w, k, id, now);
        }
        retention_evict(&w->z, now);
        twin_evict(w, now);
        assert_int_equal(retention_sweep(&w->z, false, NULL), 0);
        assert_true(max_bytes == 0 || w->budget.used_bytes <= max_bytes);
        most = w->budget.used_bytes > most ? w->budget.used_bytes : most;
        if (random_below(&r, 10) == 0) {
            forget(w, (uint32_t)random_below(&r, TABLES), (uint32_t)random_below(&r, IDS));
        }
        if (now % 250 == 0) {
            compare(w);
        }
        if (random_below(&r, 150) == 0) {
            restart(w);
            compare(w);
        }
    }
    assert_int_equal(retention_sweep(&w->z, true, NULL), 0);
    compare(w);
    compare_tombstones(w);
    assert_true(full != RETENTION_EVICT || w->counters.rows_evicted > 1000);
    assert_true(expire_days == 0 || w->counters.rows_expired > 1000);
    assert_true(w->counters.waiting_dropped > 1000);
    print_message("at most %llu bytes; expired %llu, evicted %llu\n", (unsigned long long)most,
                  (unsigned long long)w->counters.rows_expired,
                  (unsigned long long)w->counters.rows_evicted);
    for (uint32_t k = 0; k < TABLES; k++) {
        table_release(&w->table[k]);
    }
    assert_int_equal(w->budget.used_bytes, 0);
    retention_release(&w->z);
    free(w);
}

static void test_expiry_against_a_naive_list(void **state)
{
    (void)state;
    run(RETENTION_STOP, 9, 0, 11);
}

static void test_eviction_against_a_naive_list(void **state)
{
    (void)state;
    run(RETENTION_EVICT, 0, 2 << 20, 12);
}

static void test_both_against_a_naive_list(void **state)
{
    (void)state;
    run(RETENTION_EVICT, 12, 2 << 20, 13);
}

static void test_eviction_needs_a_budget(void **state)
{
    (void)state;
    struct undine_err err = {0};
    struct table_budget budget = {0};
    struct table_options shape = {.dim = 18, .n_slots = 18};
    struct table t, *tables[1] = {&t};
    struct retention z;
    struct retention_options opt = {.full = RETENTION_EVICT, .memory_max_bytes = 600000};
    assert_int_equal(table_init(&t, &shape, &budget, &err), 0);
    assert_int_equal(retention_init(&z, &opt, tables, 1, 1, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "600000 bytes"));
    opt.full = RETENTION_STOP;
    assert_int_equal(retention_init(&z, &opt, tables, 1, 1, &err), 0);
    assert_false(retention_on(&z));
    table_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expiry_against_a_naive_list),
        cmocka_unit_test(test_eviction_against_a_naive_list),
        cmocka_unit_test(test_both_against_a_naive_list),
        cmocka_unit_test(test_eviction_needs_a_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
