#include "tests/bench/bench_learner.h"

#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

enum { BATCH_MAX = 100000, PASSES_MAX = 1000 };

struct bench {
    struct schema schema;
    struct example_stream batch[BENCH_SHAPE_BATCHES_MAX];
    uint32_t n_batches;
    struct trainer *trainer;
    uint64_t next_seq, examples;
    uint32_t at;
};

static struct trainer_options trainer_options(const struct bench_learner_options *opt)
{
    struct trainer_options o = {
        .model = bench_shape_model(&opt->shape),
        .batch_max = opt->shape.batch,
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
        .regularizer = {.kind = opt->plain ? REGULARIZER_NONE : REGULARIZER_MBA, .lambda = 0.01},
        .guard = {.window = 10000, .label_rate_max = 1.0, .missing_max = 1.0},
        .row_scale = 0.01,
        .metrics_window = 100000,
        .workers = opt->workers,
        .memory_max_bytes = opt->memory_bytes,
    };
    if (opt->base) {
        o.model.kind = MODEL_BASE;
    }
    return o;
}

static int learn(struct bench *b, const struct example_stream *s, struct undine_err *err)
{
    struct example_block block = example_stream_block(s, 0, s->n);
    block.first_seq = b->next_seq;
    int rc = trainer_learn(b->trainer, &block, UINT32_MAX, err);
    b->next_seq += s->n;
    b->examples += s->n;
    return rc < 0 ? rc : UNDINE_OK;
}

static int learn_one_batch(struct bench *b, struct undine_err *err)
{
    int rc = learn(b, &b->batch[b->at], err);
    b->at = (b->at + 1) % b->n_batches;
    return rc;
}

/* Give every item a row, by learning histories of them. */
static int make_rows(struct bench *b, const struct bench_learner_options *opt, struct random *r,
                     struct undine_err *err)
{
    const struct bench_shape *shape = &opt->shape;
    uint64_t at_once = (uint64_t)shape->batch * shape->history_max;
    int rc = UNDINE_OK;
    for (uint64_t done = 0; rc == UNDINE_OK && at_once > 0 && done < opt->rows; done += at_once) {
        struct example_stream s;
        example_stream_init(&s, &b->schema);
        bench_shape_fill_items(shape, &s, 1 + (uint32_t)done, shape->batch, r);
        rc = learn(b, &s, err);
        example_stream_release(&s);
    }
    return rc;
}

/* Processor time of the whole process: other programs on the machine do not count. */
static double processor_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Examples a second of time, and of processor time, over at least `seconds`. */
static int measure(struct bench *b, double seconds, double *rate, double *cpu_rate,
                   struct undine_err *err)
{
    int64_t start_ns = clock_monotonic_ns(), spent_ns = 0;
    double start_cpu = processor_s();
    uint64_t before = b->examples;
    while ((double)spent_ns < seconds * 1e9) {
        int rc = learn_one_batch(b, err);
        if (rc < 0) {
            return rc;
        }
        spent_ns = clock_monotonic_ns() - start_ns;
    }
    *rate = (double)(b->examples - before) * 1e9 / (double)spent_ns;
    *cpu_rate = (double)(b->examples - before) / (processor_s() - start_cpu);
    return UNDINE_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sum of the losses since start. */
static double loss_so_far(struct trainer *t)
{
    struct trainer_metrics m = {0};
    trainer_metrics(t, &m);
    return m.examples > 0 ? m.logloss * (double)m.examples : 0.0;
}

/* Go round the batches; *logloss: of the last round's predictions. */
static int warm_up(struct bench *b, uint32_t passes, double *logloss, struct undine_err *err)
{
    for (uint32_t pass = 0; pass < passes; pass++) {
        double before = loss_so_far(b->trainer);
        uint64_t first = b->examples;
        for (uint32_t i = 0; i < b->n_batches; i++) {
            int rc = learn_one_batch(b, err);
            if (rc < 0) {
                return rc;
            }
        }
        *logloss = (loss_so_far(b->trainer) - before) / (double)(b->examples - first);
    }
    return UNDINE_OK;
}

/* Numbers that the dense part learns. */
static int dense_parameters(const struct bench *b, const struct bench_learner_options *opt,
                            uint64_t *out, struct undine_err *err)
{
    struct model_options o = trainer_options(opt).model;
    struct model *m;
    int rc = model_open(&m, &b->schema, &o, err);
    if (rc < 0) {
        return rc;
    }
    size_t n = 0;
    const struct model_param *p = model_params(m, &n);
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        *out += p[i].trained ? (uint64_t)p[i].rows * p[i].cols : 0;
    }
    model_close(m);
    return UNDINE_OK;
}

static int run(struct bench *b, const struct bench_learner_options *opt,
               struct bench_learner_result *out, struct undine_err *err)
{
    struct random r = {.state = BENCH_SHAPE_SEED};
    for (uint32_t i = 0; i < b->n_batches; i++) {
        example_stream_init(&b->batch[i], &b->schema);
        bench_shape_fill(&opt->shape, &b->batch[i], opt->shape.batch, &r);
    }
    struct trainer_options o = trainer_options(opt);
    int rc = trainer_open(&b->trainer, &b->schema, &o, err);
    uint64_t parameters = 0;
    double logloss = 0.0;
    if (rc == UNDINE_OK && (rc = dense_parameters(b, opt, &parameters, err)) == UNDINE_OK &&
        (rc = make_rows(b, opt, &r, err)) == UNDINE_OK) {
        rc = warm_up(b, opt->passes, &logloss, err);
    }
    if (opt->begun != NULL) {
        opt->begun();
    }
    struct trainer_metrics m = {0};
    double rate[BENCH_LEARNER_RUNS] = {0}, cpu_rate[BENCH_LEARNER_RUNS] = {0};
    for (uint32_t i = 0; rc == UNDINE_OK && i < BENCH_LEARNER_RUNS; i++) {
        rc = measure(b, opt->seconds / BENCH_LEARNER_RUNS, &rate[i], &cpu_rate[i], err);
    }
    if (rc < 0) {
        return rc;
    }
    qsort(rate, BENCH_LEARNER_RUNS, sizeof rate[0], ascending);
    qsort(cpu_rate, BENCH_LEARNER_RUNS, sizeof cpu_rate[0], ascending);
    trainer_metrics(b->trainer, &m);
    *out = (struct bench_learner_result){
        .examples_per_second = rate[BENCH_LEARNER_RUNS / 2],
        .examples_per_second_min = rate[0],
        .examples_per_second_max = rate[BENCH_LEARNER_RUNS - 1],
        .examples_per_cpu_second = cpu_rate[BENCH_LEARNER_RUNS / 2],
        .examples = m.examples,
        .rows = m.rows,
        .table_bytes = m.table_bytes,
        .parameters = parameters,
        .logloss = logloss,
    };
    return UNDINE_OK;
}

int bench_learner_run(struct bench_learner_result *out, const struct bench_learner_options *opt,
                      struct undine_err *err)
{
    const struct bench_shape *shape = &opt->shape;
    if (opt->passes < 1 || opt->passes > PASSES_MAX) {
        return undine_err_set(err, UNDINE_EINVAL, "passes are %u, expected 1..%d", opt->passes,
                              PASSES_MAX);
    }
    if (shape->batch < 1 || shape->batch > BATCH_MAX ||
        shape->history_max > BENCH_SHAPE_HISTORY_MAX) {
        return undine_err_set(err, UNDINE_EINVAL,
                              "batch is %u and history %u, expected 1..%d and 0..%d", shape->batch,
                              shape->history_max, BATCH_MAX, BENCH_SHAPE_HISTORY_MAX);
    }
    struct bench *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a benchmark");
    }
    b->n_batches = bench_shape_batches(shape);
    int rc = bench_shape_schema(shape, &b->schema, err);
    if (rc == UNDINE_OK) {
        rc = run(b, opt, out, err);
    }
    trainer_close(b->trainer);
    for (uint32_t i = 0; i < b->n_batches; i++) {
        example_stream_release(&b->batch[i]);
    }
    free(b);
    return rc;
}
