#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/version_diff.h"

#include "tests/support/version_fixture.h"

#include <math.h>
#include <string.h>

enum { ROWS = 20 };
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

static struct snapshot *snapshot(uint32_t video_dim)
{
    struct version_fixture f = {
        .seed = 1, .n_rows = ROWS, .trained_seq = 100, .video_dim = video_dim};
    struct snapshot *s = version_fixture_snapshot(&f);
    assert_int_equal(snapshot_sort(s, NULL), UNDINE_OK);
    return s;
}

static struct version_chain *written(struct snapshot *s, const struct version_chain *base)
{
    const struct version_extra extra = {0};
    struct version_info info;
    struct version_chain *c = NULL;
    int rc = s->delta ? version_write_delta(dir, s, base, &extra, true, &info, NULL)
                      : version_write(dir, s, &extra, true, &info, NULL);
    assert_int_equal(rc, UNDINE_OK);
    assert_int_equal(version_chain_open(&c, dir, info.name, base, false, NULL), UNDINE_OK);
    snapshot_free(s);
    return c;
}

static const struct version_diff_tensor *tensor(const struct version_diff *d, const char *name)
{
    for (uint32_t i = 0; i < d->n_tensors; i++) {
        if (strcmp(d->tensor[i].name, name) == 0) {
            return &d->tensor[i];
        }
    }
    fail();
    return NULL;
}

static float *dense(struct snapshot *s, const char *name)
{
    const struct snapshot_array *a = snapshot_find(s->dense, s->n_dense, name);
    assert_non_null(a);
    return a->data;
}

/* Row r of table 0 moves by (3 r, 4 r, 0, ...), for r up to n. */
static void move_rows(struct snapshot *s, uint64_t n)
{
    struct snapshot_table *t = &s->table[0];
    for (uint64_t r = 1; r <= n; r++) {
        t->weight[r * t->dim] += 3.0f * (float)r;
        t->weight[r * t->dim + 1] += 4.0f * (float)r;
    }
}

static void test_known_differences(void **state)
{
    (void)state;
    struct version_diff d;
    struct version_chain *a = written(snapshot(0), NULL);
    struct snapshot *s = snapshot(0);
    uint64_t key3 = s->table[0].key[3];
    move_rows(s, 3);
    s->table[1].n_rows -= 2; /* two are gone */
    dense(s, "mlp.0.weight")[5] += 2.0f;
    struct version_chain *b = written(s, NULL);
    assert_int_equal(version_diff_make(&d, a, b, 2, NULL), UNDINE_OK);
    assert_false(d.equal);
    assert_int_equal(d.table[0].moved, 3);
    assert_int_equal(d.table[0].added + d.table[0].removed, 0);
    assert_true(fabs(d.table[0].distance_max - 15.0) < 1e-4);
    assert_true(fabs(d.table[0].distance_sum - 30.0) < 1e-4);
    assert_int_equal(d.table[0].n_top, 2);
    assert_int_equal(d.table[0].top[0].key, key3);
    assert_true(fabs(d.table[0].top[1].distance - 10.0) < 1e-4);
    assert_int_equal(d.table[1].removed, 2);
    assert_int_equal(d.table[1].moved, 0);
    assert_int_equal(d.table[1].rows_b, ROWS - 2);
    assert_true(fabs(tensor(&d, "mlp.0.weight")->distance - 2.0) < 1e-5);
    assert_true(tensor(&d, "mlp.1.weight")->distance == 0.0);
    version_diff_release(&d);
    assert_int_equal(version_diff_make(&d, b, a, 0, NULL), UNDINE_OK); /* the other way */
    assert_int_equal(d.table[1].added, 2);
    assert_int_equal(d.table[0].n_top, 0);
    version_diff_release(&d);
    version_chain_close(a);
    version_chain_close(b);
}

static void test_the_farthest_are_listed_in_order(void **state)
{
    (void)state;
    struct version_diff d;
    struct version_chain *a = written(snapshot(0), NULL);
    struct snapshot *s = snapshot(0);
    move_rows(s, ROWS - 1);
    struct version_chain *b = written(s, NULL);
    for (uint32_t top = 1; top <= ROWS + 1; top++) {
        assert_int_equal(version_diff_make(&d, a, b, top, NULL), UNDINE_OK);
        assert_int_equal(d.table[0].n_top, top < ROWS ? top : ROWS - 1);
        for (uint32_t i = 0; i < d.table[0].n_top; i++) {
            assert_true(fabs(d.table[0].top[i].distance - 5.0 * (ROWS - 1 - i)) < 1e-3);
        }
        version_diff_release(&d);
    }
    version_chain_close(a);
    version_chain_close(b);
}

static void test_equal_models(void **state)
{
    (void)state;
    struct version_diff d;
    struct version_chain *a = written(snapshot(0), NULL), *b = written(snapshot(0), NULL);
    assert_int_equal(version_diff_make(&d, a, b, 5, NULL), UNDINE_OK);
    assert_true(d.equal);
    for (uint32_t i = 0; i < d.n_tables; i++) {
        assert_int_equal(d.table[i].added + d.table[i].removed + d.table[i].moved, 0);
        assert_int_equal(d.table[i].rows_a, ROWS);
    }
    version_diff_release(&d);
    version_chain_close(a);
    version_chain_close(b);
}

static void test_a_delta_against_its_base(void **state)
{
    (void)state;
    struct version_diff d;
    struct version_chain *a = written(snapshot(0), NULL);
    struct snapshot *s = snapshot(0);
    struct snapshot_table *t = &s->table[0], *u = &s->table[1];
    uint64_t gone = u->key[4], changed = t->key[7];
    s->delta = true;
    memmove(t->weight, t->weight + 7 * (size_t)t->dim, t->dim * sizeof *t->weight);
    t->weight[0] += 1.0f;
    t->key[0] = changed;
    t->n_rows = 1;
    for (uint32_t i = 1; i < s->n_tables; i++) {
        s->table[i].n_rows = 0;
    }
    u->removed = &gone;
    u->n_removed = 1;
    struct version_chain *b = written(s, a);
    assert_int_equal(b->n_parts, 2);
    assert_int_equal(version_diff_make(&d, a, b, 5, NULL), UNDINE_OK);
    assert_int_equal(d.table[0].moved, 1);
    assert_int_equal(d.table[0].top[0].key, changed);
    assert_true(fabs(d.table[0].distance_max - 1.0) < 1e-6);
    assert_int_equal(d.table[0].rows_b, ROWS);
    assert_int_equal(d.table[1].removed, 1);
    assert_int_equal(d.table[1].rows_b, ROWS - 1);
    version_diff_release(&d);
    version_chain_close(b);
    version_chain_close(a);
}

static void test_another_shape(void **state)
{
    (void)state;
    struct version_diff d;
    struct version_chain *a = written(snapshot(0), NULL), *b = written(snapshot(6), NULL);
    assert_int_equal(version_diff_make(&d, a, b, 5, NULL), UNDINE_OK);
    assert_false(d.equal);
    bool other_width = false;
    for (uint32_t i = 0; i < d.n_tables; i++) {
        const struct version_diff_table *t = &d.table[i];
        if (t->width_a != t->width_b) {
            other_width = true;
            assert_int_equal(t->added, ROWS);
            assert_int_equal(t->removed, ROWS);
            assert_int_equal(t->moved, 0);
        }
    }
    assert_true(other_width);
    assert_false(tensor(&d, "mlp.0.weight")->same_shape);
    assert_true(isnan(tensor(&d, "mlp.0.weight")->distance));
    version_diff_release(&d);
    version_chain_close(a);
    version_chain_close(b);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_known_differences), CASE(test_the_farthest_are_listed_in_order),
        CASE(test_equal_models),      CASE(test_a_delta_against_its_base),
        CASE(test_another_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
