/* version_tensors.h: the tensor files of a version, from a sorted snapshot: a full one or a delta.
 * Publisher thread. */
#ifndef UNDINE_LEARNER_VERSION_TENSORS_H
#define UNDINE_LEARNER_VERSION_TENSORS_H

#include "learner/snapshot.h"
#include "learner/version_files.h"

/* path/model.safetensors and path/train.safetensors, synced.  UNDINE_EIO, UNDINE_ENOMEM. */
int version_tensors_model(const char *path, const struct snapshot *s, struct file_sum *out,
                          struct undine_err *err);
int version_tensors_train(const char *path, const struct snapshot *s, struct file_sum *out,
                          struct undine_err *err);

#endif
