/* Forward and gradients of every model form and activation against PyTorch in double
 * (tests/golden/torch): the float build within 1e-5 and 1e-4 of the largest number of a tensor, the
 * double build within 1e-9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/sequence.h"
#include "tests/support/torch_golden.h"

#include <stdio.h>
#include <string.h>

static const double FORWARD_LIMIT = sizeof(real) == 8 ? 1e-9 : 1e-5;
static const double GRADIENT_LIMIT = sizeof(real) == 8 ? 1e-9 : 1e-4;

enum { EXAMPLES_MAX = 64 };

struct parity {
    struct torch_golden golden;
    struct toy_batch toy;
    struct model *model;
    struct model_scratch *scratch;
    real logit[EXAMPLES_MAX];
};

static void parity_open(struct parity *p, const char *name)
{
    struct undine_err err = {0};
    memset(p, 0, sizeof *p);
    torch_golden_open(&p->golden, name);
    torch_golden_batch(&p->golden, &p->toy);
    assert_true(p->golden.batch_max <= EXAMPLES_MAX);
    assert_int_equal(model_open(&p->model, &p->golden.schema, &p->golden.model, &err), 0);
    assert_int_equal(model_scratch_open(&p->scratch, p->model, &err), 0);
    torch_golden_start(&p->golden, p->model);
}

static void parity_close(struct parity *p)
{
    model_scratch_close(p->scratch);
    model_close(p->model);
    toy_batch_release(&p->toy);
    torch_golden_close(&p->golden);
}

static void hold(const char *file, const char *what, const json_t *expected, const real *got,
                 size_t n, double limit)
{
    double error = torch_golden_error(expected, got, n);
    if (!(error <= limit)) {
        fail_msg("%s: %s: relative error %.3g, at most %.1g", file, what, error, limit);
    }
}

static void check_gradients(struct parity *p, const char *name)
{
    const json_t *gradient = json_object_get(p->golden.file, "gradient");
    real dlogit[EXAMPLES_MAX];
    uint32_t n = p->golden.batch_max;
    size_t n_params;
    const struct model_param *param = model_params(p->model, &n_params);
    for (uint32_t i = 0; i < n; i++) {
        dlogit[i] = (model_sigmoid(p->logit[i]) - p->toy.label[i]) / (real)n;
    }
    assert_int_equal(model_backward(p->model, p->scratch, &p->toy.batch, dlogit, NULL), 0);
    for (size_t k = 0; k < n_params; k++) {
        if (param[k].trained) {
            hold(name, param[k].name, json_object_get(gradient, param[k].name),
                 model_grads(p->model) + param[k].offset, (size_t)param[k].rows * param[k].cols,
                 GRADIENT_LIMIT);
        }
    }
    for (uint32_t k = 0; k < p->golden.schema.n_tables; k++) {
        char table[SCHEMA_NAME_MAX + 8];
        const struct schema_table *t = &p->golden.schema.tables[k];
        (void)snprintf(table, sizeof table, "table.%s", t->name);
        hold(name, table, json_object_get(gradient, table), p->toy.grad[k],
             (size_t)p->toy.batch.table[k].n_rows * p->toy.batch.table[k].width, GRADIENT_LIMIT);
    }
}

static void check(const char *name)
{
    static struct parity p;
    parity_open(&p, name);
    assert_int_equal(model_forward(p.model, p.scratch, &p.toy.batch, MODEL_TRAIN, p.logit, NULL),
                     0);
    const json_t *forward = json_object_get(p.golden.file, "forward");
    hold(name, "logit", json_object_get(forward, "logit"), p.logit, p.golden.batch_max,
         FORWARD_LIMIT);
    check_gradients(&p, name);
    parity_close(&p);
}

static void test_a8_forms_equal_torch(void **state)
{
    (void)state;
    check("form_base_sum");
    check("form_base_mean");
    check("form_din_paper_none");
    check("form_din_paper_softmax");
    check("form_din_paper_sqrt_dim");
    check("form_din_paper_length");
    check("form_din_official");
    check("form_din_official_scaled_softmax");
}

static void test_a8_heads_and_the_linear_part_equal_torch(void **state)
{
    (void)state;
    check("form_linear");
    check("form_base_product_linear");
    check("form_product");
    check("form_sum_history");
    check("form_all");
}

/* Each sequence has an activation unit of its own, of its own width; all of them look into the same
 * tables, as do the candidate's fields. */
static void test_a8_several_sequences_equal_torch(void **state)
{
    (void)state;
    static struct parity p;
    parity_open(&p, "form_three_sequences");
    const struct schema *s = &p.golden.schema;
    assert_int_equal(s->n_sequences, 3);
    assert_int_equal(s->sequences[0].field[0], s->sequences[1].field[1]); /* item */
    assert_int_equal(s->sequences[1].field[0], s->sequences[2].field[0]); /* category */
    assert_true(schema_step_dim(s, 1) != schema_step_dim(s, 2));
    parity_close(&p);
    check("form_din_paper_none"); /* two */
    check("form_three_sequences");
}

/* The steps of one of two sequences have tables of their own: nothing of the candidate's. */
static void test_a8_own_tables_equal_torch(void **state)
{
    (void)state;
    static struct parity p;
    parity_open(&p, "form_own_tables");
    assert_int_equal(p.golden.schema.n_tables, 7);
    assert_string_equal(p.golden.schema.tables[5].name, "clicks.item");
    parity_close(&p);
    check("form_own_tables");
}

static void test_activations_equal_torch(void **state)
{
    (void)state;
    check("activation_sigmoid");
    check("activation_relu");
    check("activation_tanh");
    check("activation_prelu");
}

static void test_d1_dice_equals_torch(void **state)
{
    (void)state;
    check("form_din_paper_none");
    check("activation_dice_running");
    check("activation_dice_auto");
}

/* The comparison sees one number that is off by a thousandth of the largest. */
static void test_a_changed_number_is_noticed(void **state)
{
    (void)state;
    static struct parity p;
    parity_open(&p, "form_din_paper_none");
    json_t *logit = json_object_get(json_object_get(p.golden.file, "forward"), "logit");
    assert_int_equal(model_forward(p.model, p.scratch, &p.toy.batch, MODEL_TRAIN, p.logit, NULL),
                     0);
    assert_true(torch_golden_error(logit, p.logit, p.golden.batch_max) <= FORWARD_LIMIT);
    double old = json_number_value(json_array_get(logit, 3));
    (void)json_array_set_new(logit, 3, json_real(old + 1e-3));
    assert_false(torch_golden_error(logit, p.logit, p.golden.batch_max) <= FORWARD_LIMIT);
    parity_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a8_forms_equal_torch),
        cmocka_unit_test(test_a8_heads_and_the_linear_part_equal_torch),
        cmocka_unit_test(test_a8_several_sequences_equal_torch),
        cmocka_unit_test(test_a8_own_tables_equal_torch),
        cmocka_unit_test(test_activations_equal_torch),
        cmocka_unit_test(test_d1_dice_equals_torch),
        cmocka_unit_test(test_a_changed_number_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
