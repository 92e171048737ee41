/* The model against its naive twin in double: logits within 1e-5, gradients (central differences of
 * the twin) within 1e-4 of the largest of the tensor; in the double build far closer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/model_reference.h"
#include "tests/support/toy_batch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EXAMPLES = 40, ROWS = 6, VALUES_MAX = 4096 };
static const double FORWARD_LIMIT = sizeof(real) == 8 ? 1e-12 : 1e-5;
static const double GRADIENT_LIMIT = sizeof(real) == 8 ? 1e-6 : 1e-4;

struct twin {
    struct toy_batch toy;
    struct schema schema;
    struct model_options opt;
    struct model *model;
    struct model_scratch *scratch;
    struct reference reference;
    double values[VALUES_MAX], table[SCHEMA_TABLES_MAX][ROWS * 4];
};

static void twin_open(struct twin *t, const struct model_options *opt, bool own_tables)
{
    struct random r = {11};
    struct undine_err err = {0};
    memset(t, 0, sizeof *t);
    t->opt = *opt;
    toy_schema(&t->schema);
    t->schema.sequences[0].own_tables = own_tables;
    assert_int_equal(schema_check(&t->schema, &err), 0);
    toy_batch_init(
        &t->toy, &t->schema,
        &(struct toy_shape){
            .examples = EXAMPLES, .steps_max = 5, .rows = ROWS, .values = 3, .linear = opt->linear},
        &r);
    assert_int_equal(model_open(&t->model, &t->schema, opt, &err), 0);
    assert_int_equal(model_scratch_open(&t->scratch, t->model, &err), 0);
    assert_true(model_n_values(t->model) <= VALUES_MAX);
    for (size_t i = 0; i < model_n_values(t->model); i++) {
        real *v = &model_values(t->model)[i];
        *v += (real)(0.1 * random_unit(&r));
        t->values[i] = (double)*v;
    }
    t->reference = (struct reference){
        .schema = &t->schema, .opt = &t->opt, .values = t->values, .batch = &t->toy.batch};
    t->reference.params = model_params(t->model, &t->reference.n_params);
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        for (uint32_t i = 0; i < ROWS * t->toy.batch.table[k].width; i++) {
            t->table[k][i] = (double)t->toy.weight[k][i];
        }
        t->reference.table[k] = t->table[k];
    }
}

static void twin_close(struct twin *t)
{
    model_scratch_close(t->scratch);
    model_close(t->model);
    toy_batch_release(&t->toy);
}

static void check_forward(struct twin *t, enum model_mode mode, real *logit, const char *what)
{
    double expected[EXAMPLES];
    struct undine_err err = {0};
    t->reference.train = mode == MODEL_TRAIN;
    reference_logits(&t->reference, expected);
    assert_int_equal(model_forward(t->model, t->scratch, &t->toy.batch, mode, logit, &err), 0);
    for (int i = 0; i < EXAMPLES; i++) {
        double diff = fabs((double)logit[i] - expected[i]);
        if (!(diff <= FORWARD_LIMIT * fmax(1.0, fabs(expected[i])))) {
            fail_msg("%s: logit %d is %.9g, expected %.9g", what, i, (double)logit[i], expected[i]);
        }
    }
}

static void check_tensor(struct twin *t, double *at, const real *grad, size_t n, const char *what,
                         const char *name)
{
    double scale = 1e-3, worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs((double)grad[i]));
    }
    for (size_t i = 0; i < n; i++) {
        double old = at[i];
        at[i] = old + 1e-5;
        double up = reference_loss(&t->reference, t->toy.label);
        at[i] = old - 1e-5;
        double down = reference_loss(&t->reference, t->toy.label);
        at[i] = old;
        worst = fmax(worst, fabs((up - down) / 2e-5 - (double)grad[i]));
    }
    if (!(worst / scale <= GRADIENT_LIMIT)) {
        fail_msg("%s: gradient of %s: relative error %.3g", what, name, worst / scale);
    }
}

static void check_with(const struct model_options *opt, bool own_tables, const char *what)
{
    static struct twin t;
    real logit[EXAMPLES], dlogit[EXAMPLES];
    twin_open(&t, opt, own_tables);
    check_forward(&t, MODEL_SERVE, logit, what);
    check_forward(&t, MODEL_TRAIN, logit, what);
    for (int i = 0; i < EXAMPLES; i++) {
        dlogit[i] = (model_sigmoid(logit[i]) - t.toy.label[i]) / EXAMPLES;
    }
    assert_int_equal(model_backward(t.model, t.scratch, &t.toy.batch, dlogit, NULL), 0);
    for (size_t i = 0; i < t.reference.n_params; i++) {
        const struct model_param *p = &t.reference.params[i];
        if (p->trained) {
            check_tensor(&t, t.values + p->offset, model_grads(t.model) + p->offset,
                         (size_t)p->rows * p->cols, what, p->name);
        }
    }
    for (uint32_t k = 0; k < t.schema.n_tables; k++) {
        check_tensor(&t, t.table[k], t.toy.grad[k], (size_t)ROWS * t.toy.batch.table[k].width, what,
                     t.schema.tables[k].name);
    }
    twin_close(&t);
}

static void check(const struct model_options *opt, const char *what)
{
    check_with(opt, false, what);
}

static struct model_options small(void)
{
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.unit.n_hidden = 2;
    o.unit.hidden[0] = 5;
    o.unit.hidden[1] = 3;
    o.mlp.hidden[0] = 6;
    o.mlp.hidden[1] = 4;
    o.dice.alpha = 0.1;
    o.seed = 5;
    return o;
}

static void test_base(void **state)
{
    (void)state;
    struct model_options o = small();
    o.kind = MODEL_BASE;
    check(&o, "base sum");
    o.base_pool = SCHEMA_POOL_MEAN;
    check(&o, "base mean");
    o.base_pool = SCHEMA_POOL_SUM;
    o.unit.normalize = UNIT_SOFTMAX; /* of no concern to a model without unit */
    check(&o, "base sum, softmax");
}

static void test_din_activations(void **state)
{
    (void)state;
    struct model_options o = small();
    for (int i = ACT_SIGMOID; i <= ACT_DICE; i++) {
        char what[32];
        (void)snprintf(what, sizeof what, "activation %d", i);
        o.unit.activation = o.mlp.activation = (enum model_activation)i;
        check(&o, what);
    }
}

static void test_linear(void **state)
{
    (void)state;
    struct model_options o = small();
    o.linear = true;
    check(&o, "din, linear");
    o.kind = MODEL_BASE;
    check(&o, "base, linear");
}

static void test_sum_history_and_product(void **state)
{
    (void)state;
    struct model_options o = small();
    o.product = true;
    check(&o, "din, product");
    o.sum_history = true;
    check(&o, "din, product, sum_history");
    o.product = false;
    o.unit.input = UNIT_OFFICIAL;
    o.unit.normalize = UNIT_SOFTMAX;
    check(&o, "official, softmax, sum_history");
    o.sum_history = false;
    o.product = true;
    o.kind = MODEL_BASE;
    check(&o, "base, product");
}

static void test_din_official_softmax(void **state)
{
    (void)state;
    struct model_options o = small();
    o.unit.input = UNIT_OFFICIAL;
    o.unit.activation = ACT_SIGMOID;
    o.unit.normalize = UNIT_SOFTMAX;
    o.dice.mode = DICE_RUNNING;
    check(&o, "official, softmax");
    o.unit.normalize = UNIT_SQRT_DIM;
    check(&o, "official, sqrt_dim");
    o.unit.normalize = UNIT_LENGTH;
    check(&o, "official, length");
    o.unit.normalize = UNIT_SCALED_SOFTMAX;
    check(&o, "official, scaled_softmax");
}

/* `shared: false` of one of two sequences that share tables otherwise. */
static void test_own_tables_of_a_sequence(void **state)
{
    (void)state;
    struct model_options o = small();
    check_with(&o, true, "own tables");
    o.linear = o.product = o.sum_history = true;
    check_with(&o, true, "own tables, linear, product, sum_history");
    o.sum_history = false;
    o.kind = MODEL_BASE;
    check_with(&o, true, "own tables, base");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_din_activations),
        cmocka_unit_test(test_din_official_softmax),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_sum_history_and_product),
        cmocka_unit_test(test_own_tables_of_a_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
