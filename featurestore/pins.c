#include "featurestore/pins.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum { PINS_CAPACITY_MIN = 4 };

/* The pins, oldest first. */
static struct pin *pins_run(const struct pins *p)
{
    return p->capacity == 0 ? (struct pin *)&p->u.one : p->u.at + p->first;
}

void pins_release(struct pins *p)
{
    if (p->capacity > 0) {
        free(p->u.at);
    }
    *p = (struct pins){0};
}

/* Place of the first time >= time_ms, counted from first. */
static uint32_t pins_place(const struct pins *p, int64_t time_ms)
{
    const struct pin *at = pins_run(p);
    uint32_t low = 0, high = p->n;
    if (p->n == 0 || at[p->n - 1].time_ms < time_ms) {
        return p->n;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (at[middle].time_ms < time_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* From the one that is in the struct to memory of its own. */
static bool pins_spread(struct pins *p)
{
    struct pin *at = malloc(PINS_CAPACITY_MIN * sizeof *at);
    if (at == NULL) {
        return false;
    }
    at[0] = p->u.one;
    p->u.at = at;
    p->first = 0;
    p->capacity = PINS_CAPACITY_MIN;
    return true;
}

/* Room for one more at the end: use the front where half of the memory is free, else grow. */
static bool pins_reserve(struct pins *p)
{
    if (p->capacity == 0) {
        return p->n == 0 || pins_spread(p);
    }
    if (p->first + p->n < p->capacity) {
        return true;
    }
    if (p->first > 0 && p->n <= p->capacity / 2) {
        memmove(p->u.at, p->u.at + p->first, p->n * sizeof *p->u.at);
        p->first = 0;
        return true;
    }
    if (p->capacity > UINT32_MAX / 2) {
        return false;
    }
    uint32_t capacity = p->capacity * 2;
    struct pin *at = realloc(p->u.at, capacity * sizeof *at);
    if (at == NULL) {
        return false;
    }
    p->u.at = at;
    p->capacity = capacity;
    return true;
}

bool pins_add(struct pins *p, int64_t time_ms)
{
    uint32_t place = pins_place(p, time_ms);
    if (place < p->n && pins_run(p)[place].time_ms == time_ms) {
        pins_run(p)[place].n++;
        return true;
    }
    if (!pins_reserve(p)) {
        return false;
    }
    struct pin *at = pins_run(p) + place;
    memmove(at + 1, at, (p->n - place) * sizeof *at);
    *at = (struct pin){.time_ms = time_ms, .n = 1};
    p->n++;
    return true;
}

void pins_remove(struct pins *p, int64_t time_ms)
{
    uint32_t place = pins_place(p, time_ms);
    UNDINE_ASSERT(place < p->n && pins_run(p)[place].time_ms == time_ms);
    struct pin *at = pins_run(p) + place;
    if (--at->n > 0) {
        return;
    }
    p->n--;
    if (place == 0) {
        p->first++;
    } else {
        memmove(at, at + 1, (p->n - place) * sizeof *at);
    }
    if (p->n == 0) {
        pins_release(p); /* most users have none most of the time */
    }
}

int64_t pins_oldest_ms(const struct pins *p)
{
    return p->n > 0 ? pins_run(p)->time_ms : INT64_MAX;
}
