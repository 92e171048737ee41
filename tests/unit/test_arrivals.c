#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "featurestore/arrivals.h"
#include "tests/support/store_fixture.h"

#include <stdlib.h>

enum { SHARD = 3, EVENTS_MAX = 40000 };

static char dir[FIXTURE_PATH_MAX];
static struct schema schema;
static struct store *store;
static struct arrivals *arrivals;
static struct undine_err err;
static struct random r;

static void open_arrivals(void)
{
    store = fixture_store(dir);
    assert_int_equal(arrivals_open(&arrivals, store, &schema, SHARD, &err), UNDINE_OK);
}

static void close_arrivals(void)
{
    arrivals_close(arrivals);
    store_close(store);
}

static int setup(void **state)
{
    (void)state;
    r.state = FIXTURE_SEED;
    fixture_directory(dir);
    fixture_schema(&schema, 3);
    open_arrivals();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_arrivals();
    fixture_remove(dir);
    return 0;
}

static struct event *arrive(int64_t time_ms, uint64_t id)
{
    uint64_t *words = arrivals_reserve(arrivals, &err);
    assert_non_null(words);
    struct event *e = fixture_event(words, &schema, &r, EVENT_IMPRESSION, time_ms, "someone");
    e->id = id;
    return arrivals_keep(arrivals, e->words);
}

static void commit(uint64_t number, int64_t keep_after_ms)
{
    assert_int_equal(arrivals_stage(arrivals, number, keep_after_ms, &err), UNDINE_OK);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    arrivals_commit(arrivals);
}

struct restored {
    struct event *event[EVENTS_MAX];
    uint64_t id[EVENTS_MAX];
    size_t n;
    bool release;
};

static int take(void *payload, struct event *e, struct undine_err *unused)
{
    struct restored *x = payload;
    (void)unused;
    assert_true(x->n < EVENTS_MAX);
    assert_true(event_valid((const uint64_t *)(const void *)e, e->words, &schema));
    x->event[x->n] = e;
    x->id[x->n++] = e->id;
    if (x->release) {
        arrivals_release(arrivals, e);
    }
    return UNDINE_OK;
}

static struct restored *restart(bool release)
{
    static struct restored x;
    x.n = 0;
    x.release = release;
    close_arrivals();
    open_arrivals();
    struct restore_progress progress = {0};
    assert_int_equal(arrivals_restore(arrivals, take, &x, &progress, &err), UNDINE_OK);
    assert_int_equal(progress.phase, RESTORE_EVENTS);
    assert_int_equal(progress.done, progress.total);
    return &x;
}

static size_t n_blocks;
static int count_block(void *payload, uint64_t key, const uint8_t *value, size_t len,
                       struct undine_err *unused)
{
    (void)payload;
    (void)key;
    (void)unused;
    assert_int_equal(arrivals_check(NULL, &schema, value, len, &err), UNDINE_OK);
    n_blocks++;
    return 0;
}

static size_t blocks(void)
{
    n_blocks = 0;
    assert_int_equal(store_scan(store, STORE_ARRIVALS, 0, count_block, NULL, &err), 0);
    return n_blocks;
}

static void events_come_back_in_the_order_of_arrival(void **state)
{
    (void)state;
    struct event *first = arrive(50, 1);
    arrivals_release(arrivals,
                     first); /* released events are stored as well: a restart needs them */
    (void)arrive(20, 2);
    (void)arrivals_reserve(arrivals, &err); /* a malformed message: nothing is kept */
    commit(1, INT64_MIN);
    commit(2, INT64_MIN); /* an empty commit */
    (void)arrive(30, 3);
    commit(5, INT64_MIN);
    assert_int_equal(blocks(), 2);
    struct restored *x = restart(false);
    assert_int_equal(x->n, 3);
    for (size_t i = 0; i < x->n; i++) {
        assert_int_equal(x->id[i], i + 1);
        assert_int_equal(x->event[i]->id, i + 1);
    }
    (void)arrive(60, 4);
    commit(6, INT64_MIN);
    assert_int_equal(restart(true)->n, 4);
}

static void what_was_not_committed_is_gone(void **state)
{
    (void)state;
    (void)arrive(10, 1);
    commit(1, INT64_MIN);
    (void)arrive(11, 2);
    assert_int_equal(restart(true)->n, 1);
}

static void rejected_events_stay_out(void **state)
{
    (void)state;
    struct event *a = arrive(10, 1);
    struct event *b = arrive(10, 2);
    (void)arrive(10, 3);
    commit(1, INT64_MIN);
    struct event *c = arrive(11, 4);
    struct event *d = arrive(12, 5);
    assert_int_equal(arrivals_reject(arrivals, d, &err), UNDINE_OK); /* of this very commit */
    assert_int_equal(arrivals_reject(arrivals, b, &err), UNDINE_OK);
    arrivals_release(arrivals, b);
    arrivals_release(arrivals, d);
    commit(2, INT64_MIN);
    assert_int_equal(arrivals_reject(arrivals, c, &err), UNDINE_OK);
    arrivals_release(arrivals, c);
    arrivals_release(arrivals, a);
    commit(3, INT64_MIN); /* a block of rejections alone */
    struct restored *x = restart(false);
    assert_int_equal(x->n, 2);
    assert_int_equal(x->id[0], 1);
    assert_int_equal(x->id[1], 3);
    /* A restored event can be rejected by its place, too. */
    assert_int_equal(arrivals_reject(arrivals, x->event[1], &err), UNDINE_OK);
    commit(4, INT64_MIN);
    x = restart(true);
    assert_int_equal(x->n, 1);
    assert_int_equal(x->id[0], 1);
}

/* Large commits take several chunks; memory follows what is live and events never move. */
static void memory_follows_what_is_live(void **state)
{
    (void)state;
    enum { N = 30000 };
    static struct event *e[N];
    for (uint64_t i = 0; i < N; i++) {
        e[i] = arrive((int64_t)i, i);
        if (i % 10000 == 9999) {
            commit(1 + i / 10000, INT64_MIN);
        }
    }
    size_t full = arrivals_bytes(arrivals);
    assert_true(full > 3U << 20);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(e[i]->id, i);
        if (i % 1000 != 0) {
            arrivals_release(arrivals, e[i]);
        }
    }
    for (uint64_t i = 0; i < N; i += 1000) {
        assert_int_equal(e[i]->id, i);
        if (i == 15000) {
            assert_int_equal(arrivals_reject(arrivals, e[i], &err), UNDINE_OK);
        }
        arrivals_release(arrivals, e[i]);
    }
    assert_true(arrivals_bytes(arrivals) <= full - (1U << 20));
    commit(4, INT64_MIN);
    struct restored *x = restart(true);
    assert_int_equal(x->n, N - 1);
    for (uint64_t i = 0; i < x->n; i++) {
        assert_int_equal(x->id[i], i < 15000 ? i : i + 1);
    }
    assert_true(arrivals_bytes(arrivals) < 4U << 20);
}

static void old_blocks_are_trimmed_from_the_front(void **state)
{
    (void)state;
    enum { N = 1000 };
    for (uint64_t i = 0; i < N; i++) {
        /* Event i lives until time i + 100; one is far ahead and holds the rest back. */
        struct event *e = arrive(i == 500 ? 5000 : (int64_t)i, i);
        arrivals_release(arrivals, e);
        commit(1 + i, (int64_t)i - 100);
    }
    assert_in_range(blocks(), N - 500, N - 500 + 128);
    commit(N + 1, 4999);
    assert_in_range(blocks(), N - 500, N - 500 + 128);
    assert_true(restart(true)->n >= N - 500);
    commit(N + 2, 5001);
    assert_int_equal(blocks(), 0);
    assert_int_equal(restart(true)->n, 0);
}

static void another_shard_is_refused(void **state)
{
    (void)state;
    (void)arrive(1, 1);
    commit(1, INT64_MIN);
    close_arrivals();
    static struct restored x;
    store = fixture_store(dir);
    assert_int_equal(arrivals_open(&arrivals, store, &schema, SHARD + 1, &err), UNDINE_OK);
    assert_int_equal(arrivals_restore(arrivals, take, &x, NULL, &err), UNDINE_ESTATE);
}

static int damage(void *payload, uint64_t key, const uint8_t *value, size_t len,
                  struct undine_err *unused)
{
    (void)payload;
    (void)key;
    (void)unused;
    uint8_t *copy = malloc(len);
    assert_non_null(copy);
    for (size_t cut = 0; cut < len; cut++) {
        memcpy(copy, value, cut);
        assert_int_equal(arrivals_check(NULL, &schema, copy, cut, &err), UNDINE_ECORRUPT);
    }
    memcpy(copy, value, len);
    copy[0] = 2;
    assert_int_equal(arrivals_check(NULL, &schema, copy, len, &err), UNDINE_EVERSION);
    free(copy);
    return 0;
}

static void damaged_blocks_are_refused(void **state)
{
    (void)state;
    struct event *e = arrive(7, 1);
    (void)arrive(8, 2);
    assert_int_equal(arrivals_reject(arrivals, e, &err), UNDINE_OK);
    commit(1, INT64_MIN);
    assert_int_equal(store_scan(store, STORE_ARRIVALS, 0, damage, NULL, &err), 0);
    uint8_t key[8];
    bytes_put_be64(key, 2);
    store_put(store, STORE_ARRIVALS, key, sizeof key, "\1\0\0\0", 4);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    close_arrivals();
    open_arrivals();
    static struct restored x;
    assert_int_equal(arrivals_restore(arrivals, take, &x, NULL, &err), UNDINE_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(events_come_back_in_the_order_of_arrival),
        TEST(what_was_not_committed_is_gone),
        TEST(rejected_events_stay_out),
        TEST(memory_follows_what_is_live),
        TEST(old_blocks_are_trimmed_from_the_front),
        TEST(another_shard_is_refused),
        TEST(damaged_blocks_are_refused),
    };
    print_message("seed %d\n", FIXTURE_SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
