#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "ops/score_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_wrong(struct score_json *s, const char *text, const char *pointer,
                         const char *words)
{
    struct undine_err err = {0};
    int rc = UNDINE_OK;
    int n = score_json_load(s, text, strlen(text), &err);
    for (int i = 0; n >= 0 && rc == UNDINE_OK && i < n; i++) {
        rc = score_json_take(s, (size_t)i, &err);
    }
    if ((n >= 0 && rc != UNDINE_EINVAL) || strcmp(s->pointer, pointer) != 0 ||
        strstr(err.msg, words) == NULL) {
        fail_msg("%s: %s at `%s`, expected `%s` and %s", text, err.msg, s->pointer, pointer, words);
    }
}

static void test_pointers(void **state)
{
    (void)state;
    struct score_json s;
    score_json_init(&s);
    s.requests_max = 3;
    s.candidates_max = 2;
    expect_wrong(&s, "", "", "not one JSON object");
    expect_wrong(&s, "[]", "", "another value");
    expect_wrong(&s, "{\"user\":1}{", "", "not one JSON object");
    expect_wrong(&s, "{\"user\":\"\xff\"}", "", "UTF-8");
    expect_wrong(&s, "{\"user\":1,\"user\":2}", "/user", "twice");
    expect_wrong(&s, "{\"user\":[1]}", "/user", "`user` is not an id");
    expect_wrong(&s, "{\"a/b~c\":1}", "/a~1b~0c", "no member `a/b~c`");
    expect_wrong(&s, "{\"profile\":{\"age\":[1,2.5]}}", "/profile/age/1", "`age` is not an id");
    expect_wrong(&s, "{\"context\":3}", "/context", "not an object of fields");
    expect_wrong(&s, "{\"sequences\":{\"clicks\":[{},{\"v\":true}]}}", "/sequences/clicks/1/v",
                 "`v` is not");
    expect_wrong(&s, "{\"sequences\":{\"clicks\":{}}}", "/sequences/clicks", "not a list");
    expect_wrong(&s, "{\"candidates\":[{},3]}", "/candidates/1", "not an object of fields");
    expect_wrong(&s, "{\"candidates\":[{},{},{}]}", "/candidates", "at most 2");
    expect_wrong(&s, "{\"time\":3}", "/time", "no member `time`");
    expect_wrong(&s, "{\"requests\":[{},{\"user\":{}}]}", "/requests/1/user", "not an id");
    expect_wrong(&s, "{\"requests\":[{},7]}", "/requests/1", "not an object");
    expect_wrong(&s, "{\"requests\":[{},{},{},{}]}", "/requests", "at most 3");
    expect_wrong(&s, "{\"requests\":{}}", "/requests", "not a list");
    expect_wrong(&s, "{\"requests\":[],\"user\":1}", "/requests", "beside");
    expect_wrong(&s, "{\"user\":1,\"requests\":[]}", "/requests", "no member `requests`");
    expect_wrong(&s, "{\"profile\":{\"a\\u0000b\":1}}", "", "NUL");
    s.takes_time = true;
    expect_wrong(&s, "{\"time\":-1}", "/time", "a time in milliseconds");
    expect_wrong(&s, "{\"time\":1.5}", "/time", "a time in milliseconds");
    expect_wrong(&s, "{\"time\":9007199254740993}", "/time", "a time in milliseconds");
    expect_wrong(&s, "{\"time\":\"now\"}", "/time", "a time in milliseconds");
    score_json_release(&s);
}

static void expect_user(struct score_json *s, const char *json, const char *id)
{
    char text[128];
    struct undine_err err = {0};
    (void)snprintf(text, sizeof text, "{\"user\":%s}", json);
    if (score_json_parse(s, text, strlen(text), &err) < 0) {
        fail_msg("%s: %s", text, err.msg);
    }
    assert_int_equal(s->request.user_id.len, strlen(id));
    assert_memory_equal(s->request.user_id.data, id, strlen(id));
}

static void test_ids_keep_their_digits(void **state)
{
    (void)state;
    struct score_json s;
    score_json_init(&s);
    expect_user(&s, "0", "0");
    expect_user(&s, "-7", "-7");
    expect_user(&s, "9223372036854775807", "9223372036854775807");
    expect_user(&s, "-9223372036854775808", "-9223372036854775808");
    expect_user(&s, "18446744073709551615", "18446744073709551615");
    expect_user(&s, "123456789012345678901234567890", "123456789012345678901234567890");
    expect_user(&s, "-24437543576437167724072796160", "-24437543576437167724072796160");
    expect_user(&s, "\"123456789012345678901234567890\"", "123456789012345678901234567890");
    expect_user(&s, "\"a\\u00e9\\\"\"", "a\xc3\xa9\"");
    score_json_release(&s);
}

static void test_whole_request(void **state)
{
    (void)state;
    struct score_json s;
    struct undine_err err = {0};
    score_json_init(&s);
    s.requests_max = 10;
    s.takes_time = true;
    const char *text = "{\"requests\":[{},{\"user\":\"u\",\"profile\":{\"age\":3},\"context\":null,"
                       "\"sequences\":{\"clicks\":[{\"v\":1},{\"v\":[2,null],\"w\":[]}],\"buys\":"
                       "null},\"candidates\":[{\"v\":5},{}],\"time\":77.0}]}";
    assert_int_equal(score_json_load(&s, text, strlen(text), &err), 2);
    assert_int_equal(score_json_take(&s, 0, &err), UNDINE_OK);
    assert_false(s.has_sequences);
    assert_int_equal(s.time_ms, -1);
    assert_int_equal(score_json_take(&s, 1, &err), UNDINE_OK);
    const struct undine_request *r = &s.request;
    assert_true(s.has_sequences);
    assert_int_equal(s.time_ms, 77);
    assert_int_equal(r->user.n_features, 1);
    assert_string_equal(r->user.features[0].field, "age");
    assert_int_equal(r->context.n_features, 0);
    assert_int_equal(r->n_sequences, 2);
    assert_string_equal(r->sequences[0].name, "clicks");
    assert_int_equal(r->sequences[0].n_steps, 2);
    const struct undine_features *step = &r->sequences[0].steps[1];
    assert_int_equal(step->features[0].n_values, 2);
    assert_memory_equal(step->features[0].values[0].data, "2", 1);
    assert_int_equal(step->features[0].values[1].len, 0);
    assert_int_equal(step->features[1].n_values, 0);
    /* one text for one name at one place */
    assert_ptr_equal(step->features[0].field, r->candidates[0].features[0].field);
    assert_int_equal(r->sequences[1].n_steps, 0);
    assert_int_equal(r->n_candidates, 2);
    score_json_release(&s);
}

static void check_number(float p)
{
    struct writer w;
    writer_init(&w);
    score_json_answer(&w, 5, &p, 1);
    writer_u8(&w, 0);
    static const char begin[] = "{\"version\":5,\"scores\":[";
    char *end = NULL;
    assert_memory_equal(w.data, begin, sizeof begin - 1);
    const char *number = (const char *)w.data + sizeof begin - 1;
    float again = strtof(number, &end);
    if (again != p || strcmp(end, "]}") != 0 || strlen(number) > 20) {
        fail_msg("%.12g is written as %s", (double)p, (const char *)w.data);
    }
    writer_release(&w);
}

static void test_scores_read_back_as_they_were(void **state)
{
    (void)state;
    static const float edges[] = {0.0F,   1.0F,           0.5F,    0.1F,   0.01F,
                                  0.001F, 0.0999F,        0.9999F, 1e-30F, 0.99999994F,
                                  1e-3F,  0.00999999978F, 0.25F,   1e-45F, 0.09999999F};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        check_number(edges[i]);
        check_number(nextafterf(edges[i], 0.0F));
        check_number(nextafterf(edges[i], 1.0F));
    }
    struct random r = {.state = 7};
    for (int i = 0; i < 200000; i++) {
        double u = random_unit(&r);
        check_number((float)(i % 2 == 0 ? u : exp(-12.0 * u)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_ids_keep_their_digits),
        cmocka_unit_test(test_whole_request),
        cmocka_unit_test(test_scores_read_back_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
