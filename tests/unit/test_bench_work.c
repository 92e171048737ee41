#include "tests/bench/bench_shape.h"
#include "tests/bench/bench_work.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void close_to(double a, double b)
{
    assert_true(a > b - 1e-9 * b && a < b + 1e-9 * b);
}

/* By hand: item and category of 2 and a user of 2, so E = 4 and x = 2 + 2 + 2 + 4 = 10; unit 3,
 * MLP 5-2, 7 steps. */
static void test_small_shape_by_hand(void **state)
{
    (void)state;
    struct bench_shape shape = *bench_shape_find("online");
    struct schema schema;
    shape.dim = 2;
    shape.unit_hidden[0] = 3;
    shape.unit_hidden[1] = 0;
    assert_int_equal(bench_shape_schema(&shape, &schema, NULL), UNDINE_OK);
    struct model_options model = bench_shape_model(&shape);
    model.mlp.hidden[0] = 5;
    model.mlp.hidden[1] = 2;
    struct bench_work w = bench_work_count(&schema, &model, 7.0);
    /* multiplications forward: 7 steps and the candidate x 4 x 3 = 96; 10 x 5 + 5 x 2 = 60 */
    close_to(w.product_flops, 3 * 2 * (96 + 60));
    /* Dice: 7 x 3 + 5 + 2 = 28 numbers; dots: 7 x 3 + 2 = 23; 4 x 3 weights mixed; 7 x 4 pooled */
    close_to(w.vector_flops, 35 * 28 + 6 * 23 + 9 * 12 + 6 * 28);
    close_to(w.layer_bytes, 6 * sizeof(real) * 28);
}

/* The second layer of the unit is another product for each step. */
static void test_second_layer(void **state)
{
    (void)state;
    const struct bench_shape *shape = bench_shape_find("online");
    struct schema schema;
    assert_int_equal(bench_shape_schema(shape, &schema, NULL), UNDINE_OK);
    struct model_options model = bench_shape_model(shape);
    struct bench_work w = bench_work_count(&schema, &model, 50.0);
    /* E = 36, unit 80-40; x = 54 + 36 = 90, MLP 200-80 */
    close_to(w.product_flops, 6.0 * (51 * 36 * 80 + 50 * 80 * 40 + 90 * 200 + 200 * 80));
}

/* Twice the steps: twice of all but the candidate, the mixing and the MLP. */
static void test_linear_in_steps(void **state)
{
    (void)state;
    const struct bench_shape *shape = bench_shape_find("paper");
    struct schema schema;
    assert_int_equal(bench_shape_schema(shape, &schema, NULL), UNDINE_OK);
    struct model_options model = bench_shape_model(shape);
    struct bench_work a = bench_work_count(&schema, &model, 0.0);
    struct bench_work b = bench_work_count(&schema, &model, 50.0);
    struct bench_work c = bench_work_count(&schema, &model, 100.0);
    close_to(c.product_flops - b.product_flops, b.product_flops - a.product_flops);
    close_to(c.vector_flops - b.vector_flops, b.vector_flops - a.vector_flops);
    close_to(b.product_flops - a.product_flops, 6.0 * 50 * 36 * 36);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_shape_by_hand),
        cmocka_unit_test(test_second_layer),
        cmocka_unit_test(test_linear_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
