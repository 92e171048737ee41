/* Options to JSON and back, what is refused and how, and where initial weights come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/model.h"
#include "learner/model/row.h"
#include "tests/support/toy_batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void round_trip(const struct model_options *o)
{
    struct model_options back;
    struct undine_err err = {0};
    memset(&back, 0xA5, sizeof back);
    char *text = model_options_to_json(o);
    assert_non_null(text);
    assert_int_equal(model_options_from_json(&back, text, &err), 0);
    char *again = model_options_to_json(&back);
    assert_string_equal(text, again);
    assert_int_equal(back.kind, o->kind);
    assert_int_equal(back.unit.n_hidden, o->unit.n_hidden);
    assert_int_equal(back.unit.hidden[1], o->unit.hidden[1]);
    assert_int_equal(back.mlp.hidden[0], o->mlp.hidden[0]);
    assert_int_equal(back.dice.mode, o->dice.mode);
    assert_true(back.dice.eps == o->dice.eps && back.dice.momentum == o->dice.momentum);
    assert_true(back.sum_history == o->sum_history && back.product == o->product &&
                back.linear == o->linear);
    assert_true(back.prelu_alpha == o->prelu_alpha && back.seed == o->seed);
    free(text);
    free(again);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    round_trip(&o);
    o.kind = MODEL_BASE;
    o.base_pool = SCHEMA_POOL_MEAN;
    o.unit.input = UNIT_OFFICIAL;
    o.unit.n_hidden = 2;
    o.unit.hidden[0] = 80;
    o.unit.hidden[1] = 40;
    o.unit.activation = ACT_SIGMOID;
    o.unit.normalize = UNIT_LENGTH;
    o.mlp.activation = ACT_TANH;
    o.dice.mode = DICE_BATCH;
    o.dice.eps = 1.0 / 3.0;
    o.prelu_alpha = 0.1 + 1e-16;
    o.seed = INT64_MAX;
    o.product = o.linear = true;
    round_trip(&o);
    o.kind = MODEL_DIN;
    o.sum_history = true;
    o.product = false;
    round_trip(&o);
}

static void test_defaults(void **state)
{
    (void)state;
    struct model_options o;
    assert_int_equal(model_options_from_json(&o, "{}", NULL), 0);
    assert_int_equal(o.kind, MODEL_DIN);
    assert_int_equal(o.unit.n_hidden, 1);
    assert_int_equal(o.unit.hidden[0], 36);
    assert_int_equal(o.mlp.hidden[1], 80);
    assert_int_equal(o.dice.mode, DICE_AUTO);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"", "no JSON"},
        {"[]", "must be a JSON object"},
        {"{\"kind\": \"dien\"}", "kind is `dien`, expected one of: base, din"},
        {"{\"kind\": 3}", "kind is `not a string`"},
        {"{\"kid\": \"din\"}", "no option `kid`"},
        {"{\"unit\": {\"inputs\": \"paper\"}}", "unit has no option `inputs`"},
        {"{\"unit\": 3}", "unit must be a JSON object"},
        {"{\"unit\": {\"hidden\": []}}", "unit.hidden must be a list of 1 to 8"},
        {"{\"unit\": {\"hidden\": [1,2,3,4,5,6,7,8,9]}}", "unit.hidden must be a list of 1 to 8"},
        {"{\"mlp\": {\"hidden\": [200, 0]}}", "mlp.hidden[1] is 0"},
        {"{\"mlp\": {\"hidden\": [4294967297]}}", "mlp.hidden[0] is 4294967297"},
        {"{\"mlp\": {\"hidden\": [1.5]}}", "expected an integer"},
        {"{\"dice\": {\"eps\": -1}}", "dice.eps is -1"},
        {"{\"product\": 1}", "product must be true or false"},
        {"{\"kind\": \"base\", \"sum_history\": true}", "sum_history is true with kind `base`"},
        {"{\"dice\": {\"eps\": \"x\"}}", "dice.eps must be a number"},
        {"{\"dice\": {\"momentum\": 1}}", "dice.momentum is 1"},
        {"{\"seed\": -1}", "seed must be an integer"},
        {"{\"seed\": 1, \"seed\": 2}", "duplicate"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct model_options o = {.seed = 77};
        struct undine_err err = {0};
        assert_int_equal(model_options_from_json(&o, bad[i].json, &err), UNDINE_ECONFIG);
        if (strstr(err.msg, bad[i].says) == NULL) {
            fail_msg("%s: says `%s`, expected `%s`", bad[i].json, err.msg, bad[i].says);
        }
        assert_int_equal(o.seed, 77);
    }
}

static void test_open_refuses(void **state)
{
    (void)state;
    struct schema schema;
    struct model *m = NULL;
    struct undine_err err = {0};
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    toy_schema(&schema);
    o.mlp.n_hidden = 0;
    assert_int_equal(model_open(&m, &schema, &o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "mlp.hidden has 0 layers"));
    assert_null(m);
    o = MODEL_OPTIONS_DEFAULT;
    o.dice.momentum = (double)NAN;
    assert_int_equal(model_open(&m, &schema, &o, &err), UNDINE_ECONFIG);
    o = MODEL_OPTIONS_DEFAULT;
    o.sum_history = true;
    schema.n_sequences = 0;
    assert_int_equal(model_open(&m, &schema, &o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "model.sum_history is true, but the schema has no sequence"));
    o = MODEL_OPTIONS_DEFAULT;
    o.seed = UINT64_MAX;
    assert_int_equal(model_open(&m, &schema, &o, &err), UNDINE_ECONFIG);
    model_close(NULL);
    model_scratch_close(NULL);
}

static const struct model_param *find(const struct model *m, const char *name)
{
    size_t n;
    const struct model_param *p = model_params(m, &n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(p[i].name, name) == 0) {
            return &p[i];
        }
    }
    return NULL;
}

/* A tensor that two models share starts equal in both, whatever else they have. */
static void test_initial_weights(void **state)
{
    (void)state;
    struct schema schema;
    struct model *din, *base, *other;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    toy_schema(&schema);
    assert_int_equal(model_open(&din, &schema, &o, NULL), 0);
    o.kind = MODEL_BASE;
    assert_int_equal(model_open(&base, &schema, &o, NULL), 0);
    o.seed = 1;
    assert_int_equal(model_open(&other, &schema, &o, NULL), 0);
    assert_null(find(base, "unit.clicks.0.weight"));
    const struct model_param *w = find(din, "unit.clicks.0.weight");
    assert_int_equal(w->rows, 3 * 5);
    assert_int_equal(w->cols, 36);
    const struct model_param *a = find(din, "mlp.1.weight"), *b = find(base, "mlp.1.weight");
    size_t bytes = (size_t)a->rows * a->cols * sizeof(real);
    real limit = (real)sqrt(6.0 / (200 + 80)), largest = 0;
    assert_memory_equal(model_values(din) + a->offset, model_values(base) + b->offset, bytes);
    assert_memory_not_equal(model_values(din) + a->offset, model_values(other) + b->offset, bytes);
    for (size_t i = 0; i < bytes / sizeof(real); i++) {
        largest = (real)fmax((double)largest, fabs((double)model_values(din)[a->offset + i]));
    }
    assert_true(largest <= limit && largest > R(0.99) * limit);
    assert_true(model_values(din)[find(din, "mlp.0.var")->offset] == 1);
    assert_false(find(din, "mlp.0.var")->trained);
    assert_true(find(din, "mlp.0.alpha")->trained);
    model_close(din);
    model_close(base);
    model_close(other);
}

static void test_rows(void **state)
{
    (void)state;
    enum { DIM = 18, ROWS = 4000 };
    float a[DIM], b[DIM];
    double sum = 0.0, squares = 0.0;
    row_initial(a, DIM, 42, &(struct row_init){.seed = 1, .scale = 0.1F});
    row_initial(b, DIM, 42, &(struct row_init){.seed = 1, .scale = 0.1F});
    assert_memory_equal(a, b, sizeof a);
    row_initial(b, DIM, 43, &(struct row_init){.seed = 1, .scale = 0.1F});
    assert_memory_not_equal(a, b, sizeof a);
    row_initial(b, DIM, 42, &(struct row_init){.seed = 2, .scale = 0.1F});
    assert_memory_not_equal(a, b, sizeof a);
    for (uint64_t k = 0; k < ROWS; k++) {
        row_initial(a, DIM, k, &(struct row_init){.seed = 1, .scale = 0.1F});
        for (int i = 0; i < DIM; i++) {
            sum += (double)a[i];
            squares += (double)a[i] * (double)a[i];
        }
    }
    double n = (double)DIM * ROWS;
    assert_true(fabs(sum / n) < 0.002 && fabs(sqrt(squares / n) - 0.1) < 0.002);
    row_initial(b, DIM, 42, &(struct row_init){.seed = 1, .scale = 0.1F});
    row_initial(a, DIM, 42, &(struct row_init){.seed = 1, .scale = 0.1F, .n_zeros = 1});
    assert_memory_equal(a, b, (DIM - 1) * sizeof a[0]); /* the embedding is the same */
    assert_true(a[DIM - 1] == 0 && b[DIM - 1] != 0);
    row_initial(a, DIM, 42, &(struct row_init){.seed = 1, .scale = 0.0F});
    assert_true(a[0] == 0 && a[DIM - 1] == 0);
}

/* O3: the loss of a logit is finite for any, and its slope is p - y. */
static void test_o3_loss(void **state)
{
    (void)state;
    assert_true(fabs(model_logloss(0.0, 1.0) - log(2.0)) < 1e-15);
    assert_true(fabs(model_logloss(1e4, 1.0)) < 1e-12 &&
                fabs(model_logloss(1e4, 0.0) - 1e4) < 1e-9);
    assert_true(isfinite(model_logloss(-1e300, 1.0)) && isfinite(model_logloss(1e300, 0.0)));
    for (double z = -30; z <= 30; z += 0.7) {
        double slope = (model_logloss(z + 1e-5, 1.0) - model_logloss(z - 1e-5, 1.0)) / 2e-5;
        assert_true(fabs(slope - ((double)model_sigmoid((real)z) - 1.0)) < 1e-6);
    }
    assert_true(model_sigmoid(R(-1e4)) == 0 && model_sigmoid(R(1e4)) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_initial_weights), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_o3_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
