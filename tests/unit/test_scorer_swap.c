/* Four threads score while the version in use changes under them, with models of two shapes: every
 * answer must be, bit for bit, that of the version which the session says it used.  Meant for the
 * thread sanitizer; threads report into a struct and only main asserts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scorer/undine.h"
#include "tests/support/direct_score.h"
#include "tests/support/random_request.h"
#include "tests/support/version_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, REQUESTS = 16, CANDIDATES = 12, SWAPS = 150, IDS = 20 };

struct shared {
    struct undine_scorer *scorer;
    struct undine_request request[REQUESTS];
    float want[2][REQUESTS][CANDIDATES]; /* of version 1 and 2 */
    atomic_bool stop;
    _Atomic uint64_t scored;
};

struct result {
    struct shared *shared;
    uint64_t scored, failed, wrong, seen[2];
};

static void *score_for_ever(void *payload)
{
    struct result *r = payload;
    struct shared *sh = r->shared;
    struct undine_session *t = NULL;
    for (uint64_t i = 0; !atomic_load(&sh->stop); i++) {
        float p[CANDIDATES];
        size_t k = i % REQUESTS;
        if (i % 64 == 0) { /* sessions come and go, too */
            undine_session_close(t);
            if (undine_session_open(&t, sh->scorer, NULL) < 0) {
                r->failed++;
                return NULL;
            }
        }
        if (undine_score(t, &sh->request[k], p, NULL) < 0) {
            r->failed++;
            continue;
        }
        uint64_t version = undine_session_version(t);
        r->seen[version - 1]++;
        r->wrong += memcmp(p, sh->want[version - 1][k], sizeof p) != 0;
        r->scored++;
        atomic_fetch_add(&sh->scored, 1);
    }
    undine_session_close(t);
    return NULL;
}

static void test_scores_while_versions_swap(void **state)
{
    (void)state;
    static struct shared sh;
    const struct version_fixture fixtures[2] = {
        {.seed = 21, .n_rows = 12, .trained_seq = 1},
        {.seed = 22, .n_rows = 9, .trained_seq = 2, .video_dim = 5}};
    char dir[VERSION_PATH_MAX], path[VERSION_PATH_MAX + 16], next[VERSION_PATH_MAX + 16];
    struct arena arena;
    struct random random = {7};
    print_message("seed 7\n");
    arena_init(&arena, 0);
    version_fixture_temp_dir(dir);
    (void)snprintf(path, sizeof path, "%s/CURRENT", dir);
    (void)snprintf(next, sizeof next, "%s/next", dir);
    for (size_t i = 0; i < REQUESTS; i++) {
        sh.request[i] = random_request(&arena, &random, CANDIDATES, IDS);
    }
    for (size_t v = 0; v < 2; v++) {
        struct snapshot *s = version_fixture_snapshot(&fixtures[v]);
        version_fixture_write(dir, &fixtures[v], true, NULL);
        for (size_t i = 0; i < REQUESTS; i++) {
            direct_score(s, &sh.request[i], sh.want[v][i]);
        }
        snapshot_free(s);
    }
    assert_int_equal(undine_scorer_open(&sh.scorer, dir, NULL), 0);

    struct result results[THREADS] = {0};
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        results[i].shared = &sh;
        assert_int_equal(pthread_create(&threads[i], NULL, score_for_ever, &results[i]), 0);
    }
    for (unsigned i = 0; i < SWAPS; i++) {
        uint64_t until = atomic_load(&sh.scored) + 20;
        version_fixture_overwrite(next, i % 2 == 0 ? "000000000001\n" : "000000000002\n", 13);
        assert_int_equal(rename(next, path), 0);
        assert_int_equal(undine_scorer_refresh(sh.scorer, NULL), 1);
        assert_int_equal(undine_scorer_version(sh.scorer), i % 2 + 1);
        while (atomic_load(&sh.scored) < until) {
        }
    }
    atomic_store(&sh.stop, true);
    uint64_t seen[2] = {0};
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(results[i].failed, 0);
        assert_int_equal(results[i].wrong, 0);
        seen[0] += results[i].seen[0];
        seen[1] += results[i].seen[1];
    }
    assert_true(seen[0] > 0 && seen[1] > 0);
    undine_scorer_close(sh.scorer);
    arena_release(&arena);
    version_fixture_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scores_while_versions_swap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
