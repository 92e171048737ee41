#include "learner/model/share.h"

#include <string.h>

enum { CHUNK_NUMBERS = 1 << 14 /* 64 KB of floats */ };

static size_t chunk_rows(size_t stride)
{
    return stride < CHUNK_NUMBERS ? CHUNK_NUMBERS / stride : 1;
}

size_t share_count(size_t n, size_t stride)
{
    size_t rows = chunk_rows(stride);
    return (n + rows - 1) / rows;
}

struct share_rows share_chunk(size_t n, size_t stride, size_t i)
{
    size_t rows = chunk_rows(stride);
    size_t first = i * rows;
    return (struct share_rows){.first = first, .n = n - first < rows ? n - first : rows};
}

void share_sum(double *restrict sum, const double *restrict part, size_t n_parts, size_t width)
{
    memset(sum, 0, width * sizeof *sum);
    for (size_t i = 0; i < n_parts; i++, part += width) {
        for (size_t c = 0; c < width; c++) {
            sum[c] += part[c];
        }
    }
}

void share_sum_reals(real *restrict sum, const real *restrict part, size_t n_parts, size_t width)
{
    memset(sum, 0, width * sizeof *sum);
    for (size_t i = 0; i < n_parts; i++, part += width) {
        for (size_t c = 0; c < width; c++) {
            sum[c] += part[c];
        }
    }
}
