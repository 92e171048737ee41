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

static int measure(struct bench_score_result *out, const struct bench_world *w, const char *dir,
                   const struct bench_score_amount *amount, struct undine_err *err)
{
    struct bench_asker a;
    int rc = bench_asker_open(&a, w, dir, err);
    if (rc < 0) {
        return rc;
    }
    if (amount->requests > 0) {
        out->failed = bench_asker_ask_n(&a, &out->latency, amount->requests);
        bench_asker_close(&a);
        return UNDINE_OK;
    }
    struct latency warm = {0};
    out->failed = bench_asker_ask(&a, &warm, amount->seconds / 4.0);
    double start = processor_s();
    out->failed += bench_asker_ask(&a, &out->latency, amount->seconds);
    out->cpu_us = 1e6 * (processor_s() - start) / (double)out->latency.n;
    bench_asker_close(&a);
    return UNDINE_OK;
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
        rc = measure(out, &w, dir, amount, err);
    }
    out->bytes = info.bytes;
    bench_world_release(&w);
    if (keep == NULL) {
        bench_world_remove(dir);
    }
    return rc;
}
