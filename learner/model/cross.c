#include "learner/model/cross.h"

#include <string.h>

uint32_t cross_width(uint32_t e, const struct model_options *opt)
{
    return e * (1 + (uint32_t)opt->product + 2 * (uint32_t)opt->sum_history);
}

void cross_declare(struct cross *c, uint32_t e, size_t x, const struct model_options *opt)
{
    *c = (struct cross){
        .product = opt->product,
        .sum_history = opt->sum_history,
        .e = e,
        .e_stride = kernels_stride(e),
        .v = x,
        .v_product = x + e,
        .sum = x + e * (1 + (size_t)opt->product),
    };
    c->sum_product = c->sum + e;
}

bool cross_any(const struct cross *c)
{
    return c->product || c->sum_history;
}

/* to = a * b */
static void multiply(real *restrict to, const real *a, const real *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = a[i] * b[i];
    }
}

/* to += a * b */
static void multiply_add(real *restrict to, const real *a, const real *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] += a[i] * b[i];
    }
}

static void add(real *restrict to, const real *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] += a[i];
    }
}

/* ---- forward ------------------------------------------------------------------------------ */

/* A sequence is summed once, however many examples see it. */
static real *sum_steps(const struct cross *c, struct buffer *buffer,
                       const struct batch_sequences *in, const real *e)
{
    real *sum = buffer_reals(buffer, in->n, c->e_stride);
    if (sum == NULL) {
        return NULL;
    }
    memset(sum, 0, in->n * c->e_stride * sizeof *sum);
    for (uint32_t k = 0; k < in->n; k++) {
        for (uint32_t t = in->step_offset[k]; t < in->step_offset[k + 1]; t++) {
            add(sum + k * c->e_stride, e + t * c->e_stride, c->e);
        }
    }
    return sum;
}

bool cross_forward(const struct cross *c, struct buffer *sum, const struct cross_input *u,
                   const real *e, real *x)
{
    if (!cross_any(c)) {
        return true;
    }
    const real *s = c->sum_history ? sum_steps(c, sum, u->in, e) : NULL;
    if (c->sum_history && s == NULL) {
        return false;
    }
    for (size_t b = 0; b < u->n; b++, x += u->x_stride) {
        const real *query = u->query + b * c->e_stride;
        if (c->product) {
            multiply(x + c->v_product, query, x + c->v, c->e);
        }
        if (c->sum_history) {
            const real *mine = s + u->in->of_example[b] * c->e_stride;
            memcpy(x + c->sum, mine, c->e * sizeof *x);
            multiply(x + c->sum_product, query, mine, c->e);
        }
    }
    return true;
}

/* ---- backward ----------------------------------------------------------------------------- */

/* The sums themselves are read from x, so their buffer serves their gradient. */
void cross_backward(const struct cross *c, struct buffer *sum, const struct cross_input *u,
                    const real *x, real *dx, real *dquery)
{
    real *dsum = sum->data;
    if (c->sum_history) {
        memset(dsum, 0, u->in->n * c->e_stride * sizeof *dsum);
    }
    for (size_t b = 0; b < u->n; b++, x += u->x_stride, dx += u->x_stride) {
        const real *query = u->query + b * c->e_stride;
        real *dq = dquery + b * c->e_stride;
        if (c->product) {
            multiply_add(dq, dx + c->v_product, x + c->v, c->e);
            multiply_add(dx + c->v, dx + c->v_product, query, c->e);
        }
        if (c->sum_history) {
            real *mine = dsum + u->in->of_example[b] * c->e_stride;
            multiply_add(dq, dx + c->sum_product, x + c->sum, c->e);
            multiply_add(mine, dx + c->sum_product, query, c->e);
            add(mine, dx + c->sum, c->e);
        }
    }
}

void cross_backward_steps(const struct cross *c, const struct buffer *sum,
                          const struct batch_sequences *in, real *de)
{
    const real *dsum = sum->data;
    for (uint32_t k = 0; c->sum_history && k < in->n; k++) {
        for (uint32_t t = in->step_offset[k]; t < in->step_offset[k + 1]; t++) {
            add(de + t * c->e_stride, dsum + k * c->e_stride, c->e);
        }
    }
}
