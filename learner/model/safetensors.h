/* safetensors.h: named tensors in one file that any safetensors reader can open.
 *
 *   u64 N   JSON header of N bytes, padded with spaces   data of the tensors, one after the other
 *   {"name":{"dtype":"F32","shape":[3,8],"data_offsets":[0,96]},...}   offsets from the data's
 * begin
 *
 * We write tensors by falling element size behind a header that makes the data begin at a multiple
 * of 64, so that every tensor of a mapped file is aligned.  Equal tensors give equal bytes.  Only
 * tensors of one or two dimensions exist here.  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_SAFETENSORS_H
#define UNDINE_LEARNER_MODEL_SAFETENSORS_H

#include "base/err.h"
#include "base/hash.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SAFETENSORS_NAME_MAX = 96, /* bytes of a name, NUL included */
    SAFETENSORS_TENSORS_MAX = 4096,
    SAFETENSORS_HEADER_MAX = 4 * 1024 * 1024 /* bytes */
};

enum safetensors_type {
    SAFETENSORS_F32,
    SAFETENSORS_F64,
    SAFETENSORS_U64,
    SAFETENSORS_U32,
    SAFETENSORS_U8,
    SAFETENSORS_I64
};

/* Where a tensor's data comes from piece by piece: hands all safetensors_bytes of it, in order, to
 * `put`. */
typedef int (*safetensors_put_fn)(void *output, const void *data, uint64_t len,
                                  struct undine_err *err);
struct safetensors_source {
    int (*produce)(const struct safetensors_source *self, safetensors_put_fn put, void *output,
                   struct undine_err *err);
};

struct safetensors_tensor {
    char name[SAFETENSORS_NAME_MAX];
    enum safetensors_type type;
    uint64_t rows, cols;                     /* cols 0 = one dimension */
    const void *data;                        /* borrowed; aligned to the type */
    const struct safetensors_source *source; /* to be written, in place of data; else NULL */
};

size_t safetensors_type_bytes(enum safetensors_type type);
/* Elements of a tensor, and its bytes. */
uint64_t safetensors_count(const struct safetensors_tensor *t);
uint64_t safetensors_bytes(const struct safetensors_tensor *t);

/* What was written to a file: its size and checksum (XXH3-128 of all bytes). */
struct file_sum {
    uint64_t bytes;
    struct hash128 checksum;
};

/* Write all n tensors to an empty file and fsync it.  Names must differ.  Equal element sizes keep
 * the given order; sources are asked in the order of the file.  UNDINE_EIO, UNDINE_ENOMEM. */
int safetensors_write(int fd, const struct safetensors_tensor *tensors, size_t n,
                      struct file_sum *out, struct undine_err *err);

struct safetensors {
    struct safetensors_tensor *tensor; /* in the order of their data */
    size_t n;
};

/* Take a file's bytes (which must stay, at an address that is a multiple of 8) apart.  Everything
 * is checked before anything is believed: header, types, shapes, that the tensors fill the data
 * without hole or overlap, alignment.  UNDINE_ECORRUPT, UNDINE_ENOMEM. */
int safetensors_parse(struct safetensors *out, const void *data, size_t len,
                      struct undine_err *err);
void safetensors_release(struct safetensors *s); /* NULL-safe, and fine on a zeroed one */
const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name);

#endif
