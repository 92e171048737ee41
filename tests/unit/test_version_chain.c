/* A full version and deltas on it are, row by row and to the last bit, the full version of the same
 * moment; what does not fit is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/chain_world.h"
#include "tests/support/version_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        test_a_chain_is_the_full_version_of_its_moment, make_dir, remove_dir)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
