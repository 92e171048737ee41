/* options.h: bounds of model options; the text forms are in model.h. */
#ifndef UNDINE_LEARNER_MODEL_OPTIONS_H
#define UNDINE_LEARNER_MODEL_OPTIONS_H

#include "learner/model/model.h"

enum { MODEL_WIDTH_MAX = 4096 };

/* UNDINE_ECONFIG with the name and value at fault. */
int model_options_check(const struct model_options *opt, struct undine_err *err);

#endif
