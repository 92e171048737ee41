#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_slices.c: who is in a slice and what its metrics are, against filters and definitions
 * written plainly over the examples; across restarts, other slices and workers. */
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include "base/hash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 4, BATCH = 32, BATCHES = 24, EXAMPLES = BATCH * BATCHES, WINDOW = 1000, USERS = 30 };
enum { N_STEPS = 8, LATE = 3 * BATCH };

/* Of an example, as it was made: text numbers, so that the slices' own hashing is tested. */
struct fact {
    uint32_t item, n_tags, tag[2], steps;
};

struct fixture {
    struct schema schema;
    struct example_stream stream;
    struct fact fact[EXAMPLES];
};

static uint64_t id_of(const struct schema *s, uint32_t table, uint32_t number)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%u", number);
    return hash_feature(s->tables[table].hash_seed, text, (size_t)len);
}

/* Sequence number n has n steps of items that no candidate ever is. */
static void add_sequences(struct fixture *f)
{
    static const uint8_t one_each[2] = {1, 1};
    uint64_t ids[N_STEPS][2];
    struct example_step steps[N_STEPS];
    for (uint32_t n = 0; n < N_STEPS; n++) {
        ids[n][0] = id_of(&f->schema, 0, 100000 + n);
        ids[n][1] = id_of(&f->schema, 1, n);
        steps[n] = (struct example_step){.counts = one_each, .ids = ids[n]};
        (void)example_stream_sequence(&f->stream, 0, steps, n);
    }
}

/* Items come from a pool that grows, so that some are new all along. */
static void add_example(struct fixture *f, uint32_t i, struct random *r)
{
    struct fact *fact = &f->fact[i];
    uint64_t user = random_below(r, USERS);
    fact->item = (uint32_t)random_below(r, 5 + i);
    fact->steps = (uint32_t)random_below(r, N_STEPS);
    fact->n_tags = (uint32_t)random_below(r, 3);
    uint64_t ids[5] = {id_of(&f->schema, 0, fact->item), id_of(&f->schema, 1, fact->item % 7),
                       id_of(&f->schema, 2, (uint32_t)user)};
    uint8_t counts[STREAM_FIELDS] = {1, 1, 1, (uint8_t)fact->n_tags};
    for (uint32_t k = 0; k < fact->n_tags; k++) {
        fact->tag[k] = (uint32_t)random_below(r, 6);
        ids[3 + k] = id_of(&f->schema, 3, fact->tag[k]);
    }
    bool label = random_unit(r) < (fact->item % 3 == 0 ? 0.6 : 0.2);
    const struct example e = {.impression = i + 1,
                              .user = user + 1,
                              .time_ms = (int64_t)i * 10,
                              .emit_ms = (int64_t)i * 10 + 5,
                              .sample_rate = 0.5f,
                              .kind = label ? EXAMPLE_POSITIVE : EXAMPLE_NEGATIVE,
                              .counts = counts,
                              .ids = ids,
                              .sequence = {fact->steps}};
    (void)example_stream_add(&f->stream, &e);
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){.schema = example_stream_schema(DIM)};
    struct random r = {.state = 11};
    example_stream_init(&f->stream, &f->schema);
    add_sequences(f);
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        add_example(f, i, &r);
    }
}

static void teardown(struct fixture *f)
{
    example_stream_release(&f->stream);
}

static struct slice slice_of(const char *name, uint32_t field, enum slice_is is)
{
    struct slice s = {.field = field, .is = is, .sequence = SLICE_ANY};
    (void)snprintf(s.name, sizeof s.name, "%s", name);
    return s;
}

static struct slice steps_of(const char *name, uint32_t min, uint32_t max)
{
    struct slice s = slice_of(name, SLICE_ANY, SLICE_PRESENT);
    s.sequence = 0;
    s.steps_min = min;
    s.steps_max = max;
    return s;
}

enum { TAGGED, UNTAGGED, TAGS_1_5, COLD, WARM, NO_HISTORY, SOME_HISTORY, COLD_WITHOUT, N_SLICES };

static struct slices_options all_slices(void)
{
    struct slices_options o = {.n = N_SLICES};
    o.slice[TAGGED] = slice_of("tagged", STREAM_TAGS, SLICE_PRESENT);
    o.slice[UNTAGGED] = slice_of("untagged", STREAM_TAGS, SLICE_MISSING);
    o.slice[TAGS_1_5] = slice_of("tags 1 and 5", STREAM_TAGS, SLICE_PRESENT);
    o.slice[TAGS_1_5].n_values = 2;
    (void)strcpy(o.slice[TAGS_1_5].value[0], "1");
    (void)strcpy(o.slice[TAGS_1_5].value[1], "5");
    o.slice[COLD] = slice_of("cold", STREAM_ITEM, SLICE_NEW);
    o.slice[WARM] = slice_of("warm", STREAM_ITEM, SLICE_KNOWN);
    o.slice[NO_HISTORY] = steps_of("no history", 0, 0);
    o.slice[SOME_HISTORY] = steps_of("some", 2, 4);
    o.slice[COLD_WITHOUT] = steps_of("cold without", 0, 0);
    o.slice[COLD_WITHOUT].field = STREAM_ITEM;
    o.slice[COLD_WITHOUT].is = SLICE_NEW;
    return o;
}

/* The definition of each; learned: examples in batches before this one, of which `admission` admit
 * an item. */
static bool is_in(const struct fixture *f, int slice, uint32_t i, uint32_t learned,
                  uint32_t admission)
{
    const struct fact *a = &f->fact[i];
    uint32_t seen = 0;
    bool tag = false;
    for (uint32_t k = 0; k < learned; k++) {
        seen += f->fact[k].item == a->item;
    }
    bool cold = seen < admission;
    for (uint32_t k = 0; k < a->n_tags; k++) {
        tag = tag || a->tag[k] == 1 || a->tag[k] == 5;
    }
    const bool in[N_SLICES] = {[TAGGED] = a->n_tags > 0,
                               [UNTAGGED] = a->n_tags == 0,
                               [TAGS_1_5] = tag,
                               [COLD] = cold,
                               [WARM] = !cold,
                               [NO_HISTORY] = a->steps == 0,
                               [COLD_WITHOUT] = cold && a->steps == 0,
                               [SOME_HISTORY] = a->steps >= 2 && a->steps <= 4};
    return in[slice];
}

static struct trainer_options options(void)
{
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.metrics_window = WINDOW;
    o.slices = all_slices();
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    return o;
}

/* ---- the definitions ---- */

struct row {
    uint64_t user;
    double logit, weight;
    bool label;
};

static double auc_of(const struct row *r, size_t n, uint64_t user)
{
    double won = 0.0, pairs = 0.0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; r[i].label && k < n; k++) {
            bool pair = !r[k].label && (user == 0 || (r[i].user == user && r[k].user == user));
            won += !pair ? 0.0 : r[i].logit > r[k].logit ? 1.0 : r[i].logit == r[k].logit ? 0.5 : 0;
            pairs += pair;
        }
    }
    return won / pairs;
}

static double gauc_of(const struct row *r, size_t n)
{
    double sum = 0.0, all = 0.0;
    for (uint64_t user = 1; user <= USERS; user++) {
        double rows = 0.0, auc = auc_of(r, n, user);
        for (size_t i = 0; i < n; i++) {
            rows += r[i].user == user;
        }
        if (!isnan(auc)) {
            sum += rows * auc;
            all += rows;
        }
    }
    return sum / all;
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance || (isnan(a) && isnan(b)))) {
        fail_msg("%.12g is not %.12g", a, b);
    }
}

/* Every number of a summary from its definition. */
static void assert_summary(const struct metrics_summary *m, const struct row *r, size_t n)
{
    double weight = 0, loss = 0, p_sum = 0, labels = 0, bin[METRICS_BINS][2] = {{0}}, ece = 0;
    for (size_t i = 0; i < n; i++) {
        double p = 1.0 / (1.0 + exp(-r[i].logit));
        weight += r[i].weight;
        loss -= r[i].weight * (r[i].label ? log(p) : log1p(-p));
        p_sum += r[i].weight * p;
        labels += r[i].label;
        bin[(int)(p * METRICS_BINS)][0] += r[i].weight * p;
        bin[(int)(p * METRICS_BINS)][1] += r[i].label;
    }
    for (int b = 0; b < METRICS_BINS; b++) {
        ece += fabs(bin[b][0] - bin[b][1]) / weight;
    }
    double rate = labels / weight, entropy = -rate * log(rate) - (1 - rate) * log(1 - rate);
    assert_int_equal(m->examples, n);
    assert_int_equal(m->window_examples, n);
    assert_near((double)m->positives, labels, 0);
    assert_near(m->window_auc, auc_of(r, n, 0), 1e-12);
    assert_near(m->auc, auc_of(r, n, 0), 1e-3);
    assert_near(m->gauc, gauc_of(r, n), 1e-12);
    const double both[][2] = {{m->logloss, m->window_logloss},
                              {m->normalized_entropy, m->window_normalized_entropy},
                              {m->calibration, m->window_calibration},
                              {m->ece, m->window_ece}};
    const double expected[] = {loss / weight, loss / weight / entropy, p_sum / labels, ece};
    for (size_t i = 0; i < 4; i++) {
        assert_near(both[i][0], expected[i], 1e-9);
        assert_near(both[i][1], expected[i], 1e-9);
    }
}

/* Each slice is what a plain filter makes of the predictions, and so are its metrics. */
static void compare_with_filters(uint32_t admission)
{
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    o.admission = admission;
    struct trainer *t = trainers_open(&f.schema, &o);
    struct row(*rows)[EXAMPLES] = calloc(N_SLICES, sizeof *rows);
    size_t n[N_SLICES] = {0};
    for (uint32_t from = 0; from < EXAMPLES; from += BATCH) {
        trainers_feed(t, &f.stream, from, from + BATCH);
        for (uint32_t i = from; i < from + BATCH; i++) {
            const struct example *e = &f.stream.examples[i];
            bool label = e->kind == EXAMPLE_POSITIVE;
            const struct row row = {.user = e->user,
                                    .logit = (double)t->logit[i - from],
                                    .weight = label ? 1.0 : 2.0,
                                    .label = label};
            for (int k = 0; k < N_SLICES; k++) {
                if (is_in(&f, k, i, from, admission)) {
                    rows[k][n[k]++] = row;
                }
            }
        }
    }
    struct trainer_slices s;
    trainer_slices(t, &s);
    assert_int_equal(s.n, N_SLICES);
    for (int k = 0; k < N_SLICES; k++) {
        assert_string_equal(s.slice[k].name, o.slices.slice[k].name);
        assert_in_range(n[k], 30, EXAMPLES - 30);
        assert_summary(&s.slice[k].metrics, rows[k], n[k]);
    }
    assert_int_equal(n[COLD] + n[WARM], EXAMPLES);
    assert_int_equal(n[TAGGED] + n[UNTAGGED], EXAMPLES);
    free(rows);
    trainer_close(t);
    teardown(&f);
}

static void test_slices_are_filters(void **state)
{
    (void)state;
    compare_with_filters(1);
}

/* What waits for a row of its own is new. */
static void test_waiting_ids_are_new(void **state)
{
    (void)state;
    compare_with_filters(2);
}

/* ---- restarts ---- */

static bool same_metrics(const struct metrics *a, const struct metrics *b)
{
    return a->examples == b->examples && a->positives == b->positives &&
           memcmp(&a->sums, &b->sums, sizeof a->sums) == 0 &&
           memcmp(a->bin, b->bin, sizeof a->bin) == 0 &&
           memcmp(a->bucket, b->bucket, METRICS_BUCKETS * sizeof *a->bucket) == 0 &&
           a->window_n == b->window_n &&
           memcmp(a->window, b->window, a->window_n * sizeof *a->window) == 0;
}

/* M10, for the slices: restarts and workers change nothing, and neither do slices the model. */
static void test_m10_slices_across_restarts_and_workers(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options(), none = options();
    none.slices.n = 0;
    struct trainer *whole = trainers_open(&f.schema, &o),
                   *without = trainers_open(&f.schema, &none);
    trainers_feed(whole, &f.stream, 0, EXAMPLES);
    trainers_feed(without, &f.stream, 0, EXAMPLES);
    assert_true(trainers_equal(whole, without));
    trainer_close(without);
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        o.workers = workers;
        struct trainer *cut = trainers_open(&f.schema, &o);
        for (uint32_t at = 0, to; at < EXAMPLES; at = to) {
            to = at + 5 * BATCH < EXAMPLES ? at + 5 * BATCH : EXAMPLES;
            trainers_feed(cut, &f.stream, at, to);
            cut = trainers_again(cut, &f.schema, &o);
        }
        assert_true(trainers_equal(whole, cut));
        for (int k = 0; k < N_SLICES; k++) {
            assert_true(same_metrics(&whole->slices.metrics[k], &cut->slices.metrics[k]));
        }
        trainer_close(cut);
    }
    trainer_close(whole);
    teardown(&f);
}

/* Of another configuration: the same slice goes on wherever it stands, another condition and
 * another name begin empty, what is gone is gone. */
static void test_other_slices_on_a_state(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options(), other = options();
    other.slices.n = 3;
    other.slices.slice[0] = o.slices.slice[NO_HISTORY];
    other.slices.slice[1] = steps_of("some", 2, 5);
    other.slices.slice[2] = slice_of("renamed", STREAM_TAGS, SLICE_PRESENT);
    struct trainer *t = trainers_open(&f.schema, &o), *whole = trainers_open(&f.schema, &o);
    trainers_feed(whole, &f.stream, 0, EXAMPLES);
    trainers_feed(t, &f.stream, 0, EXAMPLES / 2);
    uint64_t before = t->slices.metrics[NO_HISTORY].examples;
    t = trainers_again(t, &f.schema, &other);
    assert_true(before > 0);
    assert_int_equal(t->slices.metrics[0].examples, before);
    assert_int_equal(t->slices.metrics[1].examples, 0);
    assert_int_equal(t->slices.metrics[1].window_n, 0);
    assert_int_equal(t->slices.metrics[2].examples, 0);
    t = trainers_again(t, &f.schema, &o);
    assert_int_equal(t->slices.metrics[NO_HISTORY].examples, before);
    assert_int_equal(t->slices.metrics[SOME_HISTORY].examples, 0);
    assert_int_equal(t->slices.metrics[TAGGED].examples, 0);
    trainers_feed(t, &f.stream, EXAMPLES / 2, EXAMPLES);
    assert_true(same_metrics(&t->slices.metrics[NO_HISTORY], &whole->slices.metrics[NO_HISTORY]));
    for (int k = 0; k < 3; k++) { /* values count too */
        struct trainer_options values = options();
        struct slice *slice = &values.slices.slice[TAGS_1_5];
        (void)strcpy(slice->value[1], k == 0 ? "5" : k == 1 ? "4" : "");
        slice->n_values = k == 2 ? 1 : 2;
        struct trainer *again = trainers_open(&f.schema, &o);
        trainers_feed(again, &f.stream, 0, EXAMPLES / 2);
        again = trainers_again(again, &f.schema, &values);
        assert_int_equal(again->slices.metrics[TAGS_1_5].examples > 0, k == 0);
        trainer_close(again);
    }
    trainer_close(t);
    trainer_close(whole);
    teardown(&f);
}

/* ---- revisions ---- */

/* With the second half's clicks as corrections of negatives in the first: by what an example
 * carries, a slice counts each impression once and by its last label; by what is known, by its
 * first. */
static void test_corrections(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    uint32_t clicks = 0, n = f.stream.n;
    for (uint32_t i = 0; i < n; i++) {
        f.stream.examples[i].kind = EXAMPLE_NEGATIVE;
    }
    for (uint32_t i = 0; i < LATE; i++) {
        struct example e = f.stream.examples[3 * i];
        e.kind = EXAMPLE_CORRECTION;
        e.emit_ms = f.stream.examples[n - 1].emit_ms;
        clicks += f.fact[3 * i].steps == 0;
        (void)example_stream_add(&f.stream, &e);
    }
    struct trainer *t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, n);
    struct trainer_slices before, after;
    trainer_slices(t, &before);
    trainers_feed(t, &f.stream, n, n + LATE);
    trainer_slices(t, &after);
    assert_true(clicks > 0);
    for (int k = 0; k < N_SLICES; k++) {
        const struct metrics_summary *a = &before.slice[k].metrics, *b = &after.slice[k].metrics;
        assert_int_equal(b->examples, a->examples);
        assert_int_equal(b->window_examples, a->window_examples);
    }
    assert_int_equal(after.slice[NO_HISTORY].metrics.positives, clicks);
    assert_int_equal(after.slice[COLD].metrics.positives, 0);
    assert_int_equal(after.slice[WARM].metrics.positives, 0);
    trainer_close(t);
    teardown(&f);
}

/* An id that only a skipped batch held is new, whether or not its row was touched. */
static void test_skipped_batches_make_nothing_known(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    o.expire_after_ms = INT64_C(86400000) * 100;
    struct trainer *t = trainers_open(&f.schema, &o);
    float *weight = model_values(t->model), kept = weight[0];
    weight[0] = INFINITY;
    trainers_feed(t, &f.stream, 0, BATCH);
    assert_int_equal(t->counters.batches_skipped, 1);
    weight[0] = kept;
    struct example_block block = example_stream_block(&f.stream, 0, BATCH);
    block.first_seq = BATCH;
    struct undine_err err = {0};
    for (int k = 0; k < 2; k++, block.first_seq += BATCH) {
        assert_int_equal(trainer_learn(t, &block, UINT32_MAX, &err), 1);
        assert_int_equal(t->slices.metrics[COLD].examples, BATCH);
        assert_int_equal(t->slices.metrics[WARM].examples, k * BATCH);
    }
    trainer_close(t);
    teardown(&f);
}

static void test_options(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(DIM);
    struct slices_options o = all_slices();
    struct undine_err err = {0};
    assert_int_equal(slices_check(&o, &schema, &err), UNDINE_OK);
    (void)strcpy(o.slice[3].name, o.slice[1].name);
    assert_int_equal(slices_check(&o, &schema, &err), UNDINE_ECONFIG);
    assert_string_equal(err.msg, "slice `untagged` is there twice");
    const struct slice wrong[] = {slice_of("x", 4, SLICE_PRESENT),
                                  slice_of("x", SLICE_ANY, SLICE_PRESENT), steps_of("x", 2, 1)};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        o = (struct slices_options){.n = 1, .slice = {wrong[i]}};
        assert_int_equal(slices_check(&o, &schema, &err), UNDINE_ECONFIG);
    }
    o = (struct slices_options){.n = 1, .slice = {slice_of("x", 0, SLICE_NEW)}};
    o.slice[0].n_values = 1;
    assert_int_equal(slices_check(&o, &schema, &err), UNDINE_ECONFIG);
    o.n = SLICES_MAX + 1;
    assert_int_equal(slices_check(&o, &schema, &err), UNDINE_ECONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_are_filters),
        cmocka_unit_test(test_waiting_ids_are_new),
        cmocka_unit_test(test_m10_slices_across_restarts_and_workers),
        cmocka_unit_test(test_other_slices_on_a_state),
        cmocka_unit_test(test_corrections),
        cmocka_unit_test(test_skipped_batches_make_nothing_known),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
