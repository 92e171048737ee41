/* A live run: messages arrive while the program runs, in partitions whose clocks differ and that
 * are quiet for a while, and the program is started anew now and then.  The examples are those of
 * the twin of the join over the events that were not late; which ones are late is what the twin of
 * the order says, event by event; and where nobody is late they are those of the whole stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/join_twin.h"
#include "tests/support/order_twin.h"
#include "tests/support/scenario.h"
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { STREAMS = 24, RESTARTS_MAX = 3 };

/* How a stream comes in. */
struct arrival {
    size_t *order;       /* of messages */
    uint32_t *partition; /* of each message */
    int64_t skew_ms;     /* by how much the fastest clock is ahead */
};

struct live {
    const struct scenario *scenario;
    struct ingest_world world;
    struct memory_log log;
    struct memory_source_options source;
    struct order_twin twin;
    struct random *r;
    char dir[FIXTURE_PATH_MAX];
    bool *late; /* of each message: what the program's counter said, by polls of one */
    size_t polled_n, polled_message; /* by the step that runs */
    uint64_t restarts;
    struct writer got;
    struct ingest_counters counters;
};

struct totals {
    uint64_t late, late_by_kind[EVENT_KINDS], identified, idle_polls, skewed, restarts, whole;
};

/* Clocks by partition, and an interval in which a partition gets nothing (but partition 0, which
 * gets what was meant for it). */
static void arrival_make(struct arrival *a, const struct scenario *s, struct random *r,
                         uint32_t n_partitions, int64_t disorder_ms)
{
    int64_t skew_ms[MEMORY_PARTITIONS_MAX] = {0}, quiet_ms[MEMORY_PARTITIONS_MAX];
    const struct stream *stream = &s->stream;
    int64_t start_ms = stream->messages[0].time_ms;
    *a = (struct arrival){.order = calloc(stream->n, sizeof *a->order),
                          .partition = calloc(stream->n, sizeof *a->partition)};
    int64_t *ahead_ms = calloc(stream->n, sizeof *ahead_ms);
    assert_true(a->order != NULL && a->partition != NULL && ahead_ms != NULL);
    for (uint32_t p = 1; p < n_partitions; p++) {
        skew_ms[p] = random_below(r, 2) == 0 ? 0 : (int64_t)random_below(r, 300);
        a->skew_ms = skew_ms[p] > a->skew_ms ? skew_ms[p] : a->skew_ms;
        quiet_ms[p] = start_ms + (int64_t)random_below(r, 1000) - 500;
    }
    for (size_t k = 0; k < stream->n; k++) {
        uint32_t p = (uint32_t)random_below(r, n_partitions);
        int64_t time_ms = stream->messages[k].time_ms;
        if (p > 0 && time_ms >= quiet_ms[p] && time_ms < quiet_ms[p] + 300) {
            p = 0;
        }
        a->partition[k] = p;
        ahead_ms[k] = skew_ms[p];
    }
    stream_arrive(a->order, stream, r, disorder_ms, ahead_ms);
    free(ahead_ms);
}

static void arrival_release(struct arrival *a)
{
    free(a->order);
    free(a->partition);
}

static void polled(void *payload, const struct source_partition *p, uint32_t partition, size_t from,
                   size_t n)
{
    struct live *l = payload;
    order_twin_polled(&l->twin, p, partition, from, n);
    l->polled_n += n;
    if (n > 0) {
        l->polled_message = scenario_message(l->scenario, l->log.texts[partition][from]);
    }
}

static void live_open(struct live *l)
{
    struct undine_err err = {.msg = "?"};
    if (ingest_world_open(&l->world, l->dir, &l->log, &l->source, &err) != UNDINE_OK) {
        fail_msg("open: %s", err.msg);
    }
}

static void live_restart(struct live *l)
{
    ingest_world_close(&l->world);
    live_open(l);
    order_twin_restart(&l->twin, l->world.source);
    l->restarts++;
}

/* One turn of the loop.  What it counted late is what the twin found late in it; a step of one
 * message says which. */
static int live_step(struct live *l)
{
    struct undine_err err = {.msg = "?"};
    struct ingest_status status;
    l->polled_n = 0;
    int rc = ingest_step(l->world.ingest, &err);
    if (rc < 0) {
        fail_msg("step: %s", err.msg);
    }
    order_twin_step(&l->twin);
    ingest_status(l->world.ingest, &status);
    if (l->polled_n == 1 && l->scenario->record[l->polled_message] != NULL) {
        l->late[l->polled_message] = status.counters.late > l->counters.late;
    }
    l->counters = status.counters;
    assert_int_equal(status.counters.late, l->twin.n_late);
    for (int k = 0; k < EVENT_KINDS; k++) {
        assert_int_equal(status.counters.late_by_kind[k], l->twin.late_by_kind[k]);
    }
    assert_true(status.watermark_ms == l->twin.watermark_ms);
    assert_true(ingest_counters_close(&status.counters));
    return rc;
}

static void live_run(struct live *l, const struct arrival *a)
{
    fixture_directory(l->dir);
    live_open(l);
    for (size_t fed = 0; fed < l->scenario->stream.n;) {
        size_t n = random_below(l->r, 30);
        for (; n > 0 && fed < l->scenario->stream.n; n--, fed++) {
            size_t k = a->order[fed];
            const struct stream_message *m = &l->scenario->stream.messages[k];
            memory_log_add_at(&l->log, a->partition[k], m->text, m->written_ms);
        }
        for (uint64_t steps = random_below(l->r, 12); steps > 0; steps--) {
            (void)live_step(l);
        }
        if (l->restarts < RESTARTS_MAX && random_below(l->r, 100) < 8) {
            live_restart(l);
        }
    }
    l->source.bounded = true; /* the end: read what is left, close the windows */
    live_restart(l);
    while (live_step(l) > 0) {
    }
    ingest_world_examples(&l->world, &l->got);
    ingest_world_close(&l->world);
    fixture_remove(l->dir);
}

/* Every event was counted late or applied; the examples are the twin's of the latter. */
static void live_check(struct live *l, const char *name)
{
    const struct scenario *s = l->scenario;
    struct writer truth;
    struct ingest_counters want;
    writer_init(&truth);
    join_twin(&truth, &want, &s->schema, &s->opt, l->twin.kept, l->twin.n_kept);
    ingest_world_same(&truth, &l->got, name);
    scenario_same_counters(&l->counters, &want);
    assert_int_equal(l->counters.events, s->stream.n);
    assert_int_equal(l->counters.malformed, s->n_malformed);
    assert_int_equal(l->counters.filtered, s->n_filtered);
    assert_int_equal(l->twin.n_kept + l->twin.n_late, s->n_events);
    if (l->twin.n_late == 0) {
        ingest_world_same(&s->truth, &l->got, name);
    }
    if (l->world.opt.loop.poll_max == 1) {
        assert_memory_equal(l->late, l->twin.late, s->stream.n * sizeof *l->late);
    }
    writer_release(&truth);
}

static void live_variant(const struct scenario *s, struct random *r, bool idle_at_once,
                         const char *name, struct totals *sum)
{
    static const uint32_t polls[] = {1, 1, 7, 50}, commits[] = {1, 10, 100000};
    struct live l = {
        .scenario = s, .r = r, .log = {.n_partitions = 1 + (uint32_t)random_below(r, 8)}};
    scenario_world(&l.world, s);
    l.world.opt.loop.poll_max = polls[random_below(r, 4)];
    l.world.opt.loop.commit_actions_max = commits[random_below(r, 3)];
    l.world.opt.order.idle_timeout_ms = idle_at_once ? 0 : (int64_t)1 << 40;
    l.source = (struct memory_source_options){
        .chunks = random_below(r, 2) == 0 ? r : NULL, .polled = polled, .payload = &l};
    order_twin_init(&l.twin, s, &l.log, s->opt.order.lateness_ms, idle_at_once);
    l.late = calloc(s->stream.n, sizeof *l.late);
    assert_non_null(l.late);
    writer_init(&l.got);
    struct arrival a;
    arrival_make(&a, s, r, l.log.n_partitions, s->disorder_ms);
    live_run(&l, &a);
    live_check(&l, name);
    sum->late += l.twin.n_late;
    sum->identified += l.world.opt.loop.poll_max == 1 ? l.twin.n_late : 0;
    for (int k = 0; k < EVENT_KINDS; k++) {
        sum->late_by_kind[k] += l.twin.late_by_kind[k];
    }
    sum->idle_polls += l.twin.idle_polls;
    sum->skewed += a.skew_ms > s->opt.order.lateness_ms ? 1 : 0;
    sum->restarts += l.restarts;
    sum->whole += l.twin.n_late == 0 ? 1 : 0;
    writer_release(&l.got);
    free(l.late);
    order_twin_release(&l.twin);
    memory_log_release(&l.log);
    arrival_release(&a);
}

static struct totals live_runs(bool idle_at_once, int64_t lateness_less_ms, uint64_t first_seed)
{
    struct totals sum = {0};
    uint64_t n = scenario_seeds(STREAMS);
    for (uint64_t seed = first_seed; seed < first_seed + n; seed++) {
        struct random r = {seed};
        struct scenario s;
        scenario_make(&s, &r, (enum scenario_policy)(seed % 3));
        s.opt.order.lateness_ms -= lateness_less_ms;
        s.opt.order.lateness_ms = s.opt.order.lateness_ms < 0 ? 0 : s.opt.order.lateness_ms;
        char name[64];
        (void)snprintf(name, sizeof name, "seed %llu", (unsigned long long)seed);
        live_variant(&s, &r, idle_at_once, name, &sum);
        scenario_release(&s);
    }
    print_message("seeds %llu..%llu: %llu late (%llu impressions, %llu clicks, %llu behaviors, "
                  "%llu forgets; %llu known one by one), %llu polls of idle partitions, %llu "
                  "streams with clocks apart by more than the lateness, %llu restarts, %llu "
                  "streams without a late event\n",
                  (unsigned long long)first_seed, (unsigned long long)(first_seed + n - 1),
                  (unsigned long long)sum.late, (unsigned long long)sum.late_by_kind[0],
                  (unsigned long long)sum.late_by_kind[1], (unsigned long long)sum.late_by_kind[2],
                  (unsigned long long)sum.late_by_kind[3], (unsigned long long)sum.identified,
                  (unsigned long long)sum.idle_polls, (unsigned long long)sum.skewed,
                  (unsigned long long)sum.restarts, (unsigned long long)sum.whole);
    return sum;
}

static void
test_clocks_apart_and_quiet_partitions_make_nothing_late_while_nobody_is_idle(void **state)
{
    (void)state;
    struct totals sum = live_runs(false, 0, 201);
    assert_int_equal(sum.late, 0);
    assert_true(sum.skewed >= 5 && sum.restarts > 20);
}

static void test_late_events_of_idle_partitions_are_missing_and_no_others(void **state)
{
    (void)state;
    struct totals sum = live_runs(true, 0, 301);
    assert_true(sum.late > 50 && sum.identified > 20 && sum.idle_polls > 50 && sum.skewed >= 5);
    for (int k = 0; k < EVENT_KINDS; k++) {
        assert_true(sum.late_by_kind[k] > 0);
    }
}

static void test_late_events_behind_the_lateness_are_missing_and_no_others(void **state)
{
    (void)state;
    struct totals sum = live_runs(false, 60, 401);
    assert_true(sum.late > 50 && sum.identified > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_clocks_apart_and_quiet_partitions_make_nothing_late_while_nobody_is_idle),
        cmocka_unit_test(test_late_events_of_idle_partitions_are_missing_and_no_others),
        cmocka_unit_test(test_late_events_behind_the_lateness_are_missing_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
