#include "learner/model/bag.h"

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
        set_row(out, table->weight + (size_t)bags->row[first] * table->width, dim);
        for (uint32_t k = first + 1; k < last; k++) {
            add_row(out, table->weight + (size_t)bags->row[k] * table->width, dim);
        }
        if (pool == SCHEMA_POOL_MEAN && last - first > 1) {
            scale_row(out, R(1.0) / (real)(last - first), dim);
        }
    }
}

void bag_pool_backward(const struct batch_table *table, const real *dout, size_t out_stride,
                       size_t n, const struct batch_bags *bags, uint32_t dim, enum schema_pool pool)
{
    for (size_t i = 0; i < n; i++, dout += out_stride) {
        uint32_t first = bags->offset[i];
        uint32_t last = bags->offset[i + 1];
        real scale =
            pool == SCHEMA_POOL_MEAN && last > first ? R(1.0) / (real)(last - first) : R(1.0);
        for (uint32_t k = first; k < last; k++) {
            real *restrict grad = table->grad + (size_t)bags->row[k] * table->width;
            for (uint32_t d = 0; d < dim; d++) {
                grad[d] += scale * dout[d];
            }
        }
    }
}
