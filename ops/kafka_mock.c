#include "ops/kafka_mock.h"

#include "ops/args.h"
#include "ops/cmd.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kafka_mock {
    rd_kafka_t *rk; /* a client only because the cluster has to belong to one */
    rd_kafka_mock_cluster_t *cluster;
    int n_brokers;
};

enum { NAME_MAX_BYTES = 250, REASON_MAX = 256 };

static void drop_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

int kafka_mock_open(struct kafka_mock **out, int n_brokers, struct undine_err *err)
{
    char reason[REASON_MAX];
    if (n_brokers < 1 || n_brokers > 100) {
        return undine_err_set(err, UNDINE_EINVAL, "%d brokers: it must be 1 to 100", n_brokers);
    }
    struct kafka_mock *m = calloc(1, sizeof *m);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (m == NULL || conf == NULL) {
        free(m);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a mock cluster");
    }
    rd_kafka_conf_set_log_cb(conf, drop_log);
    m->n_brokers = n_brokers;
    m->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (m->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        free(m);
        return undine_err_set(err, UNDINE_EIO, "mock cluster: %s", reason);
    }
    m->cluster = rd_kafka_mock_cluster_new(m->rk, n_brokers);
    if (m->cluster == NULL) {
        kafka_mock_close(m);
        return undine_err_set(err, UNDINE_EIO, "mock cluster: no port on loopback to listen on");
    }
    *out = m;
    return 0;
}

void kafka_mock_close(struct kafka_mock *m)
{
    if (m == NULL) {
        return;
    }
    if (m->cluster != NULL) {
        rd_kafka_mock_cluster_destroy(m->cluster);
    }
    rd_kafka_destroy(m->rk);
    free(m);
}

const char *kafka_mock_brokers(const struct kafka_mock *m)
{
    return rd_kafka_mock_cluster_bootstraps(m->cluster);
}

static int checked(rd_kafka_resp_err_t code, const char *what, struct undine_err *err)
{
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : undine_err_set(err, UNDINE_EINVAL, "%s: %s", what, rd_kafka_err2str(code));
}

static int check_broker(const struct kafka_mock *m, int broker, struct undine_err *err)
{
    return broker >= 1 && broker <= m->n_brokers
               ? 0
               : undine_err_set(err, UNDINE_EINVAL, "no broker %d: there are 1 to %d", broker,
                                m->n_brokers);
}

int kafka_mock_topic(struct kafka_mock *m, const char *name, int n_partitions,
                     struct undine_err *err)
{
    return checked(rd_kafka_mock_topic_create(m->cluster, name, n_partitions, 1), name, err);
}

void kafka_mock_topic_error(struct kafka_mock *m, const char *name, int code)
{
    rd_kafka_mock_topic_set_error(m->cluster, name, (rd_kafka_resp_err_t)code);
}

int kafka_mock_broker_up(struct kafka_mock *m, int broker, bool up, struct undine_err *err)
{
    int rc = check_broker(m, broker, err);
    if (rc < 0) {
        return rc;
    }
    return checked(up ? rd_kafka_mock_broker_set_up(m->cluster, broker)
                      : rd_kafka_mock_broker_set_down(m->cluster, broker),
                   "broker", err);
}

int kafka_mock_rtt(struct kafka_mock *m, int broker, int rtt_ms, struct undine_err *err)
{
    int rc = check_broker(m, broker, err);
    return rc < 0 ? rc
                  : checked(rd_kafka_mock_broker_set_rtt(m->cluster, broker, rtt_ms), "rtt", err);
}

int kafka_mock_leader(struct kafka_mock *m, const char *topic, int partition, int broker,
                      struct undine_err *err)
{
    int rc = broker == -1 ? 0 : check_broker(m, broker, err);
    return rc < 0
               ? rc
               : checked(rd_kafka_mock_partition_set_leader(m->cluster, topic, partition, broker),
                         topic, err);
}

void kafka_mock_request_error(struct kafka_mock *m, int api_key, int code)
{
    rd_kafka_mock_push_request_errors(m->cluster, (int16_t)api_key, 1, (rd_kafka_resp_err_t)code);
}

int kafka_mock_command(struct kafka_mock *m, const char *line, struct undine_err *err)
{
    char name[NAME_MAX_BYTES + 1];
    int a, b, end = 0;
    size_t len = strcspn(line, "\r\n");
#define IS(...) (end = 0, (void)sscanf(line, __VA_ARGS__), end > 0 && (size_t)end == len)
    if (IS("topic %250s %d%n", name, &a, &end)) {
        return kafka_mock_topic(m, name, a, err);
    }
    if (IS("down %d%n", &a, &end)) {
        return kafka_mock_broker_up(m, a, false, err);
    }
    if (IS("up %d%n", &a, &end)) {
        return kafka_mock_broker_up(m, a, true, err);
    }
    if (IS("rtt %d %d%n", &a, &b, &end)) {
        return kafka_mock_rtt(m, a, b, err);
    }
    if (IS("leader %250s %d %d%n", name, &a, &b, &end)) {
        return kafka_mock_leader(m, name, a, b, err);
    }
    if (IS("err %d %d%n", &a, &b, &end)) {
        kafka_mock_request_error(m, a, b);
        return 0;
    }
    if (IS("topic-error %250s %d%n", name, &a, &end)) {
        kafka_mock_topic_error(m, name, a);
        return 0;
    }
#undef IS
    return undine_err_set(err, UNDINE_EINVAL, "`%.*s` is no command", (int)len, line);
}

/* "NAME:PARTITIONS" */
static int create_topic(struct kafka_mock *m, const char *arg, struct undine_err *err)
{
    char name[NAME_MAX_BYTES + 1];
    int n, end = 0;
    if (sscanf(arg, "%250[^:]:%d%n", name, &n, &end) != 2 || arg[end] != '\0' || n < 1) {
        return undine_err_set(err, UNDINE_EINVAL, "--topic `%s`: it must be NAME:PARTITIONS", arg);
    }
    return kafka_mock_topic(m, name, n, err);
}

int cmd_mock_broker(int argc, char **argv)
{
    int64_t n_brokers = 1;
    struct args_list topics = {0};
    const struct args_option options[] = {
        {"topic", 't', ARGS_LIST, &topics, "NAME:PARTITIONS",
         "a topic; may be given several times"},
        {"brokers", 'b', ARGS_INT, &n_brokers, "N", "number of brokers (1)"},
    };
    int code = args_parse(argc, argv, "mock-broker [--topic NAME:PARTITIONS]... [--brokers N]",
                          options, sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    struct kafka_mock *m = NULL;
    struct undine_err err = {0};
    char line[512];
    int rc = kafka_mock_open(&m, n_brokers > 100 ? -1 : (int)n_brokers, &err);
    for (size_t i = 0; i < topics.n && rc == 0; i++) {
        rc = create_topic(m, topics.item[i], &err);
    }
    if (rc < 0) {
        (void)fprintf(stderr, "undine mock-broker: %s\n", err.msg);
        kafka_mock_close(m);
        return args_exit_code(rc);
    }
    (void)printf("BOOT %s\n", kafka_mock_brokers(m));
    (void)fflush(stdout);
    /* Each command is answered, so that a test knows when it has happened. */
    while (fgets(line, sizeof line, stdin) != NULL) {
        rc = kafka_mock_command(m, line, &err);
        (void)printf("%s%s\n", rc < 0 ? "error " : "ok", rc < 0 ? err.msg : "");
        (void)fflush(stdout);
    }
    kafka_mock_close(m);
    return EXIT_DONE;
}
