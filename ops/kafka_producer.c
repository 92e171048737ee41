#include "ops/kafka_producer.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REASON_MAX = 256, ADMIN_MS = 30000, WAIT_MS = 100, NAP_MS = 50 };

struct kafka_producer {
    rd_kafka_t *rk;
    uint64_t failed;
    char reason[REASON_MAX];     /* of the first failure */
    char last_error[REASON_MAX]; /* librdkafka's last complaint, for a flush that takes too long */
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct kafka_producer *p = opaque;
    (void)rk;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR && p->failed++ == 0) {
        (void)snprintf(p->reason, sizeof p->reason, "topic `%s`: %s", rd_kafka_topic_name(m->rkt),
                       rd_kafka_message_errstr(m));
    }
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct kafka_producer *p = opaque;
    (void)snprintf(p->last_error, sizeof p->last_error, "%s", reason);
    if (code == RD_KAFKA_RESP_ERR__FATAL && p->failed++ == 0) {
        (void)rd_kafka_fatal_error(rk, p->reason, sizeof p->reason);
    }
}

/* What librdkafka logs comes again as an error, with its reason. */
static void drop_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

static int fill_conf(rd_kafka_conf_t *conf, const struct kafka_producer_options *opt,
                     struct undine_err *err)
{
    const struct {
        const char *key, *value;
    } own[] = {{"bootstrap.servers", opt->brokers}, {"enable.idempotence", "true"}},
      presets[] = {{"client.id", "undine"},
                   {"linger.ms", "20"},
                   {"compression.codec", "lz4"},
                   {"reconnect.backoff.max.ms", "1000"},
                   {"socket.keepalive.enable", "true"}};
    char reason[REASON_MAX];
    const char *key = NULL;
    bool ok = true;
    for (size_t i = 0; i < sizeof presets / sizeof presets[0] && ok; i++) {
        key = presets[i].key;
        ok = rd_kafka_conf_set(conf, key, presets[i].value, reason, sizeof reason) ==
             RD_KAFKA_CONF_OK;
    }
    for (size_t i = 0; i < opt->n_pass && ok; i++) {
        key = opt->pass[i].key;
        ok = rd_kafka_conf_set(conf, key, opt->pass[i].value, reason, sizeof reason) ==
             RD_KAFKA_CONF_OK;
    }
    for (size_t i = 0; i < sizeof own / sizeof own[0] && ok; i++) {
        key = own[i].key;
        ok = rd_kafka_conf_set(conf, key, own[i].value, reason, sizeof reason) == RD_KAFKA_CONF_OK;
    }
    return ok ? 0 : undine_err_set(err, UNDINE_ECONFIG, "kafka `%s`: %s", key, reason);
}

int kafka_producer_open(struct kafka_producer **out, const struct kafka_producer_options *opt,
                        struct undine_err *err)
{
    char reason[REASON_MAX];
    struct kafka_producer *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a producer");
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int rc = fill_conf(conf, opt, err);
    rd_kafka_conf_set_opaque(conf, p);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, drop_log);
    p->rk = rc < 0 ? NULL : rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (p->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        free(p);
        return rc < 0 ? rc : undine_err_set(err, UNDINE_ECONFIG, "kafka: %s", reason);
    }
    *out = p;
    return 0;
}

void kafka_producer_close(struct kafka_producer *p)
{
    if (p != NULL) {
        (void)rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(p->rk);
        free(p);
    }
}

static int check_failed(const struct kafka_producer *p, struct undine_err *err)
{
    return p->failed == 0 ? 0
                          : undine_err_set(err, UNDINE_EIO, "%llu messages were not delivered; %s",
                                           (unsigned long long)p->failed, p->reason);
}

int kafka_producer_send(struct kafka_producer *p, const struct kafka_record *r,
                        struct undine_err *err)
{
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            p->rk, RD_KAFKA_V_TOPIC(r->topic),
            RD_KAFKA_V_PARTITION(r->partition < 0 ? RD_KAFKA_PARTITION_UA : r->partition),
            RD_KAFKA_V_KEY(r->key, r->key_len),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)r->payload, r->payload_len),
            RD_KAFKA_V_TIMESTAMP(r->timestamp_ms), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_END);
        (void)rd_kafka_poll(p->rk, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? WAIT_MS : 0);
        int rc = check_failed(p, err);
        if (rc < 0 || code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return rc;
        }
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            return undine_err_set(err, UNDINE_EINVAL, "topic `%s`: %s", r->topic,
                                  rd_kafka_err2str(code));
        }
    }
}

int kafka_producer_flush(struct kafka_producer *p, int timeout_ms, struct undine_err *err)
{
    rd_kafka_resp_err_t code = rd_kafka_flush(p->rk, timeout_ms);
    int rc = check_failed(p, err);
    if (rc < 0 || code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return rc;
    }
    return undine_err_set(err, UNDINE_EAGAIN, "%d messages are not delivered after %d ms%s%s",
                          rd_kafka_outq_len(p->rk), timeout_ms,
                          p->last_error[0] != '\0' ? "; last: " : "", p->last_error);
}

/* The one topic of an answer to CreateTopics or DeleteTopics. */
static rd_kafka_resp_err_t topic_code(rd_kafka_event_t *event, const char **reason)
{
    size_t n = 0;
    const rd_kafka_topic_result_t **topics = NULL;
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    *reason = rd_kafka_event_error_string(event);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return code;
    }
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT) {
        topics = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    } else {
        topics = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n);
    }
    *reason = n == 1 ? rd_kafka_topic_result_error_string(topics[0]) : NULL;
    return n == 1 ? rd_kafka_topic_result_error(topics[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
}

/* Ask for one topic to be made (n_partitions > 0) or deleted, and wait for the answer. */
static int ask_topic(struct kafka_producer *p, const char *topic, int32_t n_partitions,
                     rd_kafka_resp_err_t already, struct undine_err *err)
{
    char text[REASON_MAX] = "";
    bool create = n_partitions > 0;
    rd_kafka_NewTopic_t *made =
        create ? rd_kafka_NewTopic_new(topic, n_partitions, -1, text, sizeof text) : NULL;
    rd_kafka_DeleteTopic_t *gone = create ? NULL : rd_kafka_DeleteTopic_new(topic);
    if (made == NULL && gone == NULL) {
        return undine_err_set(err, UNDINE_EINVAL, "topic `%s`: %s", topic, text);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(p->rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(
        p->rk, create ? RD_KAFKA_ADMIN_OP_CREATETOPICS : RD_KAFKA_ADMIN_OP_DELETETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_MS, NULL, 0);
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, ADMIN_MS, NULL, 0);
    if (create) {
        rd_kafka_CreateTopics(p->rk, &made, 1, options, queue);
        rd_kafka_NewTopic_destroy(made);
    } else {
        rd_kafka_DeleteTopics(p->rk, &gone, 1, options, queue);
        rd_kafka_DeleteTopic_destroy(gone);
    }
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ADMIN_MS + 1000);
    const char *reason = p->last_error;
    rd_kafka_resp_err_t code =
        event != NULL ? topic_code(event, &reason) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    int rc = code == RD_KAFKA_RESP_ERR_NO_ERROR ? 1 : 0;
    if (rc == 0 && code != already) {
        rc = undine_err_set(err, code == RD_KAFKA_RESP_ERR__TIMED_OUT ? UNDINE_EAGAIN : UNDINE_EIO,
                            "topic `%s` cannot be %s: %s", topic, create ? "created" : "deleted",
                            reason != NULL && reason[0] != '\0' ? reason : rd_kafka_err2str(code));
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return rc;
}

/* Does the broker's metadata show the topic with its partitions? */
static bool topic_shows(struct kafka_producer *p, rd_kafka_topic_t *handle)
{
    const struct rd_kafka_metadata *md = NULL;
    if (rd_kafka_metadata(p->rk, 0, handle, &md, WAIT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return false;
    }
    bool shows = md->topic_cnt == 1 && md->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
                 md->topics[0].partition_cnt > 0;
    rd_kafka_metadata_destroy(md);
    return shows;
}

int kafka_producer_create_topic(struct kafka_producer *p, const char *topic, int32_t n_partitions,
                                struct undine_err *err)
{
    UNDINE_ASSERT(n_partitions > 0);
    int rc = ask_topic(p, topic, n_partitions, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, err);
    if (rc < 0) {
        return rc;
    }
    /* A broker may say "created" a moment before others can see it. */
    rd_kafka_topic_t *handle = rd_kafka_topic_new(p->rk, topic, NULL);
    bool shows = false;
    for (int waited_ms = 0; handle != NULL && !shows && waited_ms < ADMIN_MS; waited_ms += NAP_MS) {
        shows = topic_shows(p, handle);
        if (!shows) {
            (void)nanosleep(&(struct timespec){.tv_nsec = NAP_MS * 1000000L}, NULL);
        }
    }
    if (handle != NULL) {
        rd_kafka_topic_destroy(handle);
    }
    return shows ? rc
                 : undine_err_set(err, UNDINE_EAGAIN,
                                  "topic `%s` was created, but the broker does not show it", topic);
}

int kafka_producer_delete_topic(struct kafka_producer *p, const char *topic, struct undine_err *err)
{
    return ask_topic(p, topic, 0, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, err);
}
