#include "ops/lookup.h"

#include "base/err.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

/* The key's slot, or the free one where it belongs. */
static struct lookup_slot *find(const struct lookup *l, const char *key, uint64_t hash)
{
    size_t i = hash & (l->capacity - 1);
    while (l->slots[i].key != NULL &&
           (l->slots[i].hash != hash || strcmp(l->slots[i].key, key) != 0)) {
        i = (i + 1) & (l->capacity - 1);
    }
    return &l->slots[i];
}

static bool grow(struct lookup *l)
{
    struct lookup bigger = {.n = l->n, .capacity = l->capacity > 0 ? 2 * l->capacity : 1024};
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (bigger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < l->capacity; i++) {
        if (l->slots[i].key != NULL) {
            *find(&bigger, l->slots[i].key, l->slots[i].hash) = l->slots[i];
        }
    }
    free(l->slots);
    *l = bigger;
    return true;
}

int lookup_put(struct lookup *l, const char *key, size_t value)
{
    if (2 * l->n >= l->capacity && !grow(l)) {
        return UNDINE_ENOMEM;
    }
    uint64_t hash = hash_bytes(key, strlen(key));
    struct lookup_slot *slot = find(l, key, hash);
    if (slot->key != NULL) {
        return 0;
    }
    *slot = (struct lookup_slot){key, hash, value};
    l->n++;
    return 1;
}

bool lookup_get(const struct lookup *l, const char *key, size_t *value)
{
    if (l->n == 0) {
        return false;
    }
    const struct lookup_slot *slot = find(l, key, hash_bytes(key, strlen(key)));
    if (slot->key != NULL) {
        *value = slot->value;
    }
    return slot->key != NULL;
}

void lookup_release(struct lookup *l)
{
    free(l->slots);
    *l = (struct lookup){0};
}
