/* order.h: the events that wait for the watermark, in the order in which they will be applied.
 *
 * A heap by event_compare: (time, kind, id, tie, content).  The order that comes out does not
 * depend on the order that went in.  Holds pointers only; the records belong to arrivals. Ingest
 * thread only. */
#ifndef UNDINE_INGEST_ORDER_H
#define UNDINE_INGEST_ORDER_H

#include "base/err.h"
#include "featurestore/event.h"

/* Event times lie below this (the loop refuses later ones as DECODE_FUTURE), so that adding a
 * window to a time never overflows: 2^60 ms is the year 36,000,000. */
#define ORDER_TIME_MAX (INT64_C(1) << 60)

struct order_slot { /* of the event: nearly no comparison needs a look at the record */
    int64_t time_ms;
    uint64_t rank; /* kind and the highest bits of the id */
    struct event *event;
};
struct order {
    struct order_slot *heap;
    size_t n, capacity;
    size_t record_bytes; /* of the events that wait */
};

void order_init(struct order *o);
void order_release(struct order *o); /* the events themselves are not touched */
int order_push(struct order *o, struct event *e, struct undine_err *err);
/* Take the next event with a time below time_ms; NULL where there is none. */
struct event *order_pop(struct order *o, int64_t time_ms);
/* Take the next ones, up to n_max, as order_pop would one after the other; returns their number. */
size_t order_take(struct order *o, int64_t time_ms, struct event **events, size_t n_max);
size_t order_bytes(const struct order *o); /* memory held, records included */

#endif
