#include "learner/distinct.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 128 /* slots fetched, then looked at */, SPARSE_BITS = 2, BITS_MIN = 10 };

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

/* The slot of a key from `at` on, or the free one where it belongs. */
static inline struct distinct_slot *slot_of(struct distinct_slot *slot, size_t mask, uint32_t batch,
                                            uint64_t key, size_t at)
{
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
    size_t mask = ((size_t)1 << bits) - 1;
    for (uint32_t i = 0; i < d->n; i++) {
        *slot_of(slot, mask, d->batch, d->key[i], first_slot(d->key[i], bits)) =
            (struct distinct_slot){.key = d->key[i], .number = i, .batch = d->batch};
    }
    free(d->slot);
    d->slot = slot;
    d->bits = bits;
    return true;
}

/* For n keys more, with at most one slot in 2^SPARSE_BITS taken. */
static int room(struct distinct *d, size_t n, struct undine_err *err)
{
    size_t most = d->n + n;
    unsigned bits = d->bits > 0 ? d->bits : BITS_MIN;
    if (most > UINT32_MAX) {
        return undine_err_set(err, UNDINE_EFULL, "a batch holds over %u ids of one table",
                              UINT32_MAX);
    }
    while ((size_t)1 << bits < most << SPARSE_BITS) {
        bits++;
    }
    if (bits != d->bits && !grow(d, bits)) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a batch");
    }
    size_t keys = (size_t)1 << (bits - SPARSE_BITS);
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

/* There is room for all n, at most RUN.  Whether a key is new cannot be foretold, so it is no
 * branch: all is written again where it is not.  That its first slot has another key is rare. */
static void number_run(struct distinct *d, const uint64_t *keys, uint32_t *numbers, size_t n)
{
    struct distinct_slot *slots = d->slot;
    uint64_t *listed = d->key;
    const uint32_t batch = d->batch;
    size_t first[RUN], mask = ((size_t)1 << d->bits) - 1;
    uint32_t next = d->n;
    for (size_t i = 0; i < n; i++) {
        first[i] = first_slot(keys[i], d->bits);
        __builtin_prefetch(&slots[first[i]], 1);
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t key = keys[i];
        struct distinct_slot *slot = &slots[first[i]];
        uint32_t fresh = slot->batch != batch;
        if (__builtin_expect((slot->key != key) > fresh, 0)) {
            slot = slot_of(slots, mask, batch, key, first[i]);
            fresh = slot->batch != batch;
        }
        uint32_t keep = fresh - 1; /* all bits or none */
        uint32_t number = (slot->number & keep) | (next & ~keep);
        *slot = (struct distinct_slot){.key = key, .number = number, .batch = batch};
        listed[next] = key;
        next += fresh;
        numbers[i] = number;
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
