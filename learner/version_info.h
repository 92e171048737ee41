/* version_info.h: what a manifest says, in short.  Any thread. */
#ifndef UNDINE_LEARNER_VERSION_INFO_H
#define UNDINE_LEARNER_VERSION_INFO_H

#include "learner/model/manifest.h"
#include "learner/version.h"
#include "learner/version_files.h"

void version_info_of(struct version_info *info, const struct manifest *m);
/* Manifest of version `number` in dir, whose name must be its number; the caller releases it.
 * Errors as manifest_read. */
int version_info_manifest(const char *dir, uint64_t number, struct manifest *out,
                          struct undine_err *err);

/* Highest number that is present or published, 0 = none. */
int version_info_highest(const char *dir, uint64_t *out, struct undine_err *err);
void version_info_add_file(struct manifest *m, const char *name, const struct file_sum *sum);
/* Write path/manifest.json and fsync it.  Publisher thread. */
int version_info_write(const char *path, const struct manifest *m, struct undine_err *err);

#endif
