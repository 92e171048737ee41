#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_trainer_log.c: the trainer behind a real example log: it learns what is committed, when it
 * may, and whatever the commits were, the model is the same. */
#include "base/hash.h"
#include "tests/support/store_fixture.h"
#include "tests/support/trainers.h"

#include <stdio.h>

enum { ENTRIES = 400, USERS = 12, FORGOTTEN_AT = 250 };

struct world {
    char dir[FIXTURE_PATH_MAX];
    struct schema schema;
    struct store *store;
    struct example_log *log;
    struct random r; /* of the entries alone */
};

static void world_open(struct world *w)
{
    fixture_directory(w->dir);
    fixture_schema(&w->schema, 10);
    w->store = fixture_store(w->dir);
    w->r = (struct random){.state = 17};
    assert_int_equal(example_log_open(&w->log, w->store, &w->schema, 0, NULL), 0);
}

static void world_close(struct world *w)
{
    example_log_close(w->log);
    store_close(w->store);
    fixture_remove(w->dir);
}

static int64_t emit_ms_of(uint32_t i)
{
    return 1700000000000 + (int64_t)i * 100 + (i >= 300 ? 100000 : 0);
}

/* Entry i: an example of some user with up to three clicks behind it, or the end of user 3. */
static void add_entry(struct world *w, uint32_t i)
{
    static uint64_t words[EVENT_WORDS_MAX];
    uint64_t steps[3 * 3];
    char user[16];
    bool forget = i == FORGOTTEN_AT;
    uint64_t u = forget ? 3 : random_below(&w->r, USERS);
    (void)snprintf(user, sizeof user, "user%u", (unsigned)u);
    struct event *e = fixture_event(words, &w->schema, &w->r,
                                    forget ? EVENT_FORGET : EVENT_IMPRESSION, emit_ms_of(i), user);
    struct users_view views[SCHEMA_SEQUENCES_MAX] = {{.words = steps, .n_steps = (uint32_t)u % 4}};
    views[FIXTURE_CLICKS].n_words = 3 * (size_t)views[FIXTURE_CLICKS].n_steps;
    for (uint32_t t = 0; t < views[FIXTURE_CLICKS].n_steps; t++) {
        steps[3 * t] = t;
        steps[3 * t + 1] = 1; /* one item, no tags */
        steps[3 * t + 2] = hash_mix64(u + t) | 1;
    }
    enum example_kind kind = forget                        ? EXAMPLE_FORGET
                             : random_below(&w->r, 3) == 0 ? EXAMPLE_POSITIVE
                                                           : EXAMPLE_NEGATIVE;
    struct undine_err err = {0};
    int rc = example_log_add(w->log, e, kind, emit_ms_of(i), 1.0f, forget ? NULL : views, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_int_equal(rc, 0);
}

static void commit(struct world *w, int64_t watermark_ms)
{
    assert_int_equal(example_log_stage(w->log, watermark_ms, NULL), 0);
    assert_int_equal(store_write(w->store, NULL), 0);
    example_log_commit(w->log);
}

static uint32_t step(struct trainer *t, struct world *w, uint32_t batches_max)
{
    struct undine_err err = {0};
    int rc = trainer_step(t, w->log, batches_max, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_true(rc >= 0);
    return (uint32_t)rc;
}

static struct trainer *open_trainer(const struct world *w)
{
    struct trainer_options o = trainers_options();
    o.batch_max = 20;
    o.max_delay_ms = 1500;
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    struct trainer *t;
    assert_int_equal(trainer_open(&t, &w->schema, &o, NULL), 0);
    return t;
}

/* Commits of up to commit_max entries, a step or two after each; returns a trainer that read to the
 * end. */
static struct trainer *run(struct world *w, uint32_t commit_max)
{
    struct random cut = {.state = commit_max};
    struct trainer *t = open_trainer(w);
    for (uint32_t i = 0; i < ENTRIES;) {
        uint32_t n = 1 + (uint32_t)random_below(&cut, commit_max);
        for (; n > 0 && i < ENTRIES; n--, i++) {
            add_entry(w, i);
        }
        commit(w, i < ENTRIES ? emit_ms_of(i) : INT64_MAX);
        (void)step(t, w, 1 + (uint32_t)random_below(&cut, 3));
    }
    while (step(t, w, 7) > 0) {
    }
    assert_int_equal(trainer_seq(t), ENTRIES);
    assert_int_equal(example_log_backlog(w->log), 0);
    return t;
}

static void test_commits_do_not_show_in_the_model(void **state)
{
    (void)state;
    static const uint32_t commit_max[] = {1, 13, 90, ENTRIES};
    struct trainer *first = NULL;
    for (size_t i = 0; i < sizeof commit_max / sizeof commit_max[0]; i++) {
        struct world w;
        world_open(&w);
        struct trainer *t = run(&w, commit_max[i]);
        assert_int_equal(t->counters.examples, ENTRIES - 1);
        assert_int_equal(t->counters.rows_forgotten, 1);
        world_close(&w);
        if (first == NULL) {
            first = t;
            continue;
        }
        assert_true(trainers_equal(first, t));
        trainer_close(t);
    }
    trainer_close(first);
}

static void test_an_open_batch_waits_for_the_watermark(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct trainer *t = open_trainer(&w);
    for (uint32_t i = 0; i < 5; i++) {
        add_entry(&w, i);
    }
    commit(&w, emit_ms_of(5));
    assert_int_equal(step(t, &w, 9), 0);
    assert_int_equal(trainer_seq(t), 0);
    assert_int_equal(example_log_backlog(w.log), 5);
    assert_true(trainer_next_close_ms(t) == emit_ms_of(0) + 1500);
    commit(&w, emit_ms_of(0) + 1500);
    assert_int_equal(step(t, &w, 9), 1);
    assert_int_equal(trainer_seq(t), 5);
    assert_int_equal(example_log_backlog(w.log), 0);
    trainer_close(t);
    world_close(&w);
}

static void test_a_restored_trainer_reads_on(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    struct trainer *whole = open_trainer(&w), *again = open_trainer(&w);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        add_entry(&w, i);
        if (i % 37 == 0) {
            commit(&w, emit_ms_of(i));
        }
    }
    commit(&w, INT64_MAX);
    assert_int_equal(step(whole, &w, 6), 6);
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(whole, &s, NULL), 0);
    assert_int_equal(trainer_restore(again, s, NULL), 0);
    snapshot_free(s);
    (void)step(whole, &w, UINT32_MAX);
    (void)step(again, &w, UINT32_MAX);
    assert_int_equal(trainer_seq(again), ENTRIES);
    assert_true(trainers_equal(whole, again));
    trainer_close(whole);
    trainer_close(again);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commits_do_not_show_in_the_model),
        cmocka_unit_test(test_an_open_batch_waits_for_the_watermark),
        cmocka_unit_test(test_a_restored_trainer_reads_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
