#include "tests/bench/latency.h"

#include <math.h>
#include <stddef.h>

/* Octave 0 holds 0..127, octave o > 0 the 128 values of the top 7 bits below its highest one. */
static size_t bucket_of(int64_t ns)
{
    uint64_t v = ns < 0 ? 0 : ns > LATENCY_MAX_NS ? (uint64_t)LATENCY_MAX_NS : (uint64_t)ns;
    if (v < LATENCY_HALF) {
        return (size_t)v;
    }
    unsigned octave = 63U - (unsigned)__builtin_clzll(v) - 6U;
    return octave * LATENCY_HALF + (size_t)((v >> (octave - 1)) - LATENCY_HALF);
}

/* The largest duration of a bucket. */
static int64_t bucket_end(size_t bucket)
{
    size_t octave = bucket / LATENCY_HALF, part = bucket % LATENCY_HALF;
    return octave == 0 ? (int64_t)part
                       : (int64_t)(((uint64_t)(LATENCY_HALF + part) + 1) << (octave - 1)) - 1;
}

void latency_record(struct latency *l, int64_t ns)
{
    l->n++;
    l->count[bucket_of(ns)]++;
    l->max_ns = ns > l->max_ns ? ns : l->max_ns;
}

void latency_add(struct latency *to, const struct latency *from)
{
    to->n += from->n;
    to->max_ns = from->max_ns > to->max_ns ? from->max_ns : to->max_ns;
    for (size_t i = 0; i < sizeof to->count / sizeof to->count[0]; i++) {
        to->count[i] += from->count[i];
    }
}

int64_t latency_quantile_ns(const struct latency *l, double q)
{
    uint64_t rank = (uint64_t)ceil(q * (double)l->n), seen = 0;
    for (size_t i = 0; l->n > 0 && i < sizeof l->count / sizeof l->count[0]; i++) {
        seen += l->count[i];
        if (seen >= rank && seen > 0) {
            int64_t end = bucket_end(i);
            return end < l->max_ns ? end : l->max_ns;
        }
    }
    return 0;
}
