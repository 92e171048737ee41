/* JSON text: what is wrong with it is told from what the machine lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the four above */
#include <cmocka.h>

#include "learner/model/json_text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char text[] = "{\"name\": \"a manifest\", \"list\": [1, 2.5, {\"deep\": null}], "
                           "\"number\": 18446744073709, \"other\": \"\\u00e4\"}";
static unsigned asked, refused_at; /* refused_at 0 = never */

static void *refusing_malloc(size_t bytes)
{
    return ++asked == refused_at ? NULL : malloc(bytes);
}

static int parse(const char *what, struct undine_err *err)
{
    json_t *json = NULL;
    int rc = json_text_parse(&json, what, strlen(what), err);
    assert_true((rc == 0) == (json != NULL));
    json_decref(json);
    return rc;
}

static void test_refused_memory_is_no_mistake_of_the_text(void **state)
{
    (void)state;
    struct undine_err err = {0};
    unsigned misread = 0;
    json_set_alloc_funcs(refusing_malloc, free);
    refused_at = asked = 0;
    assert_int_equal(parse(text, &err), 0);
    for (unsigned all = asked, n = 1; n <= all; n++) {
        json_error_t why;
        refused_at = n;
        asked = 0;
        assert_null(json_loads(text, 0, &why));
        misread += why.text[0] != '\0' && json_error_code(&why) != json_error_out_of_memory;
        asked = 0;
        assert_int_equal(parse(text, &err), 0); /* it is there the second time */
    }
    json_set_alloc_funcs(malloc, free);
    assert_true(misread > 0); /* else the second time is for nothing */
}

static void *no_malloc(size_t bytes)
{
    (void)bytes;
    return NULL;
}

static void test_no_memory_at_all(void **state)
{
    (void)state;
    struct undine_err err = {0};
    json_set_alloc_funcs(no_malloc, free);
    assert_int_equal(parse(text, &err), UNDINE_ENOMEM);
    json_set_alloc_funcs(malloc, free);
    assert_non_null(strstr(err.msg, "no memory"));
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "{", "{\"a\":1}x", "{\"a\":1,\"a\":2}", "{\"a\":\n01}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct undine_err err = {0};
        assert_int_equal(parse(wrong[i], &err), UNDINE_ECORRUPT);
        assert_non_null(strstr(err.msg, i == 4 ? "line 2: " : "line 1: "));
    }
}

static void test_a_file_is_read_or_named(void **state)
{
    (void)state;
    char path[] = "/tmp/undine-json-XXXXXX";
    struct undine_err err = {0};
    json_t *json = NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(json_text_read(&json, path, &err), UNDINE_ECORRUPT); /* empty */
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(json_text_read(&json, path, &err), 0);
    assert_int_equal(json_object_size(json), 4);
    json_decref(json);
    json_set_alloc_funcs(no_malloc, free);
    assert_int_equal(json_text_read(&json, path, &err), UNDINE_ENOMEM);
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(write(fd, "}", 1), 1);
    assert_int_equal(json_text_read(&json, path, &err), UNDINE_ECORRUPT);
    assert_memory_equal(err.msg, path, strlen(path));
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(json_text_read(&json, path, &err), UNDINE_ENOTFOUND);
}

static void test_printed_whole_or_not_at_all(void **state)
{
    (void)state;
    json_t *json = NULL;
    assert_int_equal(json_text_parse(&json, text, strlen(text), NULL), 0);
    char *whole = json_text_print(json, JSON_COMPACT), *theirs = json_dumps(json, JSON_COMPACT);
    assert_string_equal(whole, theirs);
    assert_null(json_text_print(NULL, 0));
    json_set_alloc_funcs(refusing_malloc, free);
    asked = refused_at = 0;
    char *again = json_text_print(json, JSON_COMPACT);
    for (unsigned all = asked, n = 1; n <= all; n++) {
        refused_at = n;
        asked = 0;
        char *got = json_text_print(json, JSON_COMPACT);
        assert_true(got == NULL || strcmp(got, whole) == 0);
        free(got);
    }
    json_set_alloc_funcs(malloc, free);
    free(again);
    free(whole);
    free(theirs);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_memory_is_no_mistake_of_the_text),
        cmocka_unit_test(test_no_memory_at_all),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_a_file_is_read_or_named),
        cmocka_unit_test(test_printed_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
