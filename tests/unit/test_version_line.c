/* The line of versions of a learner that gives deltas: whatever is written, merged, broken and
 * restarted on the way, the newest version on disk is the whole snapshot of its moment, bit for
 * bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "learner/snapshot_metrics.h"
#include "ops/version_line.h"
#include "tests/support/apply_delta.h"
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"
#include "tests/support/version_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DIM = 6, EXAMPLES = 1500, CHUNK_MAX = 60 };
#define DAY_MS  ((int64_t)86400000)
#define HOUR_NS INT64_C(3600000000000)

struct world {
    char dir[VERSION_PATH_MAX];
    struct schema schema;
    struct example_stream stream;
    struct random random;
    struct trainer_options options;
    struct trainer *t[2]; /* one whose versions are written, and a twin */
    struct version_line *line;
    int64_t now_ns;
    uint64_t merged;
};

static void open_line(struct world *w, struct version_chain *newest)
{
    const struct version_line_options opt = {.dir = w->dir,
                                             .metrics_window = w->options.metrics_window,
                                             .merge_ns = HOUR_NS,
                                             .chain_max = 5,
                                             .newest = newest};
    struct undine_err err = {0};
    if (version_line_open(&w->line, &opt, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
}

static void setup(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = {.state = seed}, .now_ns = clock_monotonic_ns()};
    version_fixture_temp_dir(w->dir);
    w->schema = example_stream_schema(DIM);
    example_stream_init(&w->stream, &w->schema);
    const struct example_stream_plan plan = {.seed = seed,
                                             .n = EXAMPLES,
                                             .n_users = 200,
                                             .n_steps = 6,
                                             .n_categories = 20,
                                             .items_a_category = 40,
                                             .noise = 0.1};
    example_stream_plant(&w->stream, &plan);
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        w->stream.examples[i].emit_ms = DAY_MS * 20000 + i * (DAY_MS / 100);
    }
    w->options = trainers_options();
    w->options.model.mlp.hidden[0] = 12;
    w->options.model.mlp.hidden[1] = 8;
    w->options.max_delay_ms = 2 * DAY_MS;
    w->options.metrics_window = 200;
    w->options.expire_after_ms = 2 * DAY_MS;
    w->options.admission = seed % 2 == 0 ? 2 : 0;
    w->t[1] = trainers_open(&w->schema, &w->options);
    w->options.changes = true;
    w->t[0] = trainers_open(&w->schema, &w->options);
    open_line(w, NULL);
}

static void teardown(struct world *w)
{
    version_line_close(w->line);
    trainer_close(w->t[0]);
    trainer_close(w->t[1]);
    example_stream_release(&w->stream);
    version_fixture_remove(w->dir);
}

static struct snapshot *take(struct world *w)
{
    struct snapshot *s = NULL;
    int rc = version_line_unbroken(w->line) ? trainer_changes(w->t[0], &s, NULL) : 0;
    if (rc == 0) {
        rc = trainer_snapshot(w->t[0], &s, NULL);
    }
    assert_true(rc >= 0);
    return s;
}

static int write_next(struct world *w, struct version_info *info, struct undine_err *err)
{
    const struct version_extra extra = {.created_ms = 1};
    struct snapshot *s = take(w);
    int rc = version_line_write(w->line, s, &extra, info, err);
    trainer_recycle(w->t[0], s);
    return rc;
}

/* The version on disk is what the twin is. */
static void assert_on_disk(struct world *w, const char *name)
{
    char path[VERSION_PATH_MAX];
    struct snapshot *there = NULL, *here = NULL;
    struct undine_err err = {0};
    assert_int_equal(version_path(path, w->dir, name, NULL), 0);
    if (version_load(path, true, &there, NULL, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(trainer_snapshot(w->t[1], &here, NULL), 0);
    assert_int_equal(snapshot_sort(here, NULL), 0);
    assert_int_equal(snapshot_metrics_attach(here, NULL), 0);
    for (uint32_t k = 0; k < here->n_tables; k++) {
        assert_same_table(&there->table[k], &here->table[k]);
    }
    assert_int_equal(there->n_waiting, here->n_waiting);
    for (uint32_t k = 0; k < here->n_waiting; k++) {
        assert_same_table(&there->waiting[k], &here->waiting[k]);
    }
    for (uint32_t i = 0; i < here->n_train; i++) {
        const struct snapshot_array *a = &here->train[i];
        const struct snapshot_array *b = snapshot_find(there->train, there->n_train, a->name);
        assert_non_null(b);
        assert_int_equal(snapshot_array_bytes(a), snapshot_array_bytes(b));
        assert_memory_equal(a->data, b->data, (size_t)snapshot_array_bytes(a));
    }
    snapshot_free(there);
    snapshot_free(here);
}

/* Let a merge that is due happen; the whole version is the model of its moment. */
static void tend(struct world *w, const char *newest)
{
    struct version_info whole = {0};
    struct undine_err err = {0};
    int rc = version_line_tend(w->line, w->now_ns, 1, &whole, &err);
    while (rc == 0 && version_line_merging(w->line)) {
        (void)usleep(1000);
        rc = version_line_tend(w->line, w->now_ns, 1, &whole, &err);
    }
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
    if (rc > 0) {
        w->merged++;
        assert_false(whole.is_delta);
        assert_true(whole.merged_from > 0);
        assert_on_disk(w, whole.name);
        assert_on_disk(w, newest);
    }
}

static void restart(struct world *w)
{
    struct snapshot *s = NULL;
    struct version_info info = {0};
    struct undine_err err = {0};
    uint64_t seq = trainer_seq(w->t[0]);
    version_line_close(w->line);
    trainer_close(w->t[0]);
    assert_int_equal(version_restore(w->dir, 0, UINT64_MAX, &s, &info, NULL, NULL, &err), 1);
    w->t[0] = trainers_open(&w->schema, &w->options);
    if (trainer_restore(w->t[0], s, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    struct version_chain *chain = s->mapped;
    s->mapped = NULL;
    snapshot_free(s);
    open_line(w, chain);
    uint32_t at = (uint32_t)trainer_seq(w->t[0]);
    assert_true(at <= seq);
    trainers_feed(w->t[0], &w->stream, at, (uint32_t)w->t[1]->next_seq);
}

static void live(uint64_t seed)
{
    struct world w;
    struct version_line_status n;
    uint64_t deltas = 0;
    setup(&w, seed);
    for (uint32_t at = 0; at < EXAMPLES;) {
        uint32_t to = at + 1 + (uint32_t)random_below(&w.random, CHUNK_MAX);
        to = to < EXAMPLES ? to : EXAMPLES;
        trainers_feed(w.t[0], &w.stream, at, to);
        trainers_feed(w.t[1], &w.stream, at, to);
        at = to;
        struct version_info info = {0};
        struct undine_err err = {0};
        if (write_next(&w, &info, &err) != UNDINE_OK) {
            fail_msg("%s", err.msg);
        }
        deltas += info.is_delta;
        assert_on_disk(&w, info.name);
        tend(&w, info.name);
        if (random_below(&w.random, 6) == 0) {
            restart(&w);
        }
    }
    version_line_status(w.line, &n);
    print_message("seed %llu: %llu deltas, %llu merges, a chain of %u\n", (unsigned long long)seed,
                  (unsigned long long)deltas, (unsigned long long)w.merged, n.chain);
    assert_true(deltas > 20 && w.merged > 3);
    teardown(&w);
}

static void test_versions_are_what_the_learner_was(void **state)
{
    (void)state;
    live(1);
    live(2);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* A delta that cannot be written breaks the line: the next version is a whole one. */
static void test_a_delta_that_fails_asks_for_a_whole_version(void **state)
{
    (void)state;
    struct world w;
    struct version_info info = {0};
    struct undine_err err = {0};
    setup(&w, 3);
    trainers_feed(w.t[0], &w.stream, 0, 200);
    trainers_feed(w.t[1], &w.stream, 0, 200);
    assert_false(version_line_unbroken(w.line));
    assert_int_equal(write_next(&w, &info, &err), 0);
    assert_false(info.is_delta);
    assert_true(version_line_unbroken(w.line));
    trainers_feed(w.t[0], &w.stream, 200, 300);
    trainers_feed(w.t[1], &w.stream, 200, 300);
    limit_files(4096);
    assert_true(write_next(&w, &info, &err) < 0);
    limit_files(RLIM_INFINITY);
    assert_false(version_line_unbroken(w.line));
    trainers_feed(w.t[0], &w.stream, 300, 400);
    trainers_feed(w.t[1], &w.stream, 300, 400);
    assert_int_equal(write_next(&w, &info, &err), 0);
    assert_false(info.is_delta);
    assert_on_disk(&w, info.name);
    trainers_feed(w.t[0], &w.stream, 400, 500);
    trainers_feed(w.t[1], &w.stream, 400, 500);
    assert_int_equal(write_next(&w, &info, &err), 0);
    assert_true(info.is_delta);
    assert_on_disk(&w, info.name);
    teardown(&w);
}

static void test_a_merge_that_fails_is_tried_again(void **state)
{
    (void)state;
    struct world w;
    struct version_info info = {0}, whole = {0};
    struct version_line_status n;
    struct undine_err err = {0};
    setup(&w, 4);
    for (uint32_t at = 0; at < 700; at += 100) {
        trainers_feed(w.t[0], &w.stream, at, at + 100);
        trainers_feed(w.t[1], &w.stream, at, at + 100);
        assert_int_equal(write_next(&w, &info, &err), 0);
    }
    limit_files(4096);
    int rc = 0;
    do {
        rc = version_line_tend(w.line, w.now_ns, 1, &whole, &err);
    } while (rc == 0 && version_line_merging(w.line));
    limit_files(RLIM_INFINITY);
    assert_true(rc < 0);
    version_line_status(w.line, &n);
    assert_int_equal(n.merges_failed, 1);
    assert_int_equal(version_line_tend(w.line, w.now_ns, 1, &whole, &err), 0);
    assert_false(version_line_merging(w.line)); /* not at once */
    w.now_ns += INT64_C(20000000000);
    tend(&w, info.name);
    assert_int_equal(w.merged, 1);
    version_line_status(w.line, &n);
    assert_int_equal(n.merges, 1);
    assert_int_equal(n.chain, 1);
    teardown(&w);
}

int main(void)
{
    (void)signal(SIGXFSZ, SIG_IGN); /* a file too large is an error and no end */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_are_what_the_learner_was),
        cmocka_unit_test(test_a_delta_that_fails_asks_for_a_whole_version),
        cmocka_unit_test(test_a_merge_that_fails_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
