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

/* The last layer, one number a row; by chunks of its rows. */
struct out_job {
    const struct tower_scratch *s;
    const struct pass *pass;
    size_t n, stride;
    const real *y; /* (n, stride) what comes in */
    real *out, bias;
    const real *dout; /* backward */
    real *g;
};

static void out_part(void *ctx, size_t i, size_t who)
{
    const struct out_job *j = ctx;
    struct share_rows r = share_chunk(j->n, j->stride, i);
    (void)who;
    j->pass->k->dot(j->out + r.first, j->y + r.first * j->stride, r.n, j->stride, j->s->out_w.data,
                    j->bias);
}

static void out_backward_part(void *ctx, size_t i, size_t who)
{
    const struct out_job *j = ctx;
    struct share_rows r = share_chunk(j->n, j->stride, i);
    size_t at = r.first * j->stride;
    double *dw = (double *)j->s->out_parts.data + i * j->stride;
    (void)who;
    memset(dw, 0, j->stride * sizeof *dw);
    j->pass->k->dot_backward(j->g + at, dw, j->dout + r.first, j->y + at, r.n, j->stride,
                             j->s->out_w.data);
}

bool tower_forward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                   real *out, size_t n)
{
    const real *y = NULL;
    for (uint32_t i = 0; i < t->n_hidden; i++) {
        const struct dense *d = &t->layer[i].dense;
        real *s_i = buffer_reals(&s->layer[i].s, n, d->out_stride);
        real *y_i = buffer_reals(&s->layer[i].y, n, d->out_stride);
        if (s_i == NULL || y_i == NULL) {
            return false;
        }
        if (i > 0) {
            dense_forward(d, &s->layer[i].dense, pass, s_i, y, d->in_stride, n);
        }
        if (!activation_forward(&t->layer[i].act, &s->layer[i].act, pass, y_i, s_i, n)) {
            return false;
        }
        y = y_i;
    }
    struct out_job job = {.s = s,
                          .pass = pass,
                          .n = n,
                          .stride = kernels_stride(t->last),
                          .y = y,
                          .out = out,
                          .bias = pass->values[t->out_bias]};
    workers_run(pass->workers, share_count(n, job.stride), out_part, &job);
    return true;
}

static bool backward_out(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                         const real *dout, size_t n)
{
    uint32_t last = t->n_hidden - 1;
    size_t stride = t->layer[last].dense.out_stride;
    real *g = buffer_reals(&s->layer[last].g, n, stride);
    size_t chunks = share_count(n, stride);
    if (g == NULL || !buffer_reserve(&s->out_dw, stride, 1, sizeof(double)) ||
        !buffer_reserve(&s->out_parts, chunks, stride, sizeof(double))) {
        return false;
    }
    double *dw = s->out_dw.data;
    struct out_job job = {.s = s,
                          .pass = pass,
                          .n = n,
                          .stride = stride,
                          .y = s->layer[last].y.data,
                          .dout = dout,
                          .g = g};
    workers_run(pass->workers, chunks, out_backward_part, &job);
    share_sum(dw, s->out_parts.data, chunks, stride);
    matrix_add_sums(pass->grads + t->out_weight, dw, t->last);
    double db = 0.0;
    for (size_t i = 0; i < n; i++) {
        db += (double)dout[i];
    }
    pass->grads[t->out_bias] += (real)db;
    return true;
}

const real *tower_backward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                           const real *dout, size_t n)
{
    if (!backward_out(t, s, pass, dout, n)) {
        return NULL;
    }
    for (uint32_t i = t->n_hidden; i-- > 0;) {
        const struct dense *d = &t->layer[i].dense;
        real *g = s->layer[i].g.data;
        activation_backward(&t->layer[i].act, &s->layer[i].act, pass, g, s->layer[i].y.data,
                            s->layer[i].s.data, n);
        if (i == 0) {
            break;
        }
        real *g_below = buffer_reals(&s->layer[i - 1].g, n, d->in_stride);
        if (g_below == NULL || !dense_backward(d, &s->layer[i].dense, pass, g_below, g,
                                               s->layer[i - 1].y.data, d->in_stride, n)) {
            return NULL;
        }
    }
    return s->layer[0].g.data;
}
