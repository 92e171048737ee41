/* The equations of learner/regularizer.h and learner/instances.h on single rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/optimizer.h"
#include "learner/regularizer.h"

#include <math.h>
#include <string.h>

enum { DIM = 2 };

static struct schema one_table(void)
{
    struct schema s = {
        .n_tables = 1,
        .n_fields = 1,
        .tables = {{.name = "item", .dim = DIM}},
        .fields = {{.name = "item", .group = SCHEMA_CANDIDATE, .table = 0, .values_max = 1}},
    };
    assert_int_equal(schema_check(&s, NULL), 0);
    return s;
}

/* A regularizer, one row and its optimizer. */
struct bench {
    struct regularizer z;
    struct optimizer_options optimizer;
    struct table table;
    struct table_budget budget;
    struct table_row *row;
    uint64_t step, examples;
};

static void bench_open(struct bench *b, const struct regularizer_options *o,
                       enum optimizer_kind kind, double rate)
{
    struct schema schema = one_table();
    *b = (struct bench){.optimizer = {.kind = kind,
                                      .rate = rate,
                                      .dense_rate = rate,
                                      .eps = 1e-8,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .accumulator = 0.1}};
    struct undine_err err = {0};
    struct table_options t = {.dim = DIM, .n_slots = DIM * optimizer_slots(kind)};
    uint64_t key = 77;
    uint32_t row;
    assert_int_equal(regularizer_open(&b->z, o, &schema, &rate, &err), 0);
    assert_int_equal(table_init(&b->table, &t, &b->budget, &err), 0);
    assert_int_equal(table_need(&b->table, &key, &row, 1, &err), 0);
    b->row = table_row(&b->table, row);
    memset(b->row->value + DIM, 0, t.n_slots * sizeof(float));
}

static void bench_close(struct bench *b)
{
    regularizer_release(&b->z);
    table_release(&b->table);
}

/* A batch of n examples of which c_mj (0: none) hold the row. */
static void batch(struct bench *b, uint32_t n, float c_mj, const float *grad)
{
    float g[DIM] = {grad[0], grad[1]};
    struct optimizer_step step = optimizer_step(&b->optimizer, b->optimizer.rate, ++b->step);
    regularizer_begin(&b->z, b->step, b->examples, n);
    if (c_mj > 0.0f) {
        float *w = b->row->value;
        float shrink = regularizer_touch(&b->z, 0, b->row, c_mj, step.rate, g, DIM);
        b->row->stamp = (uint32_t)b->step;
        for (size_t i = 0; i < DIM; i++) {
            w[i] -= shrink * w[i];
        }
        optimizer_apply(&step, w, w + DIM, g, DIM);
    }
    b->examples += n;
}

static const float ZERO[DIM] = {0.0f, 0.0f}, GRAD[DIM] = {0.2f, 0.4f};
static const struct regularizer_options MBA = {.kind = REGULARIZER_MBA, .lambda = 0.01};

static void check_step(const struct regularizer_options *o, enum optimizer_kind kind, double rate,
                       float count, double w0, double w1)
{
    struct bench b;
    bench_open(&b, o, kind, rate);
    b.row->value[0] = 0.5f;
    b.row->value[1] = -1.0f;
    b.row->count = count - 1.0f;
    batch(&b, 1, 1.0f, GRAD);
    assert_true(fabs((double)b.row->value[0] - w0) < 1e-7);
    assert_true(fabs((double)b.row->value[1] - w1) < 2e-7);
    bench_close(&b);
}

static void test_m_goldens_of_sgd_and_adam(void **state)
{
    (void)state;
    struct regularizer_options decoupled = MBA;
    decoupled.decoupled = true;
    check_step(&MBA, OPTIMIZER_SGD, 0.1, 1.0f, 0.4795, -1.0390);
    check_step(&MBA, OPTIMIZER_SGD, 0.1, 4.0f, 0.479875, -1.03975);
    check_step(&decoupled, OPTIMIZER_SGD, 0.1, 4.0f, 0.479875, -1.03975);
    check_step(&MBA, OPTIMIZER_ADAM, 1e-3, 4.0f, 0.49900000005, -1.00099999997);
    check_step(&decoupled, OPTIMIZER_ADAM, 1e-3, 4.0f, 0.49899875005, -1.00099749998);
}

/* lambda w at each touch, whatever n_j: SGD 0.5 - 0.1 (0.2 + 0.01 0.5). */
static void test_difacto_takes_lambda_w_at_each_touch(void **state)
{
    (void)state;
    struct regularizer_options o = {.kind = REGULARIZER_DIFACTO, .lambda = 0.01};
    check_step(&o, OPTIMIZER_SGD, 0.1, 1.0f, 0.4795, -1.0390);
    check_step(&o, OPTIMIZER_SGD, 0.1, 400.0f, 0.4795, -1.0390);
    o.decoupled = true;
    check_step(&o, OPTIMIZER_SGD, 0.1, 400.0f, 0.4795, -1.0390);
}

static void test_m3_without_gradient_a_row_shrinks_by_lambda_over_n(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, &MBA, OPTIMIZER_SGD, 1.0);
    b.row->value[0] = 1.0f;
    b.row->count = 4.0f;
    batch(&b, 1, 1.0f, ZERO);
    assert_true(fabs((double)b.row->value[0] - (1.0 - 0.01 / 5.0)) < 1e-7);
    bench_close(&b);
}

/* What is left of a weight of 1 after `touches` single examples of a pass of `examples`, the id
 * evenly spread over it; rate 1, no gradient. */
static double left(const struct regularizer_options *o, uint32_t touches, uint32_t examples)
{
    struct bench b;
    bench_open(&b, o, OPTIMIZER_SGD, 1.0);
    b.row->value[0] = 1.0f;
    uint32_t every = examples / touches;
    for (uint32_t i = 0; i < examples; i++) {
        batch(&b, 1, (i + 1) % every == 0 ? 1.0f : 0.0f, ZERO);
    }
    double w = (double)b.row->value[0];
    bench_close(&b);
    return w;
}

static double harmonic(uint32_t n)
{
    double h = 0.0;
    for (uint32_t k = 1; k <= n; k++) {
        h += 1.0 / k;
    }
    return h;
}

/* H_N: the decay of `running` over N touches in units of rate lambda; `projected` is that of a
 * fixed n_j. (docs/learner.md has this table.) */
static void test_m5_running_decays_by_the_harmonic_number_projected_by_one(void **state)
{
    (void)state;
    static const uint32_t touches[] = {1, 10, 100, 1000, 10000};
    for (size_t i = 0; i < sizeof touches / sizeof touches[0]; i++) {
        uint32_t n = touches[i], examples = 20 * n;
        struct regularizer_options o = MBA;
        double running = -log(left(&o, n, examples)) / 0.01;
        o.counts.mode = INSTANCES_PROJECTED;
        o.counts.epoch = examples;
        double projected = -log(left(&o, n, examples)) / 0.01;
        o.counts.mode = INSTANCES_WINDOW;
        o.counts.window = examples / 2; /* two periods */
        o.counts.decay = 0.5;
        double window = -log(left(&o, n, examples)) / 0.01;
        print_message("%6u touches: running %.3f, projected %.3f, window %.3f (rate lambda)\n", n,
                      running, projected, window);
        assert_true(fabs(running - harmonic(n)) < 0.01 * harmonic(n) + 0.05);
        assert_true(fabs(projected - 1.0) < 0.02);
        assert_true(window >= running - 1e-3);
    }
    assert_true(fabs(left(&MBA, 1000, 1000) - 0.9278016496) < 5e-5);
}

/* M13: a counter that is decayed at the row's touches is the one decayed at every period. */
static void test_m13_window_counter_equals_eager_decay(void **state)
{
    (void)state;
    static const double decays[] = {0.5, 0.9, 0.999};
    for (size_t d = 0; d < 3; d++) {
        struct regularizer_options o = MBA;
        o.counts =
            (struct instances_options){.mode = INSTANCES_WINDOW, .window = 70, .decay = decays[d]};
        struct bench b;
        bench_open(&b, &o, OPTIMIZER_SGD, 1.0);
        double eager = 0.0;
        uint32_t compared = 0;
        uint64_t random = 5;
        for (uint32_t i = 0, period = 0; i < 3000; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
            uint32_t n = 1 + (uint32_t)(random >> 33) % 200; /* up to three periods a batch */
            bool touched = (random >> 50) % 40 == 0;
            for (; period < b.examples / 70; period++) {
                eager *= decays[d];
            }
            eager += touched ? 3.0 : 0.0;
            batch(&b, n, touched ? 3.0f : 0.0f, ZERO);
            if (touched) {
                assert_true(fabs((double)b.row->count - eager) <= 1e-5 * eager);
                compared++;
            }
        }
        assert_true(compared > 30);
        bench_close(&b);
    }
}

/* An id in five examples of the batch is regularised once (Eq. 6) or five times (Eq. 5). */
static void test_m8_once_or_as_often_as_the_batch_holds_it(void **state)
{
    (void)state;
    for (int form = REGULARIZER_ONCE; form <= REGULARIZER_COUNT; form++) {
        struct regularizer_options o = MBA;
        o.form = (enum regularizer_form)form;
        struct bench b;
        bench_open(&b, &o, OPTIMIZER_SGD, 1.0);
        b.row->value[0] = 1.0f;
        b.row->count = 15.0f;
        batch(&b, 8, 5.0f, ZERO);
        double expected = 1.0 - 0.01 * (form == REGULARIZER_COUNT ? 5.0 : 1.0) / 20.0;
        assert_true(fabs((double)b.row->value[0] - expected) < 1e-7);
        bench_close(&b);
    }
}

/* Debts paid at the touch and in copies are what every step would have taken. */
static void test_l2_pays_its_debts_exactly(void **state)
{
    (void)state;
    const struct regularizer_options o = {.kind = REGULARIZER_L2, .lambda = 0.02};
    struct bench b;
    bench_open(&b, &o, OPTIMIZER_SGD, 0.5);
    b.row->value[0] = 1.0f;
    double eager = 1.0;
    for (uint32_t i = 0; i < 500; i++) {
        bool touched = i % 37 == 0; /* a new row owes nothing before its first touch */
        eager -= 0.01 * eager + (touched ? 0.5 * 0.2 : 0.0);
        batch(&b, 4, touched ? 1.0f : 0.0f, GRAD);
        b.z.steps = b.step;
        float copy[DIM] = {b.row->value[0], b.row->value[1]};
        uint32_t row = 0;
        regularizer_catch_up(&b.z, 0, &b.table, &row, 1, copy);
        assert_true(fabs((double)copy[0] - eager) <= 1e-6 * (1.0 + fabs(eager)));
    }
    bench_close(&b);
}

static void test_options_are_checked(void **state)
{
    (void)state;
    struct undine_err err;
    struct regularizer_options o = MBA;
    o.lambda = 30.0;
    assert_int_equal(regularizer_check(&o, 0.05, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "regularizer.lambda is 30"));
    o.kind = REGULARIZER_L2;
    assert_int_equal(regularizer_check(&o, 0.05, &err), UNDINE_ECONFIG);
    o.kind = REGULARIZER_NONE;
    assert_int_equal(regularizer_check(&o, 0.05, &err), 0);
    o = MBA;
    assert_int_equal(regularizer_check(&o, 0.05, &err), 0);
    o.lambda = NAN;
    assert_int_equal(regularizer_check(&o, 0.05, &err), UNDINE_ECONFIG);
    o = MBA;
    o.counts.mode = INSTANCES_FIXED;
    assert_int_equal(regularizer_check(&o, 0.05, &err), UNDINE_ECONFIG);
    o.counts.mode = INSTANCES_PROJECTED;
    assert_int_equal(regularizer_check(&o, 0.05, &err), UNDINE_ECONFIG);
    o.counts = (struct instances_options){.mode = INSTANCES_WINDOW, .window = 10, .decay = 1.0};
    assert_int_equal(regularizer_check(&o, 0.05, &err), UNDINE_ECONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_m_goldens_of_sgd_and_adam),
        cmocka_unit_test(test_difacto_takes_lambda_w_at_each_touch),
        cmocka_unit_test(test_m3_without_gradient_a_row_shrinks_by_lambda_over_n),
        cmocka_unit_test(test_m5_running_decays_by_the_harmonic_number_projected_by_one),
        cmocka_unit_test(test_m8_once_or_as_often_as_the_batch_holds_it),
        cmocka_unit_test(test_m13_window_counter_equals_eager_decay),
        cmocka_unit_test(test_l2_pays_its_debts_exactly),
        cmocka_unit_test(test_options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
