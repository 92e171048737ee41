#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_learning.c: the whole trainer learns what there is to learn. */
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <math.h>

static void feed_all(struct trainer *t, const struct example_stream *s, uint64_t first_seq)
{
    struct example_block block = example_stream_block(s, 0, s->n);
    block.first_seq = first_seq;
    struct undine_err err = {0};
    int rc = trainer_learn(t, &block, UINT32_MAX, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_true(rc >= 0);
}

static double logloss_of_last_batch(const struct trainer *t, const struct example_stream *s)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < s->n; i++) {
        double y = s->examples[i].kind == EXAMPLE_POSITIVE ? 1.0 : 0.0;
        sum += model_logloss((double)t->logit[i], y);
    }
    return sum / s->n;
}

/* S1: 64 rows are learned by heart, by every model, activation and optimizer. */
static void test_s1_overfits_64_rows(void **state)
{
    (void)state;
    const struct {
        enum model_kind kind;
        enum model_activation activation;
        enum optimizer_kind optimizer;
        double rate;
    } cases[] = {
        {MODEL_DIN, ACT_DICE, OPTIMIZER_ADAGRAD, 0.1},
        {MODEL_DIN, ACT_PRELU, OPTIMIZER_ADAM, 0.01},
        {MODEL_BASE, ACT_PRELU, OPTIMIZER_ADAGRAD, 0.1},
        {MODEL_BASE, ACT_DICE, OPTIMIZER_ADAM, 0.01},
        {MODEL_DIN, ACT_PRELU, OPTIMIZER_SGD, 0.5},
        {MODEL_DIN, ACT_DICE, OPTIMIZER_FTRL, 0.3},
    };
    struct schema schema = example_stream_schema(8);
    struct example_stream s;
    example_stream_init(&s, &schema);
    const struct example_stream_plan plan = {.seed = 21,
                                             .n = 64,
                                             .n_users = 20,
                                             .n_steps = 8,
                                             .n_categories = 20,
                                             .items_a_category = 10,
                                             .noise =
                                                 0.5}; /* labels are coins: only memory helps */
    example_stream_plant(&s, &plan);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct trainer_options o = trainers_options();
        o.batch_max = 64;
        o.model.kind = cases[c].kind;
        o.model.mlp.activation = o.model.unit.activation = cases[c].activation;
        o.optimizer.kind = cases[c].optimizer;
        o.optimizer.rate = o.optimizer.dense_rate = cases[c].rate;
        o.clip_norm = 5.0;
        struct trainer *t;
        assert_int_equal(trainer_open(&t, &schema, &o, NULL), 0);
        double loss = 1.0;
        uint32_t pass = 0;
        for (; pass < 2000 && loss >= 0.01; pass++) {
            feed_all(t, &s, (uint64_t)pass * 64);
            loss = logloss_of_last_batch(t, &s);
        }
        print_message("case %zu: logloss %.4f after %u passes\n", c, loss, pass);
        assert_true(loss < 0.01);
        assert_int_equal(t->counters.batches_skipped, 0);
        trainer_close(t);
    }
    example_stream_release(&s);
}

static struct trainer_metrics learn_planted(const struct example_stream *s,
                                            const struct schema *schema, enum model_kind kind)
{
    struct trainer_options o = trainers_options();
    o.batch_max = 64;
    o.model.kind = kind;
    o.metrics_window = 20000; /* the second half */
    o.optimizer.kind = OPTIMIZER_ADAM;
    o.optimizer.rate = 0.01;
    o.optimizer.dense_rate = 0.005;
    o.row_scale = 0.3; /* the unit compares by products: small rows would start it blind */
    struct trainer *t;
    assert_int_equal(trainer_open(&t, schema, &o, NULL), 0);
    feed_all(t, s, 0);
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    trainer_close(t);
    return m;
}

/* S2: a click depends on whether the candidate's category is in the history, with 10 % noise.  DIN,
 * which compares them, beats the base model, which can only add them up, by 0.05 GAUC. */
static void test_s2_din_beats_base_on_planted_interests(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(8);
    struct example_stream s;
    example_stream_init(&s, &schema);
    const struct example_stream_plan plan = {.seed = 5,
                                             .n = 40000,
                                             .n_users = 2000,
                                             .n_steps = 10,
                                             .n_categories = 40,
                                             .items_a_category = 25,
                                             .noise = 0.1,
                                             .drop_users = true};
    example_stream_plant(&s, &plan);
    struct trainer_metrics din = learn_planted(&s, &schema, MODEL_DIN);
    struct trainer_metrics base = learn_planted(&s, &schema, MODEL_BASE);
    /* Who knows the rule ranks by it: of a click and a non-click, (1 - noise)^2 of the pairs are in
     * order, noise^2 are not, the others tie. */
    double bayes = 1.0 - plan.noise;
    print_message(
        "gauc of the second half: din %.4f, base %.4f, at best %.4f; logloss %.4f, %.4f\n",
        din.gauc, base.gauc, bayes, din.window_logloss, base.window_logloss);
    assert_true(din.gauc <= bayes + 0.01); /* more is a leak */
    assert_true(din.gauc >= base.gauc + 0.05);
    assert_true(din.window_logloss < base.window_logloss);
    assert_true(din.auc > din.popularity_auc && din.logloss < din.popularity_logloss);
    assert_true(fabs(din.window_calibration - 1.0) < 0.1);
    example_stream_release(&s);
}

/* Mean progressive logloss of a short stream, with `shift` added to one number of every example's
 * input: the first one of its user's vector. */
static double early_logloss(const struct example_stream *s, const struct schema *schema,
                            enum model_activation activation, float shift)
{
    struct trainer_options o = trainers_options();
    o.batch_max = 64;
    o.model.kind = MODEL_DIN;
    o.model.mlp.activation = activation;
    o.optimizer.kind = OPTIMIZER_ADAM;
    o.optimizer.rate = 0.01;
    o.optimizer.dense_rate = 0.005;
    o.row_scale = 0.3;
    struct trainer *t;
    assert_int_equal(trainer_open(&t, schema, &o, NULL), 0);
    struct table *users = &t->table[schema->fields[STREAM_USER].table];
    for (uint32_t i = 0; i < s->n; i++) {
        uint64_t key = s->examples[i].ids[STREAM_USER];
        bool known = table_find(users, key) != TABLE_NONE;
        uint32_t row;
        assert_int_equal(table_need(users, &key, &row, 1, NULL), 0);
        table_row(users, row)->value[0] += known ? 0.0f : shift;
    }
    feed_all(t, s, 0);
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    trainer_close(t);
    return m.logloss;
}

/* S4: one input feature shifted hurts PReLU, whose knee stays at 0, more than Dice, whose knee
 * follows the batch; mean over streams.  Inputs have a standard deviation of 0.3; a shift of 5 is
 * not yet enough to hurt either, 20 is. */
static void test_s4_dice_does_not_mind_a_shifted_input(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(8);
    double hurt[2] = {0.0, 0.0};
    const enum model_activation activation[2] = {ACT_PRELU, ACT_DICE};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct example_stream s;
        example_stream_init(&s, &schema);
        const struct example_stream_plan plan = {.seed = seed,
                                                 .n = 10000,
                                                 .n_users = 200,
                                                 .n_steps = 6,
                                                 .n_categories = 20,
                                                 .items_a_category = 10,
                                                 .noise = 0.1};
        example_stream_plant(&s, &plan);
        for (size_t a = 0; a < 2; a++) {
            double plain = early_logloss(&s, &schema, activation[a], 0.0f);
            double shifted = early_logloss(&s, &schema, activation[a], 20.0f);
            print_message("seed %d, %s: %.4f, shifted %.4f\n", (int)seed, a == 0 ? "prelu" : "dice",
                          plain, shifted);
            hurt[a] += (shifted - plain) / 5.0;
        }
        example_stream_release(&s);
    }
    print_message("hurt by the shift: prelu %.4f, dice %.4f\n", hurt[0], hurt[1]);
    assert_true(hurt[0] > 0.01);
    assert_true(hurt[1] < 0.6 * hurt[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s1_overfits_64_rows),
        cmocka_unit_test(test_s2_din_beats_base_on_planted_interests),
        cmocka_unit_test(test_s4_dice_does_not_mind_a_shifted_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
