#include "learner/model/unit.h"

#include "learner/model/matrix.h"
#include "learner/model/share.h"

#include <string.h>

/* Serving runs so many pairs at once, to stay in the second cache; training needs all together for
 * Dice's statistics. */
enum { UNIT_BLOCK_PAIRS = 1024 };
enum { UNIT_PART_EXAMPLES = 4 };

void unit_declare(struct unit *u, struct params *p, const char *prefix, uint32_t e,
                  const struct model_options *opt)
{
    *u = (struct unit){
        .e = e,
        .k = opt->unit.hidden[0],
        .e_stride = kernels_stride(e),
        .k_stride = kernels_stride(opt->unit.hidden[0]),
        .input = opt->unit.input,
    };
    uint32_t parts = u->input == UNIT_PAPER ? 3 : 4;
    tower_declare(&u->tower, p, prefix, parts * e, opt->unit.n_hidden, opt->unit.hidden,
                  opt->unit.activation, opt);
}

void unit_init(const struct unit *u, const struct params *p, real *values, uint64_t seed)
{
    tower_init(&u->tower, p, values, seed);
}

void unit_scratch_release(struct unit_scratch *s)
{
    buffer_release(&s->fold);
    buffer_release(&s->fold_t);
    buffer_release(&s->dfold);
    buffer_release(&s->dparts);
    buffer_release(&s->query);
    buffer_release(&s->p);
    buffer_release(&s->dp);
    buffer_release(&s->dv);
    buffer_release(&s->sums);
    tower_scratch_release(&s->tower);
}

/* ---- folding ------------------------------------------------------------------------------ */

/* The parts of the weights that a fold is a sum of: fold += sign * part. */
struct fold_part {
    uint32_t part; /* rows part*E.. of the weights */
    enum { FOLD_H, FOLD_P, FOLD_C } fold;
    real sign;
};

static const struct fold_part FOLD_PAPER[] = {{0, FOLD_H, 1}, {1, FOLD_P, 1}, {2, FOLD_C, 1}};
static const struct fold_part FOLD_OFFICIAL[] = {
    {0, FOLD_C, 1}, {1, FOLD_H, 1}, {2, FOLD_C, 1}, {2, FOLD_H, -1}, {3, FOLD_P, 1}};

static const struct fold_part *fold_parts(const struct unit *u, size_t *n)
{
    bool paper = u->input == UNIT_PAPER;
    *n = paper ? sizeof FOLD_PAPER / sizeof FOLD_PAPER[0]
               : sizeof FOLD_OFFICIAL / sizeof FOLD_OFFICIAL[0];
    return paper ? FOLD_PAPER : FOLD_OFFICIAL;
}

static real *fold_of(const struct unit *u, const struct buffer *folds, size_t which)
{
    return (real *)folds->data + which * u->e * u->k_stride;
}

static real *fold_t_of(const struct unit *u, const struct buffer *folds, size_t which)
{
    return (real *)folds->data + which * u->k * u->e_stride;
}

static bool fold(const struct unit *u, struct unit_scratch *s, const struct pass *pass)
{
    size_t size = (size_t)u->e * u->k_stride;
    real *folds = buffer_reals(&s->fold, 1, 3 * size + u->k_stride);
    if (folds == NULL) {
        return false;
    }
    memset(folds, 0, 3 * size * sizeof *folds);
    const real *weight = pass->values + u->tower.layer[0].dense.weight;
    size_t n_parts;
    const struct fold_part *parts = fold_parts(u, &n_parts);
    for (size_t i = 0; i < n_parts; i++) {
        real *to = fold_of(u, &s->fold, parts[i].fold);
        const real *from = weight + (size_t)parts[i].part * u->e * u->k;
        for (size_t r = 0; r < u->e; r++, to += u->k_stride, from += u->k) {
            for (size_t j = 0; j < u->k; j++) {
                to[j] += parts[i].sign * from[j];
            }
        }
    }
    matrix_pad(folds + 3 * size, pass->values + u->tower.layer[0].dense.bias, 1, u->k, u->k_stride);
    return true;
}

/* The gradient of the weights from those of the folds. */
static void unfold(const struct unit *u, const struct unit_scratch *s, const struct pass *pass)
{
    real *grad = pass->grads + u->tower.layer[0].dense.weight;
    size_t n_parts;
    const struct fold_part *parts = fold_parts(u, &n_parts);
    for (size_t i = 0; i < n_parts; i++) {
        real *to = grad + (size_t)parts[i].part * u->e * u->k;
        const real *from = fold_of(u, &s->dfold, parts[i].fold);
        for (size_t r = 0; r < u->e; r++, to += u->k, from += u->k_stride) {
            for (size_t j = 0; j < u->k; j++) {
                to[j] += parts[i].sign * from[j];
            }
        }
    }
}

/* ---- forward ------------------------------------------------------------------------------ */

static const real *steps_of(const struct unit *u, const struct unit_input *in, size_t i)
{
    return in->e + (size_t)in->step_offset[in->of_example[i]] * u->e_stride;
}

/* query (B, k_stride) = q W_c + b */
static bool forward_query(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                          const struct unit_input *in)
{
    real *query = buffer_reals(&s->query, in->n, u->k_stride);
    if (query == NULL) {
        return false;
    }
    pass_gemm(pass, &(struct gemm){
                        .c = query,
                        .ldc = u->k_stride,
                        .a = in->q,
                        .a_row = u->e_stride,
                        .a_col = 1,
                        .b = fold_of(u, &s->fold, FOLD_C),
                        .ldb = u->k_stride,
                        .m = in->n,
                        .n = u->k_stride,
                        .k = u->e,
                        .bias = fold_of(u, &s->fold, 3),
                    });
    return true;
}

struct forward_job {
    const struct unit *u;
    const struct unit_scratch *s;
    struct pass pass; /* of a worker, who shares nothing further */
    const struct unit_input *in;
    size_t first, last;
    real *s_0; /* of example `first` on */
};

/* s_0 of one example: e P + its row of the query. */
static void forward_example(const struct forward_job *j, size_t i, real *p)
{
    const struct unit *u = j->u;
    size_t steps = j->in->pair[i + 1] - j->in->pair[i];
    if (steps == 0) {
        return;
    }
    j->pass.k->mix_rows(p, fold_of(u, &j->s->fold, FOLD_H), fold_of(u, &j->s->fold, FOLD_P),
                        j->in->q + i * u->e_stride, u->e, u->k_stride);
    pass_gemm(&j->pass, &(struct gemm){
                            .c = j->s_0 + (j->in->pair[i] - j->in->pair[j->first]) * u->k_stride,
                            .ldc = u->k_stride,
                            .a = steps_of(u, j->in, i),
                            .a_row = u->e_stride,
                            .a_col = 1,
                            .b = p,
                            .ldb = u->k_stride,
                            .m = steps,
                            .n = u->k_stride,
                            .k = u->e,
                            .bias = (const real *)j->s->query.data + i * u->k_stride,
                        });
}

static void forward_part(void *ctx, size_t part, size_t who)
{
    const struct forward_job *j = ctx;
    real *p = (real *)j->s->p.data + who * j->u->e * j->u->k_stride;
    size_t end = j->first + (part + 1) * UNIT_PART_EXAMPLES;
    size_t first = j->first + part * UNIT_PART_EXAMPLES;
    end = end < j->last ? end : j->last;
    for (size_t i = first; i < end; i++) {
        forward_example(j, i, p);
    }
    tower_note(&j->u->tower, &j->s->tower, &j->pass, part,
               j->in->pair[first] - j->in->pair[j->first], j->in->pair[end] - j->in->pair[first]);
}

/* s_0 of examples first..last-1, then the tower. */
static bool forward_block(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                          const struct unit_input *in, size_t first, size_t last, real *a)
{
    size_t n = in->pair[last] - in->pair[first];
    size_t parts = (last - first + UNIT_PART_EXAMPLES - 1) / UNIT_PART_EXAMPLES;
    real *s_0 = tower_input(&u->tower, &s->tower, pass, n, parts);
    if (s_0 == NULL) {
        return false;
    }
    struct forward_job job = {u, s, pass_alone(pass), in, first, last, s_0};
    workers_run(pass->workers, parts, forward_part, &job);
    return tower_forward(&u->tower, &s->tower, pass, a + in->pair[first], n);
}

bool unit_forward(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                  const struct unit_input *in, real *a)
{
    if (!fold(u, s, pass) || !tower_prepare(&u->tower, &s->tower, pass, false) ||
        !forward_query(u, s, pass, in) ||
        buffer_reals(&s->p, workers_count(pass->workers) * u->e, u->k_stride) == NULL) {
        return false;
    }
    size_t pairs_max = pass->statistics != NULL ? in->pair[in->n] : UNIT_BLOCK_PAIRS;
    for (size_t first = 0, last; first < in->n; first = last) {
        last = first + 1;
        while (last < in->n && in->pair[last + 1] - in->pair[first] <= pairs_max) {
            last++;
        }
        if (!forward_block(u, s, pass, in, first, last, a)) {
            return false;
        }
    }
    return true;
}

/* ---- backward ----------------------------------------------------------------------------- */

static bool backward_reserve(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                             size_t n, size_t n_shards)
{
    size_t fold_size = (size_t)u->e * u->k_stride;
    size_t workers = workers_count(pass->workers);
    if (buffer_reals(&s->dfold, 3, fold_size) == NULL ||
        buffer_reals(&s->dparts, n_shards, 2 * fold_size) == NULL ||
        buffer_reals(&s->fold_t, 3 * u->k, u->e_stride) == NULL ||
        buffer_reals(&s->p, workers * KERNELS_MIX_MAX * u->k, u->e_stride) == NULL ||
        buffer_reals(&s->dp, workers * KERNELS_MIX_MAX * u->e, u->k_stride) == NULL ||
        buffer_reals(&s->query, n, u->k_stride) == NULL ||
        buffer_reals(&s->dv, workers, u->e_stride) == NULL ||
        !buffer_reserve(&s->sums, workers, u->k_stride, sizeof(double))) {
        return false;
    }
    memset(s->dv.data, 0, workers * u->e_stride * sizeof(real));
    for (size_t f = 0; f < 3; f++) {
        matrix_transpose(fold_t_of(u, &s->fold_t, f), fold_of(u, &s->fold, f), u->e, u->k,
                         u->k_stride, u->e_stride);
    }
    return true;
}

struct backward_job {
    const struct unit *u;
    const struct unit_scratch *s;
    struct pass pass; /* of a worker, who shares nothing further */
    const struct unit_input *in;
    const struct shards *shards;
    const struct unit_pooled *pooled;
    const struct unit_taker *taker;
    real *de, *dq;
};

/* Where the gradient of example i's steps is put together. */
static real *steps_gradient(const struct backward_job *j, size_t i)
{
    size_t step = j->taker != NULL ? 0 : j->in->step_offset[j->in->of_example[i]];
    return j->de + step * j->u->e_stride;
}

/* The steps' share of the pooled vector: the first example of a sequence writes. */
static void backward_pooled(const struct backward_job *j, size_t i, size_t who, bool first)
{
    const struct unit *u = j->u;
    size_t steps = j->in->pair[i + 1] - j->in->pair[i];
    real *dv = (real *)j->s->dv.data + who * u->e_stride;
    memcpy(dv, j->pooled->dv + i * j->pooled->dv_stride, u->e * sizeof *dv);
    j->pass.k->outer(steps_gradient(j, i), j->pooled->weight + j->in->pair[i], dv, steps,
                     u->e_stride, !first);
}

/* The x-th of the examples at hand, i, steps > 0: de += ds_0 P^T;  dP = e^T ds_0. */
static void backward_example(const struct backward_job *j, size_t i, size_t x, size_t who,
                             const real *ds_0)
{
    const struct unit *u = j->u;
    size_t steps = j->in->pair[i + 1] - j->in->pair[i], at = who * KERNELS_MIX_MAX + x;
    pass_gemm(&j->pass, &(struct gemm){
                            .c = steps_gradient(j, i),
                            .ldc = u->e_stride,
                            .a = ds_0,
                            .a_row = u->k_stride,
                            .a_col = 1,
                            .b = (const real *)j->s->p.data + at * u->k * u->e_stride,
                            .ldb = u->e_stride,
                            .m = steps,
                            .n = u->e_stride,
                            .k = u->k,
                            .add = true,
                        });
    pass_gemm(&j->pass, &(struct gemm){
                            .c = (real *)j->s->dp.data + at * u->e * u->k_stride,
                            .ldc = u->k_stride,
                            .a = steps_of(u, j->in, i),
                            .a_row = 1,
                            .a_col = u->e_stride,
                            .b = ds_0,
                            .ldb = u->k_stride,
                            .m = u->e,
                            .n = u->k_stride,
                            .k = steps,
                        });
}

/* After the x-th example of the shards' order, which has steps. */
static void take(const struct backward_job *j, uint32_t x, uint32_t end)
{
    const uint32_t *order = j->shards->order.data;
    uint32_t k = j->in->of_example[order[x]];
    if (j->taker != NULL && (x + 1 == end || j->in->of_example[order[x + 1]] != k)) {
        j->taker->take(j->taker->ctx, k, j->de);
    }
}

/* ds_0 of example i, and its sum over the steps. */
static const real *example_gradient(const struct backward_job *j, size_t i, size_t who)
{
    const struct unit *u = j->u;
    double *sums = (double *)j->s->sums.data + who * u->k_stride;
    real *dquery = (real *)j->s->query.data + i * u->k_stride;
    memset(sums, 0, u->k_stride * sizeof *sums);
    const real *ds_0 = tower_gradient(&u->tower, &j->s->tower, &j->pass, who, j->in->pair[i],
                                      j->in->pair[i + 1] - j->in->pair[i], sums);
    for (size_t c = 0; c < u->k_stride; c++) {
        dquery[c] = (real)sums[c];
    }
    return ds_0;
}

/* The x-th and the following examples of the shards' order, which have steps; ADDS what follows
 * from their dP into the shard's dfold. */
static void backward_examples(const struct backward_job *j, const uint32_t *x, size_t n, size_t who,
                              uint32_t end, real *dfold)
{
    const struct unit *u = j->u;
    const uint32_t *order = j->shards->order.data;
    real *p_t = (real *)j->s->p.data + who * KERNELS_MIX_MAX * u->k * u->e_stride;
    real *dp = (real *)j->s->dp.data + who * KERNELS_MIX_MAX * u->e * u->k_stride;
    const real *q[KERNELS_MIX_MAX];
    real *dq[KERNELS_MIX_MAX];
    for (size_t k = 0; k < n; k++) {
        q[k] = j->in->q + order[x[k]] * u->e_stride;
        dq[k] = j->dq + order[x[k]] * u->e_stride;
    }
    j->pass.k->mix_columns(p_t, fold_t_of(u, &j->s->fold_t, FOLD_H),
                           fold_t_of(u, &j->s->fold_t, FOLD_P), q, n, u->k, u->e_stride);
    for (size_t k = 0; k < n; k++) {
        size_t i = order[x[k]];
        const real *ds_0 = example_gradient(j, i, who);
        backward_pooled(j, i, who, shards_first(j->shards, j->in->of_example, x[k]));
        backward_example(j, i, k, who, ds_0);
        take(j, x[k], end);
    }
    j->pass.k->mix_backward(dfold, dfold + (size_t)u->e * u->k_stride, dq, dp,
                            fold_of(u, &j->s->fold, FOLD_P), q, n, u->e, u->k_stride);
}

static void backward_shard(void *ctx, size_t shard, size_t who)
{
    const struct backward_job *j = ctx;
    const struct unit *u = j->u;
    const uint32_t *order = j->shards->order.data;
    size_t fold_size = (size_t)u->e * u->k_stride, n = 0;
    real *dfold = (real *)j->s->dparts.data + shard * 2 * fold_size;
    uint32_t end = j->shards->first[shard + 1], at_hand[KERNELS_MIX_MAX];
    memset(dfold, 0, 2 * fold_size * sizeof *dfold);
    for (uint32_t x = j->shards->first[shard]; x < end; x++) {
        if (j->in->pair[order[x]] == j->in->pair[order[x] + 1]) {
            (void)example_gradient(j, order[x], who);
            continue;
        }
        at_hand[n++] = x;
        if (n == KERNELS_MIX_MAX) {
            backward_examples(j, at_hand, n, who, end, dfold);
            n = 0;
        }
    }
    if (n > 0) {
        backward_examples(j, at_hand, n, who, end, dfold);
    }
}

/* From the sums of ds_0 over each example's steps, dquery (B, k_stride):
 * dW_c = q^T dquery, db = its column sums, dq += dquery W_c^T. */
static void backward_query(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                           const struct unit_input *in, real *dq)
{
    const real *dquery = s->query.data;
    pass_gemm(pass, &(struct gemm){
                        .c = fold_of(u, &s->dfold, FOLD_C),
                        .ldc = u->k_stride,
                        .a = in->q,
                        .a_row = 1,
                        .a_col = u->e_stride,
                        .b = dquery,
                        .ldb = u->k_stride,
                        .m = u->e,
                        .n = u->k_stride,
                        .k = in->n,
                    });
    pass_gemm(pass, &(struct gemm){
                        .c = dq,
                        .ldc = u->e_stride,
                        .a = dquery,
                        .a_row = u->k_stride,
                        .a_col = 1,
                        .b = fold_t_of(u, &s->fold_t, FOLD_C),
                        .ldb = u->e_stride,
                        .m = in->n,
                        .n = u->e_stride,
                        .k = u->k,
                        .add = true,
                    });
    double *sums = s->sums.data;
    memset(sums, 0, u->k_stride * sizeof *sums);
    pass->k->column_sums(sums, dquery, in->n, u->k_stride);
    matrix_add_sums(pass->grads + u->tower.layer[0].dense.bias, sums, u->k);
}

static size_t steps_max(const struct unit_input *in)
{
    size_t most = 0;
    for (size_t i = 0; i < in->n; i++) {
        size_t steps = in->pair[i + 1] - in->pair[i];
        most = steps > most ? steps : most;
    }
    return most;
}

bool unit_backward(const struct unit *u, struct unit_scratch *s, const struct pass *pass,
                   const struct unit_input *in, const struct shards *shards,
                   const struct unit_pooled *pooled, const struct unit_taker *taker, real *de,
                   real *dq, const real *da)
{
    UNDINE_ASSERT(taker == NULL || workers_count(pass->workers) == 1);
    if (!tower_backward(&u->tower, &s->tower, pass, da, in->pair[in->n], steps_max(in)) ||
        !backward_reserve(u, s, pass, in->n, shards->n)) {
        return false;
    }
    struct backward_job job = {u, s, pass_alone(pass), in, shards, pooled, taker, de, dq};
    workers_run(pass->workers, shards->n, backward_shard, &job);
    share_sum_reals(s->dfold.data, s->dparts.data, shards->n, 2 * (size_t)u->e * u->k_stride);
    backward_query(u, s, pass, in, dq);
    unfold(u, s, pass);
    return true;
}
