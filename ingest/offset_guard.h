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

/* Doubt.  Offsets without a record are legal: markers of transactions, aborted records, compaction.
 * But what the client library left out by mistake looks just like them, so a gap counts as real
 * when a second answer of the broker shows it, too: the reader goes back to the first missing
 * offset.
 *
 * That throws away what was fetched ahead (up to 16 MiB, 100,000 records), and a topic written by
 * transactions has a gap every few hundred records.  So asked is for the first GAP_ASKS gaps of a
 * partition since its start, for one more in GAP_ASK_EVERY records (the refetch then is a tenth of
 * the traffic at most), and for each gap more than twice as wide as all that were confirmed (63 at
 * most).  Each record that only a second answer had gives back the first GAP_ASKS.  A topic that
 * has no gaps by nature is thus asked about each one.  Numbers of records decide, no clock; what is
 * handed on is the same either way, unless the client did lose something. */
enum { GAP_ASKS = 2, GAP_ASK_EVERY = 1 << 20 };
struct gap_doubt {
    int64_t asked;  /* end of the gap that is asked for again; 0 = none */
    int64_t widest; /* of those confirmed, offsets */
    int64_t n_taken;
    int asks; /* GAP_ASKS at first */
};

/* The newest answer has nothing from next to upto - 1.  Returns how far that is believed: next =
 * ask again from there; upto; or less, where the two answers agree that far only, then call again
 * from there.  *twice: two answers showed it. */
int64_t gap_believe(struct gap_doubt *g, int64_t next, int64_t upto, bool *twice);

/* A record is taken; true = the answer before lacked it. */
bool gap_taken(struct gap_doubt *g, int64_t offset);

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
