#include "learner/model/low_inside.h"
#include "learner/model/matrix.h"

#include <math.h>
#include <string.h>

/* ---- what is made once -------------------------------------------------------------------- */

static bool open_weights(struct low_layer *l, const struct dense *d, const real *values)
{
    size_t n = d->out_stride, pairs = (d->in + 1) / 2;
    struct buffer padded = {0};
    real *w = buffer_reals(&padded, d->in, n);
    real *bias = buffer_reals(&l->bias, 1, n), *scale = buffer_reals(&l->scale, 1, n);
    if (w == NULL || bias == NULL || scale == NULL ||
        !buffer_reserve(&l->q, pairs, 2 * n, sizeof(int16_t))) {
        buffer_release(&padded);
        return false;
    }
    matrix_pad(w, values + d->weight, d->in, d->out, n);
    matrix_pad(bias, values + d->bias, 1, d->out, n);
    low_columns_of(&(struct low_columns){l->q.data, scale, d->in, n}, w, l->limit);
    buffer_release(&padded);
    return true;
}

/* e^-z = 2^t, z = (s - mean) inv. */
static void dice_channels(real *channels, const struct activation *a, const real *values)
{
    static const double log2_e = 1.4426950408889634;
    for (uint32_t c = 0; c < a->width; c++) {
        double inv = log2_e / sqrt((double)values[a->var + c] + a->eps);
        double alpha = (double)values[a->alpha + c];
        channels[c] = (real)-inv;
        channels[a->stride + c] = (real)((double)values[a->mean + c] * inv);
        channels[2 * a->stride + c] = (real)alpha;
        channels[3 * a->stride + c] = (real)(1.0 - alpha);
    }
}

static bool open_activation(struct low_layer *l, const struct activation *a, const real *values)
{
    real *channels = buffer_reals(&l->channels, 4, a->stride);
    if (channels == NULL) {
        return false;
    }
    memset(channels, 0, 4 * a->stride * sizeof *channels);
    if (a->kind == ACT_DICE) {
        dice_channels(channels, a, values);
    } else if (a->kind == ACT_PRELU) {
        memcpy(channels, values + a->alpha, a->width * sizeof *channels);
    }
    return true;
}

bool low_tower_open_above(struct low_tower *t, const struct tower *of, const real *values,
                          const struct low_kernels *low, const struct kernels *k)
{
    *t = (struct low_tower){.low = low, .k = k, .of = of, .out_bias = values[of->out_bias]};
    size_t stride = kernels_stride(of->last);
    real *w = buffer_reals(&t->out_w, 1, stride);
    bool ok = w != NULL;
    for (uint32_t i = 0; ok && i < of->n_hidden; i++) {
        t->layer[i].limit = low_limit(of->layer[i].dense.in);
        ok = open_activation(&t->layer[i], &of->layer[i].act, values) &&
             (i == 0 || open_weights(&t->layer[i], &of->layer[i].dense, values));
    }
    if (ok) {
        matrix_pad(w, values + of->out_weight, 1, of->last, stride);
    }
    return ok;
}

bool low_tower_open(struct low_tower *t, const struct tower *of, const real *values,
                    const struct low_kernels *low, const struct kernels *k)
{
    return low_tower_open_above(t, of, values, low, k) &&
           open_weights(&t->layer[0], &of->layer[0].dense, values);
}

void low_tower_release(struct low_tower *t)
{
    for (size_t i = 0; i < MODEL_LAYERS_MAX; i++) {
        buffer_release(&t->layer[i].q);
        buffer_release(&t->layer[i].scale);
        buffer_release(&t->layer[i].bias);
        buffer_release(&t->layer[i].channels);
    }
    buffer_release(&t->out_w);
}

void low_tower_scratch_release(struct low_tower_scratch *s)
{
    buffer_release(&s->s);
    buffer_release(&s->t);
    buffer_release(&s->q);
    buffer_release(&s->scale);
}

/* ---- forward ------------------------------------------------------------------------------ */

static size_t widest(const struct tower *t)
{
    size_t most = t->layer[0].dense.in_stride;
    for (uint32_t i = 0; i < t->n_hidden; i++) {
        size_t stride = t->layer[i].dense.out_stride;
        most = stride > most ? stride : most;
    }
    return most;
}

bool low_tower_reserve(const struct low_tower *t, struct low_tower_scratch *s)
{
    size_t stride = widest(t->of);
    return buffer_reals(&s->s, LOW_BLOCK_ROWS, stride) != NULL &&
           buffer_reals(&s->t, LOW_BLOCK_ROWS, stride) != NULL &&
           buffer_reals(&s->scale, 1, LOW_BLOCK_ROWS) != NULL &&
           buffer_reserve(&s->q, LOW_BLOCK_ROWS, stride, sizeof(int16_t));
}

real *low_tower_input(const struct low_tower_scratch *s)
{
    return s->s.data;
}

static struct low_dice dice_of(const struct low_layer *l, size_t stride)
{
    const real *c = l->channels.data;
    return (struct low_dice){c, c + stride, c + 2 * stride, c + 3 * stride};
}

/* y = f(s), of all kinds but Dice. */
static void activate(const struct low_tower *t, uint32_t i, real *y, const real *s, size_t n)
{
    size_t stride = t->of->layer[i].act.stride;
    switch (t->of->layer[i].act.kind) {
    case ACT_SIGMOID:
        t->k->sigmoid(y, s, n * stride);
        break;
    case ACT_RELU:
        t->k->relu(y, s, n * stride);
        break;
    case ACT_TANH:
        for (size_t x = 0; x < n * stride; x++) {
            y[x] = (real)tanh((double)s[x]);
        }
        break;
    case ACT_PRELU:
        t->k->prelu(y, s, n, stride, t->layer[i].channels.data);
        break;
    case ACT_DICE:
        UNDINE_ASSERT(false);
    }
}

/* y_i of s_i as integers; s becomes y, or *other does. */
static void put_rows(const struct low_tower *t, uint32_t i, const struct low_rows *rows, real *s,
                     real *other, size_t n)
{
    size_t stride = t->of->layer[i].act.stride;
    int limit = t->layer[i + 1].limit;
    if (t->of->layer[i].act.kind == ACT_DICE) {
        struct low_dice dice = dice_of(&t->layer[i], stride);
        t->low->dice_rows(rows, s, n, stride, &dice, limit);
    } else {
        activate(t, i, other, s, n);
        t->low->rows(rows, other, n, stride, t->of->layer[i].act.width, limit);
    }
}

static void last_layer(const struct low_tower *t, real *out, const real *s, real *other, size_t n)
{
    uint32_t i = t->of->n_hidden - 1;
    size_t stride = t->of->layer[i].act.stride;
    if (t->of->layer[i].act.kind == ACT_DICE) {
        struct low_dice dice = dice_of(&t->layer[i], stride);
        t->low->dice_dot(out, s, n, stride, &dice, t->out_w.data, t->out_bias);
    } else {
        activate(t, i, other, s, n);
        t->k->dot(out, other, n, stride, t->out_w.data, t->out_bias);
    }
}

static void product(const struct low_tower *t, uint32_t i, const struct low_rows *rows, real *s,
                    size_t n)
{
    const struct dense *d = &t->of->layer[i].dense;
    const struct low_layer *l = &t->layer[i];
    t->low->product(&(struct low_product){
        .c = s,
        .ldc = d->out_stride,
        .a = *rows,
        .b = {l->q.data, l->scale.data, d->in, d->out_stride},
        .bias = l->bias.data,
        .m = n,
    });
}

void low_tower_above(const struct low_tower *t, const struct low_tower_scratch *s, real *out,
                     size_t n)
{
    real *now = s->s.data, *next = s->t.data;
    for (uint32_t i = 0; i + 1 < t->of->n_hidden; i++) {
        struct low_rows rows = {s->q.data, s->scale.data, t->of->layer[i].dense.out_stride};
        put_rows(t, i, &rows, now, next, n);
        product(t, i + 1, &rows, next, n);
        real *swap = now;
        now = next;
        next = swap;
    }
    last_layer(t, out, now, next, n);
}

bool low_tower_forward(const struct low_tower *t, struct low_tower_scratch *s, const real *x,
                       size_t x_stride, real *out, size_t n)
{
    const struct dense *d = &t->of->layer[0].dense;
    if (!low_tower_reserve(t, s)) {
        return false;
    }
    struct low_rows rows = {s->q.data, s->scale.data, d->in_stride};
    for (size_t i = 0; i < n; i += LOW_BLOCK_ROWS) {
        size_t m = n - i < LOW_BLOCK_ROWS ? n - i : LOW_BLOCK_ROWS;
        t->low->rows(&rows, x + i * x_stride, m, x_stride, d->in, t->layer[0].limit);
        product(t, 0, &rows, s->s.data, m);
        low_tower_above(t, s, out + i, m);
    }
    return true;
}
