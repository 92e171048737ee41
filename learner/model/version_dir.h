/* version_dir.h: how versions are named in their directory, and which one is published.
 *
 *   DIR/000000000042/   a version: its number in 12 digits
 *   DIR/CURRENT         the name of the published version and a newline; replaced by rename
 * Any thread. */
#ifndef UNDINE_LEARNER_MODEL_VERSION_DIR_H
#define UNDINE_LEARNER_MODEL_VERSION_DIR_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { VERSION_NAME_MAX = 32, VERSION_PATH_MAX = 4096, VERSION_NAME_DIGITS = 12 };

/* number < 10^12. */
void version_name(char out[VERSION_NAME_MAX], uint64_t number);
/* Is `name` what version_name makes of some number? */
bool version_number(uint64_t *out, const char *name);

/* "DIR/NAME".  UNDINE_EINVAL where that is longer than VERSION_PATH_MAX. */
int version_path(char out[VERSION_PATH_MAX], const char *dir, const char *name,
                 struct undine_err *err);

/* Name in DIR/CURRENT.  UNDINE_ENOTFOUND where nothing is published, UNDINE_ECORRUPT where it holds
 * anything but a name. */
int version_dir_current(const char *dir, char out[VERSION_NAME_MAX], struct undine_err *err);

#endif
