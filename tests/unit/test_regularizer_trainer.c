/* Every regularizer inside a trainer: through a checkpoint on disk, l2 against an eager twin, fixed
 * counts from an earlier version, and what they are worth where rare ids carry noise. */
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

enum { DIM = 8, EXAMPLES = 600, HALF = 320 };

struct fixture {
    struct schema schema;
    struct example_stream stream;
    char dir[64];
};

static const struct example_stream_plan PLAN = {.seed = 3,
                                                .n = EXAMPLES,
                                                .n_users = 40,
                                                .n_steps = 6,
                                                .n_categories = 12,
                                                .items_a_category = 5,
                                                .noise = 0.1};

static void setup_plan(struct fixture *f, const struct example_stream_plan *plan)
{
    f->schema = example_stream_schema(DIM);
    example_stream_init(&f->stream, &f->schema);
    example_stream_plant(&f->stream, plan);
    (void)snprintf(f->dir, sizeof f->dir, "test_regularizer_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
}

static void setup(struct fixture *f)
{
    setup_plan(f, &PLAN);
}

static void teardown(struct fixture *f)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    example_stream_release(&f->stream);
}

/* Write what the trainer is, and read it back. */
static struct snapshot *through_disk(const struct fixture *f, struct trainer *t,
                                     struct version_info *info)
{
    struct snapshot *s = NULL, *back = NULL;
    struct undine_err err = {0};
    const struct version_extra extra = {0};
    char path[128];
    assert_int_equal(trainer_snapshot(t, &s, &err), 0);
    assert_int_equal(version_write(f->dir, s, &extra, false, info, &err), 0);
    snapshot_free(s);
    (void)snprintf(path, sizeof path, "%s/%s", f->dir, info->name);
    assert_int_equal(version_load(path, true, &back, NULL, &err), 0);
    return back;
}

static void write_counts(const struct fixture *f, uint32_t n, struct regularizer_options *o)
{
    struct trainer_options pass = trainers_options();
    struct trainer *t = trainers_open(&f->schema, &pass);
    struct version_info info;
    trainers_feed(t, &f->stream, 0, n);
    snapshot_free(through_disk(f, t, &info));
    trainer_close(t);
    o->counts.mode = INSTANCES_FIXED;
    (void)snprintf(o->counts.counts, sizeof o->counts.counts, "%s/%s", f->dir, info.name);
}

static void check_goes_on(const struct fixture *f, const struct regularizer_options *z,
                          enum optimizer_kind optimizer)
{
    struct trainer_options o = trainers_options();
    struct undine_err err = {0};
    struct version_info info;
    o.optimizer.kind = optimizer;
    o.regularizer = *z;
    struct trainer *whole = trainers_open(&f->schema, &o), *first = trainers_open(&f->schema, &o);
    trainers_feed(whole, &f->stream, 0, EXAMPLES);
    trainers_feed(first, &f->stream, 0, HALF);
    struct snapshot *s = through_disk(f, first, &info);
    struct trainer *second = trainers_open(&f->schema, &o);
    assert_int_equal(trainer_restore(second, s, &err), 0);
    trainers_feed(second, &f->stream, HALF, EXAMPLES);
    trainers_feed(first, &f->stream, HALF, EXAMPLES); /* that a copy was made leaves no trace */
    assert_true(trainers_equal(whole, second));
    assert_true(trainers_equal(whole, first));
    struct snapshot *a = NULL, *b = NULL;
    assert_int_equal(trainer_snapshot(whole, &a, &err), 0);
    assert_int_equal(trainer_snapshot(second, &b, &err), 0);
    assert_int_equal(snapshot_sort(a, &err), 0);
    assert_int_equal(snapshot_sort(b, &err), 0);
    struct hash128 x = snapshot_digest(a), y = snapshot_digest(b);
    assert_true(x.low == y.low && x.high == y.high);
    snapshot_free(a);
    snapshot_free(b);
    snapshot_free(s);
    trainer_close(whole);
    trainer_close(first);
    trainer_close(second);
}

static void test_m10_every_kind_and_counter_goes_on_after_a_restart(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct regularizer_options z[7] = {
        {.kind = REGULARIZER_NONE},
        {.kind = REGULARIZER_MBA},
        {.kind = REGULARIZER_MBA,
         .counts = {.mode = INSTANCES_WINDOW, .window = 100, .decay = 0.7}},
        {.kind = REGULARIZER_MBA, .counts = {.mode = INSTANCES_PROJECTED, .epoch = 500}},
        {.kind = REGULARIZER_MBA, .decoupled = true},
        {.kind = REGULARIZER_L2},
        {.kind = REGULARIZER_DIFACTO},
    };
    write_counts(&f, 200, &z[4]);
    for (size_t i = 0; i < sizeof z / sizeof z[0]; i++) {
        z[i].lambda = 0.3;
        check_goes_on(&f, &z[i], OPTIMIZER_SGD);
        check_goes_on(&f, &z[i], OPTIMIZER_ADAGRAD);
    }
    teardown(&f);
}

static struct table_row *row_of(const struct trainer *t, uint32_t k, uint64_t key)
{
    uint32_t row = table_find(&t->table[k], key);
    return row == TABLE_NONE ? NULL : table_row(&t->table[k], row);
}

/* The eager twin: plain training, and after each batch every row that was ever learned loses
 * rate lambda of what it was before it. */
static void eager_batch(struct trainer *t, const struct fixture *f, uint32_t from, double share)
{
    enum { ROWS_MAX = 256 };
    static float before[SCHEMA_TABLES_MAX][ROWS_MAX][DIM];
    for (uint32_t k = 0; k < f->schema.n_tables; k++) {
        for (uint32_t i = 0; i < t->table[k].n_rows; i++) {
            memcpy(before[k][i], table_row(&t->table[k], i)->value, sizeof before[k][i]);
        }
    }
    uint32_t used[SCHEMA_TABLES_MAX];
    for (uint32_t k = 0; k < f->schema.n_tables; k++) {
        used[k] = t->table[k].n_rows;
    }
    trainers_feed(t, &f->stream, from, from + 32);
    for (uint32_t k = 0; k < f->schema.n_tables; k++) {
        assert_true(t->table[k].n_rows <= ROWS_MAX);
        for (uint32_t i = 0; i < t->table[k].n_rows; i++) {
            struct table_row *r = table_row(&t->table[k], i);
            if (i >= used[k]) {
                row_initial(before[k][i], DIM, r->key, &t->table[k].opt.init);
            }
            for (uint32_t d = 0; d < DIM; d++) {
                r->value[d] -= (float)(share * (double)before[k][i][d]);
            }
        }
    }
}

static void test_l2_equals_the_eager_twin(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.optimizer.kind = OPTIMIZER_SGD;
    o.optimizer.rate = 0.5;
    struct trainer *twin = trainers_open(&f.schema, &o);
    o.regularizer = (struct regularizer_options){.kind = REGULARIZER_L2, .lambda = 0.1};
    struct trainer *lazy = trainers_open(&f.schema, &o);
    for (uint32_t at = 0; at + 32 <= EXAMPLES; at += 32) {
        eager_batch(twin, &f, at, 0.5 * 0.1);
        trainers_feed(lazy, &f.stream, at, at + 32);
    }
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    uint32_t owing = 0;
    assert_int_equal(trainer_snapshot(lazy, &s, &err), 0);
    for (uint32_t k = 0; k < f.schema.n_tables; k++) {
        for (uint64_t i = 0; i < s->table[k].n_rows; i++) {
            const struct table_row *r = row_of(twin, k, s->table[k].key[i]);
            assert_non_null(r);
            owing += s->table[k].stamp[i] < lazy->counters.steps;
            for (uint32_t d = 0; d < DIM; d++) {
                assert_true(fabsf(s->table[k].weight[i * DIM + d] - r->value[d]) < 1e-6f);
            }
        }
    }
    assert_true(owing > 5);
    snapshot_free(s);
    trainer_close(lazy);
    trainer_close(twin);
    teardown(&f);
}

/* Another rate lambda, or l2 switched on later: debts of before are paid at the old price. */
static void test_l2_may_change_between_restarts(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    o.regularizer = (struct regularizer_options){.kind = REGULARIZER_L2, .lambda = 0.5};
    struct trainer *a = trainers_open(&f.schema, &o);
    struct undine_err err = {0};
    struct snapshot *s = NULL, *again = NULL;
    trainers_feed(a, &f.stream, 0, HALF);
    assert_int_equal(trainer_snapshot(a, &s, &err), 0);
    o.regularizer.lambda = 5.0;
    struct trainer *b = trainers_open(&f.schema, &o);
    assert_int_equal(trainer_restore(b, s, &err), 0);
    assert_int_equal(trainer_snapshot(b, &again, &err), 0);
    for (uint32_t k = 0; k < f.schema.n_tables; k++) {
        for (uint64_t i = 0; i < s->table[k].n_rows; i++) {
            const struct table_row *r = row_of(b, k, s->table[k].key[i]);
            assert_memory_equal(r->value, s->table[k].weight + i * DIM, DIM * sizeof(float));
        }
        assert_int_equal(again->table[k].n_rows, s->table[k].n_rows);
    }
    assert_true(b->regularizer.since == a->counters.steps);
    snapshot_free(s);
    snapshot_free(again);
    trainer_close(a);
    trainer_close(b);
    teardown(&f);
}

/* A pass of n examples by rate 1 and lambda 0.01, one example a batch, with its own counts.  No
 * gradient: dense_rate 0 and labels that a clip of 1e-30 silences. */
static struct trainer *pass_without_gradient(const struct fixture *f, uint32_t n)
{
    struct trainer_options o = trainers_options();
    o.batch_max = 1;
    o.optimizer.kind = OPTIMIZER_SGD;
    o.optimizer.rate = 1.0;
    o.optimizer.dense_rate = 0.0;
    o.clip_norm = 1e-30;
    o.row_scale = 1.0;
    o.regularizer = (struct regularizer_options){.kind = REGULARIZER_MBA, .lambda = 0.01};
    write_counts(f, n, &o.regularizer);
    struct trainer *t = trainers_open(&f->schema, &o);
    trainers_feed(t, &f->stream, 0, n);
    return t;
}

/* Every number of the row is so much of what it began with. */
static void assert_left(const struct table *table, const struct table_row *r, double left)
{
    float start[DIM];
    row_initial(start, DIM, r->key, &table->opt.init);
    for (uint32_t d = 0; d < DIM; d++) {
        double expected = left * (double)start[d];
        assert_true(fabs((double)r->value[d] - expected) < 3e-5 * (1.0 + fabs(expected)));
    }
}

/* M4: over the pass that the counts are of, one instance a batch, an id loses
 * (1 - rate lambda / n_j)^n_j, however often it is seen. */
static void test_m4_fixed_counts_shrink_every_id_alike(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer *t = pass_without_gradient(&f, 512);
    for (uint32_t k = 0; k < f.schema.n_tables; k++) {
        for (uint32_t i = 0; i < t->table[k].n_rows; i++) {
            const struct table_row *r = table_row(&t->table[k], i);
            assert_left(&t->table[k], r, pow(1.0 - 0.01 / (double)r->count, (double)r->count));
        }
    }
    trainer_close(t);
    teardown(&f);
}

/* M4's number: an id that each of a thousand examples holds. */
static void test_m4_golden_of_a_thousand_instances(void **state)
{
    (void)state;
    struct fixture f;
    struct example_stream_plan plan = PLAN;
    plan.n = 992; /* whole batches of the pass that counts */
    plan.n_categories = 1;
    setup_plan(&f, &plan);
    struct trainer *t = pass_without_gradient(&f, plan.n);
    const struct table *categories = &t->table[1];
    assert_int_equal(categories->n_rows, 1);
    const struct table_row *r = table_row(categories, 0);
    assert_true(r->count == 992.0f);
    assert_left(categories, r, 0.9900497842 /* of 1000; of 992 it is the same to 4e-10 */);
    trainer_close(t);
    teardown(&f);
}

static void test_fixed_counts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = trainers_options();
    struct undine_err err = {0};
    struct version_info info;
    struct trainer *t = NULL, *refused = NULL;
    o.regularizer = (struct regularizer_options){.kind = REGULARIZER_MBA, .lambda = 0.01};
    o.regularizer.counts.mode = INSTANCES_FIXED;
    (void)snprintf(o.regularizer.counts.counts, INSTANCES_PATH_MAX, "%s/none", f.dir);
    assert_int_equal(trainer_open(&refused, &f.schema, &o, &err), UNDINE_ENOTFOUND);
    assert_non_null(strstr(err.msg, "regularizer.counts"));
    write_counts(&f, 200, &o.regularizer);
    t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, HALF);
    struct snapshot *s = through_disk(&f, t, &info);
    trainer_close(t);
    write_counts(&f, 300, &o.regularizer);
    t = trainers_open(&f.schema, &o);
    assert_int_equal(trainer_restore(t, s, &err), UNDINE_ESTATE);
    assert_non_null(strstr(err.msg, "regularizer.counts"));
    trainer_close(t);
    snapshot_free(s);

    o.regularizer.counts =
        (struct instances_options){.mode = INSTANCES_WINDOW, .window = 100, .decay = 0.5};
    t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, HALF);
    snapshot_free(through_disk(&f, t, &info));
    trainer_close(t);
    o.regularizer.counts = (struct instances_options){.mode = INSTANCES_FIXED};
    (void)snprintf(o.regularizer.counts.counts, INSTANCES_PATH_MAX, "%s/%s", f.dir, info.name);
    assert_int_equal(trainer_open(&refused, &f.schema, &o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "window"));
    teardown(&f);
}

/* ---- S3 ---- */

enum { TRAIN = 4000, HELD_OUT = 2000 };

/* Logloss of examples that are never learned: the model's own forward on them. */
static double held_out(struct trainer *t, const struct example_stream *stream)
{
    struct example_block block = example_stream_block(stream, TRAIN, TRAIN + HELD_OUT);
    struct batch_builder *b = NULL;
    struct undine_err err = {0};
    double sum = 0.0;
    float *logit = calloc(HELD_OUT, sizeof *logit);
    assert_int_equal(batch_builder_open(&b, stream->schema, HELD_OUT, &err), 0);
    for (uint32_t i = 0; i < HELD_OUT; i++) {
        assert_int_equal(batch_builder_add(b, &block, i, &err), 0);
    }
    assert_int_equal(batch_builder_gather(b, t->table, NULL, &err), 0);
    assert_int_equal(model_score(t->model, t->scratch, &b->batch, logit, &err), 0);
    for (uint32_t i = 0; i < HELD_OUT; i++) {
        sum += model_logloss((double)logit[i], (double)b->label[i]);
    }
    batch_builder_close(b);
    free(logit);
    return sum / HELD_OUT;
}

/* Learn the first TRAIN examples twice; held-out logloss after each pass. */
static void two_passes(const struct example_stream *stream, const struct regularizer_options *z,
                       double *out)
{
    struct trainer_options o = trainers_options();
    struct trainer *t = NULL;
    struct undine_err err = {0};
    o.regularizer = *z;
    o.optimizer.accumulator = 1e-6;
    assert_int_equal(trainer_open(&t, stream->schema, &o, &err), 0);
    for (uint32_t pass = 0; pass < 2; pass++) {
        struct example_block block = example_stream_block(stream, 0, TRAIN);
        block.first_seq = (uint64_t)pass * TRAIN;
        t->trained_seq = t->next_seq = block.first_seq;
        assert_true(trainer_learn(t, &block, UINT32_MAX, &err) >= 0);
        out[pass] = held_out(t, stream);
    }
    trainer_close(t);
}

/* Rare ids that say nothing (2,500 users over 4,000 examples, 30 % of labels flipped): without
 * regularization a second pass learns them by heart, with MBA less so.  lambda was chosen on the
 * seeds 11 to 15: 0.01 and 0.03 take a quarter off the mean rise there, 0.1 three quarters, 0.3 all
 * of it. */
static void test_s3_mba_softens_the_second_pass_over_rare_ids(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(DIM);
    double rise[2] = {0.0, 0.0};
    enum { SEEDS = 5 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct example_stream stream;
        example_stream_init(&stream, &schema);
        const struct example_stream_plan plan = {.seed = seed,
                                                 .n = TRAIN + HELD_OUT,
                                                 .n_users = 2500,
                                                 .n_steps = 6,
                                                 .n_categories = 12,
                                                 .items_a_category = 200,
                                                 .noise = 0.3};
        example_stream_plant(&stream, &plan);
        const struct regularizer_options kinds[2] = {{.kind = REGULARIZER_NONE},
                                                     {.kind = REGULARIZER_MBA, .lambda = 0.1}};
        for (int i = 0; i < 2; i++) {
            double loss[2];
            two_passes(&stream, &kinds[i], loss);
            print_message("seed %d %s: held-out logloss %.4f, after the second pass %.4f\n",
                          (int)seed, i == 0 ? "none" : "mba", loss[0], loss[1]);
            rise[i] += (loss[1] - loss[0]) / SEEDS;
        }
        example_stream_release(&stream);
    }
    print_message("mean rise: none %.4f, mba %.4f\n", rise[0], rise[1]);
    assert_true(rise[0] > 0.02);
    assert_true(rise[1] < 0.5 * rise[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m4_fixed_counts_shrink_every_id_alike),
        cmocka_unit_test(test_m4_golden_of_a_thousand_instances),
        cmocka_unit_test(test_m10_every_kind_and_counter_goes_on_after_a_restart),
        cmocka_unit_test(test_l2_equals_the_eager_twin),
        cmocka_unit_test(test_l2_may_change_between_restarts),
        cmocka_unit_test(test_fixed_counts_that_do_not_fit_are_refused),
        cmocka_unit_test(test_s3_mba_softens_the_second_pass_over_rare_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
