/* A document that lacks a member for want of memory says so; a report that would is not printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the four above */
#include <cmocka.h>

#include "ops/json_put.h"
#include "ops/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long asked, refused_at; /* refused_at 0 = never */

static void *refusing_malloc(size_t bytes)
{
    return ++asked == refused_at ? NULL : malloc(bytes);
}

static int write_report(char **out)
{
    static struct daemon_status st;
    static struct report_parts parts;
    struct undine_err err = {0};
    size_t len = 0;
    FILE *f = open_memstream(out, &len);
    assert_non_null(f);
    int rc = report_write(f, &st, &parts, 1.0, &err);
    (void)fclose(f);
    assert_true(rc == 0 || strstr(err.msg, "no memory") != NULL);
    return rc;
}

static void expect_same(const char *a, const char *b)
{
    json_t *x = json_loads(a, 0, NULL), *y = json_loads(b, 0, NULL);
    assert_true(json_is_object(x) && json_is_object(y));
    (void)json_object_del(x, "rss_bytes");
    (void)json_object_del(y, "rss_bytes");
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
}

static void test_a_report_is_whole_or_refused(void **state)
{
    (void)state;
    char *whole = NULL, *text = NULL;
    json_set_alloc_funcs(refusing_malloc, free);
    refused_at = asked = 0;
    assert_int_equal(write_report(&whole), 0);
    unsigned long all = asked, refused = 0;
    assert_true(all > 300);
    for (unsigned long n = 1; n <= all; n++) {
        refused_at = n;
        asked = 0;
        int rc = write_report(&text);
        refused_at = 0;
        if (rc == 0) { /* a buffer that could not shrink, say */
            expect_same(text, whole);
        } else {
            assert_int_equal(rc, UNDINE_ENOMEM);
            assert_string_equal(text, "");
            refused++;
        }
        free(text);
    }
    refused_at = 0;
    json_set_alloc_funcs(malloc, free);
    assert_true(refused > all / 2);
    assert_int_equal(write_report(&text), 0); /* nothing is left of it */
    free(text);
    free(whole);
}

static void test_what_is_lost_is_told_once(void **state)
{
    (void)state;
    json_t *o = json_object(), *list = json_array();
    json_put(o, "a", json_integer(1));
    json_put_last(list, json_true());
    assert_false(json_put_lost());
    json_put(o, "b", NULL);
    assert_true(json_put_lost());
    assert_false(json_put_lost());
    json_put_last(list, NULL);
    assert_true(json_put_lost());
    assert_int_equal(json_object_size(o), 1);
    json_decref(o);
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_report_is_whole_or_refused),
        cmocka_unit_test(test_what_is_lost_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
