/* impressions.h: the impressions that the join still knows, found by id, forgotten in order.
 *
 * Impressions are applied in event-time order and the window is one constant, so deadlines come due
 * in the order of application: a ring of entries is both the memory and the timer queue.  An entry
 * has a number (0, 1, 2, ... in order of application) and lives from `tail` to `head`.  The index
 * maps an id to the newest entry with it; older entries of the same id are linked by number.
 * Pointers to entries are valid until the next add.  Ingest thread only. */
#ifndef UNDINE_INGEST_IMPRESSIONS_H
#define UNDINE_INGEST_IMPRESSIONS_H

#include "base/err.h"
#include "featurestore/event.h"
#include "featurestore/users.h"

#include <stdbool.h>

enum impression_flag {
    IMPRESSION_CLICKED = 1,  /* a click was matched, or came after the deadline */
    IMPRESSION_RESOLVED = 2, /* became an example, was sampled out or dropped: pending no more */
    IMPRESSION_GONE = 4      /* its user was forgotten: no click finds it any more */
};

#define IMPRESSION_NONE UINT64_MAX

struct impression {
    struct event *event; /* the record, NULL once nothing can need it */
    struct user *user;   /* while pinned (see join.c), else NULL */
    uint64_t id, user_hash, tie;
    int64_t time_ms;
    uint64_t older; /* number of the entry before it with this id, or IMPRESSION_NONE */
    uint32_t flags;
};

struct impression_slot {
    uint64_t id;
    uint64_t number_plus_1; /* 0 = empty */
};

struct impressions {
    struct impression *ring; /* entry n at n & (capacity - 1) */
    size_t capacity;
    uint64_t head, tail;
    struct impression_slot *slots; /* linear probing, at most half full */
    size_t n_slots, n_used;
};

void impressions_init(struct impressions *t);
void impressions_release(struct impressions *t);
/* A new entry for the event, number head; NULL (and err) where memory is out. */
struct impression *impressions_add(struct impressions *t, struct event *e, struct undine_err *err);
/* The newest entry with this id that is not gone, and the next older one; NULL where none is left.
 */
struct impression *impressions_find(const struct impressions *t, uint64_t id);
struct impression *impressions_older(const struct impressions *t, const struct impression *i);
/* A hint that costs nothing: this id will be looked for soon. */
void impressions_ahead(const struct impressions *t, uint64_t id);
/* Forget the entry `tail`. */
void impressions_drop(struct impressions *t);

static inline struct impression *impressions_at(const struct impressions *t, uint64_t number)
{
    return &t->ring[number & (t->capacity - 1)];
}

size_t impressions_bytes(const struct impressions *t); /* memory held, without the records */

#endif
