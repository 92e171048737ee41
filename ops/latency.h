/* latency.h: how long something took, as a Prometheus histogram.  Any number of threads add;
 * whoever renders sees each bucket as it is then. */
#ifndef UNDINE_OPS_LATENCY_H
#define UNDINE_OPS_LATENCY_H

#include "base/bytes.h"

#include <stdatomic.h>

enum { LATENCY_BOUNDS = 15 };
struct latency {                                 /* all zero = empty */
    _Atomic uint64_t bucket[LATENCY_BOUNDS + 1]; /* not cumulative; the last is above all bounds */
    _Atomic uint64_t ns;                         /* sum */
};

void latency_add(struct latency *l, int64_t ns);
/* HELP, TYPE, buckets, sum and count, in seconds. */
void latency_render(const struct latency *l, const char *name, const char *help,
                    struct writer *out);

#endif
