#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "featurestore/example_log.h"
#include "tests/support/store_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARD = 2 };

static char dir[FIXTURE_PATH_MAX];
static struct schema schema;
static struct store *store;
static struct example_log *log_;
static struct example_block block;
static struct undine_err err;
static struct random r;

static void open_log(void)
{
    store = fixture_store(dir);
    assert_int_equal(example_log_open(&log_, store, &schema, SHARD, &err), UNDINE_OK);
    example_block_init(&block);
}

static void close_log(void)
{
    example_block_release(&block);
    example_log_close(log_);
    store_close(store);
}

static int setup(void **state)
{
    (void)state;
    r.state = FIXTURE_SEED;
    fixture_directory(dir);
    fixture_schema(&schema, 3);
    open_log();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_log();
    fixture_remove(dir);
    return 0;
}

/* Two steps of `clicks` and none of `intents`. */
static const uint64_t click_steps[] = {10, 0x0001, 7, 20, 0x0201, 8, 100, 101};

static void add(uint64_t id, int64_t emit_ms, enum example_kind kind)
{
    uint64_t words[EVENT_WORDS_MAX];
    struct event *e = fixture_event(words, &schema, &r, EVENT_IMPRESSION, emit_ms - 5, "ann");
    const struct users_view views[] = {{.words = click_steps, .n_words = 8, .n_steps = 2}, {0}};
    e->id = id;
    assert_int_equal(example_log_add(log_, e, kind, emit_ms, 0.5F, views, &err), UNDINE_OK);
}

static void commit(int64_t watermark_ms)
{
    assert_int_equal(example_log_stage(log_, watermark_ms, &err), UNDINE_OK);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    example_log_commit(log_);
}

static void nothing_is_readable_before_its_commit(void **state)
{
    (void)state;
    assert_int_equal(example_log_head(log_), 0);
    assert_int_equal(example_log_watermark(log_), INT64_MIN);
    assert_int_equal(example_log_read(log_, 0, &block, &err), 0);
    add(1, 100, EXAMPLE_POSITIVE);
    add(2, 100, EXAMPLE_NEGATIVE);
    assert_int_equal(example_log_stage(log_, 101, &err), UNDINE_OK);
    assert_int_equal(example_log_read(log_, 0, &block, &err), 0);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    assert_int_equal(example_log_head(log_), 0);
    example_log_commit(log_);
    assert_int_equal(example_log_head(log_), 2);
    assert_int_equal(example_log_watermark(log_), 101);
    assert_int_equal(example_log_backlog(log_), 2);
    assert_int_equal(example_log_read(log_, 0, &block, &err), 1);
    assert_int_equal(block.first_seq, 0);
    assert_int_equal(block.shard, SHARD);
    assert_int_equal(block.n_examples, 2);
    assert_int_equal(block.n_sequences, 2); /* the user's clicks once, and no intents */
    const struct example *e = &block.examples[1];
    assert_int_equal(e->impression, 2);
    assert_int_equal(e->user, hash_bytes("ann", 3));
    assert_int_equal(e->time_ms, 95);
    assert_int_equal(e->emit_ms, 100);
    assert_int_equal(e->kind, EXAMPLE_NEGATIVE);
    assert_true(e->sample_rate == 0.5F);
    const struct example_sequence *q = &block.sequences[e->sequence[FIXTURE_CLICKS]];
    assert_int_equal(q->n_steps, 2);
    assert_memory_equal(q->words, click_steps, sizeof click_steps);
    assert_int_equal(block.sequences[e->sequence[FIXTURE_INTENTS]].n_steps, 0);
    assert_int_equal(example_log_read(log_, 2, &block, &err), 0);
    example_log_consumed(log_, 2);
    assert_int_equal(example_log_backlog(log_), 0);
}

static void a_forgotten_user_is_named_by_its_ids(void **state)
{
    (void)state;
    uint64_t words[EVENT_WORDS_MAX];
    struct event *e = fixture_event(words, &schema, &r, EVENT_FORGET, 50, "ann");
    assert_int_equal(example_log_add(log_, e, EXAMPLE_FORGET, 50, 1.0F, NULL, &err), UNDINE_OK);
    commit(51);
    assert_int_equal(example_log_read(log_, 0, &block, &err), 1);
    const struct example *x = &block.examples[0];
    const uint8_t counts[FIXTURE_FIELDS] = {1, 0, 0, 0};
    assert_int_equal(x->kind, EXAMPLE_FORGET);
    assert_int_equal(x->user, hash_bytes("ann", 3));
    assert_memory_equal(x->counts, counts, sizeof counts);
    assert_int_equal(x->ids[0], hash_feature(hash_table_seed("user"), "ann", 3));
    assert_int_equal(block.sequences[x->sequence[FIXTURE_CLICKS]].n_steps, 0);
}

static void the_log_goes_on_after_a_restart(void **state)
{
    (void)state;
    add(1, 100, EXAMPLE_POSITIVE);
    commit(110);
    commit(120); /* the watermark alone */
    add(2, 130, EXAMPLE_POSITIVE);
    assert_int_equal(example_log_stage(log_, 140, &err), UNDINE_OK); /* never written */
    close_log();
    open_log();
    assert_int_equal(example_log_head(log_), 1);
    assert_int_equal(example_log_tail(log_), 0);
    assert_int_equal(example_log_watermark(log_), 120);
    add(3, 125, EXAMPLE_POSITIVE);
    commit(126);
    assert_int_equal(example_log_read(log_, 1, &block, &err), 1);
    assert_int_equal(block.first_seq, 1);
    assert_int_equal(block.examples[0].impression, 3);
}

/* Five blocks of ten. */
static void fill(void)
{
    for (uint64_t i = 0; i < 50; i++) {
        add(i, (int64_t)i, EXAMPLE_NEGATIVE);
        if (i % 10 == 9) {
            commit((int64_t)i + 1);
        }
    }
}

static void any_seq_finds_its_block(void **state)
{
    (void)state;
    fill();
    for (uint64_t seq = 0; seq < 50; seq++) {
        assert_int_equal(example_log_read(log_, seq, &block, &err), 1);
        assert_int_equal(block.first_seq, seq / 10 * 10);
        assert_int_equal(block.examples[seq % 10].impression, seq);
    }
}

static void only_whole_blocks_are_trimmed(void **state)
{
    (void)state;
    fill();
    example_log_consumed(log_, 35);
    example_log_trim(log_, 25);
    example_log_trim(log_, 12); /* never back */
    assert_int_equal(example_log_tail(log_), 0);
    commit(60);
    assert_int_equal(example_log_tail(log_), 20);
    assert_int_equal(example_log_read(log_, 19, &block, &err), UNDINE_ENOTFOUND);
    assert_int_equal(example_log_read(log_, 20, &block, &err), 1);
    assert_int_equal(example_log_read(log_, 24, &block, &err), 1);
    close_log();
    open_log();
    assert_int_equal(example_log_tail(log_), 20);
    assert_int_equal(example_log_backlog(log_), 30);
    example_log_trim(log_, 1000); /* all there is */
    add(50, 70, EXAMPLE_POSITIVE);
    commit(71);
    assert_int_equal(example_log_tail(log_), 50);
    assert_int_equal(example_log_read(log_, 49, &block, &err), UNDINE_ENOTFOUND);
    assert_int_equal(example_log_read(log_, 50, &block, &err), 1);
    assert_int_equal(example_log_backlog(log_), 1);
}

static void large_commits_are_cut_into_blocks(void **state)
{
    (void)state;
    enum { N = 5000 };
    for (uint64_t i = 0; i < N; i++) {
        add(i, 10, i % 7 == 0 ? EXAMPLE_POSITIVE : EXAMPLE_NEGATIVE);
    }
    commit(11);
    uint64_t seq = 0;
    uint32_t n_blocks = 0;
    while (seq < N) {
        assert_int_equal(example_log_read(log_, seq, &block, &err), 1);
        assert_int_equal(block.first_seq, seq);
        assert_int_equal(block.examples[0].impression, seq);
        seq += block.n_examples;
        n_blocks++;
    }
    assert_int_equal(seq, N);
    assert_int_equal(n_blocks, 3);
}

static void damaged_blocks_are_refused(void **state)
{
    (void)state;
    add(1, 100, EXAMPLE_POSITIVE);
    commit(101);
    struct writer whole;
    writer_init(&whole);
    uint8_t key[8] = {0};
    assert_int_equal(store_get(store, STORE_EXAMPLE, key, sizeof key, &whole, &err), 1);
    for (size_t cut = 0; cut < whole.len; cut++) {
        writer_clear(&block.bytes);
        writer_bytes(&block.bytes, whole.data, cut);
        assert_int_equal(example_block_parse(&block, &schema, &err), UNDINE_ECORRUPT);
        assert_int_equal(block.n_examples, 0);
    }
    writer_clear(&block.bytes);
    writer_bytes(&block.bytes, whole.data, whole.len);
    struct schema other;
    fixture_schema(&other, 4);
    assert_int_equal(example_block_parse(&block, &other, &err), UNDINE_ESTATE);
    block.bytes.data[0] = 2;
    assert_int_equal(example_block_parse(&block, &schema, &err), UNDINE_EVERSION);
    store_delete(store, STORE_EXAMPLE, key, sizeof key);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    assert_int_equal(example_log_read(log_, 0, &block, &err), UNDINE_ECORRUPT);
    writer_release(&whole);
}

static void waits_end_by_time_and_by_stop(void **state)
{
    (void)state;
    add(1, 100, EXAMPLE_POSITIVE);
    commit(101);
    example_log_wait(log_, 1, 200, 5); /* nothing comes */
    example_log_wait(log_, 0, 200, 100000);
    example_log_wait(log_, 1, 100, 100000);
    assert_true(example_log_wait_room(log_, 2, 100000));
    assert_false(example_log_wait_room(log_, 1, 5));
    assert_false(example_log_wait_room(log_, 1, 0));
    assert_false(example_log_stopped(log_));
    example_log_stop(log_);
    example_log_stop(log_);
    assert_true(example_log_stopped(log_));
    assert_false(example_log_wait_room(log_, 1, 100000));
    example_log_wait(log_, 1, 200, 100000);
}

/* ---- two threads ---- */

enum { STREAM = 6000, BACKLOG_MAX = 300, COMMIT = 37 };

static void *learner(void *payload)
{
    uint64_t *sum = payload;
    struct example_block b;
    struct undine_err e;
    uint64_t seq = 0;
    example_block_init(&b);
    while (seq < STREAM) {
        int rc = example_log_read(log_, seq, &b, &e);
        if (rc < 0) {
            break;
        }
        if (rc == 0) {
            example_log_wait(log_, seq, INT64_MAX, 100);
            continue;
        }
        for (uint64_t i = seq - b.first_seq; i < b.n_examples; i++) {
            *sum += b.examples[i].impression;
        }
        seq = b.first_seq + b.n_examples;
        example_log_consumed(log_, seq);
        example_log_trim(log_, seq > 500 ? seq - 500 : 0);
    }
    example_block_release(&b);
    return NULL;
}

static void ingest_and_learner_meet_in_the_log(void **state)
{
    (void)state;
    uint64_t sum = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, learner, &sum), 0);
    for (uint64_t i = 0; i < STREAM;) {
        while (!example_log_wait_room(log_, BACKLOG_MAX, 100)) {
            /* the learner is behind */
        }
        assert_true(example_log_backlog(log_) < BACKLOG_MAX);
        for (uint64_t k = 0; k < COMMIT && i < STREAM; k++, i++) {
            add(i, (int64_t)i, EXAMPLE_NEGATIVE);
        }
        commit((int64_t)i);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(sum, (uint64_t)STREAM * (STREAM - 1) / 2);
    commit(STREAM + 1);
    assert_true(example_log_tail(log_) > 0);
    assert_true(example_log_tail(log_) <= STREAM - 500);
    assert_int_equal(example_log_backlog(log_), 0);
}

/* A label is the kind of an example: one that is none is named, and nothing of its block is read.
 */
static void test_bad_input_a_label_that_is_none(void **state)
{
    (void)state;
    enum { KIND_AT = 36 }; /* behind impression, user, two times and the rate */
    static const uint32_t none[] = {EXAMPLE_KINDS, 255, 256, 257, UINT32_MAX};
    const uint64_t marked = UINT64_C(0x1122334455667788);
    add(1, 100, EXAMPLE_NEGATIVE);
    add(marked, 100, EXAMPLE_POSITIVE);
    commit(101);
    assert_int_equal(example_log_read(log_, 0, &block, &err), 1);
    uint8_t *at = NULL;
    for (size_t i = 0; at == NULL && i + KIND_AT + 4 <= block.bytes.len; i += 4) {
        at =
            memcmp(block.bytes.data + i, &marked, sizeof marked) == 0 ? block.bytes.data + i : NULL;
    }
    assert_non_null(at);
    uint32_t kind;
    memcpy(&kind, at + KIND_AT, sizeof kind);
    assert_int_equal(kind, EXAMPLE_POSITIVE);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        char expected[128];
        memcpy(at + KIND_AT, &none[i], sizeof none[i]);
        assert_int_equal(example_block_parse(&block, &schema, &err), UNDINE_ECORRUPT);
        (void)snprintf(expected, sizeof expected,
                       "example 1 is of kind %u, which is no label: expected 0..%d", none[i],
                       EXAMPLE_KINDS - 1);
        assert_non_null(strstr(err.msg, expected));
        assert_int_equal(block.n_examples, 0);
    }
    memcpy(at + KIND_AT, &kind, sizeof kind);
    assert_int_equal(example_block_parse(&block, &schema, &err), UNDINE_OK);
    assert_int_equal(block.n_examples, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(nothing_is_readable_before_its_commit),
        TEST(a_forgotten_user_is_named_by_its_ids),
        TEST(the_log_goes_on_after_a_restart),
        TEST(any_seq_finds_its_block),
        TEST(only_whole_blocks_are_trimmed),
        TEST(large_commits_are_cut_into_blocks),
        TEST(damaged_blocks_are_refused),
        TEST(test_bad_input_a_label_that_is_none),
        TEST(waits_end_by_time_and_by_stop),
        TEST(ingest_and_learner_meet_in_the_log),
    };
    print_message("seed %d\n", FIXTURE_SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
