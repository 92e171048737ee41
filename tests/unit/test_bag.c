#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "learner/model/bag.h"

#include <string.h>

enum { DIM_MAX = 40, STRIDE = DIM_MAX + 3, ROWS = 37, BAGS = 300, IDS_MAX = 4 };

struct fixture {
    uint32_t offset[BAGS + 1], row[BAGS * IDS_MAX];
    real out[BAGS * STRIDE];
    real grad[ROWS * (DIM_MAX + 1)], expected[ROWS * (DIM_MAX + 1)];
};

static real draw(struct random *r)
{
    return (real)random_normal(r);
}

static void fill(struct fixture *f, struct random *r)
{
    for (uint32_t i = 0; i < BAGS; i++) {
        uint32_t n = (uint32_t)random_below(r, IDS_MAX);
        f->offset[i + 1] = f->offset[i] + n;
        for (uint32_t k = f->offset[i]; k < f->offset[i + 1]; k++) {
            f->row[k] = (uint32_t)random_below(r, ROWS);
        }
    }
    for (size_t i = 0; i < sizeof f->out / sizeof f->out[0]; i++) {
        f->out[i] = draw(r);
    }
    for (size_t i = 0; i < sizeof f->grad / sizeof f->grad[0]; i++) {
        f->grad[i] = f->expected[i] = draw(r);
    }
}

/* Row by row, in order: whatever the width, equal to the bit. */
static void check(uint32_t dim, uint32_t linear, size_t first, size_t n, enum schema_pool pool)
{
    static struct fixture f;
    struct random r = {.state = 7 + dim};
    memset(&f, 0, sizeof f);
    fill(&f, &r);
    const struct batch_table table = {.n_rows = ROWS, .width = dim + linear, .grad = f.grad};
    const struct batch_bags bags = {f.offset + first, f.row};
    bag_fetch_gradient(&table, n, &bags, dim);
    bag_pool_backward(&table, f.out, STRIDE, n, &bags, dim, pool);
    for (size_t i = 0; i < n; i++) {
        uint32_t begin = f.offset[first + i], end = f.offset[first + i + 1];
        real scale = pool == SCHEMA_POOL_MEAN && end > begin ? R(1.0) / (real)(end - begin) : 1;
        for (uint32_t k = begin; k < end; k++) {
            for (uint32_t d = 0; d < dim; d++) {
                real add = scale * f.out[i * STRIDE + d];
                f.expected[f.row[k] * (dim + linear) + d] += add;
            }
        }
    }
    assert_memory_equal(f.grad, f.expected, sizeof f.grad);
}

static void test_gradients_of_bags_add_up(void **state)
{
    (void)state;
    for (uint32_t dim = 1; dim <= DIM_MAX; dim++) {
        for (uint32_t linear = 0; linear < 2; linear++) {
            check(dim, linear, 0, BAGS, SCHEMA_POOL_SUM);
            check(dim, linear, 0, BAGS, SCHEMA_POOL_MEAN);
            check(dim, linear, 100, 50, SCHEMA_POOL_MEAN);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_of_bags_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
