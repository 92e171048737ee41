/* verify.h: `undine inspect store --verify`: is every byte of a state directory what was written?
 *
 * The store by ingest_verify, then every version: its files against the checksums of its manifest,
 * its model against the digest, CURRENT against what is there, and whether a start finds a version
 * that the example log still continues.  Reads only; a live daemon may go on meanwhile: where it
 * changed files under the reader, all is read again. */
#ifndef UNDINE_OPS_VERIFY_H
#define UNDINE_OPS_VERIFY_H

#include "configs/config.h"

#include <jansson.h>

/* One object that says what was checked, in figures, and `problems`; *valid = there are none.  NULL
 * and err where it could not be checked at all. */
json_t *verify_state(const char *state_dir, const struct config *config, bool *valid,
                     struct undine_err *err);

#endif
