#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_trainer_allocations.c: a trainer that has seen its largest batch and all its ids asks for no
 * more memory: not for a batch, an example or a row.
 *
 * Every way to the allocator out of our code is counted (the linker sends them here), threads of
 * the trainer's own included. */
#include "tests/support/allocations.h"
#include "tests/support/trainers.h"

#include <stdio.h>

/* Whole batches: each round has the same. */
enum { EXAMPLES = 4096, WARM = 2, ROUNDS = 3 };

/* Goes over the same examples again and again, as if they came anew. */
static void learn_all(struct trainer *t, const struct example_stream *s, uint32_t round)
{
    struct example_block block = example_stream_block(s, 0, s->n);
    struct undine_err err = {0};
    block.first_seq = (uint64_t)round * s->n;
    assert_true(trainer_learn(t, &block, UINT32_MAX, &err) >= 0);
}

static void check(struct trainer_options *o, const char *what)
{
    struct schema schema = example_stream_schema(8);
    struct example_stream s;
    example_stream_init(&s, &schema);
    example_stream_plant(&s, &(struct example_stream_plan){.seed = 5,
                                                           .n = EXAMPLES,
                                                           .n_users = 50,
                                                           .n_steps = 20,
                                                           .n_categories = 10,
                                                           .items_a_category = 20});
    o->max_delay_ms = INT64_MAX;
    struct trainer *t = trainers_open(&schema, o);
    for (uint32_t i = 0; i < WARM; i++) {
        learn_all(t, &s, i);
    }
    unsigned long before = allocations_count;
    assert_true(before > 0); /* they are counted */
    for (uint32_t i = 0; i < ROUNDS; i++) {
        learn_all(t, &s, WARM + i);
    }
    unsigned long n = allocations_count - before;
    if (n > 0) {
        print_error("%s: %lu allocations in %d examples\n", what, n, ROUNDS * EXAMPLES);
    }
    assert_int_equal(n, 0);
    trainer_close(t);
    example_stream_release(&s);
}

static void a_warm_trainer_allocates_nothing(void **state)
{
    static const char *const names[] = {"sgd", "adagrad", "adam", "ftrl"};
    (void)state;
    for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_FTRL; kind++) {
        struct trainer_options o = trainers_options();
        o.optimizer.kind = (enum optimizer_kind)kind;
        o.clip_norm = 5.0;
        if (kind != OPTIMIZER_FTRL) {
            o.regularizer.kind = REGULARIZER_MBA;
            o.regularizer.lambda = 0.01;
        }
        check(&o, names[kind]);
    }
}

static void nor_do_its_workers(void **state)
{
    struct trainer_options o = trainers_options();
    (void)state;
    o.workers = 3;
    o.batch_max = 256;
    o.dropout = 0.1;
    check(&o, "three workers");
}

static void nor_does_the_official_unit(void **state)
{
    struct trainer_options o = trainers_options();
    (void)state;
    o.model.unit.input = UNIT_OFFICIAL;
    o.model.unit.n_hidden = 2;
    o.model.unit.hidden[0] = 80;
    o.model.unit.hidden[1] = 40;
    o.model.unit.normalize = UNIT_SCALED_SOFTMAX;
    o.model.linear = o.model.product = o.model.sum_history = true;
    check(&o, "official unit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_warm_trainer_allocates_nothing),
        cmocka_unit_test(nor_do_its_workers),
        cmocka_unit_test(nor_does_the_official_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
