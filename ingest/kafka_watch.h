/* kafka_watch.h: a thread that asks for metadata again and again.
 *
 * It notes how many partitions the topics have, and which of ours are without a leader; the reader
 * draws the conclusions.  In a thread of its own, since an answer may have to wait behind a fetch
 * that waits for data.  All functions for the ingest thread. */
#ifndef UNDINE_INGEST_KAFKA_WATCH_H
#define UNDINE_INGEST_KAFKA_WATCH_H

#include "base/err.h"
#include "ingest/source.h"

#include <stdatomic.h>

struct rd_kafka_s;
struct ticker;

struct kafka_watch { /* all zero: not begun */
    struct rd_kafka_s *rk;
    const struct source *source;
    atomic_int *n_seen;      /* of each topic: partitions, 0 = there is none, NOT_SEEN */
    atomic_bool *leaderless; /* each partition of the source */
    atomic_uint looks;       /* how often metadata came */
    atomic_bool worried;     /* look each second, not each fifth */
    unsigned ticks;          /* the thread's own */
    struct ticker *ticker;
};
enum { KAFKA_WATCH_NOT_SEEN = -1 };

/* Watch the topics and partitions of a source; all are borrowed until kafka_watch_stop. */
int kafka_watch_start(struct kafka_watch *w, struct rd_kafka_s *rk, const struct source *source,
                      struct undine_err *err);
/* Waits for a question that is out. */
void kafka_watch_stop(struct kafka_watch *w);

#endif
