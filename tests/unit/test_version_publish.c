#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version_files.h"
#include "learner/version_publish.h"
#include "tests/support/version_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[VERSION_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    version_fixture_temp_dir(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    version_fixture_remove(dir);
    return 0;
}

static void write_version(uint64_t seed, bool publish, struct version_info *info)
{
    struct version_fixture f = {.seed = seed, .n_rows = 2, .trained_seq = 100 * seed};
    version_fixture_write(dir, &f, publish, info);
}

static void assert_current(const char *name)
{
    char current[VERSION_NAME_MAX];
    assert_int_equal(version_current(dir, current, NULL), UNDINE_OK);
    assert_string_equal(current, name);
}

/* Lines of HISTORY that tell of this version, and all of its lines. */
static int lines_of(unsigned number, int *all)
{
    char text[8192], word[64];
    int n = 0;
    assert_int_equal(version_files_tail(dir, "HISTORY", text, sizeof text, NULL), UNDINE_OK);
    (void)snprintf(word, sizeof word, "\"version\":%u,", number);
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        n++;
    }
    *all = 0;
    for (const char *at = strchr(text, '\n'); at != NULL; at = strchr(at + 1, '\n')) {
        (*all)++;
    }
    return n;
}

static void test_an_unpublished_version_is_published(void **state)
{
    (void)state;
    struct version_info info;
    int all;
    write_version(1, false, &info);
    assert_int_equal(version_republish(dir, &info, NULL), UNDINE_OK);
    assert_current("000000000001");
    write_version(2, false, &info);
    assert_current("000000000001");
    for (int again = 0; again < 3; again++) {
        assert_int_equal(version_republish(dir, &info, NULL), UNDINE_OK);
        assert_current("000000000002");
        assert_int_equal(lines_of(2, &all), 1);
        assert_int_equal(all, 2);
    }
}

static void test_current_never_goes_back(void **state)
{
    (void)state;
    struct version_info old, info;
    int all;
    write_version(1, true, &old);
    write_version(2, true, &info);
    assert_int_equal(version_republish(dir, &old, NULL), UNDINE_OK);
    assert_current("000000000002");
    assert_int_equal(lines_of(1, &all), 1);
    assert_int_equal(all, 2);
}

/* A version that was published and is lost, or damaged: scorers must not wait for it for ever. */
static void test_current_goes_back_from_what_is_no_version(void **state)
{
    (void)state;
    struct version_info old, info;
    char path[VERSION_PATH_MAX];
    write_version(1, true, &old);
    assert_int_equal(version_path(path, dir, "CURRENT", NULL), UNDINE_OK);
    version_fixture_overwrite(path, "000000000009\n", 13);
    assert_int_equal(version_republish(dir, &old, NULL), UNDINE_OK);
    assert_current("000000000001");
    write_version(2, true, &info);
    assert_int_equal(version_path(path, dir, "000000000002/model.safetensors", NULL), UNDINE_OK);
    version_fixture_overwrite(path, "cut", 3);
    assert_int_equal(version_republish(dir, &old, NULL), UNDINE_OK);
    assert_current("000000000001");
}

static void test_a_missing_or_cut_line_of_history_is_written(void **state)
{
    (void)state;
    struct version_info info;
    char path[VERSION_PATH_MAX], text[8192];
    int all;
    write_version(1, true, &info);
    write_version(12, true, &info);
    assert_int_equal(version_path(path, dir, "HISTORY", NULL), UNDINE_OK);
    assert_int_equal(version_files_tail(dir, "HISTORY", text, sizeof text, NULL), UNDINE_OK);
    size_t len = strlen(text), first = strcspn(text, "\n") + 1;
    for (size_t cut = 0; cut < len; cut++) {
        version_fixture_overwrite(path, text, cut);
        assert_int_equal(version_republish(dir, &info, NULL), UNDINE_OK);
        if (cut >= first) {
            assert_int_equal(lines_of(1, &all), 1);
        }
        assert_true(lines_of(2, &all) >= 1);
        assert_int_equal(all, cut == 0 || cut == len - 1 ? 1 : cut <= first ? 2 : 3);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(version_republish(dir, &info, NULL), UNDINE_OK);
    assert_int_equal(lines_of(2, &all), 1);
}

#ifdef UNDINE_FAULTS
/* Killed at any step of writing and publishing, the next start has the newest whole version
 * published, and told of once. */
static void test_a_kill_is_made_good_at_the_next_start(void **state)
{
    (void)state;
    static const char *const places[] = {
        "publish.before_directory", "publish.after_directory", "tensors.before_write",
        "tensors.before_sync:2",    "publish.after_model",     "publish.after_train",
        "file.before_write",        "publish.after_manifest",  "directory.before_sync",
        "publish.before_rename",    "directory.before_sync:2", "publish.after_rename",
        "file.before_sync:2",       "publish.before_current",  "directory.after_sync:3",
        "publish.after_current",    "publish.before_history",  "file.before_sync:3",
        "publish.after_history"};
    struct version_info info;
    struct undine_err err = {0};
    int all;
    write_version(1, true, &info);
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)setenv("UNDINE_FAULT", places[i], 1);
            write_version(i + 2, true, NULL);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        struct snapshot *s = NULL;
        assert_int_equal(version_restore(dir, 0, UINT64_MAX, &s, &info, NULL, NULL, &err), 1);
        snapshot_free(s);
        assert_int_equal(info.trained_seq, 100 * (i >= 10 ? i + 2 : 1));
        assert_int_equal(version_republish(dir, &info, &err), UNDINE_OK);
        assert_current(info.name);
        assert_int_equal(lines_of((unsigned)info.number, &all), 1);
    }
}
#endif

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_an_unpublished_version_is_published),
        CASE(test_current_never_goes_back),
        CASE(test_current_goes_back_from_what_is_no_version),
        CASE(test_a_missing_or_cut_line_of_history_is_written),
#ifdef UNDINE_FAULTS
        CASE(test_a_kill_is_made_good_at_the_next_start),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
