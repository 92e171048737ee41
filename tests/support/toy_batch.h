/* toy_batch.h: a small schema and random ragged batches of it, for tests and benches of the model.
 * Needs real.h's build flags of the library it is linked with. */
#ifndef UNDINE_TESTS_SUPPORT_TOY_BATCH_H
#define UNDINE_TESTS_SUPPORT_TOY_BATCH_H

#include "base/random.h"
#include "learner/model/batch.h"

#include <stdbool.h>

struct toy_shape {
    uint32_t examples, steps_max;
    uint32_t rows;   /* of each table */
    uint32_t values; /* of the multi-hot field */
    bool fixed_length;
    bool linear; /* rows for a model with a linear part */
};

/* Owns every array of the batch; grad mirrors weight. */
struct toy_batch {
    struct schema schema;
    struct batch batch;
    real *weight[SCHEMA_TABLES_MAX], *grad[SCHEMA_TABLES_MAX];
    real *label; /* (B) 0 or 1 */
};

/* user (3), item (3), tags (2, mean, multi-hot), category (2, its own pool sum), hour (2);
 * sequences "clicks" of item, tags and "carts" of item, category. */
void toy_schema(struct schema *s);
/* The schema of the bench: item and category, one sequence of both, dim wide each. */
void toy_schema_plain(struct schema *s, uint32_t dim);

void toy_batch_init(struct toy_batch *t, const struct schema *schema, const struct toy_shape *shape,
                    struct random *r);
void toy_batch_release(struct toy_batch *t);
void toy_batch_zero_grads(struct toy_batch *t);

#endif
