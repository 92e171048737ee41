/* snapshot_metrics.h: what a snapshot's arrays say of the predictions, for people.
 *
 * The learner copies windows and histograms as they are; to look at them (a sort of each window) is
 * left to the thread that writes versions. */
#ifndef UNDINE_LEARNER_SNAPSHOT_METRICS_H
#define UNDINE_LEARNER_SNAPSHOT_METRICS_H

#include "learner/snapshot.h"

/* Sets metrics_json from the arrays that metrics_save made of `metrics`, `popularity` and
 * `frozen.metrics`: what trainer_metrics said at that moment; and puts the arrays of `popularity`
 * in the order of their keys.  Where there are no metrics, or metrics_json is set, it stays.
 * UNDINE_ENOMEM, UNDINE_ECORRUPT. */
int snapshot_metrics_attach(struct snapshot *s, struct undine_err *err);

#endif
