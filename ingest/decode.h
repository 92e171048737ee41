/* decode.h: message bytes to struct event, by the schema.
 *
 * The JSON of an event (docs/events.md):
 *   {"kind":"impression","id":"i1","user":"u1","time":1650812741436,
 *    "profile":{"age":"30"},"candidate":{"video":5239,"tag":[39,12]},"context":{"hour":3}}
 *   {"kind":"click","impression":"i1","time":...}             or
 * {"kind":"click","user":..,"item":..}
 *   {"kind":"behavior","type":"long_view","user":"u1","time":...,"item":{"video":5239,...}}
 *   {"kind":"forget","user":"u1","time":...}
 * An id is a string or an integer; 5239 and "5239" are the same id.  Members that the schema does
 * not know are skipped.  null, "" and [] are a missing value.  Nothing that arrives is fatal: a bad
 * message gives a reason, which the caller counts.  One decoder belongs to one thread. */
#ifndef UNDINE_INGEST_DECODE_H
#define UNDINE_INGEST_DECODE_H

#include "base/schema.h"
#include "featurestore/event.h"

#include <stddef.h>
#include <stdint.h>

enum { DECODE_ID_MAX = 255 }; /* bytes of an id */
/* The last millisecond of the year 9999: a time beyond it is in other units than milliseconds. */
#define DECODE_TIME_MAX_MS INT64_C(253402300799999)

/* Why a message is no event: counter name, text. */
#define DECODE_REASONS(X)                                                                          \
    X(DECODE_OK, "ok", "an event")                                                                 \
    X(DECODE_EMPTY, "empty", "the message has no bytes")                                           \
    X(DECODE_TOMBSTONE, "tombstone", "the message is a tombstone (null payload)")                  \
    X(DECODE_TOO_LONG, "too_long", "the message is longer than `ingest.message_bytes_max`")        \
    X(DECODE_UTF8, "utf8", "the message is not UTF-8")                                             \
    X(DECODE_JSON, "json", "the message is not one JSON object")                                   \
    X(DECODE_KIND, "kind", "`kind` is missing, unknown, or not one that its topic carries")        \
    X(DECODE_TYPE, "type", "a member has the wrong JSON type")                                     \
    X(DECODE_NUMBER, "number", "the time is no integer, or an integer does not fit 64 bits")       \
    X(DECODE_MISSING, "missing", "an id, the user, the time, the item or the type is missing")     \
    X(DECODE_LENGTH, "length", "an id is longer than 255 bytes")                                   \
    X(DECODE_TIME, "time", "the time is before 1970 or after the year 9999")                       \
    X(DECODE_FUTURE, "future", "the time is further ahead than `order.max_future`")

enum decode_reason {
#define X(name, counter, text) name,
    DECODE_REASONS(X)
#undef X
        DECODE_REASON_COUNT
};
const char *decode_reason_name(enum decode_reason r); /* "json": for metrics and inspect */
const char *decode_reason_text(enum decode_reason r);

struct decode_options {
    size_t message_bytes_max;
    uint32_t
        topic_kinds[16]; /* per topic of the configuration: bit k = it carries enum event_kind k */
    size_t n_topics;
    bool join_by_user_item; /* clicks name (user, item): id = hash of both, on both sides */
};

struct decode_stats {
    uint64_t reasons[DECODE_REASON_COUNT];
    uint64_t behaviors_ignored;          /* types that the schema does not declare: filtered */
    uint64_t values_dropped;             /* ids beyond a field's values_max */
    uint64_t values_repeated;            /* ids that a field has already */
    uint64_t missing[SCHEMA_FIELDS_MAX]; /* impressions without a value for the field */
};

struct decoder;
/* Borrows schema, copies opt.  UNDINE_ECONFIG where clicks are joined by (user, item) and the
 * schema has no candidate field, or where message_bytes_max is 0 or beyond 1 GiB. */
int decoder_open(struct decoder **out, const struct schema *schema,
                 const struct decode_options *opt, struct undine_err *err);
void decoder_close(struct decoder *d);

/* Decode one message into out (EVENT_WORDS_MAX words).  Space around the object is no part of the
 * message: neither its hash nor its size limit depends on it.  Returns its enum decode_reason,
 * which is counted in stats.reasons; where it is DECODE_OK, *words is the record's size, or 0 for a
 * message that is filtered (an undeclared behaviour type).  data NULL = a tombstone.  topic_index
 * may be SOURCE_TOPIC_ANY.  DECODE_FUTURE is not decided here. */
enum decode_reason decoder_decode(struct decoder *d, const uint8_t *data, size_t len,
                                  uint32_t topic_index, uint64_t *out, uint32_t *words);
const struct decode_stats *decoder_stats(const struct decoder *d);

#endif
