/* arrivals.h: the decoded events of a commit, in one block: in memory while any of them is waiting
 * or pending, and in the store so that a restart finds them again.
 *
 * Format (family `arrivals`): u8 version, u8[3] zero, u32 n_events, u32 n_rejected, u32 zero,
 * u64 shard, i64 time_max_ms (INT64_MIN without events), then n_rejected of {u64 commit, u32 word,
 * u32 zero} (impressions in retained blocks that this commit found to be duplicates, by the word at
 * which they begin behind the rejections of their block; a restart must not take them again), then
 * the event records.  Words inside are 8-byte aligned.
 *
 * Memory is chunks of 1 MiB that several commits share; a chunk goes when the last of its events is
 * released.
 *
 * Ingest thread only. */
#ifndef UNDINE_FEATURESTORE_ARRIVALS_H
#define UNDINE_FEATURESTORE_ARRIVALS_H

#include "base/restore_progress.h"
#include "base/schema.h"
#include "featurestore/event.h"
#include "featurestore/store.h"

struct arrivals;
int arrivals_open(struct arrivals **out, struct store *store, const struct schema *schema,
                  uint32_t shard, struct undine_err *err);
void arrivals_close(struct arrivals *a);

/* The block of the commit in the making: reserve EVENT_WORDS_MAX words to decode into, then keep
 * the event that they begin with, or reserve again.  A kept event stays where it is until it is
 * released, and until the commit is written.  NULL = UNDINE_ENOMEM. */
uint64_t *arrivals_reserve(struct arrivals *a, struct undine_err *err);
struct event *arrivals_keep(struct arrivals *a, uint32_t words);
/* Note that an impression which is applied now turned out to be a duplicate.  Does not release it.
 */
int arrivals_reject(struct arrivals *a, const struct event *e, struct undine_err *err);
/* The event is done with (emitted, expired, applied, dropped): its memory may go. */
void arrivals_release(struct arrivals *a, const struct event *e);

/* Put this commit's block (if it has events or rejections) and the trim of old ones into the batch:
 * the oldest stored blocks go, many at a time, as far as everything in them is older than
 * keep_after_ms.  Commit numbers rise. */
int arrivals_stage(struct arrivals *a, uint64_t commit, int64_t keep_after_ms,
                   struct undine_err *err);
void arrivals_commit(struct arrivals *a);

/* After open, before anything else: call fn for every stored event but rejected ones, in the order
 * of arrival (not of time).  fn keeps the event (as if kept by arrivals_keep) or calls
 * arrivals_release. UNDINE_ESTATE where the store is another shard's. */
typedef int (*arrivals_fn)(void *payload, struct event *e, struct undine_err *err);
int arrivals_restore(struct arrivals *a, arrivals_fn fn, void *payload,
                     struct restore_progress *progress, struct undine_err *err);

uint64_t arrivals_trimmed(const struct arrivals *a); /* blocks removed since open */
size_t arrivals_bytes(const struct arrivals *a); /* memory held */

/* Is this a whole, valid block?  For fuzzing and inspect; never reads past len.  out (may be NULL):
 * what is in it. */
struct arrivals_block {
    uint32_t n_events, n_rejected;
    uint64_t shard;
};
int arrivals_check(struct arrivals_block *out, const struct schema *schema, const uint8_t *value,
                   size_t len, struct undine_err *err);

#endif
