#include "scorer/image.h"

#include "learner/model/version_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
        rc = version_model_open(&image->model, m, &image->reader->model, err);
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
