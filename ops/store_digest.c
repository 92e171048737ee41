#include "ops/store_digest.h"

#include "featurestore/arrivals.h"
#include "featurestore/users.h"
#include "ingest/meta.h"

#include <string.h>

/* ---- users ---- */

struct users_digest {
    const struct schema *schema;
    struct store_digest *out;
    struct hash128_stream *hash;
    struct writer id, words;
};

/* Words of the step that begins here. */
static size_t step_words(const uint64_t *step)
{
    size_t n = 2;
    for (int byte = 0; byte < 8; byte++) {
        n += (step[1] >> (8 * byte)) & 0xff;
    }
    return n;
}

/* A sequence may still hold older steps that a pending impression needed when it was written. */
static void add_newest(struct users_digest *d, const struct users_view *view, uint32_t length)
{
    const uint64_t *from = view->words;
    uint32_t n = view->n_steps;
    for (; n > length; n--) {
        from += step_words(from);
    }
    size_t n_words = view->n_words - (size_t)(from - view->words);
    const uint64_t head[] = {n, n_words};
    hash128_stream_add(d->hash, head, sizeof head);
    hash128_stream_add(d->hash, from, n_words * sizeof *from);
    d->out->n_steps += n;
}

static int add_user(void *payload, uint64_t key, const uint8_t *value, size_t len,
                    struct undine_err *err)
{
    struct users_digest *d = payload;
    struct users_view views[SCHEMA_SEQUENCES_MAX];
    writer_clear(&d->id);
    writer_clear(&d->words);
    int rc = users_decode(d->schema, value, len, &d->id, views, &d->words, err);
    if (rc < 0) {
        return rc;
    }
    const uint64_t head[] = {key, d->id.len};
    hash128_stream_add(d->hash, head, sizeof head);
    hash128_stream_add(d->hash, d->id.data, d->id.len);
    for (uint32_t s = 0; s < d->schema->n_sequences; s++) {
        add_newest(d, &views[s], d->schema->sequences[s].length);
    }
    d->out->n_users++;
    return UNDINE_OK;
}

static int digest_users(struct store *s, const struct schema *schema, struct store_digest *out,
                        struct undine_err *err)
{
    struct users_digest d = {.schema = schema, .out = out, .hash = hash128_stream_new()};
    writer_init(&d.id);
    writer_init(&d.words);
    int rc = d.hash == NULL ? undine_err_set(err, UNDINE_ENOMEM, "no memory for a digest")
                            : store_scan(s, STORE_SEQUENCE, 0, add_user, &d, err);
    if (rc == UNDINE_OK) {
        out->users = hash128_stream_value(d.hash);
    }
    writer_release(&d.words);
    writer_release(&d.id);
    hash128_stream_free(d.hash);
    return rc;
}

/* ---- events ---- */

struct events_digest {
    struct arrivals *arrivals;
    struct store_digest *out;
    int64_t keep_after_ms;
};

static int add_event(void *payload, struct event *e, struct undine_err *err)
{
    struct events_digest *d = payload;
    (void)err;
    if (e->time_ms >= d->keep_after_ms) {
        struct hash128 h = hash128_bytes(e, e->words * sizeof(uint64_t));
        d->out->events.low += h.low; /* a sum: blocks come in the order of arrival */
        d->out->events.high += h.high;
        d->out->n_events++;
    }
    arrivals_release(d->arrivals, e);
    return UNDINE_OK;
}

static int read_watermark(struct store *s, int64_t *out, struct undine_err *err)
{
    struct meta_ingest m = {.watermark_ms = INT64_MIN};
    struct writer value;
    writer_init(&value);
    int rc = store_get(s, STORE_META, META_INGEST, strlen(META_INGEST), &value, err);
    if (rc > 0) {
        rc = meta_ingest_decode(&m, value.data, value.len, err);
    }
    *out = m.watermark_ms;
    writer_release(&value);
    return rc;
}

static int digest_events(struct store *s, const struct config *c, struct store_digest *out,
                         struct undine_err *err)
{
    struct events_digest d = {.out = out};
    int64_t watermark_ms, known_ms = c->ingest.join.window_ms + c->ingest.join.memory_ms;
    int rc = read_watermark(s, &watermark_ms, err);
    d.keep_after_ms = watermark_ms < INT64_MIN + known_ms ? INT64_MIN : watermark_ms - known_ms;
    if (rc == UNDINE_OK) {
        rc = arrivals_open(&d.arrivals, s, &c->schema, c->ingest.shard, err);
    }
    if (rc == UNDINE_OK) {
        rc = arrivals_restore(d.arrivals, add_event, &d, NULL, err);
    }
    arrivals_close(d.arrivals);
    return rc;
}

int store_digest(struct store *s, const struct config *config, struct store_digest *out,
                 struct undine_err *err)
{
    struct store_digest d = {0};
    int rc = digest_users(s, &config->schema, &d, err);
    if (rc == UNDINE_OK) {
        rc = digest_events(s, config, &d, err);
    }
    if (rc == UNDINE_OK) {
        *out = d;
    }
    return rc;
}
