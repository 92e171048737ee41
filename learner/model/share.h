/* share.h: the rows of a matrix cut into chunks, for workers to share (base/workers.h).
 *
 * The cut follows from the shape alone, never from how many workers there are: what is summed over
 * rows is summed inside each chunk, then over the chunks in order, so the bits are the same for any
 * number of them.  A chunk is small enough for a core's own cache to hold what it reads and writes,
 * and large enough that taking it costs nothing. */
#ifndef UNDINE_LEARNER_MODEL_SHARE_H
#define UNDINE_LEARNER_MODEL_SHARE_H

#include "learner/model/real.h"

#include <stddef.h>

struct share_rows {
    size_t first, n;
};

/* Chunks of n rows of `stride` numbers; 0 where n is. */
size_t share_count(size_t n, size_t stride);
struct share_rows share_chunk(size_t n, size_t stride, size_t i);

/* Where a sum is too large to have one for each chunk: at most SHARE_PARTS_MAX parts of whole
 * chunks of `rows` rows each. */
enum { SHARE_PARTS_MAX = 16 };
size_t share_parts(size_t n, size_t rows);
struct share_rows share_part(size_t n, size_t rows, size_t i);

/* sum (width) = the parts (n_parts, width) added up in order. */
void share_sum(double *sum, const double *part, size_t n_parts, size_t width);
void share_sum_reals(real *sum, const real *part, size_t n_parts, size_t width);

#endif
