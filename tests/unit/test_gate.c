#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include "learner/gate.h"
#include "learner/gate_window.h"
#include "learner/model/manifest.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the verdict ---- */

static const struct gate_options OPTIONS = {.mode = GATE_ENFORCE,
                                            .window = 1000,
                                            .examples_min = 100,
                                            .logloss_rise = 0.25,
                                            .gauc_drop = 0.125,
                                            .calibration_min = 0.5,
                                            .calibration_max = 2.0,
                                            .norm_ratio = 4.0,
                                            .row_drop = 0.5};

static struct gate_figures good(void)
{
    return (struct gate_figures){.against = 7,
                                 .examples = 100,
                                 .gauc_users = 10,
                                 .published = {0.5, 0.75, 1.0},
                                 .learner = {0.5, 0.75, 1.0},
                                 .norm_ratio = 1.0,
                                 .norm_name = "mlp.0.weight",
                                 .rows = 1000,
                                 .rows_published = 1000};
}

static void expect(const struct gate_figures *f, enum gate_verdict_kind kind, uint32_t reasons)
{
    struct gate_verdict v;
    gate_judge(&OPTIONS, f, &v);
    assert_int_equal(v.kind, kind);
    assert_int_equal(v.reasons, reasons);
    assert_int_equal(v.why[0] == '\0', kind == GATE_PASS);
    assert_int_equal(gate_refuses(&OPTIONS, &v), kind == GATE_REFUSE);
    struct gate_options warn = OPTIONS;
    warn.mode = GATE_WARN;
    assert_false(gate_refuses(&warn, &v));
}

static void test_logloss(void **state)
{
    (void)state;
    struct gate_figures f = good();
    f.learner.logloss = 0.625;
    expect(&f, GATE_PASS, 0);
    f.learner.logloss = nextafter(0.625, 1.0);
    expect(&f, GATE_REFUSE, GATE_LOGLOSS);
    f.learner.logloss = INFINITY;
    expect(&f, GATE_REFUSE, GATE_LOGLOSS);
    f.learner.logloss = f.published.logloss = NAN;
    expect(&f, GATE_PASS, 0);
}

static void test_gauc(void **state)
{
    (void)state;
    struct gate_figures f = good();
    f.learner.gauc = 0.625;
    expect(&f, GATE_PASS, 0);
    f.learner.gauc = nextafter(0.625, 0.0);
    expect(&f, GATE_REFUSE, GATE_GAUC);
    f.published.gauc = NAN;
    expect(&f, GATE_PASS, 0);
}

static void test_calibration(void **state)
{
    (void)state;
    static const double inside[] = {0.5, 1.0, 2.0}, outside[] = {0.25, 4.0};
    struct gate_figures f = good();
    for (size_t i = 0; i < 3; i++) {
        f.learner.calibration = inside[i];
        expect(&f, GATE_PASS, 0);
    }
    f.learner.calibration = nextafter(0.5, 0.0);
    expect(&f, GATE_REFUSE, GATE_CALIBRATION);
    f.learner.calibration = nextafter(2.0, 3.0);
    expect(&f, GATE_REFUSE, GATE_CALIBRATION);
    f.learner.calibration = 0.0;
    expect(&f, GATE_REFUSE, GATE_CALIBRATION);
    for (size_t i = 0; i < 2; i++) { /* the stream has moved: what is published is no better */
        f.learner.calibration = outside[i];
        f.published.calibration = 8.0;
        expect(&f, GATE_PASS, 0);
        f.published.calibration = outside[i];
        expect(&f, GATE_REFUSE, GATE_CALIBRATION);
        f.published.calibration = NAN;
        expect(&f, GATE_REFUSE, GATE_CALIBRATION);
    }
}

static void test_norm_rows_and_values(void **state)
{
    (void)state;
    struct gate_figures f = good();
    f.norm_ratio = 4.0;
    expect(&f, GATE_PASS, 0);
    f.norm_ratio = nextafter(4.0, 5.0);
    expect(&f, GATE_REFUSE, GATE_NORM);
    f = good();
    f.rows = 500;
    expect(&f, GATE_PASS, 0);
    f.rows = 499;
    expect(&f, GATE_REFUSE, GATE_ROWS);
    f.rows = 0; /* not known */
    expect(&f, GATE_PASS, 0);
    f = good();
    f.not_finite = 1;
    expect(&f, GATE_REFUSE, GATE_NOT_FINITE);
}

static void test_too_few_examples(void **state)
{
    (void)state;
    struct gate_figures f = good();
    f.learner = (struct gate_side){5.0, 0.1, 9.0};
    expect(&f, GATE_REFUSE, GATE_LOGLOSS | GATE_GAUC | GATE_CALIBRATION);
    f.examples = 99;
    expect(&f, GATE_TOO_FEW, 0);
    f.examples = 0;
    expect(&f, GATE_TOO_FEW, 0);
    f.not_finite = 3; /* needs no examples */
    f.norm_ratio = 5.0;
    expect(&f, GATE_REFUSE, GATE_NOT_FINITE | GATE_NORM);
}

static void test_the_manifest_tells_the_verdict(void **state)
{
    (void)state;
    struct gate_figures f = good();
    struct gate_verdict v;
    f.learner.logloss = 1.0;
    f.published.gauc = NAN;
    gate_judge(&OPTIONS, &f, &v);
    char *text = gate_json(&OPTIONS, &f, &v);
    assert_non_null(text);
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "mode")), "enforce");
    assert_string_equal(json_string_value(json_object_get(o, "verdict")), "refuse");
    const json_t *reasons = json_object_get(o, "reasons");
    assert_int_equal(json_array_size(reasons), 1);
    assert_string_equal(json_string_value(json_array_get(reasons, 0)), "logloss");
    assert_non_null(strstr(json_string_value(json_object_get(o, "why")), "at most 0.625"));
    const json_t *published = json_object_get(o, "published");
    assert_true(json_is_null(json_object_get(published, "gauc")));
    assert_int_equal(json_integer_value(json_object_get(o, "against")), 7);
    json_decref(o);
    free(text);
}

static void test_options(void **state)
{
    (void)state;
    struct gate_options o = OPTIONS;
    struct undine_err err = {0};
    assert_int_equal(gate_check(&o, &err), UNDINE_OK);
    o.examples_min = 1001;
    assert_int_equal(gate_check(&o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "gate.window"));
    o.mode = GATE_OFF;
    assert_int_equal(gate_check(&o, &err), UNDINE_OK);
}

/* ---- the window ---- */

static struct gate_pair pair(uint64_t group, float published, float learner, bool positive)
{
    return (struct gate_pair){.group = group,
                              .published = published,
                              .learner = learner,
                              .sample_rate = 1.0f,
                              .positive = positive};
}

static struct gate_window window(uint64_t pairs, uint64_t live)
{
    struct gate_window w;
    const struct gate_window_options o = {.pairs_max = pairs, .live_max = live};
    assert_int_equal(gate_window_init(&w, &o, NULL), UNDINE_OK);
    return w;
}

static void test_the_window_keeps_the_newest_in_order_and_survives(void **state)
{
    (void)state;
    struct gate_window w = window(5, 0), again = window(5, 0);
    for (uint64_t i = 0; i < 8; i++) {
        struct gate_pair p = pair(i, (float)i, -(float)i, i % 2);
        gate_window_add(&w, &p);
        p.published = NAN; /* nobody scored it */
        gate_window_add(&w, &p);
    }
    gate_window_publish(&w, 42, false);
    struct snapshot *s = snapshot_new();
    assert_true(gate_window_save(&w, s));
    struct metrics_row *published = NULL, *learner = NULL;
    size_t n;
    assert_int_equal(gate_window_rows(s, &published, &learner, &n, NULL), UNDINE_OK);
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(published[i].user, i + 3);
        assert_true(published[i].logit == (float)(i + 3) && learner[i].logit == -(float)(i + 3));
        assert_true(published[i].weight == ((i + 3) % 2 ? -1.0f : 1.0f));
    }
    assert_int_equal(gate_window_load(&again, s, NULL), UNDINE_OK);
    assert_int_equal(again.version, 42);
    struct snapshot *s2 = snapshot_new();
    assert_true(gate_window_save(&again, s2));
    assert_int_equal(s->n_train, s2->n_train);
    for (uint32_t i = 0; i < s->n_train; i++) {
        assert_int_equal(snapshot_array_bytes(&s->train[i]), snapshot_array_bytes(&s2->train[i]));
        assert_memory_equal(s->train[i].data, s2->train[i].data,
                            snapshot_array_bytes(&s->train[i]));
    }
    struct gate_window small = window(2, 0); /* a smaller window takes the newest */
    assert_int_equal(gate_window_load(&small, s, NULL), UNDINE_OK);
    assert_int_equal(small.n, 2);
    snapshot_free(s);
    snapshot_free(s2);
    gate_window_release(&w);
    gate_window_release(&again);
    gate_window_release(&small);
}

static void test_blocks_tell_calibration(void **state)
{
    (void)state;
    struct gate_window w = window(10, 4);
    gate_window_publish(&w, 5, false);
    for (int i = 0; i < 4; i++) { /* p 0.5 and 0.75 of the learner, one click in four */
        struct gate_pair p = pair(1, 0.0f, logf(3.0f), i == 0);
        assert_int_equal(w.block.number, 0);
        gate_window_add(&w, &p);
        gate_window_publish(&w, 6, false);
    }
    assert_int_equal(w.block.number, 1);
    assert_int_equal(w.block.version, 5);
    assert_true(fabs(w.block.published - 2.0) < 1e-6);
    assert_true(fabs(w.block.learner - 3.0) < 1e-6);
    for (int i = 0; i < 4; i++) { /* not all were scored: nothing is said of the published one */
        struct gate_pair p = pair(1, i == 2 ? NAN : 0.0f, 0.0f, i == 0);
        gate_window_add(&w, &p);
    }
    assert_int_equal(w.block.version, 6);
    assert_true(isnan(w.block.published));
    assert_true(fabs(w.block.learner - 2.0) < 1e-6);
    struct gate_pair p = pair(1, 0.0f, 0.0f, false);
    gate_window_add(&w, &p);
    p.positive = p.revises = true; /* its click came late: p and label, without the negative */
    gate_window_add(&w, &p);
    assert_true(fabs(w.live_published.p - 0.5) < 1e-6 && w.live_published.label == 1.0);
    gate_window_release(&w);
}

/* ---- a trainer ---- */

enum { DIM = 8, EXAMPLES = 640, BATCH = 32 };

struct fixture {
    struct schema schema;
    struct example_stream stream;
    struct trainer_options options;
};

static void setup(struct fixture *f)
{
    f->schema = example_stream_schema(DIM);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 5,
                                             .n = EXAMPLES,
                                             .n_users = 25,
                                             .n_steps = 6,
                                             .n_categories = 12,
                                             .items_a_category = 5,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
    f->options = trainers_options();
    f->options.batch_max = BATCH;
    f->options.frozen = (struct frozen_options){.sample = 1.0};
    f->options.gate = (struct gate_window_options){.pairs_max = 4000, .live_max = 100};
}

static void learn(struct trainer *t, struct fixture *f, uint32_t from, uint32_t to)
{
    struct example_block block = example_stream_block(&f->stream, from, to);
    assert_true(trainer_learn(t, &block, UINT32_MAX, NULL) >= 0);
    assert_true(trainer_learn_due(t, INT64_MAX, NULL) >= 0);
}

static struct trainer *restored(struct fixture *f, struct trainer *from)
{
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(from, &s, NULL), 0);
    assert_int_equal(snapshot_sort(s, NULL), 0);
    struct trainer *t = trainers_open(&f->schema, &f->options);
    assert_int_equal(trainer_restore(t, s, NULL), 0);
    snapshot_free(s);
    return t;
}

static void assert_same_pairs(const struct trainer *a, const struct trainer *b)
{
    assert_int_equal(a->gate.n, b->gate.n);
    assert_int_equal(a->gate.version, b->gate.version);
    assert_memory_equal(a->gate.published, b->gate.published,
                        a->gate.n * sizeof *a->gate.published);
    assert_memory_equal(a->gate.learner, b->gate.learner, a->gate.n * sizeof *a->gate.learner);
    assert_memory_equal(&a->gate.block, &b->gate.block, sizeof a->gate.block);
}

/* The version stays frozen until its successor is published, and then that has been since its
 * snapshot; a restart in between changes nothing. */
static void test_a_candidate_follows_where_it_is_published(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer *t = trainers_open(&f.schema, &f.options);
    learn(t, &f, 0, 128);
    assert_int_equal(t->gate.n, 0); /* nothing is published */
    trainer_candidate(t);
    learn(t, &f, 128, 192);
    assert_int_equal(t->gate.n, 0);
    trainer_candidate_judged(t, 1);
    assert_int_equal(trainer_published_version(t), 1);
    struct trainer *at_192 = restored(&f, t);
    assert_same_pairs(t, at_192);
    learn(t, &f, 192, 256);
    learn(at_192, &f, 192, 256);
    assert_true(t->gate.n >= 64);
    assert_same_pairs(t, at_192);
    uint64_t pairs = t->gate.n;
    trainer_candidate(t); /* refused: version 1 goes on scoring, with what it kept */
    trainer_candidate(at_192);
    learn(t, &f, 256, 320);
    trainer_candidate_judged(t, 0);
    learn(at_192, &f, 256, 320);
    trainer_candidate_judged(at_192, 0);
    assert_true(t->gate.n >= pairs + 64);
    assert_same_pairs(t, at_192);
    struct trainer *again = restored(&f, t); /* a restart from the refused one */
    trainer_published(again, 1, TRAINER_PUBLISHED_OTHER);
    learn(t, &f, 320, 384);
    learn(again, &f, 320, 384);
    assert_same_pairs(t, again);
    trainer_close(again);
    trainer_close(at_192);
    trainer_close(t);
    example_stream_release(&f.stream);
}

/* The scores kept for version 1 are those of a trainer that stopped where version 1 was made. */
static void test_published_scores_are_of_the_published_model(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer *t = trainers_open(&f.schema, &f.options), *plain;
    struct trainer_options o = f.options;
    o.gate.pairs_max = 0;
    plain = trainers_open(&f.schema, &o);
    learn(t, &f, 0, 128);
    learn(plain, &f, 0, 128);
    trainer_candidate(t);
    trainer_freeze(plain);
    learn(t, &f, 128, 256);
    learn(plain, &f, 128, 256);
    trainer_candidate_judged(t, 1);
    learn(t, &f, 256, 384);
    learn(plain, &f, 256, 384);
    /* frozen.metrics has the rows of the second half last, which is all that t has */
    size_t n = plain->frozen_metrics.window_n, from = n - t->gate.n;
    assert_true(t->gate.n >= 128 && t->gate.n < n);
    for (size_t i = 0; i < t->gate.n; i++) {
        assert_true(plain->frozen_metrics.window[from + i].logit == t->gate.published[i].logit);
        assert_true(plain->frozen_metrics.window[from + i].weight == t->gate.published[i].weight);
    }
    /* and the learner's are its progressive predictions */
    n = t->metrics.window_n;
    for (size_t i = 0; i < t->gate.n; i++) {
        assert_true(t->metrics.window[n - t->gate.n + i].logit == t->gate.learner[i]);
    }
    trainer_close(plain);
    trainer_close(t);
    example_stream_release(&f.stream);
}

static void test_somebody_elses_publication_is_not_the_frozen_model(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer *t = trainers_open(&f.schema, &f.options);
    learn(t, &f, 0, 64);
    trainer_published(t, 3, TRAINER_PUBLISHED_THIS);
    learn(t, &f, 64, 128);
    uint64_t n = t->gate.n;
    assert_true(n >= 64);
    trainer_published(t, 4, TRAINER_PUBLISHED_SAME); /* merged: the same model */
    assert_int_equal(t->gate.n, n);
    trainer_published(t, 2, TRAINER_PUBLISHED_OTHER); /* rolled back */
    assert_int_equal(t->gate.n, 0);
    uint64_t blocks = t->gate.block.number;
    learn(t, &f, 128, 320);
    assert_int_equal(t->gate.n, 0);
    assert_true(t->gate.block.number > blocks); /* the learner's own calibration is seen still */
    assert_true(isnan(t->gate.block.published) && isfinite(t->gate.block.learner));
    trainer_close(t);
    example_stream_release(&f.stream);
}

/* What is learned does not depend on the gate. */
static void test_the_model_is_the_same(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = f.options;
    o.gate.pairs_max = 0;
    struct trainer *t = trainers_open(&f.schema, &f.options), *plain = trainers_open(&f.schema, &o);
    struct snapshot *a = NULL, *b = NULL;
    for (uint32_t i = 0; i < EXAMPLES; i += 64) {
        learn(t, &f, i, i + 64);
        trainer_candidate(t);
        learn(plain, &f, i, i + 64);
        trainer_candidate_judged(t, i % 128 == 0 ? 0 : i);
    }
    assert_int_equal(trainer_snapshot(t, &a, NULL), 0);
    assert_int_equal(trainer_snapshot(plain, &b, NULL), 0);
    assert_int_equal(snapshot_sort(a, NULL), 0);
    assert_int_equal(snapshot_sort(b, NULL), 0);
    struct hash128 x = snapshot_digest(a), y = snapshot_digest(b);
    assert_memory_equal(&x, &y, sizeof x);
    snapshot_free(a);
    snapshot_free(b);
    trainer_close(plain);
    trainer_close(t);
    example_stream_release(&f.stream);
}

static void test_a_trainer_without_a_sample_has_no_gate(void **state)
{
    (void)state;
    struct fixture f;
    struct undine_err err = {0};
    setup(&f);
    f.options.frozen.sample = 0.0;
    assert_int_equal(trainer_check(&f.schema, &f.options, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "frozen.sample"));
    example_stream_release(&f.stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logloss),
        cmocka_unit_test(test_gauc),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_norm_rows_and_values),
        cmocka_unit_test(test_too_few_examples),
        cmocka_unit_test(test_the_manifest_tells_the_verdict),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_the_window_keeps_the_newest_in_order_and_survives),
        cmocka_unit_test(test_blocks_tell_calibration),
        cmocka_unit_test(test_a_candidate_follows_where_it_is_published),
        cmocka_unit_test(test_published_scores_are_of_the_published_model),
        cmocka_unit_test(test_somebody_elses_publication_is_not_the_frozen_model),
        cmocka_unit_test(test_the_model_is_the_same),
        cmocka_unit_test(test_a_trainer_without_a_sample_has_no_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
