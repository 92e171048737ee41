/* version_model.h: a model with the dense parameters of a version. */
#ifndef UNDINE_LEARNER_MODEL_VERSION_MODEL_H
#define UNDINE_LEARNER_MODEL_VERSION_MODEL_H

#include "learner/model/manifest.h"
#include "learner/model/safetensors.h"

/* dense: the version's model.safetensors.  The caller closes *out.  UNDINE_ECORRUPT where a
 * parameter is missing or has another shape; as model_open. */
int version_model_open(struct model **out, const struct manifest *m,
                       const struct safetensors *dense, struct undine_err *err);

#endif
