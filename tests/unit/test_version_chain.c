/* A full version and deltas on it are, row by row and to the last bit, the full version of the same
 * moment; what does not fit is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/chain_world.h"
#include "tests/support/version_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char dir[VERSION_PATH_MAX];

static int make_dir(void **state)
{
    (void)state;
    version_fixture_temp_dir(dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    version_fixture_remove(dir);
    return 0;
}

/* Every id of the world is found, or is not, as the world says. */
static void assert_serves(const struct version_chain *c, const struct chain_world *w)
{
    for (uint32_t k = 0; k < CHAIN_WORLD_TABLES; k++) {
        const struct version_rows *t = &c->table[k];
        uint64_t n = 0;
        for (size_t i = 0; i < CHAIN_WORLD_IDS; i++) {
            const struct chain_world_row *row = &w->row[k][i];
            const float *at = version_rows_find(t, row->key);
            uint32_t part;
            uint64_t place;
            assert_int_equal(at != NULL, row->there);
            assert_int_equal(version_rows_where(t, row->key, &part, &place), row->there);
            if (row->there) {
                assert_memory_equal(at, row->weight, t->width * sizeof *at);
                assert_ptr_equal(at, t->row[part] + place * t->width);
                n++;
            }
        }
        assert_int_equal(t->digest.n, n);
        assert_int_equal(c->manifest->rows[k], n);
        assert_int_equal(t->shared != NULL, w->shared);
        assert_null(version_rows_find(t, 12345));
    }
}

static void path_of(char out[VERSION_PATH_MAX], const char *name)
{
    assert_int_equal(version_path(out, dir, name, NULL), UNDINE_OK);
}

/* What the version is, loaded, and what the world is, taken whole. */
static void assert_loads(const struct version_info *info, const struct chain_world *w)
{
    char path[VERSION_PATH_MAX], hex[HASH128_HEX_LEN + 1];
    struct snapshot *s = NULL, *want = chain_world_look(w);
    struct version_info read;
    struct undine_err err = {0};
    path_of(path, info->name);
    int rc = version_load(path, true, &s, &read, &err);
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
    assert_memory_equal(&read, info, sizeof read);
    assert_int_equal(snapshot_sort(want, &err), UNDINE_OK);
    chain_world_same(want, s);
    hash128_hex(hex, snapshot_digest(s));
    assert_string_equal(hex, info->digest);
    snapshot_free(s);
    snapshot_free(want);
}

static void run_world(uint64_t seed, bool waiting, bool shared, uint32_t one_in)
{
    struct chain_world w;
    struct version_chain *chain = NULL, *alone = NULL;
    struct version_info info;
    struct undine_err err = {0};
    chain_world_init(&w, seed, waiting, shared);
    chain_world_write(&w, dir, &chain, false, true, &info);
    for (unsigned i = 0; i < 12; i++) {
        chain_world_step(&w, one_in);
        chain_world_write(&w, dir, &chain, true, true, &info);
        assert_true(info.is_delta);
        assert_int_equal(info.n_chain, i + 1);
        assert_serves(chain, &w);
        assert_loads(&info, &w);
        /* Without anything to share it is the same. */
        assert_int_equal(version_chain_open(&alone, dir, info.name, NULL, false, &err), 0);
        assert_serves(alone, &w);
        assert_memory_equal(&alone->digest, &chain->digest, sizeof chain->digest);
        version_chain_close(alone);
    }
    version_chain_close(chain);
}

static void test_a_chain_is_the_full_version_of_its_moment(void **state)
{
    (void)state;
    print_message("seeds 1 to 6\n");
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_world(seed, seed % 2 == 0, seed % 3 == 0, seed < 4 ? 3 : 12);
    }
}

/* ---- sharing ---- */

static void test_the_next_delta_shares_what_is_open(void **state)
{
    (void)state;
    struct chain_world w;
    struct version_chain *a = NULL, *b = NULL, *back = NULL;
    struct version_info info;
    struct undine_err err = {0};
    chain_world_init(&w, 3, true, false);
    chain_world_write(&w, dir, &a, false, true, &info);
    chain_world_step(&w, 6);
    chain_world_write(&w, dir, &a, true, true, &info);
    assert_int_equal(version_chain_open(&b, dir, info.name, a, true, &err), UNDINE_OK);
    for (uint32_t i = 0; i < 2; i++) {
        assert_ptr_equal(a->part[i], b->part[i]);
        assert_int_equal(a->part[i]->refs, 2);
    }
    assert_ptr_equal(a->table[0].overlay.run[0], b->table[0].overlay.run[0]);
    /* Back to the full one: its part is shared, the overlay is not. */
    assert_int_equal(version_chain_open(&back, dir, "000000000001", b, true, &err), UNDINE_OK);
    assert_ptr_equal(back->part[0], a->part[0]);
    assert_int_equal(back->table[0].overlay.n, 0);
    version_chain_close(back);
    version_chain_close(a); /* what is shared stays */
    assert_int_equal(b->part[0]->refs, 1);
    assert_serves(b, &w);
    version_chain_close(b);
}

/* A stack of runs stays low, and each lookup finds the newest. */
static void test_a_long_chain_has_few_runs(void **state)
{
    (void)state;
    struct chain_world w;
    struct version_chain *chain = NULL;
    struct version_info info;
    chain_world_init(&w, 4, false, false);
    chain_world_write(&w, dir, &chain, false, false, &info);
    for (unsigned i = 0; i < 150; i++) {
        chain_world_step(&w, 20);
        chain_world_write(&w, dir, &chain, true, false, &info);
        for (uint32_t k = 0; k < CHAIN_WORLD_TABLES; k++) {
            assert_in_range(chain->table[k].overlay.n, 0, 5);
        }
    }
    assert_serves(chain, &w);
    assert_loads(&info, &w);
    version_chain_close(chain);
}

/* ---- refusals ---- */

enum { NEWEST = 4 };

static void make_chain(uint64_t seed)
{
    struct chain_world w;
    struct version_chain *chain = NULL;
    chain_world_init(&w, seed, true, false);
    for (unsigned i = 1; i <= NEWEST; i++) {
        chain_world_write(&w, dir, &chain, i > 1, true, NULL);
        chain_world_step(&w, 3);
    }
    version_chain_close(chain);
}

static void assert_refused(int code, const char *why)
{
    struct version_chain *c = NULL;
    struct undine_err err = {0};
    assert_int_equal(version_chain_open(&c, dir, "000000000004", NULL, true, &err), code);
    if (strstr(err.msg, why) == NULL) {
        fail_msg("`%s` lacks `%s`", err.msg, why);
    }
}

static void manifest_path(char out[VERSION_PATH_MAX + 64], uint64_t number)
{
    (void)snprintf(out, VERSION_PATH_MAX + 64, "%s/%012u/manifest.json", dir, (unsigned)number);
}

/* The manifest's text without its seal; the caller frees it. */
static char *open_manifest(uint64_t number)
{
    char path[VERSION_PATH_MAX + 64];
    size_t len;
    manifest_path(path, number);
    char *text = (char *)version_fixture_read(path, &len);
    text[len - 53] = '\0';
    return text;
}

static void seal_manifest(uint64_t number, const char *text)
{
    char path[VERSION_PATH_MAX + 64], sealed[32768], hex[HASH128_HEX_LEN + 1];
    manifest_path(path, number);
    hash128_hex(hex, hash128_bytes(text, strlen(text)));
    int len = snprintf(sealed, sizeof sealed, "%s,\n  \"xxh3_128\": \"%s\"\n}\n", text, hex);
    assert_in_range(len, 1, sizeof sealed - 1);
    version_fixture_overwrite(path, sealed, (size_t)len);
}

/* The newest manifest with `from` in place of `to`, under a right checksum. */
static void forge(const char *from, const char *to)
{
    char *text = open_manifest(NEWEST), forged[32768];
    char *at = strstr(text, from);
    assert_non_null(at);
    (void)snprintf(forged, sizeof forged, "%.*s%s%s", (int)(at - text), text, to,
                   at + strlen(from));
    seal_manifest(NEWEST, forged);
    free(text);
}

static char *link_of(uint64_t number)
{
    static char link[2][128];
    static size_t which;
    char from[32], *text = open_manifest(NEWEST);
    (void)snprintf(from, sizeof from, "{\"number\": %u,", (unsigned)number);
    char *at = strstr(text, from);
    assert_non_null(at);
    which = 1 - which;
    (void)snprintf(link[which], sizeof link[0], "%.*s", (int)(strchr(at, '}') + 1 - at), at);
    free(text);
    return link[which];
}

static void test_a_version_of_the_chain_is_missing(void **state)
{
    (void)state;
    char path[VERSION_PATH_MAX];
    make_chain(1);
    path_of(path, "000000000002");
    version_fixture_remove(path);
    assert_refused(UNDINE_ECORRUPT, "its chain needs version 2, which is missing");
}

static void test_one_is_damaged(void **state)
{
    (void)state;
    char path[VERSION_PATH_MAX + 64];
    size_t len;
    make_chain(2);
    (void)snprintf(path, sizeof path, "%s/000000000003/model.safetensors", dir);
    uint8_t *bytes = version_fixture_read(path, &len);
    bytes[len - 1] ^= 1;
    version_fixture_overwrite(path, bytes, len);
    free(bytes);
    assert_refused(UNDINE_ECORRUPT, "its chain needs version 3: ");
    assert_refused(UNDINE_ECORRUPT, "checksum is");
}

static void test_one_is_of_a_newer_format(void **state)
{
    (void)state;
    make_chain(3);
    char *text = open_manifest(2), *at = strstr(text, "\"format_version\": 1");
    at[strlen("\"format_version\": ")] = '9';
    seal_manifest(2, text);
    free(text);
    assert_refused(UNDINE_EVERSION, "its chain needs version 2: ");
}

static void test_one_is_foreign(void **state)
{
    (void)state;
    make_chain(4);
    char *text = open_manifest(2), *at = strstr(text, "\"created_ms\": 1");
    at[strlen("\"created_ms\": ")] = '2';
    seal_manifest(2, text);
    free(text);
    assert_refused(UNDINE_ECORRUPT, "there is a foreign one");
}

static void test_one_stands_twice_or_out_of_order(void **state)
{
    (void)state;
    make_chain(5);
    char two[128], three[128], one[128];
    (void)strcpy(one, link_of(1));
    (void)strcpy(two, link_of(2));
    (void)strcpy(three, link_of(3));
    forge(two, three);
    assert_refused(UNDINE_ECORRUPT, "`chain` names version 3 twice");
    forge(three, one);
    assert_refused(UNDINE_ECORRUPT, "`chain` names version 1 twice");
    forge(one, three); /* the first: 3 1 3 */
    assert_refused(UNDINE_ECORRUPT, "`chain` names version 3 twice");
    forge(three, one);
    forge(one, "{}");
    assert_refused(UNDINE_ECORRUPT, "`number` is missing");
}

static void test_order_base_and_kind(void **state)
{
    (void)state;
    make_chain(6);
    char two[128], three[128], both[300];
    (void)strcpy(two, link_of(2));
    (void)strcpy(three, link_of(3));
    (void)snprintf(both, sizeof both, "%s,\n    %s", two, three);
    char swapped[300];
    (void)snprintf(swapped, sizeof swapped, "%s,\n    %s", three, two);
    forge(both, swapped);
    assert_refused(UNDINE_ECORRUPT, "out of order: version 2 stands behind version 3");
    forge(swapped, both);
    forge("\"base\": 3", "\"base\": 2");
    assert_refused(UNDINE_ECORRUPT, "`chain` ends with version 3, `base` is 2");
    forge("\"base\": 2", "\"base\": 3");
    char whole[500], rest[300];
    (void)snprintf(whole, sizeof whole, "%s,\n    %s", link_of(1), both);
    (void)snprintf(rest, sizeof rest, "%s", both);
    forge(whole, rest); /* the full one is left out */
    assert_refused(UNDINE_ECORRUPT, "version 2 of its chain is a delta one, expected a full one");
    forge(rest, whole);
    forge(both, three); /* one in the middle is left out */
    assert_refused(UNDINE_ECORRUPT, "it changes a model with the digest");
}

static void test_a_digest_is_wrong(void **state)
{
    (void)state;
    make_chain(7);
    char *text = open_manifest(NEWEST), digest[64];
    char *at = strstr(text, "\"base_digest\": \"");
    (void)snprintf(digest, sizeof digest, "%.48s", at);
    free(text);
    forge(digest, "\"base_digest\": \"00000000000000000000000000000000");
    assert_refused(UNDINE_ECORRUPT, "it changes a model with the digest 0000000");
    forge("\"base_digest\": \"00000000000000000000000000000000", digest);
    text = open_manifest(NEWEST);
    at = strstr(text, "{\"model\": \"");
    at[strlen("{\"model\": \"")] ^= 1;
    seal_manifest(NEWEST, text);
    free(text);
    assert_refused(UNDINE_ECORRUPT, "applied, the model has the digest");
}

/* What the writer is handed and the base does not have. */
static void test_a_delta_of_other_tables_is_not_written(void **state)
{
    (void)state;
    struct chain_world w;
    struct version_chain *chain = NULL;
    struct version_extra extra = {0};
    struct undine_err err = {0};
    chain_world_init(&w, 8, false, false);
    chain_world_write(&w, dir, &chain, false, true, NULL);
    struct snapshot *s = chain_world_delta(&w);
    s->row_init[1].seed++;
    assert_int_equal(version_write_delta(dir, s, chain, &extra, true, NULL, &err), UNDINE_ESTATE);
    snapshot_free(s);
    version_chain_close(chain);
}

static void test_a_delta_is_read_under_its_number(void **state)
{
    (void)state;
    struct version_chain *c = NULL;
    struct undine_err err = {0};
    char from[VERSION_PATH_MAX], to[VERSION_PATH_MAX + 16];
    make_chain(9);
    path_of(from, "000000000004");
    assert_int_equal(version_chain_open_path(&c, from, NULL, true, &err), UNDINE_OK);
    version_chain_close(c);
    (void)snprintf(to, sizeof to, "%s/copy", dir);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(version_chain_open_path(&c, to, NULL, true, &err), UNDINE_EINVAL);
    path_of(from, "000000000001");
    (void)snprintf(to, sizeof to, "%s/full", dir);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(version_chain_open_path(&c, to, NULL, true, &err), UNDINE_OK);
    assert_int_equal(c->number, 1);
    version_chain_close(c);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_chain_is_the_full_version_of_its_moment),
        CASE(test_the_next_delta_shares_what_is_open),
        CASE(test_a_long_chain_has_few_runs),
        CASE(test_a_version_of_the_chain_is_missing),
        CASE(test_one_is_damaged),
        CASE(test_one_is_of_a_newer_format),
        CASE(test_one_is_foreign),
        CASE(test_one_stands_twice_or_out_of_order),
        CASE(test_order_base_and_kind),
        CASE(test_a_digest_is_wrong),
        CASE(test_a_delta_of_other_tables_is_not_written),
        CASE(test_a_delta_is_read_under_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
