#include "base/clock.h"
#include "featurestore/event.h"
#include "ingest/json_shim.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/kafka_producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Event lines to topics: which topic by the event's kind, which partition by its user, so that all
 * of a user's events keep their order and meet in one shard. */

enum { LINE_BYTES_MAX = 1 << 20, BATCH = 512, FLUSH_MS = 300000, PASS_MAX = 64 };
enum member { MEMBER_KIND, MEMBER_USER, MEMBER_IMPRESSION, MEMBERS };

static const struct json_name MEMBER_NAMES[MEMBERS] = {{"kind", 4, MEMBER_KIND, -1},
                                                       {"user", 4, MEMBER_USER, -1},
                                                       {"impression", 10, MEMBER_IMPRESSION, -1}};
static const struct json_list MEMBER_LIST = {MEMBER_NAMES, MEMBERS};
struct produce {
    const char *brokers, *topic_list;
    struct args_list inputs, pass_list;
    bool create;
    int64_t n_partitions, rate;
    char topics[EVENT_KINDS][SOURCE_TOPIC_MAX]; /* empty = the kind has none */
    struct source_kafka_option pass[PASS_MAX];
    struct kafka_producer *producer;
    struct json_shim *json;
    uint64_t lines, unreadable, sent[EVENT_KINDS];
    int64_t start_ns;
};

/* "impression=TOPIC,click=TOPIC,..." */
static int read_topics(struct produce *p, struct undine_err *err)
{
    const char *at = p->topic_list;
    while (*at != '\0') {
        size_t len = strcspn(at, ",");
        const char *equals = memchr(at, '=', len);
        size_t name_len = equals != NULL ? (size_t)(equals - at) : len;
        int kind = -1;
        for (int k = 0; k < EVENT_KINDS; k++) {
            if (strlen(event_kind_names[k]) == name_len &&
                memcmp(event_kind_names[k], at, name_len) == 0) {
                kind = k;
            }
        }
        if (equals == NULL || kind < 0 || len - name_len - 1 == 0 ||
            len - name_len > SOURCE_TOPIC_MAX) {
            return undine_err_set(
                err, UNDINE_EINVAL,
                "--topics `%.*s`: it must be KIND=TOPIC, where KIND is impression, "
                "click, behavior or forget",
                (int)len, at);
        }
        memcpy(p->topics[kind], equals + 1, len - name_len - 1);
        at += len + (at[len] == ',');
    }
    return at == p->topic_list ? undine_err_set(err, UNDINE_EINVAL, "--topics is empty") : 0;
}

static int read_pass(struct produce *p, struct undine_err *err)
{
    if (p->pass_list.n > PASS_MAX) {
        return undine_err_set(err, UNDINE_EINVAL, "-o is given more than %d times", PASS_MAX);
    }
    for (size_t i = 0; i < p->pass_list.n; i++) {
        struct source_kafka_option *o = &p->pass[i];
        const char *item = p->pass_list.item[i];
        const char *equals = strchr(item, '=');
        if (equals == NULL || (size_t)(equals - item) >= sizeof o->key ||
            strlen(equals + 1) >= sizeof o->value) {
            return undine_err_set(err, UNDINE_EINVAL, "-o `%s`: it must be KEY=VALUE", item);
        }
        memcpy(o->key, item, (size_t)(equals - item));
        (void)strcpy(o->value, equals + 1);
    }
    return 0;
}

static int create_topics(struct produce *p, struct undine_err *err)
{
    for (int k = 0; k < EVENT_KINDS && p->create; k++) {
        int rc = p->topics[k][0] == '\0'
                     ? 0
                     : kafka_producer_create_topic(p->producer, p->topics[k],
                                                   (int32_t)p->n_partitions, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* The kind and the members to key by; EVENT_KINDS where the line is no event that can be read. */
static int read_line(struct produce *p, const struct source_message *m,
                     const struct json_node *members[MEMBERS])
{
    const struct json_node *nodes;
    uint32_t n;
    memset(members, 0, MEMBERS * sizeof members[0]);
    if (json_shim_parse(p->json, m->payload, m->payload_len, &nodes, &n) != JSON_OK) {
        return EVENT_KINDS;
    }
    for (uint32_t i = 0; i < n; i = nodes[i].end) {
        bool id = nodes[i].type == JSON_STRING || nodes[i].type == JSON_INT;
        members[nodes[i].name] = id && nodes[i].len > 0 ? &nodes[i] : NULL;
    }
    const struct json_node *kind = members[MEMBER_KIND];
    for (int k = 0; k < EVENT_KINDS && kind != NULL; k++) {
        if (strlen(event_kind_names[k]) == kind->len &&
            memcmp(event_kind_names[k], kind->text, kind->len) == 0) {
            return k;
        }
    }
    return EVENT_KINDS;
}

/* A line that cannot be read is sent too, without a key: what to make of it is the reader's to say.
 */
static int send_line(struct produce *p, const struct source_message *m, const char *file,
                     struct undine_err *err)
{
    const struct json_node *members[MEMBERS];
    int kind = read_line(p, m, members);
    struct kafka_record r = {.partition = -1, .payload = m->payload, .payload_len = m->payload_len};
    const struct json_node *key =
        members[MEMBER_USER] != NULL ? members[MEMBER_USER] : members[MEMBER_IMPRESSION];
    p->lines++;
    if (kind == EVENT_KINDS) {
        p->unreadable++;
        for (kind = 0; p->topics[kind][0] == '\0';) {
            kind++;
        }
    } else {
        p->sent[kind]++;
        r.key = key != NULL ? key->text : NULL;
        r.key_len = key != NULL ? key->len : 0;
    }
    if (p->topics[kind][0] == '\0') {
        return undine_err_set(err, UNDINE_EINVAL,
                              "%s, line %lld: --topics names no topic for kind `%s`", file,
                              (long long)m->offset + 1, event_kind_names[kind]);
    }
    r.topic = p->topics[kind];
    return kafka_producer_send(p->producer, &r, err);
}

/* Wait until as many lines are due as were sent. */
static void keep_rate(const struct produce *p)
{
    if (p->rate <= 0) {
        return;
    }
    int64_t due_ns =
        p->start_ns + (int64_t)((double)p->lines / (double)p->rate * 1e9) - clock_monotonic_ns();
    if (due_ns > 1000000) {
        struct timespec wait = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};
        (void)nanosleep(&wait, NULL);
    }
}

static int send_file(struct produce *p, const char *path, struct undine_err *err)
{
    struct source_message batch[BATCH];
    struct source *s = NULL;
    struct source_file_options opt = {
        .paths = &path, .n_paths = 1, .line_bytes_max = LINE_BYTES_MAX};
    int rc = source_file_open(&s, &opt, NULL, NULL, err);
    while (rc >= 0 && !s->partitions[0].done) {
        int n = source_poll(s, 0, batch, BATCH, 100, err);
        rc = n < 0 ? n : 0;
        for (int i = 0; i < n && rc >= 0; i++) {
            rc = send_line(p, &batch[i], path, err);
            keep_rate(p);
        }
    }
    source_close(s);
    return rc;
}

static int produce_all(struct produce *p, struct undine_err *err)
{
    struct kafka_producer_options opt = {
        .brokers = p->brokers, .pass = p->pass, .n_pass = p->pass_list.n};
    int rc = read_topics(p, err);
    rc = rc < 0 ? rc : read_pass(p, err);
    if (rc < 0) {
        return rc;
    }
    p->json = json_shim_open(&MEMBER_LIST, LINE_BYTES_MAX);
    rc = p->json == NULL ? undine_err_set(err, UNDINE_ENOMEM, "no memory for lines")
                         : kafka_producer_open(&p->producer, &opt, err);
    rc = rc < 0 ? rc : create_topics(p, err);
    p->start_ns = clock_monotonic_ns();
    for (size_t i = 0; i < p->inputs.n && rc >= 0; i++) {
        rc = send_file(p, p->inputs.item[i], err);
    }
    rc = rc < 0 ? rc : kafka_producer_flush(p->producer, FLUSH_MS, err);
    kafka_producer_close(p->producer);
    json_shim_close(p->json);
    return rc;
}

int cmd_produce(int argc, char **argv)
{
    struct produce p = {.topic_list =
                            "impression=impressions,click=clicks,behavior=clicks,forget=clicks",
                        .n_partitions = 4};
    struct undine_err err = {0};
    const struct args_option options[] = {
        {"brokers", 'b', ARGS_STRING, &p.brokers, "HOST:PORT,...", "where to send to (required)"},
        {"input", 'i', ARGS_LIST, &p.inputs, "FILE...",
         "event lines, .zst too, - for standard input"},
        {"topics", 't', ARGS_STRING, &p.topic_list, "KIND=TOPIC,...",
         "topic of each kind (impression=impressions,click=clicks,behavior=clicks,forget=clicks)"},
        {"create", 0, ARGS_FLAG, &p.create, NULL, "create topics that do not exist"},
        {"partitions", 'p', ARGS_INT, &p.n_partitions, "N", "partitions of a created topic (4)"},
        {"rate", 'r', ARGS_INT, &p.rate, "N", "lines a second; default: as fast as it goes"},
        {NULL, 'o', ARGS_LIST, &p.pass_list, "KEY=VALUE",
         "a property of librdkafka, for TLS and the like"},
    };
    int code = args_parse(argc, argv, "produce --brokers HOST:PORT --input FILE... [options]",
                          options, sizeof options / sizeof options[0], &p.inputs);
    if (code >= 0) {
        return code;
    }
    if (p.brokers == NULL || p.inputs.n == 0 || p.n_partitions < 1 || p.n_partitions > 100000) {
        (void)fprintf(stderr, "undine produce: %s; see `undine produce --help`\n",
                      p.brokers == NULL ? "--brokers is required"
                      : p.inputs.n == 0 ? "--input is required"
                                        : "--partitions must be 1 to 100000");
        return EXIT_USAGE;
    }
    int rc = produce_all(&p, &err);
    double seconds = (double)(clock_monotonic_ns() - p.start_ns) / 1e9;
    if (rc < 0) {
        (void)fprintf(stderr, "undine produce: %s\n", err.msg);
        return args_exit_code(rc);
    }
    (void)printf("{\"lines\":%llu,\"unreadable\":%llu", (unsigned long long)p.lines,
                 (unsigned long long)p.unreadable);
    for (int k = 0; k < EVENT_KINDS; k++) {
        (void)printf(",\"%s\":%llu", event_kind_names[k], (unsigned long long)p.sent[k]);
    }
    (void)printf(",\"seconds\":%.3f,\"lines_per_second\":%.0f}\n", seconds,
                 (double)p.lines / seconds);
    return EXIT_DONE;
}
