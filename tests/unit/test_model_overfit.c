/* S1: with plain SGD each model learns 64 rows by heart; and what a step costs in allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLES = 64, ROWS = 64 };

/* The linker sends every allocation here: they are counted, and the n-th can be made to fail. */
static long n_allocations, fail_at = -1;

void *__real_aligned_alloc(size_t align, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);

static bool fails(void)
{
    return n_allocations++ == fail_at;
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    return fails() ? NULL : __real_aligned_alloc(align, bytes);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

struct fit {
    struct toy_batch toy;
    struct model *model;
    struct model_scratch *scratch;
    real dlogit[EXAMPLES];
};

static void fit_batch(struct fit *f, bool linear)
{
    struct random r = {17};
    struct schema schema;
    memset(f, 0, sizeof *f);
    toy_schema(&schema);
    toy_batch_init(
        &f->toy, &schema,
        &(struct toy_shape){
            .examples = EXAMPLES, .steps_max = 6, .rows = ROWS, .values = 3, .linear = linear},
        &r);
}

static int fit_open(struct fit *f, const struct model_options *o, struct undine_err *err)
{
    int rc = model_open(&f->model, &f->toy.schema, o, err);
    return rc == 0 ? model_scratch_open(&f->scratch, f->model, err) : rc;
}

static void fit_close(struct fit *f)
{
    model_scratch_close(f->scratch);
    model_close(f->model);
    f->scratch = NULL;
    f->model = NULL;
}

/* Mean logloss before the step. */
static int fit_step(struct fit *f, double *loss, struct undine_err *err)
{
    real logit[EXAMPLES];
    int rc = model_forward(f->model, f->scratch, &f->toy.batch, MODEL_TRAIN, logit, err);
    if (rc != 0) {
        return rc;
    }
    *loss = 0.0;
    for (int i = 0; i < EXAMPLES; i++) {
        *loss += model_logloss((double)logit[i], (double)f->toy.label[i]) / EXAMPLES;
        f->dlogit[i] = (model_sigmoid(logit[i]) - f->toy.label[i]) / EXAMPLES;
    }
    model_zero_grads(f->model);
    toy_batch_zero_grads(&f->toy);
    return model_backward(f->model, f->scratch, &f->toy.batch, f->dlogit, err);
}

static void sgd(struct fit *f, real rate)
{
    size_t n;
    const struct model_param *p = model_params(f->model, &n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; p[i].trained && k < (size_t)p[i].rows * p[i].cols; k++) {
            model_values(f->model)[p[i].offset + k] -=
                rate * model_grads(f->model)[p[i].offset + k];
        }
    }
    for (uint32_t t = 0; t < f->toy.schema.n_tables; t++) {
        for (size_t k = 0; k < (size_t)ROWS * f->toy.batch.table[t].width; k++) {
            f->toy.weight[t][k] -= rate * f->toy.grad[t][k];
        }
    }
}

static void overfit(const struct model_options *o, const char *what)
{
    static struct fit f;
    struct undine_err err = {0};
    double loss = 1.0;
    int steps = 0;
    fit_batch(&f, o->linear);
    assert_int_equal(fit_open(&f, o, &err), 0);
    for (; steps < 3000 && loss >= 0.01; steps++) {
        assert_int_equal(fit_step(&f, &loss, &err), 0);
        sgd(&f, R(0.2));
    }
    printf("%s: logloss %.4f after %d steps\n", what, loss, steps);
    assert_true(loss < 0.01);
    fit_close(&f);
    toy_batch_release(&f.toy);
}

static void test_s1_activations(void **state)
{
    (void)state;
    static const char *const names[] = {"din, paper, sigmoid", "din, paper, relu",
                                        "din, paper, tanh", "din, paper, prelu",
                                        "din, paper, dice"};
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    for (int i = ACT_SIGMOID; i <= ACT_DICE; i++) {
        o.unit.activation = o.mlp.activation = (enum model_activation)i;
        overfit(&o, names[i]);
    }
}

static void test_s1_base(void **state)
{
    (void)state;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.kind = MODEL_BASE;
    overfit(&o, "base, sum");
    o.base_pool = SCHEMA_POOL_MEAN;
    overfit(&o, "base, mean");
    o.product = true;
    overfit(&o, "base, mean, product");
    o.linear = true;
    overfit(&o, "base, mean, product, linear");
}

static void test_s1_official(void **state)
{
    (void)state;
    static const char *const names[] = {"official, none", "official, softmax", "official, sqrt_dim",
                                        "official, length", "official, scaled_softmax"};
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.unit.input = UNIT_OFFICIAL;
    o.unit.n_hidden = 2;
    o.unit.hidden[0] = 80;
    o.unit.hidden[1] = 40;
    o.unit.activation = ACT_SIGMOID;
    for (int i = UNIT_NONE; i <= UNIT_SCALED_SOFTMAX; i++) {
        o.unit.normalize = (enum model_normalize)i;
        overfit(&o, names[i]);
    }
    o.product = true;
    overfit(&o, "official, scaled_softmax, product");
    o.product = false;
    o.unit.normalize = UNIT_SOFTMAX;
    o.sum_history = true;
    overfit(&o, "official, softmax, sum_history");
}

static void test_s1_paper_with_all_parts(void **state)
{
    (void)state;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.linear = true;
    overfit(&o, "din, paper, linear");
    o.sum_history = o.product = true;
    overfit(&o, "din, paper, linear, sum_history, product");
}

static void test_no_allocation_in_steady_state(void **state)
{
    (void)state;
    static struct fit f;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.sum_history = o.product = true;
    double loss;
    fit_batch(&f, o.linear);
    assert_int_equal(fit_open(&f, &o, NULL), 0);
    assert_int_equal(fit_step(&f, &loss, NULL), 0);
    long before = n_allocations;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fit_step(&f, &loss, NULL), 0);
        real logit[EXAMPLES];
        f.toy.batch.n = EXAMPLES / 2;
        assert_int_equal(model_score(f.model, f.scratch, &f.toy.batch, logit, NULL), 0);
        f.toy.batch.n = EXAMPLES;
    }
    assert_int_equal(n_allocations, before);
    fit_close(&f);
    toy_batch_release(&f.toy);
}

/* Whichever allocation fails, the error is clean and the next step of the same scratch works. */
static void test_out_of_memory(void **state)
{
    (void)state;
    static struct fit f;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.sum_history = true;
    fit_batch(&f, o.linear);
    long n = 0;
    for (bool failed = true; failed; n++) {
        struct undine_err err = {0};
        double loss;
        n_allocations = 0;
        fail_at = n;
        int rc = fit_open(&f, &o, &err);
        if (rc == 0) {
            rc = fit_step(&f, &loss, &err);
        }
        failed = fail_at < n_allocations;
        fail_at = -1;
        assert_int_equal(rc, failed ? UNDINE_ENOMEM : UNDINE_OK);
        assert_int_equal(err.code, rc);
        if (f.scratch != NULL) {
            assert_int_equal(fit_step(&f, &loss, NULL), 0);
        }
        fit_close(&f);
    }
    printf("%ld allocations failed, one at a time\n", n - 1);
    assert_true(n > 30);
    toy_batch_release(&f.toy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s1_activations),
        cmocka_unit_test(test_s1_base),
        cmocka_unit_test(test_s1_official),
        cmocka_unit_test(test_s1_paper_with_all_parts),
        cmocka_unit_test(test_no_allocation_in_steady_state),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
