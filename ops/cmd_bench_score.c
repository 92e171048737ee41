#include "learner/model/model.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/cmd_bench.h"
#include "ops/program.h"
#include "tests/bench/bench_score.h"

#include <stdio.h>
#include <stdlib.h>

struct words { /* of the command line, for both */
    int64_t candidates, history, rows;
    const char *unit, *dir;
};

static int world_options(const struct words *w, struct bench_world_options *out)
{
    static const char *const units[] = {"paper", "official"};
    int unit = bench_word(w->unit, units, 2);
    if (unit < 0) {
        return bench_usage("--unit", w->unit, "paper or official");
    }
    if (w->candidates < 1 || w->candidates > 100000 || w->history < 1 || w->history > 1000 ||
        w->rows < 1000 || w->rows > 100000000) {
        (void)fprintf(stderr, "undine bench: expected --candidates 1..100000, --history 1..1000 "
                              "and --rows 1000..10^8\n");
        return EXIT_USAGE;
    }
    *out = (struct bench_world_options){.official = unit == 1,
                                        .rows = (uint32_t)w->rows,
                                        .candidates = (uint32_t)w->candidates,
                                        .history = (uint32_t)w->history};
    return -1;
}

static double us(const struct latency *l, double q)
{
    return 1e-3 * (double)latency_quantile_ns(l, q);
}

static json_t *latency_json(const struct latency *l)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "n", (json_int_t)l->n, "p50_us", us(l, 0.5),
                     "p99_us", us(l, 0.99), "p999_us", us(l, 0.999), "max_us",
                     1e-3 * (double)l->max_ns);
}

/* The same, with the length of its tail. */
static json_t *tail_json(const struct latency *l)
{
    json_t *o = latency_json(l);
    if (l->n > 0) {
        (void)json_object_set_new(o, "p99_over_p50", json_real(us(l, 0.99) / us(l, 0.5)));
    }
    return o;
}

/* What both say of the machine and the model. */
static json_t *about(const char *bench, const struct words *w)
{
    char cpu[256];
    bench_cpu(cpu, sizeof cpu);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "bench", bench, "undine",
                     program_version(), "cpu", cpu, "kernels", model_kernels(), "data",
                     "item 18, category 18, user 18, MLP 200-80, Dice", "unit", w->unit,
                     "candidates", (json_int_t)w->candidates, "history", (json_int_t)w->history,
                     "rows", (json_int_t)w->rows);
}

static int failed(const struct undine_err *err, int rc)
{
    (void)fprintf(stderr, "undine bench: %s\n", err->msg);
    return args_exit_code(rc);
}

static const char *const PRECISIONS[] = {"f32", "int16", "both"};

/* What is to be measured; NULL: both where this processor can, and one where instructions are
 * counted. */
static int precisions(const char *word, struct bench_score_amount *a)
{
    bool both = word == NULL && a->requests == 0 && model_lowers();
    int i = word != NULL ? bench_word(word, PRECISIONS, 3) : both ? 2 : 0;
    if (i < 0) {
        return bench_usage("--precision", word, "f32, int16 or both");
    }
    a->n_precisions = i == 2 ? 2 : 1;
    a->precision[0] = i == 1 ? UNDINE_PRECISION_INT16 : UNDINE_PRECISION_F32;
    a->precision[1] = UNDINE_PRECISION_INT16;
    return -1;
}

static json_t *timing_json(const struct bench_score_timing *t, int64_t candidates)
{
    double p50_us = us(&t->latency, 0.5);
    json_t *o = tail_json(&t->latency);
    (void)json_object_update_new(o, json_pack("{s:f, s:f, s:f, s:f}", "cpu_us", t->cpu_us,
                                              "cpu_p50_us", us(&t->cpu, 0.5), "cpu_p99_us",
                                              us(&t->cpu, 0.99), "candidates_per_second",
                                              1e6 * (double)candidates / p50_us));
    if (t->quiet.n > 0) {
        (void)json_object_set_new(o, "quiet", tail_json(&t->quiet));
    }
    return o;
}

/* What the probe says of the machine. */
static json_t *machine_json(const struct bench_score_result *r)
{
    json_t *o = tail_json(&r->probe);
    double share = (double)r->of[0].quiet.n / (double)r->of[0].latency.n;
    (void)json_object_update_new(o, json_pack("{s:I, s:f}", "preemptions",
                                              (json_int_t)r->preemptions, "quiet_share", share));
    return o;
}

/* The first precision's figures, and a second's as a member of its name. */
static int print_score(const struct words *w, const struct bench_score_amount *amount,
                       const struct bench_score_result *r)
{
    json_t *o = about("score", w);
    (void)json_object_set_new(o, "precision", json_string(PRECISIONS[amount->precision[0]]));
    (void)json_object_update_new(o, timing_json(&r->of[0], w->candidates));
    (void)json_object_update_new(o, json_pack("{s:I, s:I}", "failed", (json_int_t)r->failed,
                                              "version_bytes", (json_int_t)r->bytes));
    if (amount->n_precisions > 1) {
        json_t *second = timing_json(&r->of[1], w->candidates);
        (void)json_object_set_new(
            second, "times_faster",
            json_real(us(&r->of[0].latency, 0.5) / us(&r->of[1].latency, 0.5)));
        (void)json_object_set_new(o, PRECISIONS[amount->precision[1]], second);
    }
    if (r->probe.n > 0) {
        (void)json_object_set_new(o, "machine", machine_json(r));
    }
    int code = bench_print(o);
    return r->failed > 0 ? EXIT_FAILED : code;
}

int cmd_bench_score(int argc, char **argv)
{
    struct words w = {400, 50, 100000, "paper", "/tmp"};
    const char *keep = NULL, *precision = NULL;
    double seconds = 5.0;
    int64_t requests = 0;
    const struct args_option options[] = {
        {"candidates", 0, ARGS_INT, &w.candidates, "N", "of a request (400)"},
        {"history", 0, ARGS_INT, &w.history, "N", "steps of the user (50)"},
        {"unit", 0, ARGS_STRING, &w.unit, "NAME", "paper (36; default) or official (80-40)"},
        {"rows", 0, ARGS_INT, &w.rows, "N", "items of the version (100000)"},
        {"seconds", 0, ARGS_REAL, &seconds, "S", "time measured (5)"},
        {"requests", 0, ARGS_INT, &requests, "N", "so many requests instead of a time"},
        {"precision", 0, ARGS_STRING, &precision, "NAME",
         "f32, int16 or both in turns (both, or what the processor can)"},
        {"dir", 0, ARGS_STRING, &w.dir, "DIR", "where the version is made (/tmp)"},
        {"versions", 0, ARGS_STRING, &keep, "DIR", "make the version there, and leave it"},
    };
    int code = args_parse(argc, argv, "bench score [options]", options,
                          sizeof options / sizeof options[0], NULL);
    struct bench_world_options opt;
    if (code >= 0 || (code = world_options(&w, &opt)) >= 0) {
        return code;
    }
    if (!(seconds > 0.0) || requests < 0) {
        return bench_usage("--seconds or --requests", "0", "a number above 0");
    }
    struct bench_score_amount amount = {.seconds = seconds, .requests = (uint64_t)requests};
    if ((code = precisions(precision, &amount)) >= 0) {
        return code;
    }
    static struct bench_score_result r;
    struct undine_err err = {0};
    int rc = bench_score_run(&r, &opt, w.dir, keep, &amount, &err);
    return rc < 0 ? failed(&err, rc) : print_score(&w, &amount, &r);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int print_swap(const struct words *w, const struct bench_swap_options *opt,
                      struct bench_swap_result *r)
{
    double whole = (double)latency_quantile_ns(&r->swapping, 0.99) /
                   (double)latency_quantile_ns(&r->quiet, 0.99);
    qsort(r->p99_ratio, opt->rounds, sizeof r->p99_ratio[0], ascending);
    json_t *o = about("swap", w);
    (void)json_object_update_new(
        o, json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:f, s:I, "
                     "s:I}",
                     "step_seconds", opt->step_s, "deltas_a_full", (json_int_t)opt->full_every,
                     "delta_rows", (json_int_t)opt->delta_rows, "rounds", (json_int_t)opt->rounds,
                     "full_bytes", (json_int_t)r->bytes_full, "delta_bytes",
                     (json_int_t)r->bytes_delta, "quiet", latency_json(&r->quiet), "swapping",
                     latency_json(&r->swapping), "refresh_full", latency_json(&r->full),
                     "refresh_delta", latency_json(&r->delta), "p99_ratio", whole,
                     "p99_ratio_median", r->p99_ratio[opt->rounds / 2], "p99_ratio_min",
                     r->p99_ratio[0], "p99_ratio_max", r->p99_ratio[opt->rounds - 1], "failed",
                     (json_int_t)r->failed, "failed_swaps", (json_int_t)r->failed_swaps));
    int code = bench_print(o);
    return r->failed > 0 || r->failed_swaps > 0 ? EXIT_FAILED : code;
}

/* A line of JSON for each second. */
static int write_series(const char *path, const struct bench_swap_result *r)
{
    FILE *f = fopen(path, "we");
    bool ok = f != NULL;
    for (uint32_t i = 0; ok && i < r->n_seconds; i++) {
        const struct bench_swap_second *s = &r->second[i];
        ok = fprintf(f,
                     "{\"at_s\":%.3f,\"swapping\":%s,\"full\":%u,\"deltas\":%u,\"n\":%llu,"
                     "\"p50_us\":%.3f,\"p99_us\":%.3f,\"max_us\":%.3f}\n",
                     s->at_s, s->swapping ? "true" : "false", s->full, s->deltas,
                     (unsigned long long)s->n, 1e-3 * (double)s->p50_ns, 1e-3 * (double)s->p99_ns,
                     1e-3 * (double)s->max_ns) > 0;
    }
    ok = f != NULL && fclose(f) == 0 && ok;
    if (!ok) {
        (void)fprintf(stderr, "undine bench: %s: cannot be written\n", path);
    }
    return ok ? EXIT_DONE : EXIT_FAILED;
}

int cmd_bench_swap(int argc, char **argv)
{
    enum { ROW_BYTES = 18 * 4 + 8 }; /* weights and key, without the index */
    struct words w = {400, 50, 0, "paper", "/tmp"};
    int64_t bytes = 100000000, deltas = 19, delta_rows = 20000, rounds = 3;
    double step_s = 0.5, round_s = 10.0;
    const char *series = NULL;
    const struct args_option options[] = {
        {"bytes", 0, ARGS_INT, &bytes, "N", "about the size of a full version's rows (10^8)"},
        {"deltas", 0, ARGS_INT, &deltas, "N", "from one full version to the next (19)"},
        {"delta-rows", 0, ARGS_INT, &delta_rows, "N", "rows that a delta changes (20000)"},
        {"step", 0, ARGS_REAL, &step_s, "S", "time between two versions (0.5)"},
        {"seconds", 0, ARGS_REAL, &round_s, "S", "of a stretch, quiet or swapping (10)"},
        {"rounds", 0, ARGS_INT, &rounds, "N", "stretches of each kind, in turns (3)"},
        {"candidates", 0, ARGS_INT, &w.candidates, "N", "of a request (400)"},
        {"history", 0, ARGS_INT, &w.history, "N", "steps of the user (50)"},
        {"unit", 0, ARGS_STRING, &w.unit, "NAME", "paper (36; default) or official (80-40)"},
        {"dir", 0, ARGS_STRING, &w.dir, "DIR", "where the versions are made (/tmp)"},
        {"series", 0, ARGS_STRING, &series, "FILE",
         "a line of JSON for each second: what tests/bench/swap_plot.py draws"},
    };
    int code = args_parse(argc, argv, "bench swap [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    w.rows = bytes / ROW_BYTES;
    w.rows = w.rows < 1000 ? 1000 : w.rows;
    struct bench_swap_options opt = {.step_s = step_s, .round_s = round_s};
    if ((code = world_options(&w, &opt.world)) >= 0) {
        return code;
    }
    if (deltas < 0 || deltas > 250 || delta_rows < 1 || delta_rows > UINT32_MAX || rounds < 1 ||
        rounds > BENCH_SWAP_ROUNDS_MAX) {
        (void)fprintf(stderr, "undine bench: expected --deltas 0..250, --delta-rows from 1 and "
                              "--rounds 1..64\n");
        return EXIT_USAGE;
    }
    opt.full_every = (uint32_t)deltas;
    opt.delta_rows = (uint32_t)delta_rows;
    opt.rounds = (uint32_t)rounds;
    static struct bench_swap_result r;
    struct undine_err err = {0};
    int rc = bench_swap_run(&r, &opt, w.dir, &err);
    if (rc < 0) {
        return failed(&err, rc);
    }
    int written = series != NULL ? write_series(series, &r) : EXIT_DONE;
    code = print_swap(&w, &opt, &r);
    return code != EXIT_DONE ? code : written;
}
