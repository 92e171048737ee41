/* A store that an earlier program wrote, in the middle of its stream, still opens, is whole, and
 * goes on to what an uninterrupted run of this program makes of the whole stream.  A value of a
 * newer format is refused: it says which value, what was found, what is known and what helps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ingest/meta.h"
#include "ingest/verify.h"
#include "tests/support/golden_store.h"
#include "tests/support/store_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

/* A copy that may be written to. */
static void copy_golden(char dir[FIXTURE_PATH_MAX])
{
    enum { BYTES_MAX = 1 << 20 };
    char from[512], to[FIXTURE_PATH_MAX + 256];
    char *bytes = malloc(BYTES_MAX);
    DIR *d = opendir(GOLDEN_STORE_DIR "/store");
    assert_true(bytes != NULL && d != NULL);
    fixture_directory(dir);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] == '.') {
            continue;
        }
        (void)snprintf(from, sizeof from, "%s/%s", GOLDEN_STORE_DIR "/store", e->d_name);
        (void)snprintf(to, sizeof to, "%s/%s", dir, e->d_name);
        FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
        assert_true(in != NULL && out != NULL);
        size_t n = fread(bytes, 1, BYTES_MAX, in);
        assert_true(n < BYTES_MAX && fwrite(bytes, 1, n, out) == n);
        assert_int_equal(fclose(in), 0);
        assert_int_equal(fclose(out), 0);
    }
    (void)closedir(d);
    free(bytes);
}

/* What the daemon reads before it opens a source. */
static int check_start(const char *dir, struct undine_err *err)
{
    struct ingest_world w;
    struct store *store = NULL;
    struct example_log *log = NULL;
    struct store_options open = {.dir = dir, .cache_bytes = 1 << 20, .write_buffer_bytes = 1 << 20};
    golden_world(&w);
    int rc = store_open(&store, &open, err);
    if (rc == UNDINE_OK) {
        int known = ingest_check_config(store, &w.opt, err);
        rc = known < 0 ? known : example_log_open(&log, store, &w.schema, 0, err);
    }
    example_log_close(log);
    store_close(store);
    return rc;
}

/* Open the copy with the whole stream at the source, and run to the end. */
static int finish(const char *dir, bool from_start, char digest[64], struct undine_err *err)
{
    struct golden_stream stream;
    struct memory_log log = {.n_partitions = GOLDEN_PARTITIONS};
    struct memory_source_options source = {.bounded = true};
    struct ingest_world w;
    golden_stream_read(&stream, GOLDEN_STORE_DIR);
    golden_stream_add(&stream, 0, stream.n, &log);
    golden_world(&w);
    int rc = check_start(dir, err);
    if (rc == UNDINE_OK) {
        rc = ingest_world_open(&w, dir, &log, &source, err);
    }
    if (rc == UNDINE_OK) {
        struct ingest_status s;
        ingest_status(w.ingest, &s);
        assert_true(from_start ? s.counters.events == 0
                               : s.counters.waiting > 0 && s.counters.pending > 0 &&
                                     s.counters.events > stream.n / 2);
        for (rc = 1; rc > 0;) {
            rc = ingest_step(w.ingest, err);
        }
        assert_int_equal(rc, 0);
        golden_digest(&w, digest);
        ingest_status(w.ingest, &s);
        assert_int_equal(s.counters.events, stream.n);
        assert_int_equal(s.counters.losses, from_start ? 0 : 1);
    } else {
        w.ingest = NULL;
    }
    ingest_world_close(&w);
    memory_log_release(&log);
    golden_stream_release(&stream);
    return rc;
}

static void test_store_of_format_2_opens_and_goes_on(void **state)
{
    (void)state;
    char dir[FIXTURE_PATH_MAX], fresh[FIXTURE_PATH_MAX], digest[64], now[64], expected[64] = {0};
    struct undine_err err = {.msg = "?"};
    FILE *f = fopen(GOLDEN_STORE_DIR "/expected", "r");
    assert_non_null(f);
    assert_true(fread(expected, 1, sizeof expected - 1, f) > 0);
    (void)fclose(f);
    copy_golden(dir);
    if (finish(dir, false, digest, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    fixture_directory(fresh);
    assert_int_equal(finish(fresh, true, now, &err), UNDINE_OK);
    assert_string_equal(digest, now);
    assert_string_equal(digest, expected);
    fixture_remove(fresh);
    fixture_remove(dir);
}

/* ---- verify ---- */

struct told {
    unsigned n;
    char first[UNDINE_ERR_MSG_MAX + 128];
};

static void tell(void *payload, const char *where, const char *what)
{
    struct told *t = payload;
    if (t->n++ == 0) {
        (void)snprintf(t->first, sizeof t->first, "%s: %s", where, what);
    }
}

static int verify(const char *dir, struct told *told, struct verified *out, struct undine_err *err)
{
    struct ingest_world w;
    struct store *store = NULL;
    struct users_options users = {.cache_bytes = 1 << 20};
    struct store_options open = {.dir = dir,
                                 .cache_bytes = 1 << 20,
                                 .write_buffer_bytes = 1 << 20,
                                 .read_only = true,
                                 .strict_log = true};
    golden_world(&w);
    w.decode.message_bytes_max = 4096;
    struct verify_options opt = {
        .schema = &w.schema, .ingest = &w.opt, .decode = &w.decode, .users = &users};
    *told = (struct told){0};
    int rc = store_open(&store, &open, err);
    if (rc == UNDINE_OK) {
        rc = ingest_verify(out, store, &opt, tell, told, err);
    }
    store_close(store);
    return rc;
}

static void test_store_of_format_2_is_whole_and_has_every_kind_of_value(void **state)
{
    (void)state;
    char dir[FIXTURE_PATH_MAX];
    struct told told;
    struct verified v;
    struct undine_err err = {.msg = "?"};
    copy_golden(dir);
    assert_int_equal(verify(dir, &told, &v, &err), UNDINE_OK);
    if (told.n > 0) {
        fail_msg("%s", told.first);
    }
    assert_true(v.restored && accounting_closes(&v.accounting));
    assert_true(v.users > 3 && v.arrival_events > 50 && v.arrival_rejected > 0);
    assert_true(v.examples > 20 && v.positions == GOLDEN_PARTITIONS && v.losses == 1);
    assert_true(v.malformed_samples > 0 && v.waiting > 0 && v.pending > 0);
    assert_true(v.examples_by_kind[EXAMPLE_POSITIVE] > 0 && v.examples_by_kind[EXAMPLE_FORGET] > 0);
    assert_true(v.family[STORE_EXAMPLE].files > 0); /* and the newest part is in its log */
    fixture_remove(dir);
}

/* ---- from the future ---- */

struct value {
    enum store_family family;
    const char *name; /* meta: its name, or the beginning of it */
    const char *called;
    bool at_start; /* a start reads it */
};
static const struct value values[] = {
    {STORE_META, "format", "meta `format`", true},
    {STORE_META, "example_log", "meta `example_log`", true},
    {STORE_META, META_INGEST, "meta `ingest`", true},
    {STORE_META, META_CONFIG, "meta `config`", true},
    {STORE_META, META_POSITION_PREFIX, "meta `position`", true},
    {STORE_META, META_MALFORMED_PREFIX, "meta `malformed`", false},
    {STORE_META, META_LOSS_PREFIX, "meta `loss`", false},
    {STORE_SEQUENCE, NULL, "stored user", true},
    {STORE_ARRIVALS, NULL, "stored arrivals", true},
    {STORE_EXAMPLE, NULL, "example block", false},
};

struct rewrite {
    struct store *store;
    enum store_family family;
    unsigned n;
};

static struct writer newer(const uint8_t *value, size_t len)
{
    struct writer w;
    writer_init(&w);
    writer_bytes(&w, value, len);
    w.data[0] = 2; /* the first byte of every value is its format version */
    return w;
}

static int rewrite_block(void *payload, uint64_t key, const uint8_t *value, size_t len,
                         struct undine_err *err)
{
    struct rewrite *r = payload;
    uint8_t bytes[8];
    (void)err;
    assert_int_equal(value[0], 1);
    struct writer w = newer(value, len);
    bytes_put_be64(bytes, key);
    store_put(r->store, r->family, bytes, sizeof bytes, w.data, w.len);
    writer_release(&w);
    r->n++;
    return UNDINE_OK;
}

static int rewrite_meta(void *payload, const char *name, const uint8_t *value, size_t len,
                        struct undine_err *err)
{
    struct rewrite *r = payload;
    (void)err;
    assert_int_equal(value[0], 1);
    struct writer w = newer(value, len);
    store_put(r->store, STORE_META, name, strlen(name), w.data, w.len);
    writer_release(&w);
    r->n++;
    return UNDINE_OK;
}

static void make_newer(const char *dir, const struct value *v)
{
    struct rewrite r = {.store = fixture_store(dir), .family = v->family};
    int rc = v->family == STORE_META ? store_scan_meta(r.store, v->name, rewrite_meta, &r, NULL)
                                     : store_scan(r.store, v->family, 0, rewrite_block, &r, NULL);
    assert_int_equal(rc, UNDINE_OK);
    assert_true(r.n > 0);
    assert_int_equal(store_write(r.store, NULL), UNDINE_OK);
    store_close(r.store);
}

static void says_all(const char *text, const struct value *v)
{
    if (strstr(text, v->called) == NULL || strstr(text, "found format version 2") == NULL ||
        strstr(text, "knows versions up to 1") == NULL || strstr(text, "newer undine") == NULL) {
        fail_msg("%s: says: %s", v->called, text);
    }
}

static void test_value_of_a_newer_format_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
        const struct value *v = &values[k];
        char dir[FIXTURE_PATH_MAX], digest[64];
        struct told told = {0};
        struct verified verified;
        struct undine_err err = {0};
        copy_golden(dir);
        make_newer(dir, v);
        if (verify(dir, &told, &verified, &err) == UNDINE_OK) {
            assert_true(told.n > 0);
            says_all(told.first, v);
        } else {
            assert_int_equal(err.code, UNDINE_EVERSION);
            says_all(err.msg, v);
        }
        if (v->at_start) {
            err = (struct undine_err){0};
            assert_int_equal(finish(dir, false, digest, &err), UNDINE_EVERSION);
            says_all(err.msg, v);
        }
        fixture_remove(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_of_format_2_opens_and_goes_on),
        cmocka_unit_test(test_store_of_format_2_is_whole_and_has_every_kind_of_value),
        cmocka_unit_test(test_value_of_a_newer_format_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
