#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_trainer_late.c: clicks that come behind their negative, and fake negative weighting, as the
 * trainer learns and counts them. */
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <math.h>

enum { IMPRESSIONS = 640, DELAY = 70 };

enum policy { PLAIN, CORRECT, FNW };

/* The same impressions, as the join emits them under a policy: a revision comes DELAY impressions
 * behind its negative, with `correct` for two clicks of three. */
struct world {
    struct schema schema;
    struct example_stream stream; /* impressions with their final labels */
    struct example emitted[2 * IMPRESSIONS];
    uint32_t n, clicks;
};

static void emit(struct world *w, uint32_t i, enum example_kind kind, float rate)
{
    struct example *e = &w->emitted[w->n];
    *e = w->stream.examples[i];
    e->kind = (uint8_t)kind;
    e->sample_rate = rate;
    e->emit_ms = w->n++;
}

static void emit_first(struct world *w, uint32_t i, enum policy policy, float rate)
{
    bool clicked = w->stream.examples[i].kind == EXAMPLE_POSITIVE;
    bool in_time = clicked && (policy == PLAIN || (policy == CORRECT && i % 3 == 0));
    emit(w, i,
         policy == FNW ? EXAMPLE_FNW_NEGATIVE
         : in_time     ? EXAMPLE_POSITIVE
                       : EXAMPLE_NEGATIVE,
         rate);
    w->clicks += clicked;
}

static void emit_revision(struct world *w, uint32_t i, enum policy policy, float rate)
{
    bool clicked = w->stream.examples[i].kind == EXAMPLE_POSITIVE;
    if (clicked && policy == FNW) {
        emit(w, i, EXAMPLE_FNW_POSITIVE, rate);
    } else if (clicked && policy == CORRECT && i % 3 != 0) {
        emit(w, i, EXAMPLE_CORRECTION, rate);
    }
}

static void setup(struct world *w, enum policy policy, float rate)
{
    *w = (struct world){.schema = example_stream_schema(8)};
    example_stream_init(&w->stream, &w->schema);
    const struct example_stream_plan plan = {.seed = 4,
                                             .n = IMPRESSIONS,
                                             .n_users = 40,
                                             .n_steps = 6,
                                             .n_categories = 12,
                                             .items_a_category = 5,
                                             .noise = 0.1};
    example_stream_plant(&w->stream, &plan);
    for (uint32_t i = 0; i < IMPRESSIONS + DELAY; i++) {
        if (i < IMPRESSIONS) {
            emit_first(w, i, policy, rate);
        }
        if (i >= DELAY) {
            emit_revision(w, i - DELAY, policy, rate);
        }
    }
    assert_true(w->clicks > 100 && w->clicks < IMPRESSIONS);
}

static void teardown(struct world *w)
{
    example_stream_release(&w->stream);
}

static struct trainer *open_trainer(const struct world *w, const struct trainer_options *o)
{
    struct trainer *t;
    struct undine_err err = {0};
    if (trainer_open(&t, &w->schema, o, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return t;
}

static void feed(struct trainer *t, const struct world *w, const struct example *examples,
                 uint32_t from, uint32_t to)
{
    struct example_block block = {.first_seq = from,
                                  .n_examples = to - from,
                                  .n_sequences = w->stream.n_sequences,
                                  .examples = (struct example *)(uintptr_t)(examples + from),
                                  .sequences = w->stream.sequences};
    struct undine_err err = {0};
    if (trainer_learn(t, &block, UINT32_MAX, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

/* Batches with all kinds in them: each pulls its logit as loss.h says, sampled ones behind their
 * shift. */
static void test_each_kind_has_its_gradient(void **state)
{
    (void)state;
    static const enum example_kind kinds[] = {EXAMPLE_NEGATIVE, EXAMPLE_POSITIVE,
                                              EXAMPLE_CORRECTION, EXAMPLE_FNW_NEGATIVE,
                                              EXAMPLE_FNW_POSITIVE};
    static struct world w;
    setup(&w, PLAIN, 1.0f);
    for (uint32_t i = 0; i < 320; i++) {
        w.emitted[i].kind = (uint8_t)kinds[i % 5];
        w.emitted[i].sample_rate = i % 5 < 3 ? 0.1f : 1.0f;
    }
    struct trainer_options o = trainers_options();
    struct trainer *t = open_trainer(&w, &o);
    for (uint32_t batch = 0; batch < 10; batch++) {
        feed(t, &w, w.emitted, 32 * batch, 32 * batch + 32);
        for (uint32_t i = 0; i < 32; i++) {
            uint32_t k = (32 * batch + i) % 5;
            double z = (double)t->logit[i] + (k < 3 ? log(10.0) : 0.0);
            double p = 1.0 / (1.0 + exp(-z));
            const double slope[] = {p, p - 1.0, -1.0, (1.0 - p) * (1.0 + p) * p,
                                    -(1.0 + p) * (1.0 - p)};
            assert_true(fabs((double)t->dlogit[i] - slope[k] / 32.0) < 1e-6);
        }
    }
    trainer_close(t);
    teardown(&w);
}

/* In one batch a negative and its correction pull as the positive alone does: twice the rate
 * makes up for the mean over twice the examples. */
static void test_a_negative_and_its_correction_are_the_positive(void **state)
{
    (void)state;
    static struct world w;
    for (int sampled = 0; sampled < 2; sampled++) {
        float rate = sampled ? 0.25f : 1.0f;
        setup(&w, PLAIN, rate);
        struct example positive[16], pair[32];
        for (uint32_t i = 0; i < 16; i++) {
            positive[i] = pair[2 * i] = pair[2 * i + 1] = w.emitted[i];
            positive[i].kind = EXAMPLE_POSITIVE;
            pair[2 * i].kind = EXAMPLE_NEGATIVE;
            pair[2 * i + 1].kind = EXAMPLE_CORRECTION;
            pair[2 * i].emit_ms = pair[2 * i + 1].emit_ms = positive[i].emit_ms;
        }
        struct trainer_options o = trainers_options();
        o.optimizer.kind = OPTIMIZER_SGD;
        o.model.unit.activation = o.model.mlp.activation = ACT_PRELU; /* no batch statistics */
        o.batch_max = 16;
        struct trainer *alone = open_trainer(&w, &o);
        o.batch_max = 32;
        o.optimizer.rate *= 2.0;
        o.optimizer.dense_rate *= 2.0;
        struct trainer *both = open_trainer(&w, &o);
        feed(alone, &w, positive, 0, 16);
        feed(both, &w, pair, 0, 32);
        assert_int_equal(alone->counters.steps, 1);
        assert_int_equal(both->counters.steps, 1);
        for (size_t i = 0; i < model_n_values(alone->model); i++) {
            assert_true(fabsf(model_values(alone->model)[i] - model_values(both->model)[i]) <
                        1e-6f);
        }
        for (uint32_t k = 0; k < w.schema.n_tables; k++) {
            for (uint32_t row = 0; row < alone->table[k].n_rows; row++) {
                const struct table_row *x = table_row(&alone->table[k], row);
                const struct table_row *y =
                    table_row(&both->table[k], table_find(&both->table[k], x->key));
                for (uint32_t d = 0; d < 8; d++) {
                    assert_true(fabsf(x->value[d] - y->value[d]) < 1e-6f);
                }
            }
        }
        trainer_close(alone);
        trainer_close(both);
        teardown(&w);
    }
}

static bool in_unit(double x)
{
    return x >= 0.0 && x <= 1.0;
}

/* Whatever came twice counts once, with its final label, since the start and in the window. */
static void test_metrics_count_an_impression_once(void **state)
{
    (void)state;
    static const struct {
        enum policy policy;
        float rate;
    } cases[] = {{PLAIN, 1.0f}, {CORRECT, 1.0f}, {CORRECT, 0.25f}, {FNW, 1.0f}};
    static struct world w;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setup(&w, cases[i].policy, cases[i].rate);
        struct trainer_options o = trainers_options();
        o.metrics_window = 4 * IMPRESSIONS;
        struct trainer *t = open_trainer(&w, &o);
        for (uint32_t at = 0; at < w.n; at += 32) {
            feed(t, &w, w.emitted, at, at + 32 < w.n ? at + 32 : w.n);
            struct trainer_metrics m;
            trainer_metrics(t, &m);
            assert_true(isnan(m.auc) || in_unit(m.auc));
            assert_true(isnan(m.window_auc) || in_unit(m.window_auc));
            assert_true(isnan(m.gauc) || in_unit(m.gauc));
            assert_true(isnan(m.popularity_auc) || in_unit(m.popularity_auc));
        }
        uint32_t learned = (uint32_t)trainer_seq(t);
        uint64_t firsts = 0, clicks = 0;
        for (uint32_t k = 0; k < learned; k++) {
            firsts += !example_kind_revises(w.emitted[k].kind);
            clicks += example_kind_positive(w.emitted[k].kind);
        }
        assert_int_equal(t->counters.examples, learned);
        assert_int_equal(t->metrics.examples, firsts);
        assert_int_equal(t->metrics.positives, clicks);
        double weight = (double)clicks + (double)(firsts - clicks) / (double)cases[i].rate;
        assert_true(fabs(t->metrics.sums.weight - weight) < 1e-3);
        assert_true(fabs(t->popularity.shows - weight) < 1e-3);
        assert_true(t->popularity.clicks == (double)clicks);
        size_t n = metrics_window(&t->metrics, t->window_copy);
        n = metrics_rows_settle(t->window_copy, n);
        assert_int_equal(n, firsts);
        struct metrics_sums sums = metrics_rows_sums(t->window_copy, n);
        assert_true(fabs(sums.weight - weight) < 1e-3 && sums.label == (double)clicks);
        trainer_close(t);
        teardown(&w);
    }
}

/* A learner that begins behind the negatives: nothing to take back, and no number out of range. */
static void test_corrections_without_their_negatives(void **state)
{
    (void)state;
    static struct world w;
    setup(&w, PLAIN, 0.05f);
    for (uint32_t i = 0; i < 320; i++) {
        w.emitted[i].kind = i % 8 == 7 ? EXAMPLE_NEGATIVE : EXAMPLE_CORRECTION;
    }
    struct trainer_options o = trainers_options();
    o.guard.window = 64;
    struct trainer *t = open_trainer(&w, &o);
    feed(t, &w, w.emitted, 0, 320);
    assert_int_equal(t->counters.batches, 10);
    assert_int_equal(t->counters.batches_skipped, 0);
    assert_int_equal(t->metrics.positives, 280);
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    assert_true(isnan(m.auc) || in_unit(m.auc));
    assert_true(isnan(m.window_auc) || in_unit(m.window_auc));
    for (uint32_t i = 0; i < w.stream.n; i++) {
        assert_true(in_unit(popularity_predict(&t->popularity, w.stream.examples[i].ids[0])));
    }
    trainer_close(t);
    teardown(&w);
}

/* One candidate, no history: the published score comes to the click rate under both policies, and
 * does not when the same examples are learned as plain labels. */
static double score_of_one(enum policy policy, bool as_plain)
{
    enum { ROUNDS = 6000 };
    static struct world w;
    setup(&w, PLAIN, 1.0f);
    struct trainer_options o = trainers_options();
    o.model.kind = MODEL_BASE;
    o.optimizer.kind = OPTIMIZER_SGD;
    o.optimizer.rate = 0.02;
    o.optimizer.dense_rate = 0.02;
    struct trainer *t = open_trainer(&w, &o);
    struct example all[2 * IMPRESSIONS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < 160; i++) { /* one in five is clicked, and known to be later */
        all[n] = w.emitted[0];
        all[n++].kind = policy == FNW ? EXAMPLE_FNW_NEGATIVE : EXAMPLE_NEGATIVE;
        if (i % 5 == 4) {
            all[n] = w.emitted[0];
            all[n++].kind = policy == FNW ? EXAMPLE_FNW_POSITIVE : EXAMPLE_CORRECTION;
        }
    }
    assert_int_equal(n, 192);
    for (uint32_t i = 0; as_plain && i < n; i++) {
        all[i].kind = example_kind_positive(all[i].kind) ? EXAMPLE_POSITIVE : EXAMPLE_NEGATIVE;
    }
    for (uint32_t round = 0; round < ROUNDS / 32; round++) {
        struct example_block block = {.first_seq = (uint64_t)round * n,
                                      .n_examples = n,
                                      .n_sequences = w.stream.n_sequences,
                                      .examples = all,
                                      .sequences = w.stream.sequences};
        assert_true(trainer_learn(t, &block, UINT32_MAX, NULL) >= 0);
    }
    double p = 1.0 / (1.0 + exp(-(double)t->logit[0]));
    trainer_close(t);
    teardown(&w);
    return p;
}

static void test_scores_come_to_the_click_rate(void **state)
{
    (void)state;
    double correct = score_of_one(CORRECT, false), fnw = score_of_one(FNW, false);
    double plain = score_of_one(FNW, true);
    print_message("clicked 0.2: correct %.4f, fnw %.4f, as plain labels %.4f\n", correct, fnw,
                  plain);
    assert_true(fabs(correct - 0.2) < 0.01);
    assert_true(fabs(fnw - 0.2) < 0.01);
    assert_true(fabs(plain - 0.2 / 1.2) < 0.01);
}

/* M10 with revisions: a copy made between negatives and their clicks. */
static void test_m10_restore_between_a_negative_and_its_click(void **state)
{
    (void)state;
    static struct world w;
    for (enum policy policy = CORRECT; policy <= FNW; policy++) {
        setup(&w, policy, policy == CORRECT ? 0.25f : 1.0f);
        struct trainer_options o = trainers_options();
        o.metrics_window = 150;
        struct trainer *whole = open_trainer(&w, &o), *again = open_trainer(&w, &o);
        feed(whole, &w, w.emitted, 0, 333);
        struct snapshot *s = NULL;
        assert_int_equal(trainer_snapshot(whole, &s, NULL), 0);
        feed(whole, &w, w.emitted, 333, w.n);
        assert_int_equal(trainer_restore(again, s, NULL), 0);
        snapshot_free(s);
        feed(again, &w, w.emitted, (uint32_t)trainer_seq(again), w.n);
        assert_true(trainers_equal(whole, again));
        struct trainer_metrics a, b;
        trainer_metrics(whole, &a);
        trainer_metrics(again, &b);
        assert_true(a.gauc == b.gauc && a.window_auc == b.window_auc && a.auc == b.auc);
        assert_true(a.window_logloss == b.window_logloss && a.popularity_auc == b.popularity_auc);
        trainer_close(whole);
        trainer_close(again);
        teardown(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_has_its_gradient),
        cmocka_unit_test(test_a_negative_and_its_correction_are_the_positive),
        cmocka_unit_test(test_metrics_count_an_impression_once),
        cmocka_unit_test(test_corrections_without_their_negatives),
        cmocka_unit_test(test_scores_come_to_the_click_rate),
        cmocka_unit_test(test_m10_restore_between_a_negative_and_its_click),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
