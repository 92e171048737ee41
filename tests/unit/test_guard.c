#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_guard.c: when learning stops, what it says, and that weights stay finite whatever comes. */
#include "learner/guard.h"
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <math.h>
#include <stdio.h>

enum { EXAMPLES = 640 };

static const struct guard_options OFF = {.window = 100, .label_rate_max = 1.0, .missing_max = 1.0};

static int judge(const struct guard_options *o, uint32_t n, uint32_t positives, double logit,
                 double sample_rate, struct undine_err *err)
{
    struct schema schema = example_stream_schema(4);
    struct guard g = {0};
    for (uint32_t i = 0; i < n; i++) {
        guard_add(&g, logit, i < positives ? 1.0 : 0.0, sample_rate);
    }
    int rc = guard_judge(&g, o, &schema, err);
    assert_int_equal(g.examples, n < o->window ? n : 0); /* a full window ends */
    return rc;
}

static void test_label_rate(void **state)
{
    (void)state;
    struct undine_err err;
    struct guard_options o = OFF;
    o.label_rate_min = 0.1;
    o.label_rate_max = 0.3;
    assert_int_equal(judge(&o, 100, 20, 0.0, 1.0, &err), UNDINE_OK);
    assert_int_equal(judge(&o, 99, 0, 0.0, 1.0, &err), UNDINE_OK); /* not full yet */
    assert_int_equal(judge(&o, 100, 5, 0.0, 1.0, &err), UNDINE_EGUARD);
    assert_non_null(strstr(err.msg, "label rate of the last 100 examples is 0.05"));
    assert_int_equal(judge(&o, 100, 50, 0.0, 1.0, &err), UNDINE_EGUARD);
    /* 50 negatives kept of 500: the stream's rate is 50 in 550. */
    assert_int_equal(judge(&o, 100, 50, 0.0, 0.1, &err), UNDINE_EGUARD);
    o.label_rate_min = 0.09;
    assert_int_equal(judge(&o, 100, 50, 0.0, 0.1, &err), UNDINE_OK);
}

static void test_calibration(void **state)
{
    (void)state;
    struct undine_err err;
    struct guard_options o = OFF;
    assert_int_equal(judge(&o, 100, 1, 5.0, 1.0, &err), UNDINE_OK); /* off */
    o.calibration_min = 0.8;
    o.calibration_max = 1.25;
    assert_int_equal(judge(&o, 100, 50, 0.0, 1.0, &err), UNDINE_OK);
    assert_int_equal(judge(&o, 100, 25, 0.0, 1.0, &err), UNDINE_EGUARD);
    assert_non_null(strstr(err.msg, "predictions over clicks of the last 100 examples are 2,"));
    assert_int_equal(judge(&o, 100, 0, 0.0, 1.0, &err), UNDINE_EGUARD); /* no click at all */
}

/* 100 impressions learned as negatives, 20 of them clicked after all: a rate of 0.2, and
 * predictions of 100 impressions.  A window of revisions alone has rate 1, not more. */
static void test_revised_labels_count_once(void **state)
{
    (void)state;
    struct undine_err err;
    struct schema schema = example_stream_schema(4);
    struct guard_options o = OFF;
    o.label_rate_min = 0.199;
    o.label_rate_max = 0.201;
    o.calibration_min = 2.49; /* 100 x 0.5 over 20 */
    o.calibration_max = 2.51;
    struct guard g = {0};
    for (int i = 0; i < 120; i++) {
        if (i >= 100) {
            guard_withdraw(&g, 0.0, 1.0);
        }
        guard_add(&g, 0.0, i < 100 ? 0.0 : 1.0, 1.0);
    }
    assert_int_equal(guard_judge(&g, &o, &schema, &err), UNDINE_OK);
    o = OFF;
    for (int i = 0; i < 100; i++) {
        guard_withdraw(&g, 0.0, 0.1);
        guard_add(&g, 0.0, 1.0, 0.1);
    }
    assert_int_equal(guard_judge(&g, &o, &schema, &err), UNDINE_OK);
}

static void test_options_are_checked(void **state)
{
    (void)state;
    struct undine_err err;
    assert_int_equal(guard_check(&OFF, &err), UNDINE_OK);
    struct guard_options o = OFF;
    o.label_rate_min = 0.5;
    o.label_rate_max = 0.4;
    assert_int_equal(guard_check(&o, &err), UNDINE_ECONFIG);
    o = OFF;
    o.calibration_min = NAN;
    assert_int_equal(guard_check(&o, &err), UNDINE_ECONFIG);
    o = OFF;
    o.missing_max = 1.1;
    assert_int_equal(guard_check(&o, &err), UNDINE_ECONFIG);
    o = OFF;
    o.window = 0;
    assert_int_equal(guard_check(&o, &err), UNDINE_ECONFIG);
}

/* ---- in a trainer ---- */

struct fixture {
    struct schema schema;
    struct example_stream stream;
    struct trainer *trainer;
    struct undine_err err;
    int refused;
    char why[256];
};

static void note_refused(void *payload, const struct trainer *t, const char *why)
{
    struct fixture *f = payload;
    assert_true(t->builder->n > 0);
    f->refused++;
    (void)snprintf(f->why, sizeof f->why, "%s", why);
}

static void setup(struct fixture *f, const struct trainer_options *o)
{
    memset(f, 0, sizeof *f);
    f->schema = example_stream_schema(4);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 4,
                                             .n = EXAMPLES,
                                             .n_users = 40,
                                             .n_steps = 6,
                                             .n_categories = 12,
                                             .items_a_category = 5,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
    assert_int_equal(trainer_open(&f->trainer, &f->schema, o, &f->err), UNDINE_OK);
    trainer_on_refused(f->trainer, note_refused, f);
}

static void teardown(struct fixture *f)
{
    trainer_close(f->trainer);
    example_stream_release(&f->stream);
}

static int feed(struct fixture *f, uint32_t from, uint32_t to)
{
    struct example_block block = example_stream_block(&f->stream, from, to);
    return trainer_learn(f->trainer, &block, UINT32_MAX, &f->err);
}

static bool all_weights_finite(const struct trainer *t)
{
    bool finite = true;
    for (size_t i = 0; i < model_n_values(t->model); i++) {
        finite = finite && isfinite(model_values(t->model)[i]);
    }
    for (size_t i = 0; i < model_n_values(t->model) * optimizer_slots(t->opt.optimizer.kind); i++) {
        finite = finite && isfinite(t->dense_slot[i]);
    }
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        for (uint32_t row = 0; row < t->table[k].n_rows; row++) {
            const struct table_row *r = table_row(&t->table[k], row);
            for (uint32_t i = 0; i < t->table[k].opt.dim + t->table[k].opt.n_slots; i++) {
                finite = finite && isfinite(r->value[i]);
            }
        }
    }
    return finite;
}

/* The batch that fills a window out of its band is not learned, and whoever asked is told. */
static void test_a_band_stops_the_trainer(void **state)
{
    (void)state;
    struct fixture f;
    struct trainer_options o = trainers_options();
    o.guard.window = 200;
    o.guard.label_rate_max = 0.01;
    setup(&f, &o);
    assert_int_equal(feed(&f, 0, EXAMPLES), UNDINE_EGUARD);
    assert_non_null(strstr(f.err.msg, "label_rate_min..max"));
    assert_non_null(
        strstr(f.err.msg, "examples 192 to 223")); /* batches of 32: the window is full */
    assert_int_equal(f.refused, 1);
    assert_int_equal(f.trainer->counters.steps, 6);
    teardown(&f);
}

/* Half-way through the stream the producer sends no feature any more. */
static void test_missing_features_stop_the_trainer(void **state)
{
    (void)state;
    struct fixture f;
    struct trainer_options o = trainers_options();
    o.guard.window = 200;
    o.guard.missing_max = 0.3;
    setup(&f, &o);
    assert_int_equal(feed(&f, 0, 320), 10);
    assert_true(f.schema.n_fields >= 2);
    static const uint8_t none[STREAM_FIELDS] = {0};
    for (uint32_t i = 320; i < EXAMPLES; i++) {
        f.stream.examples[i].counts = none;
    }
    assert_int_equal(feed(&f, 320, EXAMPLES), UNDINE_EGUARD);
    assert_non_null(strstr(f.err.msg, "learner.guard.missing_max"));
    assert_non_null(strstr(f.err.msg, "most of all `"));
    teardown(&f);
}

/* The state of an open window is part of a copy: a restart stops at the same example. */
static void test_a_restart_stops_at_the_same_example(void **state)
{
    (void)state;
    struct fixture f, again;
    struct trainer_options o = trainers_options();
    o.guard.window = 200;
    o.guard.label_rate_max = 0.01;
    setup(&f, &o);
    assert_int_equal(feed(&f, 0, 128), 4);
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(f.trainer, &s, &f.err), UNDINE_OK);
    setup(&again, &o);
    assert_int_equal(trainer_restore(again.trainer, s, &again.err), UNDINE_OK);
    snapshot_free(s);
    assert_int_equal(feed(&f, 128, EXAMPLES), UNDINE_EGUARD);
    assert_int_equal(feed(&again, 128, EXAMPLES), UNDINE_EGUARD);
    assert_string_equal(f.err.msg, again.err.msg);
    teardown(&f);
    teardown(&again);
}

/* Passes over the stream until learning stops; no weight, slot or statistic is ever infinite or
 * NaN.
 */
static int learn_finite(struct fixture *f)
{
    int rc = UNDINE_OK;
    for (uint32_t pass = 0; rc >= 0 && pass < 20; pass++) {
        struct example_block block = example_stream_block(&f->stream, 0, EXAMPLES);
        block.first_seq = (uint64_t)pass * EXAMPLES;
        rc = trainer_learn(f->trainer, &block, UINT32_MAX, &f->err);
        assert_true(all_weights_finite(f->trainer));
    }
    return rc;
}

/* A rate at which learning diverges: batches are skipped, then learning stops. */
static void test_bad_input_a_rate_that_diverges(void **state)
{
    (void)state;
    static const enum optimizer_kind kinds[] = {OPTIMIZER_SGD, OPTIMIZER_ADAGRAD, OPTIMIZER_ADAM,
                                                OPTIMIZER_FTRL};
    static const double rates[] = {10.0, 1e3, 1e6}; /* 10: what a configuration may ask for */
    for (size_t i = 0; i < 12; i++) {
        struct fixture f;
        struct trainer_options o = trainers_options();
        o.optimizer.kind = kinds[i / 3];
        o.optimizer.rate = o.optimizer.dense_rate = rates[i % 3];
        o.guard.skipped_max = 3;
        setup(&f, &o);
        int rc = learn_finite(&f);
        print_message("optimizer %zu, rate %g: rc %d after %llu batches, %llu skipped\n", i / 3,
                      rates[i % 3], rc, (unsigned long long)f.trainer->counters.batches,
                      (unsigned long long)f.trainer->counters.batches_skipped);
        assert_true(rc >= 0 || rc == UNDINE_EGUARD);
        assert_true(rates[i % 3] < 1e6 || rc == UNDINE_EGUARD);
        if (rc == UNDINE_EGUARD) {
            assert_non_null(strstr(f.err.msg, "the model has diverged"));
            assert_true(f.trainer->counters.batches_skipped >= 3);
            assert_int_equal(f.refused, f.trainer->counters.batches_skipped + 1);
        }
        teardown(&f);
    }
}

/* Without a guard the batches are skipped for ever, and the weights stay as they were. */
static void test_bad_input_divergence_without_a_guard(void **state)
{
    (void)state;
    struct fixture f;
    struct trainer_options o = trainers_options();
    o.optimizer.rate = o.optimizer.dense_rate = 1e6;
    o.guard.skipped_max = 0;
    setup(&f, &o);
    assert_true(learn_finite(&f) >= 0);
    assert_true(f.trainer->counters.batches_skipped > 300);
    assert_true(f.trainer->counters.batches_skipped < f.trainer->counters.batches);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label_rate),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_revised_labels_count_once),
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test(test_a_band_stops_the_trainer),
        cmocka_unit_test(test_missing_features_stop_the_trainer),
        cmocka_unit_test(test_a_restart_stops_at_the_same_example),
        cmocka_unit_test(test_bad_input_a_rate_that_diverges),
        cmocka_unit_test(test_bad_input_divergence_without_a_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
