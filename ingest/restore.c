#include "ingest/loop.h"

#include "base/clock.h"
#include "ingest/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- configuration ---- */

/* A line of "key=value" text; false at the end. */
struct line {
    const char *at;
    size_t len, key_len;
};

static bool next_line(struct line *l, const char **text, const char *end)
{
    while (*text < end && **text == '\n') {
        (*text)++;
    }
    if (*text >= end) {
        return false;
    }
    const char *newline = memchr(*text, '\n', (size_t)(end - *text));
    l->at = *text;
    l->len = (size_t)((newline == NULL ? end : newline) - *text);
    const char *equals = memchr(l->at, '=', l->len);
    l->key_len = equals == NULL ? l->len : (size_t)(equals - l->at);
    *text = l->at + l->len;
    return true;
}

/* The line of the same key; false where the text has none. */
static bool find_key(struct line *out, const struct line *key, const char *text, const char *end)
{
    while (next_line(out, &text, end)) {
        if (out->key_len == key->key_len && memcmp(out->at, key->at, key->key_len) == 0) {
            return true;
        }
    }
    return false;
}

/* The value after the key, for a message. */
static int value_len(const struct line *l)
{
    size_t len = l->len > l->key_len ? l->len - l->key_len - 1 : 0;
    return len > 120 ? 120 : (int)len;
}

static const char *value_of(const struct line *l)
{
    return l->len > l->key_len ? l->at + l->key_len + 1 : "";
}

static int refuse_config(const struct line *was, const struct line *is, struct undine_err *err)
{
    const struct line *key = was != NULL ? was : is;
    return undine_err_set(
        err, UNDINE_ESTATE,
        "`%.*s` may not change on an existing store: it was made with `%.*s`, the configuration "
        "has `%.*s`; go back to that value, or start with an empty state directory",
        (int)(key->key_len > 120 ? 120 : key->key_len), key->at, was != NULL ? value_len(was) : 6,
        was != NULL ? value_of(was) : "(none)", is != NULL ? value_len(is) : 6,
        is != NULL ? value_of(is) : "(none)");
}

/* Name the first line that differs. */
static int explain_config(const struct meta_config *stored, const char *text,
                          struct undine_err *err)
{
    const char *old = stored->text_len > 0 ? stored->text : "";
    const char *old_end = old + stored->text_len, *end = text + strlen(text);
    struct line was, is;
    for (const char *at = old; next_line(&was, &at, old_end);) {
        if (!find_key(&is, &was, text, end)) {
            return refuse_config(&was, NULL, err);
        }
        if (was.len != is.len || memcmp(was.at, is.at, was.len) != 0) {
            return refuse_config(&was, &is, err);
        }
    }
    for (const char *at = text; next_line(&is, &at, end);) {
        if (!find_key(&was, &is, old, old_end)) {
            return refuse_config(NULL, &is, err);
        }
    }
    return undine_err_set(err, UNDINE_ESTATE,
                          "the store was made with another configuration (digest %016llx)",
                          (unsigned long long)stored->digest);
}

/* 1 = found, 0 = not there, < 0 = error; the value is left in in->value. */
static int get_meta(struct ingest *in, const char *name, struct undine_err *err)
{
    writer_clear(&in->value);
    return store_get(in->store, STORE_META, name, strlen(name), &in->value, err);
}

/* A source asks for positions one by one and cannot say what is wrong with one. */
static int check_position(void *payload, const char *name, const uint8_t *value, size_t len,
                          struct undine_err *err)
{
    struct meta_position m;
    (void)payload;
    int rc = meta_position_decode(&m, value, len, err);
    return rc == UNDINE_OK ? rc : undine_err_prefix(err, "%s", name);
}

int ingest_check_config(struct store *store, const struct ingest_options *opt,
                        struct undine_err *err)
{
    struct meta_config stored;
    struct writer value;
    writer_init(&value);
    int rc = store_get(store, STORE_META, META_CONFIG, strlen(META_CONFIG), &value, err);
    int bad = rc > 0 ? meta_config_decode(&stored, value.data, value.len, err) : UNDINE_OK;
    if (rc > 0 && bad == UNDINE_OK && stored.digest != opt->config_digest) {
        const char *text = opt->config_digest_text;
        bad = explain_config(&stored, text == NULL ? "" : text, err);
    }
    if (rc >= 0 && bad == UNDINE_OK) {
        bad = store_scan_meta(store, META_POSITION_PREFIX, check_position, NULL, err);
    }
    writer_release(&value);
    return bad < 0 ? bad : rc;
}

/* ---- positions ---- */

static int load_position(struct store *store, const char *topic, int32_t partition,
                         struct meta_position *out, struct undine_err *err)
{
    char name[META_NAME_MAX];
    meta_position_name(name, topic, partition);
    struct writer value;
    writer_init(&value);
    int rc = store_get(store, STORE_META, name, strlen(name), &value, err);
    if (rc > 0) {
        int bad = meta_position_decode(out, value.data, value.len, err);
        rc = bad < 0 ? undine_err_prefix(err, "%s", name) : rc;
        rc = bad < 0 ? bad : rc;
    }
    writer_release(&value);
    return rc;
}

int ingest_position(void *payload, const char *topic, int32_t partition,
                    struct source_position *out)
{
    struct meta_position m;
    int rc = load_position(payload, topic, partition, &m, NULL);
    if (rc > 0) {
        *out = m.position;
    }
    return rc;
}

/* A source goes on where the store says, or refuses.  Where it goes on elsewhere, the operator has
 * accepted the loss, and the store remembers that for good.  The topic's name is borrowed. */
static int note_loss(struct ingest *in, const char *topic, int32_t partition, int64_t stored_next,
                     int64_t source_next, struct undine_err *err)
{
    struct meta_loss *losses = realloc(in->losses, (in->n_losses + 1) * sizeof *losses);
    if (losses == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for losses");
    }
    in->losses = losses;
    in->losses[in->n_losses++] = (struct meta_loss){.wall_ms = clock_realtime_ms(),
                                                    .stored_next = stored_next,
                                                    .source_next = source_next,
                                                    .partition = partition,
                                                    .topic = topic,
                                                    .topic_len = strlen(topic)};
    in->meta.counters.losses++; /* DROP(loss_accepted) */
    in->dirty = true;
    return UNDINE_OK;
}

static int restore_position(struct ingest *in, uint32_t p, struct undine_err *err)
{
    const struct source_partition *part = &in->source->partitions[p];
    in->synced_next[p] = part->position.next;
    in->watermark.partitions[p].done = part->done;
    struct meta_position stored;
    int rc = load_position(in->store, part->topic, part->partition, &stored, err);
    if (rc <= 0) {
        return rc;
    }
    in->watermark.partitions[p].newest_ms = stored.newest_ms;
    if (stored.position.next == part->position.next) {
        return UNDINE_OK;
    }
    in->moved[p] = true;
    return note_loss(in, part->topic, part->partition, stored.position.next, part->position.next,
                     err);
}

static int restore_positions(struct ingest *in, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint32_t p = 0; p < in->source->n_partitions && rc == UNDINE_OK; p++) {
        rc = restore_position(in, p, err);
    }
    return rc;
}

/* ---- topics ---- */

/* A partition is not there any more. */
static int lose_partition(struct ingest *in, const char *topic, int32_t partition,
                          struct undine_err *err)
{
    char name[META_NAME_MAX];
    struct meta_position stored = {.position.next = -1};
    int rc = load_position(in->store, topic, partition, &stored, err);
    (void)snprintf(name, sizeof name, "%s:%d", topic, partition);
    for (size_t k = 0; k < in->opt->n_accept_loss && rc >= 0; k++) {
        if (strcmp(in->opt->accept_loss[k], name) == 0) {
            return note_loss(in, topic, partition, stored.position.next, -1, err);
        }
    }
    return rc < 0 ? rc
                  : undine_err_set(err, UNDINE_ELOSS,
                                   "topic `%s` was made anew, without its partition %d (stored "
                                   "next offset %lld); `--accept-loss %s` goes on without it and "
                                   "records the loss",
                                   topic, partition, (long long)stored.position.next, name);
}

static int restore_topic(struct ingest *in, const struct source_topic *t, struct undine_err *err)
{
    char name[META_NAME_MAX];
    struct meta_topic stored;
    meta_topic_name(name, t->name);
    int rc = get_meta(in, name, err);
    if (rc <= 0) {
        return rc;
    }
    rc = meta_topic_decode(&stored, in->value.data, in->value.len, err);
    if (rc == UNDINE_OK && in->opt->n_shards > 1) {
        struct source_topic was = {t->name, stored.n_partitions};
        rc = shard_topic_changed(&was, t->n_partitions, in->opt->n_shards, err);
    }
    for (int32_t p = t->n_partitions; p < stored.n_partitions && rc == UNDINE_OK; p++) {
        rc = lose_partition(in, t->name, p, err);
    }
    return rc;
}

/* Did a topic change its number of partitions while nobody looked?  With one shard new ones are
 * simply read. */
static int restore_topics(struct ingest *in, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (size_t t = 0; t < in->source->n_topics && rc == UNDINE_OK; t++) {
        rc = restore_topic(in, &in->source->topics[t], err);
    }
    writer_clear(&in->value);
    return rc;
}

/* ---- events ---- */

/* Events below the watermark, to be applied to the join again. */
struct applied {
    struct ingest *in;
    struct event **events;
    size_t n, capacity;
};

static int take_event(void *payload, struct event *e, struct undine_err *err)
{
    struct applied *a = payload;
    if (e->time_ms >= a->in->meta.watermark_ms) {
        return order_push(&a->in->order, 0, e, err);
    }
    if (a->n == a->capacity) {
        size_t capacity = a->capacity == 0 ? 4096 : a->capacity * 2;
        struct event **events = realloc(a->events, capacity * sizeof *events);
        if (events == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu events", capacity);
        }
        a->events = events;
        a->capacity = capacity;
    }
    a->events[a->n++] = e;
    return UNDINE_OK;
}

static int compare_events(const void *a, const void *b)
{
    return event_compare(*(struct event *const *)a, *(struct event *const *)b);
}

/* What was waiting and pending at the last commit must be there again. */
static int check_restored(const struct ingest *in, uint64_t pending, struct undine_err *err)
{
    const struct ingest_counters *c = &in->meta.counters;
    if (in->order.n != c->waiting || pending != c->pending) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "the store's arrivals give %zu waiting events and %llu pending "
                              "impressions, its counters say %llu and %llu",
                              in->order.n, (unsigned long long)pending,
                              (unsigned long long)c->waiting, (unsigned long long)c->pending);
    }
    struct accounting a;
    accounting_of(&a, c, in->opt, in->order.n, example_log_next(in->log));
    return accounting_check(&a, err) == UNDINE_OK
               ? UNDINE_OK
               : undine_err_prefix(err, "the store's last commit, %llu",
                                   (unsigned long long)in->meta.commit);
}

static int restore_events(struct ingest *in, struct undine_err *err)
{
    struct applied a = {.in = in};
    uint64_t pending = 0;
    int rc = arrivals_restore(in->arrivals, take_event, &a, in->opt->progress, err);
    if (rc == UNDINE_OK) {
        if (a.n > 0) {
            qsort(a.events, a.n, sizeof *a.events, compare_events);
        }
        rc = join_restore(in->join, a.events, a.n, in->meta.watermark_ms, in->meta.first_ms,
                          &pending, err);
    }
    free(a.events);
    return rc == UNDINE_OK ? check_restored(in, pending, err) : rc;
}

int ingest_restore(struct ingest *in, struct undine_err *err)
{
    int rc = ingest_check_config(in->store, in->opt, err);
    if (rc >= 0) {
        in->config_stored = rc > 0;
        rc = get_meta(in, META_INGEST, err);
    }
    if (rc > 0) {
        rc = meta_ingest_decode(&in->meta, in->value.data, in->value.len, err);
        writer_clear(&in->value);
        if (rc == UNDINE_OK) {
            rc = restore_events(in, err);
        }
    }
    writer_clear(&in->value);
    rc = rc == UNDINE_OK ? restore_topics(in, err) : rc;
    return rc == UNDINE_OK ? restore_positions(in, err) : rc;
}
