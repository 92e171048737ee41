/* `sequences[].shared: false`: a sequence whose steps have tables of their own, through the
 * trainer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <stdbool.h>

enum { DIM = 8, EXAMPLES = 600, BATCH = 32, OWN_ITEM = 4, OWN_CATEGORY = 5 };

struct fixture {
    struct schema shared, own;
    struct example_stream stream;
};

static void setup(struct fixture *f)
{
    f->shared = f->own = example_stream_schema(DIM);
    f->own.sequences[0].own_tables = true;
    assert_int_equal(schema_check(&f->own, NULL), 0);
    assert_int_equal(f->own.n_tables, f->shared.n_tables + 2);
    assert_string_equal(f->own.tables[OWN_ITEM].name, "clicks.item");
    assert_string_equal(f->own.tables[OWN_CATEGORY].name, "clicks.category");
    example_stream_init(&f->stream, &f->shared);
    const struct example_stream_plan plan = {.seed = 3,
                                             .n = EXAMPLES,
                                             .n_users = 40,
                                             .n_steps = 6,
                                             .n_categories = 12,
                                             .items_a_category = 5,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
}

static void teardown(struct fixture *f)
{
    example_stream_release(&f->stream);
}

static struct trainer_options options(void)
{
    struct trainer_options o = trainers_options();
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    o.frozen = (struct frozen_options){.block = 100, .sample = 1.0};
    o.model.linear = true;
    return o;
}

static struct trainer *learned(const struct fixture *f, const struct schema *schema,
                               const struct trainer_options *o, uint32_t n)
{
    struct trainer *t;
    struct undine_err err = {0};
    struct example_block block = example_stream_block(&f->stream, 0, n);
    assert_int_equal(trainer_open(&t, schema, o, &err), 0);
    assert_true(trainer_learn(t, &block, UINT32_MAX, &err) >= 0);
    return t;
}

static uint32_t count_of(const struct trainer *t, uint32_t table, uint64_t key)
{
    uint32_t row = table_find(&t->table[table], key);
    return row == TABLE_NONE ? 0 : (uint32_t)table_row(&t->table[table], row)->count;
}

/* Does the example's sequence hold the id in field 0 of a step? */
static bool history_holds(const struct fixture *f, const struct example *e, uint64_t key)
{
    const struct example_sequence *q = &f->stream.sequences[e->sequence[0]];
    const uint64_t *at = q->words;
    for (uint32_t step = 0; step < q->n_steps; step++) {
        uint8_t counts[8];
        memcpy(counts, &at[1], sizeof counts);
        at += 2;
        for (uint8_t i = 0; i < counts[0]; i++) {
            if (at[i] == key) {
                return true;
            }
        }
        at += counts[0] + counts[1];
    }
    return false;
}

/* A row's counter counts, for the candidate's table, the examples whose candidate it is, and for
 * the sequence's own the examples in whose history it stands, be it once or often. */
static void test_candidates_and_steps_meet_in_no_row(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    struct trainer *t = learned(&f, &f.own, &o, EXAMPLES / BATCH * BATCH);
    uint32_t both = 0;
    assert_true(t->table[OWN_ITEM].n_rows > 10);
    assert_int_equal(t->table[OWN_ITEM].opt.dim, DIM); /* no linear weight: no field's table */
    assert_int_equal(t->table[STREAM_ITEM].opt.dim, DIM + 1);
    for (uint32_t row = 0; row < t->table[OWN_ITEM].n_rows; row++) {
        uint64_t key = table_row(&t->table[OWN_ITEM], row)->key;
        uint32_t candidates = 0, histories = 0;
        for (uint32_t i = 0; i < EXAMPLES / BATCH * BATCH; i++) {
            candidates += f.stream.examples[i].ids[0] == key;
            histories += history_holds(&f, &f.stream.examples[i], key);
        }
        assert_int_equal(count_of(t, OWN_ITEM, key), histories);
        assert_int_equal(count_of(t, STREAM_ITEM, key), candidates);
        both += candidates > 0;
    }
    assert_true(both > 10);
    trainer_close(t);
    teardown(&f);
}

/* The same id starts elsewhere in the two tables, as two tables with two names would. */
static void test_rows_of_own_tables_start_apart(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    struct trainer *t;
    float a[DIM], b[DIM];
    assert_int_equal(trainer_open(&t, &f.own, &o, NULL), 0);
    row_initial(a, DIM, 77, &t->table[OWN_ITEM].opt.init);
    row_initial(b, DIM, 77, &t->table[STREAM_ITEM].opt.init);
    assert_memory_not_equal(a, b, sizeof a);
    row_initial(b, DIM, 77, &t->table[OWN_CATEGORY].opt.init);
    assert_memory_not_equal(a, b, sizeof a);
    trainer_close(t);
    teardown(&f);
}

static struct hash128 digest_of(struct trainer *t)
{
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
    assert_int_equal(snapshot_sort(s, NULL), 0);
    struct hash128 digest = snapshot_digest(s);
    snapshot_free(s);
    return digest;
}

static void test_own_tables_make_another_model(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct trainer_options o = options();
    struct trainer *shared = learned(&f, &f.shared, &o, EXAMPLES);
    struct trainer *own = learned(&f, &f.own, &o, EXAMPLES);
    o.workers = 2;
    struct trainer *two = learned(&f, &f.own, &o, EXAMPLES);
    struct hash128 a = digest_of(shared), b = digest_of(own), c = digest_of(two);
    assert_true(a.low != b.low || a.high != b.high);
    assert_true(b.low == c.low && b.high == c.high);
    trainer_close(shared);
    trainer_close(own);
    trainer_close(two);
    teardown(&f);
}

static void test_m10_own_tables_are_restored_bit_for_bit(void **state)
{
    (void)state;
    static const double dropouts[] = {0.0, 0.2};
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < sizeof dropouts / sizeof dropouts[0]; i++) {
        struct trainer_options o = options();
        o.dropout = dropouts[i];
        struct trainer *whole = learned(&f, &f.own, &o, EXAMPLES);
        struct trainer *part = learned(&f, &f.own, &o, EXAMPLES / 2), *again;
        struct snapshot *s = NULL;
        struct undine_err err = {0};
        assert_int_equal(trainer_snapshot(part, &s, NULL), 0);
        assert_int_equal(snapshot_sort(s, NULL), 0);
        assert_string_equal(s->table[OWN_ITEM].name, "clicks.item");
        assert_int_equal(trainer_open(&again, &f.own, &o, &err), 0);
        assert_int_equal(trainer_restore(again, s, &err), 0);
        struct example_block rest =
            example_stream_block(&f.stream, (uint32_t)trainer_seq(again), EXAMPLES);
        assert_true(trainer_learn(again, &rest, UINT32_MAX, &err) >= 0);
        assert_true(trainers_equal(whole, again));
        trainer_close(again);

        /* a configuration that shares does not take it up */
        assert_int_equal(trainer_open(&again, &f.shared, &o, &err), 0);
        assert_int_equal(trainer_restore(again, s, &err), UNDINE_ESTATE);
        assert_non_null(strstr(err.msg, "other tables, fields or sequences"));
        trainer_close(again);
        snapshot_free(s);
        trainer_close(part);
        trainer_close(whole);
    }
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidates_and_steps_meet_in_no_row),
        cmocka_unit_test(test_rows_of_own_tables_start_apart),
        cmocka_unit_test(test_own_tables_make_another_model),
        cmocka_unit_test(test_m10_own_tables_are_restored_bit_for_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
