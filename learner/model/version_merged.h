/* version_merged.h: which full version stands for the beginning of a chain.
 *
 * A delta names the versions that it was written on.  When they have been merged since then, and
 * the full version at their begin is gone, the merged one has the model that one of them had: the
 * delta and those between apply to it as well, which their digests prove. */
#ifndef UNDINE_LEARNER_MODEL_VERSION_MERGED_H
#define UNDINE_LEARNER_MODEL_VERSION_MERGED_H

#include "learner/model/manifest.h"

/* The full version in DIR that was merged from the latest link of the chain, `from` or later: *link
 * = which one, *merged = the full version.  1 = found, 0 = there is none, UNDINE_EIO,
 * UNDINE_ENOMEM. */
int version_merged_find(const char *dir, const struct manifest_delta *chain, uint32_t from,
                        uint32_t *link, struct manifest_link *merged, struct undine_err *err);

#endif
