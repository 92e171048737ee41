/* A8, A9 and the gradient checks of every layer, end to end and in double: central differences of
 * the mean logloss against model_backward, for every parameter and every row.  The batch has
 * multi-hot bags, ids that repeat in a history, tables hit as behaviour and as candidate, histories
 * that are shared by examples, and empty ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EXAMPLES = 40 };
static const double STEP = 1e-5, LIMIT = 1e-6;

struct check {
    struct toy_batch toy;
    struct model *model;
    struct model_scratch *scratch;
    size_t n_values;
    real start[8192]; /* values before the check: training moves Dice's statistics */
};

static double loss(struct check *c)
{
    real logit[EXAMPLES];
    memcpy(model_values(c->model), c->start, c->n_values * sizeof(real));
    assert_int_equal(model_forward(c->model, c->scratch, &c->toy.batch, MODEL_TRAIN, logit, NULL),
                     0);
    double sum = 0.0;
    for (int i = 0; i < EXAMPLES; i++) {
        sum += model_logloss((double)logit[i], (double)c->toy.label[i]);
    }
    return sum / EXAMPLES;
}

static void gradient(struct check *c)
{
    real logit[EXAMPLES], dlogit[EXAMPLES];
    memcpy(model_values(c->model), c->start, c->n_values * sizeof(real));
    model_zero_grads(c->model);
    toy_batch_zero_grads(&c->toy);
    assert_int_equal(model_forward(c->model, c->scratch, &c->toy.batch, MODEL_TRAIN, logit, NULL),
                     0);
    for (int i = 0; i < EXAMPLES; i++) {
        dlogit[i] = (model_sigmoid(logit[i]) - c->toy.label[i]) / EXAMPLES;
    }
    assert_int_equal(model_backward(c->model, c->scratch, &c->toy.batch, dlogit, NULL), 0);
}

/* Relative to the size of the tensor's gradient, so that a near zero does not count as an error. */
static double worst(struct check *c, real *at, const real *grad, size_t n)
{
    double scale = 1e-4, diff = 0.0;
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs((double)grad[i]));
    }
    for (size_t i = 0; i < n; i++) {
        real old = at[i];
        at[i] = old + (real)STEP;
        double up = loss(c);
        at[i] = old - (real)STEP;
        double down = loss(c);
        at[i] = old;
        diff = fmax(diff, fabs((up - down) / (2 * STEP) - (double)grad[i]));
    }
    return diff / scale;
}

static void check_schema(const struct schema *schema, const struct model_options *opt,
                         const char *what)
{
    static struct check c;
    static real grads[8192];
    struct random r = {7};
    struct undine_err err = {0};
    memset(&c, 0, sizeof c);
    toy_batch_init(
        &c.toy, schema,
        &(struct toy_shape){
            .examples = EXAMPLES, .steps_max = 4, .rows = 6, .values = 3, .linear = opt->linear},
        &r);
    assert_int_equal(model_open(&c.model, schema, opt, &err), 0);
    assert_int_equal(model_scratch_open(&c.scratch, c.model, &err), 0);
    c.n_values = model_n_values(c.model);
    assert_true(c.n_values <= 8192);
    for (size_t i = 0; i < c.n_values;
         i++) { /* biases, alphas and moving averages off their start */
        model_values(c.model)[i] += (real)(0.1 * random_unit(&r));
    }
    memcpy(c.start, model_values(c.model), c.n_values * sizeof(real));
    gradient(&c);
    memcpy(grads, model_grads(c.model), c.n_values * sizeof(real));
    size_t n_params;
    const struct model_param *p = model_params(c.model, &n_params);
    for (size_t i = 0; i < n_params; i++) {
        if (!p[i].trained) {
            continue;
        }
        double e =
            worst(&c, c.start + p[i].offset, grads + p[i].offset, (size_t)p[i].rows * p[i].cols);
        if (!(e <= LIMIT)) {
            fail_msg("%s: %s: relative error %.3g", what, p[i].name, e);
        }
    }
    for (uint32_t t = 0; t < schema->n_tables; t++) {
        double e =
            worst(&c, c.toy.weight[t], c.toy.grad[t], (size_t)6 * c.toy.batch.table[t].width);
        if (!(e <= LIMIT)) {
            fail_msg("%s: table %s: relative error %.3g", what, schema->tables[t].name, e);
        }
    }
    model_scratch_close(c.scratch);
    model_close(c.model);
    toy_batch_release(&c.toy);
}

static void check_model(const struct model_options *opt, const char *what)
{
    struct schema schema;
    toy_schema(&schema);
    check_schema(&schema, opt, what);
}

static struct model_options small(enum model_kind kind)
{
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.kind = kind;
    o.unit.n_hidden = 2;
    o.unit.hidden[0] = 5;
    o.unit.hidden[1] = 3;
    o.mlp.hidden[0] = 7;
    o.mlp.hidden[1] = 4;
    o.unit.activation = o.mlp.activation = ACT_SIGMOID;
    o.seed = 3;
    return o;
}

static void test_a8_a9_gradient_of_base(void **state)
{
    (void)state;
    struct model_options o = small(MODEL_BASE);
    check_model(&o, "base sum");
    o.base_pool = SCHEMA_POOL_MEAN;
    check_model(&o, "base mean");
}

static void test_a8_a9_gradient_of_activations(void **state)
{
    (void)state;
    static const char *const names[] = {"sigmoid", "relu", "tanh", "prelu", "dice"};
    struct model_options o = small(MODEL_DIN);
    for (int i = ACT_SIGMOID; i <= ACT_DICE; i++) {
        o.unit.activation = o.mlp.activation = (enum model_activation)i;
        o.dice.alpha = 0.2;
        check_model(&o, names[i]);
    }
}

static void test_a8_a9_gradient_of_dice_modes(void **state)
{
    (void)state;
    struct model_options o = small(MODEL_DIN);
    o.unit.activation = o.mlp.activation = ACT_DICE;
    o.dice.mode = DICE_BATCH;
    check_model(&o, "dice batch");
    o.dice.mode = DICE_RUNNING;
    check_model(&o, "dice running");
}

static void test_a8_a9_gradient_of_unit_inputs_and_normalisation(void **state)
{
    (void)state;
    struct model_options o = small(MODEL_DIN);
    for (int input = UNIT_PAPER; input <= UNIT_OFFICIAL; input++) {
        for (int norm = UNIT_NONE; norm <= UNIT_SCALED_SOFTMAX; norm++) {
            char what[64];
            o.unit.input = (enum model_unit_input)input;
            o.unit.normalize = (enum model_normalize)norm;
            (void)snprintf(what, sizeof what, "input %d normalize %d", input, norm);
            check_model(&o, what);
        }
    }
}

static void test_a8_a9_gradient_of_linear(void **state)
{
    (void)state;
    struct model_options o = small(MODEL_BASE);
    o.linear = true;
    check_model(&o, "base linear");
    o.kind = MODEL_DIN;
    check_model(&o, "din linear");
}

static void test_a8_a9_gradient_of_sum_history_and_product(void **state)
{
    (void)state;
    struct model_options o = small(MODEL_DIN);
    o.sum_history = true;
    check_model(&o, "din sum_history");
    o.product = true;
    check_model(&o, "din sum_history product");
    o.unit.input = UNIT_OFFICIAL;
    o.unit.normalize = UNIT_SCALED_SOFTMAX;
    o.linear = true;
    check_model(&o, "official scaled_softmax sum_history product linear");
    o.sum_history = false;
    check_model(&o, "official scaled_softmax product linear");
    o.kind = MODEL_BASE;
    check_model(&o, "base product linear");
}

static void test_a8_a9_gradient_of_one_unit_layer(void **state)
{
    (void)state;
    struct model_options o = small(MODEL_DIN);
    o.unit.n_hidden = 1;
    o.unit.hidden[0] = 36;
    o.unit.hidden[1] = 0;
    o.unit.activation = ACT_DICE;
    check_model(&o, "one unit layer");
}

/* A third sequence, of one field that another one has too: each has its own unit, with its own
 * statistics, and all of them the tables of the candidate. */
static void test_a8_a9_gradient_of_three_sequences(void **state)
{
    (void)state;
    struct model_options o = small(MODEL_DIN);
    struct undine_err err = {0};
    struct schema schema;
    toy_schema(&schema);
    struct schema_sequence *q = &schema.sequences[schema.n_sequences++];
    *q = schema.sequences[1];
    (void)snprintf(q->name, sizeof q->name, "views");
    q->n_fields = 1;
    assert_int_equal(q->field[0], schema.sequences[1].field[0]);
    assert_int_equal(schema_check(&schema, &err), 0);
    o.unit.activation = o.mlp.activation = ACT_DICE;
    o.dice.mode = DICE_BATCH;
    check_schema(&schema, &o, "three sequences");
    o.product = o.sum_history = o.linear = true;
    o.unit.normalize = UNIT_SOFTMAX;
    check_schema(&schema, &o, "three sequences, softmax, product, sum_history, linear");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a8_a9_gradient_of_base),
        cmocka_unit_test(test_a8_a9_gradient_of_activations),
        cmocka_unit_test(test_a8_a9_gradient_of_dice_modes),
        cmocka_unit_test(test_a8_a9_gradient_of_unit_inputs_and_normalisation),
        cmocka_unit_test(test_a8_a9_gradient_of_one_unit_layer),
        cmocka_unit_test(test_a8_a9_gradient_of_three_sequences),
        cmocka_unit_test(test_a8_a9_gradient_of_linear),
        cmocka_unit_test(test_a8_a9_gradient_of_sum_history_and_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
