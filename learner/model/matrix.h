/* matrix.h: between the packed tensors of the block and the padded ones that kernels walk over. */
#ifndef UNDINE_LEARNER_MODEL_MATRIX_H
#define UNDINE_LEARNER_MODEL_MATRIX_H

#include "learner/model/real.h"

#include <stddef.h>

/* out (rows, stride) = x (rows, cols), columns from cols on zero. */
void matrix_pad(real *out, const real *x, size_t rows, size_t cols, size_t stride);
/* out (cols, stride) = x (rows, cols; row length x_stride) transposed, columns from rows on zero.
 */
void matrix_transpose(real *out, const real *x, size_t rows, size_t cols, size_t x_stride,
                      size_t stride);
/* grad (rows, cols) += x (rows, stride). */
void matrix_add(real *grad, const real *x, size_t rows, size_t cols, size_t stride);
/* grad (n) += sum (n). */
void matrix_add_sums(real *grad, const double *sum, size_t n);

#endif
