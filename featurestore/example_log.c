#include "featurestore/example_log.h"

#include "base/fault.h"
#include "featurestore/example_builder.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { META_VERSION = 1 };
static const char meta_key[] = "example_log";

struct example_log {
    struct store *store;
    const struct schema *schema;
    uint32_t shard;

    /* ingest thread */
    struct example_builder builder;
    struct writer value;
    uint64_t builder_seq; /* of the builder's first example */
    uint64_t next_seq;    /* of the next example to be added */
    int64_t last_emit_ms;
    struct {
        uint64_t head, tail;
        int64_t watermark_ms;
    } staged;

    /* everybody, under lock */
    pthread_mutex_t lock;
    pthread_cond_t readable, room;
    uint64_t head, tail, consumed, trim;
    int64_t watermark_ms;
    bool stopped;
};

/* ---- open, close ---- */

static int read_meta(struct example_log *l, struct undine_err *err)
{
    int rc = store_get(l->store, STORE_META, meta_key, strlen(meta_key), &l->value, err);
    if (rc <= 0) {
        return rc;
    }
    struct reader r = reader_of(l->value.data, l->value.len);
    uint64_t version = reader_u64(&r);
    if (!r.bad && (version & 0xff) > META_VERSION) {
        return undine_err_version(err, "meta `example_log`", version & 0xff, META_VERSION);
    }
    l->head = reader_u64(&r);
    l->tail = reader_u64(&r);
    l->watermark_ms = reader_i64(&r);
    if (r.bad || version != META_VERSION || reader_left(&r) > 0 || l->tail > l->head) {
        return undine_err_set(err, UNDINE_ECORRUPT, "meta `%s` is damaged", meta_key);
    }
    return UNDINE_OK;
}

static void init_threads(struct example_log *l)
{
    pthread_condattr_t attr;
    UNDINE_ASSERT(pthread_condattr_init(&attr) == 0);
    UNDINE_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    UNDINE_ASSERT(pthread_mutex_init(&l->lock, NULL) == 0);
    UNDINE_ASSERT(pthread_cond_init(&l->readable, &attr) == 0);
    UNDINE_ASSERT(pthread_cond_init(&l->room, &attr) == 0);
    (void)pthread_condattr_destroy(&attr);
}

int example_log_open(struct example_log **out, struct store *store, const struct schema *schema,
                     uint32_t shard, struct undine_err *err)
{
    struct example_log *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "example log: out of memory");
    }
    l->store = store;
    l->schema = schema;
    l->shard = shard;
    l->watermark_ms = INT64_MIN;
    writer_init(&l->value);
    init_threads(l);
    int rc = example_builder_init(&l->builder, schema, err);
    if (rc == UNDINE_OK) {
        rc = read_meta(l, err);
    }
    if (rc != UNDINE_OK) {
        example_log_close(l);
        return rc;
    }
    l->consumed = l->tail;
    l->builder_seq = l->next_seq = l->staged.head = l->head;
    l->staged.tail = l->tail;
    l->staged.watermark_ms = l->last_emit_ms = l->watermark_ms;
    *out = l;
    return UNDINE_OK;
}

void example_log_close(struct example_log *l)
{
    if (l == NULL) {
        return;
    }
    example_builder_release(&l->builder);
    writer_release(&l->value);
    (void)pthread_cond_destroy(&l->room);
    (void)pthread_cond_destroy(&l->readable);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- ingest thread ---- */

/* Put the block in the making into the store's batch. */
static int put_block(struct example_log *l, struct undine_err *err)
{
    uint8_t key[8];
    bytes_put_be64(key, l->builder_seq);
    writer_clear(&l->value);
    int rc = example_builder_encode(&l->builder, l->builder_seq, l->shard, &l->value, err);
    if (rc == UNDINE_OK) {
        store_put(l->store, STORE_EXAMPLE, key, sizeof key, l->value.data, l->value.len);
        example_builder_clear(&l->builder);
        l->builder_seq = l->next_seq;
    }
    return rc;
}

uint64_t example_log_next(const struct example_log *l)
{
    return l->next_seq;
}

int example_log_add(struct example_log *l, const struct event *impression, enum example_kind kind,
                    int64_t emit_ms, float sample_rate, const struct users_view *views,
                    struct undine_err *err)
{
    UNDINE_ASSERT(emit_ms >= l->last_emit_ms);
    int rc = example_builder_add(&l->builder, impression, kind, emit_ms, sample_rate, views, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    l->last_emit_ms = emit_ms;
    l->next_seq++;
    return example_builder_full(&l->builder) ? put_block(l, err) : UNDINE_OK;
}

static int take_key(void *payload, uint64_t key, const uint8_t *value, size_t len,
                    struct undine_err *err)
{
    (void)value;
    (void)len;
    (void)err;
    *(uint64_t *)payload = key;
    return UNDINE_OK;
}

/* First seq that stays when everything wholly below seq goes; seq is at most the head. */
static int trim_point(struct example_log *l, uint64_t seq, uint64_t head, uint64_t *out,
                      struct undine_err *err)
{
    uint64_t point = head;
    if (seq < head) {
        int rc = store_get_floor(l->store, STORE_EXAMPLE, seq, take_key, &point, err);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "example log: no block holds example %llu of %llu..%llu",
                                  (unsigned long long)seq, (unsigned long long)l->staged.tail,
                                  (unsigned long long)head);
        }
    }
    *out = point;
    return UNDINE_OK;
}

static int stage_trim(struct example_log *l, struct undine_err *err)
{
    (void)pthread_mutex_lock(&l->lock);
    uint64_t head = l->head, seq = l->trim < head ? l->trim : head;
    (void)pthread_mutex_unlock(&l->lock);
    if (seq <= l->staged.tail) {
        return UNDINE_OK;
    }
    uint64_t point = seq;
    int rc = trim_point(l, seq, head, &point, err);
    if (rc == UNDINE_OK && point > l->staged.tail) {
        FAULT("examples.before_trim");
        /* DROP(example_learned): a version that holds what they taught is on disk */
        store_delete_range(l->store, STORE_EXAMPLE, l->staged.tail, point);
        l->staged.tail = point;
    }
    return rc;
}

int example_log_stage(struct example_log *l, int64_t watermark_ms, struct undine_err *err)
{
    UNDINE_ASSERT(watermark_ms >= l->staged.watermark_ms);
    uint64_t tail = l->staged.tail;
    int rc = l->builder.n_examples > 0 ? put_block(l, err) : UNDINE_OK;
    if (rc == UNDINE_OK) {
        rc = stage_trim(l, err);
    }
    if (rc != UNDINE_OK) {
        return rc;
    }
    if (l->next_seq == l->staged.head && watermark_ms == l->staged.watermark_ms &&
        tail == l->staged.tail) {
        return UNDINE_OK;
    }
    l->staged.head = l->next_seq;
    l->staged.watermark_ms = watermark_ms;
    if (watermark_ms > l->last_emit_ms) {
        l->last_emit_ms = watermark_ms;
    }
    writer_clear(&l->value);
    writer_u64(&l->value, META_VERSION);
    writer_u64(&l->value, l->staged.head);
    writer_u64(&l->value, l->staged.tail);
    writer_i64(&l->value, watermark_ms);
    if (l->value.bad) {
        return undine_err_set(err, UNDINE_ENOMEM, "example log: out of memory");
    }
    store_put(l->store, STORE_META, meta_key, strlen(meta_key), l->value.data, l->value.len);
    return UNDINE_OK;
}

void example_log_commit(struct example_log *l)
{
    if (l->tail < l->staged.tail) {
        FAULT("examples.after_trim");
    }
    (void)pthread_mutex_lock(&l->lock);
    l->head = l->staged.head;
    l->tail = l->staged.tail;
    l->watermark_ms = l->staged.watermark_ms;
    if (l->consumed < l->tail) {
        l->consumed = l->tail;
    }
    (void)pthread_cond_broadcast(&l->readable);
    (void)pthread_mutex_unlock(&l->lock);
}

uint64_t example_log_backlog(const struct example_log *l)
{
    struct example_log *m = (struct example_log *)l;
    (void)pthread_mutex_lock(&m->lock);
    uint64_t backlog = l->head - l->consumed;
    (void)pthread_mutex_unlock(&m->lock);
    return backlog;
}

/* ---- waiting ---- */

static struct timespec deadline_after(int timeout_ms)
{
    struct timespec at;
    UNDINE_ASSERT(clock_gettime(CLOCK_MONOTONIC, &at) == 0);
    int64_t ns = at.tv_nsec + (int64_t)(timeout_ms % 1000) * 1000000;
    at.tv_sec += timeout_ms / 1000 + (time_t)(ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

bool example_log_wait_room(struct example_log *l, uint64_t n_max, int timeout_ms)
{
    (void)pthread_mutex_lock(&l->lock);
    if (l->head - l->consumed >= n_max && timeout_ms > 0) {
        struct timespec until = deadline_after(timeout_ms);
        while (l->head - l->consumed >= n_max && !l->stopped &&
               pthread_cond_timedwait(&l->room, &l->lock, &until) != ETIMEDOUT) {
        }
    }
    bool room = l->head - l->consumed < n_max;
    (void)pthread_mutex_unlock(&l->lock);
    return room;
}

void example_log_wait(struct example_log *l, uint64_t seq, int64_t watermark_ms, int timeout_ms)
{
    struct timespec until = deadline_after(timeout_ms);
    (void)pthread_mutex_lock(&l->lock);
    while (l->head <= seq && l->watermark_ms <= watermark_ms && !l->stopped &&
           pthread_cond_timedwait(&l->readable, &l->lock, &until) != ETIMEDOUT) {
    }
    (void)pthread_mutex_unlock(&l->lock);
}

/* ---- learner thread ---- */

static int copy_value(void *payload, uint64_t key, const uint8_t *value, size_t len,
                      struct undine_err *err)
{
    struct writer *out = payload;
    (void)key;
    writer_bytes(out, value, len);
    return out->bad ? undine_err_set(err, UNDINE_ENOMEM, "example log: out of memory") : UNDINE_OK;
}

/* Mostly seq is where a block begins, which a point read finds; else the block before it. */
static int read_block(struct example_log *l, uint64_t seq, struct example_block *b,
                      struct undine_err *err)
{
    uint8_t key[8];
    bytes_put_be64(key, seq);
    writer_clear(&b->bytes);
    int rc = store_get(l->store, STORE_EXAMPLE, key, sizeof key, &b->bytes, err);
    if (rc == 0) {
        rc = store_get_floor(l->store, STORE_EXAMPLE, seq, copy_value, &b->bytes, err);
    }
    if (rc <= 0) {
        return rc;
    }
    rc = example_block_parse(b, l->schema, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    return b->first_seq <= seq && seq - b->first_seq < b->n_examples;
}

int example_log_read(struct example_log *l, uint64_t seq, struct example_block *b,
                     struct undine_err *err)
{
    if (seq >= example_log_head(l)) {
        return 0;
    }
    int rc = seq < example_log_tail(l) ? 0 : read_block(l, seq, b, err);
    if (rc == 0) {
        uint64_t tail = example_log_tail(l); /* it may have been trimmed while it was looked for */
        b->n_examples = 0;
        rc = seq < tail
                 ? undine_err_set(err, UNDINE_ENOTFOUND,
                                  "example %llu was trimmed: the log begins at %llu",
                                  (unsigned long long)seq, (unsigned long long)tail)
                 : undine_err_set(err, UNDINE_ECORRUPT, "example log: no block holds example %llu",
                                  (unsigned long long)seq);
    } else if (rc < 0) {
        (void)undine_err_prefix(err, "example %llu", (unsigned long long)seq);
    }
    return rc;
}

void example_log_consumed(struct example_log *l, uint64_t seq)
{
    (void)pthread_mutex_lock(&l->lock);
    if (seq > l->consumed) {
        l->consumed = seq < l->head ? seq : l->head;
        (void)pthread_cond_broadcast(&l->room);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

/* ---- any thread ---- */

uint64_t example_log_head(const struct example_log *l)
{
    struct example_log *m = (struct example_log *)l;
    (void)pthread_mutex_lock(&m->lock);
    uint64_t head = l->head;
    (void)pthread_mutex_unlock(&m->lock);
    return head;
}

uint64_t example_log_tail(const struct example_log *l)
{
    struct example_log *m = (struct example_log *)l;
    (void)pthread_mutex_lock(&m->lock);
    uint64_t tail = l->tail;
    (void)pthread_mutex_unlock(&m->lock);
    return tail;
}

int64_t example_log_watermark(const struct example_log *l)
{
    struct example_log *m = (struct example_log *)l;
    (void)pthread_mutex_lock(&m->lock);
    int64_t watermark_ms = l->watermark_ms;
    (void)pthread_mutex_unlock(&m->lock);
    return watermark_ms;
}

void example_log_trim(struct example_log *l, uint64_t seq)
{
    (void)pthread_mutex_lock(&l->lock);
    if (seq > l->trim) {
        l->trim = seq;
    }
    (void)pthread_mutex_unlock(&l->lock);
}

void example_log_stop(struct example_log *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->stopped = true;
    (void)pthread_cond_broadcast(&l->readable);
    (void)pthread_cond_broadcast(&l->room);
    (void)pthread_mutex_unlock(&l->lock);
}

bool example_log_stopped(const struct example_log *l)
{
    struct example_log *m = (struct example_log *)l;
    (void)pthread_mutex_lock(&m->lock);
    bool stopped = l->stopped;
    (void)pthread_mutex_unlock(&m->lock);
    return stopped;
}
