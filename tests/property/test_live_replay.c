/* The daemon's run and the replay of a file end with equal bits: two topics of four partitions
 * whose messages come in any interleaving, polled in any sizes, with restarts and a learner that
 * learns meanwhile, give the examples, the users and the trained model of one pass over a file that
 * holds the same messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/scenario.h"
#include "tests/support/store_fixture.h"
#include "tests/support/trainers.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STREAMS = 6, RUNS = 3, TOPICS = 2, PARTITIONS = 4, RESTARTS_MAX = 3 };

/* What a run leaves. */
struct outcome {
    struct writer examples, users;
    struct ingest_counters counters;
    struct trainer *trainer;
};

static void outcome_init(struct outcome *o, const struct scenario *s)
{
    *o = (struct outcome){0};
    writer_init(&o->examples);
    writer_init(&o->users);
    struct trainer_options opt = trainers_options();
    opt.max_delay_ms = 20;
    assert_int_equal(trainer_open(&o->trainer, &s->schema, &opt, NULL), UNDINE_OK);
}

static void outcome_release(struct outcome *o)
{
    writer_release(&o->examples);
    writer_release(&o->users);
    trainer_close(o->trainer);
}

static int learn(struct outcome *o, struct ingest_world *w, uint32_t batches_max)
{
    struct undine_err err = {.msg = "?"};
    int rc = trainer_step(o->trainer, w->log, batches_max, &err);
    if (rc < 0) {
        fail_msg("learn: %s", err.msg);
    }
    return rc;
}

static int step(struct ingest_world *w)
{
    struct undine_err err = {.msg = "?"};
    int rc = ingest_step(w->ingest, &err);
    if (rc < 0) {
        fail_msg("step: %s", err.msg);
    }
    return rc;
}

static void world_open(struct ingest_world *w, const char *dir, const struct memory_log *log,
                       const struct memory_source_options *source)
{
    struct undine_err err = {.msg = "?"};
    if (ingest_world_open(w, dir, log, source, &err) != UNDINE_OK) {
        fail_msg("open: %s", err.msg);
    }
}

/* Everything is fed: run to the end, learn to the end, look. */
static void finish(struct outcome *o, struct ingest_world *w)
{
    while (step(w) > 0) {
    }
    while (learn(o, w, 5) > 0) {
    }
    ingest_world_examples(w, &o->examples);
    ingest_world_users(w, &o->users);
    struct ingest_status status;
    ingest_status(w->ingest, &status);
    o->counters = status.counters;
    ingest_world_close(w);
}

/* Messages from the future are left out: a file has no times of writing that say what one is. */
static bool left_out(const struct scenario *s, size_t message)
{
    return s->stream.messages[message].future;
}

static void replay(struct outcome *o, const struct scenario *s, struct random *r)
{
    char dir[FIXTURE_PATH_MAX], path[FIXTURE_PATH_MAX + 16];
    size_t *order = calloc(s->stream.n, sizeof *order);
    assert_non_null(order);
    fixture_directory(dir);
    (void)snprintf(path, sizeof path, "%s.jsonl", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    stream_arrive(order, &s->stream, r, s->disorder_ms, NULL);
    for (size_t k = 0; k < s->stream.n; k++) {
        if (!left_out(s, order[k])) {
            (void)fprintf(f, "%s\n", s->stream.messages[order[k]].text);
        }
    }
    assert_int_equal(fclose(f), 0);
    struct ingest_world w;
    scenario_world(&w, s);
    w.file = path;
    world_open(&w, dir, NULL, NULL);
    finish(o, &w);
    assert_int_equal(unlink(path), 0);
    fixture_remove(dir);
    free(order);
}

/* Impressions in one topic, all else in the other; a user's messages in one partition of each. */
static uint32_t partition_of(const struct scenario *s, size_t message)
{
    const struct event *e = s->record[message];
    if (e == NULL) {
        return PARTITIONS;
    }
    uint64_t key = e->user != 0 ? e->user : e->id;
    return (uint32_t)(key % PARTITIONS) + (e->kind == EVENT_IMPRESSION ? 0 : PARTITIONS);
}

static void live(struct outcome *o, const struct scenario *s, struct random *r)
{
    static const uint32_t polls[] = {1, 7, 50, 1000}, commits[] = {1, 10, 100000};
    char dir[FIXTURE_PATH_MAX];
    struct memory_log log = {.n_partitions = TOPICS * PARTITIONS, .per_topic = PARTITIONS};
    struct memory_source_options source = {.chunks = r};
    struct ingest_world w;
    int64_t skew_ms[TOPICS * PARTITIONS];
    size_t *order = calloc(s->stream.n, sizeof *order);
    int64_t *ahead_ms = calloc(s->stream.n, sizeof *ahead_ms);
    assert_true(order != NULL && ahead_ms != NULL);
    for (int p = 0; p < TOPICS * PARTITIONS; p++) {
        skew_ms[p] = (int64_t)random_below(r, 400);
    }
    for (size_t k = 0; k < s->stream.n; k++) {
        ahead_ms[k] = skew_ms[partition_of(s, k)];
    }
    stream_arrive(order, &s->stream, r, s->disorder_ms, ahead_ms);
    scenario_world(&w, s);
    w.opt.loop.poll_max = polls[random_below(r, 4)];
    w.opt.loop.commit_actions_max = commits[random_below(r, 3)];
    w.opt.order.idle_timeout_ms = (int64_t)1 << 40;
    w.decode.n_topics = TOPICS;
    w.decode.topic_kinds[0] = 1U << EVENT_IMPRESSION;
    w.decode.topic_kinds[1] = 1U << EVENT_CLICK | 1U << EVENT_BEHAVIOR | 1U << EVENT_FORGET;
    fixture_directory(dir);
    world_open(&w, dir, &log, &source);
    int restarts = 0;
    for (size_t k = 0; k < s->stream.n; k++) {
        if (left_out(s, order[k])) {
            continue;
        }
        memory_log_add(&log, partition_of(s, order[k]), s->stream.messages[order[k]].text);
        for (uint64_t n = random_below(r, 100) < 10 ? random_below(r, 20) : 0; n > 0; n--) {
            (void)step(&w);
            (void)learn(o, &w, (uint32_t)random_below(r, 2));
        }
        if (restarts < RESTARTS_MAX && random_below(r, 100) < 2) {
            restarts++;
            ingest_world_close(&w);
            world_open(&w, dir, &log, &source);
        }
    }
    ingest_world_close(&w);
    source.bounded = true;
    world_open(&w, dir, &log, &source);
    finish(o, &w);
    fixture_remove(dir);
    memory_log_release(&log);
    free(ahead_ms);
    free(order);
}

static void same(const struct outcome *want, const struct outcome *got, const char *name)
{
    ingest_world_same(&want->examples, &got->examples, name);
    ingest_world_same(&want->users, &got->users, name);
    scenario_same_counters(&got->counters, &want->counters);
    assert_int_equal(got->counters.events, want->counters.events);
    assert_int_equal(got->counters.late, 0);
    assert_int_equal(want->counters.late, 0);
    assert_int_equal(got->counters.malformed, want->counters.malformed);
    assert_int_equal(got->counters.filtered, want->counters.filtered);
    assert_int_equal(got->trainer->counters.example_digest, want->trainer->counters.example_digest);
    assert_true(trainers_equal(want->trainer, got->trainer));
}

static void test_live_run_of_two_topics_of_four_partitions_equals_the_file_replay(void **state)
{
    (void)state;
    uint64_t examples = 0, users = 0, streams = scenario_seeds(STREAMS);
    for (uint64_t seed = 1; seed <= streams; seed++) {
        struct random r = {seed};
        struct scenario s;
        scenario_make(&s, &r, (enum scenario_policy)(seed % 3));
        struct outcome want;
        outcome_init(&want, &s);
        replay(&want, &s, &r);
        for (int k = 0; k < RUNS; k++) {
            char name[64];
            struct outcome got;
            (void)snprintf(name, sizeof name, "seed %llu run %d", (unsigned long long)seed, k);
            outcome_init(&got, &s);
            live(&got, &s, &r);
            same(&want, &got, name);
            outcome_release(&got);
        }
        examples += want.trainer->counters.examples;
        users += want.users.len;
        outcome_release(&want);
        scenario_release(&s);
    }
    print_message("seeds 1..%llu: %llu examples learned in each of %d runs\n",
                  (unsigned long long)streams, (unsigned long long)examples, 1 + RUNS);
    assert_true(examples > 500 && users > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_run_of_two_topics_of_four_partitions_equals_the_file_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
