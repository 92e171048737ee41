#include "learner/trainer_update.h"

#include <math.h>
#include <string.h>

enum { LINE_BYTES = 64, AHEAD = 16 /* rows asked for before they are needed */ };
enum { TAKEN_ROWS = 32, TAKEN_FLOATS = 1024 };
_Static_assert(SCHEMA_DIM_MAX + 1 <= TAKEN_FLOATS, "a row with its linear weight fits");

/* Runs of a table: so long at least, and so many at most. */
enum { RUN_ROWS_MIN = 128, RUNS_MAX = 32, PARTS_MAX = 256 + SCHEMA_TABLES_MAX * RUNS_MAX };

struct part {
    uint32_t table;    /* or n_tables: dense */
    uint32_t first, n; /* rows; dense: first = the tensor */
};

struct job {
    struct trainer *t;
    size_t n;
    struct part part[PARTS_MAX];
    double sum[PARTS_MAX]; /* of squares */
    struct optimizer_step step[SCHEMA_TABLES_MAX], dense;
    uint32_t day, stamp;
    float scale; /* of the gradient */
    bool retain;
};

static void cut_table(struct job *j, uint32_t table, uint32_t n)
{
    uint32_t run = (n + RUNS_MAX - 1) / RUNS_MAX;
    run = run < RUN_ROWS_MIN ? RUN_ROWS_MIN : run;
    for (uint32_t i = 0; i < n; i += run) {
        j->part[j->n++] = (struct part){table, i, n - i < run ? n - i : run};
    }
}

/* The dense tensors first: some of them are the longest parts. */
static void cut(struct job *j, struct trainer *t)
{
    size_t n;
    const struct model_param *p = model_params(t->model, &n);
    UNDINE_ASSERT(n + (size_t)t->schema.n_tables * RUNS_MAX <= PARTS_MAX);
    j->t = t;
    j->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].trained) {
            j->part[j->n++] = (struct part){t->schema.n_tables, i, 0};
        }
    }
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        cut_table(j, k, t->builder->table[k].n_rows);
    }
}

static float *gradient_of(const struct job *j, const struct part *part, size_t *n)
{
    const struct trainer *t = j->t;
    if (part->table == t->schema.n_tables) {
        size_t n_params;
        const struct model_param *p = &model_params(t->model, &n_params)[part->first];
        *n = (size_t)p->rows * p->cols;
        return model_grads(t->model) + p->offset;
    }
    size_t dim = t->table[part->table].opt.dim;
    *n = part->n * dim;
    return t->builder->table[part->table].grad + part->first * dim;
}

static void norm_part(void *ctx, size_t i, size_t who)
{
    struct job *j = ctx;
    size_t n;
    const float *grad = gradient_of(j, &j->part[i], &n);
    (void)who;
    j->sum[i] = kernels_available(0)->squares(grad, n);
}

double trainer_gradient_norm(struct trainer *t)
{
    struct job j;
    double sum = 0.0;
    cut(&j, t);
    workers_run(t->workers, j.n, norm_part, &j);
    for (size_t i = 0; i < j.n; i++) {
        sum += j.sum[i];
    }
    return sqrt(sum);
}

static void scale_all(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
}

/* Ask for all of a row. */
static inline void fetch_row(const struct table *t, uint32_t row)
{
    const char *r = (const char *)table_row(t, row);
    for (size_t at = 0; at < t->row_bytes; at += LINE_BYTES) {
        __builtin_prefetch(r + at, 1);
    }
    __builtin_prefetch(r + t->row_bytes - 1, 1);
}

/* Too few for a call of memcpy to pay, which `restrict` would make of it. */
static inline void copy(float *to, const float *from, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        memcpy(to + i, from + i, 4 * sizeof *to);
    }
    for (; i < n; i++) {
        to[i] = from[i];
    }
}

/* A run of rows for the optimizer: rows are short and lie apart, and it is fast on many numbers. */
struct taken {
    uint32_t n, dim;
    size_t n_slots;
    struct table_row *row[TAKEN_ROWS];
    float w[TAKEN_FLOATS], slot[2 * TAKEN_FLOATS]; /* (n, dim); (n_slots, n, dim) */
};

/* Row i, which loses a share of its weights beside the step: decoupled weight decay, by the weights
 * before the step. */
static void take_row(struct taken *t, uint32_t i, struct table_row *r, float shrink)
{
    size_t dim = t->dim;
    float *w = t->w + i * dim;
    t->row[i] = r;
    copy(w, r->value, dim);
    for (size_t d = 0; shrink > 0.0f && d < dim; d++) {
        w[d] -= shrink * w[d];
    }
    for (size_t s = 0; s < t->n_slots; s++) {
        copy(t->slot + (s * t->n + i) * dim, r->value + (1 + s) * dim, dim);
    }
}

static void put_back(const struct taken *t)
{
    size_t dim = t->dim;
    for (size_t i = 0; i < t->n; i++) {
        float *value = t->row[i]->value;
        copy(value, t->w + i * dim, dim);
        for (size_t s = 0; s < t->n_slots; s++) {
            copy(value + (1 + s) * dim, t->slot + (s * t->n + i) * dim, dim);
        }
    }
}

static void update_run(const struct job *j, const struct part *part, uint32_t first,
                       struct taken *taken)
{
    struct trainer *t = j->t;
    uint32_t k = part->table, dim = taken->dim, end = part->first + part->n;
    const struct optimizer_step *step = &j->step[k];
    const struct batch_builder_table *rows = &t->builder->table[k];
    float *grad = rows->grad + (size_t)first * dim;
    for (uint32_t i = 0; i < taken->n; i++) {
        uint32_t at = first + i;
        if (at + AHEAD < end) {
            fetch_row(&t->table[k], rows->row[at + AHEAD]);
        }
        struct table_row *r = table_row(&t->table[k], rows->row[at]);
        float shrink = regularizer_touch(&t->regularizer, k, r, rows->instances[at], step->rate,
                                         grad + (size_t)i * dim, dim);
        if (!j->retain) {
            r->seen_day = j->day;
            r->stamp = j->stamp;
        }
        take_row(taken, i, r, shrink);
    }
    optimizer_apply(step, taken->w, taken->slot, grad, (size_t)taken->n * dim);
    put_back(taken);
}

static void update_rows(const struct job *j, const struct part *part)
{
    struct taken taken;
    taken.dim = j->t->table[part->table].opt.dim;
    taken.n_slots = optimizer_slots(j->t->opt.optimizer.kind);
    uint32_t most = TAKEN_FLOATS / taken.dim, end = part->first + part->n;
    most = most < TAKEN_ROWS ? most : TAKEN_ROWS;
    for (uint32_t at = part->first; at < end; at += taken.n) {
        taken.n = end - at < most ? end - at : most;
        update_run(j, part, at, &taken);
    }
}

static void update_part(void *ctx, size_t i, size_t who)
{
    const struct job *j = ctx;
    const struct part *part = &j->part[i];
    struct trainer *t = j->t;
    size_t n;
    float *grad = gradient_of(j, part, &n);
    (void)who;
    if (j->scale < 1.0f) {
        scale_all(grad, n, j->scale);
    }
    if (part->table < t->schema.n_tables) {
        update_rows(j, part);
        return;
    }
    size_t n_params;
    size_t at = model_params(t->model, &n_params)[part->first].offset;
    size_t slots = optimizer_slots(t->opt.optimizer.kind);
    optimizer_apply(&j->dense, model_values(t->model) + at, t->dense_slot + slots * at, grad, n);
}

/* Retention counts what was touched when, for all rows together: one thread does it, after the
 * regularizer has seen the stamps of the last touch. */
static void touch_rows(const struct job *j)
{
    struct trainer *t = j->t;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        const struct batch_builder_table *rows = &t->builder->table[k];
        for (uint32_t i = 0; i < rows->n_rows; i++) {
            retention_touch(&t->retention, k, table_row(&t->table[k], rows->row[i]), j->stamp,
                            j->day);
        }
    }
}

void trainer_update(struct trainer *t, double norm)
{
    const struct optimizer_options *opt = &t->opt.optimizer;
    double factor = schedule_factor(&t->opt.schedule, t->counters.examples + t->builder->n);
    uint64_t step = ++t->counters.steps;
    bool clip = t->opt.clip_norm > 0.0 && norm > t->opt.clip_norm;
    struct job j;
    cut(&j, t);
    j.dense = optimizer_step(opt, factor * opt->dense_rate, step);
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        j.step[k] = optimizer_step(opt, factor * t->opt.table_rate[k], step);
    }
    j.day = trainer_today(t);
    j.stamp = step < UINT32_MAX ? (uint32_t)step : UINT32_MAX;
    j.scale = clip ? (float)(t->opt.clip_norm / norm) : 1.0f;
    regularizer_begin(&t->regularizer, step, t->counters.examples, t->builder->n);
    j.retain = retention_on(&t->retention);
    workers_run(t->workers, j.n, update_part, &j);
    if (j.retain) {
        touch_rows(&j);
    }
}
