#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/batch_builder.h"

#include "tests/support/example_stream.h"

#include <math.h>
#include <string.h>

/* Two tables (item, category), a user id, tags; a hand-made stream of three examples. */
struct fixture {
    struct schema schema;
    struct example_stream stream;
    struct table_budget budget;
    struct table table[4];
    struct batch_builder *builder;
};

enum { DIM = 2, ITEM_A = 101, ITEM_B, ITEM_C, CAT_X = 201, CAT_Y, USER_1 = 301, USER_2, TAG = 401 };

static uint32_t add_clicks(struct fixture *f, const uint64_t (*ids)[2], uint32_t n)
{
    static const uint8_t one_each[2] = {1, 1};
    struct example_step steps[4];
    for (uint32_t t = 0; t < n; t++) {
        steps[t] = (struct example_step){.counts = one_each, .ids = ids[t]};
    }
    return example_stream_sequence(&f->stream, 0, steps, n);
}

static void add(struct fixture *f, const uint8_t *counts, const uint64_t *ids, uint32_t sequence,
                enum example_kind kind, float rate)
{
    struct example e = {.user = 9,
                        .emit_ms = 1000 + (int64_t)f->stream.n,
                        .sample_rate = rate,
                        .kind = (uint8_t)kind,
                        .counts = counts,
                        .ids = ids,
                        .sequence = {sequence}};
    (void)example_stream_add(&f->stream, &e);
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){.schema = example_stream_schema(DIM)};
    example_stream_init(&f->stream, &f->schema);
    struct table_options opt = {.dim = DIM, .init = {.seed = 1, .scale = 1.0f}};
    for (size_t k = 0; k < 4; k++) {
        assert_int_equal(table_init(&f->table[k], &opt, &f->budget, NULL), 0);
    }
    assert_int_equal(batch_builder_open(&f->builder, &f->schema, 4, NULL), 0);
    const uint64_t twice[3][2] = {{ITEM_B, CAT_X}, {ITEM_B, CAT_X}, {ITEM_A, CAT_X}};
    uint32_t a = add_clicks(f, twice, 3), empty = add_clicks(f, NULL, 0);
    uint32_t again = add_clicks(f, twice, 3); /* equal content, another number */
    add(f, (uint8_t[]){1, 1, 1, 2}, (uint64_t[]){ITEM_A, CAT_X, USER_1, TAG, TAG}, a,
        EXAMPLE_POSITIVE, 0.25f);
    add(f, (uint8_t[]){1, 1, 1, 0}, (uint64_t[]){ITEM_C, CAT_Y, USER_2}, empty, EXAMPLE_NEGATIVE,
        0.25f);
    add(f, (uint8_t[]){1, 1, 0, 0}, (uint64_t[]){ITEM_C, CAT_Y}, again, EXAMPLE_NEGATIVE, 1.0f);
}

static void teardown(struct fixture *f)
{
    batch_builder_close(f->builder);
    for (size_t k = 0; k < 4; k++) {
        table_release(&f->table[k]);
    }
    example_stream_release(&f->stream);
}

static void add_all(struct fixture *f)
{
    struct example_block block = example_stream_block(&f->stream, 0, f->stream.n);
    for (uint32_t i = 0; i < f->stream.n; i++) {
        assert_int_equal(batch_builder_add(f->builder, &block, i, NULL), 0);
    }
    assert_int_equal(batch_builder_gather(f->builder, f->table, NULL, NULL), 0);
}

static float instances(const struct fixture *f, uint32_t table, uint64_t key)
{
    const struct batch_builder_table *t = &f->builder->table[table];
    for (uint32_t i = 0; i < t->n_rows; i++) {
        if (t->row[i] == table_find(&f->table[table], key)) {
            return t->instances[i];
        }
    }
    return 0.0f;
}

static void test_rows_are_gathered_once(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    add_all(&f);
    const struct batch *b = &f.builder->batch;
    assert_int_equal(b->n, 3);
    assert_int_equal(b->table[0].n_rows, 3);
    assert_int_equal(b->table[1].n_rows, 2);
    assert_int_equal(b->table[2].n_rows, 2);
    assert_int_equal(b->table[3].n_rows, 1);
    const struct batch_bags *tags = &b->field[STREAM_TAGS];
    assert_int_equal(tags->offset[1] - tags->offset[0], 2);
    assert_int_equal(tags->offset[3], 2);
    const struct batch_bags *item = &b->field[STREAM_ITEM];
    float expected[DIM];
    row_initial(expected, DIM, ITEM_C, &f.table[0].opt.init);
    assert_int_equal(item->row[1], item->row[2]);
    assert_memory_equal(b->table[0].weight + item->row[1] * DIM, expected, sizeof expected);
    for (uint32_t i = 0; i < b->table[0].n_rows * DIM; i++) {
        assert_true(b->table[0].grad[i] == 0.0f);
    }
    teardown(&f);
}

static void test_equal_sequences_are_one(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    add_all(&f);
    const struct batch_sequences *q = &f.builder->batch.sequence[0];
    assert_int_equal(q->n, 2);
    assert_int_equal(q->of_example[0], q->of_example[2]);
    assert_int_equal(q->step_offset[1], 3);
    assert_int_equal(q->step_offset[2], 3);
    const struct batch_bags *items = &q->step[0];
    assert_int_equal(items->row[items->offset[0]], items->row[items->offset[1]]);
    /* candidate and behaviour share the row */
    assert_int_equal(items->row[items->offset[2]], f.builder->batch.field[STREAM_ITEM].row[0]);
    teardown(&f);
}

/* n_j counts instances: once an example, wherever and however often it holds the id. */
static void test_instances(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    add_all(&f);
    assert_true(instances(&f, 0, ITEM_A) == 2.0f);
    assert_true(instances(&f, 0, ITEM_B) == 2.0f);
    assert_true(instances(&f, 0, ITEM_C) == 2.0f);
    assert_true(instances(&f, 1, CAT_X) == 2.0f);
    assert_true(instances(&f, 1, CAT_Y) == 2.0f);
    assert_true(instances(&f, 2, USER_1) == 1.0f);
    assert_true(instances(&f, 3, TAG) == 1.0f);
    teardown(&f);
}

static void test_labels_and_shift(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    add_all(&f);
    assert_true(f.builder->label[0] == 1.0f && f.builder->label[1] == 0.0f);
    assert_true(fabs((double)f.builder->shift[0] - log(4.0)) < 1e-6);
    assert_true(f.builder->shift[2] == 0.0f);
    assert_int_equal(f.builder->item[1], ITEM_C);
    assert_int_equal(f.builder->first_emit_ms, 1000);
    assert_int_equal(f.builder->last_emit_ms, 1002);
    teardown(&f);
}

static void test_a_builder_is_used_again(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    for (int round = 0; round < 3; round++) {
        add_all(&f);
        assert_int_equal(f.builder->batch.table[0].n_rows, 3);
        assert_true(instances(&f, 0, ITEM_A) == 2.0f);
        assert_int_equal(f.builder->batch.sequence[0].n, 2);
        batch_builder_clear(f.builder);
    }
    teardown(&f);
}

static void test_corrupt_examples_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct example_block block = example_stream_block(&f.stream, 0, f.stream.n);
    struct undine_err err;
    struct example_sequence good = f.stream.sequences[0];
    for (uint32_t cut = 0; cut < good.n_words; cut++) {
        f.stream.sequences[0].n_words = cut;
        batch_builder_clear(f.builder);
        assert_int_equal(batch_builder_add(f.builder, &block, 0, &err), UNDINE_ECORRUPT);
        assert_non_null(strstr(err.msg, "clicks"));
    }
    f.stream.sequences[0] = good;
    f.stream.examples[1].sequence[0] = f.stream.n_sequences;
    batch_builder_clear(f.builder);
    assert_int_equal(batch_builder_add(f.builder, &block, 1, &err), UNDINE_ECORRUPT);
    f.stream.examples[2].sample_rate = 0.0f;
    batch_builder_clear(f.builder);
    assert_int_equal(batch_builder_add(f.builder, &block, 2, &err), UNDINE_ECORRUPT);
    batch_builder_clear(f.builder);
    assert_int_equal(batch_builder_add(f.builder, &block, 0, &err), 0);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_gathered_once),
        cmocka_unit_test(test_equal_sequences_are_one),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_labels_and_shift),
        cmocka_unit_test(test_a_builder_is_used_again),
        cmocka_unit_test(test_corrupt_examples_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
