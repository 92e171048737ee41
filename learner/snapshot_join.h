/* snapshot_join.h: pieces of a delta's table into one.
 *
 * The learner copies changed rows a few thousand at a time, while they are still near at hand, and
 * copies a row anew when it changes once more.  To find the newest of each is left to the thread
 * that writes versions. */
#ifndef UNDINE_LEARNER_SNAPSHOT_JOIN_H
#define UNDINE_LEARNER_SNAPSHOT_JOIN_H

#include "learner/snapshot.h"

/* Rows of t and of all that is older into t, ascending by key, the newest of each id, without those
 * that are removed (sorted).  Memory from the snapshot's.  UNDINE_ENOMEM. */
int snapshot_join(struct arena *memory, struct snapshot_table *t, struct undine_err *err);

#endif
