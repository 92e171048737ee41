/* bench_stream.h: the events that ingest is measured with, in a file or in topics of a broker.
 *
 * Without a click rate they are those of `undine generate`, where a user begins with eight views: a
 * stream that has no more events than eight a user is nearly all views, which wait for nothing and
 * make no example.  With a click rate every impression is clicked alike, each click is a step of
 * the user's history, and users begin with so many views as are asked for: none, or a history. */
#ifndef UNDINE_TESTS_BENCH_STREAM_H
#define UNDINE_TESTS_BENCH_STREAM_H

#include "base/schema.h"
#include "ops/kafka_producer.h"

#include <stdint.h>

enum { BENCH_STREAM_TOPICS = 2 };

struct bench_stream {
    uint64_t events;
    uint32_t users;
    uint32_t views;    /* that a user begins with, where there is a click rate */
    double click_rate; /* in 0..1, of every impression; below 0: views and planted interests */
    double rate;       /* events a second of event time; 0: 100 */
};

/* The fields of configs/demo.yaml with sequences of 50. */
struct schema bench_stream_schema(void);
/* *bytes: of all lines. */
int bench_stream_write(const struct bench_stream *s, const char *path, uint64_t *bytes,
                       struct undine_err *err);
/* Impressions into the first topic, all else into the second, keyed by user; all is delivered. */
int bench_stream_send(const struct bench_stream *s, struct kafka_producer *producer,
                      const struct source_kafka_topic topics[BENCH_STREAM_TOPICS], uint64_t *bytes,
                      struct undine_err *err);

#endif
