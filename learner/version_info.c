#include "learner/version_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void version_info_of(struct version_info *info, const struct manifest *m)
{
    *info = (struct version_info){.number = m->number,
                                  .trained_seq = m->trained_seq,
                                  .event_time_ms = m->event_time_ms,
                                  .created_ms = m->created_ms,
                                  .bytes = manifest_bytes(m),
                                  .examples = m->examples,
                                  .rows = manifest_rows(m),
                                  .is_delta = m->is_delta,
                                  .base = m->delta.base,
                                  .merged_from = m->merged_from,
                                  .n_chain = m->delta.n_chain,
                                  .refused = m->refused};
    version_name(info->name, m->number);
    memcpy(info->digest, m->digest, sizeof info->digest);
}

int version_info_manifest(const char *dir, uint64_t number, struct manifest *out,
                          struct undine_err *err)
{
    char name[VERSION_NAME_MAX], path[VERSION_PATH_MAX];
    version_name(name, number);
    int rc = version_path(path, dir, name, err);
    if (rc == UNDINE_OK) {
        rc = manifest_read(out, path, err);
    }
    if (rc == UNDINE_OK && out->number != number) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s: its manifest is that of version %" PRIu64,
                            path, out->number);
        manifest_release(out);
    }
    return rc;
}

int version_info_read(const char *dir, uint64_t number, struct version_info *out,
                      struct undine_err *err)
{
    struct manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a manifest");
    }
    int rc = version_info_manifest(dir, number, m, err);
    if (rc == UNDINE_OK) {
        version_info_of(out, m);
    }
    manifest_release(m);
    free(m);
    return rc;
}

int version_info_highest(const char *dir, uint64_t *out, struct undine_err *err)
{
    uint64_t *numbers, current;
    char name[VERSION_NAME_MAX];
    size_t n;
    int rc = version_files_list(dir, &numbers, &n, err);
    if (rc < 0) {
        return rc;
    }
    *out = n > 0 ? numbers[n - 1] : 0;
    free(numbers);
    if (version_dir_current(dir, name, NULL) == UNDINE_OK && version_number(&current, name) &&
        current > *out) {
        *out = current;
    }
    return UNDINE_OK;
}

int version_info_write(const char *path, const struct manifest *m, struct undine_err *err)
{
    struct writer text;
    writer_init(&text);
    int rc = manifest_print(m, &text, err);
    if (rc == UNDINE_OK) {
        rc = version_files_text(path, MANIFEST_NAME, text.data, text.len, err);
    }
    writer_release(&text);
    return rc;
}

void version_info_add_file(struct manifest *m, const char *name, const struct file_sum *sum)
{
    UNDINE_ASSERT(m->n_files < MANIFEST_FILES_MAX);
    struct manifest_file *f = &m->file[m->n_files++];
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->bytes = sum->bytes;
    hash128_hex(f->checksum, sum->checksum);
}
