#include "ingest/kafka_conf.h"

#include <string.h>

struct pair {
    const char *key, *value;
};

/* A configuration may change these. */
static const struct pair presets[] = {
    {"client.id", "undine"},
    {"check.crcs", "true"}, /* 0.2 us a message for end-to-end detection of broken data */
    {"socket.keepalive.enable", "true"},
    {"topic.metadata.refresh.interval.ms", "30000"}, /* new leaders are seen sooner */
    {"reconnect.backoff.max.ms", "1000"},            /* 10 s would be added to every outage */
    {"queued.max.messages.kbytes", "16384"},         /* counts for each partition */
    {"log.queue", "true"},                           /* logged by the thread that polls */
};

/* None of these may be passed (kafka_keys.c).  auto.offset.reset is set as a global property: one
 * in a topic's own configuration would win. */
static const struct pair fixed[] = {
    {"enable.auto.commit", "false"},       {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},        {"enable.partition.eof", "true"},
    {"isolation.level", "read_committed"},
};

int kafka_conf_set_all(const struct source_kafka_options *opt, kafka_conf_set_fn set, void *conf,
                       struct undine_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof presets / sizeof presets[0] && rc == 0; i++) {
        rc = set(conf, presets[i].key, presets[i].value, err);
    }
    for (size_t i = 0; i < opt->n_pass && rc == 0; i++) {
        const char *reason = source_kafka_key_refused(opt->pass[i].key);
        if (reason != NULL) {
            return undine_err_set(err, UNDINE_ECONFIG, "kafka `%s` may not be set: %s",
                                  opt->pass[i].key, reason);
        }
        rc = set(conf, opt->pass[i].key, opt->pass[i].value, err);
    }
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0] && rc == 0; i++) {
        rc = set(conf, fixed[i].key, fixed[i].value, err);
    }
    rc = rc == 0 ? set(conf, "bootstrap.servers", opt->brokers, err) : rc;
    return rc == 0 ? set(conf, "group.id", opt->group, err) : rc;
}

int kafka_auth_refused(struct undine_err *err, const char *reason)
{
    bool scram = strstr(reason, "SCRAM") != NULL;
    return undine_err_set(err, UNDINE_EIO, "Kafka refuses the connection: %s%s", reason,
                          scram
                              ? " (librdkafka before 2.6.1 cannot do SCRAM with Kafka 4 brokers, "
                                "even with the right password: use PLAIN over TLS, Kafka 3.9, or a "
                                "newer librdkafka)"
                              : "");
}
