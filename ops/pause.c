#include "ops/pause.h"

#include <math.h>

const double pause_bound[PAUSE_BUCKETS - 1] = {0.0005, 0.001, 0.002, 0.003, 0.005, 0.01,
                                               0.02,   0.05,  0.1,   0.5,   2.0};

void pause_record(struct pause *p, int64_t ns)
{
    size_t i = 0;
    while (i < PAUSE_BUCKETS - 1 && (double)ns > 1e9 * pause_bound[i]) {
        i++;
    }
    uint64_t spent = ns > 0 ? (uint64_t)ns : 0;
    atomic_fetch_add(&p->bucket[i], 1);
    atomic_fetch_add(&p->sum_ns, spent);
    if (spent > atomic_load(&p->max_ns)) {
        atomic_store(&p->max_ns, spent);
    }
}

void pause_status(const struct pause *p, struct pause_status *out)
{
    *out = (struct pause_status){.seconds = 1e-9 * (double)atomic_load(&p->sum_ns),
                                 .max_seconds = 1e-9 * (double)atomic_load(&p->max_ns)};
    for (size_t i = 0; i < PAUSE_BUCKETS; i++) {
        out->bucket[i] = atomic_load(&p->bucket[i]);
        out->n += out->bucket[i];
    }
}

double pause_below(const struct pause_status *s, double share)
{
    uint64_t sum = 0;
    for (size_t i = 0; s->n > 0 && i < PAUSE_BUCKETS - 1; i++) {
        sum += s->bucket[i];
        if ((double)sum >= share * (double)s->n) {
            return pause_bound[i];
        }
    }
    return s->n > 0 ? (double)INFINITY : (double)NAN;
}
