#include "learner/model/version_model.h"

#include <string.h>

static int fill(struct model *m, const struct safetensors *file, struct undine_err *err)
{
    size_t n;
    const struct model_param *params = model_params(m, &n);
    for (size_t i = 0; i < n; i++) {
        const struct model_param *p = &params[i];
        const struct safetensors_tensor *t = safetensors_find(file, p->name);
        if (t == NULL || t->type != SAFETENSORS_F32 || t->rows != p->rows || t->cols != p->cols) {
            return undine_err_set(err, UNDINE_ECORRUPT, "parameter `%s` is not (%u, %u) F32",
                                  p->name, p->rows, p->cols);
        }
        memcpy(model_values(m) + p->offset, t->data, safetensors_bytes(t));
    }
    return UNDINE_OK;
}

int version_model_open(struct model **out, const struct manifest *m,
                       const struct safetensors *dense, struct undine_err *err)
{
    struct model *model = NULL;
    int rc = model_open(&model, &m->schema, &m->model, err);
    if (rc == UNDINE_OK) {
        rc = fill(model, dense, err);
    }
    if (rc < 0) {
        model_close(model);
        return rc;
    }
    *out = model;
    return UNDINE_OK;
}
