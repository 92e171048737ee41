#include "learner/model/model_digest.h"

#include "base/err.h"
#include "base/schema.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)MODEL_DIGEST_WIDTH_MAX > (int)SCHEMA_DIM_MAX + 1, "every row fits");

static struct hash128 row_hash(uint64_t key, const float *row, uint32_t width)
{
    uint8_t bytes[sizeof key + MODEL_DIGEST_WIDTH_MAX * sizeof *row];
    UNDINE_ASSERT(width <= MODEL_DIGEST_WIDTH_MAX);
    memcpy(bytes, &key, sizeof key);
    memcpy(bytes + sizeof key, row, width * sizeof *row);
    return hash128_bytes(bytes, sizeof key + width * sizeof *row);
}

void model_digest_row_add(struct model_digest_rows *d, uint64_t key, const float *row,
                          uint32_t width)
{
    struct hash128 h = row_hash(key, row, width);
    d->sum.high += h.high + __builtin_add_overflow(d->sum.low, h.low, &d->sum.low);
    d->n++;
}

void model_digest_row_remove(struct model_digest_rows *d, uint64_t key, const float *row,
                             uint32_t width)
{
    struct hash128 h = row_hash(key, row, width);
    d->sum.high -= h.high + __builtin_sub_overflow(d->sum.low, h.low, &d->sum.low);
    d->n--;
}

void model_digest_rows_add(struct model_digest_rows *d, const uint64_t *key, const float *row,
                           uint64_t n, uint32_t width)
{
    for (uint64_t i = 0; i < n; i++) {
        model_digest_row_add(d, key[i], row + i * width, width);
    }
}

static void add_piece(struct model_digest *d, const void *piece, size_t len)
{
    struct hash128 h = hash128_bytes(piece, len);
    uint64_t link[4] = {d->value.low, d->value.high, h.low, h.high};
    d->value = hash128_bytes(link, sizeof link);
}

void model_digest_table(struct model_digest *d, const char *name,
                        const struct model_digest_rows *rows)
{
    uint64_t piece[3] = {rows->n, rows->sum.low, rows->sum.high};
    add_piece(d, name, strlen(name));
    add_piece(d, piece, sizeof piece);
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
        add_piece(d, list[i].name, strlen(list[i].name));
        add_piece(d, list[i].data, list[i].bytes);
    }
}
