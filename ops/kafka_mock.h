/* kafka_mock.h: librdkafka's mock cluster: brokers in this process, on loopback, in memory.
 *
 * For demos and tests: any Kafka client on this machine can use it.  It keeps 5 MiB of compressed
 * batches per partition and drops the oldest; it has no transactions' isolation, no lookup by time,
 * no topic deletion.  Any thread. */
#ifndef UNDINE_OPS_KAFKA_MOCK_H
#define UNDINE_OPS_KAFKA_MOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct kafka_mock;
int kafka_mock_open(struct kafka_mock **out, int n_brokers, struct undine_err *err);
void kafka_mock_close(struct kafka_mock *m);
const char *kafka_mock_brokers(const struct kafka_mock *m); /* "host:port,host:port" */

int kafka_mock_topic(struct kafka_mock *m, const char *name, int n_partitions,
                     struct undine_err *err);
/* What metadata says of a topic: a number of Kafka's error codes, 0 = none (3 = unknown topic). */
void kafka_mock_topic_error(struct kafka_mock *m, const char *name, int code);
int kafka_mock_broker_up(struct kafka_mock *m, int broker, bool up, struct undine_err *err);
/* Milliseconds that every answer of the broker takes. */
int kafka_mock_rtt(struct kafka_mock *m, int broker, int rtt_ms, struct undine_err *err);
/* Move a partition to another broker; -1 = it has no leader. */
int kafka_mock_leader(struct kafka_mock *m, const char *topic, int partition, int broker,
                      struct undine_err *err);
/* The next request of this kind (Produce 0, Fetch 1, ListOffsets 2, Metadata 3, OffsetCommit 8)
 * fails with this error code; codes beyond Kafka's disconnect. */
void kafka_mock_request_error(struct kafka_mock *m, int api_key, int code);

/* One line of `undine mock-broker`'s input: "topic NAME PARTITIONS", "down B", "up B", "rtt B MS",
 * "leader TOPIC PARTITION B", "err APIKEY CODE", "topic-error TOPIC CODE".  UNDINE_EINVAL where it
 * is none of these. */
int kafka_mock_command(struct kafka_mock *m, const char *line, struct undine_err *err);

#endif
