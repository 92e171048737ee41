/* latency.h: durations in buckets of equal relative width, as HdrHistogram has them: quantiles of
 * any number of them within 1/256, in fixed memory, without an allocation while recording.
 *
 * Below 256 ns each nanosecond has its bucket; above, each factor of two has 128.  What is longer
 * than LATENCY_MAX_NS counts as that.  One thread. */
#ifndef UNDINE_TESTS_BENCH_LATENCY_H
#define UNDINE_TESTS_BENCH_LATENCY_H

#include <stdint.h>

enum { LATENCY_HALF = 128, LATENCY_OCTAVES = 40 };
#define LATENCY_MAX_NS ((INT64_C(1) << (LATENCY_OCTAVES + 7)) - 1)

struct latency {
    uint64_t n, count[(LATENCY_OCTAVES + 1) * LATENCY_HALF];
    int64_t max_ns;
};

void latency_record(struct latency *l, int64_t ns);
void latency_add(struct latency *to, const struct latency *from);
/* The duration that a share `q` of all were not above; 0 of none. */
int64_t latency_quantile_ns(const struct latency *l, double q);

#endif
