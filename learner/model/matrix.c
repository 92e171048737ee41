#include "learner/model/matrix.h"

#include <string.h>

void matrix_pad(real *out, const real *x, size_t rows, size_t cols, size_t stride)
{
    for (size_t i = 0; i < rows; i++) {
        memcpy(out + i * stride, x + i * cols, cols * sizeof *x);
        memset(out + i * stride + cols, 0, (stride - cols) * sizeof *out);
    }
}

void matrix_transpose(real *out, const real *x, size_t rows, size_t cols, size_t x_stride,
                      size_t stride)
{
    for (size_t j = 0; j < cols; j++) {
        real *out_j = out + j * stride;
        for (size_t i = 0; i < rows; i++) {
            out_j[i] = x[i * x_stride + j];
        }
        memset(out_j + rows, 0, (stride - rows) * sizeof *out);
    }
}

void matrix_add(real *grad, const real *x, size_t rows, size_t cols, size_t stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            grad[i * cols + j] += x[i * stride + j];
        }
    }
}

void matrix_add_sums(real *grad, const double *sum, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        grad[i] += (real)sum[i];
    }
}
