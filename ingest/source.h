/* source.h: where bytes come from, one interface for Kafka and for files.
 *
 * A source is a fixed set of partitions, each an ordered run of messages with positions.  The
 * ingest loop decides which partition to poll (the one whose event time is furthest behind); a
 * source never decides order.  Positions come from the store, never from the broker.  Messages are
 * borrowed until the next poll of the same source.  Ingest thread only. */
#ifndef UNDINE_INGEST_SOURCE_H
#define UNDINE_INGEST_SOURCE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SOURCE_TOPIC_MAX = 256 };

/* Where to go on, and a fence: proof that the history before it is the one we have read. */
struct source_position {
    int64_t next;            /* offset of the next message to read; -1 = never read */
    int64_t fence_offset;    /* last message read, -1 = none */
    int64_t fence_timestamp; /* its record timestamp, ms */
    uint64_t fence_hash;     /* XXH3 of its key and payload */
};

struct source_partition {
    char topic[SOURCE_TOPIC_MAX];    /* topic, or the file's name */
    int32_t partition;               /* 0 for a file */
    uint32_t topic_index;            /* index of the topic in the configuration */
    struct source_position position; /* advanced by poll */
    int64_t end;  /* bounded run: stop before this offset, fixed at open; -1 = unbounded */
    int64_t high; /* newest offset known at the source + 1, for the lag; -1 = unknown */
    bool at_end;  /* nothing more right now (end of partition, end of file) */
    bool done;    /* bounded run: read up to its end; never polled again */
};

struct source_message {
    const uint8_t *payload; /* NULL = tombstone */
    size_t payload_len;
    int64_t offset;
    int64_t timestamp_ms; /* record timestamp, -1 = none */
};

struct source_stats { /* plain counters, written by the ingest thread */
    uint64_t messages, bytes, duplicates_skipped, gaps_explained, reconnects, errors;
    uint64_t gaps_verified;     /* of those explained: the broker was asked twice */
    uint64_t records_recovered; /* were in the second answer only: faults of the client library */
    bool away; /* a broker was lost, or a topic or a leader is missing, and the cluster was not seen
                  whole since */
};

struct source_topic { /* its partitions, of all shards */
    const char *name;
    int32_t n_partitions;
};

struct source;
struct source_ops {
    /* Read up to n_max messages of one partition into out, waiting at most timeout_ms for the
     * first. Returns their number; 0 = nothing now.  UNDINE_ELOSS where the position is gone at the
     * source (message: stored, low and high offset), UNDINE_EIO where the source failed for good.
     */
    int (*poll)(struct source *s, uint32_t partition, struct source_message *out, size_t n_max,
                int timeout_ms, struct undine_err *err);
    /* Serve callbacks and tell the broker where we are (a lag display only): next offsets that are
     * synced in the store.  Cheap; called about once a second.  May be NULL. */
    int (*maintain)(struct source *s, const int64_t *synced_next, struct undine_err *err);
    void (*close)(struct source *s);
};

struct source {
    const struct source_ops *ops;
    struct source_partition *partitions; /* owned by the implementation */
    uint32_t n_partitions;
    const struct source_topic *topics; /* as they were at open; files have none */
    size_t n_topics;
    struct source_stats stats;
};

/* Positions are looked up by the opener through this: 1 = found, 0 = never read, < 0 = error. */
typedef int (*source_position_fn)(void *payload, const char *topic, int32_t partition,
                                  struct source_position *out);

static inline int source_poll(struct source *s, uint32_t partition, struct source_message *out,
                              size_t n_max, int timeout_ms, struct undine_err *err)
{
    return s->ops->poll(s, partition, out, n_max, timeout_ms, err);
}

static inline void source_close(struct source *s)
{
    if (s != NULL) {
        s->ops->close(s);
    }
}

/* source_file.c: JSON lines, one file = one partition; names ending in .zst are decompressed; "-"
 * is standard input.  Offsets are line numbers from 0, so a compressed file can be resumed too.  A
 * line ends with \n or \r\n, the last one perhaps with nothing; an empty line is a message of no
 * bytes. UNDINE_ELOSS where a resumed file is shorter than what was read of it, or the last line
 * that was read differs; UNDINE_ECORRUPT where compressed data is broken or cut short. */
struct source_file_options {
    const char *const *paths;
    const uint32_t *topic_index; /* of each path; NULL = SOURCE_TOPIC_ANY for all */
    size_t n_paths;
    size_t line_bytes_max; /* a longer line is handed on cut to this length: one more than the
                              decoder takes, so that it is refused for what it is */
};
#define SOURCE_TOPIC_ANY UINT32_MAX /* the message's own `kind` decides */
int source_file_open(struct source **out, const struct source_file_options *opt,
                     source_position_fn position, void *payload, struct undine_err *err);

/* source_kafka.c; besides it only kafka_ask.c and kafka_watch.c know librdkafka, for reading. */
struct source_kafka_topic {
    char name[SOURCE_TOPIC_MAX];
};
struct source_kafka_option { /* passed through to librdkafka */
    char key[96];
    char value[1024];
};
typedef void (*source_log_fn)(void *payload, int level, const char *text);
struct source_kafka_options {
    const char *brokers;
    const char *group; /* names the lag display; no group protocol is used */
    const struct source_kafka_topic *topics;
    size_t n_topics;
    uint32_t shard, n_shards; /* owns partition p where p % n_shards == shard */
    const struct source_kafka_option *pass;
    size_t n_pass;
    bool until_end;  /* bounded: fix the end offsets at open */
    int64_t from_ms; /* partitions never read start at the first record of this time or later;
                        <= 0: at their beginning */
    int64_t to_ms;   /* with until_end: end before the first record of this time; <= 0: at the
                        end as it is now */
    const char *const *accept_loss; /* "topic:partition" whose loss, found at open, is accepted */
    size_t n_accept_loss;
    int metadata_timeout_ms; /* how long open waits for the brokers */
    source_log_fn log;
    void *log_payload;
};
/* Assign every owned partition at its stored position, after checking that the record before it
 * (the fence) is still the one that was read.  Where the position is gone at the source or the
 * fence differs: UNDINE_ELOSS, which says the stored, low and high offset; for an accepted
 * partition, reading goes on at the low offset instead, and the caller sees another `position.next`
 * than it stored and records that.  Losses while running always end in UNDINE_ELOSS from poll.
 * UNDINE_EAGAIN where no broker answers in time: may be called again.  UNDINE_ENOTFOUND names a
 * topic that does not exist, UNDINE_ECONFIG a key that is refused or partition counts that differ
 * under shards.  maintain gives UNDINE_ELOSS where a topic is deleted, shrinks, or grows under
 * shards (its users would change shards), and UNDINE_EIO where it grows otherwise: a restart, which
 * needs nobody, reads the new partitions from their beginning. */
int source_kafka_open(struct source **out, const struct source_kafka_options *opt,
                      source_position_fn position, void *payload, struct undine_err *err);
/* Is `key` one that exactly-once rests on and that a configuration may not set?  Returns the reason
 * to print, or NULL where it may be set.  `value` is checked by librdkafka at open. */
const char *source_kafka_key_refused(const char *key);

#endif
