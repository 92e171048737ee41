/* trainers.h: options for small trainers, trainers that learn a stream of the test, and whether two
 * trainers are in the same state, bit for bit.  Behind cmocka.h. */
#ifndef UNDINE_TESTS_TRAINERS_H
#define UNDINE_TESTS_TRAINERS_H

#include "learner/trainer_state.h"
#include "tests/support/example_stream.h"

#include <string.h>

static inline struct trainer_options trainers_options(void)
{
    struct trainer_options o = {
        .model = MODEL_OPTIONS_DEFAULT,
        .batch_max = 32,
        .max_delay_ms = 60000,
        .optimizer = {.kind = OPTIMIZER_ADAGRAD,
                      .rate = 0.1,
                      .dense_rate = 0.05,
                      .eps = 1e-8,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .accumulator = 0.1,
                      .beta = 1.0},
        .guard = {.window = 10000, .label_rate_max = 1.0, .missing_max = 1.0},
        .row_scale = 0.05,
        .metrics_window = 1000,
    };
    o.model.kind = MODEL_DIN;
    o.model.unit.n_hidden = 1;
    o.model.unit.hidden[0] = 16;
    o.model.mlp.n_hidden = 2;
    o.model.mlp.hidden[0] = 32;
    o.model.mlp.hidden[1] = 16;
    return o;
}

static inline struct trainer *trainers_open(const struct schema *schema,
                                            const struct trainer_options *o)
{
    struct trainer *t = NULL;
    struct undine_err err = {0};
    int rc = trainer_open(&t, schema, o, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_int_equal(rc, 0);
    return t;
}

/* Learn the stream's examples [from, to). */
static inline void trainers_feed(struct trainer *t, const struct example_stream *s, uint32_t from,
                                 uint32_t to)
{
    struct example_block block = example_stream_block(s, from, to);
    struct undine_err err = {0};
    int rc = trainer_learn(t, &block, UINT32_MAX, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_true(rc >= 0);
}

/* Close t; another trainer goes on from what a snapshot of it says. */
static inline struct trainer *trainers_again(struct trainer *t, const struct schema *schema,
                                             const struct trainer_options *o)
{
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    assert_int_equal(trainer_snapshot(t, &s, &err), 0);
    trainer_close(t);
    t = trainers_open(schema, o);
    int rc = trainer_restore(t, s, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_int_equal(rc, 0);
    snapshot_free(s);
    return t;
}

static inline bool trainers_tables_equal(const struct table *a, const struct table *b)
{
    if (a->n_rows != b->n_rows || a->row_bytes != b->row_bytes) {
        return false;
    }
    size_t floats = (size_t)a->opt.dim + a->opt.n_slots;
    for (uint32_t row = 0; row < a->n_rows; row++) {
        const struct table_row *x = table_row(a, row);
        uint32_t other = table_find(b, x->key);
        if (other == TABLE_NONE) {
            return false;
        }
        const struct table_row *y = table_row(b, other);
        if (x->count != y->count || x->seen_day != y->seen_day || x->stamp != y->stamp ||
            memcmp(x->value, y->value, floats * sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}

static inline bool trainers_equal(const struct trainer *a, const struct trainer *b)
{
    for (uint32_t k = 0; k < a->schema.n_tables; k++) {
        if (!trainers_tables_equal(&a->table[k], &b->table[k])) {
            return false;
        }
    }
    for (uint32_t k = 0; k < a->admission.n_tables || k < b->admission.n_tables; k++) {
        if (!trainers_tables_equal(&a->admission.table[k].waiting,
                                   &b->admission.table[k].waiting)) {
            return false;
        }
    }
    size_t n = model_n_values(a->model) * sizeof(float);
    size_t slots = optimizer_slots(a->opt.optimizer.kind);
    return memcmp(model_values(a->model), model_values(b->model), n) == 0 &&
           memcmp(a->dense_slot, b->dense_slot, slots * n) == 0 &&
           memcmp(&a->counters, &b->counters, sizeof a->counters) == 0 &&
           memcmp(&a->metrics.sums, &b->metrics.sums, sizeof a->metrics.sums) == 0 &&
           memcmp(a->metrics.bucket, b->metrics.bucket,
                  METRICS_BUCKETS * sizeof *a->metrics.bucket) == 0 &&
           memcmp(&a->popularity_metrics.sums, &b->popularity_metrics.sums,
                  sizeof a->metrics.sums) == 0 &&
           a->metrics.window_n == b->metrics.window_n && a->trained_seq == b->trained_seq &&
           a->event_time_ms == b->event_time_ms;
}

#endif
