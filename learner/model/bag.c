#include "learner/model/bag.h"

/* Rows lie all over the batch's, which the second cache does not hold: so many are asked for before
 * they are needed. */
enum { AHEAD = 12, OUT_AHEAD = 16, LINE_REALS = 64 / sizeof(real) };

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
              const struct batch_table *table, uint32_t dim, enum schema_pool pool, size_t fresh)
{
    for (size_t i = 0; i < n; i++, out += out_stride) {
        for (size_t d = 0; d < fresh; d += LINE_REALS) {
            __builtin_prefetch(out + OUT_AHEAD * out_stride + d, 1);
        }
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

/* Numbers that go through arithmetic together; rows stand anywhere. */
enum { BLOCK = 16 / sizeof(real) };
typedef real block __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));

static inline void add_times(real *restrict out, const real *restrict row, real scale, uint32_t dim)
{
    uint32_t d = 0;
    for (; d + BLOCK <= dim; d += BLOCK) {
        *(block *)(out + d) += scale * *(const block *)(row + d);
    }
    for (; d < dim; d++) {
        out[d] += scale * row[d];
    }
}

static inline __attribute__((always_inline)) void add_bags(const struct batch_table *table,
                                                           const real *dout, size_t out_stride,
                                                           size_t n, const struct batch_bags *bags,
                                                           uint32_t dim, enum schema_pool pool)
{
    const uint32_t *row = bags->row, *offset = bags->offset;
    const size_t width = table->width;
    const uint32_t fetch_end = n > BAG_FETCHED_MAX ? offset[n] : 0;
    real *grad = table->grad;
    uint32_t k = offset[0];
    for (size_t i = 0; i < n; i++, dout += out_stride) {
        uint32_t in_bag = offset[i + 1] - k;
        real scale = pool == SCHEMA_POOL_MEAN && in_bag > 1 ? R(1.0) / (real)in_bag : R(1.0);
        __builtin_prefetch(dout + 24 * out_stride);
        for (uint32_t last = k + in_bag; k < last; k++) {
            if (k + AHEAD < fetch_end) {
                FETCH_ROW(grad, width, row[k + AHEAD], dim, 1);
            }
            add_times(grad + row[k] * width, dout, scale, dim);
        }
    }
}

/* Loops over usual widths are unrolled: a row is a handful of instructions. */
void bag_pool_backward(const struct batch_table *table, const real *dout, size_t out_stride,
                       size_t n, const struct batch_bags *bags, uint32_t dim, enum schema_pool pool)
{
    switch (dim) {
    case 8:
        add_bags(table, dout, out_stride, n, bags, 8, pool);
        break;
    case 12:
        add_bags(table, dout, out_stride, n, bags, 12, pool);
        break;
    case 16:
        add_bags(table, dout, out_stride, n, bags, 16, pool);
        break;
    case 18:
        add_bags(table, dout, out_stride, n, bags, 18, pool);
        break;
    case 32:
        add_bags(table, dout, out_stride, n, bags, 32, pool);
        break;
    default:
        add_bags(table, dout, out_stride, n, bags, dim, pool);
        break;
    }
}

void bag_fetch_gradient(const struct batch_table *table, size_t n, const struct batch_bags *bags,
                        uint32_t dim)
{
    for (uint32_t k = bags->offset[0]; k < bags->offset[n]; k++) {
        FETCH_ROW(table->grad, table->width, bags->row[k], dim, 1);
    }
}
