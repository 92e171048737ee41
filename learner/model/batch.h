/* batch.h: what a model looks at: ragged, no padding anywhere, so no mask that could be wrong.
 *
 * The rows that a batch touches are gathered once per table (unique ids), and everything else is
 * indices into them.  A bag is the ids of one field of one example, or of one field of one step;
 * bags are stored as offsets and row indices.  A sequence is kept once and may serve many examples
 * (training: one impression each; scoring: one user, hundreds of candidates).
 *
 * All arrays are borrowed by the model for the call.  Built by learner/batch_builder (training) and
 * scorer/ (scoring).  Letters: B examples, T steps of all sequences together, W numbers of a row.
 */
#ifndef UNDINE_LEARNER_MODEL_BATCH_H
#define UNDINE_LEARNER_MODEL_BATCH_H

#include "base/schema.h"
#include "learner/model/real.h"

#include <stddef.h>
#include <stdint.h>

struct batch_bags {
    const uint32_t *offset; /* (n+1) bag i holds rows[offset[i]..offset[i+1]) */
    const uint32_t *row;    /* index into the rows of the field's table */
};

struct batch_table {
    uint32_t n_rows;    /* U unique ids of this batch */
    uint32_t width;     /* W numbers of a row: model_row_width */
    const real *weight; /* (U, W) */
    real *grad;         /* (U, W) the backward pass ADDS into it; NULL when scoring */
};

struct batch_sequences {
    uint32_t n;                  /* sequences kept */
    const uint32_t *step_offset; /* (n+1) steps of sequence k, oldest first */
    struct batch_bags step[SCHEMA_STEP_FIELDS_MAX]; /* bag t = step t of all sequences */
    const uint32_t *of_example;  /* (B) which sequence an example sees */
};

struct batch {
    uint32_t n; /* B */
    struct batch_table table[SCHEMA_TABLES_MAX];
    struct batch_bags field[SCHEMA_FIELDS_MAX]; /* bag b = example b */
    struct batch_sequences sequence[SCHEMA_SEQUENCES_MAX];
};

#endif
