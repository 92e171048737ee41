/* The loop: what it counts, refuses, remembers, and that a kill at any commit changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ingest/meta.h"
#include "tests/support/ingest_world.h"
#include "tests/support/store_fixture.h"
#include "tests/support/stream_maker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ingest_world world;
static struct ingest_status status;
static char dir[FIXTURE_PATH_MAX];
static struct memory_log topic;
static const struct memory_source_options bounded = {.bounded = true}, endless = {0};

static int setup(void **state)
{
    (void)state;
    world = (struct ingest_world){.opt = ingest_world_options(0, 100)};
    fixture_schema(&world.schema, 3);
    fixture_directory(dir);
    topic = (struct memory_log){.n_partitions = 1};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_remove(dir);
    memory_log_release(&topic);
    return 0;
}

static void open_world(const struct memory_source_options *source)
{
    struct undine_err err = {.msg = "?"};
    if (ingest_world_open(&world, dir, &topic, source, &err) != UNDINE_OK) {
        fail_msg("open: %s", err.msg);
    }
}

/* Steps until the source is done, or n of them. */
static void steps(int n)
{
    struct undine_err err = {.msg = "?"};
    int rc = 1;
    for (int k = 0; k < n && rc > 0; k++) {
        rc = ingest_step(world.ingest, &err);
    }
    if (rc < 0) {
        fail_msg("step: %s", err.msg);
    }
    ingest_status(world.ingest, &status);
}

enum { TO_THE_END = 1000000 };

static const char *const few[] = {
    "{\"kind\":\"impression\",\"id\":\"a\",\"user\":\"u\",\"time\":1000,\"candidate\":{\"item\":1}"
    "}",
    "{\"kind\":\"click\",\"impression\":\"a\",\"time\":1010}",
    "{\"kind\":\"impression\",\"id\":\"b\",\"user\":\"u\",\"time\":1200,\"candidate\":{\"item\":2}"
    "}",
    "{\"kind\":\"impression\",\"id\":\"c\",\"user\":\"u\",\"time\":1300,\"candidate\":{\"item\":3}"
    "}",
};

static void add_few(uint32_t partition, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        memory_log_add(&topic, partition, few[k]);
    }
}

/* ---- bad messages ---- */

static int count_sample(void *payload, const char *name, const uint8_t *value, size_t len,
                        struct undine_err *err)
{
    (void)err;
    struct meta_malformed m;
    assert_int_equal(strncmp(name, META_MALFORMED_PREFIX, strlen(META_MALFORMED_PREFIX)), 0);
    assert_int_equal(meta_malformed_decode(&m, value, len, NULL), UNDINE_OK);
    for (size_t cut = 0; cut < len; cut++) {
        assert_true(meta_malformed_decode(&m, value, cut, NULL) < 0);
    }
    assert_int_equal(meta_malformed_decode(&m, value, len, NULL), UNDINE_OK);
    assert_in_range(m.number, 3, 6); /* the newest four of six */
    assert_int_equal(m.topic_len, strlen("memory"));
    if (m.number == 6) {
        assert_int_equal(m.reason_len, strlen("future"));
        assert_memory_equal(m.reason, "future", m.reason_len);
    }
    if (m.number == 5) {
        assert_int_equal(m.payload_len, META_SAMPLE_BYTES_MAX);
        assert_int_equal(m.payload_full_len, 3000);
    }
    (*(int *)payload)++;
    return 0;
}

static void test_bad_messages_are_counted_and_kept(void **state)
{
    (void)state;
    static char long_text[3001];
    memset(long_text, 'x', 3000);
    world.opt.order.max_future_ms = 1000;
    const char *const bad[] = {
        "{",
        "",
        NULL,
        "[]",
        long_text,
        "{\"kind\":\"forget\",\"user\":\"u\",\"time\":99999999999999}",
        "{\"kind\":\"behavior\",\"type\":\"stare\",\"user\":\"u\",\"time\":1,\"item\":1}"};
    add_few(0, 2);
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        memory_log_add(&topic, 0, bad[k]);
    }
    add_few(0, 1);
    open_world(&bounded);
    steps(TO_THE_END);
    const struct ingest_counters *c = &status.counters;
    assert_int_equal(c->events, 10);
    assert_int_equal(c->malformed, 6);
    assert_int_equal(c->malformed_by_reason[DECODE_FUTURE], 1);
    assert_int_equal(c->malformed_by_reason[DECODE_TOMBSTONE], 1);
    assert_int_equal(c->malformed_by_reason[DECODE_EMPTY], 1);
    assert_int_equal(c->filtered, 1);
    assert_int_equal(c->applied, 2);
    assert_int_equal(c->duplicate, 1);
    assert_int_equal(c->positives, 1);
    assert_int_equal(status.event_time_ms, 1010);
    int n = 0;
    assert_int_equal(store_scan_meta(world.store, META_MALFORMED_PREFIX, count_sample, &n, NULL),
                     0);
    assert_int_equal(n, 4);
    ingest_world_close(&world);
}

/* The bound on pending impressions stops the loop after a commit; under a larger one it goes on. */
static void test_pending_bound_stops_without_loss(void **state)
{
    (void)state;
    struct undine_err err = {.msg = "?"};
    add_few(0, 2);
    world.opt.join.pending_max_bytes = 1;
    open_world(&bounded);
    int rc = 1;
    for (int k = 0; k < TO_THE_END && rc > 0; k++) {
        rc = ingest_step(world.ingest, &err);
    }
    assert_int_equal(rc, UNDINE_EFULL);
    assert_non_null(strstr(err.msg, "`join.pending_max`"));
    ingest_world_close(&world);

    world.opt.join.pending_max_bytes = 1 << 20;
    open_world(&bounded);
    steps(TO_THE_END);
    assert_int_equal(status.counters.events, 2);
    assert_int_equal(status.counters.applied, 2);
    assert_int_equal(status.counters.positives, 1);
    ingest_world_close(&world);
}

/* ---- the store and its configuration ---- */

static void expect_refused(const char *text, const char *const *words, size_t n)
{
    world.opt.config_digest = 2;
    world.opt.config_digest_text = text;
    struct undine_err err = {.msg = "?"};
    assert_int_equal(ingest_world_open(&world, dir, &topic, &bounded, &err), UNDINE_ESTATE);
    for (size_t k = 0; k < n; k++) {
        if (strstr(err.msg, words[k]) == NULL) {
            fail_msg("`%s` is not in: %s", words[k], err.msg);
        }
    }
    ingest_world_close(&world);
}

static void test_changed_configuration_is_refused(void **state)
{
    (void)state;
    add_few(0, 4);
    world.opt.config_digest_text = "join.window=100ms\norder.lateness=5\nschema=abc\n";
    open_world(&bounded);
    steps(1);
    ingest_world_close(&world);
    const char *const changed[] = {"`order.lateness`", "`5`", "`6`"};
    expect_refused("schema=abc\njoin.window=100ms\norder.lateness=6\n", changed, 3);
    const char *const removed[] = {"`schema`", "`abc`", "(none)"};
    expect_refused("join.window=100ms\norder.lateness=5\n", removed, 3);
    const char *const added[] = {"`z`", "(none)", "`1`"};
    expect_refused("join.window=100ms\norder.lateness=5\nschema=abc\nz=1", added, 3);
    world.opt.config_digest = 1;
    world.opt.config_digest_text = "join.window=100ms\norder.lateness=5\nschema=abc\n";
    open_world(&bounded);
    ingest_world_close(&world);
}

static void test_closed_store_takes_no_more(void **state)
{
    (void)state;
    add_few(0, 2);
    open_world(&bounded);
    steps(TO_THE_END);
    ingest_world_close(&world);
    open_world(&bounded); /* nothing new: done at once */
    steps(TO_THE_END);
    assert_int_equal(status.counters.events, 2);
    ingest_world_close(&world);
    memory_log_add(&topic, 0, few[2]);
    open_world(&bounded);
    struct undine_err err;
    assert_int_equal(ingest_step(world.ingest, &err), UNDINE_ESTATE);
    assert_non_null(strstr(err.msg, "--keep-open"));
    ingest_world_close(&world);
}

static void test_kept_open_goes_on(void **state)
{
    (void)state;
    world.opt.close_windows = false;
    add_few(0, 3);
    open_world(&bounded);
    steps(TO_THE_END);
    assert_int_equal(status.watermark_ms, 1200);
    assert_int_equal(status.counters.waiting, 1);
    assert_int_equal(status.counters.positives, 1);
    ingest_world_close(&world);
    memory_log_add(&topic, 0, few[3]);
    world.opt.close_windows = true;
    open_world(&bounded);
    steps(TO_THE_END);
    assert_int_equal(status.counters.negatives, 2);
    assert_int_equal(status.counters.late, 0);
    assert_int_equal(status.watermark_ms, INT64_MAX);
    ingest_world_close(&world);
}

static int read_loss(void *payload, const char *name, const uint8_t *value, size_t len,
                     struct undine_err *err)
{
    (void)name;
    (void)err;
    assert_int_equal(meta_loss_decode(payload, value, len, NULL), UNDINE_OK);
    return 0;
}

static void test_accepted_loss_is_recorded(void **state)
{
    (void)state;
    add_few(0, 4);
    world.opt.close_windows = false;
    open_world(&bounded);
    steps(TO_THE_END);
    ingest_world_close(&world);
    /* The source goes on elsewhere than the store says, as after --accept-loss. */
    open_world(&endless);
    ingest_close(world.ingest);
    world.source->partitions[0].position.next = 2;
    assert_int_equal(ingest_open(&world.ingest, &world.schema, &world.opt, world.store, world.users,
                                 world.log, world.source, world.decoder, NULL),
                     UNDINE_OK);
    steps(1);
    assert_int_equal(status.counters.losses, 1);
    struct meta_loss loss = {0};
    assert_int_equal(store_scan_meta(world.store, META_LOSS_PREFIX, read_loss, &loss, NULL), 0);
    assert_int_equal(loss.stored_next, 4);
    assert_int_equal(loss.source_next, 2);
    assert_true(loss.wall_ms > 0);
    ingest_world_close(&world);
    open_world(&endless); /* not a second time */
    steps(1);
    assert_int_equal(status.counters.losses, 1);
    ingest_world_close(&world);
}

/* ---- topics that change their number of partitions while nobody looks ---- */

/* Open again, with a source whose topic has so many partitions. */
static int open_with_partitions(int32_t n, struct undine_err *err)
{
    static struct source_topic shown;
    open_world(&endless);
    ingest_close(world.ingest);
    world.ingest = NULL;
    shown = (struct source_topic){"memory", n};
    world.source->topics = &shown;
    world.source->n_topics = 1;
    return ingest_open(&world.ingest, &world.schema, &world.opt, world.store, world.users,
                       world.log, world.source, world.decoder, err);
}

/* Read all that is there, with a topic of two partitions. */
static void read_two_partitions(void)
{
    topic.n_partitions = 2;
    add_few(0, 2);
    add_few(1, 3);
    assert_int_equal(open_with_partitions(2, NULL), UNDINE_OK);
    steps(5);
    ingest_world_close(&world);
}

static void test_growth_is_noticed_under_shards_only(void **state)
{
    (void)state;
    struct undine_err err = {0};
    read_two_partitions();
    world.opt.n_shards = 2;
    assert_int_equal(open_with_partitions(4, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "`memory` had 2 partitions and has 4 now"));
    ingest_world_close(&world);
    world.opt.n_shards = 1;
    assert_int_equal(open_with_partitions(4, &err), UNDINE_OK);
    add_few(0, 1);
    steps(5);
    assert_int_equal(status.counters.losses, 0);
    ingest_world_close(&world);
    world.opt.n_shards = 2; /* the new number is the one to keep */
    assert_int_equal(open_with_partitions(4, &err), UNDINE_OK);
    ingest_world_close(&world);
    assert_int_equal(open_with_partitions(2, &err), UNDINE_ELOSS);
    ingest_world_close(&world);
}

static void test_partition_that_is_gone_is_a_loss(void **state)
{
    (void)state;
    struct undine_err err = {0};
    static const char *const accepted[] = {"memory:0", "memory:1"};
    read_two_partitions();
    topic.n_partitions = 1;
    world.opt.accept_loss = accepted;
    world.opt.n_accept_loss = 1;
    assert_int_equal(open_with_partitions(1, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "stored next offset 3"));
    assert_non_null(strstr(err.msg, "--accept-loss memory:1"));
    ingest_world_close(&world);
    world.opt.n_accept_loss = 2;
    assert_int_equal(open_with_partitions(1, &err), UNDINE_OK);
    steps(1);
    ingest_world_close(&world);
    world.opt.n_accept_loss = 0;
    assert_int_equal(open_with_partitions(1, &err), UNDINE_OK); /* once and for all */
    assert_int_equal(ingest_position(world.store, "memory", 1, &(struct source_position){0}), 0);
    struct meta_loss loss = {0};
    assert_int_equal(store_scan_meta(world.store, META_LOSS_PREFIX, read_loss, &loss, NULL), 0);
    assert_int_equal(loss.partition, 1);
    assert_int_equal(loss.stored_next, 3);
    assert_int_equal(loss.source_next, -1);
    steps(1);
    assert_int_equal(status.counters.losses, 1);
    ingest_world_close(&world);
    topic.n_partitions = 2; /* all of it is released */
}

/* ---- watermark, idleness, back-pressure ---- */

static void test_idle_partition(void **state)
{
    (void)state;
    topic.n_partitions = 2;
    add_few(0, 4);
    open_world(&endless);
    steps(5);
    assert_int_equal(status.watermark_ms, INT64_MIN); /* the empty partition holds it */
    assert_int_equal(status.counters.waiting, 4);
    assert_int_equal(status.partitions_idle, 0);
    assert_true(status.caught_up);
    ingest_world_close(&world);
    world.opt.order.idle_timeout_ms = 0;
    open_world(&endless);
    steps(2);
    assert_int_equal(status.watermark_ms, 1300);
    assert_int_equal(status.partitions_idle, 2);
    assert_int_equal(status.counters.waiting, 1);
    ingest_world_close(&world);
}

static void test_late_events_are_counted_by_kind(void **state)
{
    (void)state;
    add_few(0, 4);
    world.opt.loop.poll_max = 1;
    memory_log_add(&topic, 0, few[1]); /* a click at 1010, after 1300 */
    open_world(&bounded);
    steps(TO_THE_END);
    assert_int_equal(status.counters.late, 1);
    assert_int_equal(status.counters.late_by_kind[EVENT_CLICK], 1);
    ingest_world_close(&world);
}

/* While a partition holds the watermark back, the others are read up to waiting_max. */
static void test_waiting_is_bounded(void **state)
{
    (void)state;
    static char texts[400][160];
    topic.n_partitions = 2;
    for (int k = 0; k < 400; k++) {
        (void)snprintf(texts[k], sizeof texts[k],
                       "{\"kind\":\"behavior\",\"type\":\"cart\",\"user\":\"u\",\"time\":%d,"
                       "\"item\":%d}",
                       1000 + k, k % 7);
        /* All of partition 0 is older than all of partition 1. */
        memory_log_add(&topic, k < 200 ? 0 : 1, texts[k]);
    }
    world.opt.order.waiting_max = 10;
    world.opt.loop.poll_max = 5;
    open_world(&bounded);
    uint64_t waiting_max = 0;
    while (ingest_step(world.ingest, NULL) > 0) {
        ingest_status(world.ingest, &status);
        waiting_max = status.counters.waiting > waiting_max ? status.counters.waiting : waiting_max;
    }
    ingest_status(world.ingest, &status);
    assert_int_equal(status.counters.behaviors, 400);
    assert_true(waiting_max <= 15);
    ingest_world_close(&world);
}

static void test_backlog_holds_ingest(void **state)
{
    (void)state;
    add_few(0, 4);
    world.opt.loop.poll_max = 1;
    world.opt.loop.backlog_max = 1;
    open_world(&bounded);
    steps(8);
    uint64_t events = status.counters.events;
    assert_true(events < 4 || example_log_backlog(world.log) > 0);
    assert_int_equal(example_log_head(world.log), 1);
    steps(1);
    assert_int_equal(status.counters.events, events);
    for (int k = 0; k < 8; k++) {
        example_log_consumed(world.log, example_log_head(world.log));
        steps(1);
    }
    assert_int_equal(example_log_head(world.log), 3);
    ingest_world_close(&world);
}

/* ---- restarts and kills ---- */

/* At the last moment of window and memory the impression is still there after a restart. */
static void test_restart_keeps_what_may_be_clicked(void **state)
{
    (void)state;
#define AT(kind_and_more, time) "{\"kind\":\"" kind_and_more ",\"time\":" #time "}"
#define SHOWN(id)               "impression\",\"user\":\"u\",\"candidate\":{\"item\":1},\"id\":\"" id "\""
#define CLICKED(id)             "click\",\"impression\":\"" id "\""
#define CART                    "behavior\",\"type\":\"cart\",\"user\":\"v\",\"item\":2"
    static const char *const messages[] = {
        AT(SHOWN("a"), 1000), AT(SHOWN("x"), 1200), AT(CART, 1300),         AT(CLICKED("x"), 1300),
        AT(SHOWN("y"), 1400), AT(CART, 1550),       AT(CLICKED("y"), 1550), AT(SHOWN("y"), 1550)};
    world.opt.join.memory_ms = 50;
    world.opt.loop.poll_max = 1;
    /* Blocks are trimmed by the hundred: fill up so that y's would be the last of such a trim. */
    static char fill[123][96];
    for (size_t k = 0; k < 123; k++) {
        (void)snprintf(fill[k], sizeof fill[k], "{\"kind\":\"" CART ",\"time\":%d}", (int)k + 1);
        memory_log_add(&topic, 0, fill[k]);
    }
    open_world(&endless);
    steps(123);
    ingest_world_close(&world);
    for (size_t k = 0; k < sizeof messages / sizeof messages[0]; k++) {
        memory_log_add(&topic, 0, messages[k]);
        open_world(&endless);
        steps(1);
        ingest_world_close(&world);
    }
    open_world(&bounded);
    steps(TO_THE_END);
    assert_int_equal(status.counters.clicks_matched, 1);
    assert_int_equal(status.counters.clicks_late, 1);
    assert_int_equal(status.counters.duplicate_by_kind[EVENT_IMPRESSION], 1);
    assert_int_equal(status.counters.clicks_orphan, 0);
    ingest_world_close(&world);
}

/* The last phase counts those users alone who are loaded, and ends at all of them. */
static void test_a_restart_tells_how_far_it_is(void **state)
{
    (void)state;
    static const char *const messages[] = {AT(SHOWN("a"), 1000), AT(SHOWN("b"), 1500),
                                           AT(CLICKED("b"), 1510), AT(SHOWN("c"), 1520),
                                           AT(SHOWN("d"), 1530)};
    struct restore_progress progress = {0};
    for (size_t k = 0; k < sizeof messages / sizeof messages[0]; k++) {
        memory_log_add(&topic, 0, messages[k]);
    }
    world.opt.join.memory_ms = 10000;
    world.opt.progress = &progress;
    open_world(&endless);
    assert_int_equal(progress.total, 0); /* there is nothing yet */
    steps(10);
    assert_int_equal(status.counters.impressions, 3); /* d waits */
    ingest_world_close(&world);
    open_world(&endless);
    assert_int_equal(progress.phase, RESTORE_USERS);
    assert_int_equal(progress.total, 1); /* c's; a and b have their labels */
    assert_int_equal(progress.done, progress.total);
    ingest_world_close(&world);
}

/* Memory as short as can be, every message a commit, everything opened anew after each: whatever is
 * trimmed too early is missed. */
static void test_restart_after_every_commit(void **state)
{
    (void)state;
    struct random r = {43};
    struct stream_options opt = {.impressions = 30,
                                 .users = 3,
                                 .items = 5,
                                 .range_ms = 300,
                                 .window_ms = 40,
                                 .memory_ms = 1,
                                 .trouble = true};
    struct stream stream;
    stream_make(&stream, &r, &opt);
    stream_spread(&stream, &r, 0, &topic);
    world.opt.join.window_ms = 40;
    world.opt.join.memory_ms = 1;
    world.opt.loop.poll_max = 1;
    struct writer whole, got;
    writer_init(&whole);
    writer_init(&got);
    open_world(&bounded);
    steps(TO_THE_END);
    ingest_world_examples(&world, &whole);
    struct ingest_counters counters = status.counters;
    ingest_world_close(&world);
    fixture_remove(dir);
    fixture_directory(dir);
    do {
        open_world(&bounded);
        steps(1);
        if (status.watermark_ms == INT64_MAX) {
            ingest_world_examples(&world, &got);
        }
        ingest_world_close(&world);
    } while (got.len == 0);
    ingest_world_same(&whole, &got, "restarted");
    assert_memory_equal(&status.counters, &counters, sizeof counters);
    writer_release(&whole);
    writer_release(&got);
    stream_release(&stream);
}

#ifdef UNDINE_FAULTS
static void run_stream(struct writer *out)
{
    open_world(&bounded);
    steps(TO_THE_END);
    ingest_world_examples(&world, out);
    ingest_world_close(&world);
}

/* Run in a child that is killed when it passes the fault point; true where it was. */
static bool killed_at(const char *fault)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("UNDINE_FAULT", fault, 1);
        if (ingest_world_open(&world, dir, &topic, &bounded, NULL) == UNDINE_OK) {
            while (ingest_step(world.ingest, NULL) > 0) {
            }
        }
        _exit(0);
    }
    int how = 0;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    return WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL;
}

static void test_killed_at_commits(void **state)
{
    (void)state;
    struct random r = {42};
    struct stream_options opt = {.impressions = 150,
                                 .users = 5,
                                 .items = 9,
                                 .range_ms = 900,
                                 .window_ms = 100,
                                 .memory_ms = 60,
                                 .trouble = true};
    struct stream stream;
    stream_make(&stream, &r, &opt);
    topic.n_partitions = 3;
    world.opt.order.lateness_ms =
        8; /* less than the disorder: what is late must not change either */
    world.opt.join.memory_ms = 60;
    world.opt.loop.poll_max = 7;
    world.opt.loop.commit_actions_max = 4; /* several commits a poll */
    stream_spread(&stream, &r, 30, &topic);
    struct writer whole, got;
    writer_init(&whole);
    writer_init(&got);
    run_stream(&whole);
    print_message("late %d, positives %d\n", (int)status.counters.late,
                  (int)status.counters.positives);
    assert_true(status.counters.late > 5 && status.counters.positives > 10);
    struct ingest_counters counters = status.counters;
    int kills = 0;
    for (int n = 1; n <= 13; n += 4) {
        fixture_remove(dir);
        fixture_directory(dir);
        for (int round = 0; round < 3; round++) {
            char fault[64];
            (void)snprintf(fault, sizeof fault, "ingest.%s_write:%d",
                           (n + round) % 2 == 0 ? "before" : "after", n);
            kills += killed_at(fault) ? 1 : 0;
        }
        writer_clear(&got);
        run_stream(&got);
        ingest_world_same(&whole, &got, "killed");
        assert_memory_equal(&status.counters, &counters, sizeof counters);
    }
    assert_true(kills >= 10);
    writer_release(&whole);
    writer_release(&got);
    stream_release(&stream);
}
#endif

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_bad_messages_are_counted_and_kept),
        TEST(test_pending_bound_stops_without_loss),
        TEST(test_changed_configuration_is_refused),
        TEST(test_closed_store_takes_no_more),
        TEST(test_kept_open_goes_on),
        TEST(test_accepted_loss_is_recorded),
        TEST(test_growth_is_noticed_under_shards_only),
        TEST(test_partition_that_is_gone_is_a_loss),
        TEST(test_idle_partition),
        TEST(test_late_events_are_counted_by_kind),
        TEST(test_waiting_is_bounded),
        TEST(test_backlog_holds_ingest),
        TEST(test_restart_keeps_what_may_be_clicked),
        TEST(test_a_restart_tells_how_far_it_is),
        TEST(test_restart_after_every_commit),
#ifdef UNDINE_FAULTS
        TEST(test_killed_at_commits),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
