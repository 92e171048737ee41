#include "learner/model/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BUFFER_ALIGN = 64, HUGE_BYTES = 1 << 21 };

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
    size_t align = BUFFER_ALIGN;
    if (bytes >= HUGE_BYTES) {
        align = HUGE_BYTES;
        bytes = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    }
    void *data = aligned_alloc(align, bytes);
    if (data != NULL && align == HUGE_BYTES) {
        (void)madvise(data, bytes, MADV_HUGEPAGE);
    }
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
