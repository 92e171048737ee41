/* A version that an earlier program wrote still loads, is the same model, and scores the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version.h"
#include "scorer/undine.h"

#include <math.h>

static const char DIGEST[] = "c94fa21a49d37363e0e0acc15545a93e";
/* Kernels of another processor may differ in the last bits. */
static const float SCORES[] = {0.513475776f, 0.500011623f, 0.50243187f};

static void test_is_restored(void **state)
{
    (void)state;
    struct snapshot *s = NULL;
    struct version_info info;
    struct undine_err err = {0};
    char digest[HASH128_HEX_LEN + 1];
    assert_int_equal(version_restore(GOLDEN_DIR, 100, 100, &s, &info, NULL, NULL, &err), 1);
    hash128_hex(digest, snapshot_digest(s));
    assert_string_equal(digest, DIGEST);
    assert_string_equal(info.digest, DIGEST);
    assert_int_equal(info.number, 1);
    assert_int_equal(info.rows, 60);
    assert_int_equal(info.created_ms, 1650812741999);
    snapshot_free(s);
}

static void test_scores(void **state)
{
    (void)state;
    struct undine_scorer *scorer = NULL;
    struct undine_session *session = NULL;
    struct undine_value ids[] = {{"1", 1}, {"7", 1}, {"never seen", 10}};
    struct undine_feature f[] = {
        {"video", &ids[0], 1}, {"video", &ids[1], 1}, {"video", &ids[2], 1}};
    struct undine_features candidates[] = {{&f[0], 1}, {&f[1], 1}, {&f[2], 1}};
    struct undine_sequence clicks = {"clicks", candidates, 3};
    struct undine_request req = {.user_id = ids[1],
                                 .sequences = &clicks,
                                 .n_sequences = 1,
                                 .candidates = candidates,
                                 .n_candidates = 3};
    float p[3];
    assert_int_equal(undine_scorer_open(&scorer, GOLDEN_DIR, NULL), 0);
    assert_int_equal(undine_session_open(&session, scorer, NULL), 0);
    assert_int_equal(undine_score(session, &req, p, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        print_message("%.9g\n", (double)p[i]);
        assert_true(fabsf(p[i] - SCORES[i]) < 1e-5f);
    }
    undine_session_close(session);
    undine_scorer_close(scorer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_is_restored),
                                       cmocka_unit_test(test_scores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
