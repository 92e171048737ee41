/* example_builder.h: the block of the example log that is in the making.  Ingest thread only. */
#ifndef UNDINE_FEATURESTORE_EXAMPLE_BUILDER_H
#define UNDINE_FEATURESTORE_EXAMPLE_BUILDER_H

#include "featurestore/example_log.h"

/* A full block is cut, so that a reader's memory is bounded. */
enum { EXAMPLE_BLOCK_EXAMPLES_MAX = 2048, EXAMPLE_BLOCK_BYTES_MAX = 4 << 20 };

struct example_slot;
struct example_builder {
    const struct schema *schema;
    uint64_t schema_digest;
    uint32_t n_examples, n_sequences;
    struct writer table, words, examples; /* sections of the block */
    struct example_slot *slots;           /* sequences by content */
    uint32_t epoch;                       /* slots of an older one are free */
};

int example_builder_init(struct example_builder *b, const struct schema *schema,
                         struct undine_err *err);
void example_builder_release(struct example_builder *b);
void example_builder_clear(struct example_builder *b);

/* views may be NULL: no sequence has a step.  An EXAMPLE_FORGET gets the id of its user in the
 * fields that hold the user id. */
int example_builder_add(struct example_builder *b, const struct event *e, enum example_kind kind,
                        int64_t emit_ms, float sample_rate, const struct users_view *views,
                        struct undine_err *err);
bool example_builder_full(const struct example_builder *b);
/* The block as it is stored, appended to out. */
int example_builder_encode(const struct example_builder *b, uint64_t first_seq, uint32_t shard,
                           struct writer *out, struct undine_err *err);

/* The version that encode writes and example_block_parse reads, and sizes of fixed parts. */
enum {
    EXAMPLE_BLOCK_VERSION = 1,
    EXAMPLE_BLOCK_HEADER_BYTES = 40,
    EXAMPLE_BLOCK_SEQUENCE_BYTES = 16,
    EXAMPLE_BLOCK_EXAMPLE_BYTES = 40
};

#endif
