#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/publish_gate.h"

#include "learner/version_publish.h"
#include "tests/support/version_fixture.h"

#include <math.h>
#include <string.h>

static char dir[VERSION_PATH_MAX];
static const struct gate_options OPTIONS = {.mode = GATE_ENFORCE,
                                            .window = 100,
                                            .examples_min = 10,
                                            .logloss_rise = 0.1,
                                            .gauc_drop = 0.1,
                                            .calibration_min = 0.5,
                                            .calibration_max = 2.0,
                                            .norm_ratio = 4.0,
                                            .row_drop = 0.5};

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

/* Judge, write and publish; change: what is done to the snapshot before. */
static enum gate_verdict_kind publish(struct publish_gate *g, uint32_t rows,
                                      void (*change)(struct snapshot *s), struct version_info *info)
{
    struct version_fixture f = {.seed = 1, .n_rows = rows, .trained_seq = 100};
    struct snapshot *s = version_fixture_snapshot(&f);
    struct version_extra extra = {0};
    if (change != NULL) {
        change(s);
    }
    assert_int_equal(publish_gate_judge(g, s, &extra, NULL), UNDINE_OK);
    assert_int_equal(version_write(dir, s, &extra, false, info, NULL), UNDINE_OK);
    assert_int_equal(info->refused, extra.refused);
    int published = info->refused ? 0 : version_publish(dir, info, NULL);
    publish_gate_written(g, s, info, published > 0);
    snapshot_free(s);
    struct version_info read;
    struct undine_err err = {0};
    int rc = version_info_read(dir, info->number, &read, &err);
    if (rc < 0) {
        print_error("%s\n", err.msg);
    }
    assert_int_equal(rc, UNDINE_OK);
    assert_int_equal(read.refused, info->refused);
    return g->status.verdict.kind;
}

static void spoil(struct snapshot *s)
{
    s->table[0].weight[3] = NAN;
}

static void blow_up(struct snapshot *s)
{
    for (uint32_t i = 0; i < s->n_dense; i++) {
        if (strcmp(s->dense[i].name, "mlp.0.weight") == 0) {
            float *w = s->dense[i].data;
            for (uint64_t k = 0; k < snapshot_array_bytes(&s->dense[i]) / sizeof *w; k++) {
                w[k] *= 1000.0f;
            }
        }
    }
}

static void test_a_refused_version_is_counted(void **state)
{
    (void)state;
    struct publish_gate g;
    struct version_info info;
    struct version_state st;
    publish_gate_init(&g, &OPTIONS, dir);
    assert_int_equal(publish(&g, 20, NULL, &info), GATE_TOO_FEW);
    assert_int_equal(publish(&g, 20, spoil, &info), GATE_REFUSE);
    assert_int_equal(g.status.verdict.reasons, GATE_NOT_FINITE);
    assert_int_equal(publish(&g, 20, blow_up, &info), GATE_REFUSE);
    assert_int_equal(g.status.verdict.reasons, GATE_NORM);
    assert_string_equal(g.status.figures.norm_name, "mlp.0.weight");
    assert_int_equal(publish(&g, 9, NULL, &info), GATE_REFUSE);
    assert_int_equal(g.status.verdict.reasons, GATE_ROWS);
    assert_int_equal(publish(&g, 10, NULL, &info), GATE_TOO_FEW);
    assert_int_equal(g.status.too_few, 2);
    assert_int_equal(g.status.failed, 3);
    assert_int_equal(g.status.refused, 3);
    assert_int_equal(g.status.figures.against, 1);
    assert_int_equal(version_state(dir, &st, NULL), UNDINE_OK);
    assert_int_equal(st.current, 5);
    publish_gate_release(&g);
}

static void test_a_warning_publishes(void **state)
{
    (void)state;
    struct publish_gate g;
    struct version_info info;
    struct gate_options warn = OPTIONS;
    warn.mode = GATE_WARN;
    publish_gate_init(&g, &warn, dir);
    assert_int_equal(publish(&g, 20, NULL, &info), GATE_TOO_FEW);
    assert_int_equal(publish(&g, 20, blow_up, &info), GATE_REFUSE);
    assert_int_equal(g.status.failed, 1);
    assert_int_equal(g.status.refused, 0);
    struct version_state st;
    assert_int_equal(version_state(dir, &st, NULL), UNDINE_OK);
    assert_int_equal(st.current, 2);
    publish_gate_release(&g);
}

/* A process that starts, and one beside which CURRENT was moved, compare with what is published. */
static void test_what_is_published_is_read_from_its_manifest(void **state)
{
    (void)state;
    const struct version_act act = {.by = "command", .reason = "test", .at_ms = 1};
    struct publish_gate g, fresh;
    struct version_info info;
    publish_gate_init(&g, &OPTIONS, dir);
    (void)publish(&g, 20, NULL, &info);
    (void)publish(&g, 18, NULL, &info);
    publish_gate_init(&fresh, &OPTIONS, dir);
    assert_int_equal(publish(&fresh, 18, blow_up, &info), GATE_REFUSE);
    assert_int_equal(fresh.status.figures.against, 2);
    assert_int_equal(fresh.status.figures.rows_published, g.published.rows);
    assert_int_equal(version_rollback(dir, 1, &act, NULL, NULL, NULL), UNDINE_OK);
    (void)publish(&fresh, 18, NULL, &info);
    assert_int_equal(fresh.status.figures.against, 1);
    assert_true(fresh.status.figures.rows_published > g.published.rows);
    publish_gate_release(&g);
    publish_gate_release(&fresh);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_refused_version_is_counted),
        CASE(test_a_warning_publishes),
        CASE(test_what_is_published_is_read_from_its_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
