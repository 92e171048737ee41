#include "learner/regularizer.h"

#include <math.h>
#include <string.h>

#define NAME_KEEP  "regularizer.l2.log_keep"
#define NAME_SINCE "regularizer.l2.since"

int regularizer_check(const struct regularizer_options *opt, double rate, struct undine_err *err)
{
    if (!(opt->lambda >= 0.0)) {
        return undine_err_set(err, UNDINE_ECONFIG, "regularizer.lambda is %g, expected at least 0",
                              opt->lambda);
    }
    if (opt->kind != REGULARIZER_NONE && !(rate * opt->lambda < 1.0)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "regularizer.lambda is %g and optimizer.rate %g: their product must "
                              "stay below 1",
                              opt->lambda, rate);
    }
    return opt->kind == REGULARIZER_MBA ? instances_check(&opt->counts, err) : UNDINE_OK;
}

bool regularizer_decoupled(const struct regularizer_options *opt)
{
    return opt->lambda > 0.0 &&
           (opt->kind == REGULARIZER_L2 || (opt->kind != REGULARIZER_NONE && opt->decoupled));
}

int regularizer_open(struct regularizer *z, const struct regularizer_options *opt,
                     const struct schema *schema, const double *rates, struct undine_err *err)
{
    *z = (struct regularizer){.opt = *opt};
    if (z->opt.lambda <= 0.0) {
        z->opt.kind = REGULARIZER_NONE;
    }
    if (z->opt.kind != REGULARIZER_MBA) {
        z->opt.counts.mode = INSTANCES_RUNNING;
    }
    for (uint32_t k = 0; k < schema->n_tables && z->opt.kind == REGULARIZER_L2; k++) {
        z->log_keep[k] = log1p(-rates[k] * z->opt.lambda);
    }
    return instances_open(&z->instances, &z->opt.counts, schema, err);
}

void regularizer_release(struct regularizer *z)
{
    if (z != NULL) {
        instances_release(&z->instances);
    }
}

static uint32_t saturated(uint64_t step)
{
    return step < UINT32_MAX ? (uint32_t)step : UINT32_MAX;
}

void regularizer_begin(struct regularizer *z, uint64_t step, uint64_t before, uint32_t n)
{
    instances_begin(&z->instances, saturated(step), before, n);
    z->steps = step - 1;
}

static void scale_row(float *w, size_t dim, float scale)
{
    for (size_t i = 0; i < dim; i++) {
        w[i] *= scale;
    }
}

float regularizer_touch(const struct regularizer *z, uint32_t table, struct table_row *r,
                        float c_mj, float rate, float *restrict g, size_t dim)
{
    double n = instances_count(&z->instances, table, r, c_mj);
    float strength;
    switch (z->opt.kind) {
    case REGULARIZER_MBA: {
        double alpha = z->opt.form == REGULARIZER_COUNT ? (double)c_mj : 1.0;
        n = n > alpha ? n : alpha; /* an id that a fixed count does not know is held all the same */
        strength = (float)(z->opt.lambda * alpha / n);
        break;
    }
    case REGULARIZER_DIFACTO:
        strength = (float)z->opt.lambda;
        break;
    case REGULARIZER_L2:
        scale_row(r->value, dim, regularizer_keep(z, table, r->stamp));
        return (float)-expm1(z->log_keep[table]);
    case REGULARIZER_NONE:
    default:
        return 0.0f;
    }
    if (z->opt.decoupled) {
        return rate * strength;
    }
    const float *w = r->value;
    for (size_t i = 0; i < dim; i++) {
        g[i] += strength * w[i];
    }
    return 0.0f;
}

float regularizer_keep(const struct regularizer *z, uint32_t table, uint32_t stamp)
{
    uint64_t from = stamp > z->since ? stamp : z->since, now = saturated(z->steps);
    if (z->opt.kind != REGULARIZER_L2 || stamp == 0 || now <= from) {
        return 1.0f;
    }
    return (float)exp((double)(now - from) * z->log_keep[table]);
}

void regularizer_catch_up(const struct regularizer *z, uint32_t table, const struct table *rows,
                          const uint32_t *row, uint32_t n, float *w)
{
    size_t dim = rows->opt.dim;
    for (uint32_t i = 0; z->opt.kind == REGULARIZER_L2 && i < n; i++) {
        scale_row(w + i * dim, dim, regularizer_keep(z, table, table_row(rows, row[i])->stamp));
    }
}

bool regularizer_snapshot(const struct regularizer *z, uint32_t n_tables, struct snapshot *s)
{
    if (z->opt.kind != REGULARIZER_L2) {
        return instances_snapshot(&z->instances, s);
    }
    double *keep = snapshot_train(s, NAME_KEEP, SNAPSHOT_F64, n_tables, 0);
    uint64_t *since = snapshot_train(s, NAME_SINCE, SNAPSHOT_U64, 1, 0);
    if (keep == NULL || since == NULL) {
        return false;
    }
    memcpy(keep, z->log_keep, n_tables * sizeof *keep);
    *since = z->since;
    return true;
}

int regularizer_restore(struct regularizer *z, uint32_t n_tables, const struct snapshot *s,
                        uint64_t steps, bool *raw, struct undine_err *err)
{
    const struct snapshot_array *keep = snapshot_find(s->train, s->n_train, NAME_KEEP);
    const struct snapshot_array *since = snapshot_find(s->train, s->n_train, NAME_SINCE);
    z->steps = steps;
    *raw = z->opt.kind == REGULARIZER_L2 && keep != NULL && since != NULL &&
           keep->type == SNAPSHOT_F64 && keep->rows == n_tables && keep->cols <= 1 &&
           since->type == SNAPSHOT_U64 && since->rows == 1 && since->cols <= 1 &&
           memcmp(keep->data, z->log_keep, n_tables * sizeof(double)) == 0;
    z->since = steps;
    if (*raw) {
        memcpy(&z->since, since->data, sizeof z->since);
    }
    return instances_restore(&z->instances, s, err);
}
