#include "learner/model/model_digest.h"

#include <stdlib.h>
#include <string.h>

void model_digest_add(struct model_digest *d, const void *piece, size_t len)
{
    struct hash128 h = hash128_bytes(piece, len);
    uint64_t link[4] = {d->value.low, d->value.high, h.low, h.high};
    d->value = hash128_bytes(link, sizeof link);
}

void model_digest_name(struct model_digest *d, const char *name)
{
    model_digest_add(d, name, strlen(name));
}

static int by_name(const void *a, const void *b)
{
    const struct model_digest_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

void model_digest_dense(struct model_digest *d, struct model_digest_tensor *list, size_t n)
{
    if (n > 0) {
        qsort(list, n, sizeof *list, by_name);
    }
    for (size_t i = 0; i < n; i++) {
        model_digest_name(d, list[i].name);
        model_digest_add(d, list[i].data, list[i].bytes);
    }
}
