#include "learner/model/shards.h"

#include <string.h>

enum { SHARD_STEPS_MIN = 512 /* below it the shards' own sums cost more than they save */ };

void shards_release(struct shards *s)
{
    buffer_release(&s->order);
    buffer_release(&s->seen);
}

static void sort_by_sequence(struct shards *s, const struct batch_sequences *in, size_t n)
{
    uint32_t *order = s->order.data;
    uint32_t *seen = s->seen.data; /* while filling: where the next example of a sequence goes */
    memset(seen, 0, ((size_t)in->n + 1) * sizeof *seen);
    for (size_t i = 0; i < n; i++) {
        seen[in->of_example[i] + 1]++;
    }
    for (uint32_t k = 0; k < in->n; k++) {
        seen[k + 1] += seen[k];
    }
    for (size_t i = 0; i < n; i++) {
        order[seen[in->of_example[i]]++] = (uint32_t)i;
    }
    memmove(seen + 1, seen, in->n * sizeof *seen);
    seen[0] = 0;
}

/* Steps that the examples of sequence k look at, and the steps themselves. */
static size_t work_of(const struct shards *s, const struct batch_sequences *in, uint32_t k)
{
    const uint32_t *seen = s->seen.data;
    size_t steps = in->step_offset[k + 1] - in->step_offset[k];
    return steps * (1 + (size_t)(seen[k + 1] - seen[k]));
}

bool shards_cut(struct shards *s, const struct batch_sequences *in, size_t n)
{
    if (!buffer_reserve(&s->order, n, 1, sizeof(uint32_t)) ||
        !buffer_reserve(&s->seen, (size_t)in->n + 1, 1, sizeof(uint32_t))) {
        return false;
    }
    sort_by_sequence(s, in, n);
    size_t whole = 0, held = 0;
    for (uint32_t k = 0; k < in->n; k++) {
        whole += work_of(s, in, k);
    }
    size_t share = (whole + SHARDS_MAX - 1) / SHARDS_MAX;
    share = share < SHARD_STEPS_MIN ? SHARD_STEPS_MIN : share;
    s->n = 0;
    s->first[0] = s->sequence[0] = 0;
    for (uint32_t k = 0; k < in->n; k++) {
        held += work_of(s, in, k);
        if (held >= share || k + 1 == in->n) {
            s->n += s->n < SHARDS_MAX; /* what has no work after the last goes with it */
            s->first[s->n] = ((const uint32_t *)s->seen.data)[k + 1];
            s->sequence[s->n] = k + 1;
            held = 0;
        }
    }
    return true;
}
