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

/* Rows of a part. */
static size_t part_rows(size_t n, size_t rows)
{
    size_t chunks = (n + rows - 1) / rows;
    return (chunks + SHARE_PARTS_MAX - 1) / SHARE_PARTS_MAX * rows;
}

size_t share_parts(size_t n, size_t rows)
{
    size_t each = part_rows(n, rows);
    return each > 0 ? (n + each - 1) / each : 0;
}

struct share_rows share_part(size_t n, size_t rows, size_t i)
{
    size_t each = part_rows(n, rows), first = i * each;
    return (struct share_rows){.first = first, .n = n - first < each ? n - first : each};
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
