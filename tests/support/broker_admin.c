/* broker_admin: what tests do to a real Kafka, one command a call.
 *
 *   broker_admin BROKERS COMMAND ...
 *
 *   create TOPIC PARTITIONS [KEY=VALUE]...   make a topic, with these settings
 *   delete TOPIC                             and wait until it is gone
 *   grow TOPIC PARTITIONS                    have so many partitions in all
 *   trim TOPIC PARTITION OFFSET              DeleteRecords before it, -1 = all
 *   send TOPIC:PARTITION=FILE...             a message a line, keys send0, send1, ...
 *   commit TOPIC:PARTITION=FILE...           the same in one transaction, keys commit0, ...
 *   abort TOPIC:PARTITION=FILE...            the same, then aborted
 *   hang TOPIC:PARTITION=FILE...             says "open", waits for a line, then commits
 *   count TOPIC PARTITION                    "LOW HIGH RECORDS" of read_committed
 *
 * Exit codes: 0 done, 1 failed, 2 usage. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_MS = 60000, LINE_BYTES_MAX = 1 << 20, TEXT_MAX = 512 };

static rd_kafka_t *rk;
static int failed; /* messages that were not delivered */

static int complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "broker_admin: %s: %s\n", what, why);
    return 1;
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *m, void *opaque)
{
    (void)client;
    (void)opaque;
    failed += m->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool open_client(rd_kafka_type_t type, const char *const *settings)
{
    char text[TEXT_MAX];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; settings[0] != NULL; settings += 2) {
        if (rd_kafka_conf_set(conf, settings[0], settings[1], text, sizeof text) !=
            RD_KAFKA_CONF_OK) {
            (void)complain(settings[0], text);
            return false;
        }
    }
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    }
    rk = rd_kafka_new(type, conf, text, sizeof text);
    if (rk == NULL) {
        (void)complain("client", text);
    }
    return rk != NULL;
}

static void nap(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

/* Until the broker shows the topic with so many partitions; 0 = until it is gone. */
static int wait_partitions(const char *topic, int n)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    int shown = -1;
    for (int waited_ms = 0; shown != n && waited_ms < WAIT_MS; waited_ms += 50) {
        const struct rd_kafka_metadata *md = NULL;
        if (rd_kafka_metadata(rk, 0, handle, &md, 1000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            shown = md->topic_cnt == 1 ? md->topics[0].partition_cnt : -1;
            for (int p = 0; p < shown; p++) {
                shown = md->topics[0].partitions[p].leader < 0 ? -1 : shown;
            }
            rd_kafka_metadata_destroy(md);
        }
        nap();
    }
    rd_kafka_topic_destroy(handle);
    return shown == n ? 0 : complain(topic, "the broker does not show the change");
}

static rd_kafka_resp_err_t result_code(rd_kafka_event_t *event, const char **why)
{
    size_t n = 0;
    const rd_kafka_topic_result_t **topics = NULL;
    *why = rd_kafka_event_error_string(event);
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return rd_kafka_event_error(event);
    }
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
        topics = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
        break;
    case RD_KAFKA_EVENT_DELETETOPICS_RESULT:
        topics = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n);
        break;
    case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
        topics = rd_kafka_CreatePartitions_result_topics(
            rd_kafka_event_CreatePartitions_result(event), &n);
        break;
    default: {
        const rd_kafka_topic_partition_list_t *list =
            rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
        *why = rd_kafka_err2str(list->elems[0].err);
        return list->elems[0].err;
    }
    }
    *why = rd_kafka_topic_result_error_string(topics[0]);
    return rd_kafka_topic_result_error(topics[0]);
}

static int wait_result(rd_kafka_queue_t *queue, const char *what)
{
    const char *why = "no answer";
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, WAIT_MS);
    rd_kafka_resp_err_t code =
        event != NULL ? result_code(event, &why) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    int rc = code == RD_KAFKA_RESP_ERR_NO_ERROR
                 ? 0
                 : complain(what, why != NULL ? why : rd_kafka_err2str(code));
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    return rc;
}

static int create(const char *topic, int n, char **settings, int n_settings)
{
    char text[TEXT_MAX];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, n, 1, text, sizeof text);
    for (int i = 0; i < n_settings; i++) {
        char *equals = strchr(settings[i], '=');
        if (equals != NULL) {
            *equals = '\0';
            (void)rd_kafka_NewTopic_set_config(t, settings[i], equals + 1);
        }
    }
    rd_kafka_CreateTopics(rk, &t, 1, NULL, queue);
    rd_kafka_NewTopic_destroy(t);
    int rc = wait_result(queue, topic);
    return rc != 0 ? rc : wait_partitions(topic, n);
}

static int delete_topic(const char *topic)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *t = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(rk, &t, 1, NULL, queue);
    rd_kafka_DeleteTopic_destroy(t);
    int rc = wait_result(queue, topic);
    return rc != 0 ? rc : wait_partitions(topic, 0);
}

static int grow(const char *topic, int n)
{
    char text[TEXT_MAX];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewPartitions_t *t = rd_kafka_NewPartitions_new(topic, (size_t)n, text, sizeof text);
    rd_kafka_CreatePartitions(rk, &t, 1, NULL, queue);
    rd_kafka_NewPartitions_destroy(t);
    int rc = wait_result(queue, topic);
    return rc != 0 ? rc : wait_partitions(topic, n);
}

static int trim(const char *topic, int partition, long long offset)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset =
        offset < 0 ? RD_KAFKA_OFFSET_END : offset;
    rd_kafka_DeleteRecords_t *d = rd_kafka_DeleteRecords_new(list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_DeleteRecords(rk, &d, 1, NULL, queue);
    rd_kafka_DeleteRecords_destroy(d);
    return wait_result(queue, topic);
}

static int send_line(const char *topic, int partition, const char *key, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(line, strlen(line)),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        (void)rd_kafka_poll(rk, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : complain(topic, rd_kafka_err2str(code));
        }
    }
}

/* TOPIC:PARTITION=FILE */
static int send_file(const char *how, char *what)
{
    static char line[LINE_BYTES_MAX];
    char *colon = strchr(what, ':'), *equals = strchr(what, '='), key[32];
    FILE *in = colon == NULL || equals == NULL ? NULL : fopen(equals + 1, "r");
    int rc = in != NULL ? 0 : complain(what, "expected TOPIC:PARTITION=FILE");
    for (int n = 0; rc == 0 && fgets(line, sizeof line, in) != NULL; n++) {
        *colon = '\0';
        (void)snprintf(key, sizeof key, "%s%d", how, n);
        rc = send_line(what, (int)strtol(colon + 1, NULL, 10), key, line);
    }
    if (in != NULL) {
        (void)fclose(in);
    }
    return rc;
}

static int checked(rd_kafka_error_t *error, const char *what)
{
    int rc = error == NULL ? 0 : complain(what, rd_kafka_error_string(error));
    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }
    return rc;
}

static int produce(const char *how, char **files, int n_files)
{
    bool transaction = strcmp(how, "send") != 0;
    int rc = !transaction ? 0 : checked(rd_kafka_init_transactions(rk, WAIT_MS), "init");
    rc = rc != 0 || !transaction ? rc : checked(rd_kafka_begin_transaction(rk), "begin");
    for (int i = 0; i < n_files && rc == 0; i++) {
        rc = send_file(how, files[i]);
    }
    if (rc == 0 && (rd_kafka_flush(rk, WAIT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR || failed > 0)) {
        rc = complain(how, "not everything was delivered");
    }
    if (rc == 0 && strcmp(how, "hang") == 0) {
        (void)puts("open");
        (void)fflush(stdout);
        (void)getchar();
    }
    if (rc == 0 && transaction) {
        rc = strcmp(how, "abort") == 0
                 ? checked(rd_kafka_abort_transaction(rk, WAIT_MS), "abort")
                 : checked(rd_kafka_commit_transaction(rk, WAIT_MS), "commit");
    }
    return rc;
}

static int count(const char *topic, int partition)
{
    int64_t low = -1, high = -1;
    if (rd_kafka_query_watermark_offsets(rk, topic, partition, &low, &high, WAIT_MS) !=
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        return complain(topic, "no answer");
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    long long n = 0;
    for (bool end = false; !end;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, WAIT_MS);
        end = m == NULL || m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        n += m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (m != NULL) {
            rd_kafka_message_destroy(m);
        }
    }
    (void)printf("%lld %lld %lld\n", (long long)low, (long long)high, n);
    return 0;
}

static int run(int n, char **argv)
{
    const char *brokers = argv[0], *what = argv[1], *topic = argv[2];
    const char *plain[] = {"bootstrap.servers", brokers, "linger.ms", "5", NULL};
    const char *once[] = {"bootstrap.servers", brokers, "transactional.id", topic, NULL};
    const char *reader[] = {
        "bootstrap.servers",  brokers, "group.id", "broker_admin", "enable.partition.eof", "true",
        "enable.auto.commit", "false", NULL};
    bool files =
        strcmp(what, "commit") == 0 || strcmp(what, "abort") == 0 || strcmp(what, "hang") == 0;
    bool reads = strcmp(what, "count") == 0;
    int number = n > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    if (!open_client(reads ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, reads   ? reader
                                                                    : files ? once
                                                                            : plain)) {
        return 1;
    }
    if (files || strcmp(what, "send") == 0) {
        return produce(what, argv + 2, n - 2);
    }
    if (strcmp(what, "create") == 0 && n > 3) {
        return create(topic, number, argv + 4, n - 4);
    }
    if (strcmp(what, "delete") == 0) {
        return delete_topic(topic);
    }
    if (strcmp(what, "grow") == 0 && n > 3) {
        return grow(topic, number);
    }
    if (strcmp(what, "trim") == 0 && n > 4) {
        return trim(topic, number, strtoll(argv[4], NULL, 10));
    }
    return reads && n > 3 ? count(topic, number) : 2;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "broker_admin: BROKERS COMMAND TOPIC ...\n");
        return 2;
    }
    int rc = run(argc - 1, argv + 1);
    if (rk != NULL) {
        if (rd_kafka_type(rk) == RD_KAFKA_CONSUMER) {
            (void)rd_kafka_consumer_close(rk);
        }
        rd_kafka_destroy(rk);
    }
    return rc;
}
