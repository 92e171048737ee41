/* Lines come out in the order of their time, equal times in the order of making; JSON is escaped.
 */
#include "ops/event_writer.h"

#include "base/random.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <setjmp.h>

#include <cmocka.h>

struct seen {
    char text[4096];
    char user[64];
    int64_t last_ms, last_number;
    uint64_t n;
    int fail_at;
};

static int see(void *payload, const struct event_line *line, struct undine_err *err)
{
    struct seen *s = payload;
    if (s->fail_at > 0 && s->n + 1 == (uint64_t)s->fail_at) {
        return undine_err_set(err, UNDINE_EIO, "told to fail");
    }
    s->n++;
    assert_int_equal(line->text[line->len - 1], '\n');
    if (line->len < sizeof s->text) {
        memcpy(s->text, line->text, line->len);
        s->text[line->len] = '\0';
    }
    (void)snprintf(s->user, sizeof s->user, "%s", line->user);
    return UNDINE_OK;
}

static int see_order(void *payload, const struct event_line *line, struct undine_err *err)
{
    struct seen *s = payload;
    (void)err;
    json_t *o = json_loadb(line->text, line->len, 0, NULL);
    assert_non_null(o);
    int64_t number = json_integer_value(json_object_get(o, "time")) == line->time_ms
                         ? atoll(json_string_value(json_object_get(o, "id")))
                         : -1;
    json_decref(o);
    assert_true(number >= 0);
    assert_true(line->time_ms >= s->last_ms);
    assert_true(line->time_ms > s->last_ms || number > s->last_number);
    s->last_ms = line->time_ms;
    s->last_number = number;
    s->n++;
    return UNDINE_OK;
}

static void test_json(void **state)
{
    (void)state;
    struct seen s = {0};
    struct event_writer *w = NULL;
    assert_int_equal(event_writer_open(&w, see, &s, NULL), UNDINE_OK);
    event_begin(w, EVENT_IMPRESSION, 5, "u\"\\\n\xc3\xbc");
    event_text(w, "id", "i1");
    event_text(w, "gone", "");
    event_text(w, "gone", NULL);
    event_group(w, "candidate");
    event_texts(w, "tags", "a,,b", ',');
    event_texts(w, "one", "a", ',');
    event_texts(w, "none", "", ',');
    event_texts(w, "none", ",,", ',');
    event_group_end(w);
    event_group(w, "context");
    event_group_end(w);
    event_text(w, "last", "x");
    assert_int_equal(event_end(w, NULL), UNDINE_OK);
    assert_int_equal(event_release(w, 4, NULL), UNDINE_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(event_release(w, 5, NULL), UNDINE_OK);
    assert_string_equal(s.text,
                        "{\"kind\":\"impression\",\"time\":5,\"user\":\"u\\\"\\\\\\u000a\xc3\xbc\","
                        "\"id\":\"i1\",\"candidate\":{\"tags\":[\"a\",\"b\"],\"one\":\"a\"},"
                        "\"context\":{},\"last\":\"x\"}\n");
    assert_string_equal(s.user, "u\"\\\n\xc3\xbc");
    event_begin(w, EVENT_CLICK, -7, NULL);
    assert_int_equal(event_end(w, NULL), UNDINE_OK);
    assert_int_equal(event_release(w, INT64_MAX, NULL), UNDINE_OK);
    assert_string_equal(s.text, "{\"kind\":\"click\",\"time\":-7}\n");
    assert_string_equal(s.user, "");
    event_writer_close(w);
}

static void test_order(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct seen s = {.last_ms = -1};
    struct random r = {7};
    struct event_writer *w = NULL;
    char id[16];
    assert_int_equal(event_writer_open(&w, see_order, &s, NULL), UNDINE_OK);
    for (int i = 0; i < N; i++) {
        (void)snprintf(id, sizeof id, "%d", i);
        int64_t base_ms = i / 10; /* nothing earlier than what was released */
        event_begin(w, EVENT_BEHAVIOR, base_ms + (int64_t)random_below(&r, 50), "u");
        event_text(w, "id", id);
        assert_int_equal(event_end(w, NULL), UNDINE_OK);
        assert_int_equal(event_release(w, base_ms - 1, NULL), UNDINE_OK);
    }
    assert_true(s.n > N / 2 && s.n < N);
    assert_int_equal(event_counts_of(w)->waiting, N - s.n);
    assert_int_equal(event_release(w, INT64_MAX, NULL), UNDINE_OK);
    assert_int_equal(s.n, N);
    assert_int_equal(event_counts_of(w)->lines, N);
    assert_int_equal(event_counts_of(w)->made[EVENT_BEHAVIOR], N);
    event_writer_close(w);
}

static void test_sink_fails(void **state)
{
    (void)state;
    struct seen s = {.fail_at = 2};
    struct undine_err err = {0};
    struct event_writer *w = NULL;
    assert_int_equal(event_writer_open(&w, see, &s, NULL), UNDINE_OK);
    for (int i = 0; i < 3; i++) {
        event_begin(w, EVENT_FORGET, i, "u");
        assert_int_equal(event_end(w, NULL), UNDINE_OK);
    }
    assert_int_equal(event_release(w, 10, &err), UNDINE_EIO);
    assert_string_equal(err.msg, "told to fail");
    assert_int_equal(event_counts_of(w)->lines, 1);
    event_writer_close(w); /* with a line that waits */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_sink_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
