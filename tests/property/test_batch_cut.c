#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_batch_cut.c: however a stream arrives, the same batches are cut and the same model is
 * learned. */
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <stdlib.h>

enum { EXAMPLES = 700, ROUNDS = 12 };

/* Planted examples with gaps of all sizes in event time, sampled negatives and forgotten users. */
static void plant(struct example_stream *s, struct random *r)
{
    const struct example_stream_plan plan = {.seed = 8,
                                             .n = EXAMPLES,
                                             .n_users = 30,
                                             .n_steps = 5,
                                             .n_categories = 10,
                                             .items_a_category = 4,
                                             .noise = 0.1};
    static uint64_t user_ids[EXAMPLES];
    static const uint8_t user_only[STREAM_FIELDS] = {0, 0, 1, 0};
    example_stream_plant(s, &plan);
    int64_t emit_ms = 1700000000000;
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        struct example *e = &s->examples[i];
        emit_ms += (int64_t)(random_below(r, 4) == 0 ? random_below(r, 900) : random_below(r, 20));
        e->emit_ms = emit_ms;
        e->sample_rate = random_below(r, 2) == 0 ? 1.0f : 0.5f;
        user_ids[i] = e->ids[2];
        if (random_below(r, 60) == 0) {
            e->kind = EXAMPLE_FORGET;
            e->counts = user_only;
            e->ids = &user_ids[i];
        }
    }
}

/* Sizes of batches by the rule as it is written down. */
static uint32_t cut_by_rule(const struct example_stream *s, const struct trainer_options *o,
                            uint32_t *sizes)
{
    uint32_t n = 0, size = 0;
    int64_t first_ms = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct example *e = &s->examples[i];
        if (size > 0 && (e->kind == EXAMPLE_FORGET || e->emit_ms - first_ms >= o->max_delay_ms)) {
            sizes[n++] = size;
            size = 0;
        }
        if (e->kind == EXAMPLE_FORGET) {
            continue;
        }
        first_ms = size == 0 ? e->emit_ms : first_ms;
        if (++size == o->batch_max) {
            sizes[n++] = size;
            size = 0;
        }
    }
    if (size > 0) {
        sizes[n++] = size;
    }
    return n;
}

/* A copy of examples [from, to) that shares no sequence with anything: another block layout. */
static struct example_block own_block(struct example_stream *copy, const struct example_stream *s,
                                      uint32_t from, uint32_t to)
{
    example_stream_init(copy, s->schema);
    for (uint32_t i = from; i < to; i++) {
        const struct example *e = &s->examples[i];
        const struct example_sequence *q = &s->sequences[e->sequence[0]];
        struct example_step steps[100];
        static const uint8_t one_each[2] = {1, 1};
        for (uint32_t t = 0; t < q->n_steps; t++) {
            steps[t] = (struct example_step){.counts = one_each, .ids = &q->words[4 * t + 2]};
        }
        struct example mine = *e;
        mine.sequence[0] = example_stream_sequence(copy, 0, steps, q->n_steps);
        (void)example_stream_add(copy, &mine);
    }
    struct example_block block = example_stream_block(copy, 0, to - from);
    block.first_seq = from;
    return block;
}

static uint32_t note_sizes(struct trainer *t, const struct example_block *block, uint32_t step,
                           uint32_t *sizes, uint32_t n)
{
    struct undine_err err = {0};
    for (;;) {
        uint64_t before = t->counters.examples, batches = t->counters.batches;
        int rc = trainer_learn(t, block, step, &err);
        if (rc < 0) {
            print_error("%s\n", err.msg);
        }
        assert_true(rc >= 0 && (uint32_t)rc <= step);
        assert_int_equal(t->counters.batches - batches, rc);
        if (rc == 1) {
            sizes[n++] = (uint32_t)(t->counters.examples - before);
        }
        if (rc == 0) {
            return n;
        }
    }
}

static void feed_in_pieces(struct trainer *t, const struct example_stream *s, struct random *r,
                           uint32_t *sizes, uint32_t *n)
{
    for (uint32_t from = 0; from < s->n;) {
        uint32_t to = from + 1 + (uint32_t)random_below(r, 90);
        to = to < s->n ? to : s->n;
        struct example_stream copy = {0};
        struct example_block block = random_below(r, 2) == 0 ? own_block(&copy, s, from, to)
                                                             : example_stream_block(s, from, to);
        *n = note_sizes(t, &block, 1, sizes, *n);
        example_stream_release(&copy);
        /* a watermark that ingest could have by now: nothing below it comes any more */
        int64_t watermark_ms = to < s->n ? s->examples[to].emit_ms : INT64_MAX;
        uint64_t before = t->counters.examples;
        int rc =
            random_below(r, 2) == 0 || to == s->n ? trainer_learn_due(t, watermark_ms, NULL) : 0;
        assert_true(rc >= 0);
        if (rc == 1) {
            sizes[(*n)++] = (uint32_t)(t->counters.examples - before);
        }
        from = to;
    }
}

static void check_any_arrival(double dropout, uint32_t admission)
{
    struct random r = {.state = 31};
    print_message("seed 31\n");
    struct schema schema = example_stream_schema(4);
    struct example_stream s;
    example_stream_init(&s, &schema);
    plant(&s, &r);
    struct trainer_options o = trainers_options();
    o.max_delay_ms = 1500;
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    o.clip_norm = 1.0;
    o.dropout = dropout;
    o.admission = admission;
    static uint32_t expected[EXAMPLES], sizes[EXAMPLES];
    uint32_t n_expected = cut_by_rule(&s, &o, expected);
    struct trainer *first = NULL;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct trainer *t;
        assert_int_equal(trainer_open(&t, &schema, &o, NULL), 0);
        uint32_t n = 0;
        feed_in_pieces(t, &s, &r, sizes, &n);
        assert_int_equal(n, n_expected);
        assert_memory_equal(sizes, expected, n * sizeof sizes[0]);
        assert_int_equal(trainer_seq(t), EXAMPLES);
        if (first == NULL) {
            first = t;
            continue;
        }
        assert_true(trainers_equal(first, t));
        assert_true(t->counters.example_digest != 0);
        assert_true(t->counters.example_digest == first->counters.example_digest);
        trainer_close(t);
    }
    trainer_close(first);
    example_stream_release(&s);
}

static void test_any_arrival_gives_the_same_batches(void **state)
{
    (void)state;
    check_any_arrival(0.0, 0);
    check_any_arrival(0.3, 0);
    check_any_arrival(0.0, 3);
}

/* M10: what was learned once is not learned again, whoever brings it. */
static void test_nothing_is_learned_twice(void **state)
{
    (void)state;
    struct random r = {.state = 33};
    struct schema schema = example_stream_schema(4);
    struct example_stream s;
    example_stream_init(&s, &schema);
    plant(&s, &r);
    struct trainer_options o = trainers_options();
    struct trainer *t;
    assert_int_equal(trainer_open(&t, &schema, &o, NULL), 0);
    struct example_block block = example_stream_block(&s, 0, 100);
    assert_true(trainer_learn(t, &block, 100, NULL) > 0);
    uint64_t seq = trainer_seq(t), examples = t->counters.examples;
    assert_int_equal(trainer_learn(t, &block, 100, NULL), 0);
    assert_true(trainer_seq(t) == seq && t->counters.examples == examples);
    assert_int_equal(t->builder->n, 100 - seq);
    trainer_close(t);
    example_stream_release(&s);
}

static void test_when_the_open_batch_may_close(void **state)
{
    (void)state;
    struct random r = {.state = 32};
    struct schema schema = example_stream_schema(4);
    struct example_stream s;
    example_stream_init(&s, &schema);
    plant(&s, &r);
    struct trainer_options o = trainers_options();
    o.max_delay_ms = 1000000;
    struct trainer *t;
    assert_int_equal(trainer_open(&t, &schema, &o, NULL), 0);
    assert_true(trainer_next_close_ms(t) == INT64_MAX);
    struct example_block block = example_stream_block(&s, 0, 2);
    assert_int_equal(trainer_learn(t, &block, 9, NULL), 0);
    int64_t close_ms = s.examples[0].emit_ms + 1000000;
    assert_true(trainer_next_close_ms(t) == close_ms);
    assert_int_equal(trainer_learn_due(t, close_ms - 1, NULL), 0);
    assert_int_equal(trainer_seq(t), 0);
    assert_int_equal(trainer_learn_due(t, close_ms, NULL), 1);
    assert_int_equal(trainer_seq(t), 2);
    assert_true(trainer_next_close_ms(t) == INT64_MAX);
    assert_int_equal(trainer_learn_due(t, INT64_MAX, NULL), 0);
    trainer_close(t);
    example_stream_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_arrival_gives_the_same_batches),
        cmocka_unit_test(test_nothing_is_learned_twice),
        cmocka_unit_test(test_when_the_open_batch_may_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
