/* A model trained with several workers has the bits of one trained with one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/workers.h"
#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <stdlib.h>
#include <string.h>

enum { EXAMPLES = 200, STEPS = 3 };

static void must(int rc, const struct undine_err *err)
{
    if (rc != UNDINE_OK) {
        fail_msg("%s", err->msg);
    }
}

/* Values after some plain steps; the caller's to free. */
static real *train(const struct model_options *opt, uint32_t n_workers, size_t *n_values)
{
    struct undine_err err = {0};
    struct random r = {5};
    struct schema schema;
    struct toy_batch toy;
    struct model *m;
    struct model_scratch *s;
    struct workers *w;
    real logit[EXAMPLES], dlogit[EXAMPLES];
    toy_schema(&schema);
    toy_batch_init(
        &toy, &schema,
        &(struct toy_shape){.examples = EXAMPLES, .steps_max = 12, .rows = 30, .values = 3}, &r);
    must(workers_open(&w, n_workers, &err), &err);
    must(model_open(&m, &schema, opt, &err), &err);
    must(model_scratch_open(&s, m, &err), &err);
    model_set_workers(m, w);
    *n_values = model_n_values(m);
    for (int step = 0; step < STEPS; step++) {
        must(model_forward(m, s, &toy.batch, MODEL_TRAIN, logit, &err), &err);
        for (size_t i = 0; i < EXAMPLES; i++) {
            dlogit[i] = (model_sigmoid(logit[i]) - toy.label[i]) / (real)EXAMPLES;
        }
        model_zero_grads(m);
        must(model_backward(m, s, &toy.batch, dlogit, &err), &err);
        for (size_t i = 0; i < *n_values; i++) {
            model_values(m)[i] -= R(0.1) * model_grads(m)[i];
        }
    }
    real *copy = malloc(*n_values * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, model_values(m), *n_values * sizeof *copy);
    model_scratch_close(s);
    model_close(m);
    workers_close(w);
    toy_batch_release(&toy);
    return copy;
}

static void check(const struct model_options *opt)
{
    static const uint32_t counts[] = {2, 3, 4, 7};
    size_t n;
    real *one = train(opt, 1, &n);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        real *many = train(opt, counts[i], &n);
        assert_memory_equal(one, many, n * sizeof *one);
        free(many);
    }
    free(one);
}

static void test_model_same_bits_for_any_number_of_workers(void **state)
{
    (void)state;
    static const enum model_activation activations[] = {ACT_SIGMOID, ACT_RELU, ACT_TANH, ACT_PRELU,
                                                        ACT_DICE};
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++) {
        for (int form = 0; form < 3; form++) {
            struct model_options opt = MODEL_OPTIONS_DEFAULT;
            opt.kind = form == 0 ? MODEL_BASE : MODEL_DIN;
            opt.unit.input = form == 2 ? UNIT_OFFICIAL : UNIT_PAPER;
            opt.unit.n_hidden = 2;
            opt.unit.hidden[0] = 80;
            opt.unit.hidden[1] = 40;
            opt.unit.activation = opt.mlp.activation = activations[i];
            check(&opt);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_same_bits_for_any_number_of_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
