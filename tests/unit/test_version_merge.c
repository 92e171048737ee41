/* Deltas become full versions beside the publisher; restart and retention know both kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/version_merge.h"
#include "learner/version_publish.h"
#include "tests/support/chain_world.h"
#include "tests/support/version_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[VERSION_PATH_MAX], other[VERSION_PATH_MAX];

static int make_dirs(void **state)
{
    (void)state;
    version_fixture_temp_dir(dir);
    version_fixture_temp_dir(other);
    return 0;
}

static int remove_dirs(void **state)
{
    (void)state;
    version_fixture_remove(dir);
    version_fixture_remove(other);
    return 0;
}

struct world {
    struct chain_world w;
    struct version_chain *chain;
    struct version_info info;
};

static void begin(struct world *x, uint64_t seed)
{
    *x = (struct world){0};
    chain_world_init(&x->w, seed, seed % 2 == 0, seed % 3 == 0);
    chain_world_write(&x->w, dir, &x->chain, false, true, &x->info);
}

static void deltas(struct world *x, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        chain_world_step(&x->w, 6);
        chain_world_write(&x->w, dir, &x->chain, true, true, &x->info);
    }
}

static void unpublished(struct world *x, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        chain_world_step(&x->w, 6);
        chain_world_write(&x->w, dir, &x->chain, true, false, &x->info);
    }
}

static void merge(const struct version_chain *chain, struct version_info *out)
{
    struct version_merge *m = NULL;
    struct undine_err err = {0};
    int rc = version_merge_write(&m, dir, chain->name, chain, NULL, &err);
    if (rc == UNDINE_OK) {
        rc = version_merge_commit(m, 99, out, &err);
    }
    version_merge_free(m);
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
}

static void assert_same_file(const char *a, const char *b, const char *file)
{
    char path_a[2 * VERSION_PATH_MAX], path_b[2 * VERSION_PATH_MAX];
    size_t len_a, len_b;
    (void)snprintf(path_a, sizeof path_a, "%s/%s/%s", dir, a, file);
    (void)snprintf(path_b, sizeof path_b, "%s/%s/%s", other, b, file);
    uint8_t *bytes_a = version_fixture_read(path_a, &len_a);
    uint8_t *bytes_b = version_fixture_read(path_b, &len_b);
    assert_int_equal(len_a, len_b);
    assert_memory_equal(bytes_a, bytes_b, len_a);
    free(bytes_a);
    free(bytes_b);
}

/* What a full snapshot of this moment is, to the byte. */
static void assert_is_full(const struct world *x, const struct version_info *merged)
{
    struct version_info whole;
    struct version_extra extra = {0};
    struct undine_err err = {0};
    struct snapshot *s = chain_world_look(&x->w);
    assert_int_equal(version_write(other, s, &extra, false, &whole, &err), UNDINE_OK);
    assert_string_equal(whole.digest, merged->digest);
    assert_same_file(merged->name, whole.name, MANIFEST_MODEL);
    assert_same_file(merged->name, whole.name, MANIFEST_TRAIN);
    snapshot_free(s);
}

static void test_a_merge_is_the_full_version_to_the_byte(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world x;
        struct version_info merged;
        struct version_chain *next = NULL;
        struct undine_err err = {0};
        print_message("seed %u\n", (unsigned)seed);
        begin(&x, seed);
        deltas(&x, 7);
        merge(x.chain, &merged);
        assert_int_equal(merged.merged_from, x.info.number);
        assert_int_equal(merged.number, x.info.number + 1);
        assert_int_equal(merged.trained_seq, x.info.trained_seq);
        assert_int_equal(merged.rows, x.info.rows);
        assert_false(merged.is_delta);
        assert_is_full(&x, &merged);
        /* The next delta is written on it, and a merge of that is right again. */
        assert_int_equal(version_chain_rebase(&next, dir, merged.name, x.chain, &err), UNDINE_OK);
        assert_int_equal(next->n_parts, 1);
        version_chain_close(x.chain);
        x.chain = next;
        deltas(&x, 2);
        assert_int_equal(x.info.n_chain, 2);
        merge(x.chain, &merged);
        assert_is_full(&x, &merged);
        version_chain_close(x.chain);
    }
}

/* While a merge is under way deltas go on; its number comes at the end, and they apply to it. */
static void test_deltas_go_on_beside_a_merge(void **state)
{
    (void)state;
    struct world x;
    struct version_merge *m = NULL;
    struct version_info merged;
    struct version_chain *next = NULL;
    struct undine_err err = {0};
    struct snapshot *s = NULL, *want;
    begin(&x, 11);
    deltas(&x, 4); /* 2 to 5 */
    assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, NULL, &err), UNDINE_OK);
    deltas(&x, 3); /* 6 to 8: a version is written beside it */
    assert_int_equal(version_merge_commit(m, 7, &merged, &err), UNDINE_OK);
    version_merge_free(m);
    assert_int_equal(merged.number, 9);
    assert_int_equal(merged.merged_from, 5);
    assert_int_equal(version_chain_rebase(&next, dir, merged.name, x.chain, &err), UNDINE_OK);
    assert_int_equal(next->number, 8);
    assert_int_equal(next->n_parts, 4);
    assert_memory_equal(&next->digest, &x.chain->digest, sizeof next->digest);
    version_chain_close(x.chain);
    x.chain = next;
    deltas(&x, 1);
    assert_int_equal(x.info.number, 10);
    assert_int_equal(x.info.n_chain, 4);
    assert_int_equal(x.info.base, 8);
    /* It is what a restart takes, though the old full version is gone. */
    uint64_t oldest;
    assert_int_equal(version_retain(dir, 1, &oldest, &err), UNDINE_OK);
    assert_int_equal(version_restore(dir, 0, UINT64_MAX, &s, &merged, NULL, NULL, &err), 1);
    assert_int_equal(merged.number, 10);
    want = chain_world_look(&x.w);
    assert_int_equal(snapshot_sort(want, &err), UNDINE_OK);
    chain_world_same(want, s);
    snapshot_free(s);
    snapshot_free(want);
    /* A delta that was written on what is gone now has the merged one under it. */
    assert_int_equal(version_chain_open(&next, dir, "000000000007", NULL, true, &err), UNDINE_OK);
    assert_int_equal(next->n_parts, 3);
    assert_int_equal(next->part[0]->reader->manifest.number, 9);
    assert_int_equal(next->part[1]->reader->manifest.number, 6);
    /* Who has that one open does not open it again for the delta behind. */
    struct version_chain *behind = NULL;
    assert_int_equal(version_chain_open(&behind, dir, "000000000008", next, true, &err), 0);
    assert_int_equal(behind->n_parts, 4);
    for (uint32_t i = 0; i < next->n_parts; i++) {
        assert_ptr_equal(behind->part[i], next->part[i]);
    }
    version_chain_close(behind);
    version_chain_close(next);
    /* One that was merged from something else does not go under it. */
    assert_int_equal(version_chain_rebase(&next, dir, "000000000010", x.chain, &err),
                     UNDINE_EINVAL);
    version_chain_close(x.chain);
}

struct skipped {
    unsigned n;
    char why[8][UNDINE_ERR_MSG_MAX];
};

static void note(void *payload, const char *name, const struct undine_err *why)
{
    struct skipped *to = payload;
    (void)name;
    if (to->n < 8) {
        (void)snprintf(to->why[to->n++], UNDINE_ERR_MSG_MAX, "%s", why->msg);
    }
}

static void break_file(uint64_t number, const char *file)
{
    char name[VERSION_NAME_MAX], path[VERSION_PATH_MAX + 64];
    size_t len;
    version_name(name, number);
    (void)snprintf(path, sizeof path, "%s/%s/%s", dir, name, file);
    uint8_t *bytes = version_fixture_read(path, &len);
    bytes[len / 2] ^= 1;
    version_fixture_overwrite(path, bytes, len);
    free(bytes);
}

static uint64_t restored(struct skipped *skipped)
{
    struct version_info info = {0};
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    *skipped = (struct skipped){0};
    int rc = version_restore(dir, 0, UINT64_MAX, &s, &info, note, skipped, &err);
    assert_int_equal(rc, 1);
    snapshot_free(s);
    return info.number;
}

/* The newest state whose chain is whole: what was merged from an older one waits its turn. */
static void test_a_restart_takes_the_newest_whole_chain(void **state)
{
    (void)state;
    struct world x;
    struct version_merge *m = NULL;
    struct version_info merged;
    struct undine_err err = {0};
    struct skipped skipped;
    begin(&x, 4);
    deltas(&x, 3); /* 2 to 4 */
    assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, NULL, &err), UNDINE_OK);
    deltas(&x, 2);                                                          /* 5 and 6 */
    assert_int_equal(version_merge_commit(m, 7, &merged, &err), UNDINE_OK); /* 7, of 4 */
    version_merge_free(m);
    assert_int_equal(restored(&skipped), 6);
    assert_int_equal(skipped.n, 0);
    break_file(6, MANIFEST_TRAIN);
    assert_int_equal(restored(&skipped), 5);
    assert_int_equal(skipped.n, 1);
    break_file(3, MANIFEST_MODEL); /* 4, 5 and 6 need it; 7 is the state of 4 */
    assert_int_equal(restored(&skipped), 7);
    assert_int_equal(skipped.n, 2);
    assert_non_null(strstr(skipped.why[1], "its chain needs version 3"));
    assert_non_null(strstr(skipped.why[1], "checksum"));
    break_file(7, MANIFEST_MODEL);
    assert_int_equal(restored(&skipped), 2);
    version_chain_close(x.chain);
}

static bool is_there(uint64_t number)
{
    char name[VERSION_NAME_MAX], path[VERSION_PATH_MAX + 64];
    version_name(name, number);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void assert_there(const char *which)
{
    for (uint64_t i = 0; which[i] != '\0'; i++) {
        if (is_there(i + 1) != (which[i] == '1')) {
            fail_msg("version %u: expected %c", (unsigned)i + 1, which[i]);
        }
    }
}

static void rebase(struct world *x, const struct version_info *full)
{
    struct version_chain *next = NULL;
    struct undine_err err = {0};
    assert_int_equal(version_chain_rebase(&next, dir, full->name, x->chain, &err), UNDINE_OK);
    version_chain_close(x->chain);
    x->chain = next;
}

static void test_what_a_chain_needs_stays(void **state)
{
    (void)state;
    struct world x;
    struct version_info merged;
    struct undine_err err = {0};
    uint64_t oldest, from, now;
    struct version_act act = {.at_ms = 5, .by = "test", .reason = "test"};
    begin(&x, 5);  /* 1 */
    deltas(&x, 3); /* 2 3 4 */
    merge(x.chain, &merged);
    rebase(&x, &merged);
    deltas(&x, 3); /* 5 <- 6 7 8 */
    assert_int_equal(version_retain(dir, 2, &oldest, &err), UNDINE_OK);
    /* 8 needs 5 to 7; 4, the newest on 1, is what scorers could go back to. */
    assert_there("11111111");
    assert_int_equal(oldest, 10); /* of 1 */
    merge(x.chain, &merged);      /* 9 */
    rebase(&x, &merged);
    deltas(&x, 2); /* 9 <- 10 11 */
    assert_int_equal(version_retain(dir, 2, &oldest, &err), UNDINE_OK);
    assert_there("00001111111");
    assert_int_equal(oldest, 10 + 3 * 10);
    assert_int_equal(version_retain(dir, 1, &oldest, &err), UNDINE_OK);
    assert_there("00000000111");
    /* Rolled back, the published one stays with its chain whatever comes. */
    assert_int_equal(version_rollback(dir, 10, &act, &from, &now, &err), UNDINE_OK);
    merge(x.chain, &merged); /* 12 */
    rebase(&x, &merged);
    deltas(&x, 2); /* 12 <- 13 14 */
    assert_int_equal(version_retain(dir, 1, &oldest, &err), UNDINE_OK);
    assert_there("00000000110111");
    version_chain_close(x.chain);
}

/* A merged version stands in for its delta at a restart, and is not published beside it. */
static void test_what_is_merged_is_not_published_again(void **state)
{
    (void)state;
    struct world x;
    struct version_info merged;
    struct version_state now;
    struct undine_err err = {0};
    begin(&x, 5);
    deltas(&x, 2); /* 2 3 */
    merge(x.chain, &merged);
    for (int start = 0; start < 2; start++) {
        assert_int_equal(version_republish(dir, &merged, &err), UNDINE_OK);
        assert_int_equal(version_state(dir, &now, &err), UNDINE_OK);
        assert_int_equal(now.current, 3);
    }
    break_file(3, MANIFEST_MODEL);
    assert_int_equal(version_republish(dir, &merged, &err), UNDINE_OK);
    assert_int_equal(version_state(dir, &now, &err), UNDINE_OK);
    assert_int_equal(now.current, 4);
    version_chain_close(x.chain);
}

/* What scorers take stays readable where it is not the newest for long: the beginning of its chain
 * goes when later deltas stand on a merged version, and that one stays for it. */
static void test_what_scorers_take_stays_readable(void **state)
{
    (void)state;
    struct world x;
    struct version_merge *m = NULL;
    struct version_info merged;
    struct version_chain *c = NULL;
    struct undine_err err = {0};
    uint64_t oldest;
    struct version_act act = {.at_ms = 5, .by = "test", .reason = "test"};
    begin(&x, 5);       /* 1 */
    unpublished(&x, 3); /* 2 3 4 */
    assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, NULL, &err), UNDINE_OK);
    unpublished(&x, 1); /* 5 */
    deltas(&x, 1);      /* 6 */
    assert_int_equal(version_hold(dir, &act, &err), 1);
    assert_int_equal(version_merge_commit(m, 7, &merged, &err), UNDINE_OK); /* 7, of 4 */
    version_merge_free(m);
    rebase(&x, &merged); /* 7 <- 5 6 */
    deltas(&x, 1);       /* 8 */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(version_retain(dir, 1, &oldest, &err), UNDINE_OK);
        int rc = version_chain_open(&c, dir, "000000000006", NULL, true, &err);
        if (rc < 0) {
            fail_msg("after round %u: %s", i, err.msg);
        }
        version_chain_close(c);
        merge(x.chain, &merged);
        rebase(&x, &merged);
        deltas(&x, 2);
    }
    assert_there("00001110000111111");
    version_chain_close(x.chain);
}

static void test_age_and_bytes_bound_what_stays(void **state)
{
    (void)state;
    struct world x;
    struct version_info merged;
    struct undine_err err = {0};
    uint64_t oldest;
    begin(&x, 5); /* 1; created_ms is 1000 + the step */
    for (unsigned i = 0; i < 4; i++) {
        deltas(&x, 1); /* 2, 4, 6, 8 */
        struct version_merge *m = NULL;
        assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, NULL, &err), 0);
        assert_int_equal(version_merge_commit(m, 1000 + (int64_t)x.w.step, &merged, &err), 0);
        version_merge_free(m); /* 3, 5, 7, 9 */
        rebase(&x, &merged);
    }
    deltas(&x, 1); /* 10 on 9 */
    struct version_keep keep = {.count = 9, .age_ms = 2};
    assert_int_equal(version_retain_within(dir, &keep, &oldest, &err), UNDINE_OK);
    assert_there("0000111111"); /* 6 was made 2 before 10, and needs 5 */
    keep = (struct version_keep){.count = 9, .bytes = 1};
    assert_int_equal(version_retain_within(dir, &keep, &oldest, &err), UNDINE_OK);
    assert_there("0000000011");
    version_chain_close(x.chain);
}

static void test_a_merge_that_cannot_be(void **state)
{
    (void)state;
    struct world x;
    struct version_merge *m = NULL;
    struct undine_err err = {0};
    atomic_bool stop = true;
    char path[VERSION_PATH_MAX + 16];
    begin(&x, 3);
    assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, NULL, &err), UNDINE_EINVAL);
    deltas(&x, 2);
    assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, &stop, &err), UNDINE_EAGAIN);
    (void)snprintf(path, sizeof path, "%s/.tmp-merge", dir);
    assert_int_not_equal(access(path, F_OK), 0);
    stop = false;
    assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, &stop, &err), UNDINE_OK);
    assert_int_equal(access(path, F_OK), 0);
    version_merge_free(m); /* not committed */
    assert_int_not_equal(access(path, F_OK), 0);
    break_file(2, MANIFEST_MODEL);
    assert_int_equal(version_merge_write(&m, dir, x.chain->name, NULL, NULL, &err),
                     UNDINE_ECORRUPT);
    version_chain_close(x.chain);
}

#ifdef UNDINE_FAULTS
static void merge_in_child(const struct version_chain *chain, const char *fault)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct version_merge *m = NULL;
        (void)setenv("UNDINE_FAULT", fault, 1);
        if (version_merge_write(&m, dir, chain->name, NULL, NULL, NULL) == UNDINE_OK) {
            (void)version_merge_commit(m, 1, NULL, NULL);
        }
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_a_kill_of_a_merge_leaves_the_chain(void **state)
{
    (void)state;
    static const char *const places[] = {"merge.before_directory", "merge.after_model",
                                         "merge.after_train", "merge.before_rename",
                                         "merge.after_rename"};
    struct world x;
    struct version_info merged;
    struct undine_err err = {0};
    struct skipped skipped;
    char path[VERSION_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/.tmp-merge", dir);
    begin(&x, 9);
    deltas(&x, 2);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        bool last = i + 1 == sizeof places / sizeof places[0];
        merge_in_child(x.chain, places[i]);
        assert_int_equal(restored(&skipped), last ? 4 : 3);
        assert_int_equal(skipped.n, 0);
    }
    assert_int_equal(version_merge_clear(dir, &err), UNDINE_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    merge(x.chain, &merged);
    assert_int_equal(merged.number, 5);
    assert_is_full(&x, &merged);
    version_chain_close(x.chain);
}
#endif

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_dirs, remove_dirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_merge_is_the_full_version_to_the_byte),
        CASE(test_deltas_go_on_beside_a_merge),
        CASE(test_a_restart_takes_the_newest_whole_chain),
        CASE(test_what_a_chain_needs_stays),
        CASE(test_what_is_merged_is_not_published_again),
        CASE(test_what_scorers_take_stays_readable),
        CASE(test_age_and_bytes_bound_what_stays),
        CASE(test_a_merge_that_cannot_be),
#ifdef UNDINE_FAULTS
        CASE(test_a_kill_of_a_merge_leaves_the_chain),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
