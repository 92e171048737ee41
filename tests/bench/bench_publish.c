/* bench_publish [rows [deltas [shape]]]: how long the learner stands still for a delta
 * (trainer_changes), with a table of `rows` embeddings, while 5,000 examples of the shape (online)
 * are learned between two deltas: half a second of 10,000 examples a second.  Windows of metrics
 * and the popularity baseline are full before the first one.  JSON lines on stdout: of the wall
 * clock, and since other programs may have the core in between, of this thread's CPU. */
#include "base/hash.h"
#include "learner/trainer_state.h"
#include "tests/bench/bench_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { EXAMPLES = 5000, POPULAR = 500000, WINDOW = 200000, RUN = 4096, DELTAS = 60 };

static double seconds(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct trainer_options options(const struct bench_shape *shape)
{
    return (struct trainer_options){
        .model = bench_shape_model(shape),
        .batch_max = shape->batch,
        .max_delay_ms = INT64_MAX,
        .optimizer = {.kind = OPTIMIZER_ADAGRAD,
                      .rate = 0.01,
                      .dense_rate = 0.001,
                      .eps = 1e-8,
                      .accumulator = 0.1},
        .regularizer = {.kind = REGULARIZER_MBA, .lambda = 0.01},
        .guard = {.window = 10000, .label_rate_max = 1.0, .missing_max = 1.0},
        .frozen = {.sample = 0.01},
        .row_scale = 0.01,
        .metrics_window = WINDOW,
        .changes = true,
    };
}

/* A life before: rows of all items, each learned at a step of its own time, and full windows. */
static int fill(struct trainer *t, const struct bench_shape *shape, struct undine_err *err)
{
    uint64_t *keys = calloc(RUN, sizeof *keys);
    uint32_t *rows = calloc(RUN, sizeof *rows);
    int rc =
        keys != NULL && rows != NULL ? UNDINE_OK : undine_err_set(err, UNDINE_ENOMEM, "memory");
    struct random r = {.state = 7};
    t->counters.steps = 1000;
    for (uint32_t at = 0; rc == UNDINE_OK && at < shape->items; at += RUN) {
        size_t n = shape->items - at < RUN ? shape->items - at : RUN;
        for (size_t i = 0; i < n; i++) {
            keys[i] = hash_mix64(at + i) | 1; /* as bench_shape names items */
        }
        rc = table_need(&t->table[0], keys, rows, n, err);
        for (size_t i = 0; rc == UNDINE_OK && i < n; i++) {
            table_row(&t->table[0], rows[i])->stamp = 1 + (uint32_t)random_below(&r, 1000);
        }
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < WINDOW; i++) {
        metrics_add(&t->metrics, random_below(&r, 10000) + 1, (float)random_unit(&r) * 8 - 4,
                    (int)random_below(&r, 2), 1.0f);
        metrics_add(&t->frozen_metrics, random_below(&r, 10000) + 1, (float)random_unit(&r) * 8 - 4,
                    (int)random_below(&r, 2), 1.0f);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < POPULAR && i < shape->items; i++) {
        rc = popularity_learn(&t->popularity, hash_mix64(i) | 1, 1.0, 0.0, err);
    }
    free(keys);
    free(rows);
    return rc;
}

struct measured {
    double *wall, *cpu;
    uint32_t n;
    uint64_t rows, bytes;
};

static int one_delta(struct trainer *t, const struct bench_shape *shape, struct schema *schema,
                     struct random *r, struct measured *m, struct undine_err *err)
{
    struct example_stream s;
    example_stream_init(&s, schema);
    bench_shape_fill(shape, &s, EXAMPLES, r);
    struct example_block block = example_stream_block(&s, 0, s.n);
    block.first_seq = t->next_seq;
    int rc = trainer_learn(t, &block, UINT32_MAX, err);
    example_stream_release(&s);
    if (rc < 0) {
        return rc;
    }
    struct snapshot *out = NULL;
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    trainer_freeze(t); /* as the daemon does for each version */
    rc = trainer_changes(t, &out, err);
    m->cpu[m->n] = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
    m->wall[m->n++] = seconds(CLOCK_MONOTONIC) - wall;
    if (rc == 0) {
        return undine_err_set(err, UNDINE_ESTATE, "what changed is not known");
    }
    m->rows = m->bytes = 0;
    rc = snapshot_sort(out, err);
    for (uint32_t k = 0; rc == UNDINE_OK && k < out->n_tables; k++) {
        m->rows += out->table[k].n_rows;
    }
    m->bytes = arena_bytes(&out->memory);
    trainer_recycle(t, out);
    return rc;
}

static void show(const struct bench_shape *shape, const struct trainer *t, struct measured *m)
{
    uint32_t p99 = m->n - 1 - m->n / 100;
    qsort(m->wall, m->n, sizeof *m->wall, ascending);
    qsort(m->cpu, m->n, sizeof *m->cpu, ascending);
    printf("{\"bench\":\"publish\",\"shape\":\"%s\",\"rows\":%u,\"deltas\":%u,\"examples_per_"
           "delta\":%d,\"changed_rows\":%llu,\"copied_bytes\":%llu,\"pause_ms\":{\"p50\":%.3f,"
           "\"p99\":%.3f,\"max\":%.3f},\"pause_cpu_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}}"
           "\n",
           shape->name, t->table[0].n_rows, m->n, EXAMPLES, (unsigned long long)m->rows,
           (unsigned long long)m->bytes, 1e3 * m->wall[m->n / 2], 1e3 * m->wall[p99],
           1e3 * m->wall[m->n - 1], 1e3 * m->cpu[m->n / 2], 1e3 * m->cpu[p99],
           1e3 * m->cpu[m->n - 1]);
}

static int run(const struct bench_shape *shape, uint32_t deltas, struct undine_err *err)
{
    struct schema schema;
    struct trainer *t = NULL;
    struct snapshot *whole = NULL;
    struct random r = {.state = 1};
    struct measured m = {.wall = calloc(deltas, sizeof(double)),
                         .cpu = calloc(deltas, sizeof(double))};
    struct trainer_options o = options(shape);
    int rc = m.wall != NULL && m.cpu != NULL ? bench_shape_schema(shape, &schema, err)
                                             : undine_err_set(err, UNDINE_ENOMEM, "memory");
    rc = rc < 0 ? rc : trainer_open(&t, &schema, &o, err);
    rc = rc < 0 ? rc : fill(t, shape, err);
    rc = rc < 0 ? rc : trainer_snapshot(t, &whole, err);
    snapshot_free(whole);
    for (uint32_t i = 0; rc == UNDINE_OK && i < deltas; i++) {
        rc = one_delta(t, shape, &schema, &r, &m, err);
    }
    if (rc == UNDINE_OK) {
        show(shape, t, &m);
    }
    trainer_close(t);
    free(m.wall);
    free(m.cpu);
    return rc;
}

int main(int argc, char **argv)
{
    struct undine_err err = {0};
    const struct bench_shape *found = bench_shape_find(argc > 3 ? argv[3] : "online");
    long rows = argc > 1 ? strtol(argv[1], NULL, 10) : 10000000;
    long deltas = argc > 2 ? strtol(argv[2], NULL, 10) : DELTAS;
    if (found == NULL || rows < 1 || rows > 100000000 || deltas < 1 || deltas > 100000) {
        (void)fprintf(stderr, "usage: bench_publish [rows [deltas [" BENCH_SHAPE_NAMES "]]]\n");
        return 2;
    }
    struct bench_shape shape = *found;
    shape.items = (uint32_t)rows;
    int rc = run(&shape, (uint32_t)deltas, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "bench_publish: %s\n", err.msg);
    }
    return rc < 0;
}
