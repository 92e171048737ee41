/* pins.h: the times at which pending impressions look at a user: a multiset, of which the smallest
 * is asked for.  Times mostly come and go in rising order, so it is a sorted run whose front moves.
 * Ingest thread only. */
#ifndef UNDINE_FEATURESTORE_PINS_H
#define UNDINE_FEATURESTORE_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pin {
    int64_t time_ms;
    uint64_t n;
};

/* A zeroed struct is empty.  The only pin of a user is here itself: most have one at a time. */
struct pins {
    union {
        struct pin one; /* while capacity is 0 */
        struct pin *at;
    } u;
    uint32_t first, n, capacity;
};

void pins_release(struct pins *p);
bool pins_add(struct pins *p, int64_t time_ms);    /* false where memory is out */
void pins_remove(struct pins *p, int64_t time_ms); /* a time that was added */
/* INT64_MAX where there is none. */
int64_t pins_oldest_ms(const struct pins *p);

static inline size_t pins_bytes(const struct pins *p)
{
    return p->capacity * sizeof(struct pin);
}

#endif
