/* image.h: one version, ready to score: the mapped tables of its chain and a model with the
 * version's dense parameters.  Immutable after opening: any number of threads, no locks. */
#ifndef UNDINE_SCORER_IMAGE_H
#define UNDINE_SCORER_IMAGE_H

#include "learner/model/version_chain.h"
#include "scorer/undine.h"

struct image {
    uint64_t number;
    char name[VERSION_NAME_MAX];
    struct version_chain *chain;
    struct version_reader *reader; /* the chain's newest part: the version itself */
    struct model *model;
    struct image *next; /* list of those that wait to be closed; under the scorer's mutex */
};

/* Version DIR/name; what `near` (or NULL) has open already is shared with it.  Errors as
 * version_chain_open, UNDINE_ECORRUPT where its parameters are not those of its model, and
 * UNDINE_ECONFIG where this processor has no use for the precision. */
int image_open(struct image **out, const char *dir, const char *name,
               enum undine_precision precision, const struct image *near, struct undine_err *err);
void image_close(struct image *image); /* NULL-safe */

#endif
