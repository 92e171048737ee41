#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/version_history.h"
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

/* ---- rollback and hold ---- */

static const struct version_act OPERATOR = {.by = "command", .reason = "a \"bad\" day", .at_ms = 7};

static void assert_state(uint64_t current, bool held)
{
    struct version_state st;
    assert_int_equal(version_state(dir, &st, NULL), UNDINE_OK);
    assert_int_equal(st.current, current);
    assert_int_equal(st.hold.held, held);
}

static void assert_standing(uint64_t number, enum version_standing standing)
{
    struct version_history h;
    assert_int_equal(version_history_read(&h, dir, NULL), UNDINE_OK);
    assert_int_equal(version_history_standing(&h, number), standing);
    version_history_release(&h);
}

static void publish_many(unsigned n, struct version_info info[])
{
    for (unsigned i = 0; i < n; i++) {
        write_version(i + 1, true, &info[i]);
    }
}

static void test_a_rolled_back_version_is_not_picked_up_again(void **state)
{
    (void)state;
    struct version_info info[8];
    uint64_t from = 0, now = 0, oldest;
    publish_many(4, info);
    assert_int_equal(version_rollback(dir, 2, &OPERATOR, &from, &now, NULL), UNDINE_OK);
    assert_int_equal(from, 4);
    assert_int_equal(now, 2);
    assert_state(2, true);
    assert_standing(2, VERSION_PUBLISHED);
    assert_standing(3, VERSION_WITHDRAWN);
    assert_standing(4, VERSION_WITHDRAWN);
    assert_int_equal(version_republish(dir, &info[3], NULL), UNDINE_OK); /* a restart */
    assert_state(2, true);
    write_version(5, true, &info[4]); /* its descendant */
    assert_state(2, true);
    assert_int_equal(version_publish(dir, &info[4], NULL), 0);
    assert_int_equal(version_republish(dir, &info[4], NULL), UNDINE_OK);
    assert_state(2, true);
    assert_standing(5, VERSION_UNPUBLISHED);
    assert_int_equal(version_retain(dir, 2, &oldest, NULL), UNDINE_OK);
    assert_int_equal(oldest, 400); /* 4 and 5 for a restart, 1 and 2 for scorers */
    assert_int_equal(version_info_read(dir, 1, &info[0], NULL), UNDINE_OK);
    assert_int_equal(version_info_read(dir, 3, &info[0], NULL), UNDINE_ENOTFOUND);
    assert_int_equal(version_resume(dir, &OPERATOR, NULL), 1);
    assert_int_equal(version_resume(dir, &OPERATOR, NULL), 0);
    assert_state(2, false);
    assert_int_equal(version_republish(dir, &info[3], NULL), UNDINE_OK); /* a restart from 4 */
    assert_state(2, false);
    assert_int_equal(version_publish(dir, &info[4], NULL), 1);
    assert_state(5, false);
    assert_standing(4, VERSION_WITHDRAWN);
}

static void test_rollback_without_a_number_takes_the_one_before(void **state)
{
    (void)state;
    struct version_info info[8];
    struct undine_err err = {0};
    char path[VERSION_PATH_MAX];
    uint64_t now;
    publish_many(3, info);
    write_version(4, false, &info[3]);
    assert_int_equal(version_refuse(dir, &info[3], "logloss", NULL), UNDINE_OK);
    assert_standing(4, VERSION_REFUSED);
    write_version(5, true, &info[4]);
    assert_int_equal(version_path(path, dir, "000000000003/model.safetensors", NULL), UNDINE_OK);
    version_fixture_overwrite(path, "cut", 3);
    assert_int_equal(version_rollback(dir, 0, &OPERATOR, NULL, &now, NULL), UNDINE_OK);
    assert_int_equal(now, 2); /* 4 was refused, 3 is damaged */
    assert_int_equal(version_rollback(dir, 0, &OPERATOR, NULL, &now, NULL), UNDINE_OK);
    assert_int_equal(now, 1);
    assert_int_equal(version_rollback(dir, 0, &OPERATOR, NULL, &now, &err), UNDINE_ENOTFOUND);
    assert_state(1, true);
}

static void test_rollback_refuses_what_is_no_way_back(void **state)
{
    (void)state;
    struct version_info info[8];
    struct undine_err err = {0};
    assert_int_equal(version_rollback(dir, 0, &OPERATOR, NULL, NULL, &err), UNDINE_ENOTFOUND);
    publish_many(2, info);
    write_version(3, false, &info[2]);
    write_version(4, true, &info[3]);
    assert_int_equal(version_rollback(dir, 4, &OPERATOR, NULL, NULL, &err), UNDINE_ESTATE);
    assert_int_equal(version_rollback(dir, 5, &OPERATOR, NULL, NULL, &err), UNDINE_ESTATE);
    assert_int_equal(version_rollback(dir, 3, &OPERATOR, NULL, NULL, &err), UNDINE_ESTATE);
    assert_non_null(strstr(err.msg, "never published"));
    assert_state(4, false);
    assert_int_equal(version_rollback(dir, 2, &OPERATOR, NULL, NULL, &err), UNDINE_OK);
    assert_int_equal(version_publish_number(dir, 1, &OPERATOR, &err), UNDINE_ESTATE);
    assert_int_equal(version_publish_number(dir, 9, &OPERATOR, &err), UNDINE_ENOTFOUND);
    assert_state(2, true);
}

static void test_a_withdrawn_version_is_published_again_by_hand_alone(void **state)
{
    (void)state;
    struct version_info info[8];
    publish_many(3, info);
    assert_int_equal(version_rollback(dir, 1, &OPERATOR, NULL, NULL, NULL), UNDINE_OK);
    assert_int_equal(version_publish_number(dir, 3, &OPERATOR, NULL), UNDINE_OK);
    assert_state(3, true); /* the hold stays */
    assert_standing(3, VERSION_PUBLISHED);
    assert_standing(2, VERSION_WITHDRAWN);
    assert_int_equal(version_republish(dir, &info[2], NULL), UNDINE_OK);
    assert_state(3, true);
    assert_int_equal(version_rollback(dir, 2, &OPERATOR, NULL, NULL, NULL), UNDINE_ESTATE);
    assert_state(3, true);
}

static void test_a_hold_that_cannot_be_read_holds(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "[]", "{\"version\":\"x\"}", "null"};
    struct version_info info[2];
    struct version_state st;
    char path[VERSION_PATH_MAX];
    publish_many(1, info);
    write_version(2, false, &info[1]);
    assert_int_equal(version_path(path, dir, "HOLD", NULL), UNDINE_OK);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        version_fixture_overwrite(path, texts[i], strlen(texts[i]));
        assert_int_equal(version_publish(dir, &info[1], NULL), 0);
        assert_int_equal(version_state(dir, &st, NULL), UNDINE_OK);
        assert_true(st.hold.held);
        assert_true(strlen(st.hold.reason) > 5);
        assert_int_equal(version_resume(dir, &OPERATOR, NULL), 1);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(version_publish(dir, &info[1], NULL), 1);
}

static void test_hold_and_resume_tell_who_and_why(void **state)
{
    (void)state;
    struct version_info info[2];
    struct version_state st;
    char text[8192];
    publish_many(1, info);
    assert_int_equal(version_hold(dir, &OPERATOR, NULL), 1);
    assert_int_equal(version_hold(dir, &OPERATOR, NULL), 0);
    assert_int_equal(version_state(dir, &st, NULL), UNDINE_OK);
    assert_string_equal(st.hold.by, "command");
    assert_string_equal(st.hold.reason, "a \"bad\" day");
    assert_int_equal(st.hold.at_ms, 7);
    assert_int_equal(version_resume(dir, &OPERATOR, NULL), 1);
    assert_int_equal(version_files_tail(dir, "HISTORY", text, sizeof text, NULL), UNDINE_OK);
    assert_non_null(strstr(text, "{\"event\":\"hold\",\"at_ms\":7,\"by\":\"command\","
                                 "\"reason\":\"a \\\"bad\\\" day\"}\n{\"event\":\"resume\""));
}

static void test_a_refused_version_is_not_published_at_a_restart(void **state)
{
    (void)state;
    struct version_info info[2];
    publish_many(1, info);
    write_version(2, false, &info[1]);
    info[1].refused = true;
    assert_int_equal(version_republish(dir, &info[1], NULL), UNDINE_OK);
    assert_state(1, false);
    info[1].refused = false;
    assert_int_equal(version_republish(dir, &info[1], NULL), UNDINE_OK);
    assert_state(2, false);
}

static void test_history_is_cut_in_two(void **state)
{
    (void)state;
    struct version_info info[3];
    char path[VERSION_PATH_MAX], old[VERSION_PATH_MAX];
    publish_many(2, info);
    assert_int_equal(version_path(path, dir, "HISTORY", NULL), UNDINE_OK);
    assert_int_equal(version_path(old, dir, "HISTORY.1", NULL), UNDINE_OK);
    assert_int_equal(truncate(path, 16 << 20), 0); /* one long line of zeros */
    write_version(3, true, &info[2]);
    assert_int_equal(access(old, F_OK), 0);
    assert_standing(2, VERSION_PUBLISHED);
    assert_standing(3, VERSION_PUBLISHED);
    assert_int_equal(version_rollback(dir, 0, &OPERATOR, NULL, NULL, NULL), UNDINE_OK);
    assert_state(2, true);
}

/* Two writers: each rollback and each publication of the other happens as a whole. */
static void test_a_command_beside_a_writer(void **state)
{
    (void)state;
    struct version_info info[40];
    int all;
    publish_many(2, info);
    pid_t pid = fork();
    assert_true(pid >= 0);
    for (unsigned i = 0; pid == 0 && i < 30; i++) {
        bool ok = version_rollback(dir, 0, &OPERATOR, NULL, NULL, NULL) != UNDINE_EIO &&
                  version_resume(dir, &OPERATOR, NULL) >= 0;
        if (!ok || i == 29) {
            _exit(ok ? 0 : 1);
        }
    }
    for (unsigned i = 2; i < 30; i++) {
        uint64_t oldest;
        write_version(i + 1, true, &info[i]);
        assert_int_equal(version_retain(dir, 3, &oldest, NULL), UNDINE_OK);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct version_state st;
    assert_int_equal(version_state(dir, &st, NULL), UNDINE_OK);
    assert_false(st.hold.held);
    assert_standing(st.current, VERSION_PUBLISHED);
    struct version_info current;
    assert_int_equal(version_info_read(dir, st.current, &current, NULL), UNDINE_OK);
    (void)lines_of(1, &all);
}

#ifdef UNDINE_FAULTS
static void kill_at(const char *place, void (*act)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("UNDINE_FAULT", place, 1);
        act();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void roll_back_to_1(void)
{
    (void)version_rollback(dir, 1, &OPERATOR, NULL, NULL, NULL);
}

static void resume(void)
{
    (void)version_resume(dir, &OPERATOR, NULL);
}

/* Either nothing has happened or, after the next start, all of it, and it is told of once. */
static void test_a_kill_within_a_rollback_is_made_good(void **state)
{
    (void)state;
    static const char *const places[] = {"hold.before_write",     "hold.after_write",
                                         "file.before_sync",      "hold.after_rename",
                                         "file.before_sync:2",    "publish.before_current",
                                         "publish.after_current", "publish.before_history",
                                         "file.before_sync:3",    "publish.after_history"};
    struct version_info info[3];
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        version_fixture_remove(dir);
        version_fixture_temp_dir(dir);
        publish_many(3, info);
        kill_at(places[i], roll_back_to_1);
        assert_int_equal(version_republish(dir, &info[2], NULL), UNDINE_OK);
        bool done = i >= 3;
        int all;
        assert_state(done ? 1 : 3, done);
        assert_standing(3, done ? VERSION_WITHDRAWN : VERSION_PUBLISHED);
        (void)lines_of(1, &all);
        assert_int_equal(all, done ? 4 : 3);
        assert_int_equal(version_republish(dir, &info[2], NULL), UNDINE_OK);
        (void)lines_of(1, &all);
        assert_int_equal(all, done ? 4 : 3);
    }
}

static void test_a_kill_within_resume_leaves_a_hold_or_none(void **state)
{
    (void)state;
    static const char *const places[] = {"publish.before_history", "hold.before_remove",
                                         "hold.after_remove"};
    struct version_info info[3];
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        version_fixture_remove(dir);
        version_fixture_temp_dir(dir);
        publish_many(3, info);
        roll_back_to_1();
        kill_at(places[i], resume);
        assert_int_equal(version_republish(dir, &info[2], NULL), UNDINE_OK);
        assert_state(1, i < 2); /* and 3, which was withdrawn, does not come back */
    }
}

static void publish_2(void)
{
    write_version(2, true, NULL);
}

static void test_a_kill_while_history_is_cut_in_two(void **state)
{
    (void)state;
    static const char *const places[] = {"rotate.before_rename", "rotate.after_rename"};
    char path[VERSION_PATH_MAX];
    struct version_info info;
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        version_fixture_remove(dir);
        version_fixture_temp_dir(dir);
        publish_many(1, &info);
        assert_int_equal(version_path(path, dir, "HISTORY", NULL), UNDINE_OK);
        assert_int_equal(truncate(path, 16 << 20), 0);
        kill_at(places[i], publish_2);
        assert_int_equal(version_info_read(dir, 2, &info, NULL), UNDINE_OK);
        assert_int_equal(version_republish(dir, &info, NULL), UNDINE_OK);
        assert_state(2, false);
        assert_standing(1, VERSION_PUBLISHED);
        assert_standing(2, VERSION_PUBLISHED);
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
        CASE(test_a_rolled_back_version_is_not_picked_up_again),
        CASE(test_rollback_without_a_number_takes_the_one_before),
        CASE(test_rollback_refuses_what_is_no_way_back),
        CASE(test_a_withdrawn_version_is_published_again_by_hand_alone),
        CASE(test_a_hold_that_cannot_be_read_holds),
        CASE(test_hold_and_resume_tell_who_and_why),
        CASE(test_a_refused_version_is_not_published_at_a_restart),
        CASE(test_history_is_cut_in_two),
        CASE(test_a_command_beside_a_writer),
#ifdef UNDINE_FAULTS
        CASE(test_a_kill_is_made_good_at_the_next_start),
        CASE(test_a_kill_within_a_rollback_is_made_good),
        CASE(test_a_kill_within_resume_leaves_a_hold_or_none),
        CASE(test_a_kill_while_history_is_cut_in_two),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
