/* watermark.h: up to which event time the stream is taken to be complete.
 *
 * Watermark = min over the active partitions of (largest event time seen) - lateness.  It never
 * moves back.  A partition is active unless it is done (bounded run), or idle: at its end, with
 * nothing new for idle_timeout.  A partition that is active and has shown no event yet holds the
 * watermark where it is.  Where no partition is active, nothing can hold anything back, and the
 * largest event time of all partitions counts.
 *
 * Takes the time as an argument, never reads a clock.  Ingest thread only. */
#ifndef UNDINE_INGEST_WATERMARK_H
#define UNDINE_INGEST_WATERMARK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define WATERMARK_NONE INT64_MIN /* no event seen */
#define WATERMARK_END  INT64_MAX /* the input is over: past everything */

struct watermark_partition {
    int64_t newest_ms; /* largest event time seen; WATERMARK_NONE = none */
    int64_t quiet_ns;  /* since when it was found at its end with nothing new; -1 = it is not */
    bool idle, done;
};

struct watermark {
    int64_t lateness_ms, idle_timeout_ns;
    bool close_windows; /* all done: WATERMARK_END */
    uint32_t n;
    struct watermark_partition *partitions;
    uint32_t *by_time; /* partitions, the furthest behind first */
};

int watermark_init(struct watermark *w, uint32_t n_partitions, int64_t lateness_ms,
                   int64_t idle_timeout_ms, bool close_windows, struct undine_err *err);
void watermark_release(struct watermark *w);

/* An event of this time came from the partition. */
static inline void watermark_seen(struct watermark *w, uint32_t partition, int64_t time_ms)
{
    struct watermark_partition *p = &w->partitions[partition];
    if (time_ms > p->newest_ms) {
        p->newest_ms = time_ms;
    }
}
/* The partition was polled and gave n messages.  Only this changes who is active: a partition that
 * nobody asked is not idle. */
void watermark_polled(struct watermark *w, uint32_t partition, uint32_t n_messages, bool at_end,
                      bool done, int64_t now_ns);

/* Where the watermark may move to, never below `reached`. */
int64_t watermark_target(const struct watermark *w, int64_t reached_ms);
/* The partitions in the order in which they are to be polled (done ones too).  Borrowed. */
const uint32_t *watermark_order(struct watermark *w);
bool watermark_active(const struct watermark *w, uint32_t partition);
bool watermark_done(const struct watermark *w); /* all partitions are */
uint32_t watermark_idle_count(const struct watermark *w);
int64_t watermark_newest(const struct watermark *w); /* of all partitions */

#endif
