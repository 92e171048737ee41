/* dropout.h: dropout of ids: a share of an example's ids is left out while it is trained.
 *
 * One of those that DIN compares MBA with (arXiv 1706.06978v4, sec. 6.5, Table 4: half of the
 * feature ids of each sample), inverted as usual: an id in a place is left out with probability
 * p, else its row counts 1 / (1 - p) times, so that the expected input is the one without dropout,
 * and prediction needs no factor.  An id that is left out is a row of zeros: a mean divides by all
 * ids of its bag, and a step stays in its sequence.
 *
 * Whether an id is left out follows from a hash of (seed, number of the example, place, id): from
 * the example, and not from what stands beside it in a batch, the cut of batches or blocks, threads
 * or restarts.  Examples therefore do not share their sequences here, each has one of its own.
 *
 *   h = m(m(m(seed) ^ example) ^ place)       m: hash_mix64
 *   left out where (m(h ^ id) >> 11) / 2^53 < p
 *   place: number f of a field; of field i of step t of sequence s, all from 0 and t the oldest
 *          first: (s + 1) 2^40 + t 2^8 + i
 *
 * Memory grows to the largest batch and stays.  Learner thread. */
#ifndef UNDINE_LEARNER_DROPOUT_H
#define UNDINE_LEARNER_DROPOUT_H

#include "base/err.h"
#include "base/schema.h"
#include "learner/batch_builder.h"
#include "learner/model/batch.h"

#include <stdbool.h>

#define DROPOUT_RATE_MAX 0.95

struct dropout_list {
    uint32_t *row;    /* of the thinned bags */
    uint32_t *offset; /* steps: (B T + 1) */
    size_t rows_capacity, offsets_capacity;
};

struct dropout_rows {
    float *weight, *grad; /* (U + 1, W) weights divided by 1 - p; the last row is zeros */
    size_t capacity;
};

struct dropout {
    const struct schema *schema; /* borrowed */
    double rate;                 /* p */
    uint64_t seed;
    uint32_t batch_max;
    struct dropout_rows table[SCHEMA_TABLES_MAX];
    struct dropout_list field[SCHEMA_FIELDS_MAX];
    struct dropout_list step[SCHEMA_SEQUENCES_MAX][SCHEMA_STEP_FIELDS_MAX];
    uint32_t *step_offset[SCHEMA_SEQUENCES_MAX]; /* (batch_max + 1) */
    uint32_t *own;                               /* (batch_max) example -> its sequence: itself */
    struct batch batch;                          /* thinned */
};

/* UNDINE_ECONFIG: the rate is not in 0..DROPOUT_RATE_MAX. */
int dropout_check(double rate, struct undine_err *err);
/* With rate 0 nothing is allocated, and there is nothing to thin. */
int dropout_open(struct dropout *d, const struct schema *schema, double rate, uint64_t seed,
                 uint32_t batch_max, struct undine_err *err);
void dropout_release(struct dropout *d); /* NULL-safe, and fine on a zeroed one */

/* Is the id in this place of the example left out? */
bool dropout_field(const struct dropout *d, uint64_t example_seq, uint32_t field, uint64_t id);
/* step: from 0, oldest first; i: number of the field in the sequence. */
bool dropout_step(const struct dropout *d, uint64_t example_seq, uint32_t sequence, uint32_t step,
                  uint32_t i, uint64_t id);

/* Fill d->batch with what is left of a gathered batch, gradients zeroed; its first example has the
 * number first_seq, and the others follow.  Borrows from the builder. */
int dropout_thin(struct dropout *d, const struct batch_builder *b, uint64_t first_seq,
                 struct undine_err *err);
/* Add the gradient that d->batch got to that of the builder's batch. */
void dropout_add_gradient(const struct dropout *d, const struct batch_builder *b);

#endif
