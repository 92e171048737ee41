#include "learner/model/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BUFFER_ALIGN = 64, HUGE_BYTES = 1 << 21 };

/* Large ones are asked for in huge pages: layers of a mini-batch are walked from end to end, and
 * without them every 64th line waits for an address. */
static void *allocate(size_t bytes)
{
    void *data = aligned_alloc(bytes < HUGE_BYTES ? BUFFER_ALIGN : HUGE_BYTES, bytes);
#ifdef MADV_HUGEPAGE
    if (data != NULL && bytes >= HUGE_BYTES) {
        (void)madvise(data, bytes, MADV_HUGEPAGE);
    }
#endif
    return data;
}

bool buffer_reserve(struct buffer *b, size_t n, size_t m, size_t size)
{
    size_t items, bytes;
    if (__builtin_mul_overflow(n, m, &items) || __builtin_mul_overflow(items, size, &bytes) ||
        bytes > SIZE_MAX / 2) {
        return false;
    }
    bytes = (bytes / BUFFER_ALIGN + 1) * BUFFER_ALIGN;
    if (bytes <= b->bytes) {
        return true;
    }
    if (b->bytes > 0) { /* mini-batches differ a little: not a new one for each that is longer */
        bytes += bytes / 8 / BUFFER_ALIGN * BUFFER_ALIGN;
    }
    if (bytes >= HUGE_BYTES) {
        bytes = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    }
    void *data = allocate(bytes);
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
