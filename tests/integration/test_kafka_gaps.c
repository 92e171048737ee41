#include "ingest/offset_guard.h"
#include "ingest/source.h"
#include "ops/kafka_mock.h"
#include "ops/kafka_producer.h"

#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* A client library that leaves records out, or a topic that has none at some offsets: what comes
 * out of librdkafka (the calls are wrapped at link time) passes by `missing` first.  The reader is
 * to hand on whatever any of two answers has, and to believe the rest. */

enum { N = 3000, POLL_MAX = 500, PATIENCE = 30000, ALWAYS = 1000 };

static struct {
    int missing[2 * N]; /* of each offset: so many deliveries lack it */
    int n_seeks, n_warnings, poll_max;
    int ends_to_hide; /* so many ends of the partition are not told */
} client;

static bool left_out(const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return client.ends_to_hide-- > 0;
    }
    return m->err == RD_KAFKA_RESP_ERR_NO_ERROR && m->offset < 2 * N &&
           client.missing[m->offset]-- > 0;
}

rd_kafka_message_t *__real_rd_kafka_consume_queue(rd_kafka_queue_t *queue, int timeout_ms);
rd_kafka_message_t *__wrap_rd_kafka_consume_queue(rd_kafka_queue_t *queue, int timeout_ms);
ssize_t __real_rd_kafka_consume_batch_queue(rd_kafka_queue_t *queue, int timeout_ms,
                                            rd_kafka_message_t **messages, size_t n);
ssize_t __wrap_rd_kafka_consume_batch_queue(rd_kafka_queue_t *queue, int timeout_ms,
                                            rd_kafka_message_t **messages, size_t n);
rd_kafka_resp_err_t __real_rd_kafka_seek(rd_kafka_topic_t *topic, int32_t partition, int64_t offset,
                                         int timeout_ms);
rd_kafka_resp_err_t __wrap_rd_kafka_seek(rd_kafka_topic_t *topic, int32_t partition, int64_t offset,
                                         int timeout_ms);

rd_kafka_message_t *__wrap_rd_kafka_consume_queue(rd_kafka_queue_t *queue, int timeout_ms)
{
    rd_kafka_message_t *m;
    while ((m = __real_rd_kafka_consume_queue(queue, timeout_ms)) != NULL && left_out(m)) {
        rd_kafka_message_destroy(m);
    }
    return m;
}

ssize_t __wrap_rd_kafka_consume_batch_queue(rd_kafka_queue_t *queue, int timeout_ms,
                                            rd_kafka_message_t **messages, size_t n)
{
    ssize_t got = __real_rd_kafka_consume_batch_queue(queue, timeout_ms, messages, n), kept = 0;
    for (ssize_t i = 0; i < got; i++) {
        if (left_out(messages[i])) {
            rd_kafka_message_destroy(messages[i]);
        } else {
            messages[kept++] = messages[i];
        }
    }
    return kept;
}

rd_kafka_resp_err_t __wrap_rd_kafka_seek(rd_kafka_topic_t *topic, int32_t partition, int64_t offset,
                                         int timeout_ms)
{
    client.n_seeks++;
    return __real_rd_kafka_seek(topic, partition, offset, timeout_ms);
}

/* ---- a topic of one partition, record n at offset n ---- */

struct cluster {
    struct kafka_mock *mock;
    struct kafka_producer *producer;
    int produced;
    struct source *source;
    int64_t read[2 * N]; /* offsets handed on, in order */
    int n_read;
};

static void produce(struct cluster *c, int n)
{
    struct undine_err err = {0};
    for (int i = 0; i < n; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "%d", c->produced++);
        struct kafka_record r = {
            .topic = "e", .key = "k", .key_len = 1, .payload = text, .payload_len = (size_t)len};
        assert_int_equal(kafka_producer_send(c->producer, &r, &err), 0);
    }
    assert_int_equal(kafka_producer_flush(c->producer, 30000, &err), 0);
}

static int setup(void **state)
{
    struct cluster *c = calloc(1, sizeof *c);
    struct undine_err err = {0};
    memset(&client, 0, sizeof client);
    client.poll_max = POLL_MAX;
    assert_int_equal(kafka_mock_open(&c->mock, 1, &err), 0);
    assert_int_equal(kafka_mock_topic(c->mock, "e", 1, &err), 0);
    struct kafka_producer_options opt = {.brokers = kafka_mock_brokers(c->mock)};
    assert_int_equal(kafka_producer_open(&c->producer, &opt, &err), 0);
    produce(c, N);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct cluster *c = *state;
    source_close(c->source);
    kafka_producer_close(c->producer);
    kafka_mock_close(c->mock);
    free(c);
    return 0;
}

static void count_warnings(void *payload, int level, const char *text)
{
    (void)payload;
    client.n_warnings += level == 4 && strstr(text, "left out the record at offset") != NULL;
}

static int find_position(void *payload, const char *topic, int32_t partition,
                         struct source_position *out)
{
    (void)topic;
    (void)partition;
    if (payload == NULL) {
        return 0;
    }
    *out = *(const struct source_position *)payload;
    return 1;
}

static struct source_partition *open_at(struct cluster *c, struct source_position *stored,
                                        bool until_end)
{
    static const struct source_kafka_topic topic = {"e"};
    static const struct source_kafka_option soon = {"fetch.wait.max.ms", "20"};
    struct undine_err err = {0};
    struct source_kafka_options opt = {.brokers = kafka_mock_brokers(c->mock),
                                       .group = "test",
                                       .topics = &topic,
                                       .n_topics = 1,
                                       .n_shards = 1,
                                       .until_end = until_end,
                                       .pass = &soon,
                                       .n_pass = 1,
                                       .metadata_timeout_ms = 10000,
                                       .log = count_warnings};
    if (source_kafka_open(&c->source, &opt, find_position, stored, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    return &c->source->partitions[0];
}

/* Each payload says its offset. */
static void read_to_end(struct cluster *c)
{
    struct source_partition *p = &c->source->partitions[0];
    struct source_message m[POLL_MAX];
    struct undine_err err = {0};
    for (int turn = 0; !(p->done || (p->end < 0 && p->at_end)) && turn < PATIENCE; turn++) {
        int n = source_poll(c->source, 0, m, (size_t)client.poll_max, 10, &err);
        if (n < 0) {
            fail_msg("%s", err.msg);
        }
        for (int i = 0; i < n; i++) {
            char text[32] = "";
            memcpy(text, m[i].payload, m[i].payload_len);
            assert_int_equal(strtol(text, NULL, 10), m[i].offset);
            c->read[c->n_read++] = m[i].offset;
        }
    }
    assert_true(p->done || p->at_end);
}

/* All but these came, once and in order. */
static void assert_read_but(const struct cluster *c, int64_t from, int64_t to,
                            bool (*lacks)(int64_t offset))
{
    int n = 0;
    for (int64_t offset = from; offset < to; offset++) {
        if (!lacks(offset)) {
            assert_in_range(n, 0, c->n_read - 1);
            assert_int_equal(c->read[n++], offset);
        }
    }
    assert_int_equal(n, c->n_read);
}

static bool none(int64_t offset)
{
    (void)offset;
    return false;
}

static void assert_stats(const struct cluster *c, uint64_t gaps, uint64_t verified,
                         uint64_t recovered)
{
    assert_int_equal(c->source->stats.gaps_explained, gaps);
    assert_int_equal(c->source->stats.gaps_verified, verified);
    assert_int_equal(c->source->stats.records_recovered, recovered);
    assert_int_equal(client.n_warnings, recovered);
}

/* ---- what the client lost ---- */

/* The first, some in the middle, many at once, the last: none stays away. */
static void lose_once(void)
{
    static const int lost[] = {0, 1, 7, 400, 401, 402, 1999, N - 2, N - 1};
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
        client.missing[lost[i]] = 1;
    }
    for (int i = 1000; i < 1800; i++) {
        client.missing[i] = 1;
    }
}

static void test_what_the_client_left_out_once_is_read(void **state)
{
    struct cluster *c = *state;
    lose_once();
    struct source_partition *p = open_at(c, NULL, false);
    read_to_end(c);
    assert_read_but(c, 0, N, none);
    assert_int_equal(c->source->stats.gaps_explained, 0);
    assert_int_equal(p->position.next, N);
}

/* One by one, nothing comes anew that was not asked for: each is counted. */
static void test_what_the_client_left_out_is_counted(void **state)
{
    struct cluster *c = *state;
    lose_once();
    client.poll_max = 1;
    open_at(c, NULL, false);
    read_to_end(c);
    assert_read_but(c, 0, N, none);
    assert_stats(c, 0, 0, 9 + 800);
    assert_int_equal(client.n_seeks, 6);
}

/* A bounded run whose last records are left out: the next record is behind its end. */
static void test_the_last_of_a_bounded_run(void **state)
{
    struct cluster *c = *state;
    client.missing[N - 1] = client.missing[N - 2] = 1;
    client.ends_to_hide = 2;
    struct source_partition *p = open_at(c, NULL, true);
    produce(c, 10);
    read_to_end(c);
    assert_read_but(c, 0, N, none);
    assert_stats(c, 0, 0, 2);
    assert_int_equal(p->position.next, N);
}

/* From a stored position on, behind the fence. */
static void test_behind_a_stored_position(void **state)
{
    struct cluster *c = *state;
    struct source_partition *p = open_at(c, NULL, false);
    read_to_end(c);
    struct source_position stored = p->position;
    source_close(c->source);
    c->n_read = 0;
    produce(c, 100);
    client.missing[N] = 1;
    client.missing[N + 1] = 1;
    open_at(c, &stored, false);
    read_to_end(c);
    assert_read_but(c, N, N + 100, none);
    assert_stats(c, 0, 0, 2);
}

/* The second answer lacks others: what either has is handed on, and believed is what both lack. */
static bool both_lack(int64_t offset)
{
    return offset == 20 || offset == 21;
}

static void test_two_answers_that_differ(void **state)
{
    struct cluster *c = *state;
    for (int i = 10; i < 30; i++) {
        client.missing[i] = both_lack(i) ? ALWAYS : 1;
    }
    client.missing[30] = 0;
    open_at(c, NULL, false);
    read_to_end(c);
    assert_read_but(c, 0, N, both_lack);
    assert_stats(c, 1, 1, 18);
    assert_int_equal(client.n_seeks, 1);
}

/* ---- what is not there ---- */

static bool in_the_middle(int64_t offset)
{
    return offset == 100 || (offset >= 500 && offset < 700);
}

static void test_a_real_gap_is_asked_for_and_believed(void **state)
{
    struct cluster *c = *state;
    for (int i = 0; i < N; i++) {
        client.missing[i] = in_the_middle(i) ? ALWAYS : 0;
    }
    open_at(c, NULL, false);
    read_to_end(c);
    assert_read_but(c, 0, N, in_the_middle);
    assert_stats(c, 2, 2, 0);
    assert_int_equal(client.n_seeks, 2);
}

static bool at_the_ends(int64_t offset)
{
    return offset < 3 || offset >= N - 5;
}

/* At the begin, and at the end, where only the end of the partition tells. */
static void test_gaps_at_both_ends_are_counted(void **state)
{
    struct cluster *c = *state;
    for (int i = 0; i < N; i++) {
        client.missing[i] = at_the_ends(i) ? ALWAYS : 0;
    }
    struct source_partition *p = open_at(c, NULL, false);
    read_to_end(c);
    assert_read_but(c, 0, N, at_the_ends);
    assert_stats(c, 2, 2, 0);
    assert_int_equal(p->position.next, N);
    assert_int_equal(p->position.fence_offset, N - 6);
    struct source_position stored = p->position;
    source_close(c->source);
    open_at(c, &stored, false); /* the end is where it was: no gap any more */
    c->n_read = 0;
    read_to_end(c);
    assert_int_equal(c->n_read, 0);
    assert_stats(c, 0, 0, 0);
}

static void test_a_gap_at_the_end_of_a_bounded_run(void **state)
{
    struct cluster *c = *state;
    for (int i = N - 5; i < N; i++) {
        client.missing[i] = ALWAYS;
    }
    for (int hidden = 0; hidden <= ALWAYS; hidden += ALWAYS) { /* told by the end, or by a record */
        c->n_read = 0;
        client.ends_to_hide = hidden;
        struct source_partition *p = open_at(c, NULL, true);
        produce(c, hidden > 0 ? 10 : 0);
        read_to_end(c);
        assert_int_equal(c->n_read, N - 5);
        assert_stats(c, 1, 1, 0);
        assert_int_equal(p->position.next, N);
        if (hidden == 0) {
            source_close(c->source);
        }
    }
}

static bool each_tenth(int64_t offset)
{
    return offset % 10 == 3;
}

/* Transactions leave gaps all the time: most are believed at once, and the same is handed on. */
static void test_a_topic_full_of_markers_is_not_fetched_twice(void **state)
{
    struct cluster *c = *state;
    for (int i = 0; i < N; i++) {
        client.missing[i] = each_tenth(i) ? ALWAYS : 0;
    }
    open_at(c, NULL, false);
    read_to_end(c);
    assert_read_but(c, 0, N, each_tenth);
    assert_stats(c, N / 10, GAP_ASKS, 0);
    assert_int_equal(client.n_seeks, GAP_ASKS);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_the_client_left_out_once_is_read),
        TEST(test_what_the_client_left_out_is_counted),
        TEST(test_the_last_of_a_bounded_run),
        TEST(test_behind_a_stored_position),
        TEST(test_two_answers_that_differ),
        TEST(test_a_real_gap_is_asked_for_and_believed),
        TEST(test_gaps_at_both_ends_are_counted),
        TEST(test_a_gap_at_the_end_of_a_bounded_run),
        TEST(test_a_topic_full_of_markers_is_not_fetched_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
