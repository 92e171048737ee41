/* popularity_state.h: the popularity baseline into a snapshot's train arrays, and back, bit for
 * bit.
 *
 *   popularity.counts      (2) f64: shows, clicks
 *   popularity.key, .shows, .clicks  (n) u64, f32, f32, ascending by key in a version
 * A delta of a learner that keeps a log has POPULARITY_LOG instead, which shadow.h turns into
 * these. */
#ifndef UNDINE_LEARNER_POPULARITY_STATE_H
#define UNDINE_LEARNER_POPULARITY_STATE_H

#include "learner/popularity.h"
#include "learner/snapshot.h"

#define POPULARITY_LOG "popularity.rows.log" /* (bytes) u8: struct popularity_op */

/* In the order of the table: to sort is left to others (snapshot_metrics.h).  False where memory is
 * out. */
bool popularity_save(const struct popularity *p, struct snapshot *s);
/* Into one that is empty.  UNDINE_ESTATE where the counts are missing, UNDINE_ECORRUPT. */
int popularity_load(struct popularity *p, const struct snapshot *s, struct undine_err *err);

#endif
