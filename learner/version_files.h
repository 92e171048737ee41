/* version_files.h: the file operations that versions are made of; each names itself in its error
 * (UNDINE_EIO).  Publisher thread. */
#ifndef UNDINE_LEARNER_VERSION_FILES_H
#define UNDINE_LEARNER_VERSION_FILES_H

#include "base/err.h"
#include "learner/model/safetensors.h"

#include <stddef.h>
#include <stdint.h>

/* Directories and files under this prefix are unfinished or on their way out. */
#define VERSION_TEMPORARY ".tmp-"

/* The merge under way (version_merge.h): not swept away beside it. */
#define VERSION_MERGING VERSION_TEMPORARY "merge"

/* Numbers of the versions in dir, ascending; the caller frees *out.  0 where dir does not exist. */
int version_files_list(const char *dir, uint64_t **out, size_t *n, struct undine_err *err);
/* Make dir where it is missing, and remove what is left under temporary names, but for
 * VERSION_MERGING. */
int version_files_prepare(const char *dir, struct undine_err *err);

/* An empty directory of this path. */
int version_files_make_dir(const char *path, struct undine_err *err);
/* The directory, made where it is missing; its name survives a power cut. */
int version_files_keep_dir(const char *path, struct undine_err *err);
/* Write path/name and fsync it. */
int version_files_tensors(const char *path, const char *name,
                          const struct safetensors_tensor *tensors, size_t n, struct file_sum *out,
                          struct undine_err *err);
int version_files_text(const char *path, const char *name, const void *text, size_t len,
                       struct undine_err *err);
/* Append a line (that ends with a newline) to path/name and fsync it; a line that a crash cut short
 * is ended first.  A new file's name is fsynced too. */
int version_files_append(const char *path, const char *name, const char *line, size_t len,
                         struct undine_err *err);
/* Rename path/name to path/old where it has this many bytes or more, and fsync path. */
int version_files_rotate(const char *path, const char *name, const char *old, uint64_t bytes,
                         struct undine_err *err);
/* The last size - 1 bytes of path/name and a NUL, all of them where they are fewer; "" where there
 * is no such file. */
int version_files_tail(const char *path, const char *name, char *out, size_t size,
                       struct undine_err *err);
/* Rename dir/from to dir/to and fsync dir. */
int version_files_rename(const char *dir, const char *from, const char *to, struct undine_err *err);
int version_files_sync_dir(const char *path, struct undine_err *err);
/* Remove dir/VERSION_MERGING, where it is. */
int version_files_clear_merge(const char *dir, struct undine_err *err);
/* Remove version dir/name as a whole: first its name, then its files. */
int version_files_remove(const char *dir, const char *name, struct undine_err *err);

#endif
