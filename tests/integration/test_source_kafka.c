#include "ingest/source.h"
#include "ops/kafka_mock.h"
#include "ops/kafka_producer.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>

#include <cmocka.h>

/* Against librdkafka's mock cluster.  Message n of the topic goes to partition n % PARTITIONS and
 * says its number, so each must come once, and in a partition in order. */

enum { PARTITIONS = 4, POLL_MAX = 1000, PATIENCE = 3000 };

struct positions { /* what a store would hold */
    struct source_position at[PARTITIONS];
    bool known[PARTITIONS];
};

struct cluster {
    struct kafka_mock *mock;
    struct kafka_producer *producer;
    int produced;
};

static void start_cluster(struct cluster *c)
{
    struct undine_err err = {0};
    assert_int_equal(kafka_mock_open(&c->mock, 1, &err), 0);
    assert_int_equal(kafka_mock_topic(c->mock, "events", PARTITIONS, &err), 0);
    struct kafka_producer_options opt = {.brokers = kafka_mock_brokers(c->mock)};
    assert_int_equal(kafka_producer_open(&c->producer, &opt, &err), 0);
    c->produced = 0;
}

static int setup(void **state)
{
    struct cluster *c = calloc(1, sizeof *c);
    start_cluster(c);
    *state = c;
    return 0;
}

static void stop_cluster(struct cluster *c)
{
    kafka_producer_close(c->producer);
    kafka_mock_close(c->mock);
}

static int teardown(void **state)
{
    stop_cluster(*state);
    free(*state);
    return 0;
}

static void produce_padded(struct cluster *c, int n, size_t pad)
{
    struct undine_err err = {0};
    char *payload = calloc(1, pad + 64);
    for (int i = 0; i < n; i++) {
        int number = c->produced++;
        int len = sprintf(payload, "{\"n\":%d,\"pad\":\"", number);
        uint64_t x = (uint64_t)number + 1;
        for (size_t j = 0; j < pad; j++) { /* bytes that do not compress */
            x = x * 6364136223846793005U + 1442695040888963407U;
            payload[len++] = (char)('#' + (x >> 40) % 57);
        }
        struct kafka_record r = {.topic = "events",
                                 .partition = number % PARTITIONS,
                                 .key = "k",
                                 .key_len = 1,
                                 .payload = payload,
                                 .payload_len = (size_t)len};
        if (kafka_producer_send(c->producer, &r, &err) != 0) {
            fail_msg("%s", err.msg);
        }
    }
    free(payload);
    if (kafka_producer_flush(c->producer, 30000, &err) != 0) {
        fail_msg("%s", err.msg);
    }
}

static void produce(struct cluster *c, int n)
{
    produce_padded(c, n, 10);
}

static int find_position(void *payload, const char *topic, int32_t partition,
                         struct source_position *out)
{
    struct positions *stored = payload;
    assert_string_equal(topic, "events");
    if (stored == NULL || !stored->known[partition]) {
        return 0;
    }
    *out = stored->at[partition];
    return 1;
}

static struct source_kafka_options options(const struct cluster *c)
{
    static const struct source_kafka_topic topic = {"events"};
    return (struct source_kafka_options){.brokers = kafka_mock_brokers(c->mock),
                                         .group = "test",
                                         .topics = &topic,
                                         .n_topics = 1,
                                         .n_shards = 1,
                                         .metadata_timeout_ms = 10000};
}

static struct source *open_ok(const struct source_kafka_options *opt, struct positions *stored)
{
    struct source *s = NULL;
    struct undine_err err = {0};
    if (source_kafka_open(&s, opt, find_position, stored, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    return s;
}

static void store_positions(struct positions *stored, const struct source *s)
{
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        const struct source_partition *p = &s->partitions[i];
        stored->known[p->partition] = p->position.next >= 0;
        stored->at[p->partition] = p->position;
    }
}

static int message_number(const struct source_message *m)
{
    int n = -1;
    char head[32] = "";
    memcpy(head, m->payload, m->payload_len < 31 ? m->payload_len : 31);
    assert_int_equal(sscanf(head, "{\"n\":%d,", &n), 1);
    return n;
}

/* One poll of each partition; counts what came in seen[].  Returns the messages, or an error. */
static int poll_once(struct source *s, unsigned char *seen, int n_seen, struct undine_err *err)
{
    struct source_message m[POLL_MAX];
    int total = 0;
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        struct source_partition *p = &s->partitions[i];
        if (p->done) {
            continue;
        }
        int n = source_poll(s, i, m, POLL_MAX, 10, err);
        if (n < 0) {
            return n;
        }
        for (int k = 0; k < n; k++) {
            int number = message_number(&m[k]);
            assert_in_range(number, 0, n_seen - 1);
            assert_int_equal(number % PARTITIONS, p->partition);
            assert_int_equal(m[k].offset, number / PARTITIONS);
            assert_true(m[k].timestamp_ms > 0);
            seen[number]++;
        }
        assert_true(n == 0 || p->position.next == m[n - 1].offset + 1);
        assert_true(n == 0 || p->position.fence_offset == m[n - 1].offset);
        total += n;
    }
    return total;
}

/* Poll until n messages more came. */
static void read_more(struct source *s, unsigned char *seen, int n_seen, int n)
{
    struct undine_err err = {0};
    for (int turn = 0; n > 0 && turn < PATIENCE; turn++) {
        int got = poll_once(s, seen, n_seen, &err);
        if (got < 0) {
            fail_msg("%s", err.msg);
        }
        n -= got;
    }
    assert_int_equal(n, 0);
}

static void assert_each_once(const unsigned char *seen, int n)
{
    for (int i = 0; i < n; i++) {
        if (seen[i] != 1) {
            fail_msg("message %d came %d times", i, seen[i]);
        }
    }
}

static bool all_at_end(const struct source *s)
{
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        if (!s->partitions[i].at_end) {
            return false;
        }
    }
    return true;
}

static bool all_done(const struct source *s)
{
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        if (!s->partitions[i].done) {
            return false;
        }
    }
    return true;
}

static void maintain(struct source *s)
{
    struct undine_err err = {0};
    if (s->ops->maintain(s, NULL, &err) != 0) {
        fail_msg("%s", err.msg);
    }
}

static void read_to_end(struct source *s, unsigned char *seen, int n_seen)
{
    struct undine_err err = {0};
    for (int turn = 0; !all_at_end(s) && turn < PATIENCE; turn++) {
        assert_true(poll_once(s, seen, n_seen, &err) >= 0);
        maintain(s);
    }
    assert_true(all_at_end(s));
}

static void test_each_message_once(void **state)
{
    enum { N = 20000 };
    static unsigned char seen[N + 100];
    struct cluster *c = *state;
    memset(seen, 0, sizeof seen);
    produce(c, N);
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    assert_int_equal(s->n_partitions, PARTITIONS);
    read_more(s, seen, N, N);
    assert_each_once(seen, N);
    read_to_end(s, seen, N);
    assert_int_equal(s->stats.messages, N);
    assert_int_equal(s->stats.gaps_explained, 0);
    for (int i = 0; i < PARTITIONS; i++) {
        assert_int_equal(s->partitions[i].position.next, N / PARTITIONS);
        assert_int_equal(s->partitions[i].high, N / PARTITIONS);
        assert_false(s->partitions[i].done);
    }
    produce(c, 100); /* an end is not for ever */
    read_more(s, seen, N + 100, 100);
    assert_each_once(seen, N + 100);
    read_to_end(s, seen, N + 100);
    source_close(s);
}

static void test_resume(void **state)
{
    enum { N = 4000, ROUNDS = 5 };
    static unsigned char seen[N];
    struct cluster *c = *state;
    struct positions stored = {0};
    memset(seen, 0, sizeof seen);
    for (int round = 1; round <= ROUNDS; round++) {
        produce(c, N / ROUNDS);
        struct source_kafka_options opt = options(c);
        struct source *s = open_ok(&opt, &stored);
        struct undine_err err = {0};
        int got = 0;
        for (int turn = 0; turn < PATIENCE && !(round < ROUNDS ? got > 0 : all_at_end(s)); turn++) {
            int n = poll_once(s, seen, N, &err); /* most is left to the next one */
            assert_true(n >= 0);
            got += n;
        }
        assert_true(got > 0);
        store_positions(&stored, s);
        source_close(s);
    }
    assert_each_once(seen, N);
}

static void test_until_end(void **state)
{
    enum { N = 1000 };
    static unsigned char seen[2 * N];
    struct cluster *c = *state;
    struct positions stored = {0};
    struct undine_err err = {0};
    memset(seen, 0, sizeof seen);
    struct source_kafka_options opt = options(c);
    opt.until_end = true;
    struct source *s = open_ok(&opt, NULL);
    assert_true(all_done(s)); /* nothing is there */
    source_close(s);
    produce(c, N);
    s = open_ok(&opt, NULL);
    produce(c, N); /* behind the end */
    for (int turn = 0; !all_done(s) && turn < PATIENCE; turn++) {
        assert_true(poll_once(s, seen, 2 * N, &err) >= 0);
    }
    assert_true(all_done(s));
    assert_each_once(seen, N);
    for (int i = N; i < 2 * N; i++) {
        assert_int_equal(seen[i], 0);
    }
    store_positions(&stored, s);
    source_close(s);
    s = open_ok(&opt, &stored); /* the rest */
    for (int turn = 0; !all_done(s) && turn < PATIENCE; turn++) {
        assert_true(poll_once(s, seen, 2 * N, &err) >= 0);
    }
    assert_each_once(seen, 2 * N);
    store_positions(&stored, s);
    source_close(s);
    s = open_ok(&opt, &stored);
    assert_true(all_done(s));
    assert_int_equal(s->stats.messages, 0);
    source_close(s);
}

static void test_shards(void **state)
{
    enum { N = 400 };
    static unsigned char seen[N];
    struct cluster *c = *state;
    memset(seen, 0, sizeof seen);
    produce(c, N);
    for (uint32_t shard = 0; shard < 3; shard++) {
        struct source_kafka_options opt = options(c);
        opt.shard = shard;
        opt.n_shards = 3;
        struct source *s = open_ok(&opt, NULL);
        assert_int_equal(s->n_partitions, shard == 0 ? 2 : 1);
        read_more(s, seen, N, (int)s->n_partitions * N / PARTITIONS);
        source_close(s);
    }
    assert_each_once(seen, N);
}

static int open_error(const struct source_kafka_options *opt, struct positions *stored,
                      struct undine_err *err)
{
    struct source *s = NULL;
    int rc = source_kafka_open(&s, opt, find_position, stored, err);
    assert_null(s);
    return rc;
}

/* The same topic with other records: what a broker that was set up anew looks like. */
static void test_other_history(void **state)
{
    enum { N = 400 };
    static unsigned char seen[N];
    struct cluster *c = *state, other;
    struct positions stored = {0};
    struct undine_err err = {0};
    memset(seen, 0, sizeof seen);
    produce(c, N);
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    read_more(s, seen, N, N);
    store_positions(&stored, s);
    source_close(s);
    source_close(open_ok(&opt, &stored));

    start_cluster(&other);
    opt = options(&other);
    produce(&other, N / 2); /* shorter */
    assert_int_equal(open_error(&opt, &stored, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "ends before"));
    assert_non_null(strstr(err.msg, "high 50"));
    produce(&other, N); /* longer, with other timestamps */
    assert_int_equal(open_error(&opt, &stored, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "made anew"));
    assert_non_null(strstr(err.msg, "--accept-loss events:0"));

    const char *accept[] = {"events:0", "events:1", "events:2", "events:3"};
    opt.accept_loss = accept;
    opt.n_accept_loss = 3;
    assert_int_equal(open_error(&opt, &stored, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "partition 3"));
    opt.n_accept_loss = 4;
    s = open_ok(&opt, &stored);
    for (int i = 0; i < PARTITIONS; i++) {
        assert_int_equal(s->partitions[i].position.next, 0);
    }
    static unsigned char all[N + N / 2];
    memset(all, 0, sizeof all);
    read_more(s, all, N + N / 2, N + N / 2);
    assert_each_once(all, N + N / 2);
    source_close(s);
    stop_cluster(&other);
}

/* The mock keeps 5 MiB a partition: what retention does. */
static void test_offset_gone(void **state)
{
    static unsigned char seen[40000];
    struct cluster *c = *state;
    struct positions stored = {0};
    struct undine_err err = {0};
    memset(seen, 0, sizeof seen);
    produce(c, 40);
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    read_more(s, seen, 40, 40);
    store_positions(&stored, s);
    source_close(s);
    produce_padded(c, 7000, 4000);
    assert_int_equal(open_error(&opt, &stored, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "stored next offset 10"));
    assert_non_null(strstr(err.msg, "low "));
    const char *accept[] = {"events:0", "events:1", "events:2", "events:3"};
    opt.accept_loss = accept;
    opt.n_accept_loss = 4;
    s = open_ok(&opt, &stored);
    int left = 0;
    for (int i = 0; i < PARTITIONS; i++) {
        assert_true(s->partitions[i].position.next > 10);
        left += (int)(s->partitions[i].high - s->partitions[i].position.next);
    }
    read_more(s, seen, c->produced, left);
    source_close(s);
}

/* Retention that overtakes a reader: an error from poll, never a jump. */
static void test_offset_gone_live(void **state)
{
    static unsigned char seen[40000];
    struct cluster *c = *state;
    struct undine_err err = {0};
    memset(seen, 0, sizeof seen);
    static const struct source_kafka_option small[] = {{"fetch.message.max.bytes", "20000"},
                                                       {"queued.min.messages", "1"},
                                                       {"queued.max.messages.kbytes", "1"}};
    produce_padded(c, 400, 4000);
    struct source_kafka_options opt = options(c);
    opt.pass = small;
    opt.n_pass = 3;
    struct source *s = open_ok(&opt, NULL);
    produce_padded(c, 7000, 4000);
    int rc = 0;
    for (int turn = 0; rc >= 0 && turn < PATIENCE; turn++) {
        rc = poll_once(s, seen, c->produced, &err);
    }
    assert_int_equal(rc, UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "low "));
    int last = -1; /* what came before it is a run without a gap in each partition */
    for (int i = 0; i < c->produced; i += PARTITIONS) {
        assert_true(seen[i] == 0 || last == i - PARTITIONS || i == 0);
        last = seen[i] > 0 ? i : last;
    }
    source_close(s);
}

static void test_broker_away(void **state)
{
    enum { N = 2000 };
    static unsigned char seen[2 * N];
    struct cluster *c = *state;
    struct undine_err err = {0};
    memset(seen, 0, sizeof seen);
    produce(c, N);
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    read_more(s, seen, N, N);
    read_to_end(s, seen, N);
    assert_int_equal(kafka_mock_broker_up(c->mock, 1, false, &err), 0);
    for (int turn = 0; all_at_end(s) && turn < PATIENCE; turn++) {
        assert_int_equal(poll_once(s, seen, N, &err), 0);
        maintain(s);
    }
    for (int i = 0; i < PARTITIONS; i++) {
        assert_false(s->partitions[i].at_end);
    }
    assert_true(s->stats.away);
    assert_int_equal(s->stats.reconnects, 0);
    assert_int_equal(kafka_mock_broker_up(c->mock, 1, true, &err), 0);
    read_to_end(s, seen, N); /* the end is believed again, though nothing new came */
    assert_false(s->stats.away);
    assert_int_equal(s->stats.reconnects, 1);
    produce(c, N);
    read_more(s, seen, 2 * N, N);
    assert_each_once(seen, 2 * N);
    source_close(s);
}

static void test_fetch_faults(void **state)
{
    enum { N = 8000 };
    static unsigned char seen[N];
    static const int codes[] = {6 /* not leader */, -195 /* disconnect */, 5 /* no leader */,
                                2 /* corrupt */};
    struct cluster *c = *state;
    memset(seen, 0, sizeof seen);
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    for (int round = 0; round < 4; round++) {
        kafka_mock_request_error(c->mock, 1, codes[round]);
        produce(c, N / 4);
        read_more(s, seen, N, N / 4);
        maintain(s);
    }
    assert_each_once(seen, N);
    source_close(s);
}

static void test_leaderless(void **state)
{
    static unsigned char seen[8];
    struct cluster *c = *state;
    struct undine_err err = {0};
    memset(seen, 0, sizeof seen);
    produce(c, 8);
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    read_more(s, seen, 8, 8);
    read_to_end(s, seen, 8);
    assert_int_equal(kafka_mock_leader(c->mock, "events", 2, -1, &err), 0);
    for (int turn = 0; s->partitions[2].at_end && turn < PATIENCE; turn++) {
        assert_int_equal(poll_once(s, seen, 8, &err), 0);
        maintain(s);
    }
    assert_false(s->partitions[2].at_end);
    assert_true(s->stats.away);
    maintain(s); /* it stays so until metadata shows a leader */
    assert_true(s->stats.away);
    assert_int_equal(kafka_mock_leader(c->mock, "events", 2, 1, &err), 0);
    read_to_end(s, seen, 8);
    assert_false(s->stats.away);
    source_close(s);
}

/* An empty partition was read up to its end: what comes and goes before the next start is a loss.
 */
static void test_end_of_nothing_is_a_position(void **state)
{
    struct cluster *c = *state;
    struct positions stored = {0};
    struct undine_err err = {0};
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    read_to_end(s, NULL, 0);
    store_positions(&stored, s);
    source_close(s);
    for (int i = 0; i < PARTITIONS; i++) {
        assert_int_equal(stored.at[i].next, 0);
        assert_int_equal(stored.at[i].fence_offset, -1);
    }
    source_close(open_ok(&opt, &stored));
    produce_padded(c, 7000, 4000);
    assert_int_equal(open_error(&opt, &stored, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "stored next offset 0"));
}

/* Faults that a broker has for a while stop no start: offsets are asked for again. */
static void test_open_through_faults(void **state)
{
    enum { N = 400 };
    static unsigned char seen[N];
    static const int codes[] = {6 /* not leader */, -195 /* disconnect */, 5 /* no leader */,
                                7 /* timed out */, -195};
    struct cluster *c = *state;
    struct positions stored = {0};
    memset(seen, 0, sizeof seen);
    for (int round = 0; round < 2; round++) {
        produce(c, N / 2);
        for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
            kafka_mock_request_error(c->mock, 2, codes[i]);
            kafka_mock_request_error(c->mock, 1, codes[i]); /* the fence is fetched */
        }
        struct source_kafka_options opt = options(c);
        opt.metadata_timeout_ms = 60000;
        struct source *s = open_ok(&opt, &stored);
        read_more(s, seen, N, N / 2);
        store_positions(&stored, s);
        source_close(s);
    }
    assert_each_once(seen, N);
}

static void test_open_errors(void **state)
{
    struct cluster *c = *state;
    struct undine_err err = {0};
    struct timespec before, after;
    struct source_kafka_options opt = options(c);
    static const struct source_kafka_topic gone = {"nowhere"};
    kafka_mock_topic_error(c->mock, "nowhere", 3);
    opt.topics = &gone;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(open_error(&opt, NULL, &err), UNDINE_ENOTFOUND);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_non_null(strstr(err.msg, "`nowhere` does not exist"));
    assert_true(after.tv_sec - before.tv_sec < 10);

    static const struct source_kafka_option wrong[] = {
        {"fetch.min.byte", "1"}, {"fetch.min.bytes", "many"}, {"enable.auto.commit", "true"}};
    for (int i = 0; i < 3; i++) {
        opt = options(c);
        opt.pass = &wrong[i];
        opt.n_pass = 1;
        assert_int_equal(open_error(&opt, NULL, &err), UNDINE_ECONFIG);
        assert_non_null(strstr(err.msg, wrong[i].key));
    }
    opt = options(c);
    opt.shard = 7;
    opt.n_shards = 8;
    assert_int_equal(open_error(&opt, NULL, &err), UNDINE_ECONFIG);

    opt = options(c);
    opt.brokers = "127.0.0.1:1";
    opt.metadata_timeout_ms = 500;
    assert_int_equal(open_error(&opt, NULL, &err), UNDINE_EAGAIN);
    assert_non_null(strstr(err.msg, "127.0.0.1:1"));
}

static void test_tombstone_and_commit(void **state)
{
    struct cluster *c = *state;
    struct undine_err err = {0};
    struct kafka_record r = {.topic = "events", .partition = 1, .key = "u", .key_len = 1};
    assert_int_equal(kafka_producer_send(c->producer, &r, &err), 0);
    assert_int_equal(kafka_producer_flush(c->producer, 10000, &err), 0);
    struct source_kafka_options opt = options(c);
    struct source *s = open_ok(&opt, NULL);
    struct source_message m[10];
    int n = 0;
    for (int turn = 0; n == 0 && turn < PATIENCE; turn++) {
        n = source_poll(s, 1, m, 10, 10, &err);
    }
    assert_int_equal(n, 1);
    assert_null(m[0].payload);
    assert_int_equal(m[0].payload_len, 0);
    const int64_t synced[PARTITIONS] = {-1, 1, -1, -1};
    struct timespec wait = {.tv_sec = 5, .tv_nsec = 200000000};
    (void)nanosleep(&wait, NULL);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(s->ops->maintain(s, synced, &err), 0);
        assert_int_equal(source_poll(s, 1, m, 10, 20, &err), 0);
    }
    assert_int_equal(s->stats.errors, 0);
    source_close(s);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_each_message_once),
                                       T(test_resume),
                                       T(test_until_end),
                                       T(test_shards),
                                       T(test_other_history),
                                       T(test_offset_gone),
                                       T(test_offset_gone_live),
                                       T(test_broker_away),
                                       T(test_fetch_faults),
                                       T(test_leaderless),
                                       T(test_end_of_nothing_is_a_position),
                                       T(test_open_through_faults),
                                       T(test_open_errors),
                                       T(test_tombstone_and_commit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
