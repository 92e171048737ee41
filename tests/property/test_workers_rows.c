/* Rows come and go alike for any number of workers: expiry, eviction and dropout, alone and
 * together, leave the same digest, counters and tombstones, bit for bit, and rows do go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <stdlib.h>

/* Large enough for products and loops to be shared, and no multiple of any part's size. */
enum { DIM = 12, EXAMPLES = 4060, BATCH = 203, A_DAY = 150, CHUNK = 580, N_COUNTS = 3 };
#define DAY_MS ((int64_t)86400000)

static const uint32_t COUNTS[N_COUNTS] = {1, 2, 4};

struct fixture {
    struct schema schema;
    struct example_stream stream;
};

static void setup(struct fixture *f, uint64_t seed)
{
    print_message("seed %llu\n", (unsigned long long)seed);
    f->schema = example_stream_schema(DIM);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = seed,
                                             .n = EXAMPLES,
                                             .n_users = 50000,
                                             .n_steps = 17,
                                             .n_categories = 40,
                                             .items_a_category = 150,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        f->stream.examples[i].emit_ms = DAY_MS * 20000 + i * (DAY_MS / A_DAY);
    }
}

static struct trainer_options options(bool expire, bool evict, double dropout)
{
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.max_delay_ms = 2 * DAY_MS;
    o.clip_norm = 0.05; /* binds, so that the norm's bits reach every weight */
    o.model.unit.activation = ACT_DICE;
    o.model.mlp.activation = ACT_DICE;
    o.model.unit.hidden[0] = 36;
    o.model.mlp.hidden[0] = 80;
    o.model.mlp.hidden[1] = 40;
    o.dropout = dropout;
    o.expire_after_ms = expire ? 6 * DAY_MS : 0;
    if (evict) {
        o.memory_full = RETENTION_EVICT;
        o.memory_max_bytes = 2240000;
    }
    return o;
}

static struct trainer *open_trainer(const struct fixture *f, struct trainer_options o,
                                    uint32_t workers)
{
    o.workers = workers;
    return trainers_open(&f->schema, &o);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Tombstones as a sorted copy: in which order rows are swept is an accident of their numbers. */
static uint64_t *tombstones(const struct table *t)
{
    uint64_t *sorted = calloc(t->n_tombstones + 1, sizeof *sorted);
    assert_non_null(sorted);
    for (size_t i = 0; i < t->n_tombstones; i++) {
        sorted[i] = t->tombstones[i];
    }
    qsort(sorted, t->n_tombstones, sizeof *sorted, ascending);
    return sorted;
}

static void assert_same_tombstones(const struct trainer *a, const struct trainer *b)
{
    for (uint32_t k = 0; k < a->schema.n_tables; k++) {
        assert_int_equal(a->table[k].n_tombstones, b->table[k].n_tombstones);
        uint64_t *x = tombstones(&a->table[k]), *y = tombstones(&b->table[k]);
        assert_memory_equal(x, y, a->table[k].n_tombstones * sizeof *x);
        free(x);
        free(y);
    }
}

static void assert_same_counters(struct trainer *a, struct trainer *b)
{
    struct trainer_metrics x, y;
    trainer_metrics(a, &x);
    trainer_metrics(b, &y);
    assert_int_equal(x.batches, y.batches);
    assert_int_equal(x.rows, y.rows);
    assert_int_equal(x.rows_expired, y.rows_expired);
    assert_int_equal(x.rows_evicted, y.rows_evicted);
    assert_int_equal(x.tombstones, y.tombstones);
    assert_true(x.auc == y.auc && x.logloss == y.logloss);
    assert_memory_equal(&a->retention.counters, &b->retention.counters,
                        sizeof a->retention.counters);
    assert_int_equal(a->retention.gone, b->retention.gone);
    assert_int_equal(a->retention.live_bytes, b->retention.live_bytes);
}

static struct hash128 digest(struct trainer *t, struct snapshot **out)
{
    assert_int_equal(trainer_snapshot(t, out, NULL), 0);
    assert_int_equal(snapshot_sort(*out, NULL), 0);
    return snapshot_digest(*out);
}

/* All that a trainer is.  Tombstones first: a snapshot takes them. */
static void assert_same_end(struct trainer *const *t)
{
    struct snapshot *s = NULL;
    for (size_t i = 0; i < N_COUNTS; i++) {
        assert_int_equal(retention_sweep(&t[i]->retention, true, NULL), 0);
        assert_same_tombstones(t[0], t[i]);
        assert_true(trainers_equal(t[0], t[i]));
    }
    struct hash128 first = digest(t[0], &s);
    snapshot_free(s);
    for (size_t i = 1; i < N_COUNTS; i++) {
        struct hash128 other = digest(t[i], &s);
        assert_memory_equal(&first, &other, sizeof first);
        snapshot_free(s);
    }
}

/* Trainers of 1, 2 and 4 workers side by side. */
static void compare(const struct fixture *f, const struct trainer_options *o, const char *what)
{
    struct trainer *t[N_COUNTS];
    for (size_t i = 0; i < N_COUNTS; i++) {
        t[i] = open_trainer(f, *o, COUNTS[i]);
    }
    for (uint32_t at = 0; at < EXAMPLES; at += CHUNK) {
        for (size_t i = 0; i < N_COUNTS; i++) {
            trainers_feed(t[i], &f->stream, at, at + CHUNK);
            assert_same_counters(t[0], t[i]);
        }
    }
    struct trainer_metrics m;
    trainer_metrics(t[0], &m);
    print_message("%s: %llu rows, %llu expired, %llu evicted, %llu tombstones\n", what,
                  (unsigned long long)m.rows, (unsigned long long)m.rows_expired,
                  (unsigned long long)m.rows_evicted, (unsigned long long)m.tombstones);
    assert_int_equal(m.batches_skipped, 0);
    assert_int_equal(m.rows_expired > 500, o->expire_after_ms > 0);
    assert_int_equal(m.rows_evicted > 500, o->memory_full == RETENTION_EVICT);
    assert_int_equal(m.tombstones, m.rows_expired + m.rows_evicted);
    assert_same_end(t);
    for (size_t i = 0; i < N_COUNTS; i++) {
        trainer_close(t[i]);
    }
}

static void compare_seeds(bool expire, bool evict, double dropout, const char *what)
{
    for (uint64_t seed = 20261123; seed < 20261125; seed++) {
        struct fixture f;
        struct trainer_options o = options(expire, evict, dropout);
        o.optimizer.kind = seed % 2 == 0 ? OPTIMIZER_ADAM : OPTIMIZER_ADAGRAD;
        o.optimizer.rate = 0.02;
        o.regularizer.kind = seed % 2 == 0 ? REGULARIZER_L2 : REGULARIZER_MBA;
        o.regularizer.lambda = 0.001;
        o.memory_max_bytes =
            evict ? seed % 2 == 0 ? 3050000 : 2240000 : 0; /* Adam's rows are larger */
        setup(&f, seed);
        compare(&f, &o, what);
        example_stream_release(&f.stream);
    }
}

static void test_dropout_with_any_number_of_workers(void **state)
{
    (void)state;
    compare_seeds(false, false, 0.3, "dropout");
}

static void test_expiry_with_any_number_of_workers(void **state)
{
    (void)state;
    compare_seeds(true, false, 0.0, "expiry");
}

static void test_eviction_with_any_number_of_workers(void **state)
{
    (void)state;
    compare_seeds(false, true, 0.0, "eviction");
}

static void test_all_together_with_any_number_of_workers(void **state)
{
    (void)state;
    compare_seeds(true, true, 0.3, "expiry, eviction and dropout");
}

/* What two workers left is taken up by four and by one, while rows go. */
static void test_m10_rows_go_on_going_with_another_number_of_workers(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 20261123);
    struct trainer_options o = options(true, true, 0.3);
    struct trainer *one = open_trainer(&f, o, 1), *two = open_trainer(&f, o, 2);
    trainers_feed(one, &f.stream, 0, EXAMPLES);
    trainers_feed(two, &f.stream, 0, EXAMPLES / 2);
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(two, &s, NULL), 0);
    uint32_t learned = (uint32_t)trainer_seq(two);
    for (uint32_t workers = 1; workers <= 4; workers += 3) {
        struct trainer *again = open_trainer(&f, o, workers);
        assert_int_equal(trainer_restore(again, s, NULL), 0);
        struct trainer_metrics before, after;
        trainer_metrics(again, &before);
        trainers_feed(again, &f.stream, learned, EXAMPLES);
        trainer_metrics(again, &after);
        assert_true(after.rows_expired + after.rows_evicted >
                    before.rows_expired + before.rows_evicted + 500);
        assert_memory_equal(&one->retention.counters, &again->retention.counters,
                            sizeof one->retention.counters);
        assert_int_equal(retention_sweep(&one->retention, true, NULL), 0);
        assert_int_equal(retention_sweep(&again->retention, true, NULL), 0);
        assert_true(trainers_equal(one, again));
        trainer_close(again);
    }
    snapshot_free(s);
    trainer_close(one);
    trainer_close(two);
    example_stream_release(&f.stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_with_any_number_of_workers),
        cmocka_unit_test(test_expiry_with_any_number_of_workers),
        cmocka_unit_test(test_eviction_with_any_number_of_workers),
        cmocka_unit_test(test_all_together_with_any_number_of_workers),
        cmocka_unit_test(test_m10_rows_go_on_going_with_another_number_of_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
