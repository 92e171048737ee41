/* The waiting events come out in one total order, the watermark follows its rules, and impressions
 * are found and forgotten as they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "ingest/impressions.h"
#include "ingest/order.h"
#include "ingest/watermark.h"

#include <stdlib.h>
#include <string.h>

enum { N_EVENTS = 5000, SEED = 7 };

static struct event *make_events(struct random *r, size_t n, uint64_t n_times, uint64_t n_ids)
{
    struct event *events = calloc(n, sizeof *events);
    assert_non_null(events);
    for (size_t k = 0; k < n; k++) {
        uint64_t id = 1 + random_below(r, n_ids);
        id <<= random_below(r, 2) * 58; /* they differ in the lowest or in the highest bits */
        events[k] = (struct event){.time_ms = 100 + (int64_t)random_below(r, n_times),
                                   .id = id,
                                   .tie = random_below(r, 3),
                                   .kind = (uint8_t)random_below(r, EVENT_KINDS),
                                   .words = sizeof(struct event) / 8};
    }
    return events;
}

static int compare(const void *a, const void *b)
{
    return event_compare(*(struct event *const *)a, *(struct event *const *)b);
}

/* One, or some at once. */
static size_t take(struct order *o, int64_t watermark_ms, struct event **out, size_t n_max)
{
    if (n_max > 1) {
        return order_take(o, watermark_ms, out, n_max);
    }
    out[0] = order_pop(o, watermark_ms);
    return out[0] != NULL ? 1 : 0;
}

/* One for all; one by one in turn; runs, as polls give them. */
static uint32_t lane_of(int round, size_t k)
{
    return (uint32_t)(round % 3 == 0 ? 0 : round % 3 == 1 ? k % 7 : k / 500 % 4);
}

/* Whatever goes in, in any order, what comes out is sorted; in parts as the watermark moves. */
static void test_total_order(void **state)
{
    (void)state;
    struct random r = {SEED};
    print_message("seed %d\n", SEED);
    struct event *events = make_events(&r, N_EVENTS, 300, 20);
    struct event **sorted = calloc(N_EVENTS, sizeof *sorted);
    assert_non_null(sorted);
    for (size_t k = 0; k < N_EVENTS; k++) {
        sorted[k] = &events[k];
    }
    qsort(sorted, N_EVENTS, sizeof *sorted, compare);
    for (int round = 0; round < 4; round++) {
        struct order o;
        order_init(&o);
        for (size_t k = 0; k < N_EVENTS; k++) {
            /* Shuffled, sorted, reversed, nearly sorted. */
            struct event *e = round == 0   ? &events[k]
                              : round == 1 ? sorted[k]
                              : round == 2 ? sorted[N_EVENTS - 1 - k]
                                           : sorted[k ^ 7];
            assert_int_equal(order_push(&o, lane_of(round, k), e, NULL), UNDINE_OK);
        }
        assert_true(order_bytes(&o) >= N_EVENTS * sizeof(struct event));
        size_t n = 0;
        for (int64_t watermark_ms = 100; watermark_ms < 410; watermark_ms += 7) {
            struct event *out[5];
            size_t n_out;
            while ((n_out = take(&o, watermark_ms, out, 1 + n % 5)) > 0) {
                for (size_t k = 0; k < n_out; k++) {
                    assert_true(out[k]->time_ms < watermark_ms);
                    assert_int_equal(compare(&out[k], &sorted[n]), 0);
                    n++;
                }
            }
            assert_true(n == N_EVENTS || sorted[n]->time_ms >= watermark_ms);
        }
        assert_int_equal(n, N_EVENTS);
        assert_int_equal(o.n, 0);
        assert_int_equal(o.record_bytes, 0);
        order_release(&o);
    }
    free(sorted);
    free(events);
}

/* As a stream does it: lanes go on while the watermark follows, some events far out of order. */
static void test_pushes_between_takes(void **state)
{
    (void)state;
    struct random r = {SEED};
    struct event *events = make_events(&r, N_EVENTS, 1, 1000);
    struct event *before = NULL;
    struct order o;
    order_init(&o);
    size_t n_out = 0;
    for (size_t k = 0; k < N_EVENTS; k++) {
        int64_t now_ms = (int64_t)k / 3;
        uint64_t ahead_ms = random_below(&r, 10) == 0 ? 400 : 4;
        events[k].time_ms = now_ms + (int64_t)random_below(&r, ahead_ms);
        assert_int_equal(order_push(&o, (uint32_t)random_below(&r, 5), &events[k], NULL), 0);
        struct event *out[11];
        bool last = k + 1 == N_EVENTS;
        int64_t watermark_ms = last ? INT64_MAX : now_ms - 1;
        size_t n = k % 37 != 0 && !last ? 0 : 1;
        while (n > 0 && (n = order_take(&o, watermark_ms, out, 11)) > 0) {
            for (size_t i = 0; i < n; i++) {
                assert_true(out[i]->time_ms < watermark_ms);
                assert_true(before == NULL || event_compare(before, out[i]) <= 0);
                before = out[i];
            }
            n_out += n;
        }
        assert_int_equal(o.n, k + 1 - n_out);
    }
    assert_int_equal(n_out, N_EVENTS);
    assert_int_equal(o.record_bytes, 0);
    order_release(&o);
    free(events);
}

static void test_pop_is_strict(void **state)
{
    (void)state;
    struct event e = {.time_ms = 10, .words = 6};
    struct order o;
    order_init(&o);
    assert_null(order_pop(&o, INT64_MAX));
    assert_int_equal(order_push(&o, 0, &e, NULL), UNDINE_OK);
    assert_null(order_pop(&o, 10));
    assert_ptr_equal(order_pop(&o, 11), &e);
    order_release(&o);
}

static void test_watermark_is_the_minimum(void **state)
{
    (void)state;
    struct watermark w;
    assert_int_equal(watermark_init(&w, 3, 10, 1000, true, NULL), UNDINE_OK);
    watermark_seen(&w, 0, 500);
    watermark_seen(&w, 1, 300);
    watermark_seen(&w, 1, 250); /* out of order: the largest counts */
    assert_int_equal(watermark_target(&w, INT64_MIN), INT64_MIN); /* partition 2 was never seen */
    assert_int_equal(watermark_order(&w)[0], 2);
    watermark_seen(&w, 2, 400);
    assert_int_equal(watermark_target(&w, INT64_MIN), 290);
    assert_int_equal(watermark_target(&w, 295), 295); /* never back */
    const uint32_t *order = watermark_order(&w);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 0);
    assert_int_equal(watermark_newest(&w), 500);
    watermark_release(&w);
}

static void test_idle_needs_end_and_time(void **state)
{
    (void)state;
    const int64_t ms = 1000000;
    struct watermark w;
    assert_int_equal(watermark_init(&w, 2, 0, 100, true, NULL), UNDINE_OK);
    watermark_seen(&w, 0, 500);
    watermark_seen(&w, 1, 200);
    watermark_polled(&w, 1, 0, false, false, 0); /* nothing at hand, but not at its end */
    watermark_polled(&w, 1, 0, false, false, 900 * ms);
    assert_int_equal(watermark_target(&w, 0), 200);
    watermark_polled(&w, 1, 0, true, false, 1000 * ms);
    watermark_polled(&w, 1, 0, true, false, 1099 * ms);
    assert_int_equal(watermark_target(&w, 0), 200);
    watermark_polled(&w, 1, 0, true, false, 1100 * ms);
    assert_int_equal(watermark_target(&w, 0), 500);
    assert_int_equal(watermark_idle_count(&w), 1);
    watermark_polled(&w, 1, 3, true, false, 1200 * ms); /* it wakes */
    assert_true(watermark_active(&w, 1));
    assert_int_equal(watermark_target(&w, 0), 200);
    assert_int_equal(watermark_target(&w, 500), 500);
    watermark_polled(&w, 1, 0, true, false, 1250 * ms);
    watermark_polled(&w, 1, 0, true, false, 1349 * ms); /* the wait begins anew */
    assert_true(watermark_active(&w, 1));
    /* Nobody active: nothing is held back. */
    watermark_polled(&w, 0, 0, true, false, 2000 * ms);
    watermark_polled(&w, 0, 0, true, false, 2100 * ms);
    watermark_polled(&w, 1, 0, true, false, 2100 * ms);
    assert_int_equal(watermark_idle_count(&w), 2);
    assert_int_equal(watermark_target(&w, 0), 500);
    watermark_release(&w);
}

static void test_end_of_bounded_input(void **state)
{
    (void)state;
    struct watermark w;
    for (int close = 0; close < 2; close++) {
        assert_int_equal(watermark_init(&w, 2, 10, 100, close == 1, NULL), UNDINE_OK);
        watermark_seen(&w, 0, 500);
        watermark_seen(&w, 1, 200);
        watermark_polled(&w, 1, 1, true, true, 0);
        assert_false(watermark_done(&w));
        assert_int_equal(watermark_target(&w, 0), 490); /* a done one does not hold back */
        watermark_polled(&w, 0, 1, true, true, 0);
        assert_true(watermark_done(&w));
        assert_true(watermark_target(&w, 0) == (close == 1 ? WATERMARK_END : 490));
        watermark_release(&w);
    }
}

/* Against a list: add with repeated ids, drop from the front, find by walking back. */
static void test_impressions_against_list(void **state)
{
    (void)state;
    struct random r = {SEED + 1};
    struct event *events = make_events(&r, N_EVENTS, 10, 64);
    bool *gone = calloc(N_EVENTS, sizeof *gone);
    assert_non_null(gone);
    struct impressions t;
    impressions_init(&t);
    assert_null(impressions_find(&t, 1));
    for (size_t head = 0; head < N_EVENTS;) {
        uint64_t what = random_below(&r, 10);
        if (what < 6) {
            assert_non_null(impressions_add(&t, &events[head], NULL));
            head++;
        } else if (what < 8 && t.tail < t.head) {
            impressions_drop(&t);
        } else if (t.tail < t.head) {
            uint64_t n = t.tail + random_below(&r, t.head - t.tail);
            impressions_at(&t, n)->flags |= IMPRESSION_GONE;
            gone[n] = true;
        }
        uint64_t id = 1 + random_below(&r, 70);
        const struct impression *found = impressions_find(&t, id);
        for (uint64_t n = t.head; n > t.tail; n--) {
            if (events[n - 1].id != id || gone[n - 1]) {
                continue;
            }
            assert_non_null(found);
            assert_ptr_equal(found->event, &events[n - 1]);
            found = impressions_older(&t, found);
        }
        assert_null(found);
    }
    while (t.tail < t.head) {
        impressions_drop(&t);
    }
    assert_int_equal(t.n_used, 0);
    impressions_release(&t);
    free(gone);
    free(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_total_order),
        cmocka_unit_test(test_pushes_between_takes),
        cmocka_unit_test(test_pop_is_strict),
        cmocka_unit_test(test_watermark_is_the_minimum),
        cmocka_unit_test(test_idle_needs_end_and_time),
        cmocka_unit_test(test_end_of_bounded_input),
        cmocka_unit_test(test_impressions_against_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
