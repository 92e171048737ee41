/* Users against a naive model that keeps every step ever taken: random appends, pins, unpins,
 * evictions, forgets and restarts must never change what a pinned view, or a view of now, shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "featurestore/steps.h"
#include "featurestore/users.h"
#include "tests/support/store_fixture.h"

#include <stdlib.h>

enum { USERS = 12, STEPS_MAX = 4000, PINS_MAX = 64, OPERATIONS = 12000, LENGTH = 5 };

struct model_step {
    int64_t time_ms;
    uint64_t words[8];
    uint32_t n_words;
};

struct model_user {
    struct model_step steps[2][STEPS_MAX];
    uint32_t n_steps[2];
    int64_t pins[PINS_MAX];
    uint32_t n_pins;
};

static char dir[FIXTURE_PATH_MAX];
static struct schema schema;
static struct store *store;
static struct users *users;
static struct undine_err err;
static struct model_user model[USERS];
static struct random r;
static int64_t now_ms;
static uint32_t duplicates;

static void open_users(void)
{
    struct users_options opt = {.cache_bytes = random_below(&r, 2) == 0 ? 0 : 30000};
    store = fixture_store(dir);
    assert_int_equal(users_open(&users, store, &schema, &opt, &err), UNDINE_OK);
}

static void close_users(void)
{
    users_close(users);
    store_close(store);
}

static void user_id(uint32_t k, char id[3])
{
    id[0] = 'u';
    id[1] = (char)('a' + k);
    id[2] = '\0';
}

static struct user *find(uint32_t k)
{
    char id[3];
    struct user *u = NULL;
    user_id(k, id);
    assert_int_equal(users_find(users, 1000 + k, id, 2, &u, &err), UNDINE_OK);
    return u;
}

/* Steps of model user k that a view at time_ms shows: [from, end). */
static void model_view(uint32_t k, uint32_t s, int64_t time_ms, uint32_t *from, uint32_t *end)
{
    uint32_t length = schema.sequences[s].length;
    *end = model[k].n_steps[s];
    while (*end > 0 && model[k].steps[s][*end - 1].time_ms >= time_ms) {
        --*end;
    }
    *from = *end > length ? *end - length : 0;
}

static void check_view(uint32_t k, struct user *u, int64_t time_ms)
{
    for (uint32_t s = 0; s < schema.n_sequences; s++) {
        uint32_t from, end;
        model_view(k, s, time_ms, &from, &end);
        struct users_view v = users_view(users, u, s, time_ms);
        assert_int_equal(v.n_steps, end - from);
        const uint64_t *at = v.words;
        for (uint32_t i = from; i < end; i++) {
            const struct model_step *m = &model[k].steps[s][i];
            assert_int_equal(step_words(at), m->n_words);
            assert_memory_equal(at, m->words, m->n_words * sizeof *at);
            at += m->n_words;
        }
        assert_true(at == v.words + v.n_words);
    }
}

/* Whether the model takes the step: not one that the newest `length` have. */
static int model_append(uint32_t k, uint32_t s, const struct model_step *step)
{
    struct model_user *m = &model[k];
    uint32_t n = m->n_steps[s], length = schema.sequences[s].length;
    for (uint32_t i = n > length ? n - length : 0; i < n; i++) {
        if (m->steps[s][i].n_words == step->n_words &&
            memcmp(m->steps[s][i].words, step->words, step->n_words * 8) == 0) {
            return 0;
        }
    }
    assert_true(n < STEPS_MAX);
    m->steps[s][m->n_steps[s]++] = *step;
    return 1;
}

static void append(uint32_t k)
{
    uint64_t words[EVENT_WORDS_MAX];
    char id[3];
    user_id(k, id);
    struct event *e = fixture_event(words, &schema, &r, EVENT_BEHAVIOR, now_ms, id);
    /* Few items and tags, so that equal steps of one time do come up. */
    uint32_t n, n_tags;
    uint64_t *ids = words + (event_ids(e) - words);
    ids[0] = 1 + ids[0] % 2;
    uint64_t *tags = words + 8;
    bool click = random_below(&r, 3) > 0;
    uint32_t s = click ? FIXTURE_CLICKS : FIXTURE_INTENTS;
    (void)event_field(e, FIXTURE_TAGS, &n_tags);
    for (uint32_t i = 0; i < n_tags; i++) {
        tags[i] = 1 + tags[i] % 2;
    }
    struct model_step step = {.time_ms = now_ms, .n_words = 2};
    step.words[0] = (uint64_t)now_ms;
    for (uint32_t f = 0; f < schema.sequences[s].n_fields; f++) {
        const uint64_t *from = event_field(e, schema.sequences[s].field[f], &n);
        step.words[1] |= (uint64_t)n << 8 * f;
        for (uint32_t i = 0; i < n; i++) {
            step.words[step.n_words++] = from[i];
        }
    }
    for (uint64_t times = random_below(&r, 4) == 0 ? 2 : 1; times > 0; times--) {
        int taken = users_append(users, find(k), e, now_ms, click ? EVENT_CLICK : EVENT_BEHAVIOR,
                                 e->behavior, &err);
        assert_int_equal(taken, model_append(k, s, &step));
        duplicates += taken == 0 ? 1 : 0;
    }
}

static void commit(void)
{
    assert_int_equal(users_stage(users, &err), UNDINE_OK);
    assert_int_equal(store_write(store, &err), UNDINE_OK);
    users_commit(users);
}

static void restart(void)
{
    commit();
    close_users();
    open_users();
    for (uint32_t k = 0; k < USERS; k++) {
        struct user *u = model[k].n_pins > 0 ? find(k) : NULL;
        for (uint32_t i = model[k].n_pins; i > 0; i--) { /* not in their first order */
            assert_int_equal(users_pin(users, u, model[k].pins[i - 1], &err), UNDINE_OK);
        }
    }
}

static void operate(uint32_t k)
{
    struct model_user *m = &model[k];
    uint64_t what = random_below(&r, 100);
    if (what < 50) {
        append(k);
    } else if (what < 65 && m->n_pins < PINS_MAX) {
        now_ms++; /* an impression comes before every step of its time */
        assert_int_equal(users_pin(users, find(k), now_ms, &err), UNDINE_OK);
        m->pins[m->n_pins++] = now_ms;
    } else if (what < 83 && m->n_pins > 0) {
        uint64_t i = random_below(&r, m->n_pins);
        users_unpin(users, find(k), m->pins[i]);
        m->pins[i] = m->pins[--m->n_pins];
    } else if (what < 90) {
        commit();
    } else if (what < 91) {
        restart();
    } else if (what < 92 && m->n_pins == 0) {
        assert_int_equal(users_forget(users, find(k), &err), UNDINE_OK);
        m->n_steps[0] = m->n_steps[1] = 0;
    } else {
        uint64_t hashes[USERS];
        for (uint32_t i = 0; i < USERS; i++) {
            hashes[i] = 1000 + random_below(&r, USERS);
        }
        assert_int_equal(users_prefetch(users, hashes, USERS, &err), UNDINE_OK);
    }
}

static void users_equal_a_naive_model(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < OPERATIONS; n++) {
        uint32_t k = (uint32_t)random_below(&r, USERS);
        now_ms += random_below(&r, 8) == 0 ? 1 : 0;
        operate(k);
        struct user *u = find(k);
        check_view(k, u, now_ms + 1);
        for (uint32_t i = 0; i < model[k].n_pins; i++) {
            check_view(k, u, model[k].pins[i]);
        }
    }
    assert_true(users_stats(users)->evictions > 0);
    assert_true(duplicates > 100);
}

static int setup(void **state)
{
    (void)state;
    r.state = FIXTURE_SEED;
    now_ms = 1000;
    memset(model, 0, sizeof model);
    fixture_directory(dir);
    fixture_schema(&schema, LENGTH);
    open_users();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_users();
    fixture_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(users_equal_a_naive_model, setup, teardown),
    };
    print_message("seed %d\n", FIXTURE_SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
