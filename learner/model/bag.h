/* bag.h: several ids of a field become one vector: sum or mean of their rows; no id, zeros. */
#ifndef UNDINE_LEARNER_MODEL_BAG_H
#define UNDINE_LEARNER_MODEL_BAG_H

#include "learner/model/batch.h"

#include <stddef.h>

/* Row i of out (length out_stride) = pooled bag i, the first dim numbers of its rows, for i < n.
 * fresh: where out is larger than the caches and this call is the first to write there, so many
 * numbers of each row are asked for ahead: stores wait in line for memory, each for itself. */
void bag_pool(real *out, size_t out_stride, size_t n, const struct batch_bags *bags,
              const struct batch_table *table, uint32_t dim, enum schema_pool pool, size_t fresh);
/* ADDS into table->grad.  Gradients that so many bags add to are few, or the caller has asked for
 * them; those of more are fetched on the way. */
enum { BAG_FETCHED_MAX = 256 };
void bag_pool_backward(const struct batch_table *table, const real *dout, size_t out_stride,
                       size_t n, const struct batch_bags *bags, uint32_t dim,
                       enum schema_pool pool);

/* Ask for the gradients that the next bag_pool_backward adds to. */
void bag_fetch_gradient(const struct batch_table *table, size_t n, const struct batch_bags *bags,
                        uint32_t dim);

#endif
