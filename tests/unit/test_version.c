#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/version_reader.h"
#include "tests/support/version_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

struct path {
    char text[VERSION_PATH_MAX];
};

static struct path path_of(const char *name, const char *file)
{
    struct path p;
    size_t len = (size_t)snprintf(p.text, sizeof p.text, "%s/%s%s%s", dir, name,
                                  file != NULL ? "/" : "", file != NULL ? file : "");
    assert_true(len < sizeof p.text);
    return p;
}

static void digest_text(char out[HASH128_HEX_LEN + 1], const struct snapshot *s)
{
    hash128_hex(out, snapshot_digest(s));
}

/* ---- snapshots ---- */

static void test_sorting_keeps_rows_together(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_new();
    assert_non_null(s);
    enum { N = 1000, D = 3 };
    struct snapshot_table *t = &s->table[0];
    s->n_tables = 1;
    *t = (struct snapshot_table){.name = "a", .dim = D, .n_slots = 1, .n_rows = N};
    t->key = arena_calloc(&s->memory, N, sizeof *t->key);
    t->weight = arena_calloc(&s->memory, N * D, sizeof *t->weight);
    t->slot = arena_calloc(&s->memory, N, sizeof *t->slot);
    t->count = arena_calloc(&s->memory, N, sizeof *t->count);
    t->seen_day = arena_calloc(&s->memory, N, sizeof *t->seen_day);
    t->stamp = arena_calloc(&s->memory, N, sizeof *t->stamp);
    for (uint32_t i = 0; i < N; i++) {
        t->key[i] = hash_mix64(i);
        t->weight[i * D + D - 1] = t->slot[i] = t->count[i] = (float)(t->key[i] >> 48);
        t->seen_day[i] = (uint32_t)(t->key[i] >> 32);
        t->stamp[i] = (uint32_t)(t->key[i] >> 24);
    }
    assert_int_equal(snapshot_sort(s, NULL), UNDINE_OK);
    for (uint32_t i = 0; i < N; i++) {
        float high = (float)(t->key[i] >> 48);
        assert_true(i == 0 || t->key[i - 1] < t->key[i]);
        assert_true(t->weight[i * D + D - 1] == high && t->slot[i] == high && t->count[i] == high);
        assert_int_equal(t->seen_day[i], (uint32_t)(t->key[i] >> 32));
        assert_int_equal(t->stamp[i], (uint32_t)(t->key[i] >> 24));
    }
    t->key[7] = t->key[900];
    struct undine_err err = {0};
    assert_int_equal(snapshot_sort(s, &err), UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, "twice"));
    snapshot_free(s);
}

/* ---- round trip ---- */

static void assert_arrays_equal(const struct snapshot_array *a, uint32_t n_a,
                                const struct snapshot_array *b, uint32_t n_b)
{
    assert_int_equal(n_a, n_b);
    for (uint32_t i = 0; i < n_a; i++) {
        const struct snapshot_array *other = snapshot_find(b, n_b, a[i].name);
        assert_non_null(other);
        assert_int_equal(a[i].type, other->type);
        assert_int_equal(a[i].rows, other->rows);
        assert_int_equal(a[i].cols, other->cols);
        assert_memory_equal(a[i].data, other->data, snapshot_array_bytes(&a[i]));
    }
}

static void assert_snapshots_equal(const struct snapshot *a, const struct snapshot *b)
{
    assert_memory_equal(&a->schema, &b->schema, sizeof a->schema);
    char *model_a = model_options_to_json(&a->model), *model_b = model_options_to_json(&b->model);
    assert_string_equal(model_a, model_b);
    free(model_a);
    free(model_b);
    assert_int_equal(a->trained_seq, b->trained_seq);
    assert_int_equal(a->event_time_ms, b->event_time_ms);
    assert_int_equal(a->examples, b->examples);
    assert_int_equal(a->positives, b->positives);
    assert_int_equal(a->batches, b->batches);
    assert_string_equal(a->metrics_json, b->metrics_json);
    assert_int_equal(a->n_tables, b->n_tables);
    for (uint32_t i = 0; i < a->n_tables; i++) {
        const struct snapshot_table *x = &a->table[i], *y = &b->table[i];
        assert_int_equal(a->row_init[i].seed, b->row_init[i].seed);
        assert_true(a->row_init[i].scale == b->row_init[i].scale);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->n_rows, y->n_rows);
        assert_int_equal(x->dim, y->dim);
        assert_int_equal(x->n_slots, y->n_slots);
        assert_memory_equal(x->key, y->key, x->n_rows * sizeof *x->key);
        assert_memory_equal(x->weight, y->weight, x->n_rows * x->dim * sizeof *x->weight);
        assert_memory_equal(x->slot, y->slot, x->n_rows * x->n_slots * sizeof *x->slot);
        assert_memory_equal(x->count, y->count, x->n_rows * sizeof *x->count);
        assert_memory_equal(x->seen_day, y->seen_day, x->n_rows * sizeof *x->seen_day);
        assert_memory_equal(x->stamp, y->stamp, x->n_rows * sizeof *x->stamp);
    }
    assert_arrays_equal(a->dense, a->n_dense, b->dense, b->n_dense);
    assert_arrays_equal(a->train, a->n_train, b->train, b->n_train);
}

static void test_what_is_written_is_loaded(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 1, .n_rows = 37, .trained_seq = 800};
    struct version_info wrote, read;
    struct snapshot *loaded = NULL, *want = version_fixture_snapshot(&f);
    struct undine_err err = {0};
    char digest[HASH128_HEX_LEN + 1];
    version_fixture_write(dir, &f, true, &wrote);
    assert_string_equal(wrote.name, "000000000001");
    assert_int_equal(version_load(path_of(wrote.name, NULL).text, true, &loaded, &read, &err), 0);
    assert_int_equal(snapshot_sort(want, NULL), UNDINE_OK);
    assert_snapshots_equal(want, loaded);
    digest_text(digest, loaded);
    assert_string_equal(digest, wrote.digest);
    assert_memory_equal(&wrote, &read, sizeof wrote);
    assert_int_equal(read.rows, 5 * 37);
    snapshot_free(loaded);
    assert_int_equal(version_load(path_of(wrote.name, NULL).text, false, &loaded, NULL, &err), 0);
    assert_int_equal(loaded->n_train, 0);
    digest_text(digest, loaded);
    assert_string_equal(digest, wrote.digest);
    snapshot_free(loaded);
    snapshot_free(want);
}

static void test_reader_finds_every_row(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 2, .n_rows = 500, .trained_seq = 1};
    struct version_info info;
    struct version_reader *r = NULL;
    struct undine_err err = {0};
    struct hash128 h;
    char digest[HASH128_HEX_LEN + 1];
    struct snapshot *s = version_fixture_snapshot(&f);
    version_fixture_write(dir, &f, false, &info);
    assert_int_equal(version_reader_open(&r, path_of(info.name, NULL).text, false, &err), 0);
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const struct snapshot_table *t = &s->table[i];
        const struct version_table *v = &r->table[i];
        for (uint64_t row = 0; row < t->n_rows; row++) {
            uint64_t at = version_table_find(v, t->key[row]);
            assert_true(at < v->n_rows);
            assert_memory_equal(v->row + at * v->width, t->weight + row * t->dim,
                                t->dim * sizeof(float));
            assert_int_equal(version_table_find(v, t->key[row] + 1), v->n_rows);
        }
        assert_int_equal((uintptr_t)v->row % 64 % sizeof(float), 0);
    }
    assert_int_equal(version_reader_digest(r, &h, &err), UNDINE_OK);
    hash128_hex(digest, h);
    assert_string_equal(digest, info.digest);
    version_reader_close(r);
    snapshot_free(s);
}

/* The model file with slot `at` of a table's index as `value`, and every checksum right. */
static int open_with_slot(const struct version_info *info, const char *tensor, uint64_t at,
                          uint32_t value, struct undine_err *err)
{
    struct path model = path_of(info->name, MANIFEST_MODEL);
    struct path manifest = path_of(info->name, MANIFEST_NAME);
    struct safetensors s;
    struct version_reader *r = NULL;
    char text[8192], hex[HASH128_HEX_LEN + 1], seal[HASH128_HEX_LEN + 1];
    size_t len, n;
    uint8_t *bytes = version_fixture_read(model.text, &len);
    char *was = (char *)version_fixture_read(manifest.text, &n);
    assert_int_equal(safetensors_parse(&s, bytes, len, err), UNDINE_OK);
    uint32_t *slot = (uint32_t *)(uintptr_t)safetensors_find(&s, tensor)->data + at;
    uint32_t old = *slot;
    *slot = value;
    hash128_hex(hex, hash128_bytes(bytes, len));
    version_fixture_overwrite(model.text, bytes, len);
    (void)snprintf(text, sizeof text, "%.*s", (int)(n - 53), was);
    memcpy(strstr(strstr(text, "\"" MANIFEST_MODEL "\""), "xxh3_128\": \"") + 12, hex,
           HASH128_HEX_LEN);
    hash128_hex(seal, hash128_bytes(text, strlen(text)));
    size_t end = strlen(text);
    (void)snprintf(text + end, sizeof text - end, ",\n  \"xxh3_128\": \"%s\"\n}\n", seal);
    version_fixture_overwrite(manifest.text, text, strlen(text));
    int rc = version_reader_open(&r, path_of(info->name, NULL).text, false, err);
    version_reader_close(r);
    *slot = old;
    version_fixture_overwrite(model.text, bytes, len);
    version_fixture_overwrite(manifest.text, was, n);
    safetensors_release(&s);
    free(bytes);
    free(was);
    return rc;
}

/* Any other number in any slot of an index is refused: a row would not be found, or is there twice,
 * or a search would not end. */
static void test_an_index_that_misses_a_row_is_refused(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 4, .n_rows = 9, .trained_seq = 1};
    struct version_info info;
    struct version_reader *r = NULL;
    struct undine_err err = {0};
    uint32_t slot[64];
    version_fixture_write(dir, &f, false, &info);
    assert_int_equal(version_reader_open(&r, path_of(info.name, NULL).text, false, &err), 0);
    const struct version_table *t =
        &r->table[(size_t)schema_table_find(&r->manifest.schema, "video")];
    uint64_t n = t->n_rows, slots = t->mask + 1;
    assert_in_range(slots, n + 1, 64);
    memcpy(slot, t->index, slots * sizeof *slot);
    version_reader_close(r);
    for (uint64_t at = 0; at < slots; at++) {
        for (uint64_t value = 0; value <= n + 1; value++) {
            int rc = open_with_slot(&info, "table.video.index", at, (uint32_t)value, &err);
            assert_int_equal(rc, value == slot[at] ? UNDINE_OK : UNDINE_ECORRUPT);
        }
    }
    assert_non_null(strstr(err.msg, "the index of table `video` does not find each of its rows"));
}

static void test_equal_models_give_equal_files(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 3, .n_rows = 64, .trained_seq = 9}, g = f, other = f;
    struct version_info a, b, c;
    g.reversed = true;
    other.seed = 4;
    version_fixture_write(dir, &f, false, &a);
    version_fixture_write(dir, &g, false, &b);
    version_fixture_write(dir, &other, false, &c);
    assert_string_equal(a.digest, b.digest);
    assert_string_not_equal(a.digest, c.digest);
    static const char *const files[] = {MANIFEST_MODEL, MANIFEST_TRAIN};
    for (size_t i = 0; i < 2; i++) {
        size_t len_a, len_b;
        uint8_t *bytes_a = version_fixture_read(path_of(a.name, files[i]).text, &len_a);
        uint8_t *bytes_b = version_fixture_read(path_of(b.name, files[i]).text, &len_b);
        assert_int_equal(len_a, len_b);
        assert_memory_equal(bytes_a, bytes_b, len_a);
        free(bytes_a);
        free(bytes_b);
    }
}

static void test_empty_tables(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 5, .n_rows = 0, .trained_seq = 0};
    struct version_info info;
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    version_fixture_write(dir, &f, true, &info);
    assert_int_equal(version_load(path_of(info.name, NULL).text, true, &s, NULL, &err), UNDINE_OK);
    assert_int_equal(s->table[0].n_rows, 0);
    snapshot_free(s);
}

/* ---- damage ---- */

static int open_version(const char *name, struct undine_err *err)
{
    struct version_reader *r = NULL;
    int rc = version_reader_open(&r, path_of(name, NULL).text, false, err);
    version_reader_close(r);
    return rc;
}

static const char *const FILES[] = {MANIFEST_NAME, MANIFEST_MODEL, MANIFEST_TRAIN};
enum { N_FILES = 3 };

static void test_every_flipped_byte_is_refused(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 6, .n_rows = 3, .trained_seq = 80};
    struct version_info info;
    struct undine_err err = {0};
    version_fixture_write(dir, &f, true, &info);
    for (size_t k = 0; k < N_FILES; k++) {
        size_t len;
        struct path path = path_of(info.name, FILES[k]);
        uint8_t *data = version_fixture_read(path.text, &len);
        FILE *file = fopen(path.text, "r+b");
        for (size_t i = 0; i < len; i++) {
            uint8_t flipped = data[i] ^ (uint8_t)(1U << i % 8);
            err = (struct undine_err){0};
            assert_int_equal(pwrite(fileno(file), &flipped, 1, (off_t)i), 1);
            if (open_version(info.name, &err) >= 0 || err.msg[0] == '\0') {
                fail_msg("byte %zu of %s", i, FILES[k]);
            }
            assert_int_equal(pwrite(fileno(file), &data[i], 1, (off_t)i), 1);
        }
        (void)fclose(file);
        free(data);
        assert_int_equal(open_version(info.name, &err), UNDINE_OK);
    }
}

static void test_cut_and_missing_files_are_refused(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 7, .n_rows = 3, .trained_seq = 80};
    struct version_info info;
    struct undine_err err = {0};
    version_fixture_write(dir, &f, true, &info);
    for (size_t k = 0; k < N_FILES; k++) {
        size_t len;
        struct path path = path_of(info.name, FILES[k]);
        uint8_t *data = version_fixture_read(path.text, &len);
        for (size_t cut = 0; cut < len; cut += cut < 16 || cut + 16 > len ? 1 : 97) {
            version_fixture_overwrite(path.text, data, cut);
            assert_int_equal(open_version(info.name, &err), UNDINE_ECORRUPT);
        }
        version_fixture_overwrite(path.text, data, len + 1); /* one byte too many: a zero or any */
        assert_int_equal(open_version(info.name, &err), UNDINE_ECORRUPT);
        assert_int_equal(unlink(path.text), 0);
        assert_int_equal(open_version(info.name, &err), UNDINE_ECORRUPT);
        assert_non_null(strstr(err.msg, "missing"));
        assert_int_equal(mkdir(path.text, 0777), 0); /* not a file at all */
        assert_true(open_version(info.name, &err) < 0);
        assert_int_equal(rmdir(path.text), 0);
        version_fixture_overwrite(path.text, data, len);
        free(data);
    }
    version_fixture_overwrite(path_of(info.name, "extra.bin").text, "x", 1);
    assert_int_equal(open_version(info.name, &err), UNDINE_OK);
    assert_int_equal(open_version("000000000077", &err), UNDINE_ENOTFOUND);
}

/* ---- the directory ---- */

static void test_an_empty_directory(void **state)
{
    (void)state;
    struct version_info info[2];
    char name[VERSION_NAME_MAX];
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    uint64_t oldest = 1;
    struct path missing = path_of("nowhere", NULL);
    assert_int_equal(version_list(missing.text, info, 2, &err), 0);
    assert_int_equal(version_restore(missing.text, 0, 9, &s, info, NULL, NULL, &err), 0);
    assert_int_equal(version_current(missing.text, name, &err), UNDINE_ENOTFOUND);
    assert_int_equal(version_current(dir, name, &err), UNDINE_ENOTFOUND);
    assert_int_equal(version_retain(dir, 1, &oldest, &err), UNDINE_OK);
    assert_int_equal(oldest, 0);
}

static void test_current_holds_a_name_or_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "000000000001",
                                      "000000000001 ",
                                      "../0000000001\n",
                                      "00000000000x\n",
                                      "0000000000001\n",
                                      "000000000001\n\n"};
    char name[VERSION_NAME_MAX];
    struct undine_err err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        version_fixture_overwrite(path_of("CURRENT", NULL).text, bad[i], strlen(bad[i]));
        assert_int_equal(version_current(dir, name, &err), UNDINE_ECORRUPT);
    }
    version_fixture_overwrite(path_of("CURRENT", NULL).text, "000000000012\n", 13);
    assert_int_equal(version_current(dir, name, &err), UNDINE_OK);
    assert_string_equal(name, "000000000012");
}

static void write_versions(unsigned n)
{
    for (unsigned i = 1; i <= n; i++) {
        struct version_fixture f = {.seed = i, .n_rows = 2, .trained_seq = 100 * i};
        version_fixture_write(dir, &f, true, NULL);
    }
}

static void test_list_and_history(void **state)
{
    (void)state;
    struct version_info info[8];
    struct undine_err err = {0};
    char name[VERSION_NAME_MAX];
    write_versions(3);
    assert_int_equal(version_list(dir, info, 8, &err), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(info[i].number, i + 1);
        assert_int_equal(info[i].trained_seq, 100 * (i + 1));
    }
    assert_int_equal(version_list(dir, info, 2, &err), 2); /* the newest ones */
    assert_int_equal(info[0].number, 2);
    assert_int_equal(info[1].number, 3);
    assert_int_equal(version_current(dir, name, &err), UNDINE_OK);
    assert_string_equal(name, "000000000003");

    size_t len, lines = 0;
    char *history = (char *)version_fixture_read(path_of("HISTORY", NULL).text, &len);
    for (size_t i = 0; i < len; i++) {
        lines += history[i] == '\n';
    }
    assert_int_equal(lines, 3);
    version_fixture_overwrite(path_of("HISTORY", NULL).text, history, len - 5); /* cut short */
    free(history);
    write_versions(1);
    history = (char *)version_fixture_read(path_of("HISTORY", NULL).text, &len);
    history[len] = '\0';
    assert_non_null(strstr(history, "\n{\"event\":\"publish\",\"version\":4,"));
    free(history);
}

static char skipped_names[256];
static void note_skipped(void *payload, const char *name, const struct undine_err *why)
{
    assert_ptr_equal(payload, dir);
    assert_true(why->code < 0 && why->msg[0] != '\0');
    size_t len = strlen(skipped_names);
    (void)snprintf(skipped_names + len, sizeof skipped_names - len, "%s:%d ", name + 11, why->code);
}

static void test_restore_takes_the_newest_that_fits(void **state)
{
    (void)state;
    struct version_info info;
    struct snapshot *s = NULL;
    struct undine_err err = {0};
    write_versions(5);
    assert_int_equal(unlink(path_of("000000000004", MANIFEST_TRAIN).text), 0);
    skipped_names[0] = '\0';
    assert_int_equal(version_restore(dir, 200, 450, &s, &info, note_skipped, dir, &err), 1);
    assert_int_equal(info.number, 3);
    assert_int_equal(s->trained_seq, 300);
    assert_string_equal(skipped_names, "5:-11 4:-3 ");
    snapshot_free(s);
    assert_int_equal(version_restore(dir, 0, 99, &s, &info, NULL, NULL, &err), 0);
    assert_int_equal(version_restore(dir, 100, 100, &s, &info, NULL, NULL, &err), 1);
    assert_int_equal(info.number, 1);
    snapshot_free(s);
}

static void test_examples_stay_until_versions_stand_in_for_one_another(void **state)
{
    (void)state;
    struct undine_err err = {0};
    uint64_t oldest = 1;
    write_versions(2);
    assert_int_equal(version_retain(dir, 3, &oldest, &err), UNDINE_OK);
    assert_int_equal(oldest, 0);
    assert_int_equal(version_retain(dir, 2, &oldest, &err), UNDINE_OK);
    assert_int_equal(oldest, 100);
}

static void test_retain_keeps_the_newest_and_the_published(void **state)
{
    (void)state;
    struct version_info info[8];
    struct undine_err err = {0};
    uint64_t oldest = 0;
    write_versions(6);
    version_fixture_overwrite(path_of("CURRENT", NULL).text, "000000000002\n", 13);
    /* A damaged version does not count as one of those that are kept. */
    version_fixture_overwrite(path_of("000000000005", MANIFEST_NAME).text, "{}", 2);
    assert_int_equal(version_retain(dir, 2, &oldest, &err), UNDINE_OK);
    assert_int_equal(version_list(dir, info, 8, &err), 4);
    assert_int_equal(info[0].number, 1); /* the published one's predecessor */
    assert_int_equal(info[1].number, 2);
    assert_int_equal(info[2].number, 4);
    assert_int_equal(info[3].number, 6);
    assert_int_equal(oldest, 400); /* what is there for scorers alone keeps no examples */
    assert_int_equal(access(path_of("000000000003", NULL).text, F_OK), -1);
    assert_int_equal(access(path_of(".tmp-000000000003", NULL).text, F_OK), -1);
}

static void test_numbers_are_never_used_again(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 1, .n_rows = 1, .trained_seq = 1};
    struct version_info info;
    version_fixture_overwrite(path_of("CURRENT", NULL).text, "000000000041\n", 13);
    version_fixture_write(dir, &f, false, &info);
    assert_int_equal(info.number, 42);
}

static void test_leftovers_go_with_the_next_write(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of(".tmp-000000000009", NULL).text, 0777), 0);
    version_fixture_overwrite(path_of(".tmp-000000000009", MANIFEST_MODEL).text, "half", 4);
    version_fixture_overwrite(path_of(".tmp-CURRENT", NULL).text, "0000", 4);
    write_versions(1);
    assert_int_equal(access(path_of(".tmp-000000000009", NULL).text, F_OK), -1);
    assert_int_equal(access(path_of(".tmp-CURRENT", NULL).text, F_OK), -1);
    assert_int_equal(access(path_of("000000000001", NULL).text, F_OK), 0);
}

/* A full disk, played by a limit on the size of files, at every size. */
static void test_a_full_disk_leaves_nothing_behind(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 2, .n_rows = 20, .trained_seq = 200};
    struct rlimit old, limit;
    struct version_info info[4];
    struct undine_err err = {0};
    write_versions(1);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct snapshot *s = version_fixture_snapshot(&f);
    struct version_extra extra = {.created_ms = 1};
    unsigned failed = 0;
    for (rlim_t bytes = 0; bytes < 100000; bytes += 500) {
        limit = (struct rlimit){.rlim_cur = bytes, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int rc = version_write(dir, s, &extra, false, info, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        if (rc == UNDINE_OK) {
            break;
        }
        failed++;
        assert_int_equal(rc, UNDINE_EIO);
        assert_int_equal(err.sys_errno, EFBIG);
        assert_int_equal(version_list(dir, info, 4, &err), 1);
        assert_int_equal(access(path_of(".tmp-000000000002", NULL).text, F_OK), -1);
    }
    assert_true(failed > 5);
    assert_int_equal(version_list(dir, info, 4, &err), 2);
    snapshot_free(s);
}

#ifdef UNDINE_FAULTS
/* Killed at any of the named places, the directory holds whole versions and a valid CURRENT. */
static void test_a_kill_leaves_a_whole_directory(void **state)
{
    (void)state;
    static const char *const places[] = {"publish.before_rename", "publish.after_rename",
                                         "publish.before_current", "publish.after_current"};
    struct version_info info[8];
    struct undine_err err = {0};
    struct snapshot *s = NULL;
    char name[VERSION_NAME_MAX];
    write_versions(1);
    for (unsigned i = 0; i < 4; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct version_fixture f = {.seed = i + 2, .n_rows = 2, .trained_seq = 100 * (i + 2)};
            (void)setenv("UNDINE_FAULT", places[i], 1);
            version_fixture_write(dir, &f, true, NULL);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(version_current(dir, name, &err), UNDINE_OK);
        assert_int_equal(version_load(path_of(name, NULL).text, true, &s, info, &err), UNDINE_OK);
        snapshot_free(s);
        assert_int_equal(info[0].number, i < 3 ? 1 : 4);
    }
    /* The first kill came before the rename: three of the four versions are there. */
    assert_int_equal(version_list(dir, info, 8, &err), 4);
    assert_int_equal(version_restore(dir, 0, UINT64_MAX, &s, info, NULL, NULL, &err), 1);
    assert_int_equal(info[0].trained_seq, 500);
    snapshot_free(s);
    write_versions(1);
    assert_int_equal(version_current(dir, name, &err), UNDINE_OK);
    assert_string_equal(name, "000000000005");
}
#endif

/* ---- manifests ---- */

static int seal(char text[8192], const char *body)
{
    char hex[HASH128_HEX_LEN + 1];
    hash128_hex(hex, hash128_bytes(body, strlen(body)));
    return snprintf(text, 8192, "%s,\n  \"xxh3_128\": \"%s\"\n}\n", body, hex);
}

static int parse_sealed(const char *body, struct undine_err *err)
{
    char text[8192];
    int len = seal(text, body);
    struct manifest m;
    int rc = manifest_parse(&m, text, (size_t)len, err);
    if (rc == UNDINE_OK) {
        manifest_release(&m);
    }
    return rc;
}

/* A well sealed manifest is still read with care: each change below must be refused. */
static void test_a_forged_manifest_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        int code;
    } changes[] = {
        {"\"format_version\": 1", "\"format_version\": 2", UNDINE_EVERSION},
        {"\"format_version\": 1", "\"format_version\": \"1\"", UNDINE_ECORRUPT},
        {"\"kind\": \"full\"", "\"kind\": \"delta\"", UNDINE_ECORRUPT},
        {"\"kind\": \"full\"", "\"kind\": \"epsilon\"", UNDINE_EVERSION},
        {"\"base\": null", "\"base\": 3", UNDINE_ECORRUPT},
        {"\"trained_seq\": 80", "\"trained_seq\": -80", UNDINE_ECORRUPT},
        {"\"trained_seq\": 80", "\"trained_seq\": 80.5", UNDINE_ECORRUPT},
        {"\"trained_seq\"", "\"trained_Seq\"", UNDINE_ECORRUPT},
        {"\"dim\":8", "\"dim\":9999", UNDINE_ECORRUPT},
        {"\"dim\":8", "\"dim\":7", UNDINE_ECORRUPT}, /* not what the digest says */
        {"\"table\":\"video\"", "\"table\":\"vide0\"", UNDINE_ECORRUPT},
        {"\"group\":\"user\"", "\"group\":\"users\"", UNDINE_ECORRUPT},
        {"\"kind\":\"din\"", "\"kind\":\"dim\"", UNDINE_ECORRUPT},
        {"\"scale\": 0.05", "\"scale\": -0.05", UNDINE_ECORRUPT},
        {"\"seed\": \"18", "\"seed\": \"x18", UNDINE_ECORRUPT},
        {"\"seed\": \"18", "\"seed\": \"9918", UNDINE_ECORRUPT},
        {"model.safetensors", "../safetensors.el", UNDINE_ECORRUPT},
        {"\"rows\": {\"uid\": 3", "\"rows\": {\"uid\": -3", UNDINE_ECORRUPT},
        {"\"positions\": [", "\"positions\": 7, \"x\": [", UNDINE_ECORRUPT},
        {"\"shard\": 2", "\"shard\": 4294967296", UNDINE_ECORRUPT},
        {"\"metrics\": {", "\"metrics\": {", UNDINE_OK}, /* no change at all */
    };
    struct version_fixture f = {.seed = 6, .n_rows = 3, .trained_seq = 80};
    struct version_info info;
    version_fixture_write(dir, &f, true, &info);
    size_t len;
    char *text = (char *)version_fixture_read(path_of(info.name, MANIFEST_NAME).text, &len);
    text[len] = '\0';
    *strstr(text, ",\n  \"xxh3_128\"") = '\0';
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char forged[8192];
        struct undine_err err = {0};
        char *at = strstr(text, changes[i].from);
        if (at == NULL) {
            fail_msg("no %s in %s", changes[i].from, text);
            return;
        }
        (void)snprintf(forged, sizeof forged, "%.*s%s%s", (int)(at - text), text, changes[i].to,
                       at + strlen(changes[i].from));
        int rc = parse_sealed(forged, &err);
        if (rc != changes[i].code) {
            fail_msg("%s: %d (%s)", changes[i].to, rc, err.msg);
        }
    }
    free(text);
}

/* Going on from an older one would fork what the newer program made: a restart says so instead. */
static void test_a_version_of_a_newer_format_is_refused_by_name(void **state)
{
    (void)state;
    struct version_fixture f = {.seed = 6, .n_rows = 3, .trained_seq = 80};
    struct version_info info;
    struct undine_err err = {0};
    struct snapshot *s = NULL;
    char sealed[8192];
    version_fixture_write(dir, &f, true, &info);
    f.trained_seq = 90;
    version_fixture_write(dir, &f, true, &info);
    size_t len;
    char *text = (char *)version_fixture_read(path_of(info.name, MANIFEST_NAME).text, &len);
    text[len] = '\0';
    *strstr(text, ",\n  \"xxh3_128\"") = '\0';
    strchr(strstr(text, "\"format_version\""), '1')[0] = '2';
    (void)seal(sealed, text);
    free(text);
    FILE *manifest = fopen(path_of(info.name, MANIFEST_NAME).text, "w");
    assert_non_null(manifest);
    assert_true(fputs(sealed, manifest) >= 0);
    assert_int_equal(fclose(manifest), 0);
    assert_int_equal(version_restore(dir, 0, UINT64_MAX, &s, &info, NULL, NULL, &err),
                     UNDINE_EVERSION);
    assert_null(s);
    assert_non_null(strstr(err.msg, "000000000002"));
    assert_non_null(strstr(err.msg, "found format version 2"));
    assert_non_null(strstr(err.msg, "knows versions up to 1"));
    assert_non_null(strstr(err.msg, "newer undine"));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorting_keeps_rows_together),
        CASE(test_what_is_written_is_loaded),
        CASE(test_reader_finds_every_row),
        CASE(test_an_index_that_misses_a_row_is_refused),
        CASE(test_equal_models_give_equal_files),
        CASE(test_empty_tables),
        CASE(test_every_flipped_byte_is_refused),
        CASE(test_cut_and_missing_files_are_refused),
        CASE(test_an_empty_directory),
        CASE(test_current_holds_a_name_or_nothing),
        CASE(test_list_and_history),
        CASE(test_restore_takes_the_newest_that_fits),
        CASE(test_examples_stay_until_versions_stand_in_for_one_another),
        CASE(test_retain_keeps_the_newest_and_the_published),
        CASE(test_numbers_are_never_used_again),
        CASE(test_leftovers_go_with_the_next_write),
        CASE(test_a_full_disk_leaves_nothing_behind),
#ifdef UNDINE_FAULTS
        CASE(test_a_kill_leaves_a_whole_directory),
#endif
        CASE(test_a_forged_manifest_is_refused),
        CASE(test_a_version_of_a_newer_format_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
