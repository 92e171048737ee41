/* The scorer on deltas: every answer is that of the trainer's model at the version's moment; what
 * goes is unknown with the next delta; a chain that is not whole is refused and told of, and the
 * one in use stays; eight threads score while deltas and full versions come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version_merge.h"
#include "learner/version_publish.h"
#include "scorer/undine.h"
#include "tests/support/chain_world.h"
#include "tests/support/direct_score.h"
#include "tests/support/random_request.h"
#include "tests/support/version_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REQUESTS = 6, CANDIDATES = 8, IDS = CHAIN_WORLD_IDS + 4, VERSIONS_MAX = 96 };

static char dir[VERSION_PATH_MAX];
static struct arena arena;
static struct undine_request request[REQUESTS];
static float want[VERSIONS_MAX][REQUESTS][CANDIDATES];

static int set_up(void **state)
{
    (void)state;
    struct random random = {3};
    version_fixture_temp_dir(dir);
    arena_init(&arena, 0);
    for (size_t i = 0; i < REQUESTS; i++) {
        request[i] = random_request(&arena, &random, CANDIDATES, IDS);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_release(&arena);
    version_fixture_remove(dir);
    return 0;
}

struct world {
    struct chain_world w;
    struct version_chain *chain;
    struct version_info info;
};

/* What version `number` has to answer, from the world as it is now. */
static void expect_now(const struct world *x, uint64_t number)
{
    struct snapshot *s = chain_world_look(&x->w);
    assert_true(number < VERSIONS_MAX);
    assert_int_equal(snapshot_sort(s, NULL), UNDINE_OK);
    for (size_t i = 0; i < REQUESTS; i++) {
        direct_score(s, &request[i], want[number][i]);
    }
    snapshot_free(s);
}

/* Write and publish the next version; what it has to answer is known before. */
static void publish(struct world *x, bool delta)
{
    expect_now(x, x->info.number + 1);
    chain_world_write(&x->w, dir, &x->chain, delta, true, &x->info);
}

static void begin(struct world *x, uint64_t seed)
{
    *x = (struct world){0};
    chain_world_init(&x->w, seed, false, seed % 2 == 0);
    publish(x, false);
}

static void merge(struct world *x)
{
    struct version_merge *m = NULL;
    struct version_info merged;
    struct version_chain *next = NULL;
    struct undine_err err = {0};
    assert_int_equal(version_merge_write(&m, dir, x->chain->name, x->chain, NULL, &err), 0);
    assert_int_equal(version_merge_commit(m, 1, &merged, &err), UNDINE_OK);
    version_merge_free(m);
    assert_int_equal(version_chain_rebase(&next, dir, merged.name, x->chain, &err), UNDINE_OK);
    version_chain_close(x->chain);
    x->chain = next;
    memcpy(want[merged.number], want[x->info.number], sizeof want[0]);
    x->info = merged;
}

static void assert_scores(struct undine_session *t, uint64_t number)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        float p[CANDIDATES];
        assert_int_equal(undine_score(t, &request[i], p, NULL), 0);
        assert_int_equal(undine_session_version(t), number);
        assert_memory_equal(p, want[number][i], sizeof p);
    }
}

static void test_scores_are_those_of_the_full_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world x;
        struct undine_scorer *s = NULL, *fresh = NULL;
        struct undine_session *t = NULL, *u = NULL;
        begin(&x, seed);
        assert_int_equal(undine_scorer_open(&s, dir, NULL), 0);
        assert_int_equal(undine_session_open(&t, s, NULL), 0);
        assert_scores(t, x.info.number);
        for (unsigned i = 0; i < 12; i++) {
            if (i == 6) {
                merge(&x);
            }
            chain_world_step(&x.w, 4);
            publish(&x, true);
            assert_int_equal(undine_scorer_refresh(s, NULL), 1);
            assert_scores(t, x.info.number);
            assert_int_equal(undine_scorer_open(&fresh, dir, NULL), 0);
            assert_int_equal(undine_session_open(&u, fresh, NULL), 0);
            assert_scores(u, x.info.number);
            undine_session_close(u);
            undine_scorer_close(fresh);
        }
        char text[4096];
        assert_in_range(undine_session_describe(t, text, sizeof text, NULL), 1, sizeof text - 1);
        assert_non_null(strstr(text, "\"kind\":\"delta\",\"chain\":6,"));
        undine_session_close(t);
        undine_scorer_close(s);
        version_chain_close(x.chain);
        tear_down(NULL);
        set_up(NULL);
    }
}

/* An id that is removed scores as one that was never there, with the next delta. */
static void test_what_goes_is_unknown_with_the_next_delta(void **state)
{
    (void)state;
    enum { VIDEO = 2 };
    struct world x;
    struct undine_scorer *s = NULL;
    struct undine_session *t = NULL;
    struct undine_value id = {"5", 1}, fresh = {"never seen", 10};
    struct undine_feature f[2] = {{"video", &id, 1}, {"video", &fresh, 1}};
    struct undine_features candidates[2] = {{&f[0], 1}, {&f[1], 1}};
    struct undine_request req = {.candidates = candidates, .n_candidates = 2};
    float known[2], gone[2], back[2];
    begin(&x, 2); /* with a shared row, which is what unknown ids have */
    struct chain_world_row *row = &x.w.row[VIDEO][5];
    row->there = row->changed = true;
    publish(&x, true);
    assert_int_equal(undine_scorer_open(&s, dir, NULL), 0);
    assert_int_equal(undine_session_open(&t, s, NULL), 0);
    assert_int_equal(undine_score(t, &req, known, NULL), 0);
    assert_true(known[0] != known[1]);
    row->there = false;
    row->changed = true;
    publish(&x, true);
    assert_int_equal(undine_scorer_refresh(s, NULL), 1);
    assert_int_equal(undine_score(t, &req, gone, NULL), 0);
    assert_true(gone[0] == gone[1]);
    row->there = row->changed = true;
    publish(&x, true);
    assert_int_equal(undine_scorer_refresh(s, NULL), 1);
    assert_int_equal(undine_score(t, &req, back, NULL), 0);
    assert_true(back[0] == known[0]);
    undine_session_close(t);
    undine_scorer_close(s);
    version_chain_close(x.chain);
}

static void break_version(uint64_t number)
{
    char path[VERSION_PATH_MAX + 64];
    size_t len;
    (void)snprintf(path, sizeof path, "%s/%012u/model.safetensors", dir, (unsigned)number);
    uint8_t *bytes = version_fixture_read(path, &len);
    bytes[len - 3] ^= 4;
    (void)remove(path); /* what is mapped stays */
    version_fixture_overwrite(path, bytes, len);
    free(bytes);
}

static void test_a_chain_that_is_not_whole(void **state)
{
    (void)state;
    struct world x;
    struct undine_scorer *s = NULL, *fresh = NULL;
    struct undine_session *t = NULL, *u = NULL;
    struct undine_error why = {0};
    struct version_act act = {.at_ms = 5, .by = "test", .reason = "test"};
    uint64_t from, now;
    begin(&x, 1);
    for (unsigned i = 0; i < 3; i++) {
        chain_world_step(&x.w, 4);
        publish(&x, true); /* 2 3 4 */
    }
    assert_int_equal(undine_scorer_open(&s, dir, NULL), 0);
    assert_int_equal(undine_session_open(&t, s, NULL), 0);
    chain_world_step(&x.w, 4);
    publish(&x, true); /* 5 */
    break_version(5);
    assert_int_equal(undine_scorer_refresh(s, &why), -3);
    assert_non_null(strstr(why.message, "000000000005"));
    assert_non_null(strstr(why.message, "checksum"));
    assert_scores(t, 4);
    /* Who comes now begins with the newest that is whole, and is told with each refresh. */
    assert_int_equal(undine_scorer_open(&fresh, dir, NULL), 0);
    assert_int_equal(undine_scorer_version(fresh), 4);
    assert_int_equal(undine_session_open(&u, fresh, NULL), 0);
    assert_scores(u, 4);
    assert_int_equal(undine_scorer_refresh(fresh, &why), -3);
    assert_non_null(strstr(why.message, "000000000005"));
    assert_scores(u, 4);
    undine_session_close(u);
    undine_scorer_close(fresh);
    /* What was rolled back is not taken, whole or not. */
    assert_int_equal(version_rollback(dir, 2, &act, &from, &now, NULL), UNDINE_OK);
    assert_int_equal(undine_scorer_refresh(s, NULL), 1);
    assert_scores(t, 2);
    break_version(2);
    assert_int_equal(undine_scorer_open(&fresh, dir, NULL), 0);
    assert_int_equal(undine_scorer_version(fresh), 1);
    undine_scorer_close(fresh);
    break_version(1);
    assert_int_equal(undine_scorer_open(&fresh, dir, &why), -3);
    assert_int_equal(undine_scorer_refresh(s, NULL), 0);
    assert_scores(t, 2);
    undine_session_close(t);
    undine_scorer_close(s);
    version_chain_close(x.chain);
}

static void point_current_at(const char *text)
{
    char path[VERSION_PATH_MAX + 16], next[VERSION_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/CURRENT", dir);
    (void)snprintf(next, sizeof next, "%s/next", dir);
    version_fixture_overwrite(next, text, strlen(text));
    assert_int_equal(rename(next, path), 0);
}

/* A scorer in use is on `number` and has nothing to take; one that comes now begins there. */
static void assert_all_on(struct undine_scorer *s, uint64_t number)
{
    struct undine_scorer *fresh = NULL;
    assert_int_equal(undine_scorer_refresh(s, NULL), 0);
    assert_int_equal(undine_scorer_version(s), number);
    assert_int_equal(undine_scorer_open(&fresh, dir, NULL), 0);
    assert_int_equal(undine_scorer_version(fresh), number);
    undine_scorer_close(fresh);
}

static uint64_t opened(void)
{
    struct undine_scorer *fresh = NULL;
    assert_int_equal(undine_scorer_open(&fresh, dir, NULL), 0);
    uint64_t number = undine_scorer_version(fresh);
    undine_scorer_close(fresh);
    return number;
}

/* Whatever comes after a rollback, what was withdrawn is not scored with: not by deltas and merges
 * behind it, not by a restart of the learner, not where CURRENT or what it names is damaged. */
static void test_what_was_rolled_back_from_stays_away(void **state)
{
    (void)state;
    struct world x;
    struct undine_scorer *s = NULL;
    struct version_act act = {.at_ms = 5, .by = "test", .reason = "test"};
    struct undine_error why = {0};
    uint64_t oldest;
    begin(&x, 3);
    for (unsigned i = 0; i < 3; i++) {
        chain_world_step(&x.w, 4);
        publish(&x, true); /* 2 3 4 */
    }
    assert_int_equal(undine_scorer_open(&s, dir, NULL), 0);
    assert_int_equal(undine_scorer_version(s), 4);
    assert_int_equal(version_rollback(dir, 2, &act, NULL, NULL, NULL), UNDINE_OK);
    assert_int_equal(undine_scorer_refresh(s, NULL), 1);
    for (unsigned i = 0; i < 3; i++) { /* 5, 6 merged of 5, 7, 8 merged of 7, ... on hold */
        chain_world_step(&x.w, 4);
        publish(&x, true);
        assert_all_on(s, 2);
        merge(&x);
        assert_int_equal(version_republish(dir, &x.info, NULL), UNDINE_OK); /* a restart */
        assert_all_on(s, 2);
        assert_int_equal(version_retain(dir, 2, &oldest, NULL), UNDINE_OK);
        assert_all_on(s, 2);
    }
    static const char *const damaged[] = {"", "000000000099\n", "four", "000000000004"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        point_current_at(damaged[i]);
        assert_true(undine_scorer_refresh(s, &why) < 0);
        assert_int_equal(undine_scorer_version(s), 2);
        assert_int_equal(opened(), 2);
    }
    point_current_at("000000000002\n");
    /* Publication goes on; where the new version is damaged nobody goes back to what is withdrawn.
     */
    assert_int_equal(version_resume(dir, &act, NULL), 1);
    assert_all_on(s, 2);
    chain_world_step(&x.w, 4);
    publish(&x, true);
    assert_int_equal(x.info.number, 11);
    assert_int_equal(opened(), 11);
    break_version(11);
    assert_int_equal(opened(), 2);
    break_version(2);
    assert_int_equal(opened(), 1);
    undine_scorer_close(s);
    version_chain_close(x.chain);
}

/* A merge that was under way when its version was rolled back from is that version again, under a
 * number that nobody has withdrawn. */
static void test_a_merge_does_not_bring_back_what_was_withdrawn(void **state)
{
    (void)state;
    struct world x;
    struct version_act act = {.at_ms = 5, .by = "test", .reason = "test"};
    begin(&x, 4);
    for (unsigned i = 0; i < 3; i++) {
        chain_world_step(&x.w, 4);
        publish(&x, true); /* 2 3 4 */
    }
    assert_int_equal(version_rollback(dir, 2, &act, NULL, NULL, NULL), UNDINE_OK);
    merge(&x); /* 5, of 4 */
    assert_int_equal(version_resume(dir, &act, NULL), 1);
    assert_int_equal(version_republish(dir, &x.info, NULL), UNDINE_OK);
    assert_int_equal(opened(), 2);
    chain_world_step(&x.w, 4);
    publish(&x, true);
    assert_int_equal(opened(), 6);
    version_chain_close(x.chain);
}

/* ---- eight threads ---- */

enum { THREADS = 8, SWAPS = 40, SWAP_MS = 50 };

struct stress {
    struct undine_scorer *scorer;
    atomic_bool stop;
};

struct stress_result {
    struct stress *stress;
    uint64_t scored, failed, wrong, back, versions;
};

static void *score_for_ever(void *payload)
{
    struct stress_result *r = payload;
    struct undine_session *t = NULL;
    uint64_t last = 0;
    if (undine_session_open(&t, r->stress->scorer, NULL) < 0) {
        r->failed++;
        return NULL;
    }
    for (size_t k = 0; !atomic_load(&r->stress->stop); k = (k + 1) % REQUESTS) {
        float p[CANDIDATES];
        if (undine_score(t, &request[k], p, NULL) < 0) {
            r->failed++;
            continue;
        }
        uint64_t version = undine_session_version(t);
        r->versions += version != last;
        r->back += version < last;
        r->wrong += memcmp(p, want[version][k], sizeof p) != 0;
        r->scored++;
        last = version;
        if (k == 0) { /* leave the machine to the one who publishes, too */
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    undine_session_close(t);
    return NULL;
}

static void swap_for_a_while(struct world *x, struct stress *stress)
{
    uint64_t oldest;
    for (unsigned i = 1; i <= SWAPS; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = SWAP_MS * 1000000L}, NULL);
        if (i % 10 == 0) {
            merge(x);
        }
        chain_world_step(&x->w, 5);
        publish(x, i % 16 != 0); /* a full one at times */
        assert_int_equal(undine_scorer_refresh(stress->scorer, NULL), 1);
        assert_int_equal(undine_scorer_version(stress->scorer), x->info.number);
        if (i % 10 == 5) {
            assert_int_equal(version_retain(dir, 1, &oldest, NULL), UNDINE_OK);
        }
    }
}

static void test_8_threads_score_while_deltas_and_full_versions_come(void **state)
{
    (void)state;
    static struct stress stress;
    struct stress_result results[THREADS] = {0};
    pthread_t threads[THREADS];
    struct world x;
    begin(&x, 6);
    assert_int_equal(undine_scorer_open(&stress.scorer, dir, NULL), 0);
    for (size_t i = 0; i < THREADS; i++) {
        results[i].stress = &stress;
        assert_int_equal(pthread_create(&threads[i], NULL, score_for_ever, &results[i]), 0);
    }
    swap_for_a_while(&x, &stress);
    atomic_store(&stress.stop, true);
    uint64_t scored = 0, versions = 0;
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(results[i].failed + results[i].wrong + results[i].back, 0);
        scored += results[i].scored;
        versions += results[i].versions;
    }
    print_message("%llu requests scored, %llu versions seen by %d threads\n",
                  (unsigned long long)scored, (unsigned long long)versions, THREADS);
    assert_true(versions > 2 * THREADS);
    undine_scorer_close(stress.scorer);
    version_chain_close(x.chain);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_scores_are_those_of_the_full_model),
        CASE(test_what_goes_is_unknown_with_the_next_delta),
        CASE(test_a_chain_that_is_not_whole),
        CASE(test_what_was_rolled_back_from_stays_away),
        CASE(test_a_merge_does_not_bring_back_what_was_withdrawn),
        CASE(test_8_threads_score_while_deltas_and_full_versions_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
