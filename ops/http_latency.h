/* http_latency.h: how long something took, as a Prometheus histogram.  Any number of threads add;
 * whoever renders sees each bucket as it is then. */
#ifndef UNDINE_OPS_HTTP_LATENCY_H
#define UNDINE_OPS_HTTP_LATENCY_H

#include "base/bytes.h"

#include <stdatomic.h>

enum { HTTP_LATENCY_BOUNDS = 15 };
struct http_latency { /* all zero = empty */
    _Atomic uint64_t
        bucket[HTTP_LATENCY_BOUNDS + 1]; /* not cumulative; the last is above all bounds */
    _Atomic uint64_t ns;                 /* sum */
};

void http_latency_add(struct http_latency *l, int64_t ns);
/* HELP, TYPE, buckets, sum and count, in seconds. */
void http_latency_render(const struct http_latency *l, const char *name, const char *help,
                         struct writer *out);

#endif
