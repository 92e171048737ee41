#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/snapshot_metrics.h"
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 8, EXAMPLES = 600 };

struct fixture {
    struct schema schema;
    struct example_stream stream;
};

static void setup(struct fixture *f)
{
    f->schema = example_stream_schema(DIM);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 3,
                                             .n = EXAMPLES,
                                             .n_users = 40,
                                             .n_steps = 6,
                                             .n_categories = 12,
                                             .items_a_category = 5,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
}

static void teardown(struct fixture *f)
{
    example_stream_release(&f->stream);
}

/* The stream's first example e, alone in a batch. */
static const struct table_row *row_of(const struct trainer *t, uint32_t table, uint64_t key)
{
    uint32_t row = table_find(&t->table[table], key);
    return row == TABLE_NONE ? NULL : table_row(&t->table[table], row);
}

static bool in_batch(const struct trainer *t, uint32_t k, uint32_t row)
{
    const struct batch_builder_table *b = &t->builder->table[k];
    for (uint32_t i = 0; i < b->n_rows; i++) {
        if (b->row[i] == row) {
            return true;
        }
    }
    return false;
}

/* M1: a batch leaves every row that it does not hold as it was, to the bit. */
static void test_m1_only_touched_rows_change(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    o.optimizer.kind = OPTIMIZER_ADAM;
    o.optimizer.rate = 0.01;
    struct trainer *t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, 320);
    struct table *items = &t->table[0];
    uint32_t n = items->n_rows;
    uint8_t *before = calloc(n, items->row_bytes);
    for (uint32_t row = 0; row < n; row++) {
        memcpy(before + row * items->row_bytes, table_row(items, row), items->row_bytes);
    }
    trainers_feed(t, &f.stream, 320, 352);
    uint32_t touched = 0, untouched = 0;
    size_t head = offsetof(struct table_row, local), tail = offsetof(struct table_row, value);
    for (uint32_t row = 0; row < n; row++) {
        const uint8_t *now = (const uint8_t *)table_row(items, row);
        const uint8_t *then = before + row * items->row_bytes;
        bool equal = memcmp(now, then, head) == 0 &&
                     memcmp(now + tail, then + tail, items->row_bytes - tail) == 0;
        assert_int_equal(equal, !in_batch(t, 0, row));
        touched += !equal;
        untouched += equal;
    }
    assert_true(touched > 0 && untouched > 0);
    free(before);
    trainer_close(t);
    teardown(&f);
}

/* A row's stamp is the number of the step that last touched it. */
static void test_rows_are_stamped_with_their_last_step(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct trainer *t = trainers_open(&f.schema, &o);
    uint64_t key = f.stream.examples[0].ids[0];
    trainers_feed(t, &f.stream, 0, 32);
    assert_int_equal(row_of(t, 0, key)->stamp, 1);
    uint32_t stamp = 1;
    for (uint32_t step = 2; step <= 8; step++) {
        trainers_feed(t, &f.stream, 32 * (step - 1), 32 * step);
        uint32_t row = table_find(&t->table[0], key);
        stamp = in_batch(t, 0, row) ? step : stamp;
        assert_int_equal(table_row(&t->table[0], row)->stamp, stamp);
    }
    assert_true(stamp > 1);
    trainer_close(t);
    teardown(&f);
}

/* M2: lambda = 0 is the plain optimizer, to the bit. */
static void test_m2_no_lambda_is_the_plain_optimizer(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct trainer *plain = trainers_open(&f.schema, &o);
    o.regularizer.form = REGULARIZER_COUNT;
    struct trainer *off = trainers_open(&f.schema, &o);
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    struct trainer *on = trainers_open(&f.schema, &o);
    trainers_feed(plain, &f.stream, 0, EXAMPLES);
    trainers_feed(off, &f.stream, 0, EXAMPLES);
    trainers_feed(on, &f.stream, 0, EXAMPLES);
    assert_true(trainers_equal(plain, off));
    assert_false(trainers_equal(plain, on));
    trainer_close(plain);
    trainer_close(off);
    trainer_close(on);
    teardown(&f);
}

static bool example_holds(const struct fixture *f, uint32_t e, uint64_t key)
{
    const struct example *x = &f->stream.examples[e];
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->schema.n_fields; i++) {
        n += x->counts[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        if (x->ids[i] == key) {
            return true;
        }
    }
    const struct example_sequence *q = &f->stream.sequences[x->sequence[0]];
    for (uint32_t t = 0; t < q->n_steps; t++) {
        if (q->words[4 * t + 2] == key || q->words[4 * t + 3] == key) {
            return true;
        }
    }
    return false;
}

/* M6, M9, M12: n_j is the number of examples that held the id, so Eq. 4 holds: summed over all
 * instances, I / n_j |w_j|^2 is |W|^2.  Ids of no example have no row. */
static void test_m6_m9_m12_counts_are_instances(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct trainer *t = trainers_open(&f.schema, &o);
    enum { SEEN = 320 };
    trainers_feed(t, &f.stream, 0, SEEN);
    double by_instances = 0.0, by_rows = 0.0;
    for (uint32_t k = 0; k < f.schema.n_tables; k++) {
        for (uint32_t row = 0; row < t->table[k].n_rows; row++) {
            const struct table_row *r = table_row(&t->table[k], row);
            double norm = 0.0;
            for (uint32_t d = 0; d < DIM; d++) {
                norm += (double)r->value[d] * (double)r->value[d];
            }
            by_rows += norm;
            uint32_t held = 0;
            for (uint32_t e = 0; e < SEEN; e++) {
                held += example_holds(&f, e, r->key);
            }
            assert_true(held >= 1 && r->count == (float)held);
            by_instances += (double)held / (double)r->count * norm;
        }
    }
    assert_true(fabs(by_instances - by_rows) <= 1e-12 * by_rows);
    trainer_close(t);
    teardown(&f);
}

/* M7: one batch that is the whole data, counted (Eq. 5): plain L2 of every row. */
static void test_m7_a_full_batch_is_plain_l2(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.batch_max = EXAMPLES;
    o.optimizer.kind = OPTIMIZER_SGD;
    struct trainer *plain = trainers_open(&f.schema, &o);
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.5;
    o.regularizer.form = REGULARIZER_COUNT;
    struct trainer *mba = trainers_open(&f.schema, &o);
    trainers_feed(plain, &f.stream, 0, EXAMPLES);
    trainers_feed(mba, &f.stream, 0, EXAMPLES);
    for (uint32_t row = 0; row < plain->table[0].n_rows; row++) {
        const struct table_row *x = table_row(&plain->table[0], row);
        const struct table_row *y = row_of(mba, 0, x->key);
        float start[DIM];
        row_initial(start, DIM, x->key, &plain->table[0].opt.init);
        for (uint32_t d = 0; d < DIM; d++) {
            double expected = (double)x->value[d] - 0.1 * 0.5 * (double)start[d];
            assert_true(fabs((double)y->value[d] - expected) < 1e-7);
        }
    }
    trainer_close(plain);
    trainer_close(mba);
    teardown(&f);
}

/* M11: the order of ids in a bag and of steps in a history changes nothing but rounding. */
static void test_m11_order_of_ids_does_not_matter(void **state)
{
    (void)state;
    struct fixture f, g;
    setup(&f);
    setup(&g);
    for (uint32_t i = 0; i < g.stream.n_sequences; i++) {
        struct example_sequence *q = &g.stream.sequences[i];
        uint64_t *words = arena_alloc(&g.stream.memory, (size_t)q->n_words * 8 + 8);
        for (uint32_t t = 0; t < q->n_steps; t++) {
            memcpy(words + 4 * t, q->words + 4 * (q->n_steps - 1 - t), 32);
        }
        q->words = words;
    }
    struct trainer_options o = trainers_options();
    o.optimizer.kind = OPTIMIZER_SGD;
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    struct trainer *a = trainers_open(&f.schema, &o), *b = trainers_open(&g.schema, &o);
    trainers_feed(a, &f.stream, 0, 64);
    trainers_feed(b, &g.stream, 0, 64);
    for (uint32_t row = 0; row < a->table[0].n_rows; row++) {
        const struct table_row *x = table_row(&a->table[0], row);
        const struct table_row *y = row_of(b, 0, x->key);
        assert_non_null(y);
        assert_true(x->count == y->count);
        for (uint32_t d = 0; d < DIM; d++) {
            assert_true(fabsf(x->value[d] - y->value[d]) < 1e-6f);
        }
    }
    trainer_close(a);
    trainer_close(b);
    teardown(&f);
    teardown(&g);
}

/* O4: the norm that is clipped is that of merged rows and dense parameters together. */
static void test_o4_clip_is_of_the_whole_merged_gradient(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.optimizer.kind = OPTIMIZER_SGD;
    o.optimizer.rate = o.optimizer.dense_rate = 1.0;
    o.clip_norm = 1e-2;
    struct trainer *t = trainers_open(&f.schema, &o);
    size_t n = model_n_values(t->model);
    float *before = malloc(n * sizeof *before);
    memcpy(before, model_values(t->model), n * sizeof *before);
    trainers_feed(t, &f.stream, 0, 32);
    double sum = 0.0;
    size_t n_params;
    const struct model_param *p = model_params(t->model, &n_params);
    for (size_t i = 0; i < n_params; i++) {
        for (size_t k = 0; p[i].trained && k < (size_t)p[i].rows * p[i].cols; k++) {
            double d =
                (double)model_values(t->model)[p[i].offset + k] - (double)before[p[i].offset + k];
            sum += d * d;
        }
    }
    for (uint32_t k = 0; k < f.schema.n_tables; k++) {
        for (uint32_t row = 0; row < t->table[k].n_rows; row++) {
            const struct table_row *r = table_row(&t->table[k], row);
            float start[DIM];
            row_initial(start, DIM, r->key, &t->table[k].opt.init);
            for (uint32_t d = 0; d < DIM; d++) {
                double diff = (double)r->value[d] - (double)start[d];
                sum += diff * diff;
            }
        }
    }
    assert_true(fabs(sqrt(sum) - 1e-2) < 1e-5);
    free(before);
    trainer_close(t);
    teardown(&f);
}

/* With SGD a row moves by rate times gradient, so rows say with which rate they were learned: a
 * table's own one, all of them times the schedule's factor. */
static void test_rates_of_tables_and_schedule(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.optimizer.kind = OPTIMIZER_SGD;
    o.optimizer.rate = o.optimizer.dense_rate = 0.1;
    struct trainer *plain = trainers_open(&f.schema, &o);
    o.table_rate[0] = 0.4;
    o.schedule.warmup = 64; /* the first 32 examples learn at half the rate */
    struct trainer *other = trainers_open(&f.schema, &o);
    trainers_feed(plain, &f.stream, 0, 32);
    trainers_feed(other, &f.stream, 0, 32);
    const double expected[2] = {2.0, 0.5};
    for (uint32_t k = 0; k < 2; k++) {
        double moved = 0.0, moved_other = 0.0;
        for (uint32_t row = 0; row < plain->table[k].n_rows; row++) {
            const struct table_row *r = table_row(&plain->table[k], row);
            const struct table_row *s = row_of(other, k, r->key);
            float start[DIM];
            row_initial(start, DIM, r->key, &plain->table[k].opt.init);
            moved += fabs((double)r->value[0] - (double)start[0]);
            moved_other += fabs((double)s->value[0] - (double)start[0]);
        }
        assert_true(moved > 0.0);
        assert_true(fabs(moved_other / moved - expected[k]) < 1e-2);
    }
    trainer_close(plain);
    trainer_close(other);
    teardown(&f);
}

/* What FTRL cannot do beside itself is refused by name. */
static void test_ftrl_refuses_schedules_and_decoupled_decay(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct undine_err err;
    struct trainer *t;
    struct trainer_options o = trainers_options();
    o.optimizer.kind = OPTIMIZER_FTRL;
    o.optimizer.beta = 1.0;
    o.schedule.warmup = 10;
    assert_int_equal(trainer_open(&t, &f.schema, &o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "optimizer.warmup"));
    o.schedule.warmup = 0;
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    o.regularizer.decoupled = true;
    assert_int_equal(trainer_open(&t, &f.schema, &o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "optimizer.l2"));
    o.regularizer.decoupled = false;
    t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, EXAMPLES);
    assert_int_equal(t->counters.batches_skipped, 0);
    trainer_close(t);
    teardown(&f);
}

/* A prediction is that of the model before its batch: the first batch scores with initial weights.
 */
static void test_predicts_before_it_learns(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct trainer *slow = trainers_open(&f.schema, &o);
    o.optimizer.rate = 0.9;
    o.optimizer.dense_rate = 0.9;
    struct trainer *fast = trainers_open(&f.schema, &o);
    trainers_feed(slow, &f.stream, 0, 32);
    trainers_feed(fast, &f.stream, 0, 32);
    assert_memory_equal(slow->metrics.window, fast->metrics.window,
                        32 * sizeof *slow->metrics.window);
    trainers_feed(slow, &f.stream, 32, 64);
    trainers_feed(fast, &f.stream, 32, 64);
    assert_memory_not_equal(slow->metrics.window, fast->metrics.window,
                            64 * sizeof *slow->metrics.window);
    trainer_close(slow);
    trainer_close(fast);
    teardown(&f);
}

/* Negatives kept at rate r: the loss sees sigmoid(z - ln r), the metrics sigmoid(z) and 1/r. */
static void test_sampled_negatives(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.optimizer.kind = OPTIMIZER_SGD;
    struct trainer *t = trainers_open(&f.schema, &o);
    for (uint32_t i = 0; i < 32; i++) {
        f.stream.examples[i].sample_rate = 0.1f;
    }
    trainers_feed(t, &f.stream, 0, 32);
    double weight = 0.0;
    for (uint32_t i = 0; i < 32; i++) {
        double z = (double)t->logit[i] + log(10.0);
        double y = f.stream.examples[i].kind == EXAMPLE_POSITIVE ? 1.0 : 0.0;
        double expected = (1.0 / (1.0 + exp(-z)) - y) / 32.0;
        assert_true(fabs((double)t->dlogit[i] - expected) < 1e-6);
        weight += y > 0.0 ? 1.0 : 10.0;
    }
    assert_true(fabs(t->metrics.sums.weight - weight) < 1e-5);
    trainer_close(t);
    teardown(&f);
}

/* Weights that make the forward pass overflow: the batch is skipped, nothing else changes. */
static void test_non_finite_batches_are_skipped(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.model.mlp.activation = ACT_DICE;
    o.model.unit.activation = ACT_DICE;
    struct trainer *t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, 64);
    uint64_t bad_key = f.stream.examples[64].ids[0];
    uint32_t bad_row;
    assert_int_equal(table_need(&t->table[0], &bad_key, &bad_row, 1, NULL), 0);
    float kept = table_row(&t->table[0], bad_row)->value[0];
    float count = table_row(&t->table[0], bad_row)->count;
    table_row(&t->table[0], bad_row)->value[0] = INFINITY;
    size_t n = model_n_values(t->model);
    float *before = malloc(n * sizeof *before);
    memcpy(before, model_values(t->model), n * sizeof *before);
    uint64_t predicted = t->metrics.examples;
    trainers_feed(t, &f.stream, 64, 96);
    assert_int_equal(t->counters.batches_skipped, 1);
    assert_int_equal(t->counters.batches, 3);
    assert_int_equal(trainer_seq(t), 96);
    assert_int_equal(t->metrics.examples, predicted);
    assert_memory_equal(before, model_values(t->model), n * sizeof *before);
    assert_true(table_row(&t->table[0], bad_row)->count == count);
    table_row(&t->table[0], bad_row)->value[0] = kept;
    trainers_feed(t, &f.stream, 96, 128);
    assert_int_equal(t->counters.batches_skipped, 1);
    assert_memory_not_equal(before, model_values(t->model), n * sizeof *before);
    free(before);
    trainer_close(t);
    teardown(&f);
}

static void test_forgetting_a_user(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct trainer *t = trainers_open(&f.schema, &o);
    uint64_t user_id = f.stream.examples[3].ids[2], item = f.stream.examples[3].ids[0];
    f.stream.examples[40].kind = EXAMPLE_FORGET;
    f.stream.examples[40].counts = (const uint8_t[]){0, 0, 1, 0};
    f.stream.examples[40].ids = &user_id;
    trainers_feed(t, &f.stream, 0, 40);
    assert_non_null(row_of(t, 2, user_id));
    assert_int_equal(trainer_seq(t), 32);
    trainers_feed(t, &f.stream, 40, 41); /* closes the open batch of 8, then forgets */
    assert_int_equal(trainer_seq(t), 41);
    assert_int_equal(t->counters.batches, 2);
    assert_int_equal(t->counters.examples, 40);
    assert_null(row_of(t, 2, user_id));
    assert_non_null(row_of(t, 0, item));
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    assert_int_equal(m.rows_forgotten, 1);
    assert_int_equal(t->table[2].n_tombstones, 1);
    trainer_close(t);
    teardown(&f);
}

/* M10: a copy that is put back goes on as if nothing had happened: weights, slots, counts, metrics.
 */
static void test_m10_restore_goes_on_bit_for_bit(void **state)
{
    (void)state;
    static const enum optimizer_kind kinds[] = {OPTIMIZER_SGD, OPTIMIZER_ADAGRAD, OPTIMIZER_ADAM,
                                                OPTIMIZER_FTRL};
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct trainer_options o = trainers_options();
        o.optimizer.kind = kinds[i];
        o.optimizer.rate = 0.01;
        o.regularizer.kind = REGULARIZER_MBA;
        o.regularizer.lambda = 0.01;
        o.metrics_window = 100; /* full, and not at its beginning, at the moment of the copy */
        o.model.mlp.activation = ACT_DICE;
        struct trainer *whole = trainers_open(&f.schema, &o);
        trainers_feed(whole, &f.stream, 0, 333);
        struct snapshot *s = NULL;
        assert_int_equal(trainer_snapshot(whole, &s, NULL), 0);
        assert_int_equal(s->trained_seq, 320);
        assert_int_equal(snapshot_metrics_attach(s, NULL), 0);
        assert_non_null(strstr(s->metrics_json, "\"examples\":320"));
        trainers_feed(whole, &f.stream, 333, EXAMPLES);

        struct trainer *again = trainers_open(&f.schema, &o);
        assert_int_equal(snapshot_sort(s, NULL), 0); /* rows in another order than they came */
        struct undine_err err = {0};
        assert_int_equal(trainer_restore(again, s, &err), 0);
        snapshot_free(s);
        assert_int_equal(trainer_seq(again), 320);
        trainers_feed(again, &f.stream, 320, EXAMPLES);
        assert_true(trainers_equal(whole, again));
        struct trainer_metrics a, b;
        trainer_metrics(whole, &a);
        trainer_metrics(again, &b);
        assert_true(a.gauc == b.gauc && a.window_auc == b.window_auc && a.auc == b.auc);
        assert_true(a.ece == b.ece && a.window_ece == b.window_ece && a.ece > 0.0);
        assert_memory_equal(a.bin, b.bin, sizeof a.bin);
        assert_true(a.window_logloss == b.window_logloss && a.popularity_auc == b.popularity_auc);
        assert_int_equal(a.rows, b.rows);
        trainer_close(whole);
        trainer_close(again);
    }
    teardown(&f);
}

/* M10: examples that are learned already are not learned again, neither by the trainer that learned
 * them nor by one restored behind them: what comes again is passed over up to where it is new. */
static void test_m10_what_is_learned_is_not_learned_again(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct undine_err err = {0};
    struct snapshot *s = NULL;
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    struct trainer *once = trainers_open(&f.schema, &o), *again = trainers_open(&f.schema, &o);
    trainers_feed(once, &f.stream, 0, 320);
    assert_int_equal(trainer_snapshot(once, &s, &err), 0);
    assert_int_equal(trainer_restore(again, s, &err), 0);
    snapshot_free(s);
    struct example_block old = example_stream_block(&f.stream, 0, 320);
    assert_int_equal(trainer_learn(once, &old, UINT32_MAX, &err), 0);
    assert_int_equal(trainer_learn(again, &old, UINT32_MAX, &err), 0);
    assert_true(trainers_equal(once, again));
    assert_int_equal(again->counters.steps, 10);
    trainers_feed(once, &f.stream, 320, EXAMPLES);
    trainers_feed(again, &f.stream, 64, EXAMPLES);
    assert_true(trainers_equal(once, again));
    assert_int_equal(again->counters.examples, trainer_seq(again));
    trainer_close(once);
    trainer_close(again);
    teardown(&f);
}

static void test_restore_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct trainer *t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, 64);
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
    struct undine_err err = {0};

    struct trainer_options other = o;
    other.optimizer.kind = OPTIMIZER_ADAM;
    struct trainer *adam = trainers_open(&f.schema, &other);
    assert_int_equal(trainer_restore(adam, s, &err), UNDINE_ESTATE);
    trainer_close(adam);

    other = o;
    other.model.mlp.hidden[0] = 33;
    struct trainer *wide = trainers_open(&f.schema, &other);
    assert_int_equal(trainer_restore(wide, s, &err), UNDINE_ESTATE);
    trainer_close(wide);

    s->n_train = 0;
    struct trainer *bare = trainers_open(&f.schema, &o);
    assert_int_equal(trainer_restore(bare, s, &err), UNDINE_ESTATE);
    trainer_close(bare);
    snapshot_free(s);
    trainer_close(t);
    teardown(&f);
}

static void test_the_memory_bound_stops_training(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct trainer *t = trainers_open(&f.schema, &o);
    o.memory_max_bytes = t->budget.used_bytes + 100000; /* not even a segment for every table */
    trainer_close(t);
    t = trainers_open(&f.schema, &o);
    struct example_block block = example_stream_block(&f.stream, 0, EXAMPLES);
    struct undine_err err = {0};
    assert_int_equal(trainer_learn(t, &block, UINT32_MAX, &err), UNDINE_EFULL);
    assert_true(t->budget.used_bytes <= o.memory_max_bytes);
    trainer_close(t);
    teardown(&f);
}

/* Another thread asks while training goes on: its answers are whole and only move forward. */
struct watch {
    struct trainer *trainer;
    atomic_bool stop;
    uint64_t asked;
    bool ok;
};

static void *watch_metrics(void *payload)
{
    struct watch *w = payload;
    uint64_t seen = 0;
    w->ok = true;
    while (!atomic_load(&w->stop)) {
        struct trainer_metrics m;
        trainer_metrics(w->trainer, &m);
        w->ok = w->ok && m.examples >= seen && m.positives <= m.examples;
        seen = m.examples;
        w->asked++;
    }
    return NULL;
}

static void test_metrics_from_another_thread(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct watch w = {.trainer = trainers_open(&f.schema, &o)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch_metrics, &w), 0);
    for (uint32_t i = 0; i < EXAMPLES; i += 20) {
        trainers_feed(w.trainer, &f.stream, i, i + 20);
    }
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(w.ok);
    trainer_close(w.trainer);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m1_only_touched_rows_change),
        cmocka_unit_test(test_rows_are_stamped_with_their_last_step),
        cmocka_unit_test(test_m2_no_lambda_is_the_plain_optimizer),
        cmocka_unit_test(test_m6_m9_m12_counts_are_instances),
        cmocka_unit_test(test_m7_a_full_batch_is_plain_l2),
        cmocka_unit_test(test_m11_order_of_ids_does_not_matter),
        cmocka_unit_test(test_o4_clip_is_of_the_whole_merged_gradient),
        cmocka_unit_test(test_rates_of_tables_and_schedule),
        cmocka_unit_test(test_ftrl_refuses_schedules_and_decoupled_decay),
        cmocka_unit_test(test_predicts_before_it_learns),
        cmocka_unit_test(test_sampled_negatives),
        cmocka_unit_test(test_non_finite_batches_are_skipped),
        cmocka_unit_test(test_forgetting_a_user),
        cmocka_unit_test(test_m10_restore_goes_on_bit_for_bit),
        cmocka_unit_test(test_m10_what_is_learned_is_not_learned_again),
        cmocka_unit_test(test_restore_refuses_what_does_not_fit),
        cmocka_unit_test(test_the_memory_bound_stops_training),
        cmocka_unit_test(test_metrics_from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
