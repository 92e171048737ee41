#include "scorer/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int fill_model(struct model *m, const struct safetensors *file, struct undine_err *err)
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

int image_open(struct image **out, const char *dir, const char *name, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    struct image *image = calloc(1, sizeof *image);
    if (image == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for version %s", name);
    }
    int rc = version_path(path, dir, name, err);
    if (rc == UNDINE_OK) {
        rc = version_reader_open(&image->reader, path, false, err);
    }
    if (rc < 0) {
        image_close(image);
        return rc;
    }
    const struct manifest *m = &image->reader->manifest;
    image->number = m->number;
    version_name(image->name, m->number);
    if (strcmp(image->name, name) != 0) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "its manifest is that of version %" PRIu64,
                            m->number);
    }
    if (rc == UNDINE_OK) {
        rc = model_open(&image->model, &m->schema, &m->model, err);
    }
    if (rc == UNDINE_OK) {
        rc = fill_model(image->model, &image->reader->model, err);
    }
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s", path);
        image_close(image);
        return rc;
    }
    *out = image;
    return UNDINE_OK;
}

void image_close(struct image *image)
{
    if (image != NULL) {
        model_close(image->model);
        version_reader_close(image->reader);
        free(image);
    }
}
