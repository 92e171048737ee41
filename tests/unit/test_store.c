#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "featurestore/commit_chain.h"
#include "featurestore/store.h"
#include "tests/support/store_fixture.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[FIXTURE_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    fixture_directory(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_remove(dir);
    return 0;
}

static void put_u64(struct store *s, enum store_family f, uint64_t key, uint64_t value)
{
    uint8_t k[8];
    bytes_put_be64(k, key);
    store_put(s, f, k, sizeof k, &value, sizeof value);
}

/* The value under key, or UINT64_MAX. */
static uint64_t get_u64(struct store *s, enum store_family f, uint64_t key)
{
    struct undine_err err;
    struct writer w;
    uint8_t k[8];
    bytes_put_be64(k, key);
    writer_init(&w);
    int rc = store_get(s, f, k, sizeof k, &w, &err);
    struct reader r = reader_of(w.data, w.len);
    uint64_t value = rc == 1 ? reader_u64(&r) : UINT64_MAX;
    assert_true(rc >= 0);
    writer_release(&w);
    return value;
}

struct seen {
    uint64_t key[64];
    size_t n, stop_at;
};

static int see(void *payload, uint64_t key, const uint8_t *value, size_t len,
               struct undine_err *err)
{
    struct seen *seen = payload;
    (void)err;
    uint64_t v;
    assert_int_equal(len, sizeof v);
    memcpy(&v, value, sizeof v);
    assert_int_equal(v, key * 10);
    seen->key[seen->n++] = key;
    return seen->n == seen->stop_at ? 7 : 0;
}

static void a_commit_is_read_back_after_reopen(void **state)
{
    (void)state;
    struct undine_err err;
    struct store *s = fixture_store(dir);
    put_u64(s, STORE_SEQUENCE, 1, 11);
    put_u64(s, STORE_ARRIVALS, 1, 12);
    put_u64(s, STORE_EXAMPLE, 1, 13);
    store_put(s, STORE_META, "name", 4, "value", 5);
    assert_int_equal(get_u64(s, STORE_SEQUENCE, 1), UINT64_MAX); /* not before the write */
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    assert_int_equal(get_u64(s, STORE_ARRIVALS, 1), 12);
    store_close(s);
    s = fixture_store(dir);
    assert_int_equal(get_u64(s, STORE_SEQUENCE, 1), 11);
    assert_int_equal(get_u64(s, STORE_EXAMPLE, 1), 13);
    assert_int_equal(get_u64(s, STORE_EXAMPLE, 2), UINT64_MAX);
    uint8_t key[8];
    bytes_put_be64(key, 1);
    store_delete(s, STORE_SEQUENCE, key, sizeof key);
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    assert_int_equal(get_u64(s, STORE_SEQUENCE, 1), UINT64_MAX);
    store_close(s);
}

static void scans_floors_and_ranges(void **state)
{
    (void)state;
    struct undine_err err;
    struct store *s = fixture_store(dir);
    for (uint64_t k = 0; k < 10; k++) {
        put_u64(s, STORE_EXAMPLE, k * 100, k * 1000);
    }
    put_u64(s, STORE_EXAMPLE, UINT64_MAX, UINT64_MAX * 10);
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    struct seen seen = {.n = 0};
    assert_int_equal(store_scan(s, STORE_EXAMPLE, 301, see, &seen, &err), 0);
    assert_int_equal(seen.n, 7);
    assert_int_equal(seen.key[0], 400);
    assert_int_equal(seen.key[6], UINT64_MAX);
    seen = (struct seen){.stop_at = 2};
    assert_int_equal(store_scan(s, STORE_EXAMPLE, 0, see, &seen, &err), 7);
    assert_int_equal(seen.n, 2);
    seen = (struct seen){.n = 0};
    assert_int_equal(store_get_floor(s, STORE_EXAMPLE, 399, see, &seen, &err), 1);
    assert_int_equal(seen.key[0], 300);
    store_delete_range(s, STORE_EXAMPLE, 0, 400);
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    assert_int_equal(store_get_floor(s, STORE_EXAMPLE, 399, see, &seen, &err), 0);
    assert_int_equal(get_u64(s, STORE_EXAMPLE, 300), UINT64_MAX);
    assert_int_equal(get_u64(s, STORE_EXAMPLE, 400), 4000);
    store_close(s);
}

static void many_are_given_in_the_order_of_keys(void **state)
{
    (void)state;
    enum { N = 600 };
    struct undine_err err;
    struct store *s = fixture_store(dir);
    for (uint64_t k = 0; k < 20; k++) {
        put_u64(s, STORE_SEQUENCE, k * 30, k * 300);
    }
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    uint64_t keys[N];
    for (uint64_t i = 0; i < N; i++) {
        keys[i] = N - 1 - i;
    }
    struct seen seen = {.n = 0};
    assert_int_equal(store_get_many(s, STORE_SEQUENCE, keys, N, see, &seen, &err), 0);
    assert_int_equal(seen.n, 20);
    for (size_t i = 0; i < seen.n; i++) {
        assert_int_equal(seen.key[i], (19 - i) * 30);
    }
    seen = (struct seen){.stop_at = 3};
    assert_int_equal(store_get_many(s, STORE_SEQUENCE, keys, N, see, &seen, &err), 7);
    assert_int_equal(seen.n, 3);
    store_close(s);
}

static int count_meta(void *payload, const char *name, const uint8_t *value, size_t len,
                      struct undine_err *err)
{
    (void)value;
    (void)len;
    (void)err;
    assert_memory_equal(name, "position/", 9);
    ++*(int *)payload;
    return 0;
}

static void meta_is_scanned_by_prefix(void **state)
{
    (void)state;
    struct undine_err err;
    struct store *s = fixture_store(dir);
    store_put(s, STORE_META, "position/a", 10, "1", 1);
    store_put(s, STORE_META, "position/b", 10, "2", 1);
    store_put(s, STORE_META, "positions", 9, "3", 1);
    store_put(s, STORE_META, "aposition/", 10, "4", 1);
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    int n = 0;
    assert_int_equal(store_scan_meta(s, "position/", count_meta, &n, &err), 0);
    assert_int_equal(n, 2);
    store_close(s);
}

static int open_read_only(struct store **out, struct undine_err *err)
{
    struct store_options opt = {.dir = dir, .cache_bytes = 1 << 20, .read_only = true};
    return store_open(out, &opt, err);
}

static void read_only_beside_a_live_writer(void **state)
{
    (void)state;
    struct undine_err err;
    struct store *ro = NULL, *s = fixture_store(dir);
    put_u64(s, STORE_META, 5, 55);
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(open_read_only(&ro, &err), UNDINE_OK);
        assert_int_equal(get_u64(ro, STORE_META, 5), 55);
        put_u64(s, STORE_EXAMPLE, 5, 56);
        assert_int_equal(store_write(s, &err), UNDINE_OK);
        store_close(ro);
    }
    assert_int_equal(get_u64(s, STORE_EXAMPLE, 5), 56);
    struct store *second = NULL;
    struct store_options opt = {.dir = dir};
    assert_int_equal(store_open(&second, &opt, &err), UNDINE_EIO); /* one writer */
    assert_null(second);
    store_close(s);
}

static void what_is_no_store_of_ours_is_refused(void **state)
{
    (void)state;
    struct undine_err err;
    struct store *s = NULL;
    assert_int_equal(open_read_only(&s, &err), UNDINE_EIO);
    assert_non_null(strstr(err.msg, dir));
    struct store_options opt = {.dir = "/nonexistent/undine/store"};
    assert_int_equal(store_open(&s, &opt, &err), UNDINE_EIO);
    s = fixture_store(dir);
    const uint32_t newer[] = {1, 3}, older[] = {1, 1};
    store_put(s, STORE_META, "format", 6, newer, sizeof newer);
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    store_close(s);
    opt.dir = dir;
    assert_int_equal(store_open(&s, &opt, &err), UNDINE_EVERSION);
    assert_non_null(strstr(err.msg, "its format: found format version 3"));
    assert_int_equal(open_read_only(&s, &err), UNDINE_EVERSION);
    fixture_remove(dir);
    s = fixture_store(dir);
    store_put(s, STORE_META, "format", 6, older, sizeof older);
    assert_int_equal(store_write(s, &err), UNDINE_OK);
    store_close(s);
    assert_int_equal(store_open(&s, &opt, &err), UNDINE_EVERSION);
    assert_non_null(strstr(err.msg, "format 1"));
}

static void a_newer_chain_of_commits_is_refused_by_name(void **state)
{
    (void)state;
    struct undine_err err;
    struct store_options opt = {.dir = dir};
    uint8_t link[COMMIT_CHAIN_BYTES + 8] = {COMMIT_CHAIN_VERSION + 1}; /* and longer than ours */
    struct store *s = fixture_store(dir);
    store_put(s, STORE_EXAMPLE, "", 0, link, sizeof link);
    assert_int_equal(store_write(s, &err), UNDINE_OK); /* our own link behind it */
    store_close(s);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_open(&s, &opt, &err), UNDINE_EVERSION);
        assert_non_null(
            strstr(err.msg, "family `example`: chain of commits: found format version 2"));
        assert_int_equal(open_read_only(&s, &err), UNDINE_EVERSION);
    }
}

/* RocksDB copies the families' names with strdup; in front of the C library's. */
static bool no_copies;

__attribute__((visibility("default"))) char *strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = no_copies ? NULL : malloc(bytes);
    return copy != NULL ? memcpy(copy, text, bytes) : NULL;
}

static void a_name_without_memory_is_no_family(void **state)
{
    (void)state;
    struct undine_err err;
    struct store_options opt = {.dir = dir};
    struct store *s = fixture_store(dir);
    store_close(s);
    no_copies = true;
    int rc = store_open(&s, &opt, &err);
    no_copies = false;
    assert_int_equal(rc, UNDINE_ENOMEM);
    assert_int_equal(store_open(&s, &opt, &err), UNDINE_OK);
    store_close(s);
}

/* Remove the files of the store that end so; how many there were. */
static int remove_files(const char *ending)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        size_t len = strlen(e->d_name), ending_len = strlen(ending);
        if (len > ending_len && strcmp(e->d_name + len - ending_len, ending) == 0) {
            assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
            n++;
        }
    }
    (void)closedir(d);
    return n;
}

/* One family is in files, the others are in the log alone: without the log they would come back at
 * different commits. */
static void families_at_different_commits_are_refused(void **state)
{
    (void)state;
    struct undine_err err;
    uint8_t key[8], *value = calloc(1, 1 << 20);
    assert_non_null(value);
    struct store *s = fixture_store(dir);
    for (uint64_t k = 0; k < 24; k++) {
        bytes_put_be64(key, k);
        store_put(s, STORE_ARRIVALS, key, sizeof key, value, 1 << 20);
        put_u64(s, STORE_SEQUENCE, k, k);
        assert_int_equal(store_write(s, &err), UNDINE_OK);
    }
    free(value);
    store_close(s);
    assert_true(remove_files(".log") > 0);
    struct store_options opt = {.dir = dir};
    assert_int_equal(store_open(&s, &opt, &err), UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, "lacks commits"));
    assert_int_equal(open_read_only(&s, &err), UNDINE_ECORRUPT);
}

/* A store whose CURRENT says something else. */
static void assert_corrupt_with_current(const char *text, struct undine_err *err)
{
    store_close(fixture_store(dir));
    char path[FIXTURE_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/CURRENT", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    struct store *s = NULL;
    struct store_options opt = {.dir = dir};
    assert_int_equal(store_open(&s, &opt, err), UNDINE_ECORRUPT);
}

static void a_damaged_store_is_corrupt(void **state)
{
    (void)state;
    struct undine_err err;
    assert_corrupt_with_current("MANIFEST-nonsense", &err);
}

static void a_store_that_lacks_a_file_is_corrupt(void **state)
{
    (void)state;
    struct undine_err err;
    assert_corrupt_with_current("MANIFEST-000999\n", &err); /* as it is where that one was lost */
    assert_non_null(strstr(err.msg, "MANIFEST-000999"));
}

static void stats_count(void **state)
{
    (void)state;
    struct undine_err err;
    struct store_stats a, b;
    struct store *s = fixture_store(dir);
    store_stats(s, &a);
    for (uint64_t i = 0; i < 5; i++) {
        put_u64(s, STORE_SEQUENCE, i, i);
        assert_int_equal(store_write(s, &err), UNDINE_OK);
    }
    assert_int_equal(store_sync(s, &err), UNDINE_OK);
    assert_int_equal(store_sync(s, &err), UNDINE_OK); /* nothing new: no second fsync */
    (void)get_u64(s, STORE_SEQUENCE, 1);
    store_stats(s, &b);
    assert_int_equal(b.commits - a.commits, 5);
    assert_int_equal(b.syncs - a.syncs, 1);
    assert_int_equal(b.gets - a.gets, 1);
    assert_true(b.bytes_written - a.bytes_written >= 5 * 16);
    assert_true(b.sync_ns_max > 0);
    assert_true(b.memtable_bytes > 0);
    assert_int_equal(b.background_errors, 0);
    assert_false(b.write_stopped);
    store_close(s);
}

/* The child writes commits that touch every family and says each that was acknowledged. */
static void write_until_killed(const char *at)
{
    struct undine_err err;
    struct store *s = fixture_store(at);
    uint64_t first = get_u64(s, STORE_META, 1);
    for (uint64_t n = first == UINT64_MAX ? 0 : first + 1;; n++) {
        static uint8_t bulk[4096];
        uint8_t key[8];
        bytes_put_be64(key, n);
        memcpy(bulk, &n, sizeof n);
        store_put(s, STORE_ARRIVALS, key, sizeof key, bulk, sizeof bulk);
        put_u64(s, STORE_SEQUENCE, n % 16, n);
        put_u64(s, STORE_EXAMPLE, n, n);
        put_u64(s, STORE_META, 1, n);
        if (n >= 10) {
            store_delete_range(s, STORE_EXAMPLE, 0, n - 10);
        }
        if (store_write(s, &err) != UNDINE_OK ||
            write(STDOUT_FILENO, &n, sizeof n) != (ssize_t)sizeof n) {
            _exit(1);
        }
    }
}

static void a_kill_loses_no_acknowledged_commit(void **state)
{
    (void)state;
    struct random r = {.state = FIXTURE_SEED};
    uint64_t acked = 0;
    for (int round = 0; round < 8; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            /* A program of its own: RocksDB's threads of this one are not in a forked child. */
            (void)dup2(fds[1], STDOUT_FILENO);
            (void)close(fds[0]);
            (void)execl("/proc/self/exe", "test_store", dir, (char *)NULL);
            _exit(1);
        }
        (void)close(fds[1]);
        uint64_t wanted = 20 + random_below(&r, 400), n;
        for (uint64_t i = 0; i < wanted && read(fds[0], &n, sizeof n) == (ssize_t)sizeof n; i++) {
            acked = n;
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(fds[0], &n, sizeof n) == (ssize_t)sizeof n) {
            acked = n;
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        (void)close(fds[0]);
        struct store *s = fixture_store(dir);
        uint64_t last = get_u64(s, STORE_META, 1);
        assert_true(last == acked || last == acked + 1);
        assert_int_equal(get_u64(s, STORE_ARRIVALS, last), last);
        assert_int_equal(get_u64(s, STORE_EXAMPLE, last), last);
        assert_int_equal(get_u64(s, STORE_SEQUENCE, last % 16), last);
        assert_int_equal(get_u64(s, STORE_ARRIVALS, last + 1), UINT64_MAX);
        assert_int_equal(get_u64(s, STORE_EXAMPLE, last - 11), UINT64_MAX);
        store_close(s);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        write_until_killed(argv[1]);
    }
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_commit_is_read_back_after_reopen),
        TEST(scans_floors_and_ranges),
        TEST(many_are_given_in_the_order_of_keys),
        TEST(meta_is_scanned_by_prefix),
        TEST(read_only_beside_a_live_writer),
        TEST(what_is_no_store_of_ours_is_refused),
        TEST(a_newer_chain_of_commits_is_refused_by_name),
        TEST(a_name_without_memory_is_no_family),
        TEST(families_at_different_commits_are_refused),
        TEST(read_only_beside_a_live_writer),
        TEST(a_damaged_store_is_corrupt),
        TEST(a_store_that_lacks_a_file_is_corrupt),
        TEST(stats_count),
        TEST(a_kill_loses_no_acknowledged_commit),
    };
    print_message("seed %d\n", FIXTURE_SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
