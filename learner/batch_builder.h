/* batch_builder.h: examples of the log, one by one, into the ragged arrays that a model looks at.
 *
 * Adding copies an example's ids out of its block, so blocks may come and go while a batch fills.
 * Gathering turns ids into rows: each distinct row of a table is looked up, copied and given a
 * gradient once, and everything else becomes indices into those copies.  Ids are told apart before
 * the table is asked (distinct.h), since most of them come more than once.
 *
 * With admission (admission.h) ids that wait for a row have the shared one, and so does whatever
 * follows: it is one row of the batch, with the instances that hold any of them.
 *
 * Equal sequences of a batch are kept once, known by a hash of their content and not by the block
 * that brought them: how examples were cut into blocks must not show in the arithmetic.  Memory
 * grows to the largest batch and stays.  Learner thread. */
#ifndef UNDINE_LEARNER_BATCH_BUILDER_H
#define UNDINE_LEARNER_BATCH_BUILDER_H

#include "base/hash.h"
#include "base/schema.h"
#include "base/workers.h"
#include "featurestore/example_log.h"
#include "learner/distinct.h"
#include "learner/model/batch.h"
#include "learner/table.h"

struct id_list { /* bags of ids, then of rows: one field of all examples, or of all steps */
    uint64_t *key;
    uint32_t *row;    /* (n_keys) after gathering */
    uint32_t *offset; /* (n_bags + 1) */
    size_t n_keys, keys_capacity, n_bags, bags_capacity;
};

struct batch_builder_table {
    struct distinct ids;  /* of the batch; with admission: numbers of rows */
    uint32_t n_rows;      /* U */
    uint32_t *row;        /* (U) number in the table */
    float *instances;     /* (U) c_mj: examples of this batch that hold the id, in whatever place */
    uint32_t *last;       /* (U) the example that last counted, + 1 */
    float *weight, *grad; /* (U, W) W: the table's opt.dim */
    size_t rows_capacity;
};

struct batch_builder_sequences {
    struct id_list step[SCHEMA_STEP_FIELDS_MAX];
    uint32_t n;
    uint32_t *step_offset;   /* (n + 1) */
    uint32_t *of_example;    /* (batch_max) */
    struct hash128 *content; /* (n) */
    uint32_t *slot;          /* (slots) open addressing by content: sequence + 1 */
    uint32_t *of_block;      /* sequence of the block -> sequence + 1 */
    size_t of_block_capacity;
};

struct admission;

struct batch_builder {
    const struct schema *schema; /* borrowed */
    uint32_t batch_max, n;
    uint32_t n_slots; /* of the sequences' hash, a power of two */
    struct id_list field[SCHEMA_FIELDS_MAX];
    struct batch_builder_sequences sequence[SCHEMA_SEQUENCES_MAX];
    struct batch_builder_table table[SCHEMA_TABLES_MAX];
    struct admission *admission; /* borrowed; NULL = every id has a row of its own */
    uint64_t block_seq;          /* block that of_block belongs to; UINT64_MAX = none */
    /* (n) what the loss and the metrics need of each example */
    float *label, *sample_rate;
    uint8_t *kind;         /* enum example_kind */
    bool plain;            /* every one is an EXAMPLE_NEGATIVE or an EXAMPLE_POSITIVE */
    float *shift;          /* -ln(sample_rate), added to the logit for the loss */
    uint64_t *user, *item; /* item: first id of the first candidate field, 0 = none */
    int64_t first_emit_ms, last_emit_ms;
    struct batch batch; /* after gathering */
};

int batch_builder_open(struct batch_builder **out, const struct schema *schema, uint32_t batch_max,
                       struct undine_err *err);
void batch_builder_close(struct batch_builder *b); /* NULL-safe */

/* Add example i of the block (no EXAMPLE_FORGET; n < batch_max).  UNDINE_ECORRUPT where it does not
 * fit the schema; then the builder is good for nothing but clearing. */
int batch_builder_add(struct batch_builder *b, const struct example_block *block, uint32_t i,
                      struct undine_err *err);
/* Fill `batch`, with gradients zeroed and instances counted.  tables: one for each of the schema,
 * which get the new ids.  The workers (NULL = the caller alone) share the tables. */
int batch_builder_gather(struct batch_builder *b, struct table *tables, struct workers *workers,
                         struct undine_err *err);
void batch_builder_clear(struct batch_builder *b);

/* Has an example of the same impression said that example i was not clicked? */
static inline bool batch_builder_revises(const struct batch_builder *b, uint32_t i)
{
    return !b->plain && example_kind_revises((enum example_kind)b->kind[i]);
}

#endif
