/* sequence.h: one behaviour sequence in the model: its steps' vectors e, a weight for each step,
 * and the pooled vector v = sum of weight times e, which goes into x.
 *
 * base: the weights are 1 (sum) or 1/H (mean).  din: an activation unit's number for the step and
 * the candidate, of which the query is made by concatenating the pooled candidate fields that the
 * sequence names; then normalised: not at all (the paper), by softmax over the history (of a,
 * or of a/sqrt(E)), by 1/sqrt(E), by 1/H. An empty history gives v = 0 and no gradient. */
#ifndef UNDINE_LEARNER_MODEL_SEQUENCE_H
#define UNDINE_LEARNER_MODEL_SEQUENCE_H

#include "learner/model/batch.h"
#include "learner/model/cross.h"
#include "learner/model/low.h"
#include "learner/model/unit.h"

struct sequence {
    bool din;
    enum schema_pool base_pool;
    enum model_normalize normalize;
    uint32_t e;
    size_t e_stride;
    uint32_t n_fields;
    bool tables_apart; /* no two of its fields are of one table */
    struct {
        uint32_t table, dim;
        enum schema_pool pool;
        size_t x; /* where the candidate's pooled field stands in x */
    } field[SCHEMA_STEP_FIELDS_MAX];
    size_t x;                   /* where v goes in x */
    struct cross cross;         /* what x holds of the sequence beside v */
    struct unit unit;           /* din */
    const struct low_unit *low; /* the unit in integers, used in its place; NULL = none */
};

struct sequence_scratch {
    struct buffer e, de;  /* (T, e_stride) */
    struct buffer q, dq;  /* (B, e_stride) */
    struct buffer v;      /* (e_stride) of each worker; backward: its gradient */
    struct buffer pair;   /* size_t (B+1) */
    struct buffer a, da;  /* (pairs) weights */
    struct buffer sum;    /* (sequences, e_stride) of the steps; backward: its gradient */
    struct shards shards; /* backward */
    bool rows_done;       /* backward: the steps' gradients are in those of the rows already */
    struct unit_scratch unit;
    struct low_unit_scratch low;
};

/* field_x: where each field of the schema stands in x.  Declares "unit.<name>.…" for din. */
void sequence_declare(struct sequence *q, struct params *p, const struct schema *schema,
                      uint32_t which, const size_t *field_x, size_t x,
                      const struct model_options *opt);
void sequence_init(const struct sequence *q, const struct params *p, real *values, uint64_t seed);
void sequence_scratch_release(struct sequence_scratch *s);

/* x (B, x_stride): reads the candidate's fields, writes v and what crosses it (cross.h).  False
 * where memory is out. */
bool sequence_forward(const struct sequence *q, struct sequence_scratch *s, const struct pass *pass,
                      const struct batch *batch, const struct batch_sequences *in, real *x,
                      size_t x_stride);
/* x as forward left it.  dx (B, x_stride): reads the columns of the sequence, of which v's are
 * changed; ADDS what the query got into the candidate's fields; ADDS into the gradients of the
 * unit, and keeps those of the steps for sequence_backward_rows. */
bool sequence_backward(const struct sequence *q, struct sequence_scratch *s,
                       const struct pass *pass, const struct batch *batch,
                       const struct batch_sequences *in, const real *x, real *dx, size_t x_stride);
/* Then: ADDS into the gradients of one table, and touches no other.  Any thread.  (With one worker
 * sequence_backward has done so already where it could, and nothing is left to add.) */
void sequence_backward_rows(const struct sequence *q, const struct sequence_scratch *s,
                            const struct batch *batch, const struct batch_sequences *in,
                            uint32_t table);

#endif
