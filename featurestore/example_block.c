/* A block of the example log as a reader sees it: every byte is checked before any is used. */
#include "base/hash.h"
#include "featurestore/example_builder.h"
#include "featurestore/steps.h"

#include <stdlib.h>

struct block_header {
    uint32_t n_fields, n_sequences; /* of the schema */
    uint64_t schema_digest;
};

void example_block_init(struct example_block *b)
{
    *b = (struct example_block){0};
}

void example_block_release(struct example_block *b)
{
    if (b != NULL) {
        writer_release(&b->bytes);
        free(b->examples);
        free(b->sequences);
        *b = (struct example_block){0};
    }
}

static int damaged(struct undine_err *err, const char *what)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "example block: %s", what);
}

/* Arrays for what the header says, which the block's length bounds. */
static int make_room(struct example_block *b, uint32_t n_examples, struct undine_err *err)
{
    if (n_examples > b->examples_capacity) {
        struct example *examples = realloc(b->examples, n_examples * sizeof *examples);
        if (examples == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "example block: out of memory");
        }
        b->examples = examples;
        b->examples_capacity = n_examples;
    }
    if (b->n_sequences > b->sequences_capacity) {
        struct example_sequence *sequences =
            realloc(b->sequences, b->n_sequences * sizeof *sequences);
        if (sequences == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "example block: out of memory");
        }
        b->sequences = sequences;
        b->sequences_capacity = b->n_sequences;
    }
    return UNDINE_OK;
}

static int parse_header(struct example_block *b, struct reader *r, const struct schema *schema,
                        struct undine_err *err)
{
    uint32_t version = reader_u32(r);
    if (!r->bad && (version & 0xff) > EXAMPLE_BLOCK_VERSION) {
        return undine_err_version(err, "example block", version & 0xff, EXAMPLE_BLOCK_VERSION);
    }
    b->shard = reader_u32(r);
    b->first_seq = reader_u64(r);
    uint32_t n_examples = reader_u32(r), n_sequences = reader_u32(r);
    struct block_header h = {.n_fields = reader_u32(r), .n_sequences = reader_u32(r)};
    h.schema_digest = reader_u64(r);
    if (r->bad || version != EXAMPLE_BLOCK_VERSION) {
        return damaged(err, "the header is damaged");
    }
    if (h.n_fields != schema->n_fields || h.n_sequences != schema->n_sequences ||
        h.schema_digest != schema_data_digest(schema)) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "example block: was written under another schema (%u fields, %u "
                              "sequences, digest %016llx)",
                              h.n_fields, h.n_sequences, (unsigned long long)h.schema_digest);
    }
    if (n_examples == 0 || n_examples > reader_left(r) / EXAMPLE_BLOCK_EXAMPLE_BYTES ||
        n_sequences > reader_left(r) / EXAMPLE_BLOCK_SEQUENCE_BYTES ||
        b->first_seq > UINT64_MAX - n_examples) {
        return damaged(err, "its length does not fit its header");
    }
    b->n_examples = n_examples;
    b->n_sequences = n_sequences;
    return UNDINE_OK;
}

/* Sequences: a table of sizes, then the words.  Which sequence of the schema each one is stays in
 * the table; returns it for the examples to be checked against. */
static int parse_sequences(struct example_block *b, struct reader *r, const struct schema *schema,
                           const uint8_t **table, struct undine_err *err)
{
    *table = reader_bytes(r, (size_t)b->n_sequences * EXAMPLE_BLOCK_SEQUENCE_BYTES);
    if (*table == NULL) {
        return damaged(err, "the table of sequences is cut off");
    }
    struct reader t = reader_of(*table, (size_t)b->n_sequences * EXAMPLE_BLOCK_SEQUENCE_BYTES);
    for (uint32_t i = 0; i < b->n_sequences; i++) {
        uint32_t sequence = reader_u32(&t), n_steps = reader_u32(&t), n_words = reader_u32(&t);
        uint32_t zero = reader_u32(&t);
        const uint8_t *words = reader_bytes(r, (size_t)n_words * sizeof(uint64_t));
        if (sequence >= schema->n_sequences || zero != 0 || words == NULL ||
            n_steps > schema->sequences[sequence].length) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "example block: sequence %u of %u is damaged", i, b->n_sequences);
        }
        const uint64_t *steps = (const uint64_t *)(const void *)words;
        if (!steps_valid(schema, sequence, steps, n_words, n_steps)) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "example block: sequence %u of %u has a damaged step", i,
                                  b->n_sequences);
        }
        b->sequences[i] =
            (struct example_sequence){.words = steps, .n_words = n_words, .n_steps = n_steps};
    }
    return UNDINE_OK;
}

/* Bytes between a part's end and its padded end must be zero. */
static const uint8_t *read_padded(struct reader *r, size_t bytes)
{
    const uint8_t *p = reader_bytes(r, (bytes + 7) & ~(size_t)7);
    for (size_t i = bytes; p != NULL && i % 8 != 0; i++) {
        if (p[i] != 0) {
            return NULL;
        }
    }
    return p;
}

/* The indices of the example's sequences: each one must be of the schema's sequence it stands for.
 */
static bool parse_indices(struct example *e, struct reader *r, const struct example_block *b,
                          const struct schema *schema, const uint8_t *table)
{
    const uint8_t *p = read_padded(r, schema->n_sequences * sizeof e->sequence[0]);
    if (p == NULL) {
        return false;
    }
    memset(e->sequence, 0, sizeof e->sequence);
    memcpy(e->sequence, p, schema->n_sequences * sizeof e->sequence[0]);
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        uint32_t of;
        if (e->sequence[s] >= b->n_sequences) {
            return false;
        }
        memcpy(&of, table + (size_t)e->sequence[s] * EXAMPLE_BLOCK_SEQUENCE_BYTES, sizeof of);
        if (of != s) {
            return false;
        }
    }
    return true;
}

static bool parse_fields(struct example *e, struct reader *r, const struct schema *schema)
{
    uint32_t n_ids = 0;
    e->counts = read_padded(r, schema->n_fields);
    if (e->counts == NULL) {
        return false;
    }
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        if (e->counts[f] > schema->fields[f].values_max) {
            return false;
        }
        n_ids += e->counts[f];
    }
    const uint8_t *ids = reader_bytes(r, n_ids * sizeof *e->ids);
    e->ids = (const uint64_t *)(const void *)ids;
    return ids != NULL;
}

static bool rate_valid(float rate, uint32_t kind)
{
    bool whole = kind == EXAMPLE_FNW_NEGATIVE || kind == EXAMPLE_FNW_POSITIVE;
    return whole ? rate == 1.0F : rate > 0.0F && rate <= 1.0F;
}

static bool parse_example(struct example *e, struct reader *r, const struct example_block *b,
                          const struct schema *schema, const uint8_t *table, uint32_t *kind)
{
    e->impression = reader_u64(r);
    e->user = reader_u64(r);
    e->time_ms = reader_i64(r);
    e->emit_ms = reader_i64(r);
    e->sample_rate = reader_f32(r);
    *kind = reader_u32(r);
    e->kind = (uint8_t)*kind;
    return !r->bad && *kind < EXAMPLE_KINDS && rate_valid(e->sample_rate, *kind) &&
           parse_indices(e, r, b, schema, table) && parse_fields(e, r, schema);
}

static int damaged_example(uint64_t seq, uint32_t kind, struct undine_err *err)
{
    if (kind >= EXAMPLE_KINDS) {
        return undine_err_set(
            err, UNDINE_ECORRUPT,
            "example block: example %llu is of kind %u, which is no label: expected 0..%d",
            (unsigned long long)seq, kind, EXAMPLE_KINDS - 1);
    }
    return undine_err_set(err, UNDINE_ECORRUPT, "example block: example %llu is damaged",
                          (unsigned long long)seq);
}

int example_block_parse(struct example_block *b, const struct schema *schema,
                        struct undine_err *err)
{
    struct reader r = reader_of(b->bytes.data, b->bytes.len);
    const uint8_t *table = NULL;
    b->n_examples = b->n_sequences = 0;
    int rc = parse_header(b, &r, schema, err);
    uint32_t n_examples = b->n_examples;
    b->n_examples = 0; /* none is there until all are */
    if (rc == UNDINE_OK) {
        rc = make_room(b, n_examples, err);
    }
    if (rc == UNDINE_OK) {
        rc = parse_sequences(b, &r, schema, &table, err);
    }
    int64_t emit_ms = INT64_MIN;
    for (uint32_t i = 0; rc == UNDINE_OK && i < n_examples; i++) {
        struct example *e = &b->examples[i];
        uint32_t kind = 0;
        if (!parse_example(e, &r, b, schema, table, &kind) || e->emit_ms < emit_ms) {
            rc = damaged_example(b->first_seq + i, kind, err);
        }
        emit_ms = e->emit_ms;
    }
    if (rc == UNDINE_OK && reader_left(&r) > 0) {
        rc = damaged(err, "bytes are left behind the last example");
    }
    b->n_examples = rc == UNDINE_OK ? n_examples : 0;
    return rc;
}

uint64_t example_block_chain(const struct example_block *b, const struct schema *schema, uint32_t i,
                             uint64_t before)
{
    const struct example *e = &b->examples[i];
    uint32_t rate;
    memcpy(&rate, &e->sample_rate, sizeof rate);
    const uint64_t head[6] = {e->impression,        e->user, (uint64_t)e->time_ms,
                              (uint64_t)e->emit_ms, e->kind, rate};
    size_t n_ids = 0;
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        n_ids += e->counts[f];
    }
    uint64_t h = hash_bytes_seeded(head, sizeof head, before);
    h = hash_bytes_seeded(e->counts, schema->n_fields, h);
    h = hash_bytes_seeded(e->ids, n_ids * sizeof *e->ids, h);
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        const struct example_sequence *q = &b->sequences[e->sequence[s]];
        h = hash_bytes_seeded(q->words, q->n_words * sizeof *q->words, h);
    }
    return h;
}
