/* manifest_delta.h: the members of a manifest that tell a delta from a full version. */
#ifndef UNDINE_LEARNER_MODEL_MANIFEST_DELTA_H
#define UNDINE_LEARNER_MODEL_MANIFEST_DELTA_H

#include "learner/model/manifest.h"

#include <jansson.h>

/* `kind`, `base` and what comes with it, without a comma before or behind. */
void manifest_delta_print(const struct manifest *m, struct writer *w);
/* Reads them, and says whether they make sense; m->number and m->schema are read already. */
int manifest_delta_parse(struct manifest *m, const json_t *root, struct undine_err *err);
void manifest_delta_release(struct manifest_delta *d);

#endif
