#include "learner/model/linear.h"

static real pool_scale(enum schema_pool pool, uint32_t n)
{
    return pool == SCHEMA_POOL_MEAN && n > 1 ? R(1.0) / (real)n : R(1.0);
}

static void field_forward(const struct batch_bags *bags, const struct batch_table *table,
                          enum schema_pool pool, uint32_t n, real *logit)
{
    const real *column = table->weight + table->width - 1;
    for (uint32_t b = 0; b < n; b++) {
        uint32_t first = bags->offset[b], last = bags->offset[b + 1];
        real sum = 0;
        for (uint32_t k = first; k < last; k++) {
            sum += column[(size_t)bags->row[k] * table->width];
        }
        logit[b] += pool_scale(pool, last - first) * sum;
    }
}

static void field_backward(const struct batch_bags *bags, const struct batch_table *table,
                           enum schema_pool pool, uint32_t n, const real *dlogit)
{
    real *column = table->grad + table->width - 1;
    for (uint32_t b = 0; b < n; b++) {
        uint32_t first = bags->offset[b], last = bags->offset[b + 1];
        real share = pool_scale(pool, last - first) * dlogit[b];
        for (uint32_t k = first; k < last; k++) {
            column[(size_t)bags->row[k] * table->width] += share;
        }
    }
}

void linear_forward(const struct schema *schema, const struct batch *batch, real *logit)
{
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const struct schema_field *f = &schema->fields[i];
        if (batch->table[f->table].n_rows > 0) {
            field_forward(&batch->field[i], &batch->table[f->table], f->pool, batch->n, logit);
        }
    }
}

void linear_backward(const struct schema *schema, const struct batch *batch, const real *dlogit)
{
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const struct schema_field *f = &schema->fields[i];
        if (batch->table[f->table].n_rows > 0) {
            field_backward(&batch->field[i], &batch->table[f->table], f->pool, batch->n, dlogit);
        }
    }
}
