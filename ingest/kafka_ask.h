/* kafka_ask.h: what a reader asks brokers about topics and offsets, and tells them.
 *
 * Each question goes out once and waits for its answer; who asks decides whether to ask again.  The
 * types are librdkafka's own, named by their tags.  Ingest thread. */
#ifndef UNDINE_INGEST_KAFKA_ASK_H
#define UNDINE_INGEST_KAFKA_ASK_H

#include "base/err.h"
#include "ingest/source.h"

struct rd_kafka_s;
struct rd_kafka_topic_s;

/* The partition holds low to high - 1 (of what read_committed may see); false = no answer. */
bool kafka_ask_offsets(struct rd_kafka_s *rk, const struct source_partition *p, int64_t *low,
                       int64_t *high, int timeout_ms);

/* First offset whose record is of this time or later; `high` where there is none; -1 = no answer.
 */
int64_t kafka_ask_time(struct rd_kafka_s *rk, const struct source_partition *p, int64_t time_ms,
                       int64_t high, int timeout_ms);

/* Number of a topic's partitions; 0 = no answer.  UNDINE_ENOTFOUND where there is no such topic,
 * UNDINE_EIO where the broker refuses to say. */
int kafka_ask_partitions(struct rd_kafka_s *rk, struct rd_kafka_topic_s *topic, int timeout_ms,
                         struct undine_err *err);

/* Commit offsets for tools that show a group's lag: of each partition whose next offset in the
 * store is known (>= 0) and not the one told before.  Does not wait; told[] is brought up to date.
 */
void kafka_tell_offsets(struct rd_kafka_s *rk, const struct source *s, const int64_t *synced_next,
                        int64_t *told);

#endif
