#include "featurestore/example_builder.h"

#include "base/hash.h"

#include <math.h>
#include <stdlib.h>

enum { SLOTS = 2 * EXAMPLE_BLOCK_EXAMPLES_MAX * SCHEMA_SEQUENCES_MAX };
_Static_assert((SLOTS & (SLOTS - 1)) == 0, "a power of two");

struct example_slot {
    uint64_t hash;
    uint32_t epoch; /* of the builder when it was taken */
    uint32_t index; /* of the sequence in the block */
    uint32_t sequence;
    uint32_t at_word, n_words;
};

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "example log: out of memory");
}

int example_builder_init(struct example_builder *b, const struct schema *schema,
                         struct undine_err *err)
{
    *b = (struct example_builder){
        .schema = schema, .schema_digest = schema_data_digest(schema), .epoch = 1};
    b->slots = calloc(SLOTS, sizeof *b->slots);
    return b->slots == NULL ? no_memory(err) : UNDINE_OK;
}

void example_builder_release(struct example_builder *b)
{
    writer_release(&b->table);
    writer_release(&b->words);
    writer_release(&b->examples);
    free(b->slots);
    b->slots = NULL;
}

void example_builder_clear(struct example_builder *b)
{
    b->n_examples = 0;
    b->n_sequences = 0;
    writer_clear(&b->table);
    writer_clear(&b->words);
    writer_clear(&b->examples);
    b->epoch++;
    if (b->epoch == 0) {
        memset(b->slots, 0, SLOTS * sizeof *b->slots);
        b->epoch = 1;
    }
}

bool example_builder_full(const struct example_builder *b)
{
    return b->n_examples >= EXAMPLE_BLOCK_EXAMPLES_MAX ||
           b->table.len + b->words.len + b->examples.len >= EXAMPLE_BLOCK_BYTES_MAX;
}

/* The slot of this content, or the free one where it belongs.  Content is compared, not addresses:
 * a user's steps may move while they stay the same, and change while they stay. */
static struct example_slot *find_slot(const struct example_builder *b, uint64_t hash,
                                      uint32_t sequence, const struct users_view *v)
{
    for (size_t i = hash & (SLOTS - 1);; i = (i + 1) & (SLOTS - 1)) {
        struct example_slot *s = &b->slots[i];
        if (s->epoch != b->epoch) {
            return s;
        }
        if (s->hash == hash && s->sequence == sequence && s->n_words == v->n_words &&
            (v->n_words == 0 || memcmp(b->words.data + s->at_word * sizeof(uint64_t), v->words,
                                       v->n_words * sizeof(uint64_t)) == 0)) {
            return s;
        }
    }
}

/* Index of the view's steps among the block's sequences, kept once. */
static uint32_t take_sequence(struct example_builder *b, uint32_t sequence,
                              const struct users_view *v)
{
    size_t bytes = v->n_words * sizeof(uint64_t);
    uint64_t hash = hash_bytes_seeded(v->words != NULL ? v->words : (const uint64_t *)&sequence,
                                      bytes, sequence);
    struct example_slot *s = find_slot(b, hash, sequence, v);
    if (s->epoch != b->epoch) {
        *s = (struct example_slot){.hash = hash,
                                   .epoch = b->epoch,
                                   .index = b->n_sequences++,
                                   .sequence = sequence,
                                   .at_word = (uint32_t)(b->words.len / sizeof(uint64_t)),
                                   .n_words = (uint32_t)v->n_words};
        const uint32_t entry[EXAMPLE_BLOCK_SEQUENCE_BYTES / sizeof(uint32_t)] = {
            sequence, v->n_steps, (uint32_t)v->n_words, 0};
        writer_bytes(&b->table, entry, sizeof entry);
        writer_bytes(&b->words, v->words, bytes);
    }
    return s->index;
}

/* Counts and ids that an example of a forgotten user has. */
static void forget_fields(const struct schema *schema, const struct event *e,
                          uint8_t counts[SCHEMA_FIELDS_MAX], uint64_t ids[SCHEMA_FIELDS_MAX],
                          uint32_t *n_ids)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        counts[f] = schema->fields[f].user_id ? 1 : 0;
        if (schema->fields[f].user_id) {
            uint64_t seed = schema->tables[schema->fields[f].table].hash_seed;
            ids[n++] = hash_feature(seed, event_user(e), e->user_len);
        }
    }
    *n_ids = n;
}

static uint32_t sum(const uint8_t *counts, uint32_t n)
{
    uint32_t s = 0;
    for (uint32_t i = 0; i < n; i++) {
        s += counts[i];
    }
    return s;
}

static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

int example_builder_add(struct example_builder *b, const struct event *e, enum example_kind kind,
                        int64_t emit_ms, float sample_rate, const struct users_view *views,
                        struct undine_err *err)
{
    UNDINE_ASSERT(sample_rate > 0.0F && sample_rate <= 1.0F);
    UNDINE_ASSERT(kind == EXAMPLE_FORGET || (e->n_fields == b->schema->n_fields && views != NULL));
    const struct users_view none = {.words = NULL};
    uint32_t sequence[SCHEMA_SEQUENCES_MAX], n_fields = b->schema->n_fields, n_ids;
    for (uint32_t s = 0; s < b->schema->n_sequences; s++) {
        sequence[s] = take_sequence(b, s, views != NULL ? &views[s] : &none);
    }
    uint8_t forget_counts[SCHEMA_FIELDS_MAX];
    uint64_t forget_ids[SCHEMA_FIELDS_MAX];
    const uint8_t *counts = forget_counts;
    const uint64_t *ids = forget_ids;
    if (kind == EXAMPLE_FORGET) {
        forget_fields(b->schema, e, forget_counts, forget_ids, &n_ids);
    } else {
        counts = event_counts(e);
        ids = event_ids(e);
        n_ids = sum(counts, n_fields);
    }
    size_t sequence_bytes = b->schema->n_sequences * sizeof sequence[0];
    struct {
        uint64_t impression, user;
        int64_t time_ms, emit_ms;
        float sample_rate;
        uint32_t kind;
    } fixed = {e->id, e->user, e->time_ms, emit_ms, sample_rate, (uint32_t)kind};
    _Static_assert(sizeof fixed == EXAMPLE_BLOCK_EXAMPLE_BYTES, "no padding");
    uint8_t *p = writer_extend(&b->examples, sizeof fixed + padded(sequence_bytes) +
                                                 padded(n_fields) + n_ids * sizeof *ids);
    if (p == NULL || b->table.bad || b->words.bad) {
        return no_memory(err);
    }
    memcpy(p, &fixed, sizeof fixed);
    p += sizeof fixed;
    memcpy(p, sequence, sequence_bytes);
    p += padded(sequence_bytes);
    memcpy(p, counts, n_fields);
    p += padded(n_fields);
    memcpy(p, ids, n_ids * sizeof *ids);
    b->n_examples++;
    return UNDINE_OK;
}

int example_builder_encode(const struct example_builder *b, uint64_t first_seq, uint32_t shard,
                           struct writer *out, struct undine_err *err)
{
    writer_u32(out, EXAMPLE_BLOCK_VERSION);
    writer_u32(out, shard);
    writer_u64(out, first_seq);
    writer_u32(out, b->n_examples);
    writer_u32(out, b->n_sequences);
    writer_u32(out, b->schema->n_fields);
    writer_u32(out, b->schema->n_sequences);
    writer_u64(out, b->schema_digest);
    writer_bytes(out, b->table.data, b->table.len);
    writer_bytes(out, b->words.data, b->words.len);
    writer_bytes(out, b->examples.data, b->examples.len);
    return out->bad ? no_memory(err) : UNDINE_OK;
}
