/* The examples are a function of the events alone: whatever the partitions, the interleaving, the
 * poll and commit sizes and wherever the program is started anew, they are those that a brute-force
 * twin finds, in content, order and sequences.  (Late events: test_order_live.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/join_twin.h"
#include "tests/support/scenario.h"
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { STREAMS = 14, VARIANTS = 4, REOPENS_MAX = 3 };

static void must_open(struct ingest_world *w, const char *dir, const struct memory_log *log,
                      const struct memory_source_options *source)
{
    struct undine_err err = {.msg = "?"};
    if (ingest_world_open(w, dir, log, source, &err) != UNDINE_OK) {
        fail_msg("open: %s", err.msg);
    }
}

/* Run to the end, closing and opening everything now and then; what came out is left in out. */
static void run(struct ingest_world *w, const struct memory_log *log, struct random *r, bool chunks,
                uint64_t reopen_percent, struct writer *out, struct ingest_counters *counters)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_directory(dir);
    struct memory_source_options source = {.bounded = true, .chunks = chunks ? r : NULL};
    must_open(w, dir, log, &source);
    struct undine_err err = {.msg = "?"};
    int rc = 1, reopens = 0;
    while (rc > 0) {
        rc = ingest_step(w->ingest, &err);
        if (rc < 0) {
            fail_msg("step: %s", err.msg);
        }
        if (reopens < REOPENS_MAX && random_below(r, 100) < reopen_percent) {
            reopens++;
            ingest_world_close(w);
            must_open(w, dir, log, &source);
            rc = 1;
        }
    }
    ingest_world_examples(w, out);
    struct ingest_status status;
    ingest_status(w->ingest, &status);
    *counters = status.counters;
    assert_true(status.watermark_ms == INT64_MAX);
    ingest_world_close(w);
    fixture_remove(dir);
}

static void run_variant(const struct scenario *s, struct random *r, const char *name)
{
    static const uint32_t polls[] = {1, 7, 50, 1000}, commits[] = {1, 10, 100000};
    struct ingest_world w;
    scenario_world(&w, s);
    w.opt.loop.poll_max = polls[random_below(r, 4)];
    w.opt.loop.commit_actions_max = commits[random_below(r, 3)];
    w.opt.order.waiting_max = random_below(r, 2) == 0 ? 10 : 100000;
    w.cache_bytes = random_below(r, 2) == 0 ? 4096 : 0;
    struct memory_log log = {.n_partitions = 1 + (uint32_t)random_below(r, 5)};
    stream_spread(&s->stream, r, s->disorder_ms, &log);
    struct writer got;
    writer_init(&got);
    struct ingest_counters counters;
    run(&w, &log, r, random_below(r, 2) == 0, random_below(r, 2) == 0 ? 0 : 10, &got, &counters);
    ingest_world_same(&s->truth, &got, name);
    assert_int_equal(counters.events, s->stream.n);
    assert_int_equal(counters.late, 0);
    assert_int_equal(counters.events - counters.malformed - counters.filtered, s->n_events);
    scenario_same_counters(&counters, &s->counters);
    writer_release(&got);
    memory_log_release(&log);
}

static struct ingest_counters twins(enum scenario_policy policy)
{
    struct ingest_counters sum = {0};
    struct scenario_census census = {0};
    uint64_t streams = scenario_seeds(STREAMS);
    for (uint64_t seed = 1; seed <= streams; seed++) {
        struct random r = {seed};
        struct scenario s;
        scenario_make(&s, &r, policy);
        for (int v = 0; v < VARIANTS; v++) {
            char name[64];
            (void)snprintf(name, sizeof name, "policy %d stream %d variant %d", (int)policy,
                           (int)seed, v);
            run_variant(&s, &r, name);
        }
        scenario_census(&census, &s);
        sum.positives += s.counters.positives;
        sum.clicks_late += s.counters.clicks_late;
        sum.clicks_orphan += s.counters.clicks_orphan;
        sum.sampled_out += s.counters.sampled_out;
        sum.dropped += s.counters.dropped;
        sum.duplicate += s.counters.duplicate;
        sum.revised_negatives += s.counters.revised_negatives;
        sum.revised_sampled_out += s.counters.revised_sampled_out;
        scenario_release(&s);
    }
    print_message("seeds 1..%u: %u positives, %u late clicks, %u orphans, %u sampled out, "
                  "%u dropped, %u duplicates, %u + %u revised\n",
                  (unsigned)streams, (unsigned)sum.positives, (unsigned)sum.clicks_late,
                  (unsigned)sum.clicks_orphan, (unsigned)sum.sampled_out, (unsigned)sum.dropped,
                  (unsigned)sum.duplicate, (unsigned)sum.revised_negatives,
                  (unsigned)sum.revised_sampled_out);
    if (policy != SCENARIO_FNW) { /* where nothing is ever pending */
        scenario_census_complete(&census);
    }
    return sum;
}

/* The streams do hold what they are meant to try. */
static void test_twin(void **state)
{
    (void)state;
    struct ingest_counters sum = twins(SCENARIO_WINDOW);
    assert_true(sum.positives > 100 && sum.clicks_late > 20 && sum.clicks_orphan > 20);
    assert_true(sum.sampled_out > 20 && sum.dropped > 5 && sum.duplicate > 50);
}

static void test_twin_with_late_clicks_corrected(void **state)
{
    (void)state;
    struct ingest_counters sum = twins(SCENARIO_CORRECT);
    assert_true(sum.positives > 100 && sum.dropped > 5);
    assert_true(sum.revised_negatives > 10 && sum.revised_sampled_out > 10);
}

static void test_twin_with_fake_negatives(void **state)
{
    (void)state;
    struct ingest_counters sum = twins(SCENARIO_FNW);
    assert_true(sum.positives == 0 && sum.clicks_late > 20);
    assert_true(sum.revised_negatives > 100 && sum.revised_sampled_out == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twin),
        cmocka_unit_test(test_twin_with_late_clicks_corrected),
        cmocka_unit_test(test_twin_with_fake_negatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
