/* shards.h: the examples of a batch in groups no two of which see the same sequence, for workers
 * that add to the gradients of steps.
 *
 * The cut follows from the batch alone, never from how many workers there are: what every shard
 * sums for itself is then summed over the shards in order, so the bits are the same for any number
 * of them. */
#ifndef UNDINE_LEARNER_MODEL_SHARDS_H
#define UNDINE_LEARNER_MODEL_SHARDS_H

#include "learner/model/batch.h"
#include "learner/model/buffer.h"

enum { SHARDS_MAX = 16 };

struct shards {
    struct buffer order; /* uint32_t (B) examples by sequence, those of a sequence in their order */
    struct buffer seen; /* uint32_t (sequences + 1) where each sequence's examples begin in order */
    size_t n;
    uint32_t first[SHARDS_MAX + 1];    /* of shard i in `order` */
    uint32_t sequence[SHARDS_MAX + 1]; /* the first that shard i holds; all have a shard */
};

/* Is order[x] the first of its sequence's examples? */
static inline bool shards_first(const struct shards *s, const uint32_t *of_example, size_t x)
{
    uint32_t i = ((const uint32_t *)s->order.data)[x];
    return ((const uint32_t *)s->seen.data)[of_example[i]] == x;
}

/* n examples.  False where memory is out. */
bool shards_cut(struct shards *s, const struct batch_sequences *in, size_t n);
void shards_release(struct shards *s);

#endif
