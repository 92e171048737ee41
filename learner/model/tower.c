#include "learner/model/tower.h"

#include "learner/model/matrix.h"
#include "learner/model/share.h"

#include <stdio.h>
#include <string.h>

void tower_declare(struct tower *t, struct params *p, const char *prefix, uint32_t in,
                   uint32_t n_hidden, const uint32_t *hidden, enum model_activation kind,
                   const struct model_options *opt)
{
    char name[MODEL_PARAM_NAME_MAX];
    UNDINE_ASSERT(n_hidden >= 1 && n_hidden <= MODEL_LAYERS_MAX);
    t->n_hidden = n_hidden;
    for (uint32_t i = 0; i < n_hidden; i++) {
        (void)snprintf(name, sizeof name, "%s.%u", prefix, i);
        dense_declare(&t->layer[i].dense, p, name, in, hidden[i]);
        activation_declare(&t->layer[i].act, p, name, hidden[i], kind, opt);
        in = hidden[i];
    }
    (void)snprintf(name, sizeof name, "%s.%u", prefix, n_hidden);
    t->last = in;
    t->out_weight = params_add(p, name, "weight", in, 1, true);
    t->out_bias = params_add(p, name, "bias", 1, 1, true);
}

void tower_init(const struct tower *t, const struct params *p, real *values, uint64_t seed)
{
    for (uint32_t i = 0; i < t->n_hidden; i++) {
        dense_init(&t->layer[i].dense, p, values, seed);
        activation_init(&t->layer[i].act, values);
    }
    params_init_glorot(p, t->out_weight, values, seed);
    values[t->out_bias] = 0;
}

void tower_scratch_release(struct tower_scratch *s)
{
    for (size_t i = 0; i < MODEL_LAYERS_MAX; i++) {
        dense_scratch_release(&s->layer[i].dense);
        activation_scratch_release(&s->layer[i].act);
        buffer_release(&s->layer[i].s);
        buffer_release(&s->layer[i].y);
        buffer_release(&s->layer[i].g);
    }
    buffer_release(&s->out_w);
    buffer_release(&s->out_dw);
    buffer_release(&s->out_parts);
}

bool tower_prepare(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                   bool first)
{
    for (uint32_t i = first ? 0 : 1; i < t->n_hidden; i++) {
        if (!dense_prepare(&t->layer[i].dense, &s->layer[i].dense, pass)) {
            return false;
        }
    }
    size_t stride = kernels_stride(t->last);
    real *w = buffer_reals(&s->out_w, 1, stride);
    if (w == NULL) {
        return false;
    }
    matrix_pad(w, pass->values + t->out_weight, 1, t->last, stride);
    return true;
}

real *tower_input(const struct tower *t, struct tower_scratch *s, size_t n)
{
    return buffer_reals(&s->layer[0].s, n, t->layer[0].dense.out_stride);
}

/* The last layer, one number a row; by chunks of its rows.  With Dice below it the two are one: y
 * is never written, and its gradient neither. */
struct out_job {
    const struct activation *act;
    const struct activation_scratch *act_scratch;
    const struct tower_scratch *s;
    const struct pass *pass;
    size_t n, stride;
    const real *x; /* (n, stride) what comes in: s of Dice, y of other activations */
    real *out, bias;
    const real *dout; /* backward */
    real *g;
};

static struct out_job out_job(const struct tower *t, const struct tower_scratch *s,
                              const struct pass *pass, size_t n)
{
    uint32_t last = t->n_hidden - 1;
    bool dice = t->layer[last].act.kind == ACT_DICE;
    return (struct out_job){.act = &t->layer[last].act,
                            .act_scratch = &s->layer[last].act,
                            .s = s,
                            .pass = pass,
                            .n = n,
                            .stride = t->layer[last].dense.out_stride,
                            .x = dice ? s->layer[last].s.data : s->layer[last].y.data,
                            .bias = pass->values[t->out_bias],
                            .g = s->layer[last].g.data};
}

static void out_part(void *ctx, size_t i, size_t who)
{
    const struct out_job *j = ctx;
    const struct kernels *k = j->pass->k;
    struct share_rows r = share_chunk(j->n, j->stride, i);
    const real *x = j->x + r.first * j->stride, *w = j->s->out_w.data;
    struct dice_channels ch = activation_dice_channels(j->act, j->act_scratch);
    (void)who;
    if (j->act->kind == ACT_DICE) {
        k->dice_dot(j->out + r.first, x, r.n, j->stride, &ch, w, j->bias);
    } else {
        k->dot(j->out + r.first, x, r.n, j->stride, w, j->bias);
    }
}

static void out_backward_part(void *ctx, size_t i, size_t who)
{
    const struct out_job *j = ctx;
    const struct kernels *k = j->pass->k;
    struct share_rows r = share_chunk(j->n, j->stride, i);
    size_t at = r.first * j->stride;
    const real *w = j->s->out_w.data;
    double *dw = (double *)j->s->out_parts.data + i * j->stride;
    (void)who;
    memset(dw, 0, j->stride * sizeof *dw);
    if (j->act->kind == ACT_DICE) {
        struct dice_channels ch = activation_dice_channels(j->act, j->act_scratch);
        struct dice_sums sums = activation_dice_part(j->act, j->act_scratch, i);
        k->dice_dot_backward(j->g + at, dw, j->dout + r.first, j->x + at, r.n, j->stride, &ch, w,
                             &sums);
    } else {
        k->dot_backward(j->g + at, dw, j->dout + r.first, j->x + at, r.n, j->stride, w);
    }
}

/* y_i, unless the last layer makes it on the way. */
static bool forward_activation(const struct tower *t, struct tower_scratch *s,
                               const struct pass *pass, uint32_t i, size_t n)
{
    const struct activation *a = &t->layer[i].act;
    const real *s_i = s->layer[i].s.data;
    if (i + 1 == t->n_hidden && a->kind == ACT_DICE) {
        return activation_dice_begin(a, &s->layer[i].act, pass, s_i, n);
    }
    real *y_i = buffer_reals(&s->layer[i].y, n, t->layer[i].dense.out_stride);
    return y_i != NULL && activation_forward(a, &s->layer[i].act, pass, y_i, s_i, n);
}

bool tower_forward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                   real *out, size_t n)
{
    for (uint32_t i = 0; i < t->n_hidden; i++) {
        const struct dense *d = &t->layer[i].dense;
        real *s_i = buffer_reals(&s->layer[i].s, n, d->out_stride);
        if (s_i == NULL) {
            return false;
        }
        if (i > 0) {
            dense_forward(d, &s->layer[i].dense, pass, s_i, s->layer[i - 1].y.data, d->in_stride,
                          n);
        }
        if (!forward_activation(t, s, pass, i, n)) {
            return false;
        }
    }
    struct out_job job = out_job(t, s, pass, n);
    job.out = out;
    workers_run(pass->workers, share_count(n, job.stride), out_part, &job);
    return true;
}

static bool backward_out(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                         const real *dout, size_t n)
{
    uint32_t last = t->n_hidden - 1;
    const struct activation *a = &t->layer[last].act;
    size_t stride = t->layer[last].dense.out_stride;
    size_t chunks = share_count(n, stride);
    if (buffer_reals(&s->layer[last].g, n, stride) == NULL ||
        !buffer_reserve(&s->out_dw, stride, 1, sizeof(double)) ||
        !buffer_reserve(&s->out_parts, chunks, stride, sizeof(double))) {
        return false;
    }
    double *dw = s->out_dw.data;
    struct out_job job = out_job(t, s, pass, n);
    job.dout = dout;
    workers_run(pass->workers, chunks, out_backward_part, &job);
    if (a->kind == ACT_DICE) {
        activation_dice_end(a, &s->layer[last].act, pass, n);
    } else {
        activation_backward(a, &s->layer[last].act, pass, s->layer[last].g.data,
                            s->layer[last].y.data, s->layer[last].s.data, n);
    }
    share_sum(dw, s->out_parts.data, chunks, stride);
    matrix_add_sums(pass->grads + t->out_weight, dw, t->last);
    double db = 0.0;
    for (size_t i = 0; i < n; i++) {
        db += (double)dout[i];
    }
    pass->grads[t->out_bias] += (real)db;
    return true;
}

/* ---- what went through Dice's statistics -------------------------------------------------- */

struct center_job {
    const struct tower *t;
    const struct tower_scratch *s;
    const struct pass *pass;
    uint32_t layer;
    size_t n;
};

static void center_rows(const struct center_job *j, size_t first, size_t n)
{
    size_t at = first * j->t->layer[j->layer].dense.out_stride;
    activation_center(&j->t->layer[j->layer].act, &j->s->layer[j->layer].act, j->pass->k,
                      (real *)j->s->layer[j->layer].g.data + at,
                      (const real *)j->s->layer[j->layer].s.data + at, n);
}

static void center_part(void *ctx, size_t i, size_t who)
{
    const struct center_job *j = ctx;
    struct share_rows r = share_chunk(j->n, j->t->layer[j->layer].dense.out_stride, i);
    (void)who;
    center_rows(j, r.first, r.n);
}

static void center_layer(const struct tower *t, const struct tower_scratch *s,
                         const struct pass *pass, uint32_t layer, size_t n)
{
    if (s->layer[layer].act.through_statistics) {
        struct center_job job = {t, s, pass, layer, n};
        workers_run(pass->workers, share_count(n, t->layer[layer].dense.out_stride), center_part,
                    &job);
    }
}

void tower_center(const struct tower *t, const struct tower_scratch *s, const struct pass *pass,
                  size_t first, size_t n)
{
    center_rows(&(struct center_job){t, s, pass, 0, n}, first, n);
}

void tower_center_all(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                      size_t n)
{
    center_layer(t, s, pass, 0, n);
}

const real *tower_backward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                           const real *dout, size_t n)
{
    if (!backward_out(t, s, pass, dout, n)) {
        return NULL;
    }
    for (uint32_t i = t->n_hidden - 1; i > 0; i--) {
        const struct dense *d = &t->layer[i].dense;
        center_layer(t, s, pass, i, n);
        real *below = buffer_reals(&s->layer[i - 1].g, n, d->in_stride);
        if (below == NULL || !dense_backward(d, &s->layer[i].dense, pass, below, s->layer[i].g.data,
                                             s->layer[i - 1].y.data, d->in_stride, n)) {
            return NULL;
        }
        activation_backward(&t->layer[i - 1].act, &s->layer[i - 1].act, pass, below,
                            s->layer[i - 1].y.data, s->layer[i - 1].s.data, n);
    }
    return s->layer[0].g.data;
}
