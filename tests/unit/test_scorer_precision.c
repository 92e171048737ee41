/* A scorer that computes in 16-bit integers: what undine.h promises of any, and how near it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/model.h"
#include "scorer/undine.h"
#include "tests/support/allocations.h"
#include "tests/support/random_request.h"
#include "tests/support/version_fixture.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CANDIDATES = 40, REQUESTS = 40, IDS = 20 /* 12 of them learned */, THREADS = 3 };
static const double APART = 2e-3; /* of a probability */

struct world {
    char dir[VERSION_PATH_MAX];
    struct undine_scorer *f32, *int16;
    struct undine_session *of_f32, *of_int16;
    struct arena arena;
};

static void form_authors(struct model_options *o)
{
    o->unit.input = UNIT_OFFICIAL;
    o->unit.n_hidden = 2;
    o->unit.hidden[0] = 80;
    o->unit.hidden[1] = 40;
    o->unit.normalize = UNIT_SCALED_SOFTMAX;
    o->product = true;
}

static void form_base(struct model_options *o)
{
    o->kind = MODEL_BASE;
    o->linear = true;
}

static void form_prelu(struct model_options *o)
{
    o->unit.activation = o->mlp.activation = ACT_PRELU;
    o->sum_history = true;
}

static const struct version_fixture FIXTURES[] = {
    {.seed = 11, .n_rows = 12, .trained_seq = 100, .spread = true},
    {.seed = 12, .n_rows = 12, .trained_seq = 100, .form = form_authors, .spread = true},
    {.seed = 13, .n_rows = 12, .trained_seq = 100, .form = form_base, .two_sequences = true},
    {.seed = 14, .n_rows = 12, .trained_seq = 100, .form = form_prelu, .own_tables = true},
};
enum { FORMS = sizeof FIXTURES / sizeof FIXTURES[0] };

static void world_open(struct world *w, const struct version_fixture *f)
{
    version_fixture_temp_dir(w->dir);
    version_fixture_write(w->dir, f, true, NULL);
    arena_init(&w->arena, 0);
    assert_int_equal(undine_scorer_open(&w->f32, w->dir, NULL), 0);
    assert_int_equal(undine_scorer_open_with(&w->int16, w->dir, UNDINE_PRECISION_INT16, NULL), 0);
    assert_int_equal(undine_session_open(&w->of_f32, w->f32, NULL), 0);
    assert_int_equal(undine_session_open(&w->of_int16, w->int16, NULL), 0);
}

static void world_close(struct world *w)
{
    undine_session_close(w->of_f32);
    undine_session_close(w->of_int16);
    undine_scorer_close(w->f32);
    undine_scorer_close(w->int16);
    arena_release(&w->arena);
    version_fixture_remove(w->dir);
}

/* Near the same in f32, and one call with n candidates gives the bits of n calls with one. */
static bool check_request(struct world *w, struct undine_request *req)
{
    float want[CANDIDATES], got[CANDIDATES], alone;
    size_t n = req->n_candidates;
    bool same = true;
    const struct undine_features *candidates = req->candidates;
    assert_int_equal(undine_score(w->of_f32, req, want, NULL), 0);
    assert_int_equal(undine_score(w->of_int16, req, got, NULL), 0);
    req->n_candidates = 1;
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs((double)got[i] - (double)want[i]) <= APART);
        same = same && got[i] == want[i];
        req->candidates = &candidates[i];
        assert_int_equal(undine_score(w->of_int16, req, &alone, NULL), 0);
        assert_memory_equal(&alone, &got[i], sizeof alone);
    }
    return same;
}

static void test_near_f32_and_one_by_one(void **state)
{
    (void)state;
    for (size_t f = 0; f < FORMS; f++) {
        static struct world w;
        struct random r = {42};
        bool same = true;
        world_open(&w, &FIXTURES[f]);
        for (int i = 0; i < REQUESTS; i++) {
            arena_reset(&w.arena);
            struct undine_request req =
                random_request(&w.arena, &r, 1 + random_below(&r, CANDIDATES), IDS);
            same = check_request(&w, &req) && same;
        }
        assert_false(same);
        world_close(&w);
    }
}

/* f32 asked for by name is what undine_scorer_open gives. */
static void test_f32_by_name(void **state)
{
    (void)state;
    static struct world w;
    struct undine_scorer *s;
    struct undine_session *t;
    struct random r = {43};
    float want[CANDIDATES], got[CANDIDATES];
    world_open(&w, &FIXTURES[0]);
    assert_int_equal(undine_scorer_open_with(&s, w.dir, UNDINE_PRECISION_F32, NULL), 0);
    assert_int_equal(undine_session_open(&t, s, NULL), 0);
    struct undine_request req = random_request(&w.arena, &r, CANDIDATES, IDS);
    assert_int_equal(undine_score(w.of_f32, &req, want, NULL), 0);
    assert_int_equal(undine_score(t, &req, got, NULL), 0);
    assert_memory_equal(got, want, sizeof got);
    undine_session_close(t);
    undine_scorer_close(s);
    world_close(&w);
}

static void test_describes_its_precision(void **state)
{
    (void)state;
    static struct world w;
    char text[4096];
    world_open(&w, &FIXTURES[0]);
    assert_true(undine_session_describe(w.of_f32, text, sizeof text, NULL) > 0);
    assert_non_null(strstr(text, "\"precision\":\"f32\""));
    assert_true(undine_session_describe(w.of_int16, text, sizeof text, NULL) > 0);
    assert_non_null(strstr(text, "\"precision\":\"int16\""));
    world_close(&w);
}

static void test_nothing_is_allocated_after_the_largest_request(void **state)
{
    (void)state;
    static struct world w;
    struct random r = {44};
    struct undine_request req[20];
    float p[CANDIDATES];
    unsigned long before = 0;
    world_open(&w, &FIXTURES[1]);
    for (size_t i = 0; i < 20; i++) {
        req[i] = random_request(&w.arena, &r, CANDIDATES, 1000);
    }
    for (size_t i = 0; i < 40; i++) {
        before = i == 20 ? allocations_count : before;
        assert_int_equal(undine_score(w.of_int16, &req[i % 20], p, NULL), 0);
    }
    assert_int_equal(allocations_count, before);
    assert_true(before > 0);
    world_close(&w);
}

static void test_unknown_precision(void **state)
{
    (void)state;
    struct undine_scorer *s = NULL;
    struct undine_error err = {0};
    assert_int_equal(undine_scorer_open_with(&s, "/nowhere", (enum undine_precision)7, &err), -5);
    assert_non_null(strstr(err.message, "precision 7"));
    assert_null(s);
}

/* ---- while versions are swapped ---- */

struct stress {
    struct world w;
    struct undine_request req;
    float of_version[3][CANDIDATES]; /* 1, 2 */
    atomic_bool stop;
    atomic_int wrong;
};

static void *score_on(void *payload)
{
    struct stress *s = payload;
    struct undine_session *t;
    float p[CANDIDATES];
    if (undine_session_open(&t, s->w.int16, NULL) < 0) {
        atomic_fetch_add(&s->wrong, 1);
        return NULL;
    }
    while (!atomic_load(&s->stop)) {
        if (undine_score(t, &s->req, p, NULL) < 0 ||
            memcmp(p, s->of_version[undine_session_version(t)], sizeof p) != 0) {
            atomic_fetch_add(&s->wrong, 1);
        }
    }
    undine_session_close(t);
    return NULL;
}

static void publish(const struct stress *s, uint64_t version)
{
    char path[VERSION_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/CURRENT", s->w.dir);
    version_fixture_overwrite(path, version == 1 ? "000000000001\n" : "000000000002\n", 13);
}

static void test_swaps_keep_precision_and_bits(void **state)
{
    (void)state;
    static struct stress s;
    pthread_t thread[THREADS];
    struct random r = {45};
    struct version_fixture second = FIXTURES[1];
    second.seed = 99;
    world_open(&s.w, &FIXTURES[1]);
    version_fixture_write(s.w.dir, &second, false, NULL);
    s.req = random_request(&s.w.arena, &r, CANDIDATES, IDS);
    for (uint64_t v = 2; v >= 1; v--) {
        publish(&s, v);
        assert_int_equal(undine_scorer_refresh(s.w.int16, NULL), 1);
        assert_int_equal(undine_score(s.w.of_int16, &s.req, s.of_version[v], NULL), 0);
    }
    assert_memory_not_equal(s.of_version[1], s.of_version[2], sizeof s.of_version[1]);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, score_on, &s), 0);
    }
    for (uint64_t i = 0; i < 30; i++) {
        publish(&s, 1 + (i + 1) % 2);
        assert_int_equal(undine_scorer_refresh(s.w.int16, NULL), 1);
    }
    atomic_store(&s.stop, true);
    for (size_t i = 0; i < THREADS; i++) {
        (void)pthread_join(thread[i], NULL);
    }
    assert_int_equal(atomic_load(&s.wrong), 0);
    world_close(&s.w);
}

/* ---- where the processor has no use for it ---- */

static void test_refused_with_the_reason(void **state)
{
    (void)state;
    struct world w;
    struct undine_scorer *s = NULL;
    struct undine_error err = {0};
    version_fixture_temp_dir(w.dir);
    version_fixture_write(w.dir, &FIXTURES[0], true, NULL);
    assert_int_equal(undine_scorer_open_with(&s, w.dir, UNDINE_PRECISION_INT16, &err), -9);
    assert_non_null(strstr(err.message, "AVX-512 VNNI"));
    assert_non_null(strstr(err.message, "use f32"));
    assert_null(s);
    version_fixture_remove(w.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near_f32_and_one_by_one),
        cmocka_unit_test(test_f32_by_name),
        cmocka_unit_test(test_describes_its_precision),
        cmocka_unit_test(test_nothing_is_allocated_after_the_largest_request),
        cmocka_unit_test(test_swaps_keep_precision_and_bits),
        cmocka_unit_test(test_unknown_precision),
    };
    const struct CMUnitTest without[] = {
        cmocka_unit_test(test_refused_with_the_reason),
        cmocka_unit_test(test_unknown_precision),
    };
    return model_lowers() ? cmocka_run_group_tests(tests, NULL, NULL)
                          : cmocka_run_group_tests(without, NULL, NULL);
}
