#include "learner/table_changes.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 1024 };

void table_changes_release(struct table_changes *c)
{
    free(c->row);
    *c = (struct table_changes){0};
}

void table_changes_clear(struct table_changes *c, uint32_t since)
{
    c->n = 0;
    c->lost = false;
    c->since = since;
}

void table_changes_add(struct table_changes *c, uint32_t row)
{
    if (c->n == c->capacity && !c->lost) {
        size_t capacity = c->capacity > 0 ? 2 * c->capacity : CAPACITY_MIN;
        uint32_t *grown = reallocarray(c->row, capacity, sizeof *grown);
        c->lost = grown == NULL;
        c->row = grown != NULL ? grown : c->row;
        c->capacity = grown != NULL ? capacity : c->capacity;
    }
    if (!c->lost) {
        c->row[c->n++] = row;
    }
}
