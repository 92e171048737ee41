#include "ops/store_json.h"

#include "ingest/meta.h"
#include "ops/json_put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_i64(json_t *o, const char *name, int64_t v)
{
    json_put(o, name, json_integer(v));
}

static void put_u64(json_t *o, const char *name, uint64_t v)
{
    put_i64(o, name, (int64_t)v);
}

/* Times that do not exist yet are null. */
static void put_ms(json_t *o, const char *name, int64_t ms)
{
    json_put(o, name, ms == INT64_MIN || ms == INT64_MAX ? json_null() : json_integer(ms));
}

json_t *store_json_bytes(const void *data, size_t len)
{
    json_t *text = json_stringn(data, len); /* NULL where it is not UTF-8 */
    if (text != NULL) {
        return text;
    }
    char *escaped = malloc(4 * len + 1);
    if (escaped == NULL) {
        return json_null();
    }
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = ((const unsigned char *)data)[i];
        n += (size_t)snprintf(escaped + n, 5, c < 0x20 || c > 0x7e ? "\\x%02x" : "%c", c);
    }
    text = json_stringn(escaped, n);
    free(escaped);
    return text;
}

json_t *store_json_counters(const struct ingest_counters *c)
{
    json_t *o = json_object(), *late = json_object(), *duplicate = json_object();
    json_t *malformed = json_object();
    put_u64(o, "events", c->events);
    put_u64(o, "applied", c->applied);
    put_u64(o, "waiting", c->waiting);
    put_u64(o, "late", c->late);
    put_u64(o, "duplicate", c->duplicate);
    put_u64(o, "malformed", c->malformed);
    put_u64(o, "filtered", c->filtered);
    put_u64(o, "impressions", c->impressions);
    put_u64(o, "positives", c->positives);
    put_u64(o, "negatives", c->negatives);
    put_u64(o, "pending", c->pending);
    put_u64(o, "sampled_out", c->sampled_out);
    put_u64(o, "dropped", c->dropped);
    put_u64(o, "revised", c->revised);
    put_u64(o, "revised_negatives", c->revised_negatives);
    put_u64(o, "revised_sampled_out", c->revised_sampled_out);
    put_u64(o, "label_delay_ms", c->label_delay_ms);
    put_u64(o, "clicks_matched", c->clicks_matched);
    put_u64(o, "clicks_orphan", c->clicks_orphan);
    put_u64(o, "clicks_late", c->clicks_late);
    put_u64(o, "behaviors", c->behaviors);
    put_u64(o, "forgets", c->forgets);
    put_u64(o, "losses", c->losses);
    for (int k = 0; k < EVENT_KINDS; k++) {
        put_u64(late, event_kind_names[k], c->late_by_kind[k]);
        put_u64(duplicate, event_kind_names[k], c->duplicate_by_kind[k]);
    }
    for (int r = DECODE_OK + 1; r < DECODE_REASON_COUNT; r++) {
        put_u64(malformed, decode_reason_name((enum decode_reason)r), c->malformed_by_reason[r]);
    }
    json_put(o, "late_by_kind", late);
    json_put(o, "duplicate_by_kind", duplicate);
    json_put(o, "malformed_by_reason", malformed);
    json_put(o, "closes", json_boolean(ingest_counters_close(c)));
    return o;
}

json_t *store_json_ingest(struct store *s, struct undine_err *err)
{
    struct writer value;
    struct meta_ingest m;
    writer_init(&value);
    json_t *o = NULL;
    int rc = store_get(s, STORE_META, META_INGEST, strlen(META_INGEST), &value, err);
    if (rc == 0) {
        o = json_object();
    } else if (rc > 0 && meta_ingest_decode(&m, value.data, value.len, err) == UNDINE_OK) {
        o = json_object();
        put_u64(o, "commit", m.commit);
        put_ms(o, "watermark_ms", m.watermark_ms);
        put_ms(o, "event_time_ms", m.event_time_ms);
        put_ms(o, "first_impression_ms", m.first_ms);
        json_put(o, "counters", store_json_counters(&m.counters));
    }
    writer_release(&value);
    return o;
}

static int add_position(void *payload, const char *name, const uint8_t *value, size_t len,
                        struct undine_err *err)
{
    struct meta_position m;
    int rc = meta_position_decode(&m, value, len, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    const char *topic = name + strlen(META_POSITION_PREFIX);
    const char *slash = strrchr(topic, '/');
    json_t *o = json_object();
    json_put(o, "topic", store_json_bytes(topic, slash != NULL ? (size_t)(slash - topic) : 0));
    put_i64(o, "partition", slash != NULL ? strtol(slash + 1, NULL, 10) : 0);
    put_i64(o, "next", m.position.next);
    put_i64(o, "fence_offset", m.position.fence_offset);
    put_ms(o, "event_time_ms", m.newest_ms);
    json_put_last(payload, o);
    return UNDINE_OK;
}

static int add_loss(void *payload, const char *name, const uint8_t *value, size_t len,
                    struct undine_err *err)
{
    struct meta_loss m;
    int rc = meta_loss_decode(&m, value, len, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    (void)name;
    json_t *o = json_object();
    json_put(o, "topic", store_json_bytes(m.topic, m.topic_len));
    put_i64(o, "partition", m.partition);
    put_ms(o, "accepted_ms", m.wall_ms);
    put_i64(o, "stored_offset", m.stored_next);
    put_i64(o, "continued_at_offset", m.source_next);
    json_put_last(payload, o);
    return UNDINE_OK;
}

/* Slots are a ring: the number says the age. */
static int add_malformed(void *payload, const char *name, const uint8_t *value, size_t len,
                         struct undine_err *err)
{
    struct meta_malformed m;
    int rc = meta_malformed_decode(&m, value, len, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    (void)name;
    json_t *o = json_object(), *array = payload;
    put_u64(o, "number", m.number);
    json_put(o, "reason", json_stringn(m.reason, m.reason_len));
    json_put(o, "topic", store_json_bytes(m.topic, m.topic_len));
    put_i64(o, "partition", m.partition);
    put_i64(o, "offset", m.offset);
    put_ms(o, "timestamp_ms", m.timestamp_ms < 0 ? INT64_MIN : m.timestamp_ms);
    put_u64(o, "bytes", m.payload_full_len);
    json_put(o, "payload", store_json_bytes(m.payload, m.payload_len));
    size_t at = 0;
    while (at < json_array_size(array) &&
           json_integer_value(json_object_get(json_array_get(array, at), "number")) >
               (json_int_t)m.number) {
        at++;
    }
    if (json_array_insert_new(array, at, o) < 0) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a sample");
    }
    return UNDINE_OK;
}

static json_t *collect(struct store *s, const char *prefix, store_meta_fn fn,
                       struct undine_err *err)
{
    json_t *array = json_array();
    if (array == NULL) {
        (void)undine_err_set(err, UNDINE_ENOMEM, "no memory for the records of `%s`", prefix);
        return NULL;
    }
    int rc = store_scan_meta(s, prefix, fn, array, err);
    if (rc == UNDINE_OK && json_put_lost()) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "no memory for the records of `%s`", prefix);
    }
    if (rc < 0) {
        json_decref(array);
        array = NULL;
    }
    return array;
}

json_t *store_json_positions(struct store *s, struct undine_err *err)
{
    return collect(s, META_POSITION_PREFIX, add_position, err);
}

json_t *store_json_losses(struct store *s, struct undine_err *err)
{
    return collect(s, META_LOSS_PREFIX, add_loss, err);
}

json_t *store_json_malformed(struct store *s, struct undine_err *err)
{
    return collect(s, META_MALFORMED_PREFIX, add_malformed, err);
}
