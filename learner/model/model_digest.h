/* model_digest.h: one number that tells whether two models are equal, and that follows changes of
 * rows without a look at the others.
 *
 * Of a table the sum, modulo 2^128, over its rows of XXH3-128(id, row).  Then a chain over pieces
 * of bytes: h = XXH3-128(h, XXH3-128(piece)), beginning with zeros.  The pieces of a model: for
 * each table in the schema's order its name, and its number of rows and their sum; then, sorted by
 * name, each dense tensor's name and data.  docs/formats.md has it byte by byte.  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_MODEL_DIGEST_H
#define UNDINE_LEARNER_MODEL_MODEL_DIGEST_H

#include "base/hash.h"

/* Of the rows of a table, in any order. */
struct model_digest_rows {
    uint64_t n;
    struct hash128 sum;
};
/* A row of `width` numbers, at most MODEL_DIGEST_WIDTH_MAX, comes or goes. */
enum { MODEL_DIGEST_WIDTH_MAX = 512 };
void model_digest_row_add(struct model_digest_rows *d, uint64_t key, const float *row,
                          uint32_t width);
void model_digest_row_remove(struct model_digest_rows *d, uint64_t key, const float *row,
                             uint32_t width);
/* key (n), row (n, width) */
void model_digest_rows_add(struct model_digest_rows *d, const uint64_t *key, const float *row,
                           uint64_t n, uint32_t width);

struct model_digest {
    struct hash128 value; /* zeros at first */
};

void model_digest_table(struct model_digest *d, const char *name,
                        const struct model_digest_rows *rows);

/* A dense tensor, wherever it comes from. */
struct model_digest_tensor {
    const char *name;
    const void *data;
    size_t bytes;
};
/* Sorts the list. */
void model_digest_dense(struct model_digest *d, struct model_digest_tensor *list, size_t n);

#endif
