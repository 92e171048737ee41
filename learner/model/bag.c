#include "learner/model/bag.h"

/* Rows lie all over the batch's, which the second cache does not hold: so many are asked for before
 * they are needed. */
enum { AHEAD = 12 };

/* Ask for a row of dim numbers. */
#define FETCH_ROW(base, width, row, dim, write)                                                    \
    do {                                                                                           \
        const real *fetched = (base) + (size_t)(row) * (width);                                    \
        __builtin_prefetch(fetched, write);                                                        \
        __builtin_prefetch(fetched + (dim)-1, write);                                              \
    } while (0)

/* Rows are too short for a call of memcpy to pay. */
static void set_row(real *restrict out, const real *restrict row, uint32_t dim)
{
    for (uint32_t d = 0; d < dim; d++) {
        out[d] = row[d];
    }
}

static void add_row(real *restrict out, const real *restrict row, uint32_t dim)
{
    for (uint32_t d = 0; d < dim; d++) {
        out[d] += row[d];
    }
}

static void scale_row(real *out, real scale, uint32_t dim)
{
    for (uint32_t d = 0; d < dim; d++) {
        out[d] *= scale;
    }
}

/* Pooled bag of rows[first..last), first < last. */
static void pool_rows(real *out, const uint32_t *row, uint32_t first, uint32_t last, uint32_t end,
                      const struct batch_table *table, uint32_t dim)
{
    for (uint32_t k = first; k < last; k++) {
        const real *from = table->weight + (size_t)row[k] * table->width;
        if (k + AHEAD < end) {
            FETCH_ROW(table->weight, table->width, row[k + AHEAD], dim, 0);
        }
        if (k == first) {
            set_row(out, from, dim);
        } else {
            add_row(out, from, dim);
        }
    }
}

void bag_pool(real *out, size_t out_stride, size_t n, const struct batch_bags *bags,
              const struct batch_table *table, uint32_t dim, enum schema_pool pool)
{
    for (size_t i = 0; i < n; i++, out += out_stride) {
        uint32_t first = bags->offset[i];
        uint32_t last = bags->offset[i + 1];
        if (first == last) {
            for (uint32_t d = 0; d < dim; d++) {
                out[d] = 0;
            }
            continue;
        }
        pool_rows(out, bags->row, first, last, bags->offset[n], table, dim);
        if (pool == SCHEMA_POOL_MEAN && last - first > 1) {
            scale_row(out, R(1.0) / (real)(last - first), dim);
        }
    }
}

void bag_pool_backward(const struct batch_table *table, const real *dout, size_t out_stride,
                       size_t n, const struct batch_bags *bags, uint32_t dim, enum schema_pool pool)
{
    uint32_t end = bags->offset[n];
    for (size_t i = 0; i < n; i++, dout += out_stride) {
        uint32_t first = bags->offset[i];
        uint32_t last = bags->offset[i + 1];
        real scale =
            pool == SCHEMA_POOL_MEAN && last > first ? R(1.0) / (real)(last - first) : R(1.0);
        for (uint32_t k = first; k < last; k++) {
            real *restrict grad = table->grad + (size_t)bags->row[k] * table->width;
            __builtin_prefetch(dout + 24 * out_stride);
            if (k + AHEAD < end) {
                FETCH_ROW(table->grad, table->width, bags->row[k + AHEAD], dim, 1);
            }
            for (uint32_t d = 0; d < dim; d++) {
                grad[d] += scale * dout[d];
            }
        }
    }
}

void bag_fetch_gradient(const struct batch_table *table, size_t n, const struct batch_bags *bags,
                        uint32_t dim)
{
    for (uint32_t k = bags->offset[0]; k < bags->offset[n]; k++) {
        FETCH_ROW(table->grad, table->width, bags->row[k], dim, 1);
    }
}
