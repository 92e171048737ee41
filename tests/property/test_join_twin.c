/* The examples are a function of the events alone: whatever the partitions, the interleaving, the
 * poll and commit sizes and wherever the program is started anew, they are those that a brute-force
 * twin finds, in content, order and sequences.  Events that come too late are missing, no others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/ingest_world.h"
#include "tests/support/join_twin.h"
#include "tests/support/store_fixture.h"
#include "tests/support/stream_maker.h"

#include <stdio.h>
#include <stdlib.h>

enum { STREAMS = 14, VARIANTS = 4, REOPENS_MAX = 3 };

enum policy { POLICY_WINDOW, POLICY_CORRECT, POLICY_FNW };

/* A stream with its options and the truth about it. */
struct scenario {
    struct stream stream;
    struct schema schema;
    struct ingest_options opt;
    struct decode_options decode;
    int64_t disorder_ms;
    uint64_t **records; /* decoded events, in message order */
    struct event **events;
    size_t n_events;
    struct writer truth;
    struct ingest_counters counters;
};

static void scenario_decode(struct scenario *s)
{
    struct decoder *decoder = NULL;
    s->decode.message_bytes_max = 4096;
    assert_int_equal(decoder_open(&decoder, &s->schema, &s->decode, NULL), UNDINE_OK);
    s->records = calloc(s->stream.n, sizeof *s->records);
    s->events = calloc(s->stream.n, sizeof *s->events);
    uint64_t *words = calloc(EVENT_WORDS_MAX, sizeof *words);
    assert_true(s->records != NULL && s->events != NULL && words != NULL);
    for (size_t k = 0; k < s->stream.n; k++) {
        const char *text = s->stream.messages[k].text;
        uint32_t n = 0;
        if (decoder_decode(decoder, (const uint8_t *)text, strlen(text), SOURCE_TOPIC_ANY, words,
                           &n) == DECODE_OK &&
            n > 0) {
            s->records[k] = malloc(n * sizeof *words);
            assert_non_null(s->records[k]);
            memcpy(s->records[k], words, n * sizeof *words);
            s->events[s->n_events++] = (struct event *)s->records[k];
        }
    }
    free(words);
    decoder_close(decoder);
}

static void scenario_make(struct scenario *s, struct random *r, enum policy policy)
{
    *s = (struct scenario){0};
    fixture_schema(&s->schema, 1 + (uint32_t)random_below(r, 4));
    int64_t window_ms = random_below(r, 4) == 0 ? 1 : 20 + (int64_t)random_below(r, 200);
    s->disorder_ms = (int64_t)random_below(r, 100);
    s->opt = ingest_world_options(s->disorder_ms, window_ms);
    s->opt.join.memory_ms = random_below(r, 3) == 0 ? 0 : (int64_t)random_below(r, 300);
    s->opt.join.emit = random_below(r, 3) == 0 ? INGEST_EMIT_DEADLINE : INGEST_EMIT_CLICK;
    s->opt.join.by = random_below(r, 3) == 0 ? INGEST_JOIN_USER_ITEM : INGEST_JOIN_ID;
    s->opt.join.negative_rate = random_below(r, 2) == 0 ? 1.0 : 0.4;
    s->opt.join.negative_seed = random_u64(r);
    if (policy == POLICY_CORRECT) {
        s->opt.join.late_click = INGEST_LATE_CORRECT;
    } else if (policy == POLICY_FNW) {
        s->opt.join.label = INGEST_LABEL_FNW;
        s->opt.join.emit = INGEST_EMIT_CLICK;
        s->opt.join.negative_rate = 1.0;
        s->opt.join.late_click = random_below(r, 2) == 0 ? INGEST_LATE_CORRECT : INGEST_LATE_DROP;
    }
    s->decode.join_by_user_item = s->opt.join.by == INGEST_JOIN_USER_ITEM;
    struct stream_options stream = {.impressions = 60 + random_below(r, 300),
                                    .users = 1 + (uint32_t)random_below(r, 12),
                                    .items = 1 + (uint32_t)random_below(r, 20),
                                    .range_ms = 200 + (int64_t)random_below(r, 1500),
                                    .window_ms = window_ms,
                                    .memory_ms = s->opt.join.memory_ms,
                                    .user_item = s->decode.join_by_user_item,
                                    .trouble = random_below(r, 5) > 0};
    stream_make(&s->stream, r, &stream);
    scenario_decode(s);
    writer_init(&s->truth);
    join_twin(&s->truth, &s->counters, &s->schema, &s->opt, s->events, s->n_events);
}

static void scenario_release(struct scenario *s)
{
    for (size_t k = 0; k < s->stream.n; k++) {
        free(s->records[k]);
    }
    free(s->records);
    free(s->events);
    stream_release(&s->stream);
    writer_release(&s->truth);
}

static void world_of(struct ingest_world *w, const struct scenario *s)
{
    *w = (struct ingest_world){.schema = s->schema, .opt = s->opt, .decode = s->decode};
}

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

#define SAME(field) assert_int_equal(got->field, want->field)
static void same_counters(const struct ingest_counters *got, const struct ingest_counters *want)
{
    SAME(applied);
    SAME(duplicate);
    SAME(impressions);
    SAME(clicks);
    SAME(behaviors);
    SAME(forgets);
    SAME(clicks_matched);
    SAME(clicks_orphan);
    SAME(clicks_late);
    SAME(positives);
    SAME(negatives);
    SAME(sampled_out);
    SAME(dropped);
    SAME(revised);
    SAME(revised_negatives);
    SAME(revised_sampled_out);
    SAME(label_delay_ms);
    for (int k = 0; k < EVENT_KINDS; k++) {
        SAME(duplicate_by_kind[k]);
    }
    assert_int_equal(got->waiting, 0);
    assert_int_equal(got->pending, 0);
    assert_true(ingest_counters_close(got));
}

static void run_variant(const struct scenario *s, struct random *r, const char *name)
{
    static const uint32_t polls[] = {1, 7, 50, 1000}, commits[] = {1, 10, 100000};
    struct ingest_world w;
    world_of(&w, s);
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
    same_counters(&counters, &s->counters);
    writer_release(&got);
    memory_log_release(&log);
}

static struct ingest_counters twins(enum policy policy)
{
    struct ingest_counters sum = {0};
    for (uint64_t seed = 1; seed <= STREAMS; seed++) {
        struct random r = {seed};
        struct scenario s;
        scenario_make(&s, &r, policy);
        for (int v = 0; v < VARIANTS; v++) {
            char name[64];
            (void)snprintf(name, sizeof name, "policy %d stream %d variant %d", (int)policy,
                           (int)seed, v);
            run_variant(&s, &r, name);
        }
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
    print_message("seeds 1..%d: %u positives, %u late clicks, %u orphans, %u sampled out, "
                  "%u dropped, %u duplicates, %u + %u revised\n",
                  STREAMS, (unsigned)sum.positives, (unsigned)sum.clicks_late,
                  (unsigned)sum.clicks_orphan, (unsigned)sum.sampled_out, (unsigned)sum.dropped,
                  (unsigned)sum.duplicate, (unsigned)sum.revised_negatives,
                  (unsigned)sum.revised_sampled_out);
    return sum;
}

/* The streams do hold what they are meant to try. */
static void test_twin(void **state)
{
    (void)state;
    struct ingest_counters sum = twins(POLICY_WINDOW);
    assert_true(sum.positives > 100 && sum.clicks_late > 20 && sum.clicks_orphan > 20);
    assert_true(sum.sampled_out > 20 && sum.dropped > 5 && sum.duplicate > 50);
}

static void test_twin_with_late_clicks_corrected(void **state)
{
    (void)state;
    struct ingest_counters sum = twins(POLICY_CORRECT);
    assert_true(sum.positives > 100 && sum.dropped > 5);
    assert_true(sum.revised_negatives > 10 && sum.revised_sampled_out > 10);
}

static void test_twin_with_fake_negatives(void **state)
{
    (void)state;
    struct ingest_counters sum = twins(POLICY_FNW);
    assert_true(sum.positives == 0 && sum.clicks_late > 20);
    assert_true(sum.revised_negatives > 100 && sum.revised_sampled_out == 0);
}

/* Which events of a single partition, polled n at a time, are late? */
static size_t drop_late(struct scenario *s, const struct memory_log *log, uint32_t poll_max,
                        int64_t lateness_ms, struct event **kept)
{
    int64_t newest_ms = INT64_MIN, watermark_ms = INT64_MIN;
    size_t n_kept = 0;
    for (size_t k = 0; k < log->n[0]; k++) {
        if (k % poll_max == 0 && newest_ms != INT64_MIN) {
            int64_t target_ms = newest_ms - lateness_ms;
            watermark_ms = target_ms > watermark_ms ? target_ms : watermark_ms;
        }
        size_t m = 0;
        while (s->stream.messages[m].text != log->texts[0][k]) {
            m++;
        }
        struct event *e = (struct event *)s->records[m];
        if (e == NULL) {
            continue;
        }
        newest_ms = e->time_ms > newest_ms ? e->time_ms : newest_ms;
        if (e->time_ms >= watermark_ms) {
            kept[n_kept++] = e;
        }
    }
    return n_kept;
}

static void test_late_events_are_missing_and_no_others(void **state)
{
    (void)state;
    uint64_t late = 0;
    for (uint64_t seed = 101; seed <= 106; seed++) {
        struct random r = {seed};
        struct scenario s;
        scenario_make(&s, &r, (enum policy)(seed % 3));
        struct ingest_world w;
        world_of(&w, &s);
        w.opt.loop.poll_max = 1 + (uint32_t)random_below(&r, 20);
        w.opt.loop.commit_actions_max = 5;
        w.opt.order.lateness_ms = (int64_t)random_below(&r, 30);
        struct memory_log log = {.n_partitions = 1};
        stream_spread(&s.stream, &r, 60, &log);
        struct event **kept = calloc(s.n_events + 1, sizeof *kept);
        assert_non_null(kept);
        size_t n = drop_late(&s, &log, w.opt.loop.poll_max, w.opt.order.lateness_ms, kept);
        struct writer truth, got;
        writer_init(&truth);
        writer_init(&got);
        struct ingest_counters want, counters;
        join_twin(&truth, &want, &s.schema, &s.opt, kept, n);
        run(&w, &log, &r, false, seed % 2 == 0 ? 10 : 0, &got, &counters);
        ingest_world_same(&truth, &got, "late");
        assert_int_equal(counters.late, s.n_events - n);
        same_counters(&counters, &want);
        late += counters.late;
        writer_release(&truth);
        writer_release(&got);
        free(kept);
        memory_log_release(&log);
        scenario_release(&s);
    }
    print_message("seeds 101..106: %u late\n", (unsigned)late);
    assert_true(late > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twin),
        cmocka_unit_test(test_twin_with_late_clicks_corrected),
        cmocka_unit_test(test_twin_with_fake_negatives),
        cmocka_unit_test(test_late_events_are_missing_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
