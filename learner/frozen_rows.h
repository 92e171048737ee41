/* frozen_rows.h: embedding rows as they were: a map from id to weights that is only added to, then
 * cleared as a whole.
 *
 * It is keyed by the id alone: row numbers of a table move when rows are erased, and an id may
 * leave its table and come back while its old weights are still wanted.  Learner thread. */
#ifndef UNDINE_LEARNER_FROZEN_ROWS_H
#define UNDINE_LEARNER_FROZEN_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FROZEN_ROWS_NONE UINT32_MAX

struct frozen_rows {
    uint32_t width;
    uint32_t n, capacity;
    uint64_t *key;      /* (n) in the order in which they were added */
    float *weight;      /* (n, width) */
    uint32_t *slot;     /* (1 << slot_bits) open addressing: entry + 1, 0 = empty */
    unsigned slot_bits; /* at most half of the slots are used */
};

void frozen_rows_init(struct frozen_rows *r, uint32_t width);
void frozen_rows_release(struct frozen_rows *r); /* fine on a zeroed one */
void frozen_rows_clear(struct frozen_rows *r);   /* memory stays */
/* Room for n more, so that adding them cannot fail; false where memory is out. */
bool frozen_rows_room(struct frozen_rows *r, uint32_t n);
/* Entry of an id, or FROZEN_ROWS_NONE. */
uint32_t frozen_rows_find(const struct frozen_rows *r, uint64_t key);
/* Entry of an id, added with these weights where it is new.  After frozen_rows_room. */
uint32_t frozen_rows_keep(struct frozen_rows *r, uint64_t key, const float *weight);
uint64_t frozen_rows_bytes(const struct frozen_rows *r);

/* Ask for the memory that finding the id will look at. */
static inline void frozen_rows_prefetch(const struct frozen_rows *r, uint64_t key)
{
    __builtin_prefetch(&r->slot[(key * 0x9E3779B97F4A7C15U) >> (64 - r->slot_bits)]);
}

#endif
