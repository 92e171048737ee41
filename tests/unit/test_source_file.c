#include "ingest/source.h"

#include "base/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <setjmp.h>

#include <cmocka.h>

enum { LINE_MAX_BYTES = 1000, MESSAGES_MAX = 64 };

static char dir[256], path[300], path_zst[310];

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/undine-file-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/events.jsonl", dir);
    snprintf(path_zst, sizeof path_zst, "%s/events.jsonl.zst", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(path_zst);
    return rmdir(dir);
}

static void write_file(const char *name, const void *data, size_t len)
{
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* Two frames, as `cat a.zst b.zst` makes them. */
static size_t write_zst(const char *data, size_t len)
{
    size_t room = ZSTD_compressBound(len) * 2;
    char *out = malloc(room);
    size_t half = len / 2;
    size_t n = ZSTD_compress(out, room, data, half, 1);
    n += ZSTD_compress(out + n, room - n, data + half, len - half, 1);
    write_file(path_zst, out, n);
    free(out);
    return n;
}

static int stored_position(void *payload, const char *topic, int32_t partition,
                           struct source_position *out)
{
    (void)topic;
    assert_int_equal(partition, 0);
    if (payload != NULL) {
        *out = *(struct source_position *)payload;
    }
    return payload != NULL;
}

static int try_open(struct source **s, const char *name, struct source_position *stored,
                    struct undine_err *err)
{
    struct source_file_options opt = {
        .paths = &name, .n_paths = 1, .line_bytes_max = LINE_MAX_BYTES};
    return source_file_open(s, &opt, stored_position, stored, err);
}

static struct source *open_ok(const char *name, struct source_position *stored)
{
    struct source *s = NULL;
    struct undine_err err = {0};
    if (try_open(&s, name, stored, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    return s;
}

/* All messages, joined by '|'. */
static char *read_all(struct source *s, size_t n_max)
{
    size_t len = 0, room = 1 << 20;
    char *all = calloc(1, room);
    struct source_message m[MESSAGES_MAX];
    struct undine_err err = {0};
    int64_t next = s->partitions[0].position.next < 0 ? 0 : s->partitions[0].position.next;
    while (!s->partitions[0].done) {
        int n = source_poll(s, 0, m, n_max, 100, &err);
        if (n < 0) {
            fail_msg("%s", err.msg);
        }
        for (int i = 0; i < n; i++) {
            assert_non_null(m[i].payload);
            assert_int_equal(m[i].offset, next++);
            assert_true(len + m[i].payload_len + 2 < room);
            memcpy(all + len, m[i].payload, m[i].payload_len);
            len += m[i].payload_len;
            all[len++] = '|';
        }
        assert_true(n == 0 || s->partitions[0].position.next == next);
    }
    assert_true(s->partitions[0].at_end);
    return all;
}

static void assert_lines(const char *content, const char *want)
{
    for (size_t n_max = 1; n_max <= MESSAGES_MAX; n_max *= 8) {
        write_file(path, content, strlen(content));
        write_zst(content, strlen(content));
        const char *const names[] = {path, path_zst};
        for (size_t i = 0; i < 2; i++) {
            struct source *s = open_ok(names[i], NULL);
            char *all = read_all(s, n_max);
            assert_string_equal(all, want);
            free(all);
            source_close(s);
        }
    }
}

static void test_lines(void **state)
{
    (void)state;
    assert_lines("", "");
    assert_lines("a", "a|");
    assert_lines("a\n", "a|");
    assert_lines("\n", "|");
    assert_lines("a\n\nb\n", "a||b|");
    assert_lines("a\r\nb\r\n\r\nc\r", "a|b||c\r|");
    assert_lines("{\"x\":1}\n{\"y\":\"\\n\"}", "{\"x\":1}|{\"y\":\"\\n\"}|");
}

/* Lines of every length about the limit, between short ones. */
static void test_long_lines(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        const char *newline = ends == 0 ? "\n" : "\r\n";
        for (size_t len = LINE_MAX_BYTES - 2; len < LINE_MAX_BYTES + 4; len++) {
            char content[3000] = "", want[3000] = "", line[LINE_MAX_BYTES + 8] = "";
            memset(line, 'x', len);
            strcat(strcat(strcat(content, "a"), newline), line);
            strcat(strcat(strcat(content, newline), "b"), newline);
            line[len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES] = '\0';
            strcat(strcat(strcat(want, "a|"), line), "|b|");
            assert_lines(content, want);
        }
    }
}

/* A line that is longer than every buffer. */
static void test_huge_line(void **state)
{
    (void)state;
    size_t len = 3 << 20;
    char *content = malloc(len + 5);
    memset(content, 'y', len);
    memcpy(content + len, "\nend", 5);
    char want[LINE_MAX_BYTES + 8] = "";
    memset(want, 'y', LINE_MAX_BYTES);
    strcat(want, "|end|");
    assert_lines(content, want);
    free(content);
}

static char *many_lines(int n)
{
    char *content = malloc((size_t)n * 32), *at = content;
    for (int i = 0; i < n; i++) {
        at += sprintf(at, "{\"n\":%d,\"pad\":\"%d\"}\n", i, i * 7919);
    }
    return content;
}

static void test_resume(void **state)
{
    (void)state;
    enum { LINES = 50000 };
    char *content = many_lines(LINES);
    write_file(path, content, strlen(content));
    write_zst(content, strlen(content));
    const char *const names[] = {path, path_zst};
    for (size_t i = 0; i < 2; i++) {
        struct source *s = open_ok(names[i], NULL);
        struct source_message m[MESSAGES_MAX];
        struct undine_err err;
        while (s->partitions[0].position.next < LINES / 2) {
            assert_true(source_poll(s, 0, m, MESSAGES_MAX, 0, &err) > 0);
        }
        struct source_position stored = s->partitions[0].position;
        assert_int_equal(stored.fence_offset, stored.next - 1);
        source_close(s);
        s = open_ok(names[i], &stored);
        assert_int_equal(s->partitions[0].position.next, stored.next);
        char *rest = read_all(s, 7), want[64];
        snprintf(want, sizeof want, "{\"n\":%lld,", (long long)stored.next);
        assert_memory_equal(rest, want, strlen(want));
        assert_int_equal(s->partitions[0].position.next, LINES);
        free(rest);
        stored = s->partitions[0].position;
        source_close(s);
        s = open_ok(names[i], &stored); /* at the end already */
        assert_int_equal(source_poll(s, 0, m, 1, 0, &err), 0);
        assert_true(s->partitions[0].done);
        source_close(s);
    }
    free(content);
}

static void test_resume_other_history(void **state)
{
    (void)state;
    struct source *s = NULL;
    struct undine_err err = {0};
    struct source_position stored = {
        .next = 2, .fence_offset = 1, .fence_timestamp = -1, .fence_hash = hash_bytes("b", 1)};
    write_file(path, "a\nb\nc\n", 6);
    source_close(open_ok(path, &stored));
    write_file(path, "b\na\nc\n", 6);
    assert_int_equal(try_open(&s, path, &stored, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "line 2"));
    write_file(path, "a\n", 2);
    assert_int_equal(try_open(&s, path, &stored, &err), UNDINE_ELOSS);
    assert_non_null(strstr(err.msg, "history changed"));
    assert_null(s);
}

static void test_bad_files(void **state)
{
    (void)state;
    struct source *s = NULL;
    struct undine_err err = {0};
    assert_int_equal(try_open(&s, "/nonexistent/x", NULL, &err), UNDINE_EIO);
    assert_non_null(strstr(err.msg, "/nonexistent/x"));
    const char *twice[] = {path, path};
    write_file(path, "a\n", 2);
    struct source_file_options opt = {.paths = twice, .n_paths = 2, .line_bytes_max = 10};
    assert_int_equal(source_file_open(&s, &opt, NULL, NULL, &err), UNDINE_ECONFIG);

    char *content = many_lines(20000);
    size_t n = write_zst(content, strlen(content));
    assert_int_equal(truncate(path_zst, (off_t)n - 10), 0);
    s = open_ok(path_zst, NULL);
    struct source_message m[MESSAGES_MAX];
    int rc, lines = 0;
    while ((rc = source_poll(s, 0, m, MESSAGES_MAX, 0, &err)) > 0) {
        lines += rc;
    }
    assert_int_equal(rc, UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, "cut short"));
    assert_true(lines > 9000); /* the first frame is whole */
    source_close(s);
    write_file(path_zst, "not compressed\n", 15);
    s = open_ok(path_zst, NULL);
    assert_int_equal(source_poll(s, 0, m, MESSAGES_MAX, 0, &err), UNDINE_ECORRUPT);
    source_close(s);
    free(content);
}

/* A pipe: nothing now is not the end. */
static void test_stdin(void **state)
{
    (void)state;
    int fds[2], saved = dup(STDIN_FILENO);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
    struct source *s = open_ok("-", NULL);
    struct source_message m[MESSAGES_MAX];
    assert_int_equal(source_poll(s, 0, m, MESSAGES_MAX, 1, NULL), 0);
    assert_true(s->partitions[0].at_end && !s->partitions[0].done);
    assert_int_equal(write(fds[1], "one\ntw", 6), 6);
    assert_int_equal(source_poll(s, 0, m, MESSAGES_MAX, 1000, NULL), 1);
    assert_memory_equal(m[0].payload, "one", 3);
    assert_false(s->partitions[0].at_end);
    assert_int_equal(source_poll(s, 0, m, MESSAGES_MAX, 1, NULL), 0);
    assert_int_equal(write(fds[1], "o", 1), 1);
    assert_int_equal(close(fds[1]), 0);
    assert_int_equal(source_poll(s, 0, m, MESSAGES_MAX, 1000, NULL), 1);
    assert_memory_equal(m[0].payload, "two", 3);
    assert_int_equal(source_poll(s, 0, m, MESSAGES_MAX, 1000, NULL), 0);
    assert_true(s->partitions[0].done);
    source_close(s);
    assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    (void)close(saved);
    (void)close(fds[0]);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_lines),  T(test_long_lines),           T(test_huge_line),
        T(test_resume), T(test_resume_other_history), T(test_bad_files),
        T(test_stdin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
