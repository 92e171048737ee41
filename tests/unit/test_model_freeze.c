/* A model that no longer changes scores as it did before, bit for bit, whatever the scratch was
 * used for meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <string.h>

enum { EXAMPLES = 24, MODELS = 3 };

struct fixture {
    struct toy_batch toy;
    struct model_options opt[MODELS];
    struct model *model[MODELS];
    real want[MODELS][EXAMPLES];
    struct model_scratch *scratch;
};

static void open_model(struct fixture *f, size_t i)
{
    struct undine_err err;
    if (model_open(&f->model[i], &f->toy.schema, &f->opt[i], &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

/* With a scratch that has seen nothing. */
static void score_fresh(struct fixture *f, const struct model *m, real *out)
{
    struct model_scratch *scratch;
    assert_int_equal(model_scratch_open(&scratch, m, NULL), 0);
    assert_int_equal(model_score(m, scratch, &f->toy.batch, out, NULL), 0);
    model_scratch_close(scratch);
}

static void must_score(struct fixture *f, size_t i)
{
    real got[EXAMPLES];
    model_scratch_use(f->scratch, f->model[i]);
    assert_int_equal(model_score(f->model[i], f->scratch, &f->toy.batch, got, NULL), 0);
    assert_memory_equal(got, f->want[i], sizeof got);
}

/* Two of a shape, and one whose MLP has another. */
static int setup(void **state)
{
    static struct fixture f;
    struct random r = {21};
    struct schema schema;
    memset(&f, 0, sizeof f);
    toy_schema(&schema);
    toy_batch_init(
        &f.toy, &schema,
        &(struct toy_shape){.examples = EXAMPLES, .steps_max = 4, .rows = 30, .values = 3}, &r);
    for (size_t i = 0; i < MODELS; i++) {
        f.opt[i] = MODEL_OPTIONS_DEFAULT;
        f.opt[i].seed = 1 + i;
        f.opt[i].mlp.hidden[0] = i == 2 ? 40 : f.opt[i].mlp.hidden[0];
        open_model(&f, i);
        score_fresh(&f, f.model[i], f.want[i]);
    }
    assert_int_equal(model_scratch_open(&f.scratch, f.model[0], NULL), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    model_scratch_close(f->scratch);
    for (size_t i = 0; i < MODELS; i++) {
        model_close(f->model[i]);
    }
    toy_batch_release(&f->toy);
    return 0;
}

static void test_one_scratch_for_all(void **state)
{
    struct fixture *f = *state;
    static const uint8_t turns[] = {0, 0, 1, 1, 0, 2, 2, 0, 1, 2, 1, 0, 0};
    model_freeze(f->model[0]);
    model_freeze(f->model[1]); /* model 2 may still change */
    for (size_t i = 0; i < sizeof turns; i++) {
        must_score(f, turns[i]);
    }
}

/* Another model where the last one lay. */
static void test_same_address(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 50; i++) {
        must_score(f, 0);
        must_score(f, 0);
        model_close(f->model[0]);
        f->opt[0].seed = 100 + i;
        open_model(f, 0);
        model_freeze(f->model[0]);
        score_fresh(f, f->model[0], f->want[0]);
    }
    must_score(f, 0);
}

/* One that is not frozen may change between two calls. */
static void test_change_is_seen(void **state)
{
    struct fixture *f = *state;
    must_score(f, 2);
    model_freeze(f->model[1]);
    must_score(f, 1);
    must_score(f, 2);
    for (size_t i = 0; i < model_n_values(f->model[2]); i++) {
        model_values(f->model[2])[i] *= R(1.01);
    }
    real before[EXAMPLES];
    memcpy(before, f->want[2], sizeof before);
    score_fresh(f, f->model[2], f->want[2]);
    assert_memory_not_equal(before, f->want[2], sizeof before);
    must_score(f, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_scratch_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_change_is_seen, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
