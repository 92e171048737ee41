#include "ingest/meta.h"

#include <stdio.h>

enum { META_VERSION = 1 };

/* ---- parts ---- */

/* Every value begins with its version, padded to eight bytes. */
static void put_version(struct writer *out)
{
    writer_u64(out, META_VERSION);
}

static int get_version(struct reader *r, const char *name, struct undine_err *err)
{
    uint64_t version = reader_u64(r);
    char what[64];
    (void)snprintf(what, sizeof what, "meta `%s`", name);
    if (r->bad) {
        return undine_err_set(err, UNDINE_ECORRUPT, "%s is cut short", what);
    }
    if ((version & 0xff) > META_VERSION) {
        return undine_err_version(err, what, version & 0xff, META_VERSION);
    }
    return version == META_VERSION
               ? UNDINE_OK
               : undine_err_set(err, UNDINE_ECORRUPT, "%s has a damaged header", what);
}

/* A decoder is done: were there enough bytes, and not too many? */
static int finish(const struct reader *r, const char *what, struct undine_err *err)
{
    if (r->bad || reader_left(r) != 0) {
        return undine_err_set(err, UNDINE_ECORRUPT, "meta `%s` has the wrong length", what);
    }
    return UNDINE_OK;
}

static void put_text(struct writer *out, const void *text, size_t len)
{
    writer_u32(out, (uint32_t)len);
    writer_bytes(out, text, len);
}

static const uint8_t *get_text(struct reader *r, size_t *len)
{
    *len = reader_u32(r);
    const uint8_t *text = reader_bytes(r, *len);
    if (text == NULL) {
        *len = 0;
    }
    return text;
}

/* ---- ingest ---- */

/* The counters in their stored order; a new one goes to the end of the first list. */
#define COUNTERS(X)                                                                                \
    X(events)                                                                                      \
    X(applied)                                                                                     \
    X(waiting)                                                                                     \
    X(late)                                                                                        \
    X(duplicate)                                                                                   \
    X(malformed)                                                                                   \
    X(filtered)                                                                                    \
    X(impressions)                                                                                 \
    X(clicks)                                                                                      \
    X(behaviors)                                                                                   \
    X(forgets)                                                                                     \
    X(clicks_matched)                                                                              \
    X(clicks_orphan)                                                                               \
    X(clicks_late)                                                                                 \
    X(positives)                                                                                   \
    X(negatives)                                                                                   \
    X(pending)                                                                                     \
    X(sampled_out)                                                                                 \
    X(dropped)                                                                                     \
    X(losses)                                                                                      \
    X(revised)                                                                                     \
    X(revised_negatives)                                                                           \
    X(revised_sampled_out)                                                                         \
    X(label_delay_ms)

/* A list with its length in front, so that lists may grow within the version. */
static void put_list(struct writer *out, const uint64_t *values, uint32_t n)
{
    writer_u32(out, n);
    for (uint32_t k = 0; k < n; k++) {
        writer_u64(out, values[k]);
    }
}

static void get_list(struct reader *r, uint64_t *values, uint32_t n_max)
{
    uint32_t n = reader_u32(r);
    if (n > n_max) { /* written by a newer program */
        r->bad = true;
        return;
    }
    for (uint32_t k = 0; k < n; k++) {
        values[k] = reader_u64(r);
    }
}

void meta_ingest_encode(struct writer *out, const struct meta_ingest *m)
{
    const struct ingest_counters *c = &m->counters;
    put_version(out);
    writer_u64(out, m->commit);
    writer_i64(out, m->watermark_ms);
    writer_i64(out, m->event_time_ms);
    writer_i64(out, m->first_ms);
#define X(name) c->name,
    const uint64_t values[] = {COUNTERS(X)};
#undef X
    put_list(out, values, (uint32_t)(sizeof values / sizeof values[0]));
    put_list(out, c->late_by_kind, EVENT_KINDS);
    put_list(out, c->duplicate_by_kind, EVENT_KINDS);
    put_list(out, c->malformed_by_reason, DECODE_REASON_COUNT);
}

int meta_ingest_decode(struct meta_ingest *out, const uint8_t *value, size_t len,
                       struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    int rc = get_version(&r, META_INGEST, err);
    if (rc < 0) {
        return rc;
    }
    struct meta_ingest m = {0};
    m.commit = reader_u64(&r);
    m.watermark_ms = reader_i64(&r);
    m.event_time_ms = reader_i64(&r);
    m.first_ms = reader_i64(&r);
    struct ingest_counters *c = &m.counters;
#define X(name) &c->name,
    uint64_t *const fields[] = {COUNTERS(X)};
#undef X
    enum { N = sizeof fields / sizeof fields[0] };
    uint64_t values[N] = {0};
    get_list(&r, values, N);
    for (uint32_t k = 0; k < N; k++) {
        *fields[k] = values[k];
    }
    get_list(&r, c->late_by_kind, EVENT_KINDS);
    get_list(&r, c->duplicate_by_kind, EVENT_KINDS);
    get_list(&r, c->malformed_by_reason, DECODE_REASON_COUNT);
    rc = finish(&r, META_INGEST, err);
    if (rc == UNDINE_OK) {
        *out = m;
    }
    return rc;
}

/* ---- config ---- */

void meta_config_encode(struct writer *out, const struct meta_config *m)
{
    put_version(out);
    writer_u64(out, m->digest);
    put_text(out, m->text, m->text_len);
}

int meta_config_decode(struct meta_config *out, const uint8_t *value, size_t len,
                       struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    int rc = get_version(&r, META_CONFIG, err);
    if (rc < 0) {
        return rc;
    }
    struct meta_config m = {.digest = reader_u64(&r)};
    m.text = (const char *)get_text(&r, &m.text_len);
    rc = finish(&r, META_CONFIG, err);
    if (rc == UNDINE_OK) {
        *out = m;
    }
    return rc;
}

/* ---- positions ---- */

void meta_position_name(char name[META_NAME_MAX], const char *topic, int32_t partition)
{
    (void)snprintf(name, META_NAME_MAX, META_POSITION_PREFIX "%.*s/%d", SOURCE_TOPIC_MAX, topic,
                   partition);
}

void meta_position_encode(struct writer *out, const struct meta_position *m)
{
    put_version(out);
    writer_i64(out, m->position.next);
    writer_i64(out, m->position.fence_offset);
    writer_i64(out, m->position.fence_timestamp);
    writer_u64(out, m->position.fence_hash);
    writer_i64(out, m->newest_ms);
}

int meta_position_decode(struct meta_position *out, const uint8_t *value, size_t len,
                         struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    int rc = get_version(&r, "position", err);
    if (rc < 0) {
        return rc;
    }
    struct meta_position m = {0};
    m.position.next = reader_i64(&r);
    m.position.fence_offset = reader_i64(&r);
    m.position.fence_timestamp = reader_i64(&r);
    m.position.fence_hash = reader_u64(&r);
    m.newest_ms = reader_i64(&r);
    rc = finish(&r, "position", err);
    if (rc == UNDINE_OK) {
        *out = m;
    }
    return rc;
}

/* ---- malformed samples ---- */

void meta_malformed_name(char name[META_NAME_MAX], uint32_t slot)
{
    (void)snprintf(name, META_NAME_MAX, META_MALFORMED_PREFIX "%08u", slot);
}

void meta_malformed_encode(struct writer *out, const struct meta_malformed *m)
{
    put_version(out);
    writer_u64(out, m->number);
    writer_i64(out, m->offset);
    writer_i64(out, m->timestamp_ms);
    writer_u32(out, (uint32_t)m->partition);
    writer_u32(out, m->payload_full_len);
    put_text(out, m->topic, m->topic_len);
    put_text(out, m->reason, m->reason_len);
    put_text(out, m->payload, m->payload_len);
}

int meta_malformed_decode(struct meta_malformed *out, const uint8_t *value, size_t len,
                          struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    int rc = get_version(&r, "malformed", err);
    if (rc < 0) {
        return rc;
    }
    struct meta_malformed m = {0};
    m.number = reader_u64(&r);
    m.offset = reader_i64(&r);
    m.timestamp_ms = reader_i64(&r);
    m.partition = (int32_t)reader_u32(&r);
    m.payload_full_len = reader_u32(&r);
    m.topic = (const char *)get_text(&r, &m.topic_len);
    m.reason = (const char *)get_text(&r, &m.reason_len);
    m.payload = get_text(&r, &m.payload_len);
    rc = finish(&r, "malformed", err);
    if (rc == UNDINE_OK) {
        *out = m;
    }
    return rc;
}

/* ---- topics ---- */

void meta_topic_name(char name[META_NAME_MAX], const char *topic)
{
    (void)snprintf(name, META_NAME_MAX, META_TOPIC_PREFIX "%s", topic);
}

void meta_topic_encode(struct writer *out, const struct meta_topic *m)
{
    put_version(out);
    writer_u32(out, (uint32_t)m->n_partitions);
}

int meta_topic_decode(struct meta_topic *out, const uint8_t *value, size_t len,
                      struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    int rc = get_version(&r, "topic", err);
    if (rc < 0) {
        return rc;
    }
    struct meta_topic m = {.n_partitions = (int32_t)reader_u32(&r)};
    rc = finish(&r, "topic", err);
    if (rc == UNDINE_OK && m.n_partitions <= 0) {
        return undine_err_set(err, UNDINE_ECORRUPT, "meta `topic` has %d partitions",
                              m.n_partitions);
    }
    if (rc == UNDINE_OK) {
        *out = m;
    }
    return rc;
}

/* ---- losses ---- */

void meta_loss_name(char name[META_NAME_MAX], uint64_t number)
{
    (void)snprintf(name, META_NAME_MAX, META_LOSS_PREFIX "%020llu", (unsigned long long)number);
}

void meta_loss_encode(struct writer *out, const struct meta_loss *m)
{
    put_version(out);
    writer_i64(out, m->wall_ms);
    writer_i64(out, m->stored_next);
    writer_i64(out, m->source_next);
    writer_u32(out, (uint32_t)m->partition);
    put_text(out, m->topic, m->topic_len);
}

int meta_loss_decode(struct meta_loss *out, const uint8_t *value, size_t len,
                     struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    int rc = get_version(&r, "loss", err);
    if (rc < 0) {
        return rc;
    }
    struct meta_loss m = {0};
    m.wall_ms = reader_i64(&r);
    m.stored_next = reader_i64(&r);
    m.source_next = reader_i64(&r);
    m.partition = (int32_t)reader_u32(&r);
    m.topic = (const char *)get_text(&r, &m.topic_len);
    rc = finish(&r, "loss", err);
    if (rc == UNDINE_OK) {
        *out = m;
    }
    return rc;
}
