/* metrics.h: what the daemon is doing, as Prometheus text (exposition format 0.0.4).
 *
 * Four questions first: how far behind (lag, watermark, backlog), how wrong (progressive metrics),
 * how fresh (age of the newest version), how full (waiting, pending, tables, memory).  A value that
 * does not exist yet is NaN.  Times are seconds, sizes bytes, counters end in _total.  A pure
 * function of the view.  Any thread. */
#ifndef UNDINE_OPS_METRICS_H
#define UNDINE_OPS_METRICS_H

#include "base/bytes.h"
#include "ops/daemon.h"
#include "ops/metrics_text.h"

struct metrics_view {
    const struct daemon_status *status;
    const struct trainer_slices *slices;
    const struct norms *norms;
    const char *version; /* of the program */
    const char *kernels; /* what training computes with (learner/blas.h) */
    uint64_t rss_bytes;
};

/* Append every metric.  out is bad where memory is out. */
void metrics_render(struct writer *out, const struct metrics_view *view);

#endif
