/* A step shared by several threads learns what one thread learns: weights, slots, counts, Dice's
 * statistics and metrics, bit for bit, whatever the optimizer and the model.  Rows that go:
 * test_workers_rows.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <stdbool.h>

/* Large enough for products and loops to be shared, and no multiple of any part's size. */
enum { DIM = 12, EXAMPLES = 1111, BATCH = 203, MIDDLE = 700 };

struct fixture {
    struct schema schema;
    struct example_stream stream;
};

static void setup(struct fixture *f)
{
    f->schema = example_stream_schema(DIM);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 5,
                                             .n = EXAMPLES,
                                             .n_users = 90,
                                             .n_steps = 23,
                                             .n_categories = 20,
                                             .items_a_category = 30,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
}

static struct trainer_options options(void)
{
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.clip_norm = 0.05; /* binds, so that the norm's bits reach every weight */
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    o.model.unit.activation = ACT_DICE;
    o.model.mlp.activation = ACT_DICE;
    o.model.unit.n_hidden = 2;
    o.model.unit.hidden[0] = 36;
    o.model.unit.hidden[1] = 20;
    o.model.mlp.hidden[0] = 80;
    o.model.mlp.hidden[1] = 40;
    return o;
}

static struct trainer *open_trainer(const struct fixture *f, struct trainer_options o,
                                    uint32_t workers)
{
    o.workers = workers;
    return trainers_open(&f->schema, &o);
}

static void assert_same_for_any_number(const struct fixture *f, const struct trainer_options *o,
                                       const char *what)
{
    static const uint32_t counts[] = {2, 3, 4, 7};
    struct trainer *one = open_trainer(f, *o, 1);
    trainers_feed(one, &f->stream, 0, EXAMPLES);
    struct trainer_metrics m;
    trainer_metrics(one, &m);
    assert_int_equal(m.workers, 1);
    assert_int_equal(m.batches_skipped, 0);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct trainer *some = open_trainer(f, *o, counts[i]);
        trainers_feed(some, &f->stream, 0, EXAMPLES);
        trainer_metrics(some, &m);
        assert_int_equal(m.workers, counts[i]);
        if (!trainers_equal(one, some)) {
            fail_msg("%s: %u workers learn other bits than one", what, counts[i]);
        }
        trainer_close(some);
    }
    trainer_close(one);
}

static void test_optimizers_same_digest_for_any_number_of_workers(void **state)
{
    (void)state;
    static const char *const names[] = {"sgd", "adagrad", "adam", "ftrl"};
    struct fixture f;
    setup(&f);
    for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_FTRL; kind++) {
        struct trainer_options o = options();
        o.optimizer.kind = (enum optimizer_kind)kind;
        o.optimizer.rate = 0.02;
        assert_same_for_any_number(&f, &o, names[kind]);
    }
    example_stream_release(&f.stream);
}

static void test_models_same_digest_for_any_number_of_workers(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    o.model.kind = MODEL_BASE;
    assert_same_for_any_number(&f, &o, "base");
    o = options();
    o.model.unit.input = UNIT_OFFICIAL;
    o.model.unit.normalize = UNIT_SOFTMAX;
    o.model.unit.activation = ACT_SIGMOID;
    o.model.linear = true;
    assert_same_for_any_number(&f, &o, "official with softmax and a linear part");
    o = options();
    o.model.unit.activation = o.model.mlp.activation = ACT_PRELU;
    o.model.unit.normalize = UNIT_LENGTH;
    assert_same_for_any_number(&f, &o, "PReLU, pooled by length");
    o = options();
    o.model.dice.mode = DICE_RUNNING;
    o.dropout = 0.3;
    o.regularizer.kind = REGULARIZER_L2;
    assert_same_for_any_number(&f, &o, "running Dice, dropout and L2");
    o = options();
    o.admission = 3;
    assert_same_for_any_number(&f, &o, "ids are admitted");
    o = options();
    o.batch_max = 1;
    o.model.dice.mode = DICE_RUNNING;
    assert_same_for_any_number(&f, &o, "one example a batch");
    example_stream_release(&f.stream);
}

/* What two workers left is taken up by four, then by one: as if one had learned it all. */
static void test_m10_restored_with_another_number_of_workers(void **state)
{
    (void)state;
    static const uint32_t counts[] = {4, 1};
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    o.optimizer.kind = OPTIMIZER_ADAM;
    o.optimizer.rate = 0.01;
    struct trainer *one = open_trainer(&f, o, 1), *two = open_trainer(&f, o, 2);
    trainers_feed(one, &f.stream, 0, EXAMPLES);
    trainers_feed(two, &f.stream, 0, MIDDLE);
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(two, &s, NULL), 0);
    uint32_t learned = (uint32_t)trainer_seq(two);
    assert_true(learned > 0 && learned < MIDDLE);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct trainer *again = open_trainer(&f, o, counts[i]);
        struct undine_err err = {0};
        assert_int_equal(trainer_restore(again, s, &err), 0);
        trainers_feed(again, &f.stream, learned, EXAMPLES);
        assert_true(trainers_equal(one, again));
        trainer_close(again);
    }
    snapshot_free(s);
    trainer_close(one);
    trainer_close(two);
    example_stream_release(&f.stream);
}

static void test_too_many_workers_are_refused(void **state)
{
    (void)state;
    struct schema schema = example_stream_schema(DIM);
    struct trainer_options o = options();
    o.workers = WORKERS_MAX + 1;
    struct trainer *t;
    struct undine_err err = {0};
    assert_int_equal(trainer_open(&t, &schema, &o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "workers is 65, expected at most 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizers_same_digest_for_any_number_of_workers),
        cmocka_unit_test(test_models_same_digest_for_any_number_of_workers),
        cmocka_unit_test(test_m10_restored_with_another_number_of_workers),
        cmocka_unit_test(test_too_many_workers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
