/* Stored values of the family `example`.  Property: all that a parsed block points to lies inside
 * its bytes and within the schema's bounds, and a block that is refused has no examples. */
#include "featurestore/example_log.h"
#include "featurestore/steps.h"
#include "tests/support/store_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(const struct example_block *b, const void *at, size_t bytes)
{
    const uint8_t *p = at;
    return bytes == 0 || (p >= b->bytes.data && p + bytes <= b->bytes.data + b->bytes.len);
}

static void check_example(const struct example_block *b, const struct schema *schema,
                          const struct example *e)
{
    uint32_t n_ids = 0;
    UNDINE_ASSERT(e->kind < EXAMPLE_KINDS && e->sample_rate > 0.0F && e->sample_rate <= 1.0F);
    UNDINE_ASSERT(inside(b, e->counts, schema->n_fields));
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        UNDINE_ASSERT(e->counts[f] <= schema->fields[f].values_max);
        n_ids += e->counts[f];
    }
    UNDINE_ASSERT(inside(b, e->ids, n_ids * sizeof *e->ids));
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        UNDINE_ASSERT(e->sequence[s] < b->n_sequences);
        const struct example_sequence *q = &b->sequences[e->sequence[s]];
        UNDINE_ASSERT(q->n_steps <= schema->sequences[s].length);
        UNDINE_ASSERT(inside(b, q->words, q->n_words * sizeof *q->words));
        const uint64_t *at = q->words;
        for (uint32_t i = 0; i < q->n_steps; i++) {
            UNDINE_ASSERT(at[1] >> 8 * schema->sequences[s].n_fields == 0);
            at += step_words(at);
        }
        UNDINE_ASSERT(at == q->words + q->n_words);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schema schema;
    struct example_block b;
    fixture_schema(&schema, 10);
    example_block_init(&b);
    writer_bytes(&b.bytes, data, size);
    int rc = example_block_parse(&b, &schema, NULL);
    UNDINE_ASSERT(rc == UNDINE_OK || b.n_examples == 0);
    for (uint32_t i = 0; i < b.n_examples; i++) {
        check_example(&b, &schema, &b.examples[i]);
    }
    example_block_release(&b);
    return 0;
}
