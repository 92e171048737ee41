/* Which ids have rows of their own: the rule against a naive twin that counts by hand, what ids
 * that wait read and train, what becomes of them with time, on request and through restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version.h"
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DIM = 8, EXAMPLES = 6400, BATCH = 32, A_DAY = 160, IDS_MAX = 8192 };
#define DAY_MS ((int64_t)86400000)

struct fixture {
    struct schema schema;
    struct example_stream stream;
    char dir[64];
};

static int setup_with(void **state, uint32_t n_users, uint32_t items_a_category)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->schema = example_stream_schema(DIM);
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 9,
                                             .n = EXAMPLES,
                                             .n_users = n_users,
                                             .n_steps = 6,
                                             .n_categories = 30,
                                             .items_a_category = items_a_category,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        f->stream.examples[i].emit_ms = DAY_MS * 20000 + i * (DAY_MS / A_DAY);
    }
    (void)snprintf(f->dir, sizeof f->dir, "test_admission_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, 900, 60);
}

static int setup_wide(void **state)
{
    return setup_with(state, 50000, 600);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    example_stream_release(&f->stream);
    free(f);
    return 0;
}

static struct trainer_options options(uint32_t k)
{
    struct trainer_options o = trainers_options();
    o.batch_max = BATCH;
    o.max_delay_ms = DAY_MS;
    o.admission = k;
    return o;
}

/* ---- the naive twin ---- */

struct twin_id {
    uint64_t key;
    uint32_t batch, last; /* instances of this batch; the example that counted last, + 1 */
    uint32_t waited, own; /* instances before, and with a row */
    bool admitted;
};

struct twin {
    uint32_t k, n[SCHEMA_TABLES_MAX], shared[SCHEMA_TABLES_MAX], admitted;
    struct twin_id id[SCHEMA_TABLES_MAX][IDS_MAX];
};

static struct twin_id *twin_id(struct twin *w, uint32_t table, uint64_t key)
{
    uint32_t i = 0;
    while (i < w->n[table] && w->id[table][i].key != key) {
        i++;
    }
    if (i == w->n[table]) {
        assert_true(i < IDS_MAX);
        w->id[table][w->n[table]++] = (struct twin_id){.key = key};
    }
    return &w->id[table][i];
}

typedef void (*twin_fn)(struct twin *w, uint32_t table, struct twin_id *id, uint32_t e);

static void each_id(struct twin *w, const struct fixture *f, uint32_t e, twin_fn fn)
{
    const struct example *x = &f->stream.examples[e];
    const uint64_t *ids = x->ids;
    for (uint32_t i = 0; i < f->schema.n_fields; i++) {
        uint32_t table = f->schema.fields[i].table;
        for (uint32_t n = 0; n < x->counts[i]; n++) {
            fn(w, table, twin_id(w, table, *ids++), e);
        }
    }
    const struct example_sequence *q = &f->stream.sequences[x->sequence[0]];
    const uint64_t *at = q->words;
    for (uint32_t step = 0; step < q->n_steps; step++) {
        const uint8_t *counts = (const uint8_t *)&at[1];
        at += 2;
        for (uint32_t i = 0; i < f->schema.sequences[0].n_fields; i++) {
            uint32_t table = f->schema.sequences[0].table[i];
            for (uint32_t n = 0; n < counts[i]; n++) {
                fn(w, table, twin_id(w, table, *at++), e);
            }
        }
    }
}

static void twin_count(struct twin *w, uint32_t table, struct twin_id *id, uint32_t e)
{
    (void)w;
    (void)table;
    id->batch += id->last != e + 1;
    id->last = e + 1;
}

static uint32_t shared_last[SCHEMA_TABLES_MAX];

static void twin_count_shared(struct twin *w, uint32_t table, struct twin_id *id, uint32_t e)
{
    if (!id->admitted && shared_last[table] != e + 1) {
        shared_last[table] = e + 1;
        w->shared[table]++;
    }
}

static void twin_learn(struct twin *w, const struct fixture *f, uint32_t from, uint32_t to)
{
    for (uint32_t e = from; e < to; e++) {
        each_id(w, f, e, twin_count);
    }
    for (uint32_t table = 0; table < f->schema.n_tables; table++) {
        for (uint32_t i = 0; i < w->n[table]; i++) {
            struct twin_id *id = &w->id[table][i];
            bool before = id->admitted;
            id->admitted = before || id->waited + id->batch >= w->k;
            w->admitted += id->admitted && !before;
            *(id->admitted ? &id->own : &id->waited) += id->batch;
            id->batch = 0;
        }
    }
    for (uint32_t e = from; e < to; e++) {
        each_id(w, f, e, twin_count_shared);
    }
}

/* Rows, waiting ids and every count are as the twin has them. */
static void assert_as_twin(const struct trainer *t, const struct twin *w)
{
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        const struct table *rows = &t->table[k], *waiting = &t->admission.table[k].waiting;
        assert_int_equal(rows->n_rows - 1 + waiting->n_rows, w->n[k]);
        assert_int_equal(table_row(rows, 0)->key, 0);
        assert_true(table_row(rows, 0)->count == (float)w->shared[k]);
        for (uint32_t i = 0; i < w->n[k]; i++) {
            const struct twin_id *id = &w->id[k][i];
            const struct table *in = id->admitted ? rows : waiting,
                               *out = id->admitted ? waiting : rows;
            uint32_t row = table_find(in, id->key);
            assert_int_not_equal(row, TABLE_NONE);
            assert_int_equal(table_find(out, id->key), TABLE_NONE);
            assert_true(table_row(in, row)->count == (float)(id->admitted ? id->own : id->waited));
        }
    }
}

static void test_an_id_is_admitted_with_the_batch_that_reaches_k(void **state)
{
    struct fixture *f = *state;
    static const uint32_t ks[] = {2, 3, 7};
    struct twin *w = calloc(1, sizeof *w);
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        struct trainer_options o = options(ks[i]);
        o.regularizer.kind = REGULARIZER_MBA;
        o.regularizer.lambda = 0.01;
        struct trainer *t = trainers_open(&f->schema, &o);
        memset(w, 0, sizeof *w);
        memset(shared_last, 0, sizeof shared_last);
        w->k = ks[i];
        for (uint32_t at = 0; at < 960; at += BATCH) {
            trainers_feed(t, &f->stream, at, at + BATCH);
            twin_learn(w, f, at, at + BATCH);
            assert_as_twin(t, w);
        }
        struct trainer_metrics m;
        trainer_metrics(t, &m);
        print_message("k %u: %llu admitted, %llu wait\n", ks[i], (unsigned long long)m.ids_admitted,
                      (unsigned long long)m.ids_waiting);
        assert_int_equal(m.ids_admitted, w->admitted);
        assert_true(m.ids_admitted > 200 && m.ids_waiting > 100 && m.waiting_dropped == 0);
        assert_int_equal(m.rows, m.ids_admitted + f->schema.n_tables);
        trainer_close(t);
    }
    free(w);
}

static void test_one_instance_is_no_rule(void **state)
{
    struct fixture *f = *state;
    struct trainer_options none = options(0), one = options(1);
    struct trainer *a = trainers_open(&f->schema, &none), *b = trainers_open(&f->schema, &one);
    trainers_feed(a, &f->stream, 0, 960);
    trainers_feed(b, &f->stream, 0, 960);
    assert_true(trainers_equal(a, b));
    assert_null(b->builder->admission);
    assert_int_equal(b->budget.used_bytes, a->budget.used_bytes);
    assert_int_equal(table_find(&b->table[0], 0), TABLE_NONE);
    trainer_close(a);
    trainer_close(b);
}

/* In the batch at hand every id that waits is the shared row, as it was before the batch. */
static void test_ids_that_wait_read_the_shared_row(void **state)
{
    struct fixture *f = *state;
    struct trainer_options o = options(4);
    struct trainer *t = trainers_open(&f->schema, &o);
    trainers_feed(t, &f->stream, 0, 640);
    struct example_block block = example_stream_block(&f->stream, 640, 640 + BATCH);
    struct batch_builder *b = t->builder;
    for (uint32_t i = 0; i < BATCH; i++) {
        assert_int_equal(batch_builder_add(b, &block, i, NULL), 0);
    }
    assert_int_equal(batch_builder_gather(b, t->table, NULL, NULL), 0);
    uint32_t shared = 0, own = 0;
    for (uint32_t i = 0; i < f->schema.n_fields; i++) {
        uint32_t k = f->schema.fields[i].table;
        const struct table_row *r = table_row(&t->table[k], 0);
        for (size_t n = 0; n < b->field[i].n_keys; n++) {
            uint32_t local = b->field[i].row[n];
            bool waits = table_find(&t->table[k], b->field[i].key[n]) == TABLE_NONE;
            assert_int_equal(b->table[k].row[local] == 0, waits);
            shared += waits;
            own += !waits;
            if (waits) {
                assert_memory_equal(b->table[k].weight + local * DIM, r->value,
                                    DIM * sizeof(float));
                assert_true(r->stamp > 0);
            }
        }
    }
    assert_true(shared > 10 && own > 10);
    batch_builder_clear(b);
    trainer_close(t);
}

/* Nobody is ever admitted: each table learns as if its ids were one.  The twin's rows begin as the
 * shared one does where all begin at 0; its histories of one length are one, so sums differ in
 * their order. */
static void test_the_shared_row_learns_as_one_id(void **state)
{
    struct fixture *f = *state;
    struct trainer_options o = options(ADMISSION_MAX);
    o.row_scale = 0.0;
    o.regularizer.kind = REGULARIZER_MBA;
    o.regularizer.lambda = 0.01;
    struct trainer *t = trainers_open(&f->schema, &o);
    trainers_feed(t, &f->stream, 0, 320);
    for (uint32_t i = 0; i < f->stream.n; i++) {
        const struct example *e = &f->stream.examples[i];
        uint64_t *ids = (uint64_t *)(uintptr_t)e->ids;
        for (uint32_t k = 0; k < f->schema.n_fields; k++) {
            for (uint32_t n = 0; n < e->counts[k]; n++) {
                *ids++ = 77;
            }
        }
    }
    for (uint32_t i = 0; i < f->stream.n_sequences; i++) {
        const struct example_sequence *q = &f->stream.sequences[i];
        uint64_t *at = (uint64_t *)(uintptr_t)q->words;
        for (uint32_t step = 0; step < q->n_steps; step++) {
            const uint8_t *counts = (const uint8_t *)&at[1];
            uint32_t n = 0;
            for (uint32_t k = 0; k < f->schema.sequences[0].n_fields; k++) {
                n += counts[k];
            }
            for (at += 2; n > 0; n--) {
                *at++ = 77;
            }
        }
    }
    o.admission = 0;
    struct trainer *twin = trainers_open(&f->schema, &o);
    trainers_feed(twin, &f->stream, 0, 320);
    double worst = 0.0, size = 0.0;
    for (uint32_t k = 0; k < f->schema.n_tables; k++) {
        assert_int_equal(twin->table[k].n_rows, 1);
        assert_int_equal(t->table[k].n_rows, 1);
        const struct table_row *a = table_row(&t->table[k], 0), *b = table_row(&twin->table[k], 0);
        assert_true(a->count == b->count && a->count > 0.0f);
        for (uint32_t d = 0; d < DIM; d++) {
            worst = fmax(worst, fabs((double)a->value[d] - (double)b->value[d]));
            size = fmax(size, fabs((double)a->value[d]));
        }
    }
    print_message("weights up to %g, largest difference %g\n", size, worst);
    assert_true(size > 0.01 && worst < 1e-3 * size);
    trainer_close(t);
    trainer_close(twin);
}

/* A user who asks for it is forgotten while waiting, too: the id counts from 0 again. */
static void test_a_waiting_id_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct trainer_options o = options(1000);
    o.expire_after_ms = 30 * DAY_MS;
    struct trainer *t = trainers_open(&f->schema, &o);
    trainers_feed(t, &f->stream, 0, 320);
    uint32_t k = f->schema.fields[STREAM_USER].table;
    const struct table *waiting = &t->admission.table[k].waiting;
    uint64_t key = table_row(waiting, 5)->key;
    uint64_t live = t->retention.live_bytes, n = waiting->n_rows;
    struct example *e = &f->stream.examples[320];
    const struct example before = *e;
    uint8_t counts[STREAM_FIELDS] = {0};
    counts[STREAM_USER] = 1;
    e->kind = EXAMPLE_FORGET;
    e->counts = counts;
    e->ids = &key;
    trainers_feed(t, &f->stream, 320, 321);
    assert_int_equal(t->counters.rows_forgotten, 1);
    assert_int_equal(table_find(waiting, key), TABLE_NONE);
    assert_int_equal(waiting->n_rows, n - 1);
    assert_int_equal(live - t->retention.live_bytes,
                     retention_row_bytes(&t->retention, f->schema.n_tables + k));
    struct trainer_metrics m;
    trainer_metrics(t, &m);
    assert_int_equal(m.waiting_dropped, 0);
    *e = before;
    trainer_close(t);
}

/* Instances of a batch that is skipped count, and nothing is learned from them. */
static void test_a_skipped_batch_counts(void **state)
{
    struct fixture *f = *state;
    struct trainer_options o = options(3);
    struct trainer *t = trainers_open(&f->schema, &o), *fine = trainers_open(&f->schema, &o);
    trainers_feed(t, &f->stream, 0, 320);
    trainers_feed(fine, &f->stream, 0, 352);
    size_t n = model_n_values(t->model);
    float *values = calloc(n, sizeof *values);
    memcpy(values, model_values(t->model), n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        model_values(t->model)[i] = NAN;
    }
    trainers_feed(t, &f->stream, 320, 352);
    memcpy(model_values(t->model), values, n * sizeof *values);
    assert_int_equal(t->counters.batches_skipped, 1);
    for (uint32_t k = 0; k < f->schema.n_tables; k++) {
        const struct table *a = &t->admission.table[k].waiting,
                           *b = &fine->admission.table[k].waiting;
        assert_int_equal(a->n_rows, b->n_rows);
        assert_int_equal(t->table[k].n_rows, fine->table[k].n_rows);
        for (uint32_t row = 0; row < a->n_rows; row++) {
            uint32_t other = table_find(b, table_row(a, row)->key);
            assert_int_not_equal(other, TABLE_NONE);
            assert_true(table_row(a, row)->count == table_row(b, other)->count);
        }
    }
    free(values);
    trainer_close(t);
    trainer_close(fine);
}

/* ---- restarts ---- */

static struct trainer *restart(const struct fixture *f, struct trainer *t,
                               const struct trainer_options *o)
{
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    struct version_info info;
    struct version_extra extra = {0};
    assert_int_equal(trainer_snapshot(t, &s, &err), 0);
    assert_int_equal(version_write(f->dir, s, &extra, true, &info, &err), 0);
    snapshot_free(s);
    trainer_close(t);
    assert_int_equal(version_restore(f->dir, 0, UINT64_MAX, &s, &info, NULL, NULL, &err), 1);
    t = trainers_open(&f->schema, o);
    assert_int_equal(trainer_restore(t, s, &err), 0);
    snapshot_free(s);
    return t;
}

static void sweep(struct trainer *t)
{
    assert_int_equal(retention_sweep(&t->retention, true, NULL), 0);
}

static void assert_equal_counters(struct trainer *a, struct trainer *b)
{
    struct trainer_metrics x, y;
    trainer_metrics(a, &x);
    trainer_metrics(b, &y);
    assert_int_equal(x.rows, y.rows);
    assert_int_equal(x.ids_waiting, y.ids_waiting);
    assert_int_equal(x.ids_admitted, y.ids_admitted);
    assert_int_equal(x.waiting_dropped, y.waiting_dropped);
    assert_int_equal(x.rows_expired, y.rows_expired);
    assert_int_equal(x.rows_evicted, y.rows_evicted);
}

static struct trainer_metrics compare_with_restarts(const struct fixture *f,
                                                    const struct trainer_options *o)
{
    struct trainer *whole = trainers_open(&f->schema, o), *cut = trainers_open(&f->schema, o);
    for (uint32_t at = 0; at < EXAMPLES; at += 160) {
        trainers_feed(whole, &f->stream, at, at + 160);
        trainers_feed(cut, &f->stream, at, at + 160);
        if (at / 160 % 3 == 1) {
            cut = restart(f, cut, o);
        }
        assert_equal_counters(whole, cut);
    }
    sweep(whole);
    sweep(cut);
    assert_true(trainers_equal(whole, cut));
    struct trainer_metrics m;
    trainer_metrics(whole, &m);
    print_message("%llu rows, %llu expired, %llu evicted; %llu admitted, %llu wait, %llu dropped\n",
                  (unsigned long long)m.rows, (unsigned long long)m.rows_expired,
                  (unsigned long long)m.rows_evicted, (unsigned long long)m.ids_admitted,
                  (unsigned long long)m.ids_waiting, (unsigned long long)m.waiting_dropped);
    trainer_close(whole);
    trainer_close(cut);
    return m;
}

static void test_m10_waiting_ids_survive_restarts(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = options(3);
    o.regularizer.kind = REGULARIZER_L2; /* the shared row owes too */
    o.regularizer.lambda = 0.001;
    o.frozen.sample = 0.5;
    o.frozen.block = 500;
    struct trainer_metrics m = compare_with_restarts(f, &o);
    assert_true(m.ids_waiting > 0 && m.ids_admitted > 0 && m.waiting_dropped == 0);
}

static void test_m10_waiting_ids_expire(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = options(3);
    o.expire_after_ms = 2 * DAY_MS;
    struct trainer_metrics m = compare_with_restarts(f, &o);
    assert_true(m.waiting_dropped > 100 && m.rows_expired > 100);
}

static void test_m10_waiting_ids_are_evicted(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = options(2);
    o.memory_max_bytes = 2400000;
    o.memory_full = RETENTION_EVICT;
    struct trainer_metrics m = compare_with_restarts(f, &o);
    assert_true(m.waiting_dropped > 20 && m.rows_evicted > 20);
    assert_true(m.table_bytes <= o.memory_max_bytes);
}

/* k is another one after a restart: what is on disk is taken over. */
static void test_k_changes_at_a_restart(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options three = options(3), two = options(2), off = options(0);
    three.frozen.sample = two.frozen.sample = off.frozen.sample = 1.0;
    struct trainer *t = trainers_open(&f->schema, &three);
    trainers_feed(t, &f->stream, 0, 640);
    trainer_freeze(t);
    trainers_feed(t, &f->stream, 640, 960);
    struct trainer_metrics m, then;
    trainer_metrics(t, &then);

    t = restart(f, t, &two); /* lower: no row comes before its id is met again */
    trainer_metrics(t, &m);
    assert_int_equal(m.rows, then.rows);
    assert_int_equal(m.ids_waiting, then.ids_waiting);
    trainers_feed(t, &f->stream, 960, 1280);
    trainer_metrics(t, &m);
    assert_true(m.ids_admitted > then.ids_admitted && m.ids_waiting > 0);
    const struct admission_table *w = &t->admission.table[0];
    for (uint32_t i = 0; i < w->waiting.n_rows; i++) {
        const struct table_row *r = table_row(&w->waiting, i);
        assert_true(r->count < 2.0f || r->seen_day < 20006);
    }

    then = m;
    t = restart(f, t, &off); /* the shared rows go, and so do the counts */
    trainer_metrics(t, &m);
    assert_int_equal(m.rows, then.rows - f->schema.n_tables);
    assert_int_equal(m.ids_waiting, 0);
    assert_int_equal(m.ids_admitted, then.ids_admitted);
    assert_int_equal(m.waiting_dropped, then.ids_waiting);
    assert_int_equal(table_find(&t->table[0], 0), TABLE_NONE);
    assert_true(t->frozen->active); /* anew: unknown ids have other rows than before */
    assert_int_equal(t->frozen->rows_kept[0].n, 0);
    trainers_feed(t, &f->stream, 1280, 1600);

    trainer_metrics(t, &then);
    t = restart(f, t, &three); /* shared rows begin anew */
    trainer_metrics(t, &m);
    assert_int_equal(m.rows, then.rows + f->schema.n_tables);
    assert_int_equal(m.waiting_dropped, then.waiting_dropped);
    assert_int_equal(table_row(&t->table[0], 0)->key, 0);
    assert_true(table_row(&t->table[0], 0)->count == 0.0f);
    assert_int_equal(t->frozen->rows_kept[0].key[0], 0);
    trainers_feed(t, &f->stream, 1600, 1920);
    trainer_metrics(t, &m);
    assert_true(m.ids_waiting > 0);
    trainer_close(t);
}

static void test_waiting_ids_that_are_none_are_refused(void **state)
{
    const struct fixture *f = *state;
    struct trainer_options o = options(3);
    struct trainer *t = trainers_open(&f->schema, &o);
    trainers_feed(t, &f->stream, 0, 320);
    struct snapshot *s = NULL;
    assert_int_equal(trainer_snapshot(t, &s, NULL), 0);
    uint64_t *key = s->waiting[0].key, first = key[0];
    for (int i = 0; i < 2; i++) {
        key[0] = i == 0 ? 0 : key[1];
        struct trainer *other = trainers_open(&f->schema, &o);
        struct undine_err err = {0};
        assert_int_equal(trainer_restore(other, s, &err), UNDINE_ECORRUPT);
        assert_non_null(strstr(err.msg, s->waiting[0].name));
        trainer_close(other);
    }
    key[0] = first;
    o.admission = ADMISSION_MAX + 1;
    struct trainer *none = NULL;
    assert_int_equal(trainer_open(&none, &f->schema, &o, NULL), UNDINE_ECONFIG);
    snapshot_free(s);
    trainer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_id_is_admitted_with_the_batch_that_reaches_k, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_one_instance_is_no_rule, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids_that_wait_read_the_shared_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_shared_row_learns_as_one_id, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_waiting_id_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_skipped_batch_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_ids_that_are_none_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_k_changes_at_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_m10_waiting_ids_survive_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_m10_waiting_ids_expire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_m10_waiting_ids_are_evicted, setup_wide, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
