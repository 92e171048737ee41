#include "tests/bench/bench_probe.h"

#include "base/clock.h"

#include <stdlib.h>

enum { NUMBERS = 65536, SUMS = 64, FIT_PASSES = 8, FIT_RUNS = 100 };

int bench_probe_open(struct bench_probe *p, struct undine_err *err)
{
    *p = (struct bench_probe){.memory = malloc(NUMBERS * sizeof *p->memory), .passes = 1};
    if (p->memory == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a probe");
    }
    for (uint32_t i = 0; i < NUMBERS; i++) {
        p->memory[i] = 1.0f / (float)(i + 1);
    }
    return UNDINE_OK;
}

void bench_probe_close(struct bench_probe *p)
{
    free(p->memory);
}

int64_t bench_probe_run(struct bench_probe *p)
{
    float sum[SUMS] = {0};
    int64_t start = clock_monotonic_ns();
    for (uint32_t pass = 0; pass < p->passes; pass++) {
        for (uint32_t i = 0; i < NUMBERS; i += SUMS) {
            for (uint32_t k = 0; k < SUMS; k++) {
                sum[k] = 0.5f * sum[k] + p->memory[i + k];
            }
        }
    }
    for (uint32_t k = 1; k < SUMS; k++) {
        sum[0] += sum[k];
    }
    p->result = sum[0]; /* so that nothing of it may be left out */
    return clock_monotonic_ns() - start;
}

/* The shortest of many short runs: what it takes undisturbed. */
void bench_probe_fit(struct bench_probe *p, int64_t ns)
{
    int64_t least = INT64_MAX;
    p->passes = FIT_PASSES;
    for (uint32_t i = 0; i < FIT_RUNS; i++) {
        int64_t took = bench_probe_run(p);
        least = took < least ? took : least;
    }
    int64_t passes = least > 0 ? ns * FIT_PASSES / least : 1;
    p->passes = passes < 1 ? 1 : passes > UINT32_MAX ? UINT32_MAX : (uint32_t)passes;
}
