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
    buffer_release(&s->centered);
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

/* ---- sweeps ------------------------------------------------------------------------------- */

/* What a chunk reads and writes stays in the second cache, mostly in the first.  Wide layers are
 * products above all, which another library may do faster where they are large. */
enum { CHUNK_ROWS = 128, WIDE = 256, CHUNK_ROWS_WIDE = 4096 };

/* One way over all rows. */
struct sweep {
    const struct tower *t;
    const struct tower_scratch *s;
    struct pass pass; /* of a worker, who shares nothing further */
    uint32_t i;       /* the layer */
    size_t n, rows;   /* of a chunk */
    const real *x;    /* of layer 0 */
    size_t x_stride;
    real *out, *dx;
    const real *dout;
};

static struct sweep sweep(const struct tower *t, const struct tower_scratch *s,
                          const struct pass *pass, uint32_t i, size_t n)
{
    const struct dense *d = &t->layer[i].dense;
    bool wide = d->in >= WIDE && d->out >= WIDE;
    size_t rows = wide ? CHUNK_ROWS_WIDE : CHUNK_ROWS;
    return (struct sweep){.t = t,
                          .s = s,
                          .pass = pass_alone(pass),
                          .i = i,
                          .n = n,
                          .rows = n > 0 && n < rows ? n : rows};
}

static size_t chunks(const struct sweep *w)
{
    return (w->n + w->rows - 1) / w->rows;
}

static struct share_rows chunk(const struct sweep *w, struct share_rows of, size_t i)
{
    size_t left = of.n - i * w->rows;
    return (struct share_rows){of.first + i * w->rows, left < w->rows ? left : w->rows};
}

static real *rows_of(const struct sweep *w, const struct buffer *b, uint32_t i, size_t first)
{
    return (real *)b->data + first * w->t->layer[i].dense.out_stride;
}

static real *s_of(const struct sweep *w, uint32_t i, struct share_rows r)
{
    return rows_of(w, &w->s->layer[i].s, i, r.first);
}

static real *g_of(const struct sweep *w, uint32_t i, struct share_rows r)
{
    return rows_of(w, &w->s->layer[i].g, i, r.first);
}

static real *y_of(const struct sweep *w, uint32_t i, struct share_rows r, size_t who)
{
    bool dice = w->t->layer[i].act.kind == ACT_DICE;
    return rows_of(w, &w->s->layer[i].y, i, dice ? who * w->rows : r.first);
}

/* Room for y_i: for Dice's, that of one chunk at a time of the layer above; the last has none. */
static bool reserve_y(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                      uint32_t i, size_t n)
{
    size_t rows = n;
    if (t->layer[i].act.kind == ACT_DICE) {
        rows = i + 1 < t->n_hidden ? sweep(t, s, pass, i + 1, n).rows : 0;
        rows *= workers_count(pass->workers);
    }
    return buffer_reals(&s->layer[i].y, rows, t->layer[i].dense.out_stride) != NULL;
}

/* ---- forward ------------------------------------------------------------------------------ */

real *tower_input(const struct tower *t, struct tower_scratch *s, const struct pass *pass, size_t n,
                  size_t n_parts)
{
    real *s_0 = buffer_reals(&s->layer[0].s, n, t->layer[0].dense.out_stride);
    bool ok = s_0 != NULL && activation_begin(&t->layer[0].act, &s->layer[0].act, pass, n_parts);
    return ok ? s_0 : NULL;
}

void tower_note(const struct tower *t, const struct tower_scratch *s, const struct pass *pass,
                size_t part, size_t first, size_t n)
{
    const real *s_0 = s->layer[0].s.data;
    activation_note(&t->layer[0].act, &s->layer[0].act, pass->k, part,
                    s_0 + first * t->layer[0].dense.out_stride, n);
}

/* s_i from what is below it. */
static void forward_chunk(void *ctx, size_t part, size_t who)
{
    const struct sweep *w = ctx;
    const struct dense *d = &w->t->layer[w->i].dense;
    struct share_rows r = chunk(w, (struct share_rows){0, w->n}, part);
    const real *x = w->x + r.first * w->x_stride;
    size_t x_stride = w->x_stride;
    if (w->i > 0) {
        uint32_t below = w->i - 1;
        real *y = y_of(w, below, r, who);
        activation_rows(&w->t->layer[below].act, &w->s->layer[below].act, w->pass.k, y,
                        s_of(w, below, r), r.n);
        x = y;
        x_stride = d->in_stride;
    }
    dense_forward(d, &w->s->layer[w->i].dense, &w->pass, s_of(w, w->i, r), x, x_stride, r.n);
    activation_note(&w->t->layer[w->i].act, &w->s->layer[w->i].act, w->pass.k, part,
                    s_of(w, w->i, r), r.n);
}

/* The last layer, one number a row.  With Dice below it the two are one: y is never written. */
static void out_chunk(void *ctx, size_t part, size_t who)
{
    const struct sweep *w = ctx;
    const struct kernels *k = w->pass.k;
    const struct activation *a = &w->t->layer[w->i].act;
    const struct activation_scratch *act = &w->s->layer[w->i].act;
    struct share_rows r = chunk(w, (struct share_rows){0, w->n}, part);
    const real *s = s_of(w, w->i, r), *weight = w->s->out_w.data;
    real bias = w->pass.values[w->t->out_bias];
    if (a->kind == ACT_DICE) {
        struct dice_channels ch = activation_dice_channels(a, act);
        k->dice_dot(w->out + r.first, s, r.n, a->stride, &ch, weight, bias);
        return;
    }
    real *y = y_of(w, w->i, r, who);
    activation_rows(a, act, k, y, s, r.n);
    k->dot(w->out + r.first, y, r.n, a->stride, weight, bias);
}

bool tower_forward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                   real *out, size_t n)
{
    uint32_t last = t->n_hidden - 1;
    for (uint32_t i = 0; i < t->n_hidden; i++) {
        struct sweep w = sweep(t, s, pass, i, n);
        if (i > 0) {
            if (buffer_reals(&s->layer[i].s, n, t->layer[i].dense.out_stride) == NULL ||
                !activation_begin(&t->layer[i].act, &s->layer[i].act, pass, chunks(&w))) {
                return false;
            }
            workers_run(pass->workers, chunks(&w), forward_chunk, &w);
        }
        if (!reserve_y(t, s, pass, i, n)) {
            return false;
        }
        activation_settle(&t->layer[i].act, &s->layer[i].act, pass, n);
    }
    struct sweep w = sweep(t, s, pass, last, n);
    w.out = out;
    workers_run(pass->workers, chunks(&w), out_chunk, &w);
    return true;
}

bool tower_forward_x(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                     const real *x, size_t x_stride, real *out, size_t n)
{
    struct sweep w = sweep(t, s, pass, 0, n);
    w.x = x;
    w.x_stride = x_stride;
    if (tower_input(t, s, pass, n, chunks(&w)) == NULL) {
        return false;
    }
    workers_run(pass->workers, chunks(&w), forward_chunk, &w);
    return tower_forward(t, s, pass, out, n);
}

/* ---- backward ----------------------------------------------------------------------------- */

/* dL/ds of the last layer but for its center; dw and db of this part of the rows. */
static void out_backward_rows(const struct sweep *w, size_t part, struct share_rows r, size_t who)
{
    const struct kernels *k = w->pass.k;
    const struct activation *a = &w->t->layer[w->i].act;
    const struct activation_scratch *act = &w->s->layer[w->i].act;
    const real *s = s_of(w, w->i, r), *dout = w->dout + r.first, *weight = w->s->out_w.data;
    real *g = g_of(w, w->i, r);
    double *dw = (double *)w->s->out_parts.data + part * (a->stride + 1);
    if (a->kind == ACT_DICE) {
        struct dice_channels ch = activation_dice_channels(a, act);
        struct dice_sums sums = activation_dice_part(a, act, part);
        k->dice_dot_backward(g, dw, dout, s, r.n, a->stride, &ch, weight, &sums);
    } else {
        real *y = y_of(w, w->i, r, who);
        k->dot_backward(g, dw, dout, y, r.n, a->stride, weight);
        activation_backward_rows(a, act, k, part, g, y, s, r.n);
    }
    for (size_t x = 0; x < r.n; x++) {
        dw[a->stride] += (double)dout[x];
    }
}

static void out_backward_part(void *ctx, size_t part, size_t who)
{
    const struct sweep *w = ctx;
    struct share_rows all = share_part(w->n, w->rows, part);
    size_t width = w->t->layer[w->i].act.stride + 1;
    memset((double *)w->s->out_parts.data + part * width, 0, width * sizeof(double));
    for (size_t i = 0; i * w->rows < all.n; i++) {
        out_backward_rows(w, part, chunk(w, all, i), who);
    }
}

static bool backward_out(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                         const real *dout, size_t n)
{
    uint32_t last = t->n_hidden - 1;
    const struct activation *a = &t->layer[last].act;
    struct sweep w = sweep(t, s, pass, last, n);
    size_t parts = share_parts(n, w.rows);
    w.dout = dout;
    if (buffer_reals(&s->layer[last].g, n, a->stride) == NULL ||
        !buffer_reserve(&s->out_dw, a->stride + 1, 1, sizeof(double)) ||
        !buffer_reserve(&s->out_parts, parts, a->stride + 1, sizeof(double)) ||
        !activation_backward_begin(a, &s->layer[last].act, parts)) {
        return false;
    }
    double *dw = s->out_dw.data;
    workers_run(pass->workers, parts, out_backward_part, &w);
    activation_backward_end(a, &s->layer[last].act, pass);
    share_sum(dw, s->out_parts.data, parts, a->stride + 1);
    matrix_add_sums(pass->grads + t->out_weight, dw, t->last);
    matrix_add_sums(pass->grads + t->out_bias, dw + a->stride, 1);
    return true;
}

/* dL/ds of layer i. */
static const real *gradient(const struct sweep *w, struct share_rows r, size_t who, double *sum)
{
    const struct activation *a = &w->t->layer[w->i].act;
    real *out = (real *)w->s->centered.data + who * w->s->rows_max * a->stride;
    UNDINE_ASSERT(r.n <= w->s->rows_max);
    return activation_center(a, &w->s->layer[w->i].act, w->pass.k, out, g_of(w, w->i, r),
                             s_of(w, w->i, r), r.n, sum);
}

/* Layer i from dL/ds_i but for its center: dW_i and db_i of a part, and dL/ds_{i-1}, or dx. */
static void backward_rows(const struct sweep *w, size_t part, struct share_rows r, size_t who)
{
    const struct dense *d = &w->t->layer[w->i].dense;
    const struct dense_scratch *s = &w->s->layer[w->i].dense;
    const real *g = gradient(w, r, who, dense_bias_part(d, s, part)), *x;
    size_t x_stride = w->x_stride;
    if (w->i == 0) {
        x = w->x + r.first * w->x_stride;
        dense_backward_input(d, s, &w->pass, w->dx + r.first * d->in_stride, g, r.n);
    } else {
        uint32_t i = w->i - 1;
        real *y = y_of(w, i, r, who), *below = g_of(w, i, r);
        dense_backward_input(d, s, &w->pass, below, g, r.n);
        activation_backward_rows(&w->t->layer[i].act, &w->s->layer[i].act, w->pass.k, part, below,
                                 y, s_of(w, i, r), r.n);
        x = y;
        x_stride = d->in_stride;
    }
    bool first = r.first == share_part(w->n, w->rows, part).first;
    dense_backward_rows(d, s, &w->pass, part, first, g, x, x_stride, r.n);
}

static void backward_part(void *ctx, size_t part, size_t who)
{
    const struct sweep *w = ctx;
    struct share_rows all = share_part(w->n, w->rows, part);
    for (size_t i = 0; i * w->rows < all.n; i++) {
        backward_rows(w, part, chunk(w, all, i), who);
    }
}

static bool reserve_centered(const struct tower *t, struct tower_scratch *s,
                             const struct pass *pass, uint32_t i, size_t rows_max)
{
    s->rows_max = rows_max;
    return buffer_reals(&s->centered, workers_count(pass->workers) * rows_max,
                        t->layer[i].dense.out_stride) != NULL;
}

static bool backward_layer(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                           struct sweep *w)
{
    const struct dense *d = &t->layer[w->i].dense;
    size_t parts = share_parts(w->n, w->rows);
    if (!reserve_centered(t, s, pass, w->i, w->rows) ||
        !dense_backward_begin(d, &s->layer[w->i].dense, pass, parts)) {
        return false;
    }
    workers_run(pass->workers, parts, backward_part, w);
    dense_backward_end(d, &s->layer[w->i].dense, pass);
    return true;
}

bool tower_backward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                    const real *dout, size_t n, size_t rows_max)
{
    if (!backward_out(t, s, pass, dout, n)) {
        return false;
    }
    for (uint32_t i = t->n_hidden - 1; i > 0; i--) {
        const struct activation *a = &t->layer[i - 1].act;
        struct sweep w = sweep(t, s, pass, i, n);
        if (buffer_reals(&s->layer[i - 1].g, n, a->stride) == NULL ||
            !activation_backward_begin(a, &s->layer[i - 1].act, share_parts(n, w.rows)) ||
            !backward_layer(t, s, pass, &w)) {
            return false;
        }
        activation_backward_end(a, &s->layer[i - 1].act, pass);
    }
    return reserve_centered(t, s, pass, 0, rows_max);
}

const real *tower_gradient(const struct tower *t, const struct tower_scratch *s,
                           const struct pass *pass, size_t who, size_t first, size_t n, double *sum)
{
    struct sweep w = sweep(t, s, pass, 0, n);
    return gradient(&w, (struct share_rows){first, n}, who, sum);
}

bool tower_backward_x(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                      const real *dout, const real *x, size_t x_stride, real *dx, size_t n)
{
    struct sweep w = sweep(t, s, pass, 0, n);
    w.x = x;
    w.x_stride = x_stride;
    w.dx = dx;
    return tower_backward(t, s, pass, dout, n, w.rows) && backward_layer(t, s, pass, &w);
}
