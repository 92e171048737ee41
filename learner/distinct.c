#include "learner/distinct.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 256, AHEAD = 16, BITS_MIN = 10 };

void distinct_release(struct distinct *d)
{
    free(d->key);
    free(d->slot);
    *d = (struct distinct){0};
}

void distinct_begin(struct distinct *d)
{
    d->n = 0;
    if (++d->batch == 0) {
        d->batch = 1;
        if (d->bits > 0) {
            memset(d->slot, 0, sizeof *d->slot << d->bits);
        }
    }
}

/* Keys are hashes or small numbers: both spread over the highest bits. */
static inline size_t first_slot(uint64_t key, unsigned bits)
{
    return (size_t)((key ^ key >> 32) * 0x9E3779B97F4A7C15U >> (64 - bits));
}

/* The slot of a key, or the free one where it belongs. */
static inline struct distinct_slot *slot_of(struct distinct_slot *slot, unsigned bits,
                                            uint32_t batch, uint64_t key)
{
    size_t mask = ((size_t)1 << bits) - 1, at = first_slot(key, bits);
    while (slot[at].batch == batch && slot[at].key != key) {
        at = (at + 1) & mask;
    }
    return &slot[at];
}

static bool grow(struct distinct *d, unsigned bits)
{
    struct distinct_slot *slot = calloc((size_t)1 << bits, sizeof *slot);
    if (slot == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        *slot_of(slot, bits, d->batch, d->key[i]) =
            (struct distinct_slot){.key = d->key[i], .number = i, .batch = d->batch};
    }
    free(d->slot);
    d->slot = slot;
    d->bits = bits;
    return true;
}

/* For n keys more, no slot but every other taken. */
static int room(struct distinct *d, size_t n, struct undine_err *err)
{
    size_t most = d->n + n;
    unsigned bits = d->bits > 0 ? d->bits : BITS_MIN;
    if (most > UINT32_MAX) {
        return undine_err_set(err, UNDINE_EFULL, "a batch holds over %u ids of one table",
                              UINT32_MAX);
    }
    while ((size_t)1 << bits < 2 * most) {
        bits++;
    }
    if (bits != d->bits && !grow(d, bits)) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a batch");
    }
    size_t keys = (size_t)1 << (bits - 1);
    if (keys > d->keys_capacity) {
        uint64_t *key = reallocarray(d->key, keys, sizeof *key);
        if (key == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "no memory for a batch");
        }
        d->key = key;
        d->keys_capacity = keys;
    }
    return UNDINE_OK;
}

/* There is room for all. */
static void number_run(struct distinct *d, const uint64_t *keys, uint32_t *numbers, size_t n)
{
    struct distinct_slot *slots = d->slot;
    const unsigned bits = d->bits;
    const uint32_t batch = d->batch;
    uint32_t next = d->n;
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n) {
            __builtin_prefetch(&slots[first_slot(keys[i + AHEAD], bits)], 1);
        }
        struct distinct_slot *slot = slot_of(slots, bits, batch, keys[i]);
        if (slot->batch != batch) {
            *slot = (struct distinct_slot){.key = keys[i], .number = next, .batch = batch};
            d->key[next++] = keys[i];
        }
        numbers[i] = slot->number;
    }
    d->n = next;
}

int distinct_number(struct distinct *d, const uint64_t *keys, uint32_t *numbers, size_t n,
                    struct undine_err *err)
{
    for (size_t at = 0; at < n; at += RUN) {
        size_t run = n - at < RUN ? n - at : RUN;
        int rc = room(d, run, err);
        if (rc < 0) {
            return rc;
        }
        number_run(d, keys + at, numbers + at, run);
    }
    return UNDINE_OK;
}
