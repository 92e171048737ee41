/* CSV as RFC 4180 has it and as files in the wild have it; every bad file is an error with its
 * line. */
#include "ops/csv.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

static char path[] = "/tmp/undine-csv-XXXXXX";

static struct csv *open_text(const char *text, size_t len, const struct csv_options *opt)
{
    struct undine_err err = {0};
    struct csv *c = NULL;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    if (csv_open(&c, path, opt, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    return c;
}

/* All rows as one text: fields in <>, rows in lines. */
static void expect(const char *text, const struct csv_options *opt, const char *expected)
{
    char got[1024] = "";
    struct undine_err err = {0};
    struct csv_row row;
    struct csv *c = open_text(text, strlen(text), opt);
    int rc;
    while ((rc = csv_next(c, &row, &err)) == 1) {
        for (size_t i = 0; i < row.n; i++) {
            size_t len = strlen(got);
            (void)snprintf(got + len, sizeof got - len, "<%s>", row.field[i]);
        }
        (void)strcat(got, "|");
    }
    csv_close(c);
    if (rc != 0 || strcmp(got, expected) != 0) {
        fail_msg("rc %d %s\n  got      %s\n  expected %s", rc, err.msg, got, expected);
    }
}

static const struct csv_options plain = {',', false, true}, headed = {',', true, true},
                                tabs = {'\t', false, false};

static void test_rows(void **state)
{
    (void)state;
    expect("a,b\nc,d\n", &plain, "<a><b>|<c><d>|");
    expect("a,b\nc,d", &plain, "<a><b>|<c><d>|");
    expect("a,b\r\nc,d\r\n", &plain, "<a><b>|<c><d>|");
    expect("a,\n,b\n,\n", &plain, "<a><>|<><b>|<><>|");
    expect("a,", &plain, "<a><>|");
    expect("\n\r\na\n\n\nb\n\n", &plain, "<a>|<b>|");
    expect("", &plain, "");
    expect("a\tb\"c\"\t\"d\n", &tabs, "<a><b\"c\"><\"d>|");
    expect("a;b,c\n", &(struct csv_options){';', false, true}, "<a><b,c>|");
    expect("a\rb,c\n", &plain, "<a\rb><c>|");
}

static void test_quotes(void **state)
{
    (void)state;
    expect("\"a,b\",c\n", &plain, "<a,b><c>|");
    expect("\"a\"\"b\",\"\"\n", &plain, "<a\"b><>|");
    expect("\"a\nb\r\nc\",d\r\n", &plain, "<a\nb\r\nc><d>|");
    expect("\"a\"", &plain, "<a>|");
    expect("\"a\r\"\r\n", &plain, "<a\r>|");
    expect("a\"b,c\n", &plain, "<a\"b><c>|");
    expect("\"\"\n", &plain, "<>|");
}

static void test_header(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbfid,name\n1,\"x\ny\"\n2,z\n";
    struct undine_err err = {0};
    struct csv_row row;
    int at = 0;
    struct csv *c = open_text(text, strlen(text), &headed);
    assert_int_equal(csv_column(c, "id"), 0);
    assert_int_equal(csv_column(c, "name"), 1);
    assert_int_equal(csv_column(c, "nam"), -1);
    assert_int_equal(csv_column_needed(c, "nmae", &at, &err), UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, ": no column `nmae`; did you mean `name`?"));
    assert_int_equal(csv_next(c, &row, &err), 1);
    assert_int_equal(row.line, 2);
    assert_int_equal(row.number, 0);
    assert_int_equal(csv_next(c, &row, &err), 1);
    assert_int_equal(row.line, 4); /* the quoted newline counts */
    assert_int_equal(row.number, 1);
    assert_int_equal(csv_next(c, &row, &err), 0);
    csv_close(c);
    c = open_text("a,b\n", 4, &plain);
    assert_int_equal(csv_column(c, "2"), 1);
    assert_int_equal(csv_column(c, "0"), -1);
    assert_int_equal(csv_column(c, "b"), -1);
    csv_close(c);
}

static void expect_error(const char *text, size_t len, const struct csv_options *opt,
                         const char *message)
{
    struct undine_err err = {0};
    struct csv_row row;
    struct csv *c = open_text(text, len, opt);
    int rc;
    while ((rc = csv_next(c, &row, &err)) == 1) {
    }
    csv_close(c);
    assert_int_equal(rc, UNDINE_ECORRUPT);
    assert_string_equal(err.msg + strlen(path), message);
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("a\n\"b\n\nc", 7, &plain,
                 ":2: a quoted field is not closed, or longer than 16 MiB");
    expect_error("a\n\"b\"c\n", 7, &plain, ":2: text stands behind a quoted field");
    expect_error("a\0b\n", 4, &plain, ":1: a NUL byte, or a row longer than 16 MiB");
    expect_error("a,b\n1,2\n1\n", 10, &headed, ":3: 1 fields, expected 2 as in the header");
    struct undine_err err = {0};
    struct csv *c = NULL;
    assert_int_equal(csv_open(&c, "/nonexistent/x.csv", &headed, &err), UNDINE_EIO);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(csv_open(&c, path, &headed, &err), UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, "the file is empty"));
}

static void test_long(void **state)
{
    (void)state;
    enum { ROWS = 20000, FIELD = 300 };
    size_t len = 0;
    char *text = malloc((size_t)ROWS * (FIELD + 16));
    assert_non_null(text);
    for (int i = 0; i < ROWS; i++) {
        len += (size_t)sprintf(text + len, "%d,", i);
        memset(text + len, 'x', FIELD);
        len += FIELD;
        text[len++] = '\n';
    }
    struct csv *c = open_text(text, len, &plain);
    struct csv_row row;
    int n = 0;
    while (csv_next(c, &row, NULL) == 1) {
        assert_int_equal(atoi(row.field[0]), n++);
        assert_int_equal(strlen(row.field[1]), FIELD);
    }
    assert_int_equal(n, ROWS);
    csv_close(c);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_quotes), cmocka_unit_test(test_header),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_long),
    };
    int fd = mkstemp(path);
    if (fd < 0) {
        return 1;
    }
    (void)close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return unlink(path) != 0 || failed != 0;
}
