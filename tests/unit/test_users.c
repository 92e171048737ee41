#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "featurestore/steps.h"
#include "featurestore/users.h"
#include "tests/support/store_fixture.h"

#include <stdlib.h>

enum { LENGTH = 3 };

static char dir[FIXTURE_PATH_MAX];
static struct schema schema;
static struct store *store;
static struct users *users;
static struct undine_err err;

static void open_users(uint64_t cache_bytes)
{
    struct users_options opt = {.cache_bytes = cache_bytes};
    store = fixture_store(dir);
    assert_int_equal(users_open(&users, store, &schema, &opt, &err), UNDINE_OK);
}

static void close_users(void)
{
    users_close(users);
    store_close(store);
    users = NULL;
    store = NULL;
}

static int setup(void **state)
{
    (void)state;
    fixture_directory(dir);
    fixture_schema(&schema, LENGTH);
    open_users(UINT64_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_users();
    fixture_remove(dir);
    return 0;
}

static struct user *find(const char *id)
{
    struct user *u = NULL;
    size_t len = strlen(id);
    assert_int_equal(users_find(users, hash_bytes(id, len), id, len, &u, &err), UNDINE_OK);
    return u;
}

static void commit(void)
{
    assert_int_equal(users_stage(users, &err), UNDINE_OK);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    users_commit(users);
}

/* A click on item with n tags 100, 101.. */
static int click(struct user *u, int64_t time_ms, uint64_t item, uint8_t n_tags)
{
    uint64_t words[EVENT_WORDS_MAX];
    const uint8_t counts[FIXTURE_FIELDS] = {0, item != 0, n_tags, 0};
    uint64_t ids[8];
    uint32_t n = 0;
    if (item != 0) {
        ids[n++] = item;
    }
    for (uint8_t i = 0; i < n_tags; i++) {
        ids[n++] = 100U + i;
    }
    struct event head = {.kind = EVENT_IMPRESSION, .time_ms = time_ms};
    (void)event_build(words, &head, &schema, counts, ids, "?", 1);
    return users_append(users, u, (const struct event *)words, time_ms, EVENT_CLICK, 0, &err);
}

static int behave(struct user *u, int64_t time_ms, uint64_t item, uint32_t behavior)
{
    uint64_t words[EVENT_WORDS_MAX];
    const uint8_t counts[FIXTURE_FIELDS] = {0, 1, 0, 0};
    struct event head = {.kind = EVENT_BEHAVIOR, .time_ms = time_ms};
    (void)event_build(words, &head, &schema, counts, &item, "?", 1);
    return users_append(users, u, (const struct event *)words, time_ms, EVENT_BEHAVIOR, behavior,
                        &err);
}

/* The items of the view's steps as digits: 123 = steps of items 1, 2, 3. */
static uint64_t seen(struct user *u, uint32_t sequence, int64_t time_ms)
{
    struct users_view v = users_view(users, u, sequence, time_ms);
    uint64_t digits = 0;
    const uint64_t *at = v.words;
    for (uint32_t i = 0; i < v.n_steps; i++) {
        digits = digits * 10 + at[2];
        at += step_words(at);
    }
    assert_true(at == v.words + v.n_words);
    return digits;
}

static void a_view_is_strictly_before_and_newest(void **state)
{
    (void)state;
    struct user *u = find("ann");
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(click(u, i * 10, (uint64_t)i, (uint8_t)(i % 3)), 1);
    }
    assert_int_equal(seen(u, FIXTURE_CLICKS, 1000), 345);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 50), 34); /* not its own time; 1 and 2 are dropped */
    assert_int_equal(users_stats(users)->steps_dropped, 2);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 51), 345);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 5), 0);
    assert_int_equal(seen(u, FIXTURE_INTENTS, 1000), 0);
    assert_int_equal(behave(u, 60, 7, FIXTURE_CART), 1);
    assert_int_equal(behave(u, 60, 8, FIXTURE_LIKE), 1);
    assert_int_equal(seen(u, FIXTURE_INTENTS, 1000), 78);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 1000), 345);
}

static void the_same_step_twice_and_none_at_all(void **state)
{
    (void)state;
    struct user *u = find("ann");
    assert_int_equal(click(u, 10, 1, 2), 1);
    assert_int_equal(click(u, 10, 2, 2), 1);
    assert_int_equal(click(u, 10, 1, 2), 0);
    assert_int_equal(click(u, 10, 1, 1), 1); /* other tags */
    assert_int_equal(click(u, 11, 1, 1), 1); /* other time */
    assert_int_equal(click(u, 12, 0, 0), 0);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 1000), 211);
    assert_int_equal(users_stats(users)->steps_duplicate, 1);
    assert_int_equal(users_stats(users)->steps_empty, 1);
    assert_int_equal(users_stats(users)->steps_appended, 4);
}

static void a_pin_keeps_what_it_saw(void **state)
{
    (void)state;
    struct user *u = find("ann");
    for (int i = 1; i <= 3; i++) {
        (void)click(u, i * 10, (uint64_t)i, 0);
    }
    assert_int_equal(users_pin(users, u, 30, &err), UNDINE_OK); /* sees 12 */
    assert_int_equal(users_pin(users, u, 25, &err), UNDINE_OK); /* any order */
    assert_int_equal(users_pin(users, u, 30, &err), UNDINE_OK); /* a multiset */
    for (int i = 4; i <= 9; i++) {
        (void)click(u, i * 10, (uint64_t)i, 0);
    }
    assert_int_equal(seen(u, FIXTURE_CLICKS, 30), 12);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 1000), 789);
    users_unpin(users, u, 25);
    users_unpin(users, u, 30);
    (void)click(u, 95, 1, 0);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 30), 12);
    commit();
    close_users(); /* a pinned view survives a restart */
    open_users(0);
    u = find("ann");
    assert_int_equal(users_pin(users, u, 30, &err), UNDINE_OK);
    commit();
    assert_int_equal(seen(u, FIXTURE_CLICKS, 30), 12);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 1000), 891);
    users_unpin(users, u, 30);
    (void)click(u, 99, 2, 0);
    assert_int_equal(seen(u, FIXTURE_CLICKS, 30), 0); /* nothing holds it any more */
    assert_int_equal(seen(u, FIXTURE_CLICKS, 1000), 912);
}

static void users_come_back_from_the_store(void **state)
{
    (void)state;
    (void)click(find("ann"), 10, 1, 5);
    (void)behave(find("ann"), 11, 4, FIXTURE_CART);
    (void)click(find("bob"), 12, 2, 0);
    (void)find("cid"); /* nothing to store */
    commit();
    assert_int_equal(users_stats(users)->written, 2);
    commit();
    assert_int_equal(users_stats(users)->written, 2); /* nothing changed */
    close_users();
    open_users(UINT64_MAX);
    const uint64_t hashes[] = {hash_bytes("bob", 3), hash_bytes("ann", 3), hash_bytes("dan", 3),
                               hash_bytes("ann", 3)};
    assert_int_equal(users_prefetch(users, hashes, 4, &err), UNDINE_OK);
    assert_int_equal(users_stats(users)->misses, 3);
    assert_int_equal(users_stats(users)->loads, 2);
    assert_int_equal(seen(find("ann"), FIXTURE_CLICKS, 1000), 1);
    assert_int_equal(seen(find("ann"), FIXTURE_INTENTS, 1000), 4);
    assert_int_equal(seen(find("bob"), FIXTURE_CLICKS, 1000), 2);
    assert_int_equal(seen(find("dan"), FIXTURE_CLICKS, 1000), 0);
    assert_int_equal(users_stats(users)->misses, 3);
    assert_int_equal(users_stats(users)->hits, 4);
    assert_int_equal(users_stats(users)->collisions, 0);
}

static void two_ids_of_one_hash_are_counted(void **state)
{
    (void)state;
    struct user *a = NULL, *b = NULL;
    assert_int_equal(users_find(users, 77, "ann", 3, &a, &err), UNDINE_OK);
    assert_int_equal(users_find(users, 77, "bob", 3, &b, &err), UNDINE_OK);
    assert_ptr_equal(a, b);
    assert_int_equal(users_stats(users)->collisions, 1);
    assert_int_equal(users_find(users, 77, NULL, 0, &b, &err), UNDINE_OK);
    assert_int_equal(users_stats(users)->collisions, 1);
    /* Unknown and unnamed: made empty, named by the next event. */
    assert_int_equal(users_find(users, 78, NULL, 0, &a, &err), UNDINE_OK);
    assert_int_equal(users_find(users, 78, "cid", 3, &b, &err), UNDINE_OK);
    assert_ptr_equal(a, b);
    assert_int_equal(users_find(users, 78, "dan", 3, &b, &err), UNDINE_OK);
    assert_int_equal(users_stats(users)->collisions, 2);
}

static void a_forgotten_user_is_gone(void **state)
{
    (void)state;
    (void)click(find("ann"), 10, 1, 0);
    (void)click(find("bob"), 10, 2, 0);
    commit();
    assert_int_equal(users_forget(users, find("ann"), &err), UNDINE_OK);
    assert_int_equal(seen(find("ann"), FIXTURE_CLICKS, 1000), 0); /* before the commit */
    assert_int_equal(users_forget(users, find("bob"), &err), UNDINE_OK);
    (void)click(find("bob"), 5, 3, 0); /* came again at once, with an older clock even */
    commit();
    close_users();
    open_users(UINT64_MAX);
    assert_int_equal(seen(find("ann"), FIXTURE_CLICKS, 1000), 0);
    assert_int_equal(users_stats(users)->loads, 0);
    assert_int_equal(seen(find("bob"), FIXTURE_CLICKS, 1000), 3);
    assert_int_equal(users_stats(users)->loads, 1);
}

static void memory_is_bounded_by_eviction(void **state)
{
    (void)state;
    enum { USERS = 5000, BOUND = 400000 };
    close_users();
    open_users(BOUND);
    struct user *pinned = find("pinned");
    (void)click(pinned, 1, 9, 0);
    assert_int_equal(users_pin(users, pinned, 50, &err), UNDINE_OK);
    for (uint64_t i = 0; i < USERS; i++) {
        struct user *u = NULL;
        assert_int_equal(users_find(users, i * 1024, "x", 1, &u, &err), UNDINE_OK);
        (void)click(u, 10, 1 + i % 9, (uint8_t)(i % 6));
        if (i % 100 == 99) {
            commit();
            assert_true(users_stats(users)->bytes <= BOUND);
        }
    }
    assert_true(users_stats(users)->evictions > USERS / 2);
    assert_int_equal(seen(pinned, FIXTURE_CLICKS, 50), 9);
    for (uint64_t i = 0; i < USERS; i++) {
        struct user *u = NULL;
        assert_int_equal(users_find(users, i * 1024, "x", 1, &u, &err), UNDINE_OK);
        assert_int_equal(seen(u, FIXTURE_CLICKS, 50), 1 + i % 9);
        if (i % 100 == 99) {
            commit();
        }
    }
    users_unpin(users, pinned, 50);
}

static void a_damaged_value_is_refused(void **state)
{
    (void)state;
    (void)click(find("ann"), 10, 1, 3);
    commit();
    uint8_t key[8];
    bytes_put_be64(key, hash_bytes("ann", 3));
    store_put(store, STORE_SEQUENCE, key, sizeof key, "\1\2\3", 3);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    close_users();
    open_users(UINT64_MAX);
    struct user *u = NULL;
    uint64_t hash = hash_bytes("ann", 3);
    assert_int_equal(users_find(users, hash, "ann", 3, &u, &err), UNDINE_ECORRUPT);
    assert_int_equal(users_prefetch(users, &hash, 1, &err), UNDINE_ECORRUPT);
    assert_int_equal(users_find(users, hash, "ann", 3, &u, &err), UNDINE_ECORRUPT);
    assert_null(u);
    store_put(store, STORE_SEQUENCE, key, sizeof key, "\2\2\3\0\0\0\0\0", 8);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    assert_int_equal(users_find(users, hash, "ann", 3, &u, &err), UNDINE_EVERSION);
}

static void a_stored_value_is_decoded_for_inspect(void **state)
{
    (void)state;
    struct users_view views[SCHEMA_SEQUENCES_MAX];
    struct writer value, id, words;
    writer_init(&value);
    writer_init(&id);
    writer_init(&words);
    (void)click(find("ann"), 10, 1, 2);
    (void)behave(find("ann"), 20, 2, FIXTURE_LIKE);
    commit();
    uint8_t key[8];
    bytes_put_be64(key, hash_bytes("ann", 3));
    assert_int_equal(store_get(store, STORE_SEQUENCE, key, sizeof key, &value, &err), 1);
    assert_int_equal(users_decode(&schema, value.data, value.len, &id, views, &words, &err),
                     UNDINE_OK);
    assert_int_equal(id.len, 3);
    assert_memory_equal(id.data, "ann", 3);
    assert_int_equal(views[FIXTURE_CLICKS].n_steps, 1);
    const uint64_t step[] = {10, 0x0201, 1, 100, 101};
    assert_int_equal(views[FIXTURE_CLICKS].n_words, 5);
    assert_memory_equal(views[FIXTURE_CLICKS].words, step, sizeof step);
    assert_int_equal(views[FIXTURE_INTENTS].n_words, 3);
    for (size_t len = 0; len < value.len; len++) {
        assert_int_equal(users_decode(&schema, value.data, len, &id, views, &words, &err),
                         UNDINE_ECORRUPT);
    }
    writer_release(&value);
    writer_release(&id);
    writer_release(&words);
}

/* The same rule for steps that are read from the store. */
/* Short ids lie in the user itself, long ones do not; and the store is asked whoever is unknown. */
static void ids_of_any_length(void **state)
{
    (void)state;
    static const size_t lengths[] = {1, 8, 15, 16, 17, 32, 255};
    enum { N = sizeof lengths / sizeof lengths[0] };
    char id[256];
    memset(id, 'x', sizeof id);
    for (uint64_t hash = 1; hash <= N; hash++) {
        struct user *u = NULL;
        assert_int_equal(users_find(users, hash, id, lengths[hash - 1], &u, &err), UNDINE_OK);
        assert_int_equal(click(u, 10, hash, 0), 1);
    }
    commit();
    for (int round = 0; round < 2; round++) {
        assert_int_equal(users_stats(users)->collisions, 0);
        for (uint64_t hash = 1; hash <= N; hash++) {
            struct user *u = NULL;
            size_t len = lengths[hash - 1];
            assert_int_equal(users_find(users, hash, id, len, &u, &err), UNDINE_OK);
            assert_int_equal(seen(u, FIXTURE_CLICKS, 11), hash);
            assert_int_equal(users_stats(users)->collisions, hash - 1);
            id[len - 1]++; /* another user of the same hash */
            assert_int_equal(users_find(users, hash, id, len, &u, &err), UNDINE_OK);
            id[len - 1]--;
            assert_int_equal(users_stats(users)->collisions, hash);
        }
        close_users(); /* the second round reads them from the store */
        open_users(UINT64_MAX);
    }
    const uint64_t hashes[] = {N, N + 1, 1};
    assert_int_equal(users_prefetch(users, hashes, 3, &err), UNDINE_OK);
    assert_int_equal(users_stats(users)->misses, 3);
    assert_int_equal(users_stats(users)->loads, 2);
}

static void stored_steps_are_viewed_alike(void **state)
{
    (void)state;
    static const uint64_t words[] = {10, 1, 7, 20, 2, 8, 9, 20, 1, 3, 30, 0x0101, 4, 5};
    const struct users_view all = {words, sizeof words / sizeof words[0], 4};
    static const struct {
        uint32_t length;
        int64_t time_ms;
        size_t from, to;
        uint32_t n;
    } cases[] = {{9, 10, 0, 0, 0},  {9, 11, 0, 3, 1},        {9, 20, 0, 3, 1},
                 {9, 21, 0, 10, 3}, {2, 21, 3, 10, 2},       {1, 31, 10, 14, 1},
                 {9, 31, 0, 14, 4}, {3, INT64_MAX, 3, 14, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct users_view v = users_view_before(&all, cases[i].length, cases[i].time_ms);
        assert_int_equal(v.n_steps, cases[i].n);
        assert_int_equal(v.n_words, cases[i].to - cases[i].from);
        assert_true(v.n_steps == 0 || v.words == words + cases[i].from);
    }
    const struct users_view none = {NULL, 0, 0};
    assert_int_equal(users_view_before(&none, 5, 100).n_steps, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_view_is_strictly_before_and_newest),
        TEST(the_same_step_twice_and_none_at_all),
        TEST(a_pin_keeps_what_it_saw),
        TEST(users_come_back_from_the_store),
        TEST(two_ids_of_one_hash_are_counted),
        TEST(a_forgotten_user_is_gone),
        TEST(memory_is_bounded_by_eviction),
        TEST(a_damaged_value_is_refused),
        TEST(a_stored_value_is_decoded_for_inspect),
        TEST(ids_of_any_length),
        cmocka_unit_test(stored_steps_are_viewed_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
