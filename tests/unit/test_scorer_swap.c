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
#include <time.h>

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

/* ---- versions come and go ---- */

enum {
    RATE_THREADS = 8,
    RATE_VERSIONS = 40,
    RATE_INTERVAL_MS = 50,
    RATE_KEEP = 3,
    RATE_MODELS = 3
};

struct rate {
    struct undine_scorer *scorer;
    struct undine_request request[REQUESTS];
    float want[RATE_MODELS][REQUESTS][CANDIDATES]; /* of version n: n % RATE_MODELS */
    char dir[VERSION_PATH_MAX];
    atomic_bool stop;
};

struct rate_result {
    struct rate *rate;
    uint64_t scored, failed, wrong, back, versions;
};

static void *score_at_rate(void *payload)
{
    struct rate_result *r = payload;
    struct undine_session *t = NULL;
    uint64_t last = 0;
    if (undine_session_open(&t, r->rate->scorer, NULL) < 0) {
        r->failed++;
        return NULL;
    }
    for (size_t k = 0; !atomic_load(&r->rate->stop); k = (k + 1) % REQUESTS) {
        float p[CANDIDATES];
        if (undine_score(t, &r->rate->request[k], p, NULL) < 0) {
            r->failed++;
            continue;
        }
        uint64_t version = undine_session_version(t);
        r->versions += version != last;
        r->back += version < last;
        r->wrong += memcmp(p, r->rate->want[version % RATE_MODELS][k], sizeof p) != 0;
        r->scored++;
        last = version;
        if (k == 0) { /* leave the machine to the one who publishes, too */
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    undine_session_close(t);
    return NULL;
}

static struct version_fixture version_of_rate(uint64_t number)
{
    return (struct version_fixture){.seed = 100 + number % RATE_MODELS,
                                    .n_rows = 8 + (uint32_t)(number % RATE_MODELS),
                                    .trained_seq = number,
                                    .video_dim = number % RATE_MODELS == 0 ? 5 : 8};
}

/* Write and publish the next version, and remove one that is out of date: a scorer that still uses
 * it keeps it mapped. */
static void publish_at_rate(struct rate *rate, uint64_t number)
{
    struct version_fixture f = version_of_rate(number);
    version_fixture_write(rate->dir, &f, true, NULL);
    if (number > RATE_KEEP) {
        char path[VERSION_PATH_MAX + VERSION_NAME_MAX];
        (void)snprintf(path, sizeof path, "%s/%012d", rate->dir, (int)number - RATE_KEEP);
        version_fixture_remove(path);
    }
}

static void run_at_rate(struct rate *rate)
{
    for (uint64_t number = 2; number <= RATE_VERSIONS; number++) {
        struct timespec pause = {.tv_nsec = RATE_INTERVAL_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
        publish_at_rate(rate, number);
        assert_int_equal(undine_scorer_refresh(rate->scorer, NULL), 1);
        assert_int_equal(undine_scorer_version(rate->scorer), number);
    }
}

/* Eight threads score while a new version comes every 50 ms: no call fails, none is wrong, none
 * goes back to an older version. */
static void test_8_threads_score_while_versions_swap_every_50_ms(void **state)
{
    (void)state;
    static struct rate rate;
    struct rate_result results[RATE_THREADS] = {0};
    pthread_t threads[RATE_THREADS];
    struct arena arena;
    struct random random = {8};
    arena_init(&arena, 0);
    version_fixture_temp_dir(rate.dir);
    for (size_t i = 0; i < REQUESTS; i++) {
        rate.request[i] = random_request(&arena, &random, CANDIDATES, IDS);
    }
    for (uint64_t i = 0; i < RATE_MODELS; i++) {
        struct version_fixture f = version_of_rate(i);
        struct snapshot *s = version_fixture_snapshot(&f);
        for (size_t k = 0; k < REQUESTS; k++) {
            direct_score(s, &rate.request[k], rate.want[i][k]);
        }
        snapshot_free(s);
    }
    publish_at_rate(&rate, 1);
    assert_int_equal(undine_scorer_open(&rate.scorer, rate.dir, NULL), 0);
    for (size_t i = 0; i < RATE_THREADS; i++) {
        results[i].rate = &rate;
        assert_int_equal(pthread_create(&threads[i], NULL, score_at_rate, &results[i]), 0);
    }
    run_at_rate(&rate);
    atomic_store(&rate.stop, true);
    uint64_t scored = 0, versions = 0;
    for (size_t i = 0; i < RATE_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(results[i].failed + results[i].wrong + results[i].back, 0);
        scored += results[i].scored;
        versions += results[i].versions;
    }
    print_message("%llu requests scored, %llu versions seen by %d threads\n",
                  (unsigned long long)scored, (unsigned long long)versions, RATE_THREADS);
    assert_true(versions > 2 * RATE_THREADS);
    undine_scorer_close(rate.scorer);
    arena_release(&arena);
    version_fixture_remove(rate.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_while_versions_swap),
        cmocka_unit_test(test_8_threads_score_while_versions_swap_every_50_ms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
