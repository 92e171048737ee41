/* Rows that go while a trainer learns: by event time and for want of memory, through checkpoints
 * on disk in the middle of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version.h"
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DIM = 8, EXAMPLES = 6400, A_DAY = 160 };
#define DAY_MS ((int64_t)86400000)

struct fixture {
    struct schema schema;
    struct example_stream stream;
    char dir[64];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->schema = example_stream_schema(DIM);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 5,
                                             .n = EXAMPLES,
                                             .n_users = 50000,
                                             .n_steps = 6,
                                             .n_categories = 40,
                                             .items_a_category = 50,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        f->stream.examples[i].emit_ms = DAY_MS * 20000 + i * (DAY_MS / A_DAY);
    }
    (void)snprintf(f->dir, sizeof f->dir, "test_trainer_rows_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    example_stream_release(&f->stream);
    free(f);
    return 0;
}

/* Write the trainer to disk and go on with another one that was restored from there. */
static struct trainer *restart(const struct fixture *f, struct trainer *t,
                               const struct trainer_options *o)
{
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    struct version_info info;
    struct version_extra extra = {0};
    assert_int_equal(trainer_snapshot(t, &s, &err), 0);
    assert_int_equal(version_write(f->dir, s, &extra, true, &info, &err), 0);
    snapshot_free(s);
    trainer_close(t);
    assert_int_equal(version_restore(f->dir, 0, UINT64_MAX, &s, &info, NULL, NULL, &err), 1);
    struct restore_progress progress = {0};
    struct trainer_options watched = *o;
    watched.progress = &progress;
    t = trainers_open(&f->schema, &watched);
    assert_int_equal(trainer_restore(t, s, &err), 0);
    assert_int_equal(progress.phase, RESTORE_ROWS);
    assert_true(progress.total > 0 && progress.done == progress.total);
    t->opt.progress = NULL;
    snapshot_free(s);
    return t;
}

static void sweep(struct trainer *t)
{
    assert_int_equal(retention_sweep(&t->retention, true, NULL), 0);
}

/* A trainer that is stopped and restored every few batches ends as one that never was. */
static struct trainer_metrics compare_with_restarts(const struct fixture *f,
                                                    const struct trainer_options *o)
{
    struct trainer *whole = trainers_open(&f->schema, o), *cut = trainers_open(&f->schema, o);
    for (uint32_t at = 0; at < EXAMPLES; at += 320) {
        trainers_feed(whole, &f->stream, at, at + 320);
        trainers_feed(cut, &f->stream, at, at + 320);
        struct trainer_metrics a, b;
        trainer_metrics(whole, &a);
        trainer_metrics(cut, &b);
        assert_int_equal(a.rows, b.rows);
        assert_int_equal(a.rows_expired, b.rows_expired);
        assert_int_equal(a.rows_evicted, b.rows_evicted);
        if (at / 320 % 3 == 1) {
            cut = restart(f, cut, o);
            trainer_metrics(cut, &b);
            assert_int_equal(a.rows, b.rows);
            assert_int_equal(a.rows_expired, b.rows_expired);
            assert_int_equal(b.tombstones, 0);
        }
    }
    sweep(whole);
    sweep(cut);
    assert_true(trainers_equal(whole, cut));
    struct trainer_metrics m;
    trainer_metrics(whole, &m);
    print_message("%llu rows, %llu expired, %llu evicted, %llu bytes, auc %.4f\n",
                  (unsigned long long)m.rows, (unsigned long long)m.rows_expired,
                  (unsigned long long)m.rows_evicted, (unsigned long long)m.table_bytes, m.auc);
    assert_int_equal(m.tombstones, m.rows_expired + m.rows_evicted);
    trainer_close(whole);
    trainer_close(cut);
    return m;
}

static void test_m10_expiry_survives_restarts(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = trainers_options();
    o.max_delay_ms = DAY_MS;
    o.expire_after_ms = 3 * DAY_MS;
    struct trainer_metrics m = compare_with_restarts(f, &o);
    assert_true(m.rows_expired > 3000 && m.rows_evicted == 0);
}

static void test_m10_eviction_survives_restarts(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = trainers_options();
    o.max_delay_ms = DAY_MS;
    o.memory_max_bytes = 1750000;
    o.memory_full = RETENTION_EVICT;
    o.regularizer.kind = REGULARIZER_L2; /* what a row owes depends on its stamp */
    o.regularizer.lambda = 0.001;
    struct trainer_metrics m = compare_with_restarts(f, &o);
    assert_true(m.rows_evicted > 500 && m.rows_expired == 0);
    assert_true(m.table_bytes <= o.memory_max_bytes);
}

/* Days are counted from the day of the last touch: gone on the first day that is further than
 * `expire_after` from it, and not before. */
static void test_a_row_goes_on_its_day(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = trainers_options();
    o.max_delay_ms = DAY_MS;
    o.expire_after_ms = 2 * DAY_MS - 1; /* rounded up to two days */
    struct trainer *t = trainers_open(&f->schema, &o);
    for (uint32_t at = 0; at < 8 * A_DAY; at += 32) {
        trainers_feed(t, &f->stream, at, at + 32);
        uint32_t today = 20000 + (at + 31) / A_DAY;
        sweep(t);
        for (uint32_t k = 0; k < f->schema.n_tables; k++) {
            for (uint32_t row = 0; row < t->table[k].n_rows; row++) {
                assert_true(table_row(&t->table[k], row)->seen_day + 2 >= today);
            }
        }
    }
    /* Nearly every user comes once: those of the last three days are there. */
    assert_true(t->table[2].n_rows > 3 * A_DAY - 20 && t->table[2].n_rows <= 3 * A_DAY);
    trainer_close(t);
}

/* Without a rule that drops rows, stamps and days are all that rows have of it. */
static void test_off_means_that_nothing_goes(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = trainers_options();
    o.max_delay_ms = DAY_MS;
    struct trainer *plain = trainers_open(&f->schema, &o);
    o.expire_after_ms = 1000 * DAY_MS;
    o.memory_max_bytes = 1 << 28;
    o.memory_full = RETENTION_EVICT;
    struct trainer *kept = trainers_open(&f->schema, &o);
    trainers_feed(plain, &f->stream, 0, 1600);
    trainers_feed(kept, &f->stream, 0, 1600);
    struct trainer_metrics m;
    trainer_metrics(plain, &m);
    print_message("auc %.4f\n", m.auc);
    assert_true(trainers_equal(plain, kept));
    trainer_close(plain);
    trainer_close(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_m10_expiry_survives_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_m10_eviction_survives_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_row_goes_on_its_day, setup, teardown),
        cmocka_unit_test_setup_teardown(test_off_means_that_nothing_goes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
