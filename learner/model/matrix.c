#include "learner/model/matrix.h"

#include <stdint.h>
#include <string.h>

void matrix_pad(real *out, const real *x, size_t rows, size_t cols, size_t stride)
{
    for (size_t i = 0; i < rows; i++) {
        memcpy(out + i * stride, x + i * cols, cols * sizeof *x);
        memset(out + i * stride + cols, 0, (stride - cols) * sizeof *out);
    }
}

/* Four rows of four numbers: loads and stores of a row each instead of sixteen of one number. */
enum { SQUARE = 4 };
typedef real four
    __attribute__((vector_size(SQUARE * sizeof(real)), aligned(sizeof(real)), may_alias));
#ifdef UNDINE_REAL_DOUBLE
typedef int64_t four_at __attribute__((vector_size(SQUARE * sizeof(real))));
#else
typedef int32_t four_at __attribute__((vector_size(SQUARE * sizeof(real))));
#endif

static void transpose_square(real *out, size_t stride, const real *x, size_t x_stride)
{
    const four_at low = {0, 4, 1, 5}, high = {2, 6, 3, 7};
    const four_at left = {0, 1, 4, 5}, right = {2, 3, 6, 7};
    four r0 = *(const four *)x, r1 = *(const four *)(x + x_stride);
    four r2 = *(const four *)(x + 2 * x_stride), r3 = *(const four *)(x + 3 * x_stride);
    four a = __builtin_shuffle(r0, r1, low), b = __builtin_shuffle(r0, r1, high);
    four c = __builtin_shuffle(r2, r3, low), d = __builtin_shuffle(r2, r3, high);
    *(four *)out = __builtin_shuffle(a, c, left);
    *(four *)(out + stride) = __builtin_shuffle(a, c, right);
    *(four *)(out + 2 * stride) = __builtin_shuffle(b, d, left);
    *(four *)(out + 3 * stride) = __builtin_shuffle(b, d, right);
}

void matrix_transpose(real *out, const real *x, size_t rows, size_t cols, size_t x_stride,
                      size_t stride)
{
    size_t whole_rows = rows / SQUARE * SQUARE, whole_cols = cols / SQUARE * SQUARE;
    for (size_t j = 0; j < whole_cols; j += SQUARE) {
        for (size_t i = 0; i < whole_rows; i += SQUARE) {
            transpose_square(out + j * stride + i, stride, x + i * x_stride + j, x_stride);
        }
    }
    for (size_t j = 0; j < cols; j++) {
        real *out_j = out + j * stride;
        for (size_t i = j < whole_cols ? whole_rows : 0; i < rows; i++) {
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
