/* kafka_producer.h: send messages to Kafka, each once: an idempotent producer.
 *
 * Sending waits while the producer's queue is full, so a caller can never be ahead of the broker by
 * more than that queue.  A message that could not be delivered is an error of the next send or
 * flush. One thread. */
#ifndef UNDINE_OPS_KAFKA_PRODUCER_H
#define UNDINE_OPS_KAFKA_PRODUCER_H

#include "base/err.h"
#include "ingest/source.h"

#include <stddef.h>
#include <stdint.h>

struct kafka_producer_options {
    const char *brokers;
    const struct source_kafka_option *pass; /* security settings and the like */
    size_t n_pass;
};

struct kafka_record {
    const char *topic;
    int32_t partition; /* -1: by hash of the key, a random one where there is no key */
    const void *key;   /* NULL = none */
    size_t key_len;
    const void *payload; /* NULL = tombstone */
    size_t payload_len;
    int64_t timestamp_ms; /* of the record; 0 = now */
};

struct kafka_producer;
/* Connects when it must: UNDINE_ECONFIG names the key that is wrong, not a broker that is away. */
int kafka_producer_open(struct kafka_producer **out, const struct kafka_producer_options *opt,
                        struct undine_err *err);
/* Drops what is not delivered: flush first. */
void kafka_producer_close(struct kafka_producer *p);

/* Create a topic with the broker's default replication.  1 = created, 0 = it exists already (with
 * whatever number of partitions), < 0 = error.  On return the broker shows it to everybody. */
int kafka_producer_create_topic(struct kafka_producer *p, const char *topic, int32_t n_partitions,
                                struct undine_err *err);
/* 1 = deleted, 0 = it does not exist, < 0 = error. */
int kafka_producer_delete_topic(struct kafka_producer *p, const char *topic,
                                struct undine_err *err);
/* Copies the record.  UNDINE_EIO where an earlier one failed for good, UNDINE_EINVAL where the
 * broker can never take it (unknown partition, too large). */
int kafka_producer_send(struct kafka_producer *p, const struct kafka_record *r,
                        struct undine_err *err);
/* Wait until everything is delivered.  UNDINE_EIO where something failed, UNDINE_EAGAIN where the
 * time was too short. */
int kafka_producer_flush(struct kafka_producer *p, int timeout_ms, struct undine_err *err);

#endif
