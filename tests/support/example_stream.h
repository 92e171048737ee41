/* example_stream.h: examples in memory, cut into blocks anywhere, for tests and benchmarks of the
 * learner that need no store. */
#ifndef UNDINE_TESTS_EXAMPLE_STREAM_H
#define UNDINE_TESTS_EXAMPLE_STREAM_H

#include "base/arena.h"
#include "base/random.h"
#include "featurestore/example_log.h"

struct example_stream {
    const struct schema *schema;
    struct arena memory;
    struct example *examples;
    struct example_sequence *sequences;
    uint32_t n, n_sequences;
    size_t examples_capacity, sequences_capacity;
};

void example_stream_init(struct example_stream *s, const struct schema *schema);
void example_stream_release(struct example_stream *s);

/* One step: its ids, counts[i] of field i of the sequence. */
struct example_step {
    const uint8_t *counts;
    const uint64_t *ids;
};
/* Add a sequence of schema sequence `sequence`; returns its number. */
uint32_t example_stream_sequence(struct example_stream *s, uint32_t sequence,
                                 const struct example_step *steps, uint32_t n_steps);
/* Add an example; counts, ids and sequence are copied from *e (sequence: numbers of this stream).
 */
struct example *example_stream_add(struct example_stream *s, const struct example *e);
/* Examples [from, to) as a block; borrowed. */
struct example_block example_stream_block(const struct example_stream *s, uint32_t from,
                                          uint32_t to);

/* Item and category, shared by the candidate and the sequence `clicks`; a user's own id; a
 * multi-hot context field `tags`. */
enum { STREAM_ITEM, STREAM_CATEGORY, STREAM_USER, STREAM_TAGS, STREAM_FIELDS };
struct schema example_stream_schema(uint32_t dim);

/* n examples over that schema with planted interests: a user has a history of n_steps items; the
 * candidate's category is one of the history's in half of the cases, and the label says whether it
 * is, flipped with probability `noise`.  Some histories hold an item twice, some are empty. */
struct example_stream_plan {
    uint64_t seed;
    uint32_t n, n_users, n_steps, n_categories, items_a_category;
    double noise;
    bool drop_users; /* leave the user id field empty */
};
void example_stream_plant(struct example_stream *s, const struct example_stream_plan *plan);

#endif
