/* DIN's acceptance list A1 to A7 and A10 to A12 (A8 and A9: test_model_gradient.c), its golden
 * values, and equal bits for equal batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/sequence.h"
#include "tests/support/toy_batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLES = 24, STEPS = 4, ROWS = 30 };
static const double NEAR = sizeof(real) == 8 ? 1e-9 : 1e-6;

static void assert_near(double got, double expected, const char *what)
{
    if (!(fabs(got - expected) <= NEAR * fmax(1.0, fabs(expected)))) {
        fail_msg("%s is %.12g, expected %.12g", what, got, expected);
    }
}

/* ---- one sequence by itself --------------------------------------------------------------- */

/* One table, one candidate field, one sequence of it; x = [candidate | v]. */
struct alone {
    struct schema schema;
    struct sequence sequence;
    struct sequence_scratch scratch;
    struct params params;
    struct pass pass;
    real values[512];
    real rows[ROWS * 2]; /* row 0 is the candidate */
    real x[16];
    uint32_t dim;
};

static void alone_open(struct alone *t, uint32_t dim, const struct model_options *opt)
{
    static const size_t field_x[1] = {0};
    memset(t, 0, sizeof *t);
    toy_schema_plain(&t->schema, dim);
    t->schema.sequences[0].n_fields = 1;
    t->dim = dim;
    sequence_declare(&t->sequence, &t->params, &t->schema, 0, field_x, dim, opt);
    assert_true(t->params.n_values <= 512);
    sequence_init(&t->sequence, &t->params, t->values, 3);
    t->pass = (struct pass){.k = kernels_available(0), .values = t->values};
}

static void alone_close(struct alone *t)
{
    sequence_scratch_release(&t->scratch);
}

static real *alone_param(struct alone *t, const char *name)
{
    for (size_t i = 0; i < t->params.n; i++) {
        if (strcmp(t->params.list[i].name, name) == 0) {
            return t->values + t->params.list[i].offset;
        }
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

/* v and the weights of a history of rows. */
static const real *alone_run(struct alone *t, const uint32_t *history, uint32_t n)
{
    static uint32_t offset[ROWS * 4 + 1], step_offset[2], of_example[1];
    for (uint32_t i = 0; i <= n; i++) {
        offset[i] = i;
    }
    step_offset[1] = n;
    struct batch batch = {.n = 1};
    batch.table[0] = (struct batch_table){.n_rows = ROWS, .width = t->dim, .weight = t->rows};
    struct batch_sequences in = {.n = 1, .step_offset = step_offset, .of_example = of_example};
    in.step[0] = (struct batch_bags){offset, history};
    memcpy(t->x, t->rows, t->dim * sizeof(real));
    assert_true(sequence_forward(&t->sequence, &t->scratch, &t->pass, &batch, &in, t->x, 16));
    return t->x + t->dim;
}

static const real *alone_weights(const struct alone *t)
{
    return t->scratch.a.data;
}

static void alone_randomize(struct alone *t, uint64_t seed)
{
    struct random r = {seed};
    for (size_t i = 0; i < sizeof t->rows / sizeof t->rows[0]; i++) {
        t->rows[i] = (real)random_normal(&r);
    }
}

static struct model_options golden_options(enum model_normalize normalize)
{
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.unit.hidden[0] = 2;
    o.unit.activation = ACT_PRELU;
    o.unit.normalize = normalize;
    return o;
}

static void golden_fill(struct alone *t)
{
    static const double w1[2][6] = {{.1, -.2, .3, .4, -.5, .6}, {-.3, .2, .1, -.1, .2, .5}};
    static const double b1[2] = {.05, -.05}, w2[2] = {.7, -.4};
    static const double rows[3][2] = {{.5, -1}, {1, 2}, {-.5, .25}};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < 6; i++) {
            alone_param(t, "unit.clicks.0.weight")[i * 2 + k] = (real)w1[k][i];
        }
        alone_param(t, "unit.clicks.0.bias")[k] = (real)b1[k];
        alone_param(t, "unit.clicks.0.alpha")[k] = R(0.1);
        alone_param(t, "unit.clicks.1.weight")[k] = (real)w2[k];
    }
    alone_param(t, "unit.clicks.1.bias")[0] = R(0.1);
    for (size_t i = 0; i < 6; i++) {
        t->rows[i] = (real)rows[i / 2][i % 2];
    }
}

static void test_a_golden(void **state)
{
    (void)state;
    static const uint32_t history[] = {1, 2};
    static struct alone t;
    struct model_options o = golden_options(UNIT_NONE);
    alone_open(&t, 2, &o);
    golden_fill(&t);
    const real *v = alone_run(&t, history, 2);
    assert_near((double)alone_weights(&t)[0], -.0185, "a_1");
    assert_near((double)alone_weights(&t)[1], .03475, "a_2");
    assert_near((double)v[0], -.035875, "v[0]");
    assert_near((double)v[1], -.0283125, "v[1]");
    alone_close(&t);
    o = golden_options(UNIT_SOFTMAX);
    alone_open(&t, 2, &o);
    golden_fill(&t);
    v = alone_run(&t, history, 2);
    assert_near((double)v[0], .2300359672, "softmax v[0]");
    assert_near((double)v[1], 1.1017086284, "softmax v[1]");
    alone_close(&t);
    o = golden_options(UNIT_SCALED_SOFTMAX);
    alone_open(&t, 2, &o);
    golden_fill(&t);
    v = alone_run(&t, history, 2);
    assert_near((double)v[0], .235881629487, "scaled_softmax v[0]");
    assert_near((double)v[1], 1.108528567735, "scaled_softmax v[1]");
    alone_close(&t);
}

static void test_normalize_scales(void **state)
{
    (void)state;
    static const uint32_t history[] = {1, 2};
    static struct alone t;
    struct model_options o = golden_options(UNIT_LENGTH);
    alone_open(&t, 2, &o);
    golden_fill(&t);
    assert_near((double)alone_run(&t, history, 2)[0], -.035875 / 2, "length v[0]");
    alone_close(&t);
    o = golden_options(UNIT_SQRT_DIM);
    alone_open(&t, 2, &o);
    golden_fill(&t);
    assert_near((double)alone_run(&t, history, 2)[0], -.035875 / sqrt(2), "sqrt_dim v[0]");
    alone_close(&t);
}

/* x = [c | v | c*v | s | c*s], and zeros for an empty history. */
static void test_sum_history_and_product(void **state)
{
    (void)state;
    static const uint32_t history[] = {1, 2};
    static struct alone t;
    for (int kind = MODEL_BASE; kind <= MODEL_DIN; kind++) {
        struct model_options o = golden_options(UNIT_SOFTMAX);
        o.kind = (enum model_kind)kind;
        o.product = true;
        o.sum_history = kind == MODEL_DIN;
        alone_open(&t, 2, &o);
        if (kind == MODEL_DIN) {
            golden_fill(&t);
        } else {
            alone_randomize(&t, 12);
        }
        const real *v = alone_run(&t, history, 2);
        for (size_t d = 0; d < 2; d++) {
            double s = (double)t.rows[2 + d] + (double)t.rows[4 + d], c = (double)t.rows[d];
            assert_near((double)v[d], kind == MODEL_DIN ? (d ? 1.1017086284 : .2300359672) : s,
                        "v");
            assert_near((double)v[2 + d], c * (double)v[d], "c*v");
            assert_near((double)v[4 + d], o.sum_history ? s : 0, "s");
            assert_near((double)v[6 + d], o.sum_history ? c * s : 0, "c*s");
        }
        v = alone_run(&t, history, 0);
        for (size_t d = 0; d < 8; d++) {
            assert_true(v[d] == 0);
        }
        alone_close(&t);
    }
}

static void test_a5_duplicates(void **state)
{
    (void)state;
    static const uint32_t history[] = {1, 2, 3, 1, 2, 3, 1, 2, 3};
    static struct alone t;
    real once[2];
    for (int norm = UNIT_NONE; norm <= UNIT_SCALED_SOFTMAX; norm++) {
        struct model_options o = golden_options((enum model_normalize)norm);
        alone_open(&t, 2, &o);
        alone_randomize(&t, 5);
        memcpy(once, alone_run(&t, history, 3), sizeof once);
        const real *thrice = alone_run(&t, history, 9);
        double times = norm == UNIT_NONE || norm == UNIT_SQRT_DIM ? 3.0 : 1.0;
        assert_near((double)thrice[0], times * (double)once[0], "v[0]");
        assert_near((double)thrice[1], times * (double)once[1], "v[1]");
        alone_close(&t);
    }
}

static void test_a6_weight_depends_on_its_step_alone(void **state)
{
    (void)state;
    static const uint32_t one[] = {7}, many[] = {3, 9, 7, 4, 7, 7, 1, 2, 5, 8, 7};
    static struct alone t;
    struct model_options o = golden_options(UNIT_NONE);
    o.unit.activation = ACT_DICE;
    alone_open(&t, 2, &o);
    alone_randomize(&t, 6);
    (void)alone_run(&t, one, 1);
    real a = alone_weights(&t)[0];
    (void)alone_run(&t, many, 11);
    for (size_t i = 0; i < 11; i++) {
        assert_true((alone_weights(&t)[i] == a) == (many[i] == 7));
    }
    alone_close(&t);
}

static void test_a7_candidate(void **state)
{
    (void)state;
    static const uint32_t history[] = {1, 2, 3};
    static struct alone t;
    for (int kind = MODEL_BASE; kind <= MODEL_DIN; kind++) {
        real before[2];
        struct model_options o = golden_options(UNIT_NONE);
        o.kind = (enum model_kind)kind;
        alone_open(&t, 2, &o);
        alone_randomize(&t, 7);
        memcpy(before, alone_run(&t, history, 3), sizeof before);
        t.rows[0] += 1;
        const real *after = alone_run(&t, history, 3);
        assert_int_equal(memcmp(before, after, sizeof before) == 0, kind == MODEL_BASE);
        alone_close(&t);
    }
}

static void test_a11_official_is_paper_rearranged(void **state)
{
    (void)state;
    static const uint32_t history[] = {1, 2, 3};
    static struct alone paper, official;
    struct model_options o = golden_options(UNIT_NONE);
    alone_open(&paper, 2, &o);
    alone_randomize(&paper, 8);
    o.unit.input = UNIT_OFFICIAL;
    alone_open(&official, 2, &o);
    alone_randomize(&official, 8);
    const real *p = alone_param(&paper, "unit.clicks.0.weight"); /* h, h*c, c */
    real *q = alone_param(&official, "unit.clicks.0.weight");    /* c, h, c-h, h*c */
    for (double d = 0.0; d < 1.0; d += 0.5) {                    /* any share may move to c-h */
        for (size_t i = 0; i < 4; i++) {
            q[i] = p[8 + i] - (real)d;
            q[4 + i] = p[i] + (real)d;
            q[8 + i] = (real)d;
            q[12 + i] = p[4 + i];
        }
        memcpy(alone_param(&official, "unit.clicks.1.weight"),
               alone_param(&paper, "unit.clicks.1.weight"), 2 * sizeof(real));
        const real *v = alone_run(&paper, history, 3), *w = alone_run(&official, history, 3);
        assert_near((double)w[0], (double)v[0], "v[0]");
        assert_near((double)w[1], (double)v[1], "v[1]");
    }
    alone_close(&paper);
    alone_close(&official);
}

/* ---- whole models ------------------------------------------------------------------------- */

struct whole {
    struct toy_batch toy;
    struct model *model;
    struct model_scratch *scratch;
    real logit[EXAMPLES];
};

static void whole_open(struct whole *t, const struct model_options *opt, bool fixed_length)
{
    struct random r = {21};
    struct schema schema;
    memset(t, 0, sizeof *t);
    toy_schema(&schema);
    toy_batch_init(&t->toy, &schema,
                   &(struct toy_shape){.examples = EXAMPLES,
                                       .steps_max = STEPS,
                                       .rows = ROWS,
                                       .values = 3,
                                       .fixed_length = fixed_length},
                   &r);
    assert_int_equal(model_open(&t->model, &schema, opt, NULL), 0);
    assert_int_equal(model_scratch_open(&t->scratch, t->model, NULL), 0);
}

static void whole_close(struct whole *t)
{
    model_scratch_close(t->scratch);
    model_close(t->model);
    toy_batch_release(&t->toy);
}

static const real *whole_score(struct whole *t)
{
    assert_int_equal(model_score(t->model, t->scratch, &t->toy.batch, t->logit, NULL), 0);
    return t->logit;
}

static real *whole_param(struct whole *t, const char *name, size_t *n_values)
{
    size_t n;
    const struct model_param *p = model_params(t->model, &n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(p[i].name, name) == 0) {
            *n_values = (size_t)p[i].rows * p[i].cols;
            return model_values(t->model) + p[i].offset;
        }
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

static void set_output(struct whole *t, const char *sequence, real bias)
{
    char name[MODEL_PARAM_NAME_MAX];
    size_t n;
    (void)snprintf(name, sizeof name, "unit.%s.0.weight", sequence);
    real *w = whole_param(t, name, &n);
    memset(w, 0, n * sizeof *w);
    (void)snprintf(name, sizeof name, "unit.%s.1.weight", sequence);
    w = whole_param(t, name, &n);
    memset(w, 0, n * sizeof *w);
    (void)snprintf(name, sizeof name, "unit.%s.1.bias", sequence);
    *whole_param(t, name, &n) = bias;
}

static void test_a1_unit_of_ones_is_base(void **state)
{
    (void)state;
    static struct whole base, din;
    for (int pool = SCHEMA_POOL_SUM; pool <= SCHEMA_POOL_MEAN; pool++) {
        struct model_options o = MODEL_OPTIONS_DEFAULT;
        o.kind = MODEL_BASE;
        o.base_pool = (enum schema_pool)pool;
        whole_open(&base, &o, true);
        o.kind = MODEL_DIN;
        whole_open(&din, &o, true);
        real bias = pool == SCHEMA_POOL_SUM ? 1 : R(1.0) / STEPS;
        set_output(&din, "clicks", bias);
        set_output(&din, "carts", bias);
        assert_memory_equal(whole_score(&din), whole_score(&base), sizeof din.logit);
        whole_close(&base);
        whole_close(&din);
    }
}

static void test_a2_order_of_history(void **state)
{
    (void)state;
    static struct whole t;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    real before[EXAMPLES];
    whole_open(&t, &o, true);
    memcpy(before, whole_score(&t), sizeof before);
    /* "clicks" read backwards: item has one id a step, tags several */
    struct batch batch = t.toy.batch;
    const struct batch_sequences *q = &t.toy.batch.sequence[0];
    static uint32_t item[EXAMPLES * STEPS], offset[EXAMPLES * STEPS + 1], tag[EXAMPLES * STEPS * 4];
    for (uint32_t i = 0; i < EXAMPLES * STEPS; i++) {
        uint32_t from = i / STEPS * STEPS + STEPS - 1 - i % STEPS;
        uint32_t first = q->step[1].offset[from], n = q->step[1].offset[from + 1] - first;
        item[i] = q->step[0].row[from];
        memcpy(tag + offset[i], q->step[1].row + first, n * sizeof *tag);
        offset[i + 1] = offset[i] + n;
    }
    batch.sequence[0].step[0].row = item;
    batch.sequence[0].step[1] = (struct batch_bags){offset, tag};
    real after[EXAMPLES];
    assert_int_equal(model_score(t.model, t.scratch, &batch, after, NULL), 0);
    for (int b = 0; b < EXAMPLES; b++) {
        assert_true(fabs((double)after[b] - (double)before[b]) <=
                    1e-6 * fmax(1, fabs((double)before[b])));
    }
    whole_close(&t);
}

/* Example b of a batch, seen alone: the offsets stay, the arrays start later. */
static struct batch single(const struct toy_batch *t, uint32_t b)
{
    struct batch one = t->batch;
    one.n = 1;
    for (uint32_t i = 0; i < t->schema.n_fields; i++) {
        one.field[i].offset += b;
    }
    for (uint32_t i = 0; i < t->schema.n_sequences; i++) {
        one.sequence[i].of_example += b;
    }
    return one;
}

static void check_batch_mates(const struct model_options *o)
{
    static struct whole t;
    whole_open(&t, o, false);
    for (uint32_t i = 0; i < EXAMPLES; i++) { /* histories shared by all: many ads of one user */
        ((uint32_t *)(uintptr_t)t.toy.batch.sequence[1].of_example)[i] = 3;
    }
    const real *all = whole_score(&t);
    for (uint32_t b = 0; b < EXAMPLES; b++) {
        struct batch one = single(&t.toy, b);
        real logit;
        assert_int_equal(model_score(t.model, t.scratch, &one, &logit, NULL), 0);
        assert_memory_equal(&logit, &all[b], sizeof logit);
    }
    whole_close(&t);
}

/* Bit for bit, whatever else is in the batch. */
static void test_a3_a12_batch_mates(void **state)
{
    (void)state;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    check_batch_mates(&o);
    o.unit.input = UNIT_OFFICIAL;
    o.unit.n_hidden = 2;
    o.unit.hidden[0] = 80;
    o.unit.hidden[1] = 40;
    o.unit.normalize = UNIT_SOFTMAX;
    check_batch_mates(&o);
    o.sum_history = o.product = true;
    check_batch_mates(&o);
    o.sum_history = false;
    o.unit.activation = o.mlp.activation = ACT_TANH;
    check_batch_mates(&o);
    o.kind = MODEL_BASE;
    check_batch_mates(&o);
}

static void test_a4_empty_history(void **state)
{
    (void)state;
    static struct whole t;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    for (int norm = UNIT_NONE; norm <= UNIT_SCALED_SOFTMAX; norm++) {
        o.unit.normalize = (enum model_normalize)norm;
        o.sum_history = o.product = norm % 2 == 1;
        whole_open(&t, &o, true);
        uint32_t none[EXAMPLES + 1] = {0};
        real dlogit[EXAMPLES], logit[EXAMPLES];
        struct batch batch = t.toy.batch;
        batch.sequence[0].step_offset = batch.sequence[1].step_offset = none;
        assert_int_equal(model_forward(t.model, t.scratch, &batch, MODEL_TRAIN, logit, NULL), 0);
        for (int b = 0; b < EXAMPLES; b++) {
            assert_true(isfinite(logit[b]));
            dlogit[b] = 1;
        }
        toy_batch_zero_grads(&t.toy);
        model_zero_grads(t.model);
        assert_int_equal(model_backward(t.model, t.scratch, &batch, dlogit, NULL), 0);
        size_t n;
        const struct model_param *p = model_params(t.model, &n);
        for (size_t i = 0; i < n; i++) { /* the units learned nothing */
            for (size_t k = 0; strncmp(p[i].name, "unit.", 5) == 0 && k < p[i].rows; k++) {
                assert_true(model_grads(t.model)[p[i].offset + k] == 0);
            }
        }
        bool used[ROWS] = {false};
        for (uint32_t b = 0; b < EXAMPLES; b++) {
            used[batch.field[1].row[b]] = true;
        }
        for (uint32_t i = 0; i < ROWS; i++) { /* items: only candidates get a gradient */
            assert_int_equal(used[i], t.toy.grad[1][3 * i] != 0);
        }
        whole_close(&t);
    }
}

static void test_a10_two_logits(void **state)
{
    (void)state;
    static struct whole t;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    struct random r = {31};
    size_t n, n_bias;
    real w[2][80], b[2], z[3][EXAMPLES];
    whole_open(&t, &o, false);
    real *weight = whole_param(&t, "mlp.2.weight", &n),
         *bias = whole_param(&t, "mlp.2.bias", &n_bias);
    assert_int_equal(n, 80);
    for (size_t k = 0; k < 2; k++) {
        b[k] = (real)random_normal(&r);
        for (size_t i = 0; i < n; i++) {
            w[k][i] = (real)random_normal(&r);
        }
    }
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < n; i++) {
            weight[i] = k < 2 ? w[k][i] : w[1][i] - w[0][i];
        }
        *bias = k < 2 ? b[k] : b[1] - b[0];
        memcpy(z[k], whole_score(&t), sizeof z[k]);
    }
    for (int i = 0; i < EXAMPLES; i++) {
        double p = exp((double)z[1][i]) / (exp((double)z[0][i]) + exp((double)z[1][i]));
        assert_true(fabs(p - (double)model_sigmoid(z[2][i])) < 2e-6);
    }
    whole_close(&t);
}

/* Equal bits from equal batches, in a new scratch and in one that has seen a larger batch. */
static void test_repeatable(void **state)
{
    (void)state;
    static struct whole a, b;
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.dice.mode = DICE_BATCH;
    real dlogit[EXAMPLES];
    whole_open(&a, &o, false);
    whole_open(&b, &o, false);
    for (int i = 0; i < EXAMPLES; i++) {
        dlogit[i] = (real)(i % 3) - 1;
    }
    struct batch few = single(&a.toy, 2);
    real before[EXAMPLES];
    (void)whole_score(&b);
    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            assert_int_equal(model_score(a.model, a.scratch, &few, before, NULL), 0);
        }
        struct whole *both[2] = {&a, &b};
        for (int k = 0; k < 2; k++) {
            struct whole *t = both[k];
            assert_int_equal(
                model_forward(t->model, t->scratch, &t->toy.batch, MODEL_TRAIN, t->logit, NULL), 0);
            assert_int_equal(model_backward(t->model, t->scratch, &t->toy.batch, dlogit, NULL), 0);
        }
        assert_memory_equal(a.logit, b.logit, sizeof a.logit);
        size_t bytes = model_n_values(a.model) * sizeof(real);
        assert_memory_equal(model_values(a.model), model_values(b.model), bytes);
        assert_memory_equal(model_grads(a.model), model_grads(b.model), bytes);
        for (uint32_t i = 0; i < a.toy.schema.n_tables; i++) {
            assert_memory_equal(a.toy.grad[i], b.toy.grad[i],
                                ROWS * a.toy.schema.tables[i].dim * sizeof(real));
        }
    }
    whole_close(&a);
    whole_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_golden),
        cmocka_unit_test(test_normalize_scales),
        cmocka_unit_test(test_sum_history_and_product),
        cmocka_unit_test(test_a1_unit_of_ones_is_base),
        cmocka_unit_test(test_a2_order_of_history),
        cmocka_unit_test(test_a3_a12_batch_mates),
        cmocka_unit_test(test_a4_empty_history),
        cmocka_unit_test(test_a5_duplicates),
        cmocka_unit_test(test_a6_weight_depends_on_its_step_alone),
        cmocka_unit_test(test_a7_candidate),
        cmocka_unit_test(test_a10_two_logits),
        cmocka_unit_test(test_a11_official_is_paper_rearranged),
        cmocka_unit_test(test_repeatable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
