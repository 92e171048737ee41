/* version_merge.h: a delta and its chain become a full version, without the learner.
 *
 * The result is, byte for byte in its tensors, the full version that would have been written at the
 * delta's moment: the same model digest, and later deltas of that model apply to it as well.  Rows
 * are copied from the mapped parts in the order of their ids; memory is in proportion to what the
 * deltas changed, and the index of one table at a time (6 to 12 bytes a row).
 *
 * Two steps: writing takes long and may run on a thread of its own, beside a publisher that writes
 * and publishes deltas; it works under a name of its own (VERSION_MERGING).  Committing gives the
 * number and the name and is short; it may not run while another version is written or committed to
 * the same directory, so both take one lock of the caller's.  One merge of a directory at a time.
 */
#ifndef UNDINE_LEARNER_VERSION_MERGE_H
#define UNDINE_LEARNER_VERSION_MERGE_H

#include "learner/version.h"

#include <stdatomic.h>

struct version_merge;

/* Merge version DIR/name, a delta.  near: as version_chain_open; it need not stay open.  stop:
 * looked at about every megabyte, set = give up with UNDINE_EAGAIN; NULL.  What is written is read
 * again: its digest must be the delta's.  UNDINE_EINVAL where it is a full version, UNDINE_EIO,
 * UNDINE_ENOMEM, and what opening the chain may say: nothing stays. */
int version_merge_write(struct version_merge **out, const char *dir, const char *name,
                        const struct version_chain *near, const atomic_bool *stop,
                        struct undine_err *err);
/* Give it the next number, and its name.  It is not published: a newer delta mostly is, and the
 * next one is written on it.  created_ms: wall clock.  UNDINE_EIO, UNDINE_ENOMEM. */
int version_merge_commit(struct version_merge *m, int64_t created_ms, struct version_info *out,
                         struct undine_err *err);
/* Removes what was not committed.  NULL-safe. */
void version_merge_free(struct version_merge *m);

/* At start: remove what a merge left that a crash cut short. */
int version_merge_clear(const char *dir, struct undine_err *err);

#endif
