/* join.h: events in their order become labelled examples and behaviour steps.
 *
 * An impression waits for its click until its deadline, time + window.  A click up to and including
 * the deadline makes it a positive; the deadline makes it a negative.  An example sees the user's
 * steps strictly before its impression's time: the user is pinned when the impression is applied.
 *
 * When positives are emitted:
 *   emit: click      at the click's time, which is as soon as the label is known
 *   emit: deadline   at the deadline, like negatives: later, but without a shift between classes
 * In the first window of a stream (clicks before `first impression + window`) negatives are not yet
 * due, and a fresh model would see positives alone; holding them to the end of that window would be
 * one burst of positives.  So there they too are emitted at their own impression's deadline, among
 * the negatives of the same age.
 *
 * After its deadline an impression is remembered for memory_ms, so that a duplicate of it, a second
 * click (duplicate) and a late click are known for what they are.  A late click is behaviour: the
 * clicked candidate becomes a step as with any click.  Whether it gives a label too:
 *   late_click: drop     no
 *   late_click: correct  yes, at the click's time: an EXAMPLE_CORRECTION where the impression was
 *                        trained as a negative, a plain EXAMPLE_POSITIVE where it was sampled out
 *
 * label: fnw waits for nothing.  An impression is emitted when it is applied, as an
 * EXAMPLE_FNW_NEGATIVE, and its click, in the window or late, adds an EXAMPLE_FNW_POSITIVE; window
 * and memory only say how long that can be, `emit` and the first window's rule do not apply.
 *
 * Whatever is emitted for an impression sees the same steps.  So with late_click: correct and with
 * label: fnw a user stays pinned until its last known impression is clicked or expires.
 *
 * The caller applies events and fires deadlines in one order of time, events first at equal times.
 * The join gives each event's record back to arrivals when nothing needs it any more.
 * Ingest thread only. */
#ifndef UNDINE_INGEST_JOIN_H
#define UNDINE_INGEST_JOIN_H

#include "base/schema.h"
#include "featurestore/arrivals.h"
#include "featurestore/example_log.h"
#include "featurestore/users.h"
#include "ingest/impressions.h"
#include "ingest/ingest.h"

#define JOIN_NEVER    INT64_MAX /* no deadline */
#define JOIN_NO_FIRST INT64_MIN /* no impression yet */

struct join;
/* Borrows everything; counters are updated as events are applied (all but events, waiting, late,
 * malformed and filtered, which are known before the join). */
int join_open(struct join **out, const struct schema *schema, const struct ingest_options *opt,
              struct arrivals *arrivals, struct users *users, struct example_log *log,
              struct ingest_counters *counters, struct undine_err *err);
void join_close(struct join *j);

/* Apply the next event.  Every deadline before its time was fired. */
/* A hint that costs nothing: this event will be applied soon. */
void join_ahead(const struct join *j, const struct event *e);
int join_apply(struct join *j, struct event *e, struct undine_err *err);
/* Time of the next deadline, or JOIN_NEVER. */
int64_t join_deadline(struct join *j);
int join_fire(struct join *j, struct undine_err *err);
/* Everything below watermark_ms is applied: forget what no later event can name. */
void join_expire(struct join *j, int64_t watermark_ms);

/* Rebuild the state that stood when everything below watermark_ms had been applied, from the events
 * below it in their order (rejected ones left out).  Emits and counts nothing; pins the users of
 * what is pending.  *pending is their number. */
int join_restore(struct join *j, struct event *const *events, size_t n, int64_t watermark_ms,
                 int64_t first_ms, uint64_t *pending, struct undine_err *err);

/* Time of the first impression of the stream, JOIN_NO_FIRST before it; kept in the store. */
int64_t join_first(const struct join *j);
/* Stored events from this time on may still be needed by a restore. */
int64_t join_keep_after(const struct join *j, int64_t watermark_ms);
size_t join_bytes(const struct join *j); /* memory held, records included */

#endif
