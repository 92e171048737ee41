/* Bytes as a file of tensors: whatever is taken lies inside the file, is aligned, and written again
 * gives tensors that are equal. */
#include "learner/model/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct safetensors *s)
{
    int fd = memfd_create("tensors", MFD_CLOEXEC);
    struct file_sum sum;
    struct safetensors again;
    UNDINE_ASSERT(fd >= 0);
    UNDINE_ASSERT(safetensors_write(fd, s->tensor, s->n, &sum, NULL) == UNDINE_OK);
    uint64_t *copy = calloc(sum.bytes / 8 + 1, 8);
    UNDINE_ASSERT(copy != NULL && pread(fd, copy, sum.bytes, 0) == (ssize_t)sum.bytes);
    UNDINE_ASSERT(safetensors_parse(&again, copy, sum.bytes, NULL) == UNDINE_OK);
    UNDINE_ASSERT(again.n == s->n);
    for (size_t i = 0; i < s->n; i++) {
        const struct safetensors_tensor *a = &s->tensor[i], *b = safetensors_find(&again, a->name);
        UNDINE_ASSERT(b != NULL && a->type == b->type && a->rows == b->rows && a->cols == b->cols);
        UNDINE_ASSERT(memcmp(a->data, b->data, safetensors_bytes(a)) == 0);
    }
    safetensors_release(&again);
    free(copy);
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors s;
    /* A mapped file begins at a page: give the bytes an aligned place of their own size. */
    uint8_t *file = aligned_alloc(8, (size + 8) / 8 * 8);
    UNDINE_ASSERT(file != NULL);
    uint8_t *at = file;
    if (size > 0) {
        memcpy(file, data, size);
    }
    if (safetensors_parse(&s, at, size, NULL) == UNDINE_OK) {
        for (size_t i = 0; i < s.n; i++) {
            const struct safetensors_tensor *t = &s.tensor[i];
            const uint8_t *begin = t->data;
            UNDINE_ASSERT(begin >= at && begin + safetensors_bytes(t) <= at + size);
            UNDINE_ASSERT((uintptr_t)begin % safetensors_type_bytes(t->type) == 0);
        }
        write_again(&s);
        safetensors_release(&s);
    }
    free(file);
    return 0;
}
