/* The pool that shares a loop: every part once, whatever the sizes, and seen whole by the owner. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/workers.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { PARTS_MAX = 1000 };

/* Plain memory on purpose: ThreadSanitizer then sees whether a loop orders it. */
struct loop {
    uint32_t done[PARTS_MAX];
    uint32_t expected; /* written by the owner before the loop, read by the parts */
    uint32_t read[PARTS_MAX];
    uint64_t by[WORKERS_MAX];
};

static void mark(void *ctx, size_t i, size_t who)
{
    struct loop *l = ctx;
    l->done[i]++;
    l->read[i] = l->expected;
    l->by[who]++;
}

static struct workers *open_workers(uint32_t n)
{
    struct undine_err err = {0};
    struct workers *w;
    if (workers_open(&w, n, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    return w;
}

static void check_loop(struct workers *w, size_t n, uint32_t round)
{
    static struct loop l;
    memset(&l, 0, sizeof l);
    l.expected = round;
    workers_run(w, n, mark, &l);
    uint64_t all = 0;
    for (size_t i = 0; i < PARTS_MAX; i++) {
        assert_int_equal(l.done[i], i < n);
        assert_int_equal(l.read[i], i < n ? round : 0);
    }
    for (size_t who = 0; who < WORKERS_MAX; who++) {
        assert_true(who < workers_count(w) || l.by[who] == 0);
        all += l.by[who];
    }
    assert_int_equal(all, n);
}

static void test_every_part_once(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 4, 7, 16};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct workers *w = open_workers(counts[c]);
        assert_int_equal(workers_count(w), counts[c]);
        uint32_t round = 1;
        for (size_t n = 0; n <= 40; n++) {
            check_loop(w, n, round++);
        }
        for (size_t n = 41; n < PARTS_MAX; n += 119) {
            check_loop(w, n, round++);
        }
        check_loop(w, PARTS_MAX, round);
        workers_close(w);
    }
}

/* Loops one straight after the other: late workers meet newer rounds. */
static void test_many_short_loops(void **state)
{
    (void)state;
    struct workers *w = open_workers(4);
    for (uint32_t round = 1; round <= 3000; round++) {
        check_loop(w, round % 7, round);
    }
    workers_close(w);
}

static void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void slow_part(void *ctx, size_t i, size_t who)
{
    uint32_t *done = ctx;
    (void)who;
    pause_ms(i == 0 ? 0 : 3); /* the owner starts with part 0 and has to wait for somebody */
    done[i]++;
}

/* Sleeping workers are woken, and a sleeping owner. */
static void test_sleep_and_wake(void **state)
{
    (void)state;
    struct workers *w = open_workers(3);
    for (uint32_t round = 1; round <= 10; round++) {
        uint32_t done[6] = {0};
        pause_ms(2);
        workers_run(w, 6, slow_part, done);
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(done[i], 1);
        }
    }
    workers_close(w);
}

static void test_open_and_close_without_work(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 8; n++) {
        workers_close(open_workers(n));
    }
    workers_close(NULL);
    assert_int_equal(workers_count(NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_part_once),
        cmocka_unit_test(test_many_short_loops),
        cmocka_unit_test(test_sleep_and_wake),
        cmocka_unit_test(test_open_and_close_without_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
