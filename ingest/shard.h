/* shard.h: which partitions of the topics a shard owns: every p with p % n_shards == shard.
 *
 * Clicks and impressions are keyed by user and cut into equal numbers of partitions, so that a
 * user's events meet in one shard; this holds only while those numbers stay what they were. */
#ifndef UNDINE_INGEST_SHARD_H
#define UNDINE_INGEST_SHARD_H

#include "base/err.h"
#include "ingest/source.h"

/* The owned partitions, topic by topic, at their stored positions (position may be NULL), as an
 * array that the caller frees.  UNDINE_ECONFIG where there is none, or the numbers differ under
 * shards. */
int shard_partitions(struct source_partition **out, uint32_t *n_out,
                     const struct source_topic *topics, size_t n_topics, uint32_t shard,
                     uint32_t n_shards, source_position_fn position, void *payload,
                     struct undine_err *err);

/* A topic has now_partitions (0 = it is gone).  Returns 0 where that is what it had; UNDINE_EIO
 * where it has grown and there is one shard only, so that a restart is all it needs; UNDINE_ELOSS
 * where it is gone, has shrunk, or has grown under shards. */
int shard_topic_changed(const struct source_topic *topic, int32_t now_partitions, uint32_t n_shards,
                        struct undine_err *err);

#endif
