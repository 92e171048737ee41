#include "base/bytes.h"

#include <stdlib.h>

enum { WRITER_CAPACITY_MIN = 256 };

void writer_init(struct writer *w)
{
    *w = (struct writer){0};
}

void writer_release(struct writer *w)
{
    if (w != NULL) {
        free(w->data);
        *w = (struct writer){0};
    }
}

void writer_clear(struct writer *w)
{
    w->len = 0;
    w->bad = false;
}

static bool writer_grow(struct writer *w, size_t len)
{
    if (len > SIZE_MAX / 2 - w->len) {
        return false;
    }
    size_t capacity = w->capacity < WRITER_CAPACITY_MIN ? WRITER_CAPACITY_MIN : w->capacity;
    while (capacity < w->len + len) {
        capacity *= 2;
    }
    uint8_t *data = realloc(w->data, capacity);
    if (data == NULL) {
        return false;
    }
    w->data = data;
    w->capacity = capacity;
    return true;
}

uint8_t *writer_extend(struct writer *w, size_t len)
{
    if (w->bad) {
        return NULL;
    }
    bool room = w->data != NULL && w->capacity - w->len >= len;
    if (!room && !writer_grow(w, len)) {
        w->bad = true;
        return NULL;
    }
    uint8_t *p = w->data + w->len;
    if (len > 0) {
        memset(p, 0, len);
    }
    w->len += len;
    return p;
}
