/* arena.h: memory that is given out piece by piece and taken back all at once.
 *
 * A batch, a decoded message or a parsed file allocates many small things that die together.
 * arena_reset keeps the chunks, so a steady loop allocates nothing.  One thread at a time. */
#ifndef UNDINE_BASE_ARENA_H
#define UNDINE_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;
struct arena {
    struct arena_chunk *first, *current;
    size_t chunk_bytes;
};

void arena_init(struct arena *a, size_t chunk_bytes); /* 0 = 64 KiB */
/* size bytes aligned to 16, not zeroed; NULL where memory is out.  Valid until reset or release. */
void *arena_alloc(struct arena *a, size_t size);
/* n * size bytes with the product checked, zeroed. */
void *arena_calloc(struct arena *a, size_t n, size_t size);
/* A NUL-terminated copy of len bytes. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
void arena_reset(struct arena *a);
void arena_release(struct arena *a);
size_t arena_bytes(const struct arena *a); /* memory held, used or not */

#endif
