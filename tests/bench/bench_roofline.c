/* bench_roofline [--shape NAME] [--seconds S]: what share of this core a training step uses.
 *
 * Measured on one core: the largest rate of matrix products (OpenBLAS, square, SIDE a side, before
 * and after each shape) and of memory (a = b + s c over arrays that no cache holds).  Then each
 * shape is trained twice: as it is, for the rate, and with its phases timed (bench_profile.h), for
 * where the time goes.  Arithmetic is counted from the model's dimensions (bench_work.h), bytes of
 * rows from the mini-batches.  All rates are of processor time.  One JSON line a shape. */
#include "learner/blas.h"
#include "ops/args.h"
#include "ops/cmd_bench.h"
#include "ops/program.h"
#include "tests/bench/bench_learner.h"
#include "tests/bench/bench_profile.h"
#include "tests/bench/bench_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIDE = 2048, PEAK_RUNS = 3, TRIAD_RUNS = 5, TRIAD_FLOATS = 1 << 26 };

static double thread_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, n * sizeof *x);
    if (x == NULL) {
        (void)fprintf(stderr, "bench_roofline: no memory for %zu numbers\n", n);
        exit(EXIT_FAILED);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(i % 1000) * 1e-3f;
    }
    return x;
}

/* Flops of a processor's second, PEAK_RUNS of them. */
static void peak(double *out)
{
    size_t n = (size_t)SIDE * SIDE;
    float *a = numbers(n), *b = numbers(n), *c = numbers(n);
    struct gemm g = {.c = c,
                     .ldc = SIDE,
                     .a = a,
                     .a_row = SIDE,
                     .a_col = 1,
                     .b = b,
                     .ldb = SIDE,
                     .m = SIDE,
                     .n = SIDE,
                     .k = SIDE};
    blas_gemm(&g); /* its memory is there from now on */
    for (size_t i = 0; i < PEAK_RUNS; i++) {
        double start = thread_s();
        blas_gemm(&g);
        out[i] = 2.0 * (double)n * SIDE / (thread_s() - start);
    }
    free(a);
    free(b);
    free(c);
}

static __attribute__((noinline)) void triad(float *restrict a, const float *restrict b,
                                            const float *restrict c, float s)
{
    for (size_t i = 0; i < TRIAD_FLOATS; i++) {
        a[i] = b[i] + s * c[i];
    }
}

/* Bytes of a processor's second: two arrays read and one written, without the read of what is
 * written over. */
static double memory_rate(void)
{
    float *a = numbers(TRIAD_FLOATS), *b = numbers(TRIAD_FLOATS), *c = numbers(TRIAD_FLOATS);
    double rate[TRIAD_RUNS];
    for (size_t i = 0; i < TRIAD_RUNS; i++) {
        double start = thread_s();
        triad(a, b, c, (float)i);
        rate[i] = 3.0 * TRIAD_FLOATS * (double)sizeof *a / (thread_s() - start);
    }
    qsort(rate, TRIAD_RUNS, sizeof rate[0], ascending);
    free(a);
    free(b);
    free(c);
    return rate[TRIAD_RUNS / 2];
}

struct measured {
    struct bench_learner_result plain, timed;
    struct bench_work work;
    double peak, memory; /* flops and bytes a second */
};

static int measure(struct measured *out, const struct bench_learner_options *opt,
                   struct undine_err *err)
{
    double peaks[2 * PEAK_RUNS];
    struct schema schema;
    struct model_options model = bench_shape_model(&opt->shape);
    bench_profile_on(false);
    peak(peaks);
    int rc = bench_learner_run(&out->plain, opt, err);
    bench_profile_on(true);
    rc = rc < 0 ? rc : bench_learner_run(&out->timed, opt, err);
    bench_profile_on(false);
    peak(peaks + PEAK_RUNS);
    rc = rc < 0 ? rc : bench_shape_schema(&opt->shape, &schema, err);
    if (rc < 0) {
        return rc;
    }
    qsort(peaks, 2 * (size_t)PEAK_RUNS, sizeof peaks[0], ascending);
    const struct bench_profile *p = bench_profile();
    out->peak = peaks[PEAK_RUNS];
    out->work = bench_work_count(&schema, &model, (double)p->steps / (double)p->examples);
    return UNDINE_OK;
}

/* A phase's share of the step.  Phases are timed by the wall, where a busy machine takes its part
 * from all of them; only their shares are used. */
static double share(const struct bench_profile *p, enum bench_phase phase)
{
    double all = 0.0;
    for (int i = 0; i < PHASES; i++) {
        all += (double)p->ns[i];
    }
    return (double)p->ns[phase] / all;
}

static json_t *phases_json(const struct bench_profile *p)
{
    json_t *o = json_object();
    for (int i = 0; i < PHASES; i++) {
        (void)json_object_set_new(o, bench_phase_names[i],
                                  json_real(share(p, (enum bench_phase)i)));
    }
    return o;
}

static int print(const struct measured *m, const struct bench_learner_options *opt,
                 const char *optimizer)
{
    const struct bench_profile *p = bench_profile();
    const struct bench_work *w = &m->work;
    char cpu[256], kernels[BLAS_KERNELS_MAX];
    double rate = m->plain.examples_per_cpu_second, n = (double)p->examples;
    double products_s = share(p, PHASE_PRODUCT) / m->timed.examples_per_cpu_second;
    double row_bytes = (double)p->row_bytes / n;
    bench_cpu(cpu, sizeof cpu);
    blas_kernels(kernels, sizeof kernels);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "bench",
        "roofline", "undine", program_version(), "cpu", cpu, "kernels", kernels, "shape",
        opt->shape.name, "optimizer", optimizer, "batch", (int)opt->shape.batch, "steps",
        (double)p->steps / n, "peak_flops_per_second", m->peak, "memory_bytes_per_second",
        m->memory, "examples_per_cpu_second", rate, "examples_per_cpu_second_timed",
        m->timed.examples_per_cpu_second, "product_flops", w->product_flops, "vector_flops",
        w->vector_flops, "layer_bytes", w->layer_bytes);
    (void)json_object_update_new(
        o,
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "rows", (double)p->rows / n,
                  "row_bytes", row_bytes, "step_of_peak", w->product_flops * rate / m->peak,
                  "step_of_peak_all", (w->product_flops + w->vector_flops) * rate / m->peak,
                  "products_of_peak", w->product_flops / products_s / m->peak,
                  "products_of_peak_padded", p->product_flops / n / products_s / m->peak,
                  "rows_of_memory", 2.0 * row_bytes * rate / m->memory, "phases", phases_json(p)));
    return bench_print(o);
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"deeprec", "deeprec30", "paper", "online"};
    static const char *const optimizers[] = {"sgd", "adagrad", "adam", "ftrl"};
    const char *only = NULL, *optimizer = "adagrad";
    double seconds = 5.0;
    const struct args_option options[] = {
        {"shape", 0, ARGS_STRING, &only, "NAME", BENCH_SHAPE_NAMES " (all of them)"},
        {"optimizer", 0, ARGS_STRING, &optimizer, "NAME", "sgd, adagrad (default), adam or ftrl"},
        {"seconds", 0, ARGS_REAL, &seconds, "S", "of each of the two runs of a shape (5)"},
    };
    program_choose_kernels(argv);
    int code = args_parse(argc, argv, "(bench_roofline) [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    int kind = bench_word(optimizer, optimizers, 4);
    if (kind < 0 || (only != NULL && bench_shape_find(only) == NULL) || !(seconds > 0.0)) {
        return kind < 0        ? bench_usage("--optimizer", optimizer, "sgd, adagrad, adam or ftrl")
               : seconds > 0.0 ? bench_usage("--shape", only, BENCH_SHAPE_NAMES)
                               : bench_usage("--seconds", "0", "a number above 0");
    }
    (void)blas_product(); /* one thread */
    struct measured m = {.memory = memory_rate()};
    struct undine_err err = {0};
    code = EXIT_DONE;
    for (size_t i = 0; code == EXIT_DONE && i < sizeof all / sizeof all[0]; i++) {
        if (only != NULL && strcmp(only, all[i]) != 0) {
            continue;
        }
        struct bench_learner_options opt = {.shape = *bench_shape_find(all[i]),
                                            .workers = 1,
                                            .seconds = seconds,
                                            .optimizer = (enum optimizer_kind)kind,
                                            .passes = 1,
                                            .begun = bench_profile_clear};
        if (measure(&m, &opt, &err) < 0) {
            (void)fprintf(stderr, "bench_roofline: %s\n", err.msg);
            return EXIT_FAILED;
        }
        code = print(&m, &opt, optimizer);
    }
    return code;
}
