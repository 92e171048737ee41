/* zfile.h: files that may be compressed, as plain FILE streams.
 *
 * A name ending in .zst is decompressed or compressed on the way; "-" is standard input or output.
 * One thread at a time. */
#ifndef UNDINE_OPS_ZFILE_H
#define UNDINE_OPS_ZFILE_H

#include "base/err.h"

#include <stdio.h>

/* NULL and an error where it cannot be opened. */
FILE *zfile_read(const char *path, struct undine_err *err);
FILE *zfile_write(const char *path, struct undine_err *err);
/* Close, and say whether everything before went well: UNDINE_EIO for a read, write or close that
 * failed, UNDINE_ECORRUPT for damaged or cut compressed data.  NULL is fine. */
int zfile_close(FILE *f, const char *path, struct undine_err *err);

#endif
