/* request.h: a request in names and values becomes the batch that the model looks at.
 *
 * One user, one context, n candidates: a sequence is kept once, a row is looked up once however
 * often its id occurs.  Values become ids as the decoder makes them: empty ones are missing, equal
 * ones count once, those beyond a field's values_max are dropped; a step without any id is no step;
 * of a sequence only the newest L steps count.  Ids that the version has not learned get the vector
 * with which the trainer would start them.
 *
 * Memory grows to the largest request and stays.  One thread at a time. */
#ifndef UNDINE_SCORER_REQUEST_H
#define UNDINE_SCORER_REQUEST_H

#include "learner/model/batch.h"
#include "learner/model/version_chain.h"
#include "scorer/undine.h"

enum { REQUEST_CANDIDATES_MAX = 1 << 20 };

struct request_bags { /* bag i holds row[offset[i]..offset[i+1]), rows of request_table */
    uint32_t *offset, *row;
    size_t n_bags, n_rows, bags_capacity, rows_capacity;
};

struct request_table { /* distinct ids of one table, in the order of their first occurrence */
    uint64_t *key;     /* (n_rows) */
    float *weight;     /* (n_rows, width) */
    uint32_t *slot;    /* (mask + 1) open addressing by id: row + 1 */
    size_t n_rows, mask, rows_capacity, slots_capacity, weight_capacity;
};

struct request_sequence {
    struct request_bags step[SCHEMA_STEP_FIELDS_MAX];
    uint32_t step_offset[2];
};

/* Steps of one sequence whose ids are hashes already, as the store of users and the example log
 * hold them: a step is words: its time, a word of counts (one byte a field of the sequence), the
 * ids. */
struct request_steps {
    const uint64_t *words; /* oldest step first */
    uint32_t n_steps;      /* not above the sequence's length */
};

/* Where in a request the fault lies that UNDINE_EINVAL is about.  Borrowed from it. */
struct request_fault {
    const char *part; /* "user", "context", "candidates", "sequences"; NULL = the whole */
    const char *sequence, *field; /* NULL = not one */
    size_t item;                  /* candidate or step, SIZE_MAX = not one */
};

/* What the last build left out. */
struct request_cut {
    uint64_t values, steps; /* as undine_session_cut counts them */
};

struct request {
    struct request_bags field[SCHEMA_FIELDS_MAX];
    struct request_sequence sequence[SCHEMA_SEQUENCES_MAX];
    struct request_table table[SCHEMA_TABLES_MAX];
    uint32_t *zero; /* (B): every candidate sees sequence 0 */
    size_t zero_capacity;
    const struct schema *schema; /* of the request in hand */
    struct batch batch;
    struct request_fault fault; /* of the last build that failed */
    struct request_cut cut;
};

/* Fill r->batch for the version; it stays until the next call.  steps: NULL = the request's own
 * sequences, else (n_sequences of the version's schema) and `in` has none.  UNDINE_EINVAL names
 * what is wrong with the request, and r->fault where; UNDINE_ENOMEM. */
int request_build(struct request *r, const struct version_chain *version,
                  const struct undine_request *in, const struct request_steps *steps,
                  struct undine_err *err);
void request_release(struct request *r); /* fine on a zeroed one */

#endif
