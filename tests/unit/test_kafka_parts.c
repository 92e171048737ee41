/* What the Kafka reader decides without a broker: offsets, shards, properties; and the call with a
 * limit. */
#include "base/clock.h"
#include "base/ticker.h"
#include "base/within.h"
#include "ingest/kafka_conf.h"
#include "ingest/offset_guard.h"
#include "ingest/shard.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>

#include <cmocka.h>

static struct source_partition partition(int64_t next, int64_t end)
{
    struct source_partition p = {.topic = "e",
                                 .partition = 3,
                                 .position = {.next = next,
                                              .fence_offset = next - 1,
                                              .fence_timestamp = 77,
                                              .fence_hash = 0xABC},
                                 .end = end,
                                 .high = 100};
    return p;
}

/* A synthetic delivery with duplicates and gaps: every offset is taken once and in order. */
static void test_guard_sequence(void **state)
{
    (void)state;
    static const struct {
        int64_t offset;
        enum guard want;
    } delivery[] = {{5, GUARD_TAKE},      {6, GUARD_TAKE},  {5, GUARD_DUPLICATE},
                    {6, GUARD_DUPLICATE}, {7, GUARD_TAKE},  {10, GUARD_GAP},
                    {8, GUARD_DUPLICATE}, {11, GUARD_TAKE}, {0, GUARD_DUPLICATE},
                    {12, GUARD_DONE},     {13, GUARD_DONE}};
    struct source_partition p = partition(-1, 12);
    for (size_t i = 0; i < sizeof delivery / sizeof delivery[0]; i++) {
        enum guard got = offset_guard(&p, delivery[i].offset);
        assert_int_equal(got, delivery[i].want);
        if (got == GUARD_TAKE || got == GUARD_GAP) {
            p.position.next = delivery[i].offset + 1;
        }
    }
    p = partition(-1, -1);
    assert_int_equal(offset_guard(&p, 1000), GUARD_TAKE); /* never read: starts anywhere */
}

/* Asked for again are the first gaps, those wider by far than any that was confirmed, and one in so
 * many records; a record that only the second answer had gives new credit. */
static void test_which_gaps_are_asked_for_again(void **state)
{
    (void)state;
    struct gap_doubt g = {.asks = GAP_ASKS};
    bool twice;
    int64_t at = 10;
    for (int i = 0; i < GAP_ASKS; i++, at += 5) {
        assert_int_equal(gap_believe(&g, at, at + 3, &twice), at); /* ask */
        assert_false(twice);
        assert_int_equal(gap_believe(&g, at, at + 3, &twice), at + 3);
        assert_true(twice);
        assert_false(gap_taken(&g, at + 3));
    }
    assert_int_equal(gap_believe(&g, at, at + 7, &twice), at + 7);
    assert_false(twice);
    assert_int_equal(gap_believe(&g, at, at + 8, &twice), at); /* more than twice 3 */
    assert_int_equal(gap_believe(&g, at, at + 8, &twice), at + 8);
    assert_true(twice);
    assert_int_equal(gap_believe(&g, at, at + 17, &twice), at + 17);
    assert_false(twice);

    while (g.n_taken < GAP_ASK_EVERY) {
        assert_false(gap_taken(&g, at++));
    }
    assert_int_equal(g.asks, 1);
    assert_int_equal(gap_believe(&g, at, at + 2, &twice), at);
    assert_true(gap_taken(&g, at)); /* it was there */
    assert_int_equal(g.asks, GAP_ASKS);
    assert_true(gap_taken(&g, at + 1));
    assert_false(gap_taken(&g, at + 2)); /* the one that came first */
    assert_int_equal(g.asked, 0);
}

/* What two answers both lack is believed, and no offset more. */
static void test_answers_that_differ(void **state)
{
    (void)state;
    struct gap_doubt g = {.asks = GAP_ASKS};
    bool twice;
    assert_int_equal(gap_believe(&g, 100, 120, &twice), 100);
    assert_int_equal(gap_believe(&g, 100, 110, &twice), 110); /* 110 to 119 are out still */
    assert_true(twice);
    assert_true(gap_taken(&g, 110));
    assert_int_equal(gap_believe(&g, 111, 130, &twice), 120); /* 120 was seen, now it is not */
    assert_true(twice);
    assert_int_equal(gap_believe(&g, 120, 130, &twice), 120);
    assert_false(twice);
    assert_false(gap_taken(&g, 130));
}

static void test_start(void **state)
{
    (void)state;
    struct undine_err err = {0};
    int64_t start;
    bool fence;
    struct source_partition p = partition(-1, -1);
    assert_int_equal(offset_start(&p, 5, 9, &start, &fence, &err), 0);
    assert_true(start == -1 && !fence);
    p = partition(50, -1);
    assert_int_equal(offset_start(&p, 0, 100, &start, &fence, &err), 0);
    assert_true(start == 49 && fence);
    assert_int_equal(offset_start(&p, 49, 50, &start, &fence, &err), 0);
    assert_true(start == 49 && fence);
    assert_int_equal(offset_start(&p, 50, 50, &start, &fence, &err),
                     0); /* the fence is gone, no more */
    assert_true(start == 50 && !fence);
    assert_int_equal(offset_start(&p, 51, 100, &start, &fence, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "topic `e`, partition 3"));
    assert_non_null(strstr(err.msg, "stored next offset 50"));
    assert_non_null(strstr(err.msg, "low 51, high 100"));
    assert_non_null(strstr(err.msg, "--accept-loss e:3"));
    assert_int_equal(offset_start(&p, 0, 49, &start, &fence, &err), UNDINE_ELOSS);
}

static void test_fence(void **state)
{
    (void)state;
    struct undine_err err = {0};
    struct source_partition p = partition(50, -1);
    assert_int_equal(offset_fence(&p, 49, 77, 0xABC, 0, &err), 1);
    assert_int_equal(offset_fence(&p, 49, 78, 0xABC, 0, &err), UNDINE_ELOSS);
    assert_int_equal(offset_fence(&p, 49, 77, 0xABD, 0, &err), UNDINE_ELOSS);
    assert_int_equal(offset_fence(&p, 49, -1, 0, 0, &err),
                     UNDINE_ELOSS);                            /* the end is where it was */
    assert_int_equal(offset_fence(&p, 52, 99, 1, 0, &err), 1); /* compacted away */
    assert_int_equal(offset_fence(&p, 50, -1, 0, 0, &err), 1);
}

static void test_accept_loss(void **state)
{
    (void)state;
    const char *accepted[] = {"e:33", "f:3", "e:3"};
    struct source_partition p = partition(50, -1);
    assert_false(offset_accept_loss(&p, 70, accepted, 2));
    assert_int_equal(p.position.next, 50);
    assert_true(offset_accept_loss(&p, 70, accepted, 3));
    assert_int_equal(p.position.next, 70);
    assert_int_equal(p.position.fence_offset, -1);
}

static int position_of_2(void *payload, const char *topic, int32_t id, struct source_position *out)
{
    (void)topic;
    if (payload != NULL) {
        return UNDINE_ECORRUPT;
    }
    out->next = id == 2 ? 42 : out->next;
    return id == 2;
}

static void test_shards(void **state)
{
    (void)state;
    const struct source_topic equal[] = {{"a", 5}, {"b", 5}}, unequal[] = {{"a", 5}, {"b", 4}};
    struct undine_err err = {0};
    struct source_partition *list = NULL;
    uint32_t n = 0, total = 0;
    for (uint32_t shard = 0; shard < 3; shard++) {
        assert_int_equal(shard_partitions(&list, &n, equal, 2, shard, 3, position_of_2, NULL, &err),
                         0);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(list[i].partition % 3, shard);
            assert_string_equal(list[i].topic, equal[list[i].topic_index].name);
            assert_int_equal(list[i].position.next, list[i].partition == 2 ? 42 : -1);
        }
        total += n;
        free(list);
    }
    assert_int_equal(total, 10);
    assert_int_equal(shard_partitions(&list, &n, unequal, 2, 0, 1, NULL, NULL, &err), 0);
    assert_int_equal(n, 9);
    free(list);
    list = NULL;
    assert_int_equal(shard_partitions(&list, &n, unequal, 2, 0, 2, NULL, NULL, &err),
                     UNDINE_ECONFIG);
    assert_int_equal(shard_partitions(&list, &n, equal, 2, 5, 6, NULL, NULL, &err), UNDINE_ECONFIG);
    assert_int_equal(shard_partitions(&list, &n, equal, 2, 0, 1, position_of_2, &err, &err),
                     UNDINE_ECORRUPT);
    assert_null(list);
}

static void test_topic_changed(void **state)
{
    (void)state;
    const struct source_topic t = {"a", 5};
    struct undine_err err = {0};
    assert_int_equal(shard_topic_changed(&t, 5, 1, &err), 0);
    assert_int_equal(shard_topic_changed(&t, 6, 1, &err), UNDINE_EIO);
    assert_non_null(strstr(err.msg, "from 5 to 6"));
    assert_int_equal(shard_topic_changed(&t, 6, 2, &err), UNDINE_ELOSS);
    assert_int_equal(shard_topic_changed(&t, 4, 1, &err), UNDINE_ELOSS);
    assert_int_equal(shard_topic_changed(&t, 0, 1, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "`a` was deleted"));
}

struct set_keys {
    char text[2048];
};

static int note_key(void *conf, const char *key, const char *value, struct undine_err *err)
{
    struct set_keys *k = conf;
    (void)err;
    size_t len = strlen(k->text);
    snprintf(k->text + len, sizeof k->text - len, "%s=%s;", key, value);
    return 0;
}

static void test_conf(void **state)
{
    (void)state;
    struct set_keys keys = {""};
    struct undine_err err = {0};
    struct source_kafka_option pass[] = {{"client.id", "mine"}, {"security.protocol", "ssl"}};
    struct source_kafka_options opt = {.brokers = "b:1", .group = "g", .pass = pass, .n_pass = 2};
    assert_int_equal(kafka_conf_set_all(&opt, note_key, &keys, &err), 0);
    const char *preset = strstr(keys.text, "client.id=undine;");
    const char *passed = strstr(keys.text, "client.id=mine;");
    assert_true(preset != NULL && passed > preset);
    assert_non_null(strstr(passed, "auto.offset.reset=error;"));
    assert_non_null(strstr(passed, "enable.auto.commit=false;"));
    assert_non_null(strstr(passed, "bootstrap.servers=b:1;"));
    assert_non_null(strstr(passed, "group.id=g;"));
    /* What is set last cannot be passed: none of it may be overruled unseen. */
    for (const char *at = strstr(passed, "enable.auto.commit"); at != NULL && *at != '\0';
         at = strchr(at, ';') + 1) {
        char key[96];
        assert_int_equal(sscanf(at, "%95[^=]", key), 1);
        assert_non_null(source_kafka_key_refused(key));
    }
    strcpy(pass[0].key, "auto.offset.reset");
    assert_int_equal(kafka_conf_set_all(&opt, note_key, &keys, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "auto.offset.reset"));
}

static void test_auth_hint(void **state)
{
    (void)state;
    struct undine_err err = {0};
    assert_int_equal(kafka_auth_refused(&err, "SASL PLAIN: invalid password"), UNDINE_EIO);
    assert_null(strstr(err.msg, "2.6.1"));
    assert_int_equal(kafka_auth_refused(&err, "invalid credentials with SCRAM-SHA-256"),
                     UNDINE_EIO);
    assert_non_null(strstr(err.msg, "2.6.1"));
}

static void count_tick(void *arg)
{
    (void)atomic_fetch_add((atomic_int *)arg, 1);
}

static void test_ticker(void **state)
{
    (void)state;
    atomic_int n = 0;
    struct ticker *t = NULL;
    assert_int_equal(ticker_start(&t, count_tick, &n, 5, NULL), 0);
    struct timespec wait = {.tv_sec = 0, .tv_nsec = 10000000};
    for (int i = 0; i < 500 && atomic_load(&n) < 3; i++) {
        (void)nanosleep(&wait, NULL);
    }
    assert_true(atomic_load(&n) >= 3);
    ticker_stop(t);
    int stopped = atomic_load(&n);
    (void)nanosleep(&wait, NULL);
    (void)nanosleep(&wait, NULL);
    assert_int_equal(atomic_load(&n), stopped);
    ticker_stop(NULL);
    assert_int_equal(ticker_start(&t, count_tick, &n, 1000000, NULL), 0);
    ticker_stop(t); /* does not wait for the period */
}

static void set_flag(void *arg)
{
    *(int *)arg = 1;
}

static void sleep_long(void *arg)
{
    (void)arg;
    struct timespec wait = {.tv_sec = 1, .tv_nsec = 0};
    (void)nanosleep(&wait, NULL);
}

static void test_within(void **state)
{
    (void)state;
    int flag = 0;
    assert_true(within_ms(set_flag, &flag, 10000));
    assert_int_equal(flag, 1);
    int64_t start = clock_monotonic_ns();
    assert_false(within_ms(sleep_long, NULL, 20));
    assert_true(clock_monotonic_ns() - start < 900000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_which_gaps_are_asked_for_again),
                                       cmocka_unit_test(test_answers_that_differ),
                                       cmocka_unit_test(test_guard_sequence),
                                       cmocka_unit_test(test_start),
                                       cmocka_unit_test(test_fence),
                                       cmocka_unit_test(test_accept_loss),
                                       cmocka_unit_test(test_shards),
                                       cmocka_unit_test(test_topic_changed),
                                       cmocka_unit_test(test_conf),
                                       cmocka_unit_test(test_within),
                                       cmocka_unit_test(test_auth_hint),
                                       cmocka_unit_test(test_ticker)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
