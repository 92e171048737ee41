#include "tests/bench/bench_learner.h"

#include "base/clock.h"
#include "base/hash.h"
#include "tests/support/example_stream.h"

#include <math.h>
#include <stdlib.h>

enum { ITEMS = 100000, CATEGORIES = 1000, USERS = 100000, BATCHES = 40, HISTORY_MAX = 1000 };

struct bench {
    struct schema schema;
    struct example_stream batch[BATCHES];
    struct trainer *trainer;
    uint64_t next_seq, examples;
    uint32_t at;
};

static struct schema bench_schema(uint32_t history)
{
    struct schema s = {
        .n_tables = 3,
        .n_fields = 3,
        .n_sequences = 1,
        .tables = {{.name = "item", .dim = 18},
                   {.name = "category", .dim = 18},
                   {.name = "user", .dim = 18}},
        .fields =
            {{.name = "item", .group = SCHEMA_CANDIDATE, .table = 0, .values_max = 1},
             {.name = "category", .group = SCHEMA_CANDIDATE, .table = 1, .values_max = 1},
             {.name = "user", .group = SCHEMA_USER, .table = 2, .values_max = 1, .user_id = true}},
        .sequences = {{.name = "clicks",
                       .length = history,
                       .n_fields = 2,
                       .field = {0, 1},
                       .from_click = true}},
    };
    return s;
}

/* Item number, the k-th with a probability of about 1 / k. */
static uint64_t draw_item(struct random *r)
{
    return (uint64_t)pow((double)ITEMS, random_unit(r));
}

static void put_item(uint64_t ids[2], struct random *r)
{
    uint64_t item = draw_item(r);
    ids[0] = hash_mix64(item) | 1;
    ids[1] = hash_mix64(hash_mix64(item) % CATEGORIES + ITEMS + 1) | 1;
}

static void fill(struct example_stream *s, uint32_t n, uint32_t history, struct random *r)
{
    static const uint8_t one_each[3] = {1, 1, 1};
    static uint64_t step_ids[HISTORY_MAX][2];
    static struct example_step steps[HISTORY_MAX];
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t t = 0; t < history; t++) {
            put_item(step_ids[t], r);
            steps[t] = (struct example_step){.counts = one_each, .ids = step_ids[t]};
        }
        uint64_t ids[3];
        put_item(ids, r);
        ids[2] = hash_mix64(random_below(r, USERS)) | 1;
        struct example e = {.user = ids[2],
                            .sample_rate = 1.0f,
                            .kind = random_below(r, 2) == 0 ? EXAMPLE_NEGATIVE : EXAMPLE_POSITIVE,
                            .counts = one_each,
                            .ids = ids,
                            .sequence = {example_stream_sequence(s, 0, steps, history)}};
        (void)example_stream_add(s, &e);
    }
}

static struct trainer_options trainer_options(const struct bench_learner_options *opt)
{
    struct trainer_options o = {
        .model = MODEL_OPTIONS_DEFAULT,
        .batch_max = opt->batch,
        .max_delay_ms = INT64_MAX,
        .optimizer = {.kind = opt->optimizer,
                      .rate = 0.01,
                      .dense_rate = 0.001,
                      .eps = 1e-8,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .accumulator = 0.1,
                      .beta = 1.0},
        .clip_norm = 10.0,
        .regularizer = {.kind = REGULARIZER_MBA, .lambda = 0.01},
        .guard = {.window = 10000, .label_rate_max = 1.0, .missing_max = 1.0},
        .row_scale = 0.01,
        .metrics_window = 100000,
        .workers = opt->workers,
    };
    o.model.kind = opt->base ? MODEL_BASE : MODEL_DIN;
    o.model.unit.input = opt->unit;
    o.model.unit.n_hidden = 2;
    o.model.unit.hidden[0] = 80;
    o.model.unit.hidden[1] = 40;
    return o;
}

static int learn_one_batch(struct bench *b, struct undine_err *err)
{
    struct example_stream *s = &b->batch[b->at];
    struct example_block block = example_stream_block(s, 0, s->n);
    block.first_seq = b->next_seq;
    int rc = trainer_learn(b->trainer, &block, UINT32_MAX, err);
    b->at = (b->at + 1) % BATCHES;
    b->next_seq += s->n;
    b->examples += s->n;
    return rc < 0 ? rc : UNDINE_OK;
}

/* Examples a second over at least `seconds`. */
static int measure(struct bench *b, double seconds, double *out, struct undine_err *err)
{
    int64_t start_ns = clock_monotonic_ns(), spent_ns = 0;
    uint64_t before = b->examples;
    while ((double)spent_ns < seconds * 1e9) {
        int rc = learn_one_batch(b, err);
        if (rc < 0) {
            return rc;
        }
        spent_ns = clock_monotonic_ns() - start_ns;
    }
    *out = (double)(b->examples - before) * 1e9 / (double)spent_ns;
    return UNDINE_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int run(struct bench *b, const struct bench_learner_options *opt,
               struct bench_learner_result *out, struct undine_err *err)
{
    struct random r = {.state = 1};
    for (uint32_t i = 0; i < BATCHES; i++) {
        example_stream_init(&b->batch[i], &b->schema);
        fill(&b->batch[i], opt->batch, opt->history, &r);
    }
    struct trainer_options o = trainer_options(opt);
    int rc = trainer_open(&b->trainer, &b->schema, &o, err);
    for (uint32_t i = 0; rc == UNDINE_OK && i < BATCHES; i++) {
        rc = learn_one_batch(b, err);
    }
    struct trainer_metrics warm = {0}, m = {0};
    if (rc == UNDINE_OK) {
        trainer_metrics(b->trainer, &warm);
    }
    double rate[BENCH_LEARNER_RUNS] = {0};
    for (uint32_t i = 0; rc == UNDINE_OK && i < BENCH_LEARNER_RUNS; i++) {
        rc = measure(b, opt->seconds / BENCH_LEARNER_RUNS, &rate[i], err);
    }
    if (rc < 0) {
        return rc;
    }
    qsort(rate, BENCH_LEARNER_RUNS, sizeof rate[0], ascending);
    trainer_metrics(b->trainer, &m);
    *out = (struct bench_learner_result){
        .examples_per_second = rate[BENCH_LEARNER_RUNS / 2],
        .examples_per_second_min = rate[0],
        .examples_per_second_max = rate[BENCH_LEARNER_RUNS - 1],
        .examples = m.examples,
        .rows = m.rows,
        .table_bytes = m.table_bytes,
        .logloss = warm.logloss,
    };
    return UNDINE_OK;
}

int bench_learner_run(struct bench_learner_result *out, const struct bench_learner_options *opt,
                      struct undine_err *err)
{
    if (opt->batch < 1 || opt->batch > 100000 || opt->history > HISTORY_MAX) {
        return undine_err_set(err, UNDINE_EINVAL,
                              "batch is %u and history %u, expected 1..100000 and 0..%d",
                              opt->batch, opt->history, HISTORY_MAX);
    }
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a benchmark");
    }
    b->schema = bench_schema(opt->history > 0 ? opt->history : 1);
    int rc = schema_check(&b->schema, err);
    if (rc == UNDINE_OK) {
        rc = run(b, opt, out, err);
    }
    trainer_close(b->trainer);
    for (uint32_t i = 0; i < BATCHES; i++) {
        example_stream_release(&b->batch[i]);
    }
    free(b);
    return rc;
}
