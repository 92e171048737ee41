#include "learner/model/dense.h"

#include "learner/model/matrix.h"
#include "learner/model/share.h"

#include <string.h>

void dense_declare(struct dense *d, struct params *p, const char *prefix, uint32_t in, uint32_t out)
{
    *d = (struct dense){
        .in = in,
        .out = out,
        .in_stride = kernels_stride(in),
        .out_stride = kernels_stride(out),
        .weight = params_add(p, prefix, "weight", in, out, true),
    };
    d->bias = params_add(p, prefix, "bias", 1, out, true);
}

void dense_init(const struct dense *d, const struct params *p, real *values, uint64_t seed)
{
    params_init_glorot(p, d->weight, values, seed);
    memset(values + d->bias, 0, d->out * sizeof *values);
}

void dense_scratch_release(struct dense_scratch *s)
{
    buffer_release(&s->w);
    buffer_release(&s->b);
    buffer_release(&s->w_t);
    buffer_release(&s->sums);
    buffer_release(&s->dw_parts);
    buffer_release(&s->sum_parts);
}

bool dense_prepare(const struct dense *d, struct dense_scratch *s, const struct pass *pass)
{
    real *w = buffer_reals(&s->w, d->in, d->out_stride);
    real *b = buffer_reals(&s->b, 1, d->out_stride);
    if (w == NULL || b == NULL) {
        return false;
    }
    matrix_pad(w, pass->values + d->weight, d->in, d->out, d->out_stride);
    matrix_pad(b, pass->values + d->bias, 1, d->out, d->out_stride);
    return true;
}

void dense_forward(const struct dense *d, const struct dense_scratch *s, const struct pass *pass,
                   real *out, const real *x, size_t x_stride, size_t n)
{
    pass_gemm(pass, &(struct gemm){
                        .c = out,
                        .ldc = d->out_stride,
                        .a = x,
                        .a_row = x_stride,
                        .a_col = 1,
                        .b = s->w.data,
                        .ldb = d->out_stride,
                        .m = n,
                        .n = d->out_stride,
                        .k = d->in,
                        .bias = s->b.data,
                    });
}

static real *dw_part(const struct dense *d, const struct dense_scratch *s, size_t part)
{
    UNDINE_ASSERT(part < s->n_parts);
    return (real *)s->dw_parts.data + part * d->in * d->out_stride;
}

double *dense_bias_part(const struct dense *d, const struct dense_scratch *s, size_t part)
{
    UNDINE_ASSERT(part < s->n_parts);
    return (double *)s->sum_parts.data + part * d->out_stride;
}

bool dense_backward_begin(const struct dense *d, struct dense_scratch *s, const struct pass *pass,
                          size_t n_parts)
{
    real *w_t = buffer_reals(&s->w_t, d->out, d->in_stride);
    if (w_t == NULL || !buffer_reserve(&s->sums, d->out_stride, 1, sizeof(double)) ||
        buffer_reals(&s->dw_parts, n_parts * d->in, d->out_stride) == NULL ||
        !buffer_reserve(&s->sum_parts, n_parts, d->out_stride, sizeof(double))) {
        return false;
    }
    s->n_parts = n_parts;
    memset(s->sum_parts.data, 0, n_parts * d->out_stride * sizeof(double));
    matrix_transpose(w_t, pass->values + d->weight, d->in, d->out, d->out, d->in_stride);
    return true;
}

void dense_backward_rows(const struct dense *d, const struct dense_scratch *s,
                         const struct pass *pass, size_t part, bool first, const real *dout,
                         const real *x, size_t x_stride, size_t n)
{
    pass_gemm(pass, &(struct gemm){
                        .c = dw_part(d, s, part), /* (in, out) += x^T dout */
                        .ldc = d->out_stride,
                        .a = x,
                        .a_row = 1,
                        .a_col = x_stride,
                        .b = dout,
                        .ldb = d->out_stride,
                        .m = d->in,
                        .n = d->out_stride,
                        .k = n,
                        .add = !first,
                    });
}

void dense_backward_input(const struct dense *d, const struct dense_scratch *s,
                          const struct pass *pass, real *dx, const real *dout, size_t n)
{
    pass_gemm(pass, &(struct gemm){
                        .c = dx, /* (n, in) = dout W^T */
                        .ldc = d->in_stride,
                        .a = dout,
                        .a_row = d->out_stride,
                        .a_col = 1,
                        .b = s->w_t.data,
                        .ldb = d->in_stride,
                        .m = n,
                        .n = d->in_stride,
                        .k = d->out,
                    });
}

enum { END_ROWS = 16 /* of W that a worker takes at once */ };

struct end_job {
    const struct dense *d;
    const struct dense_scratch *s;
    real *grad;
};

static void end_rows(void *ctx, size_t i, size_t who)
{
    const struct end_job *j = ctx;
    const struct dense *d = j->d;
    size_t first = i * END_ROWS, rows = d->in - first < END_ROWS ? d->in - first : END_ROWS;
    (void)who;
    for (size_t part = 0; part < j->s->n_parts; part++) {
        matrix_add(j->grad + first * d->out, dw_part(d, j->s, part) + first * d->out_stride, rows,
                   d->out, d->out_stride);
    }
}

void dense_backward_end(const struct dense *d, struct dense_scratch *s, const struct pass *pass)
{
    struct end_job job = {d, s, pass->grads + d->weight};
    workers_run(pass->workers, (d->in + END_ROWS - 1) / END_ROWS, end_rows, &job);
    share_sum(s->sums.data, s->sum_parts.data, s->n_parts, d->out_stride);
    matrix_add_sums(pass->grads + d->bias, s->sums.data, d->out);
}
