#include "learner/model/sequence.h"

#include "learner/model/bag.h"
#include "learner/model/share.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool tables_apart(const struct schema_sequence *q)
{
    for (uint32_t i = 0; i < q->n_fields; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (q->table[i] == q->table[k]) {
                return false;
            }
        }
    }
    return true;
}

void sequence_declare(struct sequence *q, struct params *p, const struct schema *schema,
                      uint32_t which, const size_t *field_x, size_t x,
                      const struct model_options *opt)
{
    const struct schema_sequence *from = &schema->sequences[which];
    uint32_t e = schema_step_dim(schema, which);
    *q = (struct sequence){
        .din = opt->kind == MODEL_DIN,
        .base_pool = opt->base_pool,
        .normalize = opt->unit.normalize,
        .e = e,
        .e_stride = kernels_stride(e),
        .n_fields = from->n_fields,
        .x = x,
    };
    for (uint32_t i = 0; i < from->n_fields; i++) {
        const struct schema_field *f = &schema->fields[from->field[i]];
        q->field[i].table = from->table[i];
        q->field[i].dim = schema->tables[f->table].dim; /* an own table is as wide */
        q->field[i].pool = f->pool;
        q->field[i].x = field_x[from->field[i]];
    }
    q->tables_apart = tables_apart(from);
    cross_declare(&q->cross, e, x, opt);
    if (q->din) {
        char prefix[MODEL_PARAM_NAME_MAX];
        (void)snprintf(prefix, sizeof prefix, "unit.%s", from->name);
        unit_declare(&q->unit, p, prefix, e, opt);
    }
}

void sequence_init(const struct sequence *q, const struct params *p, real *values, uint64_t seed)
{
    if (q->din) {
        unit_init(&q->unit, p, values, seed);
    }
}

void sequence_scratch_release(struct sequence_scratch *s)
{
    buffer_release(&s->e);
    buffer_release(&s->de);
    buffer_release(&s->q);
    buffer_release(&s->dq);
    buffer_release(&s->v);
    buffer_release(&s->pair);
    buffer_release(&s->a);
    buffer_release(&s->da);
    buffer_release(&s->sum);
    shards_release(&s->shards);
    unit_scratch_release(&s->unit);
    low_unit_scratch_release(&s->low);
}

/* ---- weights of the steps ----------------------------------------------------------------- */

static real plain_scale(const struct sequence *q, size_t steps)
{
    bool by_length = q->din ? q->normalize == UNIT_LENGTH : q->base_pool == SCHEMA_POOL_MEAN;
    if (by_length) {
        return R(1.0) / (real)steps;
    }
    bool by_root = q->normalize == UNIT_SQRT_DIM || q->normalize == UNIT_SCALED_SOFTMAX;
    return q->din && by_root ? (real)(1.0 / sqrt((double)q->e)) : R(1.0);
}

static bool is_softmax(const struct sequence *q)
{
    return q->din && (q->normalize == UNIT_SOFTMAX || q->normalize == UNIT_SCALED_SOFTMAX);
}

/* a (steps > 0): numbers of the unit in, weights out. */
static void normalize(const struct sequence *q, const struct pass *pass, real *a, size_t steps)
{
    real scale = plain_scale(q, steps);
    for (size_t j = 0; j < steps; j++) {
        a[j] *= scale;
    }
    if (is_softmax(q)) {
        pass->k->softmax(a, steps);
    }
}

/* da: dL/dweight in, dL/da out. */
static void normalize_backward(const struct sequence *q, real *da, const real *weight, size_t steps)
{
    if (is_softmax(q)) {
        double mean = 0.0;
        for (size_t j = 0; j < steps; j++) {
            mean += (double)weight[j] * (double)da[j];
        }
        for (size_t j = 0; j < steps; j++) {
            da[j] = weight[j] * (da[j] - (real)mean);
        }
    }
    real scale = plain_scale(q, steps);
    for (size_t j = 0; j < steps; j++) {
        da[j] *= scale;
    }
}

enum { POOL_PART_EXAMPLES = 16 };

/* ---- forward ------------------------------------------------------------------------------ */

struct embed_job {
    const struct sequence *q;
    const struct batch *batch;
    const struct batch_sequences *in;
    real *e;
};

static void embed_part(void *ctx, size_t i, size_t who)
{
    const struct embed_job *j = ctx;
    const struct sequence *q = j->q;
    struct share_rows r = share_chunk(j->in->step_offset[j->in->n], q->e_stride, i);
    real *e = j->e + r.first * q->e_stride;
    (void)who;
    for (uint32_t f = 0; f < q->n_fields; f++) {
        const struct batch_bags *bags = &j->in->step[f];
        bag_pool(e, q->e_stride, r.n, &(struct batch_bags){bags->offset + r.first, bags->row},
                 &j->batch->table[q->field[f].table], q->field[f].dim, q->field[f].pool,
                 f == 0 ? q->e_stride : 0);
        e += q->field[f].dim;
    }
}

static void embed_steps(const struct sequence *q, struct sequence_scratch *s,
                        const struct pass *pass, const struct batch *batch,
                        const struct batch_sequences *in)
{
    struct embed_job job = {q, batch, in, s->e.data};
    workers_run(pass->workers, share_count(in->step_offset[in->n], q->e_stride), embed_part, &job);
}

static void gather_query(const struct sequence *q, real *query, const real *x, size_t x_stride,
                         size_t n)
{
    for (size_t b = 0; b < n; b++, x += x_stride, query += q->e_stride) {
        real *to = query;
        for (uint32_t i = 0; i < q->n_fields; i++) {
            memcpy(to, x + q->field[i].x, q->field[i].dim * sizeof *to);
            to += q->field[i].dim;
        }
        memset(to, 0, (q->e_stride - q->e) * sizeof *to);
    }
}

static void count_pairs(size_t *pair, const struct batch_sequences *in, size_t n)
{
    pair[0] = 0;
    for (size_t b = 0; b < n; b++) {
        uint32_t k = in->of_example[b];
        pair[b + 1] = pair[b] + (in->step_offset[k + 1] - in->step_offset[k]);
    }
}

/* Room for the steps, their padding 0: it stays that, since nobody writes there. */
static bool reserve_steps(const struct sequence *q, struct sequence_scratch *s, size_t n)
{
    size_t before = s->e.bytes;
    real *e = buffer_reals(&s->e, n, q->e_stride);
    if (e != NULL && s->e.bytes != before) {
        memset(e, 0, s->e.bytes);
    }
    return e != NULL;
}

static bool forward_reserve(const struct sequence *q, struct sequence_scratch *s,
                            const struct pass *pass, size_t n, const struct batch_sequences *in)
{
    if (!buffer_reserve(&s->pair, n + 1, 1, sizeof(size_t))) {
        return false;
    }
    count_pairs(s->pair.data, in, n);
    size_t pairs = ((const size_t *)s->pair.data)[n];
    return reserve_steps(q, s, in->step_offset[in->n]) &&
           buffer_reals(&s->q, n, q->e_stride) != NULL &&
           buffer_reals(&s->v, workers_count(pass->workers), q->e_stride) != NULL &&
           buffer_reals(&s->a, 1, pairs) != NULL;
}

static struct unit_input unit_input(const struct sequence_scratch *s,
                                    const struct batch_sequences *in, size_t n)
{
    return (struct unit_input){
        .n = n,
        .e = s->e.data,
        .q = s->q.data,
        .step_offset = in->step_offset,
        .of_example = in->of_example,
        .pair = s->pair.data,
    };
}

static bool has_query(const struct sequence *q)
{
    return q->din || cross_any(&q->cross);
}

/* Weights before normalisation. */
static bool forward_weights(const struct sequence *q, struct sequence_scratch *s,
                            const struct pass *pass, const struct unit_input *u)
{
    real *a = s->a.data;
    if (!q->din) {
        for (size_t i = 0; i < u->pair[u->n]; i++) {
            a[i] = 1;
        }
        return true;
    }
    if (q->low != NULL) {
        return low_unit_forward(q->low, &s->low, u, a);
    }
    return unit_forward(&q->unit, &s->unit, pass, u, a);
}

struct pool_job {
    const struct sequence *q;
    const struct sequence_scratch *s;
    const struct pass *pass;
    const struct unit_input *in;
    real *x; /* forward: (B, x_stride) */
    const real *dx;
    size_t x_stride;
};

static void pool_part(void *ctx, size_t part, size_t who)
{
    const struct pool_job *j = ctx;
    const struct sequence *q = j->q;
    const struct unit_input *u = j->in;
    real *v = (real *)j->s->v.data + who * q->e_stride;
    for (size_t b = part * POOL_PART_EXAMPLES; b < (part + 1) * POOL_PART_EXAMPLES && b < u->n;
         b++) {
        size_t steps = u->pair[b + 1] - u->pair[b];
        real *a = (real *)j->s->a.data + u->pair[b];
        if (steps > 0) {
            normalize(q, j->pass, a, steps);
        }
        j->pass->k->pool(v, a, u->e + (size_t)u->step_offset[u->of_example[b]] * q->e_stride, steps,
                         q->e_stride);
        memcpy(j->x + b * j->x_stride + q->x, v, q->e * sizeof *v);
    }
}

bool sequence_forward(const struct sequence *q, struct sequence_scratch *s, const struct pass *pass,
                      const struct batch *batch, const struct batch_sequences *in, real *x,
                      size_t x_stride)
{
    if (!forward_reserve(q, s, pass, batch->n, in)) {
        return false;
    }
    embed_steps(q, s, pass, batch, in);
    struct unit_input u = unit_input(s, in, batch->n);
    if (has_query(q)) {
        gather_query(q, s->q.data, x, x_stride, u.n);
    }
    if (!forward_weights(q, s, pass, &u)) {
        return false;
    }
    struct pool_job job = {.q = q, .s = s, .pass = pass, .in = &u, .x = x, .x_stride = x_stride};
    workers_run(pass->workers, (u.n + POOL_PART_EXAMPLES - 1) / POOL_PART_EXAMPLES, pool_part,
                &job);
    struct cross_input across = {.in = in, .n = u.n, .x_stride = x_stride, .query = u.q};
    return cross_forward(&q->cross, &s->sum, &across, u.e, x);
}

/* ---- backward ----------------------------------------------------------------------------- */

/* Steps that no example looks at. */
static void zero_unseen(const struct pool_job *j, size_t shard)
{
    const struct shards *shards = &j->s->shards;
    const uint32_t *seen = shards->seen.data, *offset = j->in->step_offset;
    size_t stride = j->q->e_stride;
    for (uint32_t k = shards->sequence[shard]; k < shards->sequence[shard + 1]; k++) {
        if (seen[k] == seen[k + 1]) {
            memset((real *)j->s->de.data + offset[k] * stride, 0,
                   (offset[k + 1] - offset[k]) * stride * sizeof(real));
        }
    }
}

/* Through v = sum of weight times e.  With a unit: da, and it hands de its share; without: de. */
static void backward_pool(void *ctx, size_t shard, size_t who)
{
    const struct pool_job *j = ctx;
    const struct sequence *q = j->q;
    const struct unit_input *u = j->in;
    const struct shards *shards = &j->s->shards;
    real *de = j->s->de.data;
    real *dv = (real *)j->s->v.data + who * q->e_stride;
    memset(dv, 0, q->e_stride * sizeof *dv);
    if (!j->s->rows_done) {
        zero_unseen(j, shard);
    }
    for (uint32_t x = shards->first[shard]; x < shards->first[shard + 1]; x++) {
        size_t b = ((const uint32_t *)shards->order.data)[x];
        size_t steps = u->pair[b + 1] - u->pair[b];
        size_t at = (size_t)u->step_offset[u->of_example[b]] * q->e_stride;
        const real *a = (const real *)j->s->a.data + u->pair[b];
        real *da = (real *)j->s->da.data + u->pair[b];
        memcpy(dv, j->dx + b * j->x_stride + q->x, q->e * sizeof *dv);
        if (!q->din) {
            j->pass->k->outer(de + at, a, dv, steps, q->e_stride,
                              !shards_first(shards, u->of_example, x));
        } else if (steps > 0) {
            j->pass->k->dot(da, u->e + at, steps, q->e_stride, dv, 0);
            normalize_backward(q, da, a, steps);
        }
    }
}

static void scatter_query(const struct sequence *q, const real *dq, real *dx, size_t x_stride,
                          size_t n)
{
    for (size_t b = 0; b < n; b++, dx += x_stride, dq += q->e_stride) {
        const real *from = dq;
        for (uint32_t i = 0; i < q->n_fields; i++) {
            for (uint32_t d = 0; d < q->field[i].dim; d++) {
                dx[q->field[i].x + d] += from[d];
            }
            from += q->field[i].dim;
        }
    }
}

/* The steps' gradients go into those of the rows. */
struct take_job {
    const struct sequence *q;
    const struct batch *batch;
    const struct batch_sequences *in;
};

static struct batch_bags bags_from(const struct take_job *j, uint32_t field, uint32_t step)
{
    const struct batch_bags *bags = &j->in->step[field];
    return (struct batch_bags){bags->offset + step, bags->row};
}

static void take_steps(const void *ctx, uint32_t k, const real *de)
{
    const struct take_job *j = ctx;
    const struct sequence *q = j->q;
    const uint32_t *offset = j->in->step_offset;
    for (uint32_t i = 0; i < q->n_fields; i++) {
        const struct batch_table *table = &j->batch->table[q->field[i].table];
        struct batch_bags bags = bags_from(j, i, offset[k]);
        bag_pool_backward(table, de, q->e_stride, offset[k + 1] - offset[k], &bags, q->field[i].dim,
                          q->field[i].pool);
        if (k + 1 < j->in->n) {
            bags = bags_from(j, i, offset[k + 1]);
            bag_fetch_gradient(table, offset[k + 2] - offset[k + 1], &bags, q->field[i].dim);
        }
        de += q->field[i].dim;
    }
}

static uint32_t longest(const struct batch_sequences *in)
{
    uint32_t most = 0;
    for (uint32_t k = 0; k < in->n; k++) {
        uint32_t steps = in->step_offset[k + 1] - in->step_offset[k];
        most = steps > most ? steps : most;
    }
    return most;
}

static bool backward_reserve(const struct sequence *q, struct sequence_scratch *s,
                             const struct pass *pass, const struct batch *batch,
                             const struct batch_sequences *in)
{
    /* One worker takes the sequences in their order, and so adds to a row in the order in which
     * sequence_backward_rows does: equal bits, and the steps' gradients never leave the cache. */
    s->rows_done =
        q->din && q->tables_apart && !cross_any(&q->cross) && workers_count(pass->workers) == 1;
    size_t n_steps = s->rows_done ? longest(in) : in->step_offset[in->n];
    size_t pairs = ((const size_t *)s->pair.data)[batch->n];
    return buffer_reals(&s->de, n_steps, q->e_stride) != NULL &&
           buffer_reals(&s->dq, batch->n, q->e_stride) != NULL &&
           buffer_reals(&s->da, 1, pairs) != NULL &&
           buffer_reals(&s->v, workers_count(pass->workers), q->e_stride) != NULL &&
           shards_cut(&s->shards, in, batch->n);
}

bool sequence_backward(const struct sequence *q, struct sequence_scratch *s,
                       const struct pass *pass, const struct batch *batch,
                       const struct batch_sequences *in, const real *x, real *dx, size_t x_stride)
{
    struct unit_input u = unit_input(s, in, batch->n);
    struct cross_input across = {.in = in, .n = u.n, .x_stride = x_stride, .query = u.q};
    if (!backward_reserve(q, s, pass, batch, in)) {
        return false;
    }
    real *de = s->de.data, *dq = s->dq.data;
    if (has_query(q)) {
        memset(dq, 0, batch->n * q->e_stride * sizeof *dq);
        cross_backward(&q->cross, &s->sum, &across, x, dx, dq);
    }
    struct pool_job job = {.q = q, .s = s, .pass = pass, .in = &u, .dx = dx, .x_stride = x_stride};
    workers_run(pass->workers, s->shards.n, backward_pool, &job);
    struct unit_pooled pooled = {s->a.data, dx + q->x, x_stride};
    struct take_job steps = {q, batch, in};
    struct unit_taker taker = {take_steps, &steps};
    if (q->din && !unit_backward(&q->unit, &s->unit, pass, &u, &s->shards, &pooled,
                                 s->rows_done ? &taker : NULL, de, dq, s->da.data)) {
        return false;
    }
    cross_backward_steps(&q->cross, &s->sum, in, de);
    if (has_query(q)) {
        scatter_query(q, dq, dx, x_stride, batch->n);
    }
    return true;
}

void sequence_backward_rows(const struct sequence *q, const struct sequence_scratch *s,
                            const struct batch *batch, const struct batch_sequences *in,
                            uint32_t table)
{
    const real *de = s->de.data;
    for (uint32_t i = 0; i < q->n_fields; i++) {
        if (q->field[i].table == table && !s->rows_done) {
            bag_pool_backward(&batch->table[table], de, q->e_stride, in->step_offset[in->n],
                              &in->step[i], q->field[i].dim, q->field[i].pool);
        }
        de += q->field[i].dim;
    }
}
