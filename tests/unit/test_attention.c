#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_attention.c: statistics of attention weights against their definitions, and as a trainer
 * takes them. */
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include "learner/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORIES = 300, STEPS = 12, PERIOD = 1600 };

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) {
        fail_msg("%.12g is not %.12g", a, b);
    }
}

static int by_value(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Weights of many sizes and both signs, some 0. */
static size_t random_history(struct random *r, float w[STEPS])
{
    size_t n = 1 + random_below(r, STEPS);
    for (size_t i = 0; i < n; i++) {
        double size = exp(8.0 * random_unit(r) - 7.0);
        w[i] = (float)(random_below(r, 3) == 0 ? -size : size);
        w[i] = random_below(r, 10) == 0 ? 0.0f : w[i];
    }
    return n;
}

static void test_summary_is_its_definition(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(4);
    struct random r = {.state = 9};
    struct attention *a = malloc(sizeof *a);
    float *all = calloc(HISTORIES * STEPS, sizeof *all);
    attention_init(a, &schema, PERIOD);
    double sum = 0, square = 0, ignored = 0, effective = 0;
    size_t n_all = 0;
    for (uint64_t h = 0; h < HISTORIES; h++) {
        float w[STEPS], largest = 0;
        double l1 = 0, l2 = 0;
        size_t n = random_history(&r, w);
        attention_add(a, 0, h * 4, w, n); /* all in period 0 */
        for (size_t i = 0; i < n; i++) {
            sum += (double)w[i];
            l1 += fabs((double)w[i]);
            l2 += (double)w[i] * (double)w[i];
            largest = fmaxf(largest, fabsf(w[i]));
            all[n_all++] = w[i];
        }
        square += l2;
        effective += l2 > 0 ? l1 * l1 / l2 : 0;
        for (size_t i = 0; i < n; i++) {
            ignored += fabsf(w[i]) <= 0.01f * largest;
        }
    }
    struct attention_summary s;
    attention_summarize(a, 0, &s);
    double mean = sum / (double)n_all;
    assert_int_equal(s.examples, HISTORIES);
    assert_near(s.steps, (double)n_all / HISTORIES, 1e-12);
    assert_near(s.mean, mean, 1e-9);
    assert_near(s.sd, sqrt(square / (double)n_all - mean * mean), 1e-9);
    assert_near(s.ignored, ignored / (double)n_all, 1e-12);
    assert_near(s.effective_steps, effective / HISTORIES, 1e-9);
    qsort(all, n_all, sizeof *all, by_value);
    for (int q = 0; q < ATTENTION_QUANTILES; q++) {
        double exact = (double)all[(size_t)ceil(ATTENTION_QUANTILE[q] * (double)n_all) - 1];
        assert_near(s.quantile[q], exact, fabs(exact) / 16.0);
    }
    free(all);
    free(a);
}

/* The extremes: all alike, one alone, zeros, no number, out of the range of the buckets. */
static void test_extremes(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(4);
    struct attention *a = malloc(sizeof *a);
    struct attention_summary s;
    static const struct {
        float w[4];
        double effective, ignored, median;
    } cases[] = {{{0.25f, 0.25f, 0.25f, 0.25f}, 4.0, 0.0, 0.25},
                 {{0.0f, -2.0f, 0.0f, 0.0f}, 1.0, 0.75, 0.0},
                 {{-3.0f, 3.0f, -3.0f, 3.0f}, 4.0, 0.0, -3.0},
                 {{0.0f, 0.0f, 0.0f, 0.0f}, 0.0, 1.0, 0.0},
                 {{1e-9f, 1e-9f, 1e-9f, 1e-9f}, 4.0, 0.0, 0.0},
                 {{1e9f, 1e9f, 1e9f, 1e9f}, 4.0, 0.0, 65536.0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        attention_init(a, &schema, PERIOD);
        attention_summarize(a, 0, &s);
        assert_int_equal(s.examples, 0);
        assert_true(isnan(s.mean) && isnan(s.sd) && isnan(s.quantile[2]) && isnan(s.ignored));
        attention_add(a, 0, 0, cases[i].w, 4);
        attention_summarize(a, 0, &s);
        assert_near(s.effective_steps, cases[i].effective, 1e-6);
        assert_near(s.ignored, cases[i].ignored, 1e-12);
        assert_near(s.quantile[2], cases[i].median, fabs(cases[i].median) / 16.0);
    }
    static const float bad[2] = {1.0f, INFINITY};
    attention_init(a, &schema, PERIOD);
    attention_add(a, 0, 0, bad, 2);
    attention_summarize(a, 0, &s);
    assert_int_equal(s.examples, 0);
    free(a);
}

/* What is older than the period before the newest is gone. */
static void test_periods(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(4);
    struct attention *a = malloc(sizeof *a);
    struct attention_summary s;
    static const float one[1] = {1.0f}, two[1] = {2.0f};
    attention_init(a, &schema, PERIOD);
    for (uint64_t seq = 0; seq < 3 * PERIOD; seq += ATTENTION_EVERY) {
        attention_add(a, 0, seq, seq < PERIOD ? one : two, 1);
        uint64_t first = seq < PERIOD ? 0 : (seq / PERIOD - 1) * PERIOD;
        attention_summarize(a, 0, &s);
        assert_int_equal(s.examples, (seq - first) / ATTENTION_EVERY + 1);
    }
    assert_near(s.mean, 2.0, 0.0);
    free(a);
}

/* ---- in a trainer ---- */

enum { EXAMPLES = 1280, BATCH = 32, N_STEPS = 6 };

struct fixture {
    struct schema schema;
    struct example_stream stream;
};

static void setup(struct fixture *f)
{
    f->schema = example_stream_schema(8);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 3,
                                             .n = EXAMPLES,
                                             .n_users = 40,
                                             .n_steps = N_STEPS,
                                             .n_categories = 12,
                                             .items_a_category = 5,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
}

static uint32_t steps_of(const struct fixture *f, uint32_t i)
{
    return f->stream.sequences[f->stream.examples[i].sequence[0]].n_steps;
}

/* Every 16th example with a history is looked at; softmax weights sum up to 1, and those of `base`
 * are not looked at. */
static void test_every_sixteenth_example(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    uint32_t n = EXAMPLES - EXAMPLES % 33, expected = 0, empty = 0;
    for (uint32_t i = 0; i < n; i++) {
        expected += i % ATTENTION_EVERY == 0 && steps_of(&f, i) > 0;
        empty += i % ATTENTION_EVERY == 0 && steps_of(&f, i) == 0;
    }
    assert_true(empty > 0);
    struct trainer_options o = trainers_options();
    o.batch_max = 33; /* batches begin anywhere */
    o.metrics_window = 2 * EXAMPLES;
    struct trainer_metrics m;
    for (int kind = 0; kind < 3; kind++) {
        o.model.kind = kind < 2 ? MODEL_DIN : MODEL_BASE;
        o.model.unit.normalize = kind == 0 ? UNIT_SOFTMAX : UNIT_NONE;
        o.dropout = kind == 0 ? 0.3 : 0.0; /* the thinned second look is not taken */
        struct trainer *t = trainers_open(&f.schema, &o);
        trainers_feed(t, &f.stream, 0, n);
        trainer_metrics(t, &m);
        trainer_close(t);
        assert_int_equal(m.n_attention, kind < 2);
        if (kind == 2) {
            continue;
        }
        const struct attention_summary *w = &m.attention[0].weights;
        assert_string_equal(m.attention[0].sequence, "clicks");
        assert_int_equal(w->examples, expected);
        assert_near(w->steps, N_STEPS, 0.0);
        assert_in_range((uint64_t)(1000 * w->effective_steps), 1000, 1000 * N_STEPS + 1);
        if (kind == 0) {
            assert_near(w->mean, 1.0 / N_STEPS, 1e-6);
        }
    }
    example_stream_release(&f.stream);
}

/* What is read of example i is the whole of its own history: softmax weights sum up to 1. */
static void test_weights_are_those_of_one_history(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.model.unit.normalize = UNIT_SOFTMAX;
    struct trainer *t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, BATCH);
    uint32_t empty = 0;
    for (uint32_t i = 0; i < BATCH; i++) {
        size_t n;
        const float *w = model_step_weights(t->scratch, 0, i, &n);
        assert_int_equal(n, steps_of(&f, i));
        assert_int_equal(w != NULL, n > 0);
        double sum = 0.0;
        for (size_t k = 0; k < n; k++) {
            assert_true(w[k] > 0.0f && w[k] < 1.0f);
            sum += (double)w[k];
        }
        assert_near(sum, n > 0, 1e-6);
        empty += n == 0;
    }
    assert_in_range(empty, 1, BATCH / 2);
    trainer_close(t);
    example_stream_release(&f.stream);
}

/* M10, for these: restarts and workers change no bit. */
static void test_m10_attention_across_restarts_and_workers(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.metrics_window = 600; /* periods of 300 */
    struct trainer *whole = trainers_open(&f.schema, &o);
    trainers_feed(whole, &f.stream, 0, EXAMPLES);
    assert_true(whole->attention.sequence[0].part[1].sums.examples > 0);
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        o.workers = workers;
        struct trainer *cut = trainers_open(&f.schema, &o);
        for (uint32_t at = 0, to; at < EXAMPLES; at = to) {
            to = at + 7 * BATCH < EXAMPLES ? at + 7 * BATCH : EXAMPLES;
            trainers_feed(cut, &f.stream, at, to);
            cut = trainers_again(cut, &f.schema, &o);
        }
        assert_memory_equal(&whole->attention.sequence, &cut->attention.sequence,
                            sizeof whole->attention.sequence);
        trainer_close(cut);
    }
    trainer_close(whole);
    example_stream_release(&f.stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary_is_its_definition),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_periods),
        cmocka_unit_test(test_every_sixteenth_example),
        cmocka_unit_test(test_weights_are_those_of_one_history),
        cmocka_unit_test(test_m10_attention_across_restarts_and_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
