/* distinct.h: numbers 0, 1, ... for the distinct keys of a batch, in the order in which they come.
 *
 * Most keys of a batch come more than once, and popular ones dozens of times: whatever is to be
 * done for each distinct key is done over the list of them, and all else goes by number.  One
 * probing of a small array tells a key's number; a slot of an earlier batch counts as free, so
 * nothing is cleared between batches.  Memory grows to the largest batch and stays.  One thread at
 * a time. */
#ifndef UNDINE_LEARNER_DISTINCT_H
#define UNDINE_LEARNER_DISTINCT_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct distinct_slot {
    uint64_t key;
    uint32_t number, batch;
};

struct distinct {
    uint64_t *key; /* (n) */
    uint32_t n;
    size_t keys_capacity;
    struct distinct_slot *slot; /* (2^bits) */
    unsigned bits;              /* 0 = no slots yet */
    uint32_t batch;             /* that slots in use name, >= 1 */
};

void distinct_release(struct distinct *d); /* fine on a zeroed one */
/* Begin a batch, with no key yet. */
void distinct_begin(struct distinct *d);
/* Numbers of n keys.  UNDINE_ENOMEM. */
int distinct_number(struct distinct *d, const uint64_t *keys, uint32_t *numbers, size_t n,
                    struct undine_err *err);

#endif
