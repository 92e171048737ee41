/* metrics_state.h: metrics into a snapshot's train arrays, and back, bit for bit.
 *
 * Names, with a prefix for each set of metrics (part of the version format):
 *   <prefix>.totals  (2) u64: examples, positives
 *   <prefix>.sums    (4) f64: weight, loss, p, label
 *   <prefix>.bins    (20, 4) f64: examples, weight, p, label of a bin of p
 *   <prefix>.bucket  (n, 3) u64: logit buckets that are not empty: number, negatives, positives
 *   <prefix>.window.user, .logit, .weight  (n) u64, f32, f32: newest predictions, oldest first
 * Arrays without elements are left out.  A delta of a learner that keeps a log has <prefix>.log
 * instead, (bytes) u8 of struct metrics_op, which shadow.h turns into these. */
#ifndef UNDINE_LEARNER_METRICS_STATE_H
#define UNDINE_LEARNER_METRICS_STATE_H

#include "learner/metrics.h"
#include "learner/snapshot.h"

#include <stdbool.h>

#define METRICS_LOG ".log"

/* False where memory is out. */
bool metrics_save(const struct metrics *m, const char *prefix, struct snapshot *s);
/* Into metrics that have seen nothing.  UNDINE_ESTATE where there are none of the prefix,
 * UNDINE_ECORRUPT. */
int metrics_load(struct metrics *m, const char *prefix, const struct snapshot *s,
                 struct undine_err *err);

#endif
