/* mapped_file.h: a file as read-only memory.
 *
 * For files that never change once they have their name: a version's.  Removing a mapped file is
 * fine, it lives until it is closed; cutting it short is not (SIGBUS).  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_MAPPED_FILE_H
#define UNDINE_LEARNER_MODEL_MAPPED_FILE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct mapped_file {
    const uint8_t *data; /* NULL where len is 0 */
    size_t len;
};

/* UNDINE_ENOTFOUND, UNDINE_ENOMEM (memory, addresses, descriptors), UNDINE_EIO; the message begins
 * with the path. */
int mapped_file_open(struct mapped_file *out, const char *path, struct undine_err *err);
void mapped_file_close(struct mapped_file *m); /* NULL-safe, and fine on a zeroed one */
/* Bytes of a mapped file that are read and not wanted again soon: they stay where they are, but
 * need not stay in memory. */
void mapped_file_pass(const void *at, size_t len);

#endif
