#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_CHUNK_BYTES = 64 * 1024, ARENA_ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used;
    alignas(ARENA_ALIGN) uint8_t data[];
};

void arena_init(struct arena *a, size_t chunk_bytes)
{
    *a = (struct arena){.chunk_bytes = chunk_bytes > 0 ? chunk_bytes : ARENA_CHUNK_BYTES};
}

static struct arena_chunk *chunk_new(size_t size)
{
    struct arena_chunk *c = malloc(sizeof *c + size);
    if (c != NULL) {
        c->next = NULL;
        c->size = size;
        c->used = 0;
    }
    return c;
}

/* Make `current` a chunk with room for size bytes: the next kept one that is large enough, or a
 * new one inserted behind the current. */
static struct arena_chunk *arena_chunk_for(struct arena *a, size_t size)
{
    struct arena_chunk *last = a->current;
    for (struct arena_chunk *c = last != NULL ? last->next : a->first; c != NULL; c = c->next) {
        if (c->size >= size) {
            c->used = 0;
            a->current = c;
            return c;
        }
        c->used = 0;
        last = c;
    }
    struct arena_chunk *c = chunk_new(size > a->chunk_bytes ? size : a->chunk_bytes);
    if (c == NULL) {
        return NULL;
    }
    if (last == NULL) {
        a->first = c;
    } else {
        last->next = c;
    }
    a->current = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX - ARENA_ALIGN - sizeof(struct arena_chunk)) {
        return NULL;
    }
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_chunk *c = a->current;
    if (c == NULL || c->size - c->used < size) {
        c = arena_chunk_for(a, size);
        if (c == NULL) {
            return NULL;
        }
    }
    void *p = c->data + c->used;
    c->used += size;
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        return NULL;
    }
    void *p = arena_alloc(a, bytes);
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *copy = arena_alloc(a, len + 1);
    if (copy != NULL) {
        if (len > 0) {
            memcpy(copy, s, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

void arena_reset(struct arena *a)
{
    a->current = a->first;
    if (a->first != NULL) {
        a->first->used = 0;
    }
}

void arena_release(struct arena *a)
{
    for (struct arena_chunk *c = a->first; c != NULL;) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
    a->first = a->current = NULL;
}

size_t arena_bytes(const struct arena *a)
{
    size_t bytes = 0;
    for (const struct arena_chunk *c = a->first; c != NULL; c = c->next) {
        bytes += sizeof *c + c->size;
    }
    return bytes;
}
