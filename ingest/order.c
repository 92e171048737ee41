#include "ingest/order.h"

#include <stdlib.h>
#include <string.h>

/* Four children a node: half the levels of a binary heap.  An event that is at most ORDER_BACK
 * places too late for its queue is moved to its place there: events of one time come in any order.
 */
enum { ORDER_CHILDREN = 4, ORDER_CAPACITY_MIN = 256, ORDER_BACK = 32 };
#define ORDER_NO_LANE UINT32_MAX

void order_init(struct order *o)
{
    *o = (struct order){0};
}

void order_release(struct order *o)
{
    if (o != NULL) {
        for (uint32_t i = 0; i < o->n_lanes; i++) {
            free(o->lanes[i].ring);
        }
        free(o->lanes);
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

static int no_memory(const struct order *o, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu waiting events", o->n + 1);
}

/* ---- the heap ---- */

static int heap_add(struct order *o, struct order_node node, struct undine_err *err)
{
    if (o->n_heap == o->heap_capacity) {
        size_t capacity = o->heap_capacity == 0 ? ORDER_CAPACITY_MIN : o->heap_capacity * 2;
        struct order_node *heap = realloc(o->heap, capacity * sizeof *heap);
        if (heap == NULL) {
            return no_memory(o, err);
        }
        o->heap = heap;
        o->heap_capacity = capacity;
    }
    size_t at = o->n_heap++;
    while (at > 0) {
        size_t parent = (at - 1) / ORDER_CHILDREN;
        if (!slot_before(&node.slot, &o->heap[parent].slot)) {
            break;
        }
        o->heap[at] = o->heap[parent];
        at = parent;
    }
    o->heap[at] = node;
    return UNDINE_OK;
}

/* Let the hole at the root sink, then put the node where it comes to rest. */
static void heap_sink(struct order *o, struct order_node node)
{
    size_t at = 0;
    for (;;) {
        size_t child = at * ORDER_CHILDREN + 1;
        if (child >= o->n_heap) {
            break;
        }
        size_t end = child + ORDER_CHILDREN < o->n_heap ? child + ORDER_CHILDREN : o->n_heap;
        size_t least = child;
        for (size_t c = child + 1; c < end; c++) {
            if (slot_before(&o->heap[c].slot, &o->heap[least].slot)) {
                least = c;
            }
        }
        if (!slot_before(&o->heap[least].slot, &node.slot)) {
            break;
        }
        o->heap[at] = o->heap[least];
        at = least;
    }
    o->heap[at] = node;
}

/* ---- the queues ---- */

static struct order_slot *lane_at(const struct order_lane *l, uint64_t number)
{
    return &l->ring[number & (l->capacity - 1)];
}

static bool lane_grow(struct order_lane *l)
{
    size_t capacity = l->capacity == 0 ? ORDER_CAPACITY_MIN : l->capacity * 2;
    struct order_slot *ring = NULL;
    if (capacity <= SIZE_MAX / sizeof *ring) {
        ring = malloc(capacity * sizeof *ring);
    }
    if (ring == NULL) {
        return false;
    }
    for (uint64_t k = l->head; k < l->tail; k++) {
        ring[k & (capacity - 1)] = *lane_at(l, k);
    }
    free(l->ring);
    l->ring = ring;
    l->capacity = capacity;
    return true;
}

/* The place of a slot in the queue; false where it is too far from the end, or before them all. */
static bool lane_place(const struct order_lane *l, const struct order_slot *slot, uint64_t *place)
{
    uint64_t at = l->tail;
    while (at > l->head && slot_before(slot, lane_at(l, at - 1))) {
        if (l->tail - --at > ORDER_BACK) {
            return false;
        }
    }
    *place = at;
    return at > l->head || !slot_before(slot, &l->first);
}

static bool lane_insert(struct order_lane *l, const struct order_slot *slot, uint64_t place)
{
    if (l->tail - l->head == l->capacity && !lane_grow(l)) {
        return false;
    }
    for (uint64_t at = l->tail++; at > place; at--) {
        *lane_at(l, at) = *lane_at(l, at - 1);
    }
    *lane_at(l, place) = *slot;
    return true;
}

static struct order_lane *lane_of(struct order *o, uint32_t lane)
{
    if (lane >= o->n_lanes) {
        struct order_lane *lanes = realloc(o->lanes, (lane + (size_t)1) * sizeof *lanes);
        if (lanes == NULL) {
            return NULL;
        }
        memset(lanes + o->n_lanes, 0, (lane + (size_t)1 - o->n_lanes) * sizeof *lanes);
        o->lanes = lanes;
        o->n_lanes = lane + 1;
    }
    return &o->lanes[lane];
}

int order_push(struct order *o, uint32_t lane, struct event *e, struct undine_err *err)
{
    struct order_slot slot = {.time_ms = e->time_ms, .rank = rank_of(e), .event = e};
    struct order_lane *l = lane_of(o, lane);
    uint64_t place = 0;
    int rc = UNDINE_OK;
    if (l == NULL) {
        return no_memory(o, err);
    }
    if (!l->in_heap) {
        rc = heap_add(o, (struct order_node){slot, lane}, err);
        l->in_heap = rc == UNDINE_OK;
        l->first = slot;
    } else if (lane_place(l, &slot, &place)) {
        rc = lane_insert(l, &slot, place) ? UNDINE_OK : no_memory(o, err);
    } else {
        rc = heap_add(o, (struct order_node){slot, ORDER_NO_LANE}, err);
    }
    if (rc == UNDINE_OK) {
        o->n++;
        o->record_bytes += (size_t)e->words * sizeof(uint64_t);
    }
    return rc;
}

/* Take the root; the next of its queue comes in its place, or the heap's last. */
static struct event *take_root(struct order *o)
{
    struct order_node root = o->heap[0];
    struct order_lane *l = root.lane != ORDER_NO_LANE ? &o->lanes[root.lane] : NULL;
    o->n--;
    if (l != NULL && l->head < l->tail) {
        l->first = *lane_at(l, l->head++);
        heap_sink(o, (struct order_node){l->first, root.lane});
        return root.slot.event;
    }
    if (l != NULL) {
        l->in_heap = false;
    }
    if (--o->n_heap > 0) {
        heap_sink(o, o->heap[o->n_heap]);
    }
    return root.slot.event;
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
    while (n < n_max && o->n_heap > 0 && o->heap[0].slot.time_ms < time_ms) {
        events[n] = take_root(o);
        __builtin_prefetch(events[n++]);
    }
    for (size_t i = 0; i < n; i++) {
        o->record_bytes -= (size_t)events[i]->words * sizeof(uint64_t);
    }
    return n;
}

size_t order_bytes(const struct order *o)
{
    size_t bytes = o->heap_capacity * sizeof *o->heap + o->n_lanes * sizeof *o->lanes;
    for (uint32_t i = 0; i < o->n_lanes; i++) {
        bytes += o->lanes[i].capacity * sizeof *o->lanes[i].ring;
    }
    return bytes + o->record_bytes;
}
