#include "ingest/source.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/within.h"
#include "ingest/kafka_ask.h"
#include "ingest/kafka_conf.h"
#include "ingest/kafka_watch.h"
#include "ingest/offset_guard.h"
#include "ingest/shard.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* librdkafka's own threads fetch and decompress; everything here runs in the ingest thread, which
 * also serves the callbacks, but for the watch: a thread that asks for metadata, since the answer
 * may have to wait behind a fetch that waits for data.  Each partition has a queue that is cut off
 * from the consumer's, so that the loop alone decides which partition goes on. */

enum {
    STEP_MS = 100,   /* how long open waits between two looks */
    QUERY_MS = 5000, /* one question to a broker */
    CHECK_MS = 2000, /* the same while something waits: a fetch before it takes up to 500 */
    COMMIT_PERIOD_MS = 5000,
    TOPIC_GRACE_MS = 10000, /* a topic may be missing from metadata this long */
    LOW_FRESH_MS = 10000,   /* how old a low offset may be that explains a gap */
    CLOSE_MS = 5000,
    BATCH_MAX = 4096,
    LOG_LEVEL_WARNING = 4, /* syslog's, as librdkafka's are */
    REASON_MAX = 300
};

#define NS_PER_MS INT64_C(1000000)

struct partition_state {
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *held; /* read while the fence was checked, first message of the next poll */
    struct gap_doubt gap;
    bool stale; /* the rest of this batch is fetched again */
    bool eof;   /* the broker said that nothing more is there */
    bool fence; /* open: the last message read is still to come */
    int64_t low, low_ns;
    struct undine_err failed; /* .code < 0: what every later poll gives */
};

struct topic_state {
    rd_kafka_topic_t *handle;
    int64_t missing_ns; /* since when metadata lacks it, 0 = it does not */
};

struct source_kafka {
    struct source source; /* first: the two are one pointer */
    rd_kafka_t *rk;
    struct partition_state *states;
    struct source_topic *topics; /* names are the handles' */
    struct topic_state *topic_states;
    size_t n_topics;
    uint32_t n_shards;
    char *brokers;
    size_t n_batch; /* what the last poll consumed, handed out or not */
    rd_kafka_message_t *batch[BATCH_MAX];
    struct kafka_watch watch;
    unsigned looks_wanted; /* then it is believed again */
    int64_t *told;         /* offsets that the broker was told, of each partition; -1 = none */
    int64_t told_ns;
    char reason[REASON_MAX];  /* librdkafka's last complaint */
    struct undine_err failed; /* .code < 0: failed for good */
    source_log_fn log;
    void *log_payload;
};

static struct source_kafka *kafka_source(struct source *s)
{
    return (struct source_kafka *)s;
}

/* The first failure stays; no error is none. */
static void fail(struct undine_err *failed, const struct undine_err *err)
{
    if (failed->code == 0) {
        *failed = *err;
    }
}

static int give(struct undine_err *err, const struct undine_err *failed)
{
    return undine_err_set(err, failed->code, "%s", failed->msg);
}

/* ---- callbacks: served by serve(), in the ingest thread ---- */

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct source_kafka *k = rd_kafka_opaque(rk);
    if (k->log != NULL) {
        char line[1024];
        (void)snprintf(line, sizeof line, "%s: %s", facility, text);
        k->log(k->log_payload, level, line);
    }
}

static void fail_auth(struct source_kafka *k, const char *reason)
{
    struct undine_err err;
    (void)kafka_auth_refused(&err, reason);
    fail(&k->failed, &err);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct source_kafka *k = opaque;
    struct undine_err err;
    k->source.stats.errors++;
    (void)snprintf(k->reason, sizeof k->reason, "%s", reason);
    switch ((rd_kafka_resp_err_t)code) {
    case RD_KAFKA_RESP_ERR__FATAL: {
        char text[REASON_MAX];
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(rk, text, sizeof text);
        (void)undine_err_set(&err, UNDINE_EIO, "Kafka client failed for good: %s: %s",
                             rd_kafka_err2name(fatal), text);
        fail(&k->failed, &err);
        break;
    }
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        fail_auth(k, reason);
        break;
    default: /* librdkafka tries again; until metadata is seen nobody is at an end for sure, and the
                look that is going on may have begun before */
        k->source.stats.away = true;
        k->looks_wanted = atomic_load(&k->watch.looks) + 2;
        atomic_store(&k->watch.worried, true);
        break;
    }
}

/* A refused commit only blinds the lag display. */
static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    struct source_kafka *k = opaque;
    (void)rk;
    (void)offsets;
    k->source.stats.errors += code != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Serve callbacks.  No message comes this way: each partition's queue is cut off. */
static void serve(struct source_kafka *k, int timeout_ms)
{
    rd_kafka_message_t *m = rd_kafka_consumer_poll(k->rk, timeout_ms);
    if (m != NULL) {
        UNDINE_ASSERT(m->err != RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_message_destroy(m);
    }
}

/* ---- poll ---- */

/* Offsets between next and offset were not delivered.  Compaction and transaction markers do that;
 * a low offset that has moved past next means deletion. */
static bool gap_is_loss(struct source_kafka *k, struct source_partition *p,
                        struct partition_state *st)
{
    int64_t low, high, now = clock_monotonic_ns();
    bool old = st->low_ns == 0 || now - st->low_ns > LOW_FRESH_MS * NS_PER_MS;
    if (old && kafka_ask_offsets(k->rk, p, &low, &high, CHECK_MS)) {
        st->low = low;
        st->low_ns = now;
    }
    return st->low_ns != 0 && st->low > p->position.next;
}

static void release_batch(struct source_kafka *k)
{
    for (size_t i = 0; i < k->n_batch; i++) {
        rd_kafka_message_destroy(k->batch[i]);
    }
    k->n_batch = 0;
}

static uint64_t message_hash(const rd_kafka_message_t *m)
{
    return hash_bytes_seeded(m->payload, m->len, hash_bytes(m->key, m->key_len));
}

/* The first offset that was not handed on; of a partition never read, as its beginning was known.
 */
static int64_t offset_wanted(const struct source_partition *p, const struct partition_state *st)
{
    return p->position.next >= 0 ? p->position.next : st->low;
}

/* Go back to the first missing offset. */
static void ask_again(struct source_kafka *k, uint32_t i)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    struct undine_err err;
    int64_t offset = p->position.next >= 0 ? p->position.next : RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_resp_err_t code =
        rd_kafka_seek(k->topic_states[p->topic_index].handle, p->partition, offset, CHECK_MS);
    st->stale = true;
    st->eof = false;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__TIMED_OUT) { /* = late */
        (void)undine_err_set(&err, UNDINE_EIO,
                             "topic `%s`, partition %d: no way back to offset %lld: %s", p->topic,
                             p->partition, (long long)offset, rd_kafka_err2str(code));
        fail(&st->failed, &err);
    }
}

/* Go on at upto, since there is nothing before it; false = the broker is asked for it again. */
static bool skip_gap(struct source_kafka *k, uint32_t i, int64_t upto)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    for (int64_t next = offset_wanted(p, st); next < upto; next = p->position.next) {
        bool twice;
        int64_t end = gap_believe(&st->gap, next, upto, &twice);
        if (end == next) {
            ask_again(k, i);
            return false;
        }
        k->source.stats.gaps_explained++; /* DROP(record_not_delivered) */
        k->source.stats.gaps_verified += twice;
        p->position.next = end;
    }
    return true;
}

/* All that the partition holds was handed on, up to offset.  Markers and aborted records of
 * transactions take offsets too, so the last record may lie well before: go on behind them, or
 * their deletion would look like a loss one day. */
static void take_end(struct source_kafka *k, uint32_t i, int64_t offset)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    int64_t next = p->end >= 0 && p->end < offset ? p->end : offset;
    bool lost = p->position.next >= 0 && st->low > p->position.next; /* as far as is known */
    if (st->failed.code == 0 && next > p->position.next && !lost) {
        if (!skip_gap(k, i, next)) {
            return;
        }
        p->position.next = next;
    }
    st->gap.asked = 0;
    st->eof = true;
    p->done = p->done || (p->end >= 0 && offset >= p->end);
}

static void take_error(struct source_kafka *k, uint32_t i, const rd_kafka_message_t *m)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    struct undine_err err;
    int64_t low = -1, high = -1;
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        take_end(k, i, m->offset);
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        (void)kafka_ask_offsets(k->rk, p, &low, &high, QUERY_MS);
        (void)offset_loss(&err, p, low, high, "the offset is no longer there");
        fail(&st->failed, &err);
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        fail_auth(k, rd_kafka_message_errstr(m));
        break;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED: /* a format or codec: librdkafka goes on behind it */
        (void)undine_err_set(&err, UNDINE_EIO, "topic `%s`, partition %d, behind offset %lld: %s",
                             p->topic, p->partition, (long long)p->position.next,
                             rd_kafka_message_errstr(m));
        fail(&st->failed, &err);
        break;
    default: /* librdkafka tries again */
        atomic_store(&k->watch.worried, true);
        break;
    }
    k->source.stats.errors++;
}

/* A gap in front of offset: is it none that was lost, and known well enough to go on? */
static bool take_gap(struct source_kafka *k, uint32_t i, int64_t offset)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    struct undine_err err;
    if (p->position.next >= 0 && gap_is_loss(k, p, st)) {
        (void)offset_loss(&err, p, st->low, p->high, "messages were deleted before they were read");
        fail(&st->failed, &err);
        return false;
    }
    return skip_gap(k, i, offset);
}

static void note_taken(struct source_kafka *k, uint32_t i, int64_t offset)
{
    const struct source_partition *p = &k->source.partitions[i];
    if (!gap_taken(&k->states[i].gap, offset)) {
        return;
    }
    k->source.stats.records_recovered++;
    if (k->log != NULL) {
        char line[SOURCE_TOPIC_MAX + REASON_MAX];
        (void)snprintf(line, sizeof line,
                       "topic `%s`, partition %d: the Kafka client left out the record at offset "
                       "%lld; asked again, the broker had it",
                       p->topic, p->partition, (long long)offset);
        k->log(k->log_payload, LOG_LEVEL_WARNING, line);
    }
}

/* The offset guard.  Is the message the next one of a partition that goes on?  librdkafka may
 * deliver twice, never with our blessing; what it leaves out must be explained. */
static bool take_message(struct source_kafka *k, uint32_t i, const rd_kafka_message_t *m)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    enum guard guard = offset_guard(p, m->offset);
    if (guard == GUARD_DUPLICATE) {
        k->source.stats.duplicates_skipped++; /* DROP(record_again) */
        return false;
    }
    int64_t upto = guard == GUARD_DONE ? p->end : m->offset;
    if (offset_wanted(p, st) < upto && !take_gap(k, i, upto)) {
        return false;
    }
    if (guard == GUARD_DONE) {
        p->done = true;
        return false;
    }
    note_taken(k, i, m->offset);
    st->eof = false;
    p->position.next = m->offset + 1;
    p->done = p->end >= 0 && p->position.next >= p->end;
    return true;
}

/* Hand on what was consumed. */
static size_t take_batch(struct source_kafka *k, uint32_t i, struct source_message *out)
{
    struct source_partition *p = &k->source.partitions[i];
    const rd_kafka_message_t *last = NULL;
    size_t n = 0;
    k->states[i].stale = false;
    for (size_t j = 0; j < k->n_batch && !k->states[i].stale; j++) {
        rd_kafka_message_t *m = k->batch[j];
        bool go_on = k->states[i].failed.code == 0 && !p->done;
        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            take_error(k, i, m);
        } else if (go_on && take_message(k, i, m)) {
            rd_kafka_timestamp_type_t type;
            out[n++] = (struct source_message){m->payload, m->len, m->offset,
                                               rd_kafka_message_timestamp(m, &type)};
            k->source.stats.bytes += m->len;
            last = m;
        }
    }
    if (last != NULL) {
        p->position.fence_offset = last->offset;
        p->position.fence_timestamp = out[n - 1].timestamp_ms;
        p->position.fence_hash = message_hash(last);
    }
    k->source.stats.messages += n;
    return n;
}

/* Wait for the first message only: a batch call would wait until the batch is full. */
static size_t consume(struct source_kafka *k, struct partition_state *st, size_t n_max,
                      int timeout_ms)
{
    size_t n = 0;
    if (st->held != NULL) {
        k->batch[n++] = st->held;
        st->held = NULL;
    } else {
        rd_kafka_message_t *first = rd_kafka_consume_queue(st->queue, timeout_ms);
        if (first == NULL) {
            return 0;
        }
        k->batch[n++] = first;
    }
    if (n < n_max) {
        ssize_t more = rd_kafka_consume_batch_queue(st->queue, 0, k->batch + n, n_max - n);
        n += more > 0 ? (size_t)more : 0;
    }
    return n;
}

static void update_ends(struct source_kafka *k, uint32_t i)
{
    struct source_partition *p = &k->source.partitions[i];
    int64_t low, high;
    if (rd_kafka_get_watermark_offsets(k->rk, p->topic, p->partition, &low, &high) ==
            RD_KAFKA_RESP_ERR_NO_ERROR &&
        high >= 0) {
        p->high = high;
    }
    p->at_end = k->states[i].eof && !atomic_load(&k->watch.leaderless[i]) && !k->source.stats.away;
}

static int kafka_poll(struct source *s, uint32_t partition, struct source_message *out,
                      size_t n_max, int timeout_ms, struct undine_err *err)
{
    UNDINE_ASSERT(partition < s->n_partitions && n_max > 0);
    struct source_kafka *k = kafka_source(s);
    struct partition_state *st = &k->states[partition];
    release_batch(k);
    serve(k, 0);
    size_t n = 0;
    if (k->failed.code == 0 && st->failed.code == 0 && !s->partitions[partition].done) {
        k->n_batch = consume(k, st, n_max < BATCH_MAX ? n_max : BATCH_MAX, timeout_ms);
        n = take_batch(k, partition, out);
    }
    update_ends(k, partition);
    if (n == 0 && k->failed.code < 0) {
        return give(err, &k->failed);
    }
    return n == 0 && st->failed.code < 0 ? give(err, &st->failed) : (int)n;
}

/* ---- maintain ---- */

static bool check_topic(struct source_kafka *k, size_t t)
{
    struct topic_state *state = &k->topic_states[t];
    struct undine_err err = {0};
    int n_seen = atomic_load(&k->watch.n_seen[t]);
    int64_t now = clock_monotonic_ns();
    state->missing_ns = n_seen != 0 ? 0 : state->missing_ns != 0 ? state->missing_ns : now;
    if (n_seen > 0 || (n_seen == 0 && now - state->missing_ns > TOPIC_GRACE_MS * NS_PER_MS)) {
        (void)shard_topic_changed(&k->topics[t], n_seen, k->n_shards, &err);
    }
    fail(&k->failed, &err);
    return n_seen != 0;
}

/* Draw the conclusions from what the watch has seen. */
static void check_topics(struct source_kafka *k)
{
    bool well = true;
    for (size_t t = 0; t < k->n_topics; t++) {
        well = check_topic(k, t) && well;
    }
    for (uint32_t i = 0; i < k->source.n_partitions; i++) {
        well = well && !atomic_load(&k->watch.leaderless[i]);
    }
    if (!well) { /* until a later look */
        k->source.stats.away = true;
        k->looks_wanted = atomic_load(&k->watch.looks) + 1;
    }
    if (k->source.stats.away && (int)(atomic_load(&k->watch.looks) - k->looks_wanted) >= 0) {
        k->source.stats.away = false;
        k->source.stats.reconnects++;
    }
    atomic_store(&k->watch.worried, k->source.stats.away || !well);
}

static int kafka_maintain(struct source *s, const int64_t *synced_next, struct undine_err *err)
{
    struct source_kafka *k = kafka_source(s);
    serve(k, 0);
    check_topics(k);
    if (k->failed.code < 0) {
        return give(err, &k->failed);
    }
    if (synced_next != NULL && clock_monotonic_ns() - k->told_ns >= COMMIT_PERIOD_MS * NS_PER_MS) {
        k->told_ns = clock_monotonic_ns();
        kafka_tell_offsets(k->rk, s, synced_next, k->told);
    }
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        update_ends(k, i);
    }
    return 0;
}

/* ---- close ---- */

/* librdkafka 2.0 may hang in here for ever after a topic was deleted.  All that matters is in the
 * store, so after a while it is left to the end of the process. */
static void close_client(void *arg)
{
    (void)rd_kafka_consumer_close(arg);
    rd_kafka_destroy(arg);
}

static void release_held(struct source_kafka *k)
{
    for (uint32_t i = 0; k->states != NULL && i < k->source.n_partitions; i++) {
        if (k->states[i].held != NULL) {
            rd_kafka_message_destroy(k->states[i].held);
            k->states[i].held = NULL;
        }
    }
}

static void kafka_close(struct source *s)
{
    struct source_kafka *k = kafka_source(s);
    kafka_watch_stop(&k->watch);
    release_batch(k);
    release_held(k);
    for (uint32_t i = 0; k->states != NULL && i < s->n_partitions; i++) {
        if (k->states[i].queue != NULL) {
            rd_kafka_queue_destroy(k->states[i].queue);
        }
    }
    for (size_t t = 0; k->topic_states != NULL && t < k->n_topics; t++) {
        if (k->topic_states[t].handle != NULL) {
            rd_kafka_topic_destroy(k->topic_states[t].handle);
        }
    }
    k->log = NULL; /* the log's owner may be gone before librdkafka is */
    bool closed = k->rk == NULL || within_ms(close_client, k->rk, CLOSE_MS);
    free(k->states);
    free(k->told);
    free(k->topics);
    free(k->topic_states);
    free(k->brokers);
    free(s->partitions);
    if (closed) {
        free(k); /* else its callbacks still know k */
    }
}

static const struct source_ops kafka_ops = {
    .poll = kafka_poll, .maintain = kafka_maintain, .close = kafka_close};

/* ---- open ---- */

static int set_key(void *conf, const char *key, const char *value, struct undine_err *err)
{
    char text[REASON_MAX];
    if (rd_kafka_conf_set(conf, key, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        return undine_err_set(err, UNDINE_ECONFIG, "kafka `%s`: %s", key, text);
    }
    return 0;
}

static int open_client(struct source_kafka *k, const struct source_kafka_options *opt,
                       struct undine_err *err)
{
    char text[REASON_MAX];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int rc = kafka_conf_set_all(opt, set_key, conf, err);
    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    if (rc == 0) {
        k->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    }
    if (k->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return rc < 0 ? rc : undine_err_set(err, UNDINE_ECONFIG, "kafka: %s", text);
    }
    (void)rd_kafka_poll_set_consumer(k->rk);
    (void)rd_kafka_set_log_queue(k->rk, NULL);
    return 0;
}

/* Between two tries at open: serve callbacks, and give up when the time is over or for good. */
static int try_again(struct source_kafka *k, int64_t until_ns, const char *what,
                     struct undine_err *err)
{
    serve(k, STEP_MS);
    if (k->failed.code < 0) {
        return give(err, &k->failed);
    }
    if (clock_monotonic_ns() < until_ns) {
        return 0;
    }
    return undine_err_set(err, UNDINE_EAGAIN, "%s: no answer from the brokers `%s` in time%s%s",
                          what, k->brokers, k->reason[0] != '\0' ? "; last: " : "", k->reason);
}

static int find_topics(struct source_kafka *k, const struct source_kafka_options *opt,
                       int64_t until_ns, struct undine_err *err)
{
    for (size_t t = 0; t < opt->n_topics; t++) {
        struct source_topic *topic = &k->topics[t];
        rd_kafka_topic_t *handle = rd_kafka_topic_new(k->rk, opt->topics[t].name, NULL);
        if (handle == NULL) {
            return undine_err_set(err, UNDINE_ECONFIG, "topic `%s`: %s", opt->topics[t].name,
                                  rd_kafka_err2str(rd_kafka_last_error()));
        }
        k->topic_states[t].handle = handle;
        topic->name = rd_kafka_topic_name(handle);
        int rc = 0;
        while (rc == 0) {
            rc = kafka_ask_partitions(k->rk, handle, 1000, err);
            rc = rc == 0 ? try_again(k, until_ns, topic->name, err) : rc;
        }
        if (rc < 0) {
            return rc == UNDINE_ENOTFOUND ? undine_err_prefix(err, "brokers `%s`", k->brokers) : rc;
        }
        topic->n_partitions = rc;
    }
    return 0;
}

/* The offsets that a partition has, and from them where a bounded run ends and a new one starts. */
static int ask_offsets(struct source_kafka *k, uint32_t i, const struct source_kafka_options *opt,
                       int64_t until_ns, struct undine_err *err)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    for (;;) {
        if (kafka_ask_offsets(k->rk, p, &st->low, &p->high, 1000)) {
            bool timed = opt->until_end && opt->to_ms > 0;
            p->end = !opt->until_end ? -1
                     : timed         ? kafka_ask_time(k->rk, p, opt->to_ms, p->high, QUERY_MS)
                                     : p->high;
            bool late = opt->from_ms > 0 && p->position.next < 0;
            int64_t first = late ? kafka_ask_time(k->rk, p, opt->from_ms, p->high, QUERY_MS) : 0;
            if (first >= 0 && (p->end >= 0 || !timed)) {
                p->position.next = late ? first : p->position.next;
                st->low_ns = clock_monotonic_ns();
                return 0;
            }
        }
        int rc = try_again(k, until_ns, p->topic, err);
        if (rc < 0) {
            return rc;
        }
    }
}

static void find_done(struct source_kafka *k, uint32_t i)
{
    struct source_partition *p = &k->source.partitions[i];
    p->done = p->end >= 0 && !k->states[i].fence &&
              (p->position.next >= p->end || p->end <= k->states[i].low);
}

/* Assign every partition at its position, or with fences at the one before it. */
static int assign(struct source_kafka *k, const struct source_kafka_options *opt, bool fences,
                  struct undine_err *err)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)k->source.n_partitions);
    int rc = 0;
    for (uint32_t i = 0; i < k->source.n_partitions && rc == 0; i++) {
        struct source_partition *p = &k->source.partitions[i];
        struct partition_state *st = &k->states[i];
        int64_t start;
        rc = offset_start(p, st->low, p->high, &start, &st->fence, err);
        if (rc < 0 && offset_accept_loss(p, st->low, opt->accept_loss, opt->n_accept_loss)) {
            rc = offset_start(p, st->low, p->high, &start, &st->fence, err);
        }
        st->fence = st->fence && fences;
        start = fences || p->position.next < 0 ? start : p->position.next;
        find_done(k, i);
        rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset =
            start < 0 ? RD_KAFKA_OFFSET_BEGINNING : start;
    }
    if (rc == 0 && rd_kafka_assign(k->rk, list) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rc = undine_err_set(err, UNDINE_EIO, "kafka: partitions cannot be assigned: %s",
                            rd_kafka_err2str(rd_kafka_last_error()));
    }
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

/* What comes first at a fence: 1 = the history that was read, 0 = nothing yet, or UNDINE_ELOSS. */
static int check_fence(struct source_kafka *k, uint32_t i, struct undine_err *err)
{
    struct source_partition *p = &k->source.partitions[i];
    struct partition_state *st = &k->states[i];
    rd_kafka_timestamp_type_t type;
    rd_kafka_message_t *m = rd_kafka_consume_queue(st->queue, STEP_MS);
    int rc = 0;
    if (m == NULL) {
        return 0;
    }
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        int64_t timestamp_ms = rd_kafka_message_timestamp(m, &type);
        rc = offset_fence(p, m->offset, timestamp_ms, message_hash(m), st->low, err);
    } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        rc = offset_fence(p, m->offset, -1, 0, st->low, err);
    } else if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        rc = offset_loss(err, p, st->low, p->high, "the last message read is no longer there");
    }
    if (rc == 1 && m->offset > p->position.fence_offset) {
        st->held = m; /* for the first poll */
    } else {
        rd_kafka_message_destroy(m);
    }
    return rc;
}

/* All fences, before anything is handed on.  *again: losses were accepted, so assign anew. */
static int check_fences(struct source_kafka *k, const struct source_kafka_options *opt,
                        int64_t until_ns, bool *again, struct undine_err *err)
{
    for (uint32_t i = 0; i < k->source.n_partitions; i++) {
        struct source_partition *p = &k->source.partitions[i];
        struct partition_state *st = &k->states[i];
        while (st->fence) {
            int rc = check_fence(k, i, err);
            if (rc == UNDINE_ELOSS &&
                offset_accept_loss(p, st->low, opt->accept_loss, opt->n_accept_loss)) {
                *again = true;
                rc = 1;
            }
            st->fence = rc == 0;
            rc = rc == 0 ? try_again(k, until_ns, p->topic, err) : rc;
            if (rc < 0) {
                return rc;
            }
        }
        find_done(k, i);
    }
    return 0;
}

static int start(struct source_kafka *k, const struct source_kafka_options *opt,
                 source_position_fn position, void *payload, struct undine_err *err)
{
    int64_t until_ns = clock_monotonic_ns() + opt->metadata_timeout_ms * NS_PER_MS;
    bool again = false;
    int rc = open_client(k, opt, err);
    rc = rc < 0 ? rc : find_topics(k, opt, until_ns, err);
    rc = rc < 0 ? rc
                : shard_partitions(&k->source.partitions, &k->source.n_partitions, k->topics,
                                   k->n_topics, opt->shard, opt->n_shards, position, payload, err);
    if (rc < 0) {
        return rc;
    }
    k->states = calloc(k->source.n_partitions, sizeof *k->states);
    k->told = calloc(k->source.n_partitions, sizeof *k->told);
    if (k->states == NULL || k->told == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for partitions");
    }
    for (uint32_t i = 0; i < k->source.n_partitions && rc == 0; i++) {
        const struct source_partition *p = &k->source.partitions[i];
        k->told[i] = -1;
        k->states[i].gap.asks = GAP_ASKS;
        k->states[i].queue = rd_kafka_queue_get_partition(k->rk, p->topic, p->partition);
        rd_kafka_queue_forward(k->states[i].queue, NULL);
        rc = ask_offsets(k, i, opt, until_ns, err);
    }
    rc = rc < 0 ? rc : assign(k, opt, true, err);
    rc = rc < 0 ? rc : check_fences(k, opt, until_ns, &again, err);
    if (rc == 0 && again) {
        release_held(k);
        rc = assign(k, opt, false, err);
    }
    k->told_ns = clock_monotonic_ns();
    k->source.topics = k->topics;
    k->source.n_topics = k->n_topics;
    return rc < 0 ? rc : kafka_watch_start(&k->watch, k->rk, &k->source, err);
}

int source_kafka_open(struct source **out, const struct source_kafka_options *opt,
                      source_position_fn position, void *payload, struct undine_err *err)
{
    UNDINE_ASSERT(opt->n_topics > 0 && opt->n_shards > 0 && opt->shard < opt->n_shards);
    struct source_kafka *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a source");
    }
    k->source.ops = &kafka_ops;
    k->n_topics = opt->n_topics;
    k->n_shards = opt->n_shards;
    k->log = opt->log;
    k->log_payload = opt->log_payload;
    k->topics = calloc(k->n_topics, sizeof *k->topics);
    k->topic_states = calloc(k->n_topics, sizeof *k->topic_states);
    k->brokers = strdup(opt->brokers);
    int rc = k->topics == NULL || k->topic_states == NULL || k->brokers == NULL
                 ? undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu topics", k->n_topics)
                 : start(k, opt, position, payload, err);
    if (rc < 0) {
        kafka_close(&k->source);
        return rc;
    }
    *out = &k->source;
    return 0;
}
