/* Plain and compressed files read back what was written; damage is an error. */
#include "ops/zfile.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

enum { LINES = 100000 };
static char dir[] = "/tmp/undine-zfile-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_lines(const char *path)
{
    struct undine_err err = {0};
    FILE *f = zfile_write(path, &err);
    assert_non_null(f);
    for (int i = 0; i < LINES; i++) {
        assert_true(fprintf(f, "line %d\n", i) > 0);
    }
    assert_int_equal(zfile_close(f, path, &err), UNDINE_OK);
}

/* Lines read before the end or an error, whose code is *rc. */
static int read_lines(const char *path, int *rc, struct undine_err *err)
{
    char line[64], expected[64];
    int n = 0;
    FILE *f = zfile_read(path, err);
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        (void)snprintf(expected, sizeof expected, "line %d\n", n++);
        if (strchr(line, '\n') != NULL) {
            assert_string_equal(line, expected);
        }
    }
    *rc = zfile_close(f, path, err);
    return n;
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {"a.jsonl", "a.jsonl.zst"};
    off_t sizes[2];
    for (int i = 0; i < 2; i++) {
        struct undine_err err = {0};
        int rc = -1;
        write_lines(path_of(names[i]));
        assert_int_equal(read_lines(path_of(names[i]), &rc, &err), LINES);
        assert_int_equal(rc, UNDINE_OK);
        sizes[i] = size_of(path_of(names[i]));
        assert_int_equal(unlink(path_of(names[i])), 0);
    }
    assert_true(sizes[1] < sizes[0] / 4);
}

static void test_empty(void **state)
{
    (void)state;
    struct undine_err err = {0};
    int rc = -1;
    FILE *f = zfile_write(path_of("e.zst"), &err);
    assert_int_equal(zfile_close(f, "e.zst", &err), UNDINE_OK);
    assert_int_equal(read_lines(path_of("e.zst"), &rc, &err), 0);
    assert_int_equal(rc, UNDINE_OK);
    assert_int_equal(unlink(path_of("e.zst")), 0);
}

static void test_cut_and_damaged(void **state)
{
    (void)state;
    const char *path = path_of("d.zst");
    struct undine_err err = {0};
    int rc = 0;
    write_lines(path);
    assert_int_equal(truncate(path, size_of(path) - 10), 0);
    assert_true(read_lines(path, &rc, &err) <= LINES);
    assert_int_equal(rc, UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, "damaged or cut short"));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs("this is not zstd at all", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(read_lines(path, &rc, &err), 0);
    assert_int_equal(rc, UNDINE_ECORRUPT);
    assert_int_equal(unlink(path), 0);
}

static void test_errors(void **state)
{
    (void)state;
    struct undine_err err = {0};
    assert_null(zfile_read("/nonexistent/x.zst", &err));
    assert_string_equal(err.msg, "/nonexistent/x.zst: open: No such file or directory");
    FILE *f = zfile_write("/dev/full", &err);
    assert_non_null(f);
    assert_true(fputs("x", f) >= 0);
    assert_int_equal(zfile_close(f, "/dev/full", &err), UNDINE_EIO);
    assert_string_equal(err.msg, "/dev/full: No space left on device");
    assert_int_equal(zfile_close(NULL, "", NULL), UNDINE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_cut_and_damaged),
        cmocka_unit_test(test_errors),
    };
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(dir) != 0 || failed != 0;
}
