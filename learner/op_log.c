#include "learner/op_log.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 1 << 16, CAPACITY_MAX = 1 << 26 };

void op_log_release(struct op_log *l)
{
    free(l->op);
    *l = (struct op_log){0};
}

void op_log_clear(struct op_log *l)
{
    l->bytes = 0;
    l->lost = false;
}

void op_log_append(struct op_log *l, const void *op, size_t bytes)
{
    if (l->capacity - l->bytes < bytes) {
        size_t capacity = l->capacity > 0 ? 2 * l->capacity : CAPACITY_MIN;
        uint8_t *grown = capacity <= CAPACITY_MAX ? realloc(l->op, capacity) : NULL;
        l->lost = grown == NULL;
        if (l->lost) {
            return;
        }
        l->op = grown;
        l->capacity = capacity;
    }
    memcpy(l->op + l->bytes, op, bytes);
    l->bytes += bytes;
}
