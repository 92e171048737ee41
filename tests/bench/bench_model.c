/* Model part of a training step, and of scoring, one core, one JSON line each.
 *
 *   bench_model [seconds] [word]     word: only lines whose bench and shape contain it
 *
 * train: forward and backward at batch 256, history 50 (or 13), item 18 + category 18, official
 * unit 80-40, MLP 200-80, Dice; the embedding rows are gathered already.  score: 400 candidates of
 * one user against 50 steps.  gemm: products of such models, and wider, by the own kernels and by
 * OpenBLAS; "handed_over" says whether training gives it to OpenBLAS.  OPENBLAS_CORETYPE chooses
 * OpenBLAS's kernels; a slow choice makes training do without it. */
#include "learner/blas.h"
#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_min = 1.0;
static const char *only = "";

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Processor time of this thread: other programs on the machine do not count. */
static double thread_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool wanted(const char *bench, const char *shape)
{
    char line[128];
    (void)snprintf(line, sizeof line, "%s %s", bench, shape);
    return strstr(line, only) != NULL;
}

static void must(int rc, const struct undine_err *err)
{
    if (rc != UNDINE_OK) {
        (void)fprintf(stderr, "bench_model: %s\n", err->msg);
        exit(1);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct shape {
    const char *name;
    uint32_t batch, steps, dim;
    enum model_unit_input input;
    uint32_t n_hidden, hidden[2];
    enum model_activation activation;
    uint32_t mlp[2]; /* 0: 200-80 */
};

static struct model_options options_of(const struct shape *s)
{
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.unit.input = s->input;
    o.unit.n_hidden = s->n_hidden;
    memcpy(o.unit.hidden, s->hidden, sizeof s->hidden);
    o.unit.activation = o.mlp.activation = s->activation;
    if (s->mlp[0] > 0) {
        memcpy(o.mlp.hidden, s->mlp, sizeof s->mlp);
    }
    return o;
}

static void bench_train(const struct shape *shape)
{
    struct undine_err err = {0};
    struct random r = {1};
    struct schema schema;
    struct toy_batch toy;
    struct model *m;
    struct model_scratch *s;
    toy_schema_plain(&schema, shape->dim);
    toy_batch_init(&toy, &schema,
                   &(struct toy_shape){.examples = shape->batch,
                                       .steps_max = shape->steps,
                                       .rows = 4000,
                                       .values = 1,
                                       .fixed_length = true},
                   &r);
    struct model_options o = options_of(shape);
    must(model_open(&m, &schema, &o, &err), &err);
    model_set_product(m, blas_product());
    must(model_scratch_open(&s, m, &err), &err);
    real *logit = calloc(shape->batch, sizeof *logit),
         *dlogit = calloc(shape->batch, sizeof *dlogit);
    if (logit == NULL || dlogit == NULL) {
        exit(1);
    }
    double forward = 0.0, backward = 0.0, best = 1e9, start = now_s();
    size_t n = 0;
    while (now_s() - start < seconds_min) {
        double t0 = thread_s();
        must(model_forward(m, s, &toy.batch, MODEL_TRAIN, logit, &err), &err);
        for (uint32_t i = 0; i < shape->batch; i++) {
            dlogit[i] = (model_sigmoid(logit[i]) - toy.label[i]) / (real)shape->batch;
        }
        double t1 = thread_s();
        model_zero_grads(m);
        must(model_backward(m, s, &toy.batch, dlogit, &err), &err);
        double t2 = thread_s();
        forward += t1 - t0;
        backward += t2 - t1;
        best = t2 - t0 < best ? t2 - t0 : best;
        n++;
    }
    double examples = (double)n * shape->batch;
    char kernels[BLAS_KERNELS_MAX];
    blas_kernels(kernels, sizeof kernels);
    printf("{\"bench\": \"model_train\", \"shape\": \"%s\", \"kernels\": \"%s\", \"batch\": %u, "
           "\"history\": %u, \"examples_per_s\": %.0f, \"examples_per_s_best\": %.0f, "
           "\"forward_us_per_example\": %.2f, \"backward_us_per_example\": %.2f}\n",
           shape->name, kernels, shape->batch, shape->steps, examples / (forward + backward),
           shape->batch / best, forward / examples * 1e6, backward / examples * 1e6);
    free(logit);
    free(dlogit);
    model_scratch_close(s);
    model_close(m);
    toy_batch_release(&toy);
}

static void bench_score(const struct shape *shape)
{
    enum { CALLS_MAX = 4096 };
    static double us[CALLS_MAX];
    struct undine_err err = {0};
    struct random r = {1};
    struct schema schema;
    struct toy_batch toy;
    struct model *m;
    struct model_scratch *s;
    toy_schema_plain(&schema, shape->dim);
    toy_batch_init(&toy, &schema,
                   &(struct toy_shape){.examples = shape->batch,
                                       .steps_max = shape->steps,
                                       .rows = 4000,
                                       .values = 1,
                                       .fixed_length = true},
                   &r);
    uint32_t *all_first = calloc(shape->batch, sizeof *all_first);
    real *logit = calloc(shape->batch, sizeof *logit);
    struct batch batch = toy.batch;
    batch.sequence[0].n = 1;
    batch.sequence[0].of_example = all_first;
    struct model_options o = options_of(shape);
    must(model_open(&m, &schema, &o, &err), &err);
    must(model_scratch_open(&s, m, &err), &err);
    size_t n = 0;
    double start = now_s();
    while (now_s() - start < seconds_min && n < CALLS_MAX) {
        double t0 = now_s();
        must(model_score(m, s, &batch, logit, &err), &err);
        us[n++] = (now_s() - t0) * 1e6;
    }
    qsort(us, n, sizeof us[0], by_value);
    printf(
        "{\"bench\": \"model_score\", \"shape\": \"%s\", \"kernels\": \"%s\", \"candidates\": %u, "
        "\"history\": %u, \"us_p50\": %.0f, \"us_p99\": %.0f}\n",
        shape->name, model_kernels(), shape->batch, shape->steps, us[n / 2], us[n * 99 / 100]);
    free(all_first);
    free(logit);
    model_scratch_close(s);
    model_close(m);
    toy_batch_release(&toy);
}

struct product {
    size_t m, n, k;
    bool transposed; /* a is (k, m) */
};

static void own_product(const struct gemm *g)
{
    kernels_available(0)->gemm(g);
}

static double product_us(void (*product)(const struct gemm *), const struct gemm *g, size_t reps)
{
    double t0 = thread_s();
    for (size_t i = 0; i < reps; i++) {
        product(g);
    }
    return (thread_s() - t0) / (double)reps * 1e6;
}

static real *random_matrix(size_t rows, size_t cols, struct random *r)
{
    real *x = aligned_alloc(64, (rows * cols * sizeof *x + 63) / 64 * 64);
    if (x == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < rows * cols; i++) {
        x[i] = (real)random_normal(r); /* pages of zeros would all be one page */
    }
    return x;
}

/* In turns, medians: what slows the machine down slows both. */
static void bench_product(const struct product *p, struct random *r)
{
    enum { ROUNDS = 31 };
    double own[ROUNDS], blas[ROUNDS], flops = 2.0 * (double)(p->m * p->n * p->k);
    real *a = random_matrix(p->m, p->k, r), *b = random_matrix(p->k, p->n, r);
    real *c = random_matrix(p->m, p->n, r);
    struct gemm g = {.c = c,
                     .ldc = p->n,
                     .a = a,
                     .a_row = p->transposed ? 1 : p->k,
                     .a_col = p->transposed ? p->m : 1,
                     .b = b,
                     .ldb = p->n,
                     .m = p->m,
                     .n = p->n,
                     .k = p->k};
    size_t reps = (size_t)(1e8 / flops) + 1;
    for (size_t i = 0; i < ROUNDS; i++) {
        own[i] = product_us(own_product, &g, reps);
        blas[i] = product_us(blas_gemm, &g, reps);
    }
    qsort(own, ROUNDS, sizeof own[0], by_value);
    qsort(blas, ROUNDS, sizeof blas[0], by_value);
    double own_us = own[ROUNDS / 2], blas_us = blas[ROUNDS / 2];
    printf("{\"bench\": \"gemm\", \"m\": %zu, \"n\": %zu, \"k\": %zu, \"transposed\": %s, "
           "\"kernels\": \"%s\", \"own_us\": %.2f, \"own_gflops\": %.1f, \"openblas_us\": %.2f, "
           "\"openblas_gflops\": %.1f, \"openblas_core\": \"%s\", \"own_to_openblas\": %.3f, "
           "\"handed_over\": %s}\n",
           p->m, p->n, p->k, p->transposed ? "true" : "false", model_kernels(), own_us,
           flops / own_us * 1e-3, blas_us, flops / blas_us * 1e-3, blas_core(), own_us / blas_us,
           blas_wins(&g) ? "true" : "false");
    free(a);
    free(b);
    free(c);
}

static void bench_gemm(void)
{
    /* Of the models above, of a batch of 5000, and of wide MLPs. */
    static const struct product products[] = {
        {50, 80, 36, false},     {50, 48, 80, false},       {36, 80, 50, true},
        {13, 80, 36, false},     {256, 208, 144, false},    {256, 80, 200, false},
        {144, 208, 256, true},   {12800, 48, 80, false},    {12800, 80, 40, false},
        {80, 48, 12800, true},   {5000, 208, 90, false},    {5000, 96, 200, false},
        {90, 208, 5000, true},   {200, 80, 5000, true},     {250000, 48, 80, false},
        {250000, 80, 40, false}, {80, 48, 250000, true},    {256, 512, 512, false},
        {512, 512, 256, true},   {1024, 512, 512, false},   {512, 512, 1024, true},
        {5000, 512, 512, false}, {512, 512, 5000, true},    {256, 1024, 1024, false},
        {1024, 1024, 256, true}, {5000, 1024, 1024, false}, {1024, 1024, 5000, true},
    };
    struct random r = {3};
    for (size_t i = 0; i < sizeof products / sizeof products[0]; i++) {
        bench_product(&products[i], &r);
    }
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"official 80-40, history 50", 256, 50, 18, UNIT_OFFICIAL, 2, {80, 40}, ACT_DICE, {0}},
        {"official 80-40, history 13", 512, 13, 18, UNIT_OFFICIAL, 2, {80, 40}, ACT_DICE, {0}},
        {"official 80-40, history 30", 512, 30, 18, UNIT_OFFICIAL, 2, {80, 40}, ACT_DICE, {0}},
        {"paper 36, history 50", 256, 50, 18, UNIT_PAPER, 1, {36}, ACT_DICE, {0}},
        {"paper 36, history 50, batch 32", 32, 50, 18, UNIT_PAPER, 1, {36}, ACT_DICE, {0}},
        {"paper 36, history 50, batch 5000", 5000, 50, 18, UNIT_PAPER, 1, {36}, ACT_DICE, {0}},
        {"wide MLP 1024-512, batch 256", 256, 10, 64, UNIT_PAPER, 1, {36}, ACT_DICE, {1024, 512}},
        {"wide MLP 1024-512, batch 5000", 5000, 10, 64, UNIT_PAPER, 1, {36}, ACT_DICE, {1024, 512}},
    };
    static const struct shape scores[] = {
        {"official 80-40", 400, 50, 18, UNIT_OFFICIAL, 2, {80, 40}, ACT_DICE, {0}},
        {"paper 36", 400, 50, 18, UNIT_PAPER, 1, {36}, ACT_DICE, {0}},
        {"paper 36, one candidate", 1, 50, 18, UNIT_PAPER, 1, {36}, ACT_DICE, {0}},
    };
    if (argc > 1) {
        seconds_min = strtod(argv[1], NULL);
    }
    if (argc > 2) {
        only = argv[2];
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (wanted("train", shapes[i].name)) {
            bench_train(&shapes[i]);
        }
    }
    for (size_t i = 0; i < sizeof scores / sizeof scores[0]; i++) {
        if (wanted("score", scores[i].name)) {
            bench_score(&scores[i]);
        }
    }
    (void)blas_product(); /* one thread */
    if (wanted("gemm", "")) {
        bench_gemm();
    }
    return 0;
}
