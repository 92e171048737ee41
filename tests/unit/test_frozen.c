#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include "learner/model/row.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 8, EXAMPLES = 600, BATCH = 32, BLOCK = 96 };

struct fixture {
    struct schema schema;
    struct example_stream stream;
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
}

static struct trainer_options options(double sample, uint64_t block)
{
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.model.mlp.activation = ACT_DICE;
    o.frozen = (struct frozen_options){.sample = sample, .block = block};
    return o;
}

static struct trainer *copy_of(struct trainer *t, const struct fixture *f,
                               const struct trainer_options *o)
{
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
    assert_int_equal(snapshot_sort(s, NULL), 0); /* rows in another order than they came */
    struct trainer *copy = trainers_open(&f->schema, o);
    int rc = trainer_restore(copy, s, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_int_equal(rc, 0);
    snapshot_free(s);
    return copy;
}

/* What a scorer that has the copy says of examples [from, to). */
static void score(struct trainer *copy, const struct fixture *f, uint32_t from, uint32_t to,
                  float *logit)
{
    struct example_block block = example_stream_block(&f->stream, from, to);
    batch_builder_clear(copy->builder);
    copy->admission.k = UINT32_MAX; /* a scorer admits nobody */
    for (uint32_t i = 0; i < to - from; i++) {
        assert_int_equal(batch_builder_add(copy->builder, &block, i, NULL), 0);
    }
    assert_int_equal(batch_builder_gather(copy->builder, copy->table, NULL, NULL), 0);
    copy->regularizer.steps = copy->counters.steps;
    for (uint32_t k = 0; k < f->schema.n_tables; k++) {
        struct batch_builder_table *rows = &copy->builder->table[k];
        regularizer_catch_up(&copy->regularizer, k, &copy->table[k], rows->row, rows->n_rows,
                             rows->weight);
    }
    assert_int_equal(model_score(copy->model, copy->scratch, &copy->builder->batch, logit, NULL),
                     0);
    batch_builder_clear(copy->builder);
}

/* The naive twin: a copy of the whole model at the start of each block, which scores the block. */
static void compare_with_copies(struct fixture *f, double sample, enum regularizer_kind kind,
                                uint32_t admission)
{
    struct trainer_options o = options(sample, BLOCK), plain;
    o.regularizer.kind = kind;
    o.admission = admission;
    o.regularizer.lambda = 0.05;
    plain = o;
    plain.frozen.sample = 0.0;
    struct trainer *t = trainers_open(&f->schema, &o), *copy = NULL;
    struct metrics_row *rows = calloc(EXAMPLES, sizeof *rows);
    uint32_t n = 0;
    double worst = 0.0;
    for (uint32_t at = 0; at + BATCH <= EXAMPLES; at += BATCH) {
        float logit[BATCH];
        if (at > 0 && at % BLOCK == 0) {
            trainer_close(copy);
            copy = copy_of(t, f, &plain);
        }
        trainers_feed(t, &f->stream, at, at + BATCH);
        uint32_t scored = 0;
        if (copy != NULL) {
            score(copy, f, at, at + BATCH, logit);
        }
        for (uint32_t i = 0; copy != NULL && i < BATCH; i++) {
            const struct example *e = &f->stream.examples[at + i];
            if (!frozen_samples(sample, e->user)) {
                continue;
            }
            assert_true(scored < t->frozen->n);
            assert_int_equal(t->frozen->example[scored], i);
            worst = fmax(worst, fabs((double)(t->frozen->logit[scored] - logit[i])));
            rows[n++] = (struct metrics_row){
                .user = e->user * 1000 + at / BLOCK,
                .logit = t->frozen->logit[scored],
                .weight = e->kind == EXAMPLE_POSITIVE ? -1.0f : 1.0f / e->sample_rate};
            scored++;
        }
        assert_int_equal(t->frozen->n, scored);
    }
    print_message("sample %g: %u scores, largest difference from a copy's %g\n", sample, n, worst);
    assert_true(n > 0 && worst == 0.0);
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    struct metrics_sums sums = metrics_rows_sums(rows, n);
    struct metrics_gauc gauc = metrics_rows_gauc(rows, n);
    assert_int_equal(m.frozen.examples, n);
    assert_int_equal(m.frozen.freezes, (EXAMPLES - EXAMPLES % BATCH) / BLOCK);
    assert_int_equal(m.frozen.gauc_users, gauc.users);
    assert_int_equal(m.frozen.gauc_users_one_class, gauc.users_one_class);
    assert_true(fabs(m.frozen.gauc - gauc.gauc) < 1e-12);
    assert_true(fabs(m.frozen.logloss - metrics_logloss(&sums)) < 1e-12);
    assert_true(fabs(m.frozen.calibration - metrics_calibration(&sums)) < 1e-12);
    assert_true(fabs(m.frozen.auc - metrics_rows_auc(rows, n)) < 1e-3); /* by buckets */
    free(rows);
    trainer_close(copy);
    trainer_close(t);
}

static void test_frozen_scores_are_those_of_a_copy(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    compare_with_copies(&f, 1.0, REGULARIZER_MBA, 0);
    compare_with_copies(&f, 0.5, REGULARIZER_MBA, 0);
    compare_with_copies(&f, 1.0, REGULARIZER_L2, 0);
    compare_with_copies(&f, 1.0, REGULARIZER_MBA, 4);
    compare_with_copies(&f, 1.0, REGULARIZER_L2, 4);
    example_stream_release(&f.stream);
}

static void test_the_model_is_the_same_with_and_without(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options without = options(0.0, BLOCK);
    struct trainer *plain = trainers_open(&f.schema, &without);
    trainers_feed(plain, &f.stream, 0, EXAMPLES);
    assert_null(plain->frozen);
    for (int i = 1; i <= 2; i++) {
        struct trainer_options o = options(0.5 * i, BLOCK);
        struct trainer *t = trainers_open(&f.schema, &o);
        trainers_feed(t, &f.stream, 0, EXAMPLES);
        assert_true(t->frozen_metrics.examples > 0);
        assert_true(trainers_equal(plain, t));
        trainer_close(t);
    }
    trainer_close(plain);
    example_stream_release(&f.stream);
}

static void assert_equal_frozen(struct trainer *a, struct trainer *b)
{
    struct trainer_metrics x, y;
    trainer_metrics(a, &x);
    trainer_metrics(b, &y);
    assert_int_equal(x.frozen.examples, y.frozen.examples);
    assert_int_equal(x.frozen.freezes, y.frozen.freezes);
    assert_true(x.frozen.auc == y.frozen.auc && x.frozen.gauc == y.frozen.gauc);
    assert_true(x.frozen.logloss == y.frozen.logloss &&
                x.frozen.calibration == y.frozen.calibration);
    for (uint32_t k = 0; k < a->schema.n_tables; k++) {
        const struct frozen_rows *p = &a->frozen->rows_kept[k], *q = &b->frozen->rows_kept[k];
        assert_int_equal(p->n, q->n);
        assert_memory_equal(p->key, q->key, p->n * sizeof *p->key);
        assert_memory_equal(p->weight, q->weight, (size_t)p->n * p->width * sizeof *p->weight);
    }
}

/* M10: in the middle of a block too, after a user was forgotten in it. */
static void test_restart_inside_a_block_goes_on_bit_for_bit(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    const struct example *e = &f.stream.examples[300];
    f.stream.examples[310].kind = EXAMPLE_FORGET;
    f.stream.examples[310].user = e->user;
    struct trainer_options o = options(0.5, BLOCK);
    o.metrics_window = 50; /* full at the moment of the copy */
    struct trainer *whole = trainers_open(&f.schema, &o);
    trainers_feed(whole, &f.stream, 0, 340);
    struct trainer *again = copy_of(whole, &f, &o);
    assert_true(again->frozen->rows_kept[0].n > 0);
    trainers_feed(whole, &f.stream, 340, EXAMPLES);
    trainers_feed(again, &f.stream, (uint32_t)trainer_seq(again), EXAMPLES);
    assert_true(trainers_equal(whole, again));
    assert_equal_frozen(whole, again);
    trainer_close(whole);
    trainer_close(again);
    example_stream_release(&f.stream);
}

static void test_a_forgotten_user_is_gone_from_what_is_kept(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options(1.0, 0);
    struct trainer *t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, 320);
    trainer_freeze(t);
    trainers_feed(t, &f.stream, 320, 384);
    uint32_t table = f.schema.fields[STREAM_USER].table;
    struct frozen_rows *kept = &t->frozen->rows_kept[table];
    assert_true(kept->n > 0);
    uint64_t key = kept->key[0];
    float start[DIM];
    row_initial(start, DIM, key, &t->table[table].opt.init);
    assert_memory_not_equal(kept->weight, start, sizeof start);

    struct example *e = &f.stream.examples[384]; /* its user id field is `key` */
    uint64_t *ids = calloc(16, sizeof *ids);
    uint8_t counts[STREAM_FIELDS] = {0};
    counts[STREAM_USER] = 1;
    ids[0] = key;
    const uint8_t *counts_before = e->counts;
    const uint64_t *ids_before = e->ids;
    e->kind = EXAMPLE_FORGET;
    e->counts = counts;
    e->ids = ids;
    trainers_feed(t, &f.stream, 384, 385);
    assert_int_equal(t->counters.rows_forgotten, 1);
    assert_memory_equal(kept->weight, start, sizeof start);
    e->counts = counts_before;
    e->ids = ids_before;
    free(ids);
    trainer_close(t);
    example_stream_release(&f.stream);
}

static void test_the_caller_freezes_where_there_is_no_block(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options(1.0, 0), without = options(0.0, 0);
    struct trainer *t = trainers_open(&f.schema, &o), *plain = trainers_open(&f.schema, &without);
    trainers_feed(t, &f.stream, 0, 320);
    assert_int_equal(t->frozen_metrics.examples, 0); /* nothing is frozen yet */
    trainer_freeze(t);
    trainers_feed(t, &f.stream, 320, 384);
    assert_int_equal(t->frozen_metrics.examples, 64);

    trainers_feed(plain, &f.stream, 0, 320);
    trainer_freeze(plain);                          /* nothing to do, and fine */
    struct trainer *later = copy_of(plain, &f, &o); /* the version knows of nothing frozen */
    assert_true(later->frozen->active);
    trainers_feed(later, &f.stream, 320, 384);
    assert_memory_equal(later->frozen->logit, t->frozen->logit, BATCH * sizeof(float));
    trainer_close(t);
    trainer_close(plain);
    trainer_close(later);
    example_stream_release(&f.stream);
}

static void test_scores_that_are_no_numbers_are_counted(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options(1.0, 0);
    struct trainer *t = trainers_open(&f.schema, &o);
    trainers_feed(t, &f.stream, 0, 320);
    trainer_freeze(t);
    size_t n = model_n_values(t->frozen->model);
    for (size_t i = 0; i < n; i++) {
        model_values(t->frozen->model)[i] = NAN;
    }
    trainers_feed(t, &f.stream, 320, 352);
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    assert_int_equal(m.frozen.skipped, 32);
    assert_int_equal(m.frozen.examples, 0);
    assert_true(isnan(m.frozen.logloss));
    assert_int_equal(m.batches_skipped, 0);
    trainer_close(t);
    example_stream_release(&f.stream);
}

static void test_a_share_that_is_none_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    const double wrong[] = {-0.1, 1.5, (double)NAN};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct trainer_options o = options(wrong[i], BLOCK);
        struct trainer *t;
        struct undine_err err = {0};
        assert_int_equal(trainer_open(&t, &f.schema, &o, &err), UNDINE_ECONFIG);
        assert_non_null(strstr(err.msg, "frozen.sample"));
    }
    example_stream_release(&f.stream);
}

static void test_the_share_of_users_is_the_one_asked_for(void **state)
{
    (void)state;
    enum { USERS = 100000 };
    uint32_t tenth = 0, all = 0;
    for (uint64_t u = 1; u <= USERS; u++) {
        tenth += frozen_samples(0.1, u);
        all += frozen_samples(1.0, u);
        assert_false(frozen_samples(0.0, u));
        assert_true(!frozen_samples(0.1, u) || frozen_samples(0.3, u)); /* nested */
    }
    assert_int_equal(all, USERS);
    assert_true(abs((int)tenth - USERS / 10) < 500); /* 5 standard deviations are 474 */
}

static void test_kept_rows_against_a_model(void **state)
{
    (void)state;
    enum { IDS = 5000, ROUNDS = 3 };
    struct frozen_rows r;
    frozen_rows_init(&r, 2);
    assert_int_equal(frozen_rows_find(&r, 7), FROZEN_ROWS_NONE);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < IDS; i++) {
            const float weight[2] = {(float)i, (float)round};
            const float other[2] = {-1.0f, -1.0f};
            uint64_t key = ((uint64_t)i << 32) + 1; /* equal low halves */
            assert_true(frozen_rows_room(&r, 1));
            assert_int_equal(frozen_rows_keep(&r, key, weight), i);
            assert_int_equal(frozen_rows_keep(&r, key, other), i); /* the first one stays */
        }
        assert_int_equal(r.n, IDS);
        for (uint32_t i = 0; i < IDS; i++) {
            uint32_t entry = frozen_rows_find(&r, ((uint64_t)i << 32) + 1);
            assert_int_equal(entry, i);
            assert_true(r.weight[2 * entry] == (float)i);
            assert_true(r.weight[2 * entry + 1] == (float)round);
        }
        assert_int_equal(frozen_rows_find(&r, 2), FROZEN_ROWS_NONE);
        frozen_rows_clear(&r);
        assert_int_equal(frozen_rows_find(&r, 1), FROZEN_ROWS_NONE);
    }
    frozen_rows_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frozen_scores_are_those_of_a_copy),
        cmocka_unit_test(test_the_model_is_the_same_with_and_without),
        cmocka_unit_test(test_restart_inside_a_block_goes_on_bit_for_bit),
        cmocka_unit_test(test_a_forgotten_user_is_gone_from_what_is_kept),
        cmocka_unit_test(test_the_caller_freezes_where_there_is_no_block),
        cmocka_unit_test(test_scores_that_are_no_numbers_are_counted),
        cmocka_unit_test(test_a_share_that_is_none_is_refused),
        cmocka_unit_test(test_the_share_of_users_is_the_one_asked_for),
        cmocka_unit_test(test_kept_rows_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
