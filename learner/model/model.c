#include "learner/model/model.h"

#include "learner/model/bag.h"
#include "learner/model/linear.h"
#include "learner/model/low.h"
#include "learner/model/options.h"
#include "learner/model/sequence.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The dense part in integers: model_lower. */
struct low_model {
    struct low_tower mlp;
    struct low_unit unit[SCHEMA_SEQUENCES_MAX];
};

struct model {
    struct schema schema;
    struct model_options opt;
    const struct kernels *k;
    kernels_product product;
    struct workers *workers;
    uint32_t row_width[SCHEMA_TABLES_MAX];
    size_t field_x[SCHEMA_FIELDS_MAX]; /* where a field's vector stands in x */
    uint32_t x_dim;                    /* width of x */
    size_t x_stride;
    struct sequence sequence[SCHEMA_SEQUENCES_MAX];
    struct tower mlp;
    struct params params;
    real *values, *grads;
    struct low_model *low; /* NULL = none */
    uint64_t frozen;       /* 0: values may change; else no other model of the process has it */
};

struct model_scratch {
    const struct model *model;
    struct buffer x, dx; /* (B, x_stride) */
    struct sequence_scratch sequence[SCHEMA_SEQUENCES_MAX];
    struct tower_scratch mlp;
    struct low_tower_scratch low_mlp;
    uint32_t n_trained; /* B of the forward in training that backward may follow */
    uint64_t mlp_of;    /* `frozen` of the model whose weights mlp has ready; 0 = none that lasts */
};

uint32_t model_row_width(const struct schema *schema, const struct model_options *opt,
                         uint32_t table)
{
    bool field = false;
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        field = field || schema->fields[i].table == table;
    }
    return schema->tables[table].dim + (opt->linear && field);
}

/* ---- open and close ----------------------------------------------------------------------- */

static void declare(struct model *m)
{
    const struct schema *schema = &m->schema;
    uint32_t x = 0;
    for (uint32_t i = 0; i < schema->n_tables; i++) {
        m->row_width[i] = model_row_width(schema, &m->opt, i);
    }
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        m->field_x[i] = x;
        x += schema_field_dim(schema, i);
    }
    for (uint32_t i = 0; i < schema->n_sequences; i++) {
        sequence_declare(&m->sequence[i], &m->params, schema, i, m->field_x, x, &m->opt);
        x += cross_width(schema_step_dim(schema, i), &m->opt);
    }
    m->x_dim = x;
    m->x_stride = kernels_stride(x);
    tower_declare(&m->mlp, &m->params, "mlp", x, m->opt.mlp.n_hidden, m->opt.mlp.hidden,
                  m->opt.mlp.activation, &m->opt);
}

static void init_values(struct model *m)
{
    for (uint32_t i = 0; i < m->schema.n_sequences; i++) {
        sequence_init(&m->sequence[i], &m->params, m->values, m->opt.seed);
    }
    tower_init(&m->mlp, &m->params, m->values, m->opt.seed);
}

int model_check(const struct schema *schema, const struct model_options *opt,
                struct undine_err *err)
{
    int rc = model_options_check(opt, err);
    if (rc != UNDINE_OK) {
        return undine_err_prefix(err, "model");
    }
    if (schema->n_sequences == 0 && (opt->product || opt->sum_history)) {
        return undine_err_set(
            err, UNDINE_ECONFIG,
            "model.%s is true, but the schema has no sequence that it could cross "
            "with the candidate: declare one, or set it to false",
            opt->product ? "product" : "sum_history");
    }
    return UNDINE_OK;
}

int model_open(struct model **out, const struct schema *schema, const struct model_options *opt,
               struct undine_err *err)
{
    int rc = model_check(schema, opt, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "model: out of memory");
    }
    m->schema = *schema;
    m->opt = *opt;
    m->k = kernels_available(0);
    declare(m);
    m->values = calloc(m->params.n_values, sizeof *m->values);
    m->grads = calloc(m->params.n_values, sizeof *m->grads);
    if (m->values == NULL || m->grads == NULL) {
        size_t n = m->params.n_values;
        model_close(m);
        return undine_err_set(err, UNDINE_ENOMEM, "model: out of memory for %zu parameters", n);
    }
    init_values(m);
    *out = m;
    return UNDINE_OK;
}

static void low_close(struct low_model *low)
{
    for (uint32_t i = 0; low != NULL && i < SCHEMA_SEQUENCES_MAX; i++) {
        low_unit_release(&low->unit[i]);
    }
    if (low != NULL) {
        low_tower_release(&low->mlp);
    }
    free(low);
}

void model_close(struct model *m)
{
    if (m != NULL) {
        low_close(m->low);
        free(m->values);
        free(m->grads);
        free(m);
    }
}

void model_set_product(struct model *m, bool (*product)(const struct gemm *))
{
    m->product = product;
}

void model_set_workers(struct model *m, struct workers *w)
{
    m->workers = w;
}

int model_lower_by(struct model *m, const struct low_kernels *kernels, struct undine_err *err)
{
    UNDINE_ASSERT(m->low == NULL);
    struct low_model *low = calloc(1, sizeof *low);
    bool ok = low != NULL && low_tower_open(&low->mlp, &m->mlp, m->values, kernels, m->k);
    for (uint32_t i = 0; ok && i < m->schema.n_sequences; i++) {
        ok = !m->sequence[i].din ||
             low_unit_open(&low->unit[i], &m->sequence[i].unit, m->values, kernels, m->k);
    }
    if (!ok) {
        low_close(low);
        return undine_err_set(err, UNDINE_ENOMEM, "model: out of memory for its integers");
    }
    m->low = low;
    for (uint32_t i = 0; i < m->schema.n_sequences; i++) {
        m->sequence[i].low = m->sequence[i].din ? &low->unit[i] : NULL;
    }
    return UNDINE_OK;
}

bool model_lowers(void)
{
    return low_kernels_available(1) != NULL;
}

int model_lower_check(struct undine_err *err)
{
    if (model_lowers()) {
        return UNDINE_OK;
    }
    return undine_err_set(err, UNDINE_ECONFIG,
                          "precision int16 needs a processor with AVX-512 VNNI, which this one has "
                          "not, and would be slower than f32 without: use f32");
}

int model_lower(struct model *m, struct undine_err *err)
{
    int rc = model_lower_check(err);
    return rc == UNDINE_OK ? model_lower_by(m, low_kernels_available(0), err) : rc;
}

void model_freeze(struct model *m)
{
    static atomic_uint_fast64_t n_frozen;
    m->frozen = atomic_fetch_add_explicit(&n_frozen, 1, memory_order_relaxed) + 1;
}

const struct model_param *model_params(const struct model *m, size_t *n)
{
    *n = m->params.n;
    return m->params.list;
}

real *model_values(struct model *m)
{
    return m->values;
}

real *model_grads(struct model *m)
{
    return m->grads;
}

size_t model_n_values(const struct model *m)
{
    return m->params.n_values;
}

void model_zero_grads(struct model *m)
{
    memset(m->grads, 0, m->params.n_values * sizeof *m->grads);
}

int model_scratch_open(struct model_scratch **out, const struct model *m, struct undine_err *err)
{
    struct model_scratch *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "model scratch: out of memory");
    }
    s->model = m;
    *out = s;
    return UNDINE_OK;
}

void model_scratch_use(struct model_scratch *s, const struct model *m)
{
    s->model = m;
    s->n_trained = 0;
}

void model_scratch_close(struct model_scratch *s)
{
    if (s == NULL) {
        return;
    }
    buffer_release(&s->x);
    buffer_release(&s->dx);
    for (size_t i = 0; i < SCHEMA_SEQUENCES_MAX; i++) {
        sequence_scratch_release(&s->sequence[i]);
    }
    tower_scratch_release(&s->mlp);
    low_tower_scratch_release(&s->low_mlp);
    free(s);
}

/* ---- forward ------------------------------------------------------------------------------ */

/* x (B, x_stride) = [pooled fields | v of each sequence] */
static bool forward_x(const struct model *m, struct model_scratch *s, const struct batch *batch,
                      const struct pass *pass)
{
    real *x = buffer_reals(&s->x, batch->n, m->x_stride);
    if (x == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < m->schema.n_fields; i++) {
        const struct schema_field *f = &m->schema.fields[i];
        bag_pool(x + m->field_x[i], m->x_stride, batch->n, &batch->field[i],
                 &batch->table[f->table], m->schema.tables[f->table].dim, f->pool, 0);
    }
    for (uint32_t i = 0; i < m->schema.n_sequences; i++) {
        if (!sequence_forward(&m->sequence[i], &s->sequence[i], pass, batch, &batch->sequence[i], x,
                              m->x_stride)) {
            return false;
        }
    }
    return true;
}

/* Not by the model's address: another one may come to lie there. */
static bool prepare_mlp(const struct model *m, struct model_scratch *s, const struct pass *pass)
{
    if (m->frozen != 0 && s->mlp_of == m->frozen) {
        return true;
    }
    s->mlp_of = 0;
    if (!tower_prepare(&m->mlp, &s->mlp, pass, true)) {
        return false;
    }
    s->mlp_of = m->frozen;
    return true;
}

static bool forward_mlp(const struct model *m, struct model_scratch *s, const struct pass *pass,
                        real *logit, size_t n)
{
    if (m->low != NULL) {
        return low_tower_forward(&m->low->mlp, &s->low_mlp, s->x.data, m->x_stride, logit, n);
    }
    return prepare_mlp(m, s, pass) &&
           tower_forward_x(&m->mlp, &s->mlp, pass, s->x.data, m->x_stride, logit, n);
}

static int no_memory(const struct batch *batch, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "model: out of memory for a batch of %u examples",
                          batch->n);
}

static bool rows_fit(const struct model *m, const struct batch *batch)
{
    bool fit = true;
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        fit = fit && batch->table[i].width == m->row_width[i];
    }
    return fit;
}

static int forward(const struct model *m, real *statistics, struct model_scratch *s,
                   const struct batch *batch, real *logit, struct undine_err *err)
{
    UNDINE_ASSERT(s->model == m && rows_fit(m, batch));
    struct pass pass = {.k = m->k,
                        .values = m->values,
                        .statistics = statistics,
                        .workers = statistics != NULL ? m->workers : NULL,
                        .product = statistics != NULL ? m->product : NULL};
    s->n_trained = 0;
    if (!forward_x(m, s, batch, &pass) || !forward_mlp(m, s, &pass, logit, batch->n)) {
        return no_memory(batch, err);
    }
    if (m->opt.linear) {
        linear_forward(&m->schema, batch, logit);
    }
    s->n_trained = statistics != NULL ? batch->n : 0;
    return UNDINE_OK;
}

int model_forward(struct model *m, struct model_scratch *s, const struct batch *batch,
                  enum model_mode mode, real *logit, struct undine_err *err)
{
    UNDINE_ASSERT(mode == MODEL_SERVE || (m->low == NULL && m->frozen == 0));
    return forward(m, mode == MODEL_TRAIN ? m->values : NULL, s, batch, logit, err);
}

int model_score(const struct model *m, struct model_scratch *s, const struct batch *batch,
                real *logit, struct undine_err *err)
{
    return forward(m, NULL, s, batch, logit, err);
}

const real *model_step_weights(const struct model_scratch *s, uint32_t sequence, uint32_t i,
                               size_t *n)
{
    UNDINE_ASSERT(i < s->n_trained && sequence < s->model->schema.n_sequences);
    const struct sequence_scratch *q = &s->sequence[sequence];
    const size_t *pair = q->pair.data;
    *n = pair[i + 1] - pair[i];
    return *n > 0 ? (const real *)q->a.data + pair[i] : NULL;
}

/* ---- backward ----------------------------------------------------------------------------- */

struct rows_job {
    const struct model *m;
    const struct model_scratch *s;
    const struct batch *batch;
    const real *dx;
};

/* A table's share of the gradients of steps and fields: tables share no rows. */
static void backward_rows(void *ctx, size_t table, size_t who)
{
    const struct rows_job *j = ctx;
    const struct schema *schema = &j->m->schema;
    (void)who;
    for (uint32_t i = 0; i < schema->n_sequences; i++) {
        sequence_backward_rows(&j->m->sequence[i], &j->s->sequence[i], j->batch,
                               &j->batch->sequence[i], (uint32_t)table);
    }
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        const struct schema_field *f = &schema->fields[i];
        if (f->table == table) {
            bag_pool_backward(&j->batch->table[table], j->dx + j->m->field_x[i], j->m->x_stride,
                              j->batch->n, &j->batch->field[i], schema->tables[table].dim, f->pool);
        }
    }
}

static bool backward(struct model *m, struct model_scratch *s, const struct batch *batch,
                     const real *dlogit)
{
    struct pass pass = {.k = m->k,
                        .values = m->values,
                        .grads = m->grads,
                        .workers = m->workers,
                        .product = m->product};
    real *dx = buffer_reals(&s->dx, batch->n, m->x_stride);
    if (dx == NULL ||
        !tower_backward_x(&m->mlp, &s->mlp, &pass, dlogit, s->x.data, m->x_stride, dx, batch->n)) {
        return false;
    }
    for (uint32_t i = 0; i < m->schema.n_sequences; i++) {
        if (!sequence_backward(&m->sequence[i], &s->sequence[i], &pass, batch, &batch->sequence[i],
                               s->x.data, dx, m->x_stride)) {
            return false;
        }
    }
    struct rows_job job = {m, s, batch, dx};
    workers_run(m->workers, m->schema.n_tables, backward_rows, &job);
    if (m->opt.linear) {
        linear_backward(&m->schema, batch, dlogit);
    }
    return true;
}

int model_backward(struct model *m, struct model_scratch *s, const struct batch *batch,
                   const real *dlogit, struct undine_err *err)
{
    UNDINE_ASSERT(s->model == m && s->n_trained == batch->n);
    return backward(m, s, batch, dlogit) ? UNDINE_OK : no_memory(batch, err);
}

/* ---- loss and names ----------------------------------------------------------------------- */

double model_logloss(double logit, double label)
{
    double softplus = log1p(exp(-fabs(logit))) + (logit > 0.0 ? logit : 0.0);
    return softplus - label * logit;
}

real model_sigmoid(real logit)
{
    double e = exp(-fabs((double)logit));
    return (real)((logit < 0 ? e : 1.0) / (1.0 + e));
}

const char *model_kernels(void)
{
    return kernels_available(0)->name;
}
