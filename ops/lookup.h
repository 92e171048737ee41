/* lookup.h: texts to numbers, for joining the files of a data set in memory.  One thread at a time.
 */
#ifndef UNDINE_OPS_LOOKUP_H
#define UNDINE_OPS_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lookup_slot {
    const char *key; /* NULL = free */
    uint64_t hash;
    size_t value;
};
struct lookup { /* all zero = empty */
    struct lookup_slot *slots;
    size_t n, capacity;
};

/* Remember value under key, which is borrowed.  A key that is there keeps its value.  1 = new, 0 =
 * was there, < 0 = out of memory. */
int lookup_put(struct lookup *l, const char *key, size_t value);
/* true and *value where the key is there. */
bool lookup_get(const struct lookup *l, const char *key, size_t *value);
void lookup_release(struct lookup *l);

#endif
