/* memory_source.h: a source whose partitions are lists of messages in memory, for tests.
 *
 * Goes on where position() says, like the real ones.  With a random generator each poll gives a
 * random part of what was asked for, sometimes nothing: as a network does. */
#ifndef UNDINE_TESTS_MEMORY_SOURCE_H
#define UNDINE_TESTS_MEMORY_SOURCE_H

#include "base/random.h"
#include "ingest/source.h"

enum { MEMORY_PARTITIONS_MAX = 8 };

struct memory_log {                             /* what "Kafka" holds; outlives sources */
    const char **texts[MEMORY_PARTITIONS_MAX];  /* borrowed; NULL = tombstone */
    int64_t *written_ms[MEMORY_PARTITIONS_MAX]; /* the records' timestamps, -1 = none */
    size_t n[MEMORY_PARTITIONS_MAX], capacity[MEMORY_PARTITIONS_MAX];
    uint32_t n_partitions;
    uint32_t per_topic; /* partitions of a topic, the first ones are topic 0; 0 = one topic "memory"
                           whose messages say themselves what they are */
};
void memory_log_add(struct memory_log *log, uint32_t partition, const char *text);
void memory_log_add_at(struct memory_log *log, uint32_t partition, const char *text,
                       int64_t written_ms);
void memory_log_release(struct memory_log *log);

struct memory_source_options {
    bool bounded;          /* done at the end of what the log holds at open */
    struct random *chunks; /* NULL = polls give all they can */
    /* Told of every poll (may be NULL): the n messages from number `from` on were given. */
    void (*polled)(void *payload, const struct source_partition *p, uint32_t partition, size_t from,
                   size_t n);
    void *payload;
};
struct source *memory_source_open(const struct memory_log *log,
                                  const struct memory_source_options *opt,
                                  source_position_fn position, void *payload);

#endif
