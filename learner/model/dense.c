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
    buffer_release(&s->w_t);
    buffer_release(&s->b);
    buffer_release(&s->dw);
    buffer_release(&s->sums);
    buffer_release(&s->parts);
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

struct bias_job {
    const struct pass *pass;
    const real *dout; /* (n, stride) */
    size_t n, stride;
    double *parts;
};

static void bias_part(void *ctx, size_t i, size_t who)
{
    const struct bias_job *j = ctx;
    struct share_rows r = share_chunk(j->n, j->stride, i);
    double *sums = j->parts + i * j->stride;
    (void)who;
    memset(sums, 0, j->stride * sizeof *sums);
    j->pass->k->column_sums(sums, j->dout + r.first * j->stride, r.n, j->stride);
}

static void backward_bias(const struct dense *d, struct dense_scratch *s, const struct pass *pass,
                          const real *dout, size_t n)
{
    double *sums = s->sums.data;
    size_t chunks = share_count(n, d->out_stride);
    struct bias_job job = {
        .pass = pass, .dout = dout, .n = n, .stride = d->out_stride, .parts = s->parts.data};
    workers_run(pass->workers, chunks, bias_part, &job);
    share_sum(sums, s->parts.data, chunks, d->out_stride);
    matrix_add_sums(pass->grads + d->bias, sums, d->out);
}

static void backward_weights(const struct dense *d, struct dense_scratch *s,
                             const struct pass *pass, const real *dout, const real *x,
                             size_t x_stride, size_t n)
{
    real *dw = s->dw.data;
    pass_gemm(pass, &(struct gemm){
                        .c = dw, /* (in, out) = x^T dout */
                        .ldc = d->out_stride,
                        .a = x,
                        .a_row = 1,
                        .a_col = x_stride,
                        .b = dout,
                        .ldb = d->out_stride,
                        .m = d->in,
                        .n = d->out_stride,
                        .k = n,
                    });
    matrix_add(pass->grads + d->weight, dw, d->in, d->out, d->out_stride);
    backward_bias(d, s, pass, dout, n);
}

bool dense_backward(const struct dense *d, struct dense_scratch *s, const struct pass *pass,
                    real *dx, const real *dout, const real *x, size_t x_stride, size_t n)
{
    real *w_t = buffer_reals(&s->w_t, d->out, d->in_stride);
    if (w_t == NULL || buffer_reals(&s->dw, d->in, d->out_stride) == NULL ||
        !buffer_reserve(&s->sums, d->out_stride, 1, sizeof(double)) ||
        !buffer_reserve(&s->parts, share_count(n, d->out_stride), d->out_stride, sizeof(double))) {
        return false;
    }
    backward_weights(d, s, pass, dout, x, x_stride, n);
    if (dx != NULL) {
        matrix_transpose(w_t, pass->values + d->weight, d->in, d->out, d->out, d->in_stride);
        pass_gemm(pass, &(struct gemm){
                            .c = dx, /* (n, in) = dout W^T */
                            .ldc = d->in_stride,
                            .a = dout,
                            .a_row = d->out_stride,
                            .a_col = 1,
                            .b = w_t,
                            .ldb = d->in_stride,
                            .m = n,
                            .n = d->in_stride,
                            .k = d->out,
                        });
    }
    return true;
}
