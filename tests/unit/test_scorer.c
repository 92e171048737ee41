#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/manifest.h"
#include "scorer/undine.h"
#include "tests/support/allocations.h"
#include "tests/support/direct_score.h"
#include "tests/support/random_request.h"
#include "tests/support/version_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[VERSION_PATH_MAX];

/* ---- a published version and a session ---- */

struct world {
    struct undine_scorer *scorer;
    struct undine_session *session;
    struct snapshot *snapshot;
    struct arena arena;
};

static const struct version_fixture FIXTURE = {.seed = 11, .n_rows = 12, .trained_seq = 100};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct undine_error err = {0};
    version_fixture_temp_dir(dir);
    version_fixture_write(dir, &FIXTURE, true, NULL);
    w->snapshot = version_fixture_snapshot(&FIXTURE);
    arena_init(&w->arena, 0);
    assert_int_equal(undine_scorer_open(&w->scorer, dir, &err), 0);
    assert_int_equal(undine_session_open(&w->session, w->scorer, &err), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    undine_session_close(w->session);
    undine_scorer_close(w->scorer);
    snapshot_free(w->snapshot);
    arena_release(&w->arena);
    free(w);
    version_fixture_remove(dir);
    return 0;
}

enum { CANDIDATES = 40, REQUESTS = 200, IDS = 20 /* 12 of them learned */ };

static void test_equal_to_the_model_itself(void **state)
{
    struct world *w = *state;
    struct random r = {42};
    print_message("seed 42\n");
    for (int i = 0; i < REQUESTS; i++) {
        float got[CANDIDATES], want[CANDIDATES];
        struct undine_error err = {0};
        arena_reset(&w->arena);
        struct undine_request req =
            random_request(&w->arena, &r, 1 + random_below(&r, CANDIDATES), IDS);
        assert_int_equal(undine_score(w->session, &req, got, &err), 0);
        direct_score(w->snapshot, &req, want);
        assert_memory_equal(got, want, req.n_candidates * sizeof *got);
        for (size_t k = 0; k < req.n_candidates; k++) {
            assert_true(got[k] >= 0.0f && got[k] <= 1.0f);
        }
    }
    assert_int_equal(undine_session_version(w->session), 1);
}

static void form_base_mean(struct model_options *o)
{
    o->kind = MODEL_BASE;
    o->base_pool = SCHEMA_POOL_MEAN;
}

static void form_base_product(struct model_options *o)
{
    o->kind = MODEL_BASE;
    o->product = o->linear = true;
}

static void form_din_authors(struct model_options *o)
{
    o->unit.input = UNIT_OFFICIAL;
    o->unit.activation = o->mlp.activation = ACT_SIGMOID;
    o->unit.normalize = UNIT_SCALED_SOFTMAX;
    o->product = true;
}

static void form_din_of_dien(struct model_options *o)
{
    o->unit.input = UNIT_OFFICIAL;
    o->unit.activation = ACT_SIGMOID;
    o->unit.normalize = UNIT_SOFTMAX;
    o->sum_history = true;
}

static void form_all_parts(struct model_options *o)
{
    o->unit.activation = o->mlp.activation = ACT_PRELU;
    o->unit.normalize = UNIT_LENGTH;
    o->sum_history = o->product = o->linear = true;
}

static void form_sqrt_dim(struct model_options *o)
{
    o->unit.normalize = UNIT_SQRT_DIM;
    o->linear = true;
}

/* One call with n candidates gives the bits of n calls with one. */
static void check_one_by_one(struct undine_session *session, struct undine_request req,
                             const float *together)
{
    const struct undine_features *candidates = req.candidates;
    size_t n = req.n_candidates;
    req.n_candidates = 1;
    for (size_t i = 0; i < n; i++) {
        float alone;
        req.candidates = &candidates[i];
        assert_int_equal(undine_score(session, &req, &alone, NULL), 0);
        assert_memory_equal(&alone, &together[i], sizeof alone);
    }
}

static void check_fixture(const struct version_fixture *fixture)
{
    char at[VERSION_PATH_MAX];
    struct undine_scorer *scorer;
    struct undine_session *session;
    struct arena arena;
    struct random r = {44};
    version_fixture_temp_dir(at);
    version_fixture_write(at, fixture, true, NULL);
    struct snapshot *s = version_fixture_snapshot(fixture);
    arena_init(&arena, 0);
    assert_int_equal(undine_scorer_open(&scorer, at, NULL), 0);
    assert_int_equal(undine_session_open(&session, scorer, NULL), 0);
    for (int i = 0; i < REQUESTS / 4; i++) {
        float got[CANDIDATES], want[CANDIDATES];
        arena_reset(&arena);
        struct undine_request req =
            random_request(&arena, &r, 1 + random_below(&r, CANDIDATES), IDS);
        assert_int_equal(undine_score(session, &req, got, NULL), 0);
        direct_score(s, &req, want);
        assert_memory_equal(got, want, req.n_candidates * sizeof *got);
        check_one_by_one(session, req, got);
    }
    undine_session_close(session);
    undine_scorer_close(scorer);
    snapshot_free(s);
    arena_release(&arena);
    version_fixture_remove(at);
}

static void check_form(void (*form)(struct model_options *), bool own_tables)
{
    const struct version_fixture fixture = {
        .seed = 12, .n_rows = 12, .trained_seq = 100, .form = form, .own_tables = own_tables};
    check_fixture(&fixture);
}

/* With admission, ids without a row have the table's shared one. */
static void test_s7_unknown_ids_have_the_shared_row(void **state)
{
    (void)state;
    const struct version_fixture fixture = {
        .seed = 12, .n_rows = 12, .trained_seq = 100, .form = form_all_parts, .shared = true};
    struct version_fixture own = fixture;
    own.own_tables = true;
    check_fixture(&fixture);
    check_fixture(&own);
}

static void test_s7_every_form_scores_as_the_model_itself(void **state)
{
    (void)state;
    check_form(form_base_mean, false);
    check_form(form_base_product, false);
    check_form(form_din_authors, false);
    check_form(form_din_of_dien, false);
    check_form(form_all_parts, false);
    check_form(form_sqrt_dim, false);
    check_form(form_all_parts, true);
    check_form(form_din_of_dien, true);
}

static void test_a12_a_score_does_not_depend_on_its_neighbours(void **state)
{
    struct world *w = *state;
    struct random r = {43};
    float all[CANDIDATES], one;
    struct undine_request req = random_request(&w->arena, &r, CANDIDATES, IDS);
    const struct undine_features *candidates = req.candidates;
    assert_int_equal(undine_score(w->session, &req, all, NULL), 0);
    req.n_candidates = 1;
    for (size_t i = 0; i < CANDIDATES; i++) {
        req.candidates = &candidates[i];
        assert_int_equal(undine_score(w->session, &req, &one, NULL), 0);
        assert_memory_equal(&one, &all[i], sizeof one);
    }
}

static void test_scores_differ(void **state)
{
    struct world *w = *state;
    struct undine_value ids[] = {{"1", 1}, {"2", 1}, {"never seen", 10}};
    struct undine_feature f[] = {
        {"video", &ids[0], 1}, {"video", &ids[1], 1}, {"video", &ids[2], 1}};
    struct undine_features candidates[] = {{&f[0], 1}, {&f[1], 1}, {&f[2], 1}};
    struct undine_request req = {.candidates = candidates, .n_candidates = 3};
    struct undine_features step = {&f[1], 1};
    struct undine_sequence clicks = {"clicks", &step, 1};
    float p[3], q[3], u[3];
    assert_int_equal(undine_score(w->session, &req, p, NULL), 0);
    assert_true(p[0] != p[1] && p[0] != p[2] && p[1] != p[2]);
    req.sequences = &clicks;
    req.n_sequences = 1;
    assert_int_equal(undine_score(w->session, &req, q, NULL), 0);
    assert_true(p[0] != q[0]);
    req.user_id = ids[0];
    assert_int_equal(undine_score(w->session, &req, u, NULL), 0);
    assert_true(u[0] != q[0]);
    /* The user-id field by its name is the same. */
    struct undine_feature uid = {"uid", &ids[0], 1};
    req.user = (struct undine_features){&uid, 1};
    req.user_id = (struct undine_value){NULL, 0};
    assert_int_equal(undine_score(w->session, &req, q, NULL), 0);
    assert_memory_equal(u, q, sizeof u);
}

/* "tag" takes 3 ids, a sequence of "clicks" has 10 steps. */
static void test_what_is_cut_is_counted(void **state)
{
    struct world *w = *state;
    struct undine_value tags[6] = {{"1", 1}, {"2", 1}, {"1", 1}, {NULL, 0}, {"3", 1}, {"2", 1}};
    struct undine_feature tag = {"tag", tags, 6};
    struct undine_features step[12], candidate = {&tag, 1};
    for (size_t i = 0; i < 12; i++) {
        step[i] = candidate;
    }
    struct undine_sequence clicks = {"clicks", step, 10};
    struct undine_request req = {
        .sequences = &clicks, .n_sequences = 1, .candidates = &candidate, .n_candidates = 1};
    uint64_t values = 1, steps = 1;
    float before, now;
    /* What fits is not counted, nor are ids that are empty or there already. */
    assert_int_equal(undine_score(w->session, &req, &before, NULL), 0);
    undine_session_cut(w->session, &values, &steps);
    assert_int_equal(values, 0);
    assert_int_equal(steps, 0);
    /* Two steps too many. */
    clicks.n_steps = 12;
    assert_int_equal(undine_score(w->session, &req, &now, NULL), 0);
    assert_memory_equal(&before, &now, sizeof now);
    undine_session_cut(w->session, &values, &steps);
    assert_int_equal(values, 0);
    assert_int_equal(steps, 2);
    /* An id too many in the candidate, and in each of the ten steps that count. */
    tags[5] = (struct undine_value){"4", 1};
    assert_int_equal(undine_score(w->session, &req, &now, NULL), 0);
    assert_memory_equal(&before, &now, sizeof now);
    undine_session_cut(w->session, &values, &steps);
    assert_int_equal(values, 11);
    assert_int_equal(steps, 4);
    /* A request that fails counts nothing. */
    struct undine_feature bad = {"nosuch", tags, 1};
    req.context = (struct undine_features){&bad, 1};
    assert_int_equal(undine_score(w->session, &req, &now, NULL), -5);
    undine_session_cut(w->session, &values, &steps);
    assert_int_equal(values, 11);
    assert_int_equal(steps, 4);
}

static void test_a_version_describes_itself(void **state)
{
    struct world *w = *state;
    char text[4096], small[8] = "before";
    int len = undine_session_describe(w->session, NULL, 0, NULL);
    assert_in_range(len, 100, sizeof text - 1);
    assert_int_equal(undine_session_describe(w->session, text, (size_t)len + 1, NULL), len);
    assert_int_equal(strlen(text), len);
    assert_int_equal(undine_session_describe(w->session, small, sizeof small, NULL), len);
    assert_string_equal(small, "before");
    assert_non_null(strstr(text, "\"version\":1,"));
    assert_non_null(strstr(text, "{\"name\":\"tag\",\"group\":\"candidate\",\"values_max\":3,"
                                 "\"user_id\":false}"));
    assert_non_null(strstr(text, "{\"name\":\"clicks\",\"length\":10,\"fields\":[\"video\","
                                 "\"tag\"]}"));
}

static void test_no_candidates(void **state)
{
    struct world *w = *state;
    struct undine_request req = {.n_candidates = 0};
    assert_int_equal(undine_score(w->session, &req, NULL, NULL), 0);
}

static void assert_refused(struct world *w, const struct undine_request *req, const char *text)
{
    struct undine_error err = {0};
    float p[4] = {9.0f, 9.0f, 9.0f, 9.0f};
    assert_int_equal(undine_score(w->session, req, p, &err), -5);
    assert_int_equal(err.code, -5);
    if (strstr(err.message, text) == NULL) {
        fail_msg("`%s` lacks `%s`", err.message, text);
    }
    assert_true(p[0] == 9.0f); /* nothing was written */
    assert_int_equal(undine_score(w->session, req, p, NULL), -5);
}

static void test_wrong_requests_are_named(void **state)
{
    struct world *w = *state;
    struct undine_value id = {"1", 1};
    struct undine_feature ok = {"video", &id, 1}, unknown = {"vidoe", &id, 1},
                          age = {"age", &id, 1}, nameless = {NULL, &id, 1};
    struct undine_feature twice[] = {ok, ok};
    struct undine_features good = {&ok, 1}, bad = {&unknown, 1}, user = {&age, 1},
                           doubled = {twice, 2}, none = {&nameless, 1};
    struct undine_features mixed[] = {good, bad};
    struct undine_sequence seq = {"clicks", mixed, 2}, other = {"views", &good, 1};
    struct undine_sequence seqs[] = {{"clicks", &good, 1}, {"clicks", &good, 1}};
    struct undine_request req = {.candidates = mixed, .n_candidates = 2};
    assert_refused(w, &req, "candidate 1: the model has no field `vidoe`");
    req.candidates = &user;
    req.n_candidates = 1;
    assert_refused(w, &req, "field `age` belongs to the user, not to the candidate");
    req.candidates = &doubled;
    assert_refused(w, &req, "field `video` is given twice");
    req.candidates = &none;
    assert_refused(w, &req, "feature 0 has no field name");
    req.candidates = &good;
    req.user = good;
    assert_refused(w, &req, "field `video` belongs to the candidate, not to the user");
    req.user = (struct undine_features){NULL, 0};
    req.sequences = &seq;
    req.n_sequences = 1;
    assert_refused(w, &req, "step 1 of sequence `clicks`: the model has no field `vidoe`");
    req.sequences = &other;
    assert_refused(w, &req, "the model has no sequence `views`");
    req.sequences = seqs;
    req.n_sequences = 2;
    assert_refused(w, &req, "sequence `clicks` is given twice");
    req.n_candidates = (1 << 20) + 1;
    assert_refused(w, &req, "at most 1048576");
    req.n_candidates = 1;
    req.n_sequences = 1;
    float p;
    assert_int_equal(undine_score(w->session, &req, &p, NULL), 0); /* the session is fine */
}

static void test_nothing_is_allocated_after_the_largest_request(void **state)
{
    struct world *w = *state;
    struct random r = {44};
    struct undine_request req[50];
    float p[CANDIDATES];
    for (size_t i = 0; i < 50; i++) {
        req[i] = random_request(&w->arena, &r, CANDIDATES, 1000);
        assert_int_equal(undine_score(w->session, &req[i], p, NULL), 0);
    }
    unsigned long before = allocations_count;
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(undine_score(w->session, &req[i], p, NULL), 0);
    }
    assert_int_equal(allocations_count, before);
    assert_true(before > 0);
}

/* ---- versions ---- */

static void test_where_nothing_is_published(void **state)
{
    (void)state;
    struct undine_scorer *s = NULL;
    struct undine_error err = {0};
    assert_int_equal(undine_scorer_open(&s, "/nowhere/at/all", &err), -6);
    assert_non_null(strstr(err.message, "CURRENT"));
    assert_null(s);
    undine_scorer_close(NULL);
    undine_session_close(NULL);
    assert_string_equal(undine_version_string(), "0.1.0");
}

static void assert_scores(struct world *w, const struct version_fixture *f)
{
    struct random r = {45};
    float got[CANDIDATES], want[CANDIDATES];
    struct snapshot *s = version_fixture_snapshot(f);
    for (int i = 0; i < 10; i++) {
        struct undine_request req = random_request(&w->arena, &r, CANDIDATES, IDS);
        assert_int_equal(undine_score(w->session, &req, got, NULL), 0);
        direct_score(s, &req, want);
        assert_memory_equal(got, want, sizeof got);
    }
    snapshot_free(s);
}

static void test_refresh_follows_current(void **state)
{
    struct world *w = *state;
    struct version_fixture wide = {
        .seed = 12, .n_rows = 12, .trained_seq = 200, .video_dim = 16}; /* another shape */
    struct undine_error err = {0};
    char path[VERSION_PATH_MAX + 16];
    assert_int_equal(undine_scorer_refresh(w->scorer, &err), 0);
    version_fixture_write(dir, &wide, false, NULL);
    assert_int_equal(undine_scorer_refresh(w->scorer, &err), 0); /* not published */
    (void)snprintf(path, sizeof path, "%s/CURRENT", dir);
    version_fixture_overwrite(path, "000000000002\n", 13);
    assert_int_equal(undine_scorer_version(w->scorer), 1);
    assert_int_equal(undine_scorer_refresh(w->scorer, &err), 1);
    assert_int_equal(undine_scorer_version(w->scorer), 2);
    assert_scores(w, &wide);
    assert_int_equal(undine_session_version(w->session), 2);
    version_fixture_overwrite(path, "000000000001\n", 13); /* rolled back */
    assert_int_equal(undine_scorer_refresh(w->scorer, &err), 1);
    assert_scores(w, &FIXTURE);
    assert_int_equal(undine_session_version(w->session), 1);
    version_fixture_overwrite(path, "000000000009\n", 13);
    assert_int_equal(undine_scorer_refresh(w->scorer, &err), -6);
    version_fixture_overwrite(path, "\n", 1);
    assert_int_equal(undine_scorer_refresh(w->scorer, &err), -3);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(undine_scorer_refresh(w->scorer, &err), -6);
    assert_scores(w, &FIXTURE);
}

/* A version that is in use may be removed: it stays until it is let go. */
static void test_a_removed_version_stays_in_use(void **state)
{
    struct world *w = *state;
    char path[VERSION_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/000000000001", dir);
    version_fixture_remove(path);
    assert_scores(w, &FIXTURE);
}

static void test_a_damaged_version_is_refused_and_the_old_one_stays(void **state)
{
    struct world *w = *state;
    static const char *const files[] = {MANIFEST_NAME, MANIFEST_MODEL, MANIFEST_TRAIN};
    struct version_fixture f = {.seed = 13, .n_rows = 2, .trained_seq = 300};
    version_fixture_write(dir, &f, true, NULL);
    for (size_t k = 0; k < 3; k++) {
        char path[VERSION_PATH_MAX + 64];
        size_t len;
        (void)snprintf(path, sizeof path, "%s/000000000002/%s", dir, files[k]);
        uint8_t *data = version_fixture_read(path, &len);
        FILE *file = fopen(path, "r+b");
        for (size_t i = 0; i < len; i++) {
            struct undine_error err = {0};
            uint8_t flipped = data[i] ^ (uint8_t)(0x80U >> i % 8);
            assert_int_equal(pwrite(fileno(file), &flipped, 1, (off_t)i), 1);
            if (undine_scorer_refresh(w->scorer, &err) >= 0 || err.message[0] == '\0' ||
                undine_scorer_version(w->scorer) != 1) {
                fail_msg("byte %zu of %s", i, files[k]);
            }
            assert_int_equal(pwrite(fileno(file), &data[i], 1, (off_t)i), 1);
        }
        (void)fclose(file);
        free(data);
    }
    assert_scores(w, &FIXTURE);
    assert_int_equal(undine_scorer_refresh(w->scorer, NULL), 1);
    assert_scores(w, &f);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_equal_to_the_model_itself),
        cmocka_unit_test(test_s7_unknown_ids_have_the_shared_row),
        CASE(test_s7_every_form_scores_as_the_model_itself),
        CASE(test_a12_a_score_does_not_depend_on_its_neighbours),
        CASE(test_scores_differ),
        CASE(test_what_is_cut_is_counted),
        CASE(test_a_version_describes_itself),
        CASE(test_no_candidates),
        CASE(test_wrong_requests_are_named),
        CASE(test_nothing_is_allocated_after_the_largest_request),
        cmocka_unit_test(test_where_nothing_is_published),
        CASE(test_refresh_follows_current),
        CASE(test_a_removed_version_stays_in_use),
        CASE(test_a_damaged_version_is_refused_and_the_old_one_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
