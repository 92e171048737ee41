#include "base/workers.h"
#include "learner/blas.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/cmd_bench.h"
#include "ops/program.h"
#include "tests/bench/bench_batches.h"
#include "tests/bench/bench_learner.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static uint64_t resident_bytes_max(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (uint64_t)use.ru_maxrss * 1024 : 0;
}

static int print_learner(const struct bench_learner_options *opt,
                         const struct bench_learner_result *r, const char *optimizer,
                         const char *unit)
{
    const struct bench_shape *shape = &opt->shape;
    char cpu[256], kernels[BLAS_KERNELS_MAX], history[32];
    bench_cpu(cpu, sizeof cpu);
    blas_kernels(kernels, sizeof kernels);
    (void)snprintf(history, sizeof history, "%u..%u", shape->history_min, shape->history_max);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:s, s:i, s:s, s:f, s:f, s:f, s:f, s:i, "
        "s:f, "
        "s:I, s:I, s:I, s:I, s:i, s:f, s:b, s:f, s:I, s:I}",
        "bench", "learner", "undine", program_version(), "cpu", cpu, "kernels", kernels, "shape",
        shape->name, "data", shape->text, "model", opt->base ? "base" : unit, "mba", !opt->plain,
        "batch", (int)shape->batch, "history", history, "workers", (int)opt->workers, "optimizer",
        optimizer, "examples_per_second", r->examples_per_second, "examples_per_second_min",
        r->examples_per_second_min, "examples_per_second_max", r->examples_per_second_max,
        "examples_per_cpu_second", r->examples_per_cpu_second, "runs", BENCH_LEARNER_RUNS,
        "microseconds_per_example", 1e6 / r->examples_per_second, "examples",
        (json_int_t)r->examples, "rows", (json_int_t)r->rows, "table_bytes",
        (json_int_t)r->table_bytes, "parameters", (json_int_t)r->parameters, "passes",
        (int)opt->passes, "logloss", r->logloss, "uniform", shape->uniform, "bytes_per_row",
        (double)r->table_bytes / (double)r->rows, "memory_bytes", (json_int_t)opt->memory_bytes,
        "resident_bytes_max", (json_int_t)resident_bytes_max());
    return bench_print(o);
}

/* What the command line says of bench learner; ranges are checked by bench_learner_run. */
struct learner_words {
    int64_t batch, history; /* -1: the shape's */
    int64_t workers, passes, batches_max, rows, memory;
    double seconds;
    const char *shape, *optimizer, *unit, *model, *write_batches;
    bool plain, uniform;
};

static int learner_options(const struct learner_words *w, struct bench_learner_options *out)
{
    static const char *const optimizers[] = {"sgd", "adagrad", "adam", "ftrl"};
    static const char *const units[] = {"paper", "official"}, *const models[] = {"base", "din"};
    const struct bench_shape *shape = bench_shape_find(w->shape);
    int o = bench_word(w->optimizer, optimizers, 4), m = bench_word(w->model, models, 2);
    int u = w->unit != NULL ? bench_word(w->unit, units, 2) : 0;
    if (shape == NULL || o < 0 || u < 0 || m < 0) {
        return shape == NULL ? bench_usage("--shape", w->shape, BENCH_SHAPE_NAMES)
               : o < 0 ? bench_usage("--optimizer", w->optimizer, "sgd, adagrad, adam or ftrl")
               : u < 0 ? bench_usage("--unit", w->unit, "paper or official")
                       : bench_usage("--model", w->model, "din or base");
    }
    if (w->batch < -1 || w->batch > UINT32_MAX || w->history < -1 || w->history > UINT32_MAX ||
        w->batches_max < 0 || w->batches_max > UINT32_MAX || w->passes < 1 ||
        w->passes > UINT32_MAX || w->workers < 1 || w->workers > WORKERS_MAX || w->rows < 0 ||
        w->rows > 1000000000 || w->memory < 0 || !(w->seconds > 0.0)) {
        (void)fprintf(stderr,
                      "undine bench: expected --batch 1..100000, --history 0..1000, "
                      "--workers 1..%d, --passes 1..1000, --rows and --memory from 0 (rows up to "
                      "10^9) and --seconds above 0\n",
                      WORKERS_MAX);
        return EXIT_USAGE;
    }
    *out = (struct bench_learner_options){.shape = *shape,
                                          .workers = (uint32_t)w->workers,
                                          .seconds = w->seconds,
                                          .optimizer = (enum optimizer_kind)o,
                                          .base = m == 0,
                                          .plain = w->plain,
                                          .passes = (uint32_t)w->passes,
                                          .rows = (uint32_t)w->rows,
                                          .memory_bytes = (uint64_t)w->memory};
    if (w->batch >= 0) {
        out->shape.batch = (uint32_t)w->batch;
    }
    if (w->history >= 0) {
        out->shape.history_min = out->shape.history_max = (uint32_t)w->history;
    }
    out->shape.batches = (uint32_t)w->batches_max;
    out->shape.items = w->rows > 0 ? (uint32_t)w->rows : out->shape.items;
    out->shape.uniform = w->uniform;
    if (w->unit != NULL) {
        out->shape.unit = (enum model_unit_input)u;
    }
    return -1;
}

/* "din: unit official 80-40" */
static void unit_text(const struct bench_shape *shape, char *out, size_t size)
{
    const char *input = shape->unit == UNIT_PAPER ? "paper" : "official";
    int n = snprintf(out, size, "din: unit %s %u", input, shape->unit_hidden[0]);
    if (shape->unit_hidden[1] > 0) {
        (void)snprintf(out + n, size - (size_t)n, "-%u", shape->unit_hidden[1]);
    }
}

int cmd_bench_learner(int argc, char **argv)
{
    struct learner_words w = {.batch = -1,
                              .history = -1,
                              .workers = 1,
                              .passes = 1,
                              .seconds = 5.0,
                              .shape = "online",
                              .optimizer = "adagrad",
                              .model = "din"};
    const struct args_option options[] = {
        {"shape", 0, ARGS_STRING, &w.shape, "NAME", BENCH_SHAPE_NAMES " (online)"},
        {"batch", 'b', ARGS_INT, &w.batch, "N", "examples of a mini-batch (the shape's)"},
        {"history", 0, ARGS_INT, &w.history, "N", "steps of every history (the shape's)"},
        {"workers", 0, ARGS_INT, &w.workers, "N", "threads that share a mini-batch (1)"},
        {"seconds", 0, ARGS_REAL, &w.seconds, "S", "time measured, in five runs (5)"},
        {"optimizer", 0, ARGS_STRING, &w.optimizer, "NAME", "sgd, adagrad (default), adam or ftrl"},
        {"passes", 0, ARGS_INT, &w.passes, "N", "over all data before the time is taken (1)"},
        {"batches", 0, ARGS_INT, &w.batches_max, "N",
         "different mini-batches (as many as fit in memory, at most 40)"},
        {"rows", 0, ARGS_INT, &w.rows, "N",
         "items of the shape, each with a row before the time is taken (those that come)"},
        {"uniform", 0, ARGS_FLAG, &w.uniform, NULL, "items come equally often, not skewed"},
        {"memory", 0, ARGS_INT, &w.memory, "BYTES", "bound on the embedding tables (none)"},
        {"plain", 0, ARGS_FLAG, &w.plain, NULL, "without MBA"},
        {"write-batches", 0, ARGS_STRING, &w.write_batches, "FILE",
         "write the mini-batches there instead of learning them"},
        {"model", 0, ARGS_STRING, &w.model, "NAME", "din (default) or base"},
        {"unit", 0, ARGS_STRING, &w.unit, "NAME", "paper or official (the shape's)"},
    };
    int code = args_parse(argc, argv, "bench learner [options]", options,
                          sizeof options / sizeof options[0], NULL);
    struct bench_learner_options opt;
    if (code >= 0 || (code = learner_options(&w, &opt)) >= 0) {
        return code;
    }
    struct bench_learner_result r;
    struct undine_err err = {0};
    int rc = w.write_batches != NULL ? bench_batches_write(&opt.shape, w.write_batches, &err)
                                     : bench_learner_run(&r, &opt, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine bench: %s\n", err.msg);
        return args_exit_code(rc);
    }
    if (w.write_batches != NULL) {
        return EXIT_DONE;
    }
    char unit[64];
    unit_text(&opt.shape, unit, sizeof unit);
    return print_learner(&opt, &r, w.optimizer, unit);
}
