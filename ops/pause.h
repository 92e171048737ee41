/* pause.h: how long the learner stood still for something: a histogram as Prometheus has them.
 * One thread records, any thread reads. */
#ifndef UNDINE_OPS_PAUSE_H
#define UNDINE_OPS_PAUSE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { PAUSE_BUCKETS = 12 };
/* Upper bounds in seconds; the last bucket has none. */
extern const double pause_bound[PAUSE_BUCKETS - 1];

struct pause {
    atomic_uint_least64_t bucket[PAUSE_BUCKETS], sum_ns, max_ns;
};

struct pause_status { /* a copy */
    uint64_t bucket[PAUSE_BUCKETS], n;
    double seconds, max_seconds;
};

void pause_record(struct pause *p, int64_t ns);
void pause_status(const struct pause *p, struct pause_status *out);
/* The bound under which a share of the pauses lies; INFINITY where they lie above all bounds, NaN
 * where there was none. */
double pause_below(const struct pause_status *s, double share);

#endif
