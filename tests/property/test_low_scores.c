/* A model in 16-bit integers scores as the model does: random models, of all forms, random batches;
 * with every set of kernels that this processor has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/low_kernels.h"
#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = 60, EXAMPLES = 24 };

/* How far a logit may go: measured 2.2e-3 at most over 1,500 such models. */
static const double APART = 0.01;

static struct model_options random_options(struct random *r)
{
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    static const enum model_activation kinds[] = {ACT_DICE, ACT_DICE,  ACT_DICE, ACT_SIGMOID,
                                                  ACT_RELU, ACT_PRELU, ACT_TANH};
    o.kind = random_below(r, 8) == 0 ? MODEL_BASE : MODEL_DIN;
    o.unit.input = random_below(r, 2) == 0 ? UNIT_PAPER : UNIT_OFFICIAL;
    o.unit.n_hidden = 1 + (uint32_t)random_below(r, 3);
    o.mlp.n_hidden = 1 + (uint32_t)random_below(r, 3);
    for (uint32_t i = 0; i < 3; i++) {
        o.unit.hidden[i] = 1 + (uint32_t)random_below(r, 90);
        o.mlp.hidden[i] = 1 + (uint32_t)random_below(r, 220);
    }
    o.unit.activation = kinds[random_below(r, 7)];
    o.mlp.activation = kinds[random_below(r, 7)];
    o.unit.normalize = (enum model_normalize)random_below(r, 5);
    o.sum_history = o.kind == MODEL_DIN && random_below(r, 2) == 0;
    o.product = random_below(r, 2) == 0;
    o.linear = random_below(r, 2) == 0;
    o.seed = random_below(r, 1000000);
    return o;
}

/* Biases and statistics as a trained model has them; the weights stay as they begin. */
static void spread(struct model *m, struct random *r)
{
    size_t n;
    const struct model_param *p = model_params(m, &n);
    for (size_t i = 0; i < n; i++) {
        real *v = model_values(m) + p[i].offset;
        const char *name = strrchr(p[i].name, '.') + 1;
        for (uint32_t k = 0; k < p[i].cols; k++) {
            if (strcmp(name, "var") == 0) {
                v[k] = (real)exp(random_normal(r));
            } else if (strcmp(name, "weight") != 0 && strcmp(name, "updates") != 0) {
                v[k] = (real)(0.3 * random_normal(r));
            }
        }
    }
}

struct pair { /* a model and itself in integers */
    struct toy_batch toy;
    struct model *model, *low;
    struct model_scratch *scratch, *low_scratch;
};

static void pair_open(struct pair *t, const struct low_kernels *kernels, struct random *r)
{
    struct model_options o = random_options(r);
    struct toy_shape shape = {.examples = EXAMPLES,
                              .steps_max = random_below(r, 4) == 0 ? 150 : 9,
                              .rows = 30,
                              .values = 3,
                              .linear = o.linear};
    struct schema schema;
    toy_schema(&schema);
    toy_batch_init(&t->toy, &schema, &shape, r);
    assert_int_equal(model_open(&t->model, &schema, &o, NULL), 0);
    assert_int_equal(model_open(&t->low, &schema, &o, NULL), 0);
    spread(t->model, r);
    memcpy(model_values(t->low), model_values(t->model), model_n_values(t->model) * sizeof(real));
    assert_int_equal(model_lower_by(t->low, kernels, NULL), 0);
    assert_int_equal(model_scratch_open(&t->scratch, t->model, NULL), 0);
    assert_int_equal(model_scratch_open(&t->low_scratch, t->low, NULL), 0);
}

static void pair_close(struct pair *t)
{
    model_scratch_close(t->scratch);
    model_scratch_close(t->low_scratch);
    model_close(t->model);
    model_close(t->low);
    toy_batch_release(&t->toy);
}

/* Example b alone: the offsets stay, the arrays start later. */
static real alone(struct pair *t, uint32_t b)
{
    struct batch one = t->toy.batch;
    real logit;
    one.n = 1;
    for (uint32_t i = 0; i < t->toy.schema.n_fields; i++) {
        one.field[i].offset += b;
    }
    for (uint32_t i = 0; i < t->toy.schema.n_sequences; i++) {
        one.sequence[i].of_example += b;
    }
    assert_int_equal(model_score(t->low, t->low_scratch, &one, &logit, NULL), 0);
    return logit;
}

static double check_pair(struct pair *t)
{
    real want[EXAMPLES], got[EXAMPLES];
    double most = 0.0, size = 0.0;
    assert_int_equal(model_score(t->model, t->scratch, &t->toy.batch, want, NULL), 0);
    assert_int_equal(model_score(t->low, t->low_scratch, &t->toy.batch, got, NULL), 0);
    for (uint32_t b = 0; b < EXAMPLES; b++) {
        size = fmax(size, fabs((double)want[b]));
    }
    for (uint32_t b = 0; b < EXAMPLES; b++) {
        double apart = fabs((double)got[b] - (double)want[b]) / fmax(1.0, size);
        assert_true(apart <= APART);
        most = fmax(most, apart);
        real one = alone(t, b);
        assert_memory_equal(&one, &got[b], sizeof one);
    }
    return most;
}

static void test_random_models(void **state)
{
    (void)state;
    const struct low_kernels *kernels;
    const char *models = getenv("UNDINE_LOW_MODELS");
    int n = models != NULL ? atoi(models) : MODELS;
    for (size_t k = 0; (kernels = low_kernels_available(k)) != NULL; k++) {
        struct random r = {6};
        double most = 0.0;
        bool changed = false;
        for (int i = 0; i < n; i++) {
            static struct pair t;
            pair_open(&t, kernels, &r);
            double apart = check_pair(&t);
            most = fmax(most, apart);
            changed = changed || apart > 0.0;
            pair_close(&t);
        }
        print_message("%s: %d models, a logit is %.2e apart at most\n", kernels->name, n, most);
        assert_true(changed); /* the integers are what was asked */
    }
}

/* Kernels of the processor and plain ones give the same but for the last bits. */
static void test_sets_agree(void **state)
{
    (void)state;
    const struct low_kernels *plain = low_kernels_available(1);
    if (plain == NULL) {
        skip();
    }
    struct random fast = {7}, slow = {7};
    for (int i = 0; i < MODELS; i++) {
        static struct pair a, b;
        real x[EXAMPLES], y[EXAMPLES];
        pair_open(&a, low_kernels_available(0), &fast);
        pair_open(&b, plain, &slow);
        assert_int_equal(model_score(a.low, a.low_scratch, &a.toy.batch, x, NULL), 0);
        assert_int_equal(model_score(b.low, b.low_scratch, &b.toy.batch, y, NULL), 0);
        for (size_t k = 0; k < EXAMPLES; k++) {
            assert_true(fabs((double)x[k] - (double)y[k]) <= APART * fmax(1, fabs((double)x[k])));
        }
        pair_close(&a);
        pair_close(&b);
    }
}

/* What is no number does not become one. */
static void test_no_number_stays_none(void **state)
{
    (void)state;
    const struct low_kernels *kernels;
    for (size_t k = 0; (kernels = low_kernels_available(k)) != NULL; k++) {
        struct random r = {8};
        for (int i = 0; i < MODELS / 4; i++) {
            static struct pair t;
            real want[EXAMPLES], got[EXAMPLES];
            pair_open(&t, kernels, &r);
            t.toy.weight[1][0] = (real)NAN; /* of an item */
            assert_int_equal(model_score(t.model, t.scratch, &t.toy.batch, want, NULL), 0);
            assert_int_equal(model_score(t.low, t.low_scratch, &t.toy.batch, got, NULL), 0);
            for (size_t b = 0; b < EXAMPLES; b++) {
                assert_int_equal(isnan(want[b]) != 0, isnan(got[b]) != 0);
            }
            pair_close(&t);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_models),
        cmocka_unit_test(test_sets_agree),
        cmocka_unit_test(test_no_number_stays_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
