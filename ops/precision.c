#include "ops/precision.h"

#include "learner/model/model.h"

#include <string.h>

int precision_parse(enum undine_precision *out, const char *word, struct undine_err *err)
{
    if (strcmp(word, "f32") != 0 && strcmp(word, "int16") != 0) {
        return undine_err_set(err, UNDINE_EINVAL, "precision `%s`: expected f32 or int16", word);
    }
    *out = strcmp(word, "f32") == 0 ? UNDINE_PRECISION_F32 : UNDINE_PRECISION_INT16;
    return UNDINE_OK;
}

int precision_check(enum undine_precision precision, struct undine_err *err)
{
    return precision == UNDINE_PRECISION_INT16 ? model_lower_check(err) : UNDINE_OK;
}
