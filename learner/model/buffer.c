#include "learner/model/buffer.h"

#include <stdint.h>
#include <stdlib.h>

enum { BUFFER_ALIGN = 64 };

bool buffer_reserve(struct buffer *b, size_t n, size_t m, size_t size)
{
    size_t items, bytes;
    if (__builtin_mul_overflow(n, m, &items) || __builtin_mul_overflow(items, size, &bytes) ||
        bytes > SIZE_MAX - BUFFER_ALIGN) {
        return false;
    }
    bytes = (bytes / BUFFER_ALIGN + 1) * BUFFER_ALIGN;
    if (bytes <= b->bytes) {
        return true;
    }
    void *data = aligned_alloc(BUFFER_ALIGN, bytes);
    if (data == NULL) {
        return false;
    }
    free(b->data);
    b->data = data;
    b->bytes = bytes;
    return true;
}

void buffer_release(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

real *buffer_reals(struct buffer *b, size_t rows, size_t stride)
{
    return buffer_reserve(b, rows, stride, sizeof(real)) ? b->data : NULL;
}
