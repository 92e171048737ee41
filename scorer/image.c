#include "scorer/image.h"

#include "learner/model/version_model.h"

#include <stdlib.h>

int image_open(struct image **out, const char *dir, const char *name,
               enum undine_precision precision, const struct image *near, struct undine_err *err)
{
    struct image *image = calloc(1, sizeof *image);
    if (image == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for version %s", name);
    }
    int rc =
        version_chain_open(&image->chain, dir, name, near != NULL ? near->chain : NULL, false, err);
    if (rc < 0) {
        image_close(image);
        return rc;
    }
    const struct manifest *m = image->chain->manifest;
    image->reader = image->chain->part[image->chain->n_parts - 1]->reader;
    image->number = m->number;
    version_name(image->name, m->number);
    rc = version_model_open(&image->model, m, image->chain->dense, err);
    if (rc == UNDINE_OK && precision == UNDINE_PRECISION_INT16) {
        rc = model_lower(image->model, err);
    }
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s/%s", dir, name);
        image_close(image);
        return rc;
    }
    model_freeze(image->model);
    *out = image;
    return UNDINE_OK;
}

void image_close(struct image *image)
{
    if (image != NULL) {
        model_close(image->model);
        version_chain_close(image->chain);
        free(image);
    }
}
