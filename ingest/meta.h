/* meta.h: what the ingest loop keeps in the store's `meta` family, written with every commit that
 * changes it.  docs/formats.md describes the bytes.
 *
 *   ingest                        commit number, watermark, newest and first event times, counters
 *   config                        digest and text of what may not change on an existing store
 *   position/<topic>/<partition>  where to go on, its fence, the newest event time seen there
 *   topic/<topic>                 number of its partitions when it was read last
 *   malformed/<slot>              the newest malformed messages, one a slot
 *   loss/<number>                 losses at the source that the operator accepted; never removed
 *
 * Encoders append to a writer; decoders return UNDINE_ECORRUPT or UNDINE_EVERSION and never read
 * past the bytes.  Pure functions, any thread. */
#ifndef UNDINE_INGEST_META_H
#define UNDINE_INGEST_META_H

#include "base/bytes.h"
#include "base/err.h"
#include "ingest/ingest.h"
#include "ingest/source.h"

#define META_INGEST           "ingest"
#define META_CONFIG           "config"
#define META_POSITION_PREFIX  "position/"
#define META_TOPIC_PREFIX     "topic/"
#define META_MALFORMED_PREFIX "malformed/"
#define META_LOSS_PREFIX      "loss/"
enum { META_NAME_MAX = SOURCE_TOPIC_MAX + 64 };

struct meta_ingest {
    uint64_t commit;       /* number of the last commit, 0 = none */
    int64_t watermark_ms;  /* everything below it is applied; INT64_MIN = nothing yet */
    int64_t event_time_ms; /* newest event time seen; INT64_MIN = none */
    int64_t first_ms;      /* time of the first impression; INT64_MIN = none yet */
    struct ingest_counters counters;
};
void meta_ingest_encode(struct writer *out, const struct meta_ingest *m);
int meta_ingest_decode(struct meta_ingest *out, const uint8_t *value, size_t len,
                       struct undine_err *err);

/* Text: one "key=value" a line.  The decoder's text points into value. */
struct meta_config {
    uint64_t digest;
    const char *text;
    size_t text_len;
};
void meta_config_encode(struct writer *out, const struct meta_config *m);
int meta_config_decode(struct meta_config *out, const uint8_t *value, size_t len,
                       struct undine_err *err);

struct meta_position {
    struct source_position position;
    int64_t newest_ms; /* largest event time seen in the partition; INT64_MIN = none */
};
void meta_position_name(char name[META_NAME_MAX], const char *topic, int32_t partition);
void meta_position_encode(struct writer *out, const struct meta_position *m);
int meta_position_decode(struct meta_position *out, const uint8_t *value, size_t len,
                         struct undine_err *err);

struct meta_topic {
    int32_t n_partitions; /* of all shards */
};
void meta_topic_name(char name[META_NAME_MAX], const char *topic);
void meta_topic_encode(struct writer *out, const struct meta_topic *m);
int meta_topic_decode(struct meta_topic *out, const uint8_t *value, size_t len,
                      struct undine_err *err);

/* The decoder's pointers go into value. */
enum { META_SAMPLE_BYTES_MAX = 1024 };
struct meta_malformed {
    uint64_t number; /* it was the number-th malformed message, from 1 */
    int64_t offset;
    int64_t timestamp_ms; /* of the record, -1 = none */
    int32_t partition;
    uint32_t payload_full_len;  /* before it was cut */
    const char *topic, *reason; /* reason: decode_reason_name; no NUL at the end of either */
    size_t topic_len, reason_len;
    const uint8_t *payload;
    size_t payload_len;
};
void meta_malformed_name(char name[META_NAME_MAX], uint32_t slot);
void meta_malformed_encode(struct writer *out, const struct meta_malformed *m);
int meta_malformed_decode(struct meta_malformed *out, const uint8_t *value, size_t len,
                          struct undine_err *err);

struct meta_loss {
    int64_t wall_ms;     /* when it was accepted */
    int64_t stored_next; /* where the store wanted to go on */
    int64_t source_next; /* where the source goes on instead; -1 = the partition is gone */
    int32_t partition;
    const char *topic;
    size_t topic_len;
};
void meta_loss_name(char name[META_NAME_MAX], uint64_t number);
void meta_loss_encode(struct writer *out, const struct meta_loss *m);
int meta_loss_decode(struct meta_loss *out, const uint8_t *value, size_t len,
                     struct undine_err *err);

#endif
