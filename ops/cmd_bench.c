#include "base/workers.h"
#include "learner/blas.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/program.h"
#include "tests/bench/bench_ingest_file.h"
#include "tests/bench/bench_learner.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "Intel(R) Xeon(R) Processor", or "unknown". */
static void cpu_model(char *out, size_t size)
{
    (void)snprintf(out, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[512];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", strlen("model name")) == 0 && colon != NULL) {
            (void)snprintf(out, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
            out[strcspn(out, "\n")] = '\0';
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static int usage(const char *what, const char *value, const char *expected)
{
    (void)fprintf(stderr, "undine bench: %s is `%s`, expected %s\n", what, value, expected);
    return EXIT_USAGE;
}

/* Index of a word among n, or -1. */
static int word_index(const char *word, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* One JSON object on one line; takes the reference. */
static int print_line(json_t *o)
{
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    bool ok = text != NULL && puts(text) != EOF && fflush(stdout) == 0;
    free(text);
    json_decref(o);
    if (!ok) {
        (void)fprintf(stderr, "undine bench: cannot write to standard output\n");
    }
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static int print_learner(const struct bench_learner_options *opt,
                         const struct bench_learner_result *r, const char *optimizer,
                         const char *unit)
{
    const struct bench_shape *shape = &opt->shape;
    char cpu[256], kernels[BLAS_KERNELS_MAX], history[32];
    cpu_model(cpu, sizeof cpu);
    blas_kernels(kernels, sizeof kernels);
    (void)snprintf(history, sizeof history, "%u..%u", shape->history_min, shape->history_max);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:f, s:f, s:f, s:f, s:i, s:f, "
        "s:I, s:I, s:I, s:f}",
        "bench", "learner", "undine", program_version(), "cpu", cpu, "kernels", kernels, "shape",
        shape->name, "data", shape->text, "model", opt->base ? "base" : unit, "batch",
        (int)shape->batch, "history", history, "workers", (int)opt->workers, "optimizer", optimizer,
        "examples_per_second", r->examples_per_second, "examples_per_second_min",
        r->examples_per_second_min, "examples_per_second_max", r->examples_per_second_max,
        "examples_per_cpu_second", r->examples_per_cpu_second, "runs", BENCH_LEARNER_RUNS,
        "microseconds_per_example", 1e6 / r->examples_per_second, "examples",
        (json_int_t)r->examples, "rows", (json_int_t)r->rows, "table_bytes",
        (json_int_t)r->table_bytes, "logloss", r->logloss);
    return print_line(o);
}

/* What the command line says of bench learner; ranges are checked by bench_learner_run. */
struct learner_words {
    int64_t batch, history, workers; /* -1: the shape's */
    double seconds;
    const char *shape, *optimizer, *unit, *model;
};

static int learner_options(const struct learner_words *w, struct bench_learner_options *out)
{
    static const char *const optimizers[] = {"sgd", "adagrad", "adam", "ftrl"};
    static const char *const units[] = {"paper", "official"}, *const models[] = {"base", "din"};
    const struct bench_shape *shape = bench_shape_find(w->shape);
    int o = word_index(w->optimizer, optimizers, 4), m = word_index(w->model, models, 2);
    int u = w->unit != NULL ? word_index(w->unit, units, 2) : 0;
    if (shape == NULL || o < 0 || u < 0 || m < 0) {
        return shape == NULL ? usage("--shape", w->shape, BENCH_SHAPE_NAMES)
               : o < 0       ? usage("--optimizer", w->optimizer, "sgd, adagrad, adam or ftrl")
               : u < 0       ? usage("--unit", w->unit, "paper or official")
                             : usage("--model", w->model, "din or base");
    }
    if (w->batch < -1 || w->batch > UINT32_MAX || w->history < -1 || w->history > UINT32_MAX ||
        w->workers < 1 || w->workers > WORKERS_MAX || !(w->seconds > 0.0)) {
        (void)fprintf(stderr,
                      "undine bench: expected --batch 1..100000, --history 0..1000, "
                      "--workers 1..%d and --seconds above 0\n",
                      WORKERS_MAX);
        return EXIT_USAGE;
    }
    *out = (struct bench_learner_options){.shape = *shape,
                                          .workers = (uint32_t)w->workers,
                                          .seconds = w->seconds,
                                          .optimizer = (enum optimizer_kind)o,
                                          .base = m == 0};
    if (w->batch >= 0) {
        out->shape.batch = (uint32_t)w->batch;
    }
    if (w->history >= 0) {
        out->shape.history_min = out->shape.history_max = (uint32_t)w->history;
    }
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

static int bench_learner(int argc, char **argv)
{
    struct learner_words w = {-1, -1, 1, 5.0, "online", "adagrad", NULL, "din"};
    const struct args_option options[] = {
        {"shape", 0, ARGS_STRING, &w.shape, "NAME", BENCH_SHAPE_NAMES " (online)"},
        {"batch", 'b', ARGS_INT, &w.batch, "N", "examples of a mini-batch (the shape's)"},
        {"history", 0, ARGS_INT, &w.history, "N", "steps of every history (the shape's)"},
        {"workers", 0, ARGS_INT, &w.workers, "N", "threads that share a mini-batch (1)"},
        {"seconds", 0, ARGS_REAL, &w.seconds, "S", "time measured, in five runs (5)"},
        {"optimizer", 0, ARGS_STRING, &w.optimizer, "NAME", "sgd, adagrad (default), adam or ftrl"},
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
    int rc = bench_learner_run(&r, &opt, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine bench: %s\n", err.msg);
        return args_exit_code(rc);
    }
    char unit[64];
    unit_text(&opt.shape, unit, sizeof unit);
    return print_learner(&opt, &r, w.optimizer, unit);
}

static int bench_ingest(int argc, char **argv)
{
    int64_t events = 1000000, users = 20000;
    const char *dir = "/tmp";
    const struct args_option options[] = {
        {"events", 0, ARGS_INT, &events, "N", "events of a run (1000000)"},
        {"users", 0, ARGS_INT, &users, "N", "users they come from (20000)"},
        {"dir", 0, ARGS_STRING, &dir, "DIR", "where file and store are made (/tmp)"},
    };
    int code = args_parse(argc, argv, "bench ingest [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    if (events < 1000 || events > 1000000000 || users < 1 || users > 10000000) {
        (void)fprintf(stderr, "undine bench: expected --events 1000..10^9 and --users 1..10^7\n");
        return EXIT_USAGE;
    }
    struct bench_ingest_options opt = {
        .events = (uint64_t)events, .users = (uint32_t)users, .dir = dir};
    struct bench_ingest_result r;
    struct undine_err err = {0};
    int rc = bench_ingest_run(&r, &opt, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine bench: %s\n", err.msg);
        return args_exit_code(rc);
    }
    char cpu[256];
    cpu_model(cpu, sizeof cpu);
    return print_line(
        json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:i, s:I, s:I, s:I, s:I}", "bench",
                  "ingest", "undine", program_version(), "cpu", cpu, "shape",
                  "file to commit, one ingest thread, synced every 100 ms", "events_per_second",
                  r.events_per_second, "events_per_second_min", r.events_per_second_min,
                  "events_per_second_max", r.events_per_second_max, "events_per_cpu_second",
                  r.events_per_cpu_second, "runs", BENCH_INGEST_RUNS, "events",
                  (json_int_t)r.events, "users", (json_int_t)users, "examples",
                  (json_int_t)r.examples, "bytes_per_event", (json_int_t)(r.bytes / r.events)));
}

int cmd_bench(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } benches[] = {{"learner", bench_learner}, {"ingest", bench_ingest}};
    for (size_t i = 0; argc > 1 && i < sizeof benches / sizeof benches[0]; i++) {
        if (strcmp(argv[1], benches[i].name) == 0) {
            return benches[i].run(argc - 1, argv + 1);
        }
    }
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    (void)fprintf(
        help ? stdout : stderr,
        "usage: undine bench learner|ingest [options]   (`undine bench learner --help`)\n");
    return help ? EXIT_DONE : EXIT_USAGE;
}
