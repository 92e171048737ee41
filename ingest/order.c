#include "ingest/order.h"

#include <stdlib.h>

/* Four children a node: half the levels of a binary heap, and the children of a node lie in one or
 * two cache lines, so a pop from a million waiting events misses the cache half as often.  Events
 * arrive almost in order, so a push mostly stays where it is put. */
enum { ORDER_CHILDREN = 4, ORDER_CAPACITY_MIN = 1024 };

void order_init(struct order *o)
{
    *o = (struct order){0};
}

void order_release(struct order *o)
{
    if (o != NULL) {
        free(o->heap);
        *o = (struct order){0};
    }
}

/* Compares as (kind, id) does, as far as it tells two events apart. */
static uint64_t rank_of(const struct event *e)
{
    return (uint64_t)e->kind << 62 | e->id >> 2;
}
_Static_assert(EVENT_KINDS <= 4, "two bits of rank");

static bool slot_before(const struct order_slot *a, const struct order_slot *b)
{
    if (a->time_ms != b->time_ms) {
        return a->time_ms < b->time_ms;
    }
    return a->rank != b->rank ? a->rank < b->rank : event_compare(a->event, b->event) < 0;
}

static int order_grow(struct order *o, struct undine_err *err)
{
    size_t capacity = o->capacity == 0 ? ORDER_CAPACITY_MIN : o->capacity * 2;
    struct order_slot *heap = NULL;
    if (capacity <= SIZE_MAX / sizeof *heap) {
        heap = realloc(o->heap, capacity * sizeof *heap);
    }
    if (heap == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu waiting events", capacity);
    }
    o->heap = heap;
    o->capacity = capacity;
    return UNDINE_OK;
}

int order_push(struct order *o, struct event *e, struct undine_err *err)
{
    if (o->n == o->capacity) {
        int rc = order_grow(o, err);
        if (rc < 0) {
            return rc;
        }
    }
    struct order_slot slot = {.time_ms = e->time_ms, .rank = rank_of(e), .event = e};
    size_t at = o->n++;
    while (at > 0) {
        size_t parent = (at - 1) / ORDER_CHILDREN;
        if (!slot_before(&slot, &o->heap[parent])) {
            break;
        }
        o->heap[at] = o->heap[parent];
        at = parent;
    }
    o->heap[at] = slot;
    o->record_bytes += (size_t)e->words * sizeof(uint64_t);
    return UNDINE_OK;
}

/* Let the hole at the root sink, then put slot where it comes to rest. */
static void order_sink(struct order *o, struct order_slot slot)
{
    size_t at = 0;
    for (;;) {
        size_t child = at * ORDER_CHILDREN + 1;
        if (child >= o->n) {
            break;
        }
        size_t end = child + ORDER_CHILDREN < o->n ? child + ORDER_CHILDREN : o->n;
        size_t least = child;
        for (size_t c = child + 1; c < end; c++) {
            if (slot_before(&o->heap[c], &o->heap[least])) {
                least = c;
            }
        }
        if (!slot_before(&o->heap[least], &slot)) {
            break;
        }
        o->heap[at] = o->heap[least];
        at = least;
    }
    o->heap[at] = slot;
}

struct event *order_pop(struct order *o, int64_t time_ms)
{
    struct event *e = NULL;
    (void)order_take(o, time_ms, &e, 1);
    return e;
}

/* A record is looked at when all are taken: it may have left the caches while it waited. */
size_t order_take(struct order *o, int64_t time_ms, struct event **events, size_t n_max)
{
    size_t n = 0;
    while (n < n_max && o->n > 0 && o->heap[0].time_ms < time_ms) {
        events[n] = o->heap[0].event;
        __builtin_prefetch(events[n++]);
        o->n--;
        if (o->n > 0) {
            order_sink(o, o->heap[o->n]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        o->record_bytes -= (size_t)events[i]->words * sizeof(uint64_t);
    }
    return n;
}

size_t order_bytes(const struct order *o)
{
    return o->capacity * sizeof *o->heap + o->record_bytes;
}
