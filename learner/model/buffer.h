/* buffer.h: one array of a scratch: grows to the largest size asked for, then stays, so that a
 * steady loop allocates nothing.  Growing does not keep the content.  One thread at a time. */
#ifndef UNDINE_LEARNER_MODEL_BUFFER_H
#define UNDINE_LEARNER_MODEL_BUFFER_H

#include "learner/model/real.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    void *data; /* aligned to 64 bytes */
    size_t bytes;
};

/* Room for n times m elements of `size` bytes.  False where memory is out or the product too large.
 */
bool buffer_reserve(struct buffer *b, size_t n, size_t m, size_t size);
void buffer_release(struct buffer *b);

/* Room for a matrix (rows, stride) of real; NULL where it is not to be had. */
real *buffer_reals(struct buffer *b, size_t rows, size_t stride);

#endif
