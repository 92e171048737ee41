#include "learner/frozen_rows.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_BITS_MIN = 10, SLOT_BITS_MAX = 31 };

void frozen_rows_init(struct frozen_rows *r, uint32_t width)
{
    *r = (struct frozen_rows){.width = width};
}

void frozen_rows_release(struct frozen_rows *r)
{
    free(r->key);
    free(r->weight);
    free(r->slot);
    *r = (struct frozen_rows){0};
}

void frozen_rows_clear(struct frozen_rows *r)
{
    r->n = 0;
    if (r->slot != NULL) {
        memset(r->slot, 0, sizeof *r->slot << r->slot_bits);
    }
}

/* First slot of a key.  Ids are hashes already; the product spreads counted ones. */
static uint32_t first_slot(const struct frozen_rows *r, uint64_t key)
{
    return (uint32_t)((key * 0x9E3779B97F4A7C15U) >> (64 - r->slot_bits));
}

/* The slot that holds the key, or the empty one where it belongs. */
static uint32_t slot_of(const struct frozen_rows *r, uint64_t key)
{
    uint32_t mask = ((uint32_t)1 << r->slot_bits) - 1;
    uint32_t s = first_slot(r, key);
    while (r->slot[s] != 0 && r->key[r->slot[s] - 1] != key) {
        s = (s + 1) & mask;
    }
    return s;
}

static bool slots_room(struct frozen_rows *r, uint64_t n)
{
    unsigned bits = r->slot_bits > SLOT_BITS_MIN ? r->slot_bits : SLOT_BITS_MIN;
    while (bits < SLOT_BITS_MAX && 2 * n > (uint64_t)1 << bits) {
        bits++;
    }
    if (2 * n > (uint64_t)1 << bits) {
        return false;
    }
    if (bits == r->slot_bits) {
        return true;
    }
    uint32_t *slot = calloc((size_t)1 << bits, sizeof *slot);
    if (slot == NULL) {
        return false;
    }
    free(r->slot);
    r->slot = slot;
    r->slot_bits = bits;
    for (uint32_t i = 0; i < r->n; i++) {
        r->slot[slot_of(r, r->key[i])] = i + 1;
    }
    return true;
}

bool frozen_rows_room(struct frozen_rows *r, uint32_t n)
{
    uint64_t need = (uint64_t)r->n + n;
    if (!slots_room(r, need)) {
        return false;
    }
    if (need <= r->capacity) {
        return true;
    }
    uint64_t capacity = r->capacity > 0 ? r->capacity : 256;
    while (capacity < need) {
        capacity *= 2;
    }
    uint64_t *key = reallocarray(r->key, capacity, sizeof *key);
    r->key = key != NULL ? key : r->key;
    float *weight = reallocarray(r->weight, capacity, r->width * sizeof *weight);
    r->weight = weight != NULL ? weight : r->weight;
    if (key == NULL || weight == NULL) {
        return false;
    }
    r->capacity = (uint32_t)capacity;
    return true;
}

uint32_t frozen_rows_find(const struct frozen_rows *r, uint64_t key)
{
    if (r->n == 0) {
        return FROZEN_ROWS_NONE;
    }
    uint32_t entry = r->slot[slot_of(r, key)];
    return entry == 0 ? FROZEN_ROWS_NONE : entry - 1;
}

uint32_t frozen_rows_keep(struct frozen_rows *r, uint64_t key, const float *weight)
{
    uint32_t s = slot_of(r, key);
    if (r->slot[s] == 0) {
        UNDINE_ASSERT(r->n < r->capacity);
        r->key[r->n] = key;
        memcpy(r->weight + (size_t)r->n * r->width, weight, r->width * sizeof *weight);
        r->slot[s] = ++r->n;
    }
    return r->slot[s] - 1;
}

uint64_t frozen_rows_bytes(const struct frozen_rows *r)
{
    uint64_t slots = r->slot != NULL ? (uint64_t)1 << r->slot_bits : 0;
    return (uint64_t)r->capacity * (sizeof *r->key + r->width * sizeof *r->weight) +
           slots * sizeof *r->slot;
}
