/* A base and any chain of deltas behind it are together the whole snapshot of the same moment, bit
 * for bit: every column of every row, what waits for a row, every array.  One trainer gives deltas
 * at moments drawn from a seed, a twin that keeps track of nothing gives the whole snapshots;
 * meanwhile rows expire and are evicted, users are forgotten, ids are admitted, batches are
 * skipped, and the trainer is replaced by one that restores base and deltas with another number of
 * workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/shadow.h"
#include "learner/snapshot_metrics.h"
#include "tests/support/apply_delta.h"
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <math.h>
#include <stdlib.h>

enum { DIM = 6, EXAMPLES = 2600, BATCH = 37, A_DAY = 120, FORGET_EVERY = 41, CHUNK_MAX = 150 };
#define DAY_MS ((int64_t)86400000)

struct fixture {
    struct schema schema;
    struct example_stream stream;
    struct random random;
};

/* many: more rows than the least budget holds. */
static void setup(struct fixture *f, uint64_t seed, bool many)
{
    static const uint8_t COUNTS[STREAM_FIELDS] = {[STREAM_USER] = 1};
    f->schema = example_stream_schema(DIM);
    f->random = (struct random){.state = seed};
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = seed,
                                             .n = EXAMPLES,
                                             .n_users = many ? 6000 : 300,
                                             .n_steps = 9,
                                             .n_categories = 30,
                                             .items_a_category = many ? 500 : 60,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        struct example *e = &f->stream.examples[i];
        e->emit_ms = DAY_MS * 20000 + i * (DAY_MS / A_DAY);
        if (i % FORGET_EVERY == FORGET_EVERY - 1) { /* often of one who was just met */
            const struct example *of = &f->stream.examples[i - 1 - random_below(&f->random, 30)];
            if (of->kind != EXAMPLE_FORGET) {
                e->kind = EXAMPLE_FORGET;
                e->ids = of->ids + 2;
                e->counts = COUNTS;
            }
        }
    }
}

static struct trainer_options options(void)
{
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.max_delay_ms = 2 * DAY_MS;
    o.metrics_window = 300;
    o.model.unit.hidden[0] = 8;
    o.model.mlp.hidden[0] = 12;
    o.model.mlp.hidden[1] = 8;
    o.guard.skipped_max = 1000;
    return o;
}

/* What the twin is at this moment, ready to compare. */
static struct snapshot *whole(struct trainer *t)
{
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
    assert_int_equal(snapshot_sort(s, NULL), 0);
    assert_int_equal(snapshot_metrics_attach(s, NULL), 0);
    return s;
}

struct tally {
    uint64_t deltas, wholes, rows, removed, restarts, skipped;
};

/* base becomes what it is with the trainer's next delta. */
static void take(struct trainer *t, struct shadow *shadow, struct snapshot **base, struct tally *n)
{
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    int rc = trainer_changes(t, &s, &err);
    assert_true(rc >= 0);
    if (rc == 0) {
        assert_null(*base);
        assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
        n->wholes++;
    }
    assert_int_equal(s->delta, rc);
    assert_int_equal(shadow_settle(shadow, s, NULL), 0);
    assert_int_equal(snapshot_sort(s, NULL), 0);
    assert_int_equal(snapshot_metrics_attach(s, NULL), 0);
    if (rc == 0) {
        *base = s;
        return;
    }
    for (uint32_t k = 0; k < s->n_tables; k++) {
        n->rows += s->table[k].n_rows;
        n->removed += s->table[k].n_removed;
    }
    n->deltas++;
    apply_delta(*base, s);
    trainer_recycle(t, s);
}

/* Learn [from, to) in both; in some chunks an item's row holds no number, and what has it is
 * skipped. */
static void feed(struct fixture *f, struct trainer *const t[2], uint32_t from, uint32_t to)
{
    float saved[2];
    struct table_row *row[2] = {NULL, NULL};
    uint64_t item = f->stream.examples[to - 1].ids[0];
    bool poison = random_below(&f->random, 4) == 0;
    for (size_t i = 0; poison && i < 2; i++) {
        uint32_t at = table_find(&t[i]->table[0], item);
        row[i] = at == TABLE_NONE ? NULL : table_row(&t[i]->table[0], at);
        if (row[i] != NULL) {
            saved[i] = row[i]->value[0];
            row[i]->value[0] = INFINITY;
        }
    }
    uint32_t piece_rows = t[0]->piece_rows;
    t[0]->piece_rows =
        poison ? UINT32_MAX : piece_rows; /* nobody may copy what is put back below */
    for (size_t i = 0; i < 2; i++) {
        trainers_feed(t[i], &f->stream, from, to);
        uint32_t at = row[i] == NULL ? TABLE_NONE : table_find(&t[i]->table[0], item);
        if (at != TABLE_NONE && isinf(table_row(&t[i]->table[0], at)->value[0])) {
            table_row(&t[i]->table[0], at)->value[0] = saved[i];
        }
    }
    t[0]->piece_rows = piece_rows;
}

static struct trainer *restart(struct fixture *f, struct trainer *t, struct trainer_options o,
                               const struct snapshot *base, struct tally *n)
{
    static const uint32_t WORKERS[] = {1, 2, 4};
    trainer_close(t);
    o.changes = true;
    o.workers = WORKERS[random_below(&f->random, 3)];
    t = trainers_open(&f->schema, &o);
    t->piece_rows = 1 + (uint32_t)random_below(&f->random, 2000);
    if (base != NULL) {
        struct undine_err err = {0};
        int rc = trainer_restore(t, base, &err);
        if (rc < 0) {
            print_error("%s\n", err.msg);
        }
        assert_int_equal(rc, 0);
        n->restarts++;
    }
    return t;
}

/* One stream with restarts between; the trainer's examples lie at its trained_seq again. */
static struct tally live(uint64_t seed, const struct trainer_options *o)
{
    struct fixture f;
    struct tally n = {0};
    struct snapshot *base = NULL;
    struct shadow *shadow = NULL;
    assert_int_equal(shadow_open(&shadow, o->metrics_window, NULL), 0);
    setup(&f, seed, o->memory_full == RETENTION_EVICT);
    struct trainer *t[2] = {restart(&f, NULL, *o, NULL, &n), trainers_open(&f.schema, o)};
    for (uint32_t at = 0; at < EXAMPLES;) {
        uint32_t to = at + 1 + (uint32_t)random_below(&f.random, CHUNK_MAX);
        to = to < EXAMPLES ? to : EXAMPLES;
        feed(&f, t, at, to);
        at = to;
        if (random_below(&f.random, 3) == 0) {
            continue;
        }
        take(t[0], shadow, &base, &n);
        struct snapshot *s = whole(t[1]);
        assert_same_snapshot(base, s);
        snapshot_free(s);
        if (random_below(&f.random, 5) == 0) {
            t[0] = restart(&f, t[0], *o, base, &n);
            trainers_feed(t[0], &f.stream, (uint32_t)trainer_seq(t[0]), at);
        }
    }
    assert_true(trainers_equal(t[0], t[1]) || retention_unswept(&t[0]->retention, false) > 0 ||
                retention_unswept(&t[1]->retention, false) > 0 || o->admission > 1);
    struct trainer_metrics m;
    trainer_metrics(t[1], &m);
    n.skipped = m.batches_skipped;
    print_message("seed %llu: %llu deltas of %llu rows and %llu ids removed, %llu restarts; %llu "
                  "rows, %llu expired, %llu evicted, %llu forgotten, %llu admitted, %llu batches "
                  "skipped\n",
                  (unsigned long long)seed, (unsigned long long)n.deltas,
                  (unsigned long long)n.rows, (unsigned long long)n.removed,
                  (unsigned long long)n.restarts, (unsigned long long)m.rows,
                  (unsigned long long)m.rows_expired, (unsigned long long)m.rows_evicted,
                  (unsigned long long)m.rows_forgotten, (unsigned long long)m.ids_admitted,
                  (unsigned long long)m.batches_skipped);
    assert_int_equal(n.wholes, 1);
    assert_true(n.deltas > 10 && n.restarts > 0 && m.rows_forgotten > 10);
    assert_int_equal(m.rows_expired > 100, o->expire_after_ms > 0);
    assert_int_equal(m.rows_evicted > 100, o->memory_full == RETENTION_EVICT);
    assert_int_equal(m.ids_admitted > 100, o->admission > 1);
    snapshot_free(base);
    shadow_close(shadow);
    trainer_close(t[0]);
    trainer_close(t[1]);
    example_stream_release(&f.stream);
    return n;
}

static void test_plain(void **state)
{
    (void)state;
    static const enum optimizer_kind KINDS[] = {OPTIMIZER_SGD, OPTIMIZER_ADAGRAD, OPTIMIZER_ADAM,
                                                OPTIMIZER_FTRL};
    uint64_t skipped = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct trainer_options o = options();
        o.optimizer.kind = KINDS[seed - 1];
        o.optimizer.rate = 0.02;
        skipped += live(seed, &o).skipped;
    }
    assert_true(skipped > 0);
}

static void test_regularized_frozen_and_thinned(void **state)
{
    (void)state;
    for (uint64_t seed = 11; seed <= 12; seed++) {
        struct trainer_options o = options();
        o.regularizer.kind = REGULARIZER_MBA;
        o.regularizer.lambda = 0.01;
        o.regularizer.counts.mode = INSTANCES_WINDOW;
        o.regularizer.counts.window = 400;
        o.regularizer.counts.decay = 0.5;
        o.frozen = (struct frozen_options){.block = 350, .sample = 0.4};
        o.dropout = 0.2;
        (void)live(seed, &o);
    }
}

static void test_rows_expire_and_are_evicted(void **state)
{
    (void)state;
    for (uint64_t seed = 21; seed <= 23; seed++) {
        struct trainer_options o = options();
        o.expire_after_ms = seed == 21 ? 3 * DAY_MS : seed == 23 ? 6 * DAY_MS : 0;
        if (seed != 21) {
            o.memory_full = RETENTION_EVICT;
            o.memory_max_bytes = 1450000;
        }
        struct tally n = live(seed, &o);
        assert_true(n.removed > 100);
    }
}

static void test_ids_wait_for_rows(void **state)
{
    (void)state;
    for (uint64_t seed = 31; seed <= 33; seed++) {
        struct trainer_options o = options();
        o.admission = seed == 33 ? 2 : 3;
        o.expire_after_ms = seed > 31 ? 3 * DAY_MS : 0;
        (void)live(seed, &o);
    }
}

/* An id that goes and comes back between two copies changed, and one that was made and went in
 * between is no row. */
static void test_gone_and_back(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 41, false);
    struct trainer_options o = options();
    o.changes = true;
    struct trainer *t = trainers_open(&f.schema, &o);
    struct snapshot *s = NULL, *delta = NULL;
    trainers_feed(t, &f.stream, 0, 37);
    assert_int_equal(trainer_changes(t, &s, NULL), 0); /* nothing was copied yet */
    assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
    uint64_t back = s->table[STREAM_USER].key[0], gone = s->table[STREAM_USER].key[1];
    struct table *users = &t->table[STREAM_USER];
    uint64_t brief = 0x1234567, kept = 0x7654321;
    uint32_t row;
    assert_int_equal(table_erase(users, back, NULL), 1);
    assert_int_equal(table_need(users, &back, &row, 1, NULL), 0);
    assert_int_equal(table_erase(users, gone, NULL), 1);
    assert_int_equal(table_need(users, &brief, &row, 1, NULL), 0);
    assert_int_equal(table_erase(users, brief, NULL), 1);
    assert_int_equal(table_need(users, &kept, &row, 1, NULL), 0);
    assert_int_equal(trainer_changes(t, &delta, NULL), 1);
    assert_int_equal(snapshot_sort(delta, NULL), 0);
    const struct snapshot_table *d = &delta->table[STREAM_USER];
    assert_int_equal(d->n_rows, 2);
    assert_true(d->key[0] == (back < kept ? back : kept));
    assert_int_equal(d->n_removed, 2);
    assert_true(d->removed[0] == (gone < brief ? gone : brief));
    assert_int_equal(delta->table[STREAM_ITEM].n_rows, 0);
    snapshot_free(delta);
    assert_int_equal(trainer_changes(t, &delta, NULL), 1); /* and nothing since */
    for (uint32_t k = 0; k < delta->n_tables; k++) {
        assert_int_equal(delta->table[k].n_rows + delta->table[k].n_removed, 0);
    }
    snapshot_free(delta);
    snapshot_free(s);
    trainer_close(t);
    example_stream_release(&f.stream);
}

/* Where nobody asked for it nothing is kept, and where rows owe something it is refused. */
static void test_off_and_refused(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 51, false);
    struct trainer_options o = options();
    struct trainer *t = trainers_open(&f.schema, &o);
    struct snapshot *s = NULL;
    trainers_feed(t, &f.stream, 0, 200);
    assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
    snapshot_free(s);
    trainers_feed(t, &f.stream, 200, 400);
    assert_int_equal(trainer_changes(t, &s, NULL), 0);
    for (uint32_t k = 0; k < f.schema.n_tables; k++) {
        assert_null(t->table[k].changes.row);
    }
    trainer_close(t);
    struct undine_err err = {0};
    o.changes = true;
    o.regularizer.kind = REGULARIZER_L2;
    o.regularizer.lambda = 0.01;
    assert_int_equal(trainer_check(&f.schema, &o, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "l2"));
    example_stream_release(&f.stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_regularized_frozen_and_thinned),
        cmocka_unit_test(test_rows_expire_and_are_evicted),
        cmocka_unit_test(test_ids_wait_for_rows),
        cmocka_unit_test(test_gone_and_back),
        cmocka_unit_test(test_off_and_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
