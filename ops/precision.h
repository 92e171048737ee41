/* precision.h: what a scorer computes in, as the command line and the configuration name it. */
#ifndef UNDINE_OPS_PRECISION_H
#define UNDINE_OPS_PRECISION_H

#include "base/err.h"
#include "scorer/undine.h"

/* "f32" or "int16".  UNDINE_EINVAL for another word. */
int precision_parse(enum undine_precision *out, const char *word, struct undine_err *err);
/* UNDINE_ECONFIG where this processor has no use for it: to be said at the start, where a scorer
 * would say it when the first version is there. */
int precision_check(enum undine_precision precision, struct undine_err *err);

#endif
