/* order.h: the events that wait for the watermark, in the order in which they will be applied.
 *
 * By event_compare: (time, kind, id, tie, content).  The order that comes out does not depend on
 * the order that went in, nor on the lanes.  A lane is where events come nearly in order, as those
 * of a partition do: each has a queue, and a heap holds the first of each queue and what came too
 * far out of order for its queue.  So the heap has as many entries as there are lanes, not events.
 * Holds pointers only; the records belong to arrivals. Ingest thread only. */
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
struct order_node {
    struct order_slot slot;
    uint32_t lane; /* whose next one takes its place, or ORDER_NO_LANE */
};
struct order_lane {
    struct order_slot *ring; /* entry k at k & (capacity - 1), rising from head to tail */
    size_t capacity;
    uint64_t head, tail;
    struct order_slot first; /* what the heap has of it, at or before all of the ring */
    bool in_heap;
};
struct order {
    struct order_node *heap;
    struct order_lane *lanes;
    size_t n; /* events that wait */
    size_t n_heap, heap_capacity;
    uint32_t n_lanes;
    size_t record_bytes; /* of the events that wait */
};

void order_init(struct order *o);
void order_release(struct order *o); /* the events themselves are not touched */
/* lane: any small number, for the sake of speed that of the event's partition. */
int order_push(struct order *o, uint32_t lane, struct event *e, struct undine_err *err);
/* Take the next event with a time below time_ms; NULL where there is none. */
struct event *order_pop(struct order *o, int64_t time_ms);
/* Take the next ones, up to n_max, as order_pop would one after the other; returns their number. */
size_t order_take(struct order *o, int64_t time_ms, struct event **events, size_t n_max);
size_t order_bytes(const struct order *o); /* memory held, records included */

#endif
