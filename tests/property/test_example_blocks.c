/* What is added to the example log is what is read: random examples of random users, in commits of
 * random size, read again from any place, before and after a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "featurestore/example_log.h"
#include "tests/support/store_fixture.h"

#include <stdlib.h>

enum { EXAMPLES = 6000, USERS = 40, LENGTH = 4, WORDS_MAX = 64 };

struct expected {
    uint64_t id;
    uint64_t user;
    int64_t time_ms, emit_ms;
    enum example_kind kind;
    uint8_t counts[FIXTURE_FIELDS];
    uint64_t ids[8];
    uint32_t n_ids;
    struct {
        uint64_t words[WORDS_MAX];
        uint32_t n_words, n_steps;
    } sequence[2];
};

static char dir[FIXTURE_PATH_MAX];
static struct schema schema;
static struct store *store;
static struct users *users;
static struct example_log *log_;
static struct undine_err err;
static struct random r;
static struct expected expected[EXAMPLES];

static void open_all(void)
{
    struct users_options opt = {.cache_bytes = 20000};
    store = fixture_store(dir);
    assert_int_equal(users_open(&users, store, &schema, &opt, &err), UNDINE_OK);
    assert_int_equal(example_log_open(&log_, store, &schema, 0, &err), UNDINE_OK);
}

static void close_all(void)
{
    example_log_close(log_);
    users_close(users);
    store_close(store);
}

/* One impression of a user who clicks often, so that sequences repeat, grow and move. */
static void add_one(uint64_t seq, int64_t now_ms)
{
    struct expected *x = &expected[seq];
    uint64_t words[EVENT_WORDS_MAX];
    char name[] = {'u', (char)('0' + random_below(&r, USERS)), '\0'};
    struct event *e = fixture_event(words, &schema, &r, EVENT_IMPRESSION, now_ms, name);
    struct user *u = NULL;
    assert_int_equal(users_find(users, e->user, name, 2, &u, &err), UNDINE_OK);
    *x = (struct expected){.id = e->id,
                           .user = e->user,
                           .time_ms = now_ms,
                           .emit_ms = now_ms + 3,
                           .kind = (enum example_kind)random_below(&r, 2)};
    memcpy(x->counts, event_counts(e), sizeof x->counts);
    for (uint32_t f = 0; f < FIXTURE_FIELDS; f++) {
        x->n_ids += x->counts[f];
    }
    memcpy(x->ids, event_ids(e), x->n_ids * sizeof x->ids[0]);
    struct users_view views[2];
    for (uint32_t s = 0; s < 2; s++) {
        views[s] = users_view(users, u, s, now_ms);
        assert_true(views[s].n_words <= WORDS_MAX);
        x->sequence[s].n_words = (uint32_t)views[s].n_words;
        x->sequence[s].n_steps = views[s].n_steps;
        if (views[s].n_words > 0) {
            memcpy(x->sequence[s].words, views[s].words, views[s].n_words * sizeof(uint64_t));
        }
    }
    assert_int_equal(example_log_add(log_, e, x->kind, x->emit_ms, 0.25F, views, &err), UNDINE_OK);
    if (random_below(&r, 3) == 0) {
        assert_true(users_append(users, u, e, now_ms, EVENT_CLICK, 0, &err) >= 0);
    }
}

static void check_one(const struct example_block *b, const struct example *e,
                      const struct expected *x)
{
    assert_int_equal(e->impression, x->id);
    assert_int_equal(e->user, x->user);
    assert_int_equal(e->time_ms, x->time_ms);
    assert_int_equal(e->emit_ms, x->emit_ms);
    assert_int_equal(e->kind, x->kind);
    assert_true(e->sample_rate == 0.25F);
    assert_memory_equal(e->counts, x->counts, sizeof x->counts);
    assert_memory_equal(e->ids, x->ids, x->n_ids * sizeof x->ids[0]);
    for (uint32_t s = 0; s < 2; s++) {
        const struct example_sequence *q = &b->sequences[e->sequence[s]];
        assert_int_equal(q->n_steps, x->sequence[s].n_steps);
        assert_int_equal(q->n_words, x->sequence[s].n_words);
        if (q->n_words > 0) {
            assert_memory_equal(q->words, x->sequence[s].words, q->n_words * sizeof(uint64_t));
        }
    }
}

/* Reads everything; returns how many sequences the blocks hold. */
static uint64_t check_all(uint64_t from, uint64_t head)
{
    struct example_block b;
    uint64_t n_sequences = 0;
    example_block_init(&b);
    for (uint64_t seq = from; seq < head;) {
        assert_int_equal(example_log_read(log_, seq, &b, &err), 1);
        assert_true(b.first_seq <= seq && seq < b.first_seq + b.n_examples);
        for (uint32_t i = 0; i < b.n_examples; i++) {
            check_one(&b, &b.examples[i], &expected[b.first_seq + i]);
        }
        n_sequences += b.n_sequences;
        seq = b.first_seq + b.n_examples;
    }
    assert_int_equal(example_log_read(log_, head, &b, &err), 0);
    example_block_release(&b);
    return n_sequences;
}

static void what_is_added_is_read(void **state)
{
    (void)state;
    int64_t now_ms = 0;
    uint64_t seq = 0;
    open_all();
    while (seq < EXAMPLES) {
        uint64_t n = random_below(&r, 20) == 0 ? 2500 : random_below(&r, 200);
        for (uint64_t i = 0; i < n && seq < EXAMPLES; i++) {
            now_ms += (int64_t)random_below(&r, 2);
            add_one(seq++, now_ms);
        }
        assert_int_equal(users_stage(users, &err), UNDINE_OK);
        assert_int_equal(example_log_stage(log_, now_ms, &err), UNDINE_OK);
        assert_int_equal(store_write(store, &err), UNDINE_OK);
        users_commit(users);
        example_log_commit(log_);
        uint64_t from = random_below(&r, seq + 1);
        (void)check_all(from > 300 ? from - 300 : 0, seq);
        if (random_below(&r, 8) == 0) {
            close_all();
            open_all();
        }
    }
    uint64_t n_sequences = check_all(0, EXAMPLES);
    print_message("%d examples share %llu sequences\n", EXAMPLES, (unsigned long long)n_sequences);
    assert_true(n_sequences < EXAMPLES); /* of 2 * EXAMPLES */
    close_all();
}

static int setup(void **state)
{
    (void)state;
    r.state = FIXTURE_SEED;
    fixture_directory(dir);
    fixture_schema(&schema, LENGTH);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_added_is_read, setup, teardown),
    };
    print_message("seed %d\n", FIXTURE_SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
