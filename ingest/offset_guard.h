/* offset_guard.h: which offsets of a Kafka partition are the ones to go on with.
 *
 * Exactly-once rests on these few decisions, so they are pure functions of a partition and what the
 * broker said.  Ingest thread. */
#ifndef UNDINE_INGEST_OFFSET_GUARD_H
#define UNDINE_INGEST_OFFSET_GUARD_H

#include "base/err.h"
#include "ingest/source.h"

/* What to do with a message that was delivered at `offset`. */
enum guard {
    GUARD_TAKE,      /* the next one */
    GUARD_DUPLICATE, /* read before: drop it */
    GUARD_GAP,       /* offsets between were not delivered: to be explained, then taken */
    GUARD_DONE       /* at or behind the end of a bounded run: not ours */
};
enum guard offset_guard(const struct source_partition *p, int64_t offset);

/* UNDINE_ELOSS: what happened, stored, low and high offset, and how to go on. */
int offset_loss(struct undine_err *err, const struct source_partition *p, int64_t low, int64_t high,
                const char *what);

/* Is "topic:partition" in the list of losses that the operator accepts?  Then go on at low:
 * whatever was stored is of another history. */
bool offset_accept_loss(struct source_partition *p, int64_t low, const char *const *accepted,
                        size_t n);

/* Where reading starts, for a partition whose position is the stored one and that holds the offsets
 * low to high - 1.  *fence: it is the offset of the last message read, which is to be compared and
 * dropped.  Never read: the beginning, which the broker knows best (-1).  UNDINE_ELOSS where the
 * position is gone. */
int offset_start(const struct source_partition *p, int64_t low, int64_t high, int64_t *start,
                 bool *fence, struct undine_err *err);

/* What was found first at the fence's offset or behind it: a record, or the end of the partition
 * (timestamp -1, hash 0).  1 = the history is the one that was read: it is the same record, or that
 * was compacted away; UNDINE_ELOSS = it is another one. */
int offset_fence(const struct source_partition *p, int64_t offset, int64_t timestamp_ms,
                 uint64_t hash, int64_t low, struct undine_err *err);

#endif
