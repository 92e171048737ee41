/* memory_source.h: a source whose partitions are lists of messages in memory, for tests.
 *
 * Goes on where position() says, like the real ones.  With a random generator each poll gives a
 * random part of what was asked for, sometimes nothing: as a network does. */
#ifndef UNDINE_TESTS_MEMORY_SOURCE_H
#define UNDINE_TESTS_MEMORY_SOURCE_H

#include "base/random.h"
#include "ingest/source.h"

enum { MEMORY_PARTITIONS_MAX = 8 };

struct memory_log {                            /* what "Kafka" holds; outlives sources */
    const char **texts[MEMORY_PARTITIONS_MAX]; /* borrowed; NULL = tombstone */
    size_t n[MEMORY_PARTITIONS_MAX], capacity[MEMORY_PARTITIONS_MAX];
    uint32_t n_partitions;
};
void memory_log_add(struct memory_log *log, uint32_t partition, const char *text);
void memory_log_release(struct memory_log *log);

struct memory_source_options {
    bool bounded;          /* done at the end of what the log holds at open */
    struct random *chunks; /* NULL = polls give all they can */
};
struct source *memory_source_open(const struct memory_log *log,
                                  const struct memory_source_options *opt,
                                  source_position_fn position, void *payload);

#endif
