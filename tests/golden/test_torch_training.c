/* Optimizers and MBA: weights and n_j after 10 and 100 steps of a whole trainer against PyTorch in
 * double (tests/golden/torch), within 1e-3 of the largest number of a tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/example_stream.h"
#include "tests/support/torch_golden.h"
#include "tests/support/trainers.h"

#include <stdio.h>
#include <stdlib.h>

static const double LIMIT = 1e-3;

struct training {
    struct torch_golden golden;
    struct example_stream stream;
    struct trainer *trainer;
    uint64_t fed;
};

static uint64_t key_of(uint64_t row)
{
    return (row + 1) * 0x9E3779B97F4A7C15u;
}

static uint8_t read_ids(const json_t *bag, uint64_t *ids)
{
    for (size_t i = 0; i < json_array_size(bag); i++) {
        ids[i] = key_of((uint64_t)json_integer_value(json_array_get(bag, i)));
    }
    return (uint8_t)json_array_size(bag);
}

static uint32_t add_history(struct training *t, uint32_t q, const json_t *history)
{
    enum { STEPS = 16, IDS = 16 };
    static uint64_t ids[STEPS][IDS];
    static uint8_t counts[STEPS][8];
    struct example_step steps[STEPS];
    size_t n = json_array_size(history);
    for (size_t s = 0; s < n; s++) {
        size_t at = 0;
        for (uint32_t f = 0; f < t->golden.schema.sequences[q].n_fields; f++) {
            counts[s][f] = read_ids(json_array_get(json_array_get(history, s), f), &ids[s][at]);
            at += counts[s][f];
        }
        steps[s] = (struct example_step){.counts = counts[s], .ids = ids[s]};
    }
    return example_stream_sequence(&t->stream, q, steps, (uint32_t)n);
}

static void add_examples(struct training *t)
{
    const json_t *examples = json_object_get(t->golden.data, "examples");
    const struct schema *schema = &t->golden.schema;
    for (size_t i = 0; i < json_array_size(examples); i++) {
        const json_t *from = json_array_get(examples, i);
        uint8_t counts[SCHEMA_FIELDS_MAX];
        uint64_t ids[64];
        size_t at = 0;
        for (uint32_t f = 0; f < schema->n_fields; f++) {
            counts[f] = read_ids(json_array_get(json_object_get(from, "fields"), f), ids + at);
            at += counts[f];
        }
        struct example e = {.user = i + 1, .sample_rate = 1.0f, .counts = counts, .ids = ids};
        e.kind = json_integer_value(json_object_get(from, "label")) != 0 ? EXAMPLE_POSITIVE
                                                                         : EXAMPLE_NEGATIVE;
        for (uint32_t q = 0; q < schema->n_sequences; q++) {
            e.sequence[q] =
                add_history(t, q, json_array_get(json_object_get(from, "sequences"), q));
        }
        (void)example_stream_add(&t->stream, &e);
    }
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static struct trainer_options options(const struct torch_golden *g)
{
    const json_t *o = json_object_get(g->file, "optimizer");
    const json_t *mba = json_object_get(g->file, "mba");
    const char *kind = json_string_value(json_object_get(o, "kind"));
    struct trainer_options out = trainers_options();
    out.model = g->model;
    out.batch_max = g->batch_max;
    out.optimizer = (struct optimizer_options){
        .kind = strcmp(kind, "sgd") == 0    ? OPTIMIZER_SGD
                : strcmp(kind, "adam") == 0 ? OPTIMIZER_ADAM
                                            : OPTIMIZER_ADAGRAD,
        .rate = number(o, "rate"),
        .dense_rate = number(o, "dense_rate"),
        .eps = number(o, "eps"),
        .beta1 = number(o, "beta1"),
        .beta2 = number(o, "beta2"),
        .accumulator = number(o, "accumulator"),
    };
    out.clip_norm = number(g->file, "clip_norm");
    out.regularizer.kind = REGULARIZER_MBA;
    out.regularizer.lambda = number(mba, "lambda");
    if (strcmp(json_string_value(json_object_get(mba, "form")), "count") == 0) {
        out.regularizer.form = REGULARIZER_COUNT;
    }
    out.regularizer.decoupled = json_is_true(json_object_get(mba, "decoupled"));
    return out;
}

static struct table_row *row_of(struct training *t, uint32_t k, uint32_t row)
{
    struct undine_err err = {0};
    uint64_t key = key_of(row);
    uint32_t number_in_table;
    assert_int_equal(table_need(&t->trainer->table[k], &key, &number_in_table, 1, &err), 0);
    return table_row(&t->trainer->table[k], number_in_table);
}

static void training_open(struct training *t, const char *name)
{
    struct undine_err err = {0};
    torch_golden_open(&t->golden, name);
    example_stream_init(&t->stream, &t->golden.schema);
    add_examples(t);
    struct trainer_options o = options(&t->golden);
    assert_int_equal(trainer_open(&t->trainer, &t->golden.schema, &o, &err), 0);
    torch_golden_start(&t->golden, t->trainer->model);
    for (uint32_t k = 0; k < t->golden.schema.n_tables; k++) {
        const struct schema_table *table = &t->golden.schema.tables[k];
        char tensor[SCHEMA_NAME_MAX + 8];
        (void)snprintf(tensor, sizeof tensor, "table.%s", table->name);
        uint32_t rows = torch_golden_rows(&t->golden, k);
        for (uint32_t i = 0; i < rows * table->dim; i++) {
            row_of(t, k, i / table->dim)->value[i % table->dim] =
                (float)torch_golden_initial(&t->golden, tensor, rows, table->dim, i);
        }
    }
    t->fed = 0;
}

static void training_close(struct training *t)
{
    trainer_close(t->trainer);
    example_stream_release(&t->stream);
    torch_golden_close(&t->golden);
}

static void train_to(struct training *t, uint64_t steps)
{
    struct undine_err err = {0};
    for (; t->fed < steps * t->golden.batch_max; t->fed++) {
        uint32_t i = (uint32_t)(t->fed % t->stream.n);
        struct example_block block = example_stream_block(&t->stream, i, i + 1);
        block.first_seq = t->fed;
        assert_true(trainer_learn(t->trainer, &block, UINT32_MAX, &err) >= 0);
    }
    assert_int_equal(t->trainer->counters.steps, steps);
}

static void hold(const char *file, const char *what, const json_t *after, const float *got,
                 size_t n)
{
    double error = torch_golden_error(json_object_get(after, what), got, n);
    if (!(error <= LIMIT)) {
        fail_msg("%s: %s: relative error %.3g, at most %.1g", file, what, error, LIMIT);
    }
}

static void compare(struct training *t, const char *name, const json_t *after)
{
    const json_t *value = json_object_get(after, "value");
    size_t n;
    const struct model_param *p = model_params(t->trainer->model, &n);
    for (size_t k = 0; k < n; k++) {
        hold(name, p[k].name, value, model_values(t->trainer->model) + p[k].offset,
             (size_t)p[k].rows * p[k].cols);
    }
    for (uint32_t k = 0; k < t->golden.schema.n_tables; k++) {
        const struct schema_table *table = &t->golden.schema.tables[k];
        const json_t *counts = json_object_get(json_object_get(after, "n"), table->name);
        static float got[256];
        char tensor[SCHEMA_NAME_MAX + 8];
        uint32_t rows = torch_golden_rows(&t->golden, k);
        for (uint32_t r = 0; r < rows; r++) {
            memcpy(got + r * table->dim, row_of(t, k, r)->value, table->dim * sizeof *got);
            assert_int_equal((int)row_of(t, k, r)->count,
                             json_integer_value(json_array_get(counts, r)));
        }
        (void)snprintf(tensor, sizeof tensor, "table.%s", table->name);
        hold(name, tensor, value, got, (size_t)rows * table->dim);
    }
}

static void check(const char *name)
{
    static struct training t;
    const char *steps;
    json_t *after;
    training_open(&t, name);
    json_object_foreach(json_object_get(t.golden.file, "after"), steps, after)
    {
        train_to(&t, strtoull(steps, NULL, 10));
        compare(&t, name, after);
    }
    training_close(&t);
}

static void test_o1_optimizers_equal_torch(void **state)
{
    (void)state;
    check("optimizer_sgd");
    check("optimizer_adagrad");
    check("optimizer_adagrad_small");
    check("optimizer_adam");
}

static void test_o4_clip_equals_torch(void **state)
{
    (void)state;
    check("optimizer_clip");
}

static void test_m8_m9_mba_equals_torch(void **state)
{
    (void)state;
    static const char *const forms[] = {"once_coupled", "once_decoupled", "count_coupled",
                                        "count_decoupled"};
    static const char *const kinds[] = {"sgd", "adagrad", "adam"};
    for (size_t i = 0; i < 12; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "mba_%s_%s", forms[i / 3], kinds[i % 3]);
        check(name);
    }
}

static void test_forms_after_100_steps_equal_torch(void **state)
{
    (void)state;
    check("form_base_sum");
    check("form_base_mean");
    check("form_din_paper_none");
    check("form_din_official_scaled_softmax");
    check("activation_dice_running");
    check("activation_dice_auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_o1_optimizers_equal_torch),
        cmocka_unit_test(test_o4_clip_equals_torch),
        cmocka_unit_test(test_m8_m9_mba_equals_torch),
        cmocka_unit_test(test_forms_after_100_steps_equal_torch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
