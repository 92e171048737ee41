/* model_digest.h: one number that tells whether two models are equal.
 *
 * A chain over pieces of bytes: h = XXH3-128(h, XXH3-128(piece)), beginning with zeros.  The pieces
 * of a model: for each table in the schema's order its name, its keys (ascending) and their rows;
 * then, sorted by name, each dense tensor's name and data.  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_MODEL_DIGEST_H
#define UNDINE_LEARNER_MODEL_MODEL_DIGEST_H

#include "base/hash.h"

struct model_digest {
    struct hash128 value; /* zeros at first */
};

void model_digest_add(struct model_digest *d, const void *piece, size_t len);
void model_digest_name(struct model_digest *d, const char *name);

/* A dense tensor, wherever it comes from. */
struct model_digest_tensor {
    const char *name;
    const void *data;
    size_t bytes;
};
/* Sorts the list. */
void model_digest_dense(struct model_digest *d, struct model_digest_tensor *list, size_t n);

#endif
