#include "tests/bench/bench_score.h"

#include "base/clock.h"
#include "tests/bench/bench_asker.h"

#include <stdlib.h>
#include <time.h>

static double processor_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Requests in turns of all precisions, each of which sees the same ones: what the machine does
 * meanwhile, it does to all of them. */
static uint64_t ask(struct bench_asker *asker, struct bench_score_timing *out, uint32_t n,
                    bool recorded)
{
    static struct latency warm;
    uint64_t failed = 0;
    for (uint32_t p = 0; p < n; p++) {
        double start = processor_s();
        failed += bench_asker_ask_one(&asker[p], recorded ? &out[p].latency : &warm);
        out[p].cpu_us += recorded ? 1e6 * (processor_s() - start) : 0.0;
    }
    return failed;
}

static uint64_t ask_for(struct bench_asker *asker, struct bench_score_timing *out, uint32_t n,
                        double seconds, bool recorded)
{
    uint64_t failed = 0;
    int64_t end = clock_monotonic_ns() + (int64_t)(seconds * 1e9);
    while (clock_monotonic_ns() < end) {
        failed += ask(asker, out, n, recorded);
    }
    return failed;
}

static void measure(struct bench_score_result *out, struct bench_asker *asker,
                    const struct bench_score_amount *amount)
{
    uint32_t n = amount->n_precisions;
    for (uint64_t i = 0; i < amount->requests; i++) {
        out->failed += ask(asker, out->of, n, true);
    }
    if (amount->requests == 0) {
        out->failed = ask_for(asker, out->of, n, amount->seconds / 4.0, false);
        out->failed += ask_for(asker, out->of, n, amount->seconds, true);
    }
    for (uint32_t p = 0; p < n; p++) {
        out->of[p].cpu_us /= (double)out->of[p].latency.n;
    }
}

static int open_and_measure(struct bench_score_result *out, const struct bench_world *w,
                            const char *dir, const struct bench_score_amount *amount,
                            struct undine_err *err)
{
    struct bench_asker asker[BENCH_SCORE_PRECISIONS] = {0};
    int rc = UNDINE_OK;
    UNDINE_ASSERT(amount->n_precisions >= 1 && amount->n_precisions <= BENCH_SCORE_PRECISIONS);
    for (uint32_t p = 0; rc == UNDINE_OK && p < amount->n_precisions; p++) {
        rc = bench_asker_open(&asker[p], w, dir, amount->precision[p], err);
    }
    if (rc == UNDINE_OK) {
        measure(out, asker, amount);
    }
    for (uint32_t p = 0; p < amount->n_precisions; p++) {
        bench_asker_close(&asker[p]);
    }
    return rc;
}

int bench_score_run(struct bench_score_result *out, const struct bench_world_options *opt,
                    const char *parent, const char *keep, const struct bench_score_amount *amount,
                    struct undine_err *err)
{
    struct bench_world w;
    struct version_info info = {0};
    char dir[VERSION_PATH_MAX];
    *out = (struct bench_score_result){0};
    int rc = bench_world_open(&w, opt, err);
    if (rc < 0) {
        return rc;
    }
    rc = bench_world_dir(dir, keep != NULL ? keep : parent, keep != NULL, err);
    if (rc == UNDINE_OK && (rc = bench_world_full(&w, dir, 1, &info, err)) == UNDINE_OK) {
        rc = open_and_measure(out, &w, dir, amount, err);
    }
    out->bytes = info.bytes;
    bench_world_release(&w);
    if (keep == NULL) {
        bench_world_remove(dir);
    }
    return rc;
}
