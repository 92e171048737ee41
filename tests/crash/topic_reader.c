/* topic_reader.c: reads topics along with whoever else does, through outages of the broker, so that
 * a test knows what they hold: a producer that loses an answer may send a batch again, and a
 * broker may forget what is old.
 *
 *   topic_reader BROKERS PARTITIONS TOPIC...
 *
 * Prints "TOPIC PARTITION OFFSET PAYLOAD", a message a line, in the order of each partition's
 * offsets.  With SIGTERM it goes on to the ends that the topics have then.  Exit codes: 0 all was
 * read, 1 failed, 2 usage. */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 100, QUERY_MS = 10000, TEXT_MAX = 512, PARTS_MAX = 64 };

struct part {
    const char *topic;
    int32_t partition;
    int64_t next, end; /* offsets; end < 0 = not asked for yet */
};
struct reader {
    rd_kafka_t *rk;
    struct part parts[PARTS_MAX];
    size_t n_parts;
};

static volatile sig_atomic_t ending;

static void on_signal(int number)
{
    (void)number;
    ending = 1;
}

static int complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "topic_reader: %s: %s\n", what, why);
    return 1;
}

static int open_reader(struct reader *r, const char *brokers)
{
    char why[TEXT_MAX];
    const char *settings[] = {"bootstrap.servers",  brokers, "group.id",          "topic_reader",
                              "enable.auto.commit", "false", "auto.offset.reset", "error",
                              "log_level",          "0"};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i += 2) {
        if (rd_kafka_conf_set(conf, settings[i], settings[i + 1], why, sizeof why) !=
            RD_KAFKA_CONF_OK) {
            rd_kafka_conf_destroy(conf);
            return complain(settings[i], why);
        }
    }
    r->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (r->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return complain("client", why);
    }
    (void)rd_kafka_poll_set_consumer(r->rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)r->n_parts);
    for (size_t i = 0; i < r->n_parts; i++) {
        /* From 0, not from where the topic begins by now: what was missed is an error. */
        rd_kafka_topic_partition_list_add(list, r->parts[i].topic, r->parts[i].partition)->offset =
            0;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(r->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : complain("assign", rd_kafka_err2str(code));
}

static int take(struct reader *r, const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        return complain(rd_kafka_topic_name(m->rkt), "an offset is gone before it was read");
    }
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return 0; /* librdkafka tries again */
    }
    const char *topic = rd_kafka_topic_name(m->rkt);
    for (size_t i = 0; i < r->n_parts; i++) {
        struct part *p = &r->parts[i];
        if (p->partition != m->partition || strcmp(p->topic, topic) != 0) {
            continue;
        }
        if (m->offset != p->next) {
            (void)fprintf(stderr, "topic_reader: offset %lld is followed by %lld\n",
                          (long long)p->next - 1, (long long)m->offset);
            return 1;
        }
        p->next++;
        (void)printf("%s %d %lld %.*s\n", topic, (int)m->partition, (long long)m->offset,
                     (int)m->len, (const char *)m->payload);
    }
    return 0;
}

/* All that the topics hold when this is first called was read.  Asks until there is an answer. */
static bool at_ends(struct reader *r)
{
    bool all = true;
    for (size_t i = 0; i < r->n_parts; i++) {
        struct part *p = &r->parts[i];
        int64_t low, high;
        if (p->end < 0 && rd_kafka_query_watermark_offsets(r->rk, p->topic, p->partition, &low,
                                                           &high, QUERY_MS) == 0) {
            p->end = high;
        }
        all = all && p->end >= 0 && p->next >= p->end;
    }
    return all;
}

static int read_all(struct reader *r)
{
    int rc = 0;
    while (rc == 0 && !(ending && at_ends(r))) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(r->rk, POLL_MS);
        if (m != NULL) {
            rc = take(r, m);
            rd_kafka_message_destroy(m);
        }
    }
    return fflush(stdout) == 0 ? rc : complain("output", "it cannot be written");
}

int main(int argc, char **argv)
{
    struct reader r = {0};
    int n = argc > 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (n < 1 || n * (argc - 3) > PARTS_MAX) {
        (void)fprintf(stderr, "topic_reader: BROKERS PARTITIONS TOPIC...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        for (int p = 0; p < n; p++) {
            r.parts[r.n_parts++] = (struct part){argv[i], p, 0, -1};
        }
    }
    (void)signal(SIGTERM, on_signal);
    int rc = open_reader(&r, argv[1]);
    rc = rc != 0 ? rc : read_all(&r);
    if (r.rk != NULL) {
        (void)rd_kafka_consumer_close(r.rk);
        rd_kafka_destroy(r.rk);
    }
    return rc;
}
