#include "ingest/impressions.h"

#include <stdlib.h>

enum { IMPRESSIONS_CAPACITY_MIN = 1024 };

void impressions_init(struct impressions *t)
{
    *t = (struct impressions){0};
}

void impressions_release(struct impressions *t)
{
    if (t != NULL) {
        free(t->ring);
        free(t->slots);
        *t = (struct impressions){0};
    }
}

/* Where the id is, or the empty slot where it belongs.  Ids are hashes, so their low bits will do.
 */
static size_t slot_of(const struct impression_slot *slots, size_t n_slots, uint64_t id)
{
    size_t at = (size_t)id & (n_slots - 1);
    while (slots[at].number_plus_1 != 0 && slots[at].id != id) {
        at = (at + 1) & (n_slots - 1);
    }
    return at;
}

static bool index_grow(struct impressions *t)
{
    size_t n_slots = t->n_slots == 0 ? 2 * IMPRESSIONS_CAPACITY_MIN : t->n_slots * 2;
    struct impression_slot *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < t->n_slots; i++) {
        if (t->slots[i].number_plus_1 != 0) {
            slots[slot_of(slots, n_slots, t->slots[i].id)] = t->slots[i];
        }
    }
    free(t->slots);
    t->slots = slots;
    t->n_slots = n_slots;
    return true;
}

static bool ring_grow(struct impressions *t)
{
    size_t capacity = t->capacity == 0 ? IMPRESSIONS_CAPACITY_MIN : t->capacity * 2;
    struct impression *ring = NULL;
    if (capacity <= SIZE_MAX / sizeof *ring) {
        ring = malloc(capacity * sizeof *ring);
    }
    if (ring == NULL) {
        return false;
    }
    for (uint64_t n = t->tail; n < t->head; n++) {
        ring[n & (capacity - 1)] = *impressions_at(t, n);
    }
    free(t->ring);
    t->ring = ring;
    t->capacity = capacity;
    return true;
}

struct impression *impressions_add(struct impressions *t, struct event *e, struct undine_err *err)
{
    if ((t->head - t->tail == t->capacity && !ring_grow(t)) ||
        (2 * (t->n_used + 1) > t->n_slots && !index_grow(t))) {
        (void)undine_err_set(err, UNDINE_ENOMEM, "no memory for %llu impressions",
                             (unsigned long long)(t->head - t->tail + 1));
        return NULL;
    }
    struct impression_slot *slot = &t->slots[slot_of(t->slots, t->n_slots, e->id)];
    uint64_t older = IMPRESSION_NONE;
    if (slot->number_plus_1 != 0) {
        older = slot->number_plus_1 - 1;
    } else {
        t->n_used++;
    }
    *slot = (struct impression_slot){.id = e->id, .number_plus_1 = t->head + 1};
    struct impression *i = impressions_at(t, t->head++);
    *i = (struct impression){.event = e,
                             .id = e->id,
                             .user_hash = e->user,
                             .tie = e->tie,
                             .time_ms = e->time_ms,
                             .older = older};
    return i;
}

/* The first entry along the chain that still lives and is not gone. */
static struct impression *chain_from(const struct impressions *t, uint64_t number)
{
    while (number != IMPRESSION_NONE && number >= t->tail) {
        struct impression *i = impressions_at(t, number);
        if ((i->flags & IMPRESSION_GONE) == 0) {
            return i;
        }
        number = i->older;
    }
    return NULL;
}

void impressions_ahead(const struct impressions *t, uint64_t id)
{
    if (t->n_slots > 0) {
        __builtin_prefetch(&t->slots[id & (t->n_slots - 1)]);
    }
}

struct impression *impressions_find(const struct impressions *t, uint64_t id)
{
    if (t->n_used == 0) {
        return NULL;
    }
    const struct impression_slot *slot = &t->slots[slot_of(t->slots, t->n_slots, id)];
    return slot->number_plus_1 == 0 ? NULL : chain_from(t, slot->number_plus_1 - 1);
}

struct impression *impressions_older(const struct impressions *t, const struct impression *i)
{
    return chain_from(t, i->older);
}

/* Empty a slot and close the gap, so that probing needs no tombstones. */
static void index_remove(struct impressions *t, size_t hole)
{
    size_t mask = t->n_slots - 1;
    for (size_t at = (hole + 1) & mask; t->slots[at].number_plus_1 != 0; at = (at + 1) & mask) {
        size_t home = (size_t)t->slots[at].id & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            t->slots[hole] = t->slots[at];
            hole = at;
        }
    }
    t->slots[hole] = (struct impression_slot){0};
    t->n_used--;
}

void impressions_drop(struct impressions *t)
{
    enum { AHEAD = 8 };
    UNDINE_ASSERT(t->tail < t->head);
    if (t->head - t->tail > AHEAD) {
        impressions_ahead(t, impressions_at(t, t->tail + AHEAD)->id);
    }
    size_t at = slot_of(t->slots, t->n_slots, impressions_at(t, t->tail)->id);
    if (t->slots[at].number_plus_1 == t->tail + 1) {
        index_remove(t, at);
    }
    t->tail++;
}

size_t impressions_bytes(const struct impressions *t)
{
    return t->capacity * sizeof *t->ring + t->n_slots * sizeof *t->slots;
}
