/* OpenBLAS in training: its products against the own portable kernel, when it is used, and that a
 * model trained with it repeats bit for bit and agrees with one trained without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "learner/blas.h"
#include "learner/model/model.h"
#include "tests/support/toy_batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static real *random_reals(size_t n, struct random *r)
{
    real *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = (real)random_normal(r);
    }
    return x;
}

static const struct kernels *portable(void)
{
    size_t i = 0;
    while (kernels_available(i + 1) != NULL) {
        i++;
    }
    return kernels_available(i);
}

static size_t from_to(struct random *r, size_t first, size_t last)
{
    return first + (size_t)random_below(r, last - first + 1);
}

/* c by OpenBLAS and by the reference; strides are wider than the operands, the rest of c is kept.
 */
static void check_product(struct random *r, size_t m_max)
{
    bool transposed = random_below(r, 2) == 0;
    size_t m = from_to(r, 1, m_max), n = 16 * from_to(r, 1, 9), k = from_to(r, 1, 300);
    size_t lda = (transposed ? m : k) + from_to(r, 0, 3), ldb = n + 16 * from_to(r, 0, 2);
    size_t ldc = n + 16 * from_to(r, 0, 2);
    real *a = random_reals(lda * (transposed ? k : m), r), *b = random_reals(ldb * k, r);
    real *bias = random_reals(n, r), *c = random_reals(ldc * m, r);
    real *expected = random_reals(ldc * m, r);
    memcpy(expected, c, ldc * m * sizeof *c);
    uint64_t start = random_below(r, 4); /* zero, bias, add, add with a bias that is not read */
    struct gemm g = {.c = c,
                     .ldc = ldc,
                     .a = a,
                     .a_row = transposed ? 1 : lda,
                     .a_col = transposed ? lda : 1,
                     .b = b,
                     .ldb = ldb,
                     .m = m,
                     .n = n,
                     .k = k,
                     .bias = start % 2 == 1 ? bias : NULL,
                     .add = start >= 2};
    if (!g.add) {
        c[0] = (real)NAN; /* what is overwritten is not read */
    }
    blas_gemm(&g);
    g.c = expected;
    portable()->gemm(&g);
    double scale = sqrt((double)k);
    for (size_t i = 0; i < ldc * m; i++) {
        if (!(fabs((double)c[i] - (double)expected[i]) <= 1e-5 * scale)) {
            fail_msg("m %zu n %zu k %zu transposed %d start %d: c[%zu] is %.9g, expected %.9g", m,
                     n, k, transposed, (int)start, i, (double)c[i], (double)expected[i]);
        }
    }
    free(a);
    free(b);
    free(bias);
    free(c);
    free(expected);
}

static void test_products(void **state)
{
    (void)state;
    struct random r = {11};
    for (int i = 0; i < 400; i++) {
        check_product(&r, i % 4 == 0 ? 2 : 90);
    }
}

static struct gemm shape(size_t m, size_t n, size_t k, bool transposed)
{
    return (struct gemm){.a_row = transposed ? 1 : k,
                         .a_col = transposed ? m : 1,
                         .ldb = n,
                         .ldc = n,
                         .m = m,
                         .n = n,
                         .k = k};
}

static void test_when_it_wins(void **state)
{
    (void)state;
    struct gemm large = shape(5000, 1024, 1024, false), weights = shape(512, 512, 5000, true);
    struct gemm narrow = shape(1000000, 80, 40, false), small = shape(256, 208, 144, false);
    struct gemm strided = large, endless = large;
    strided.a_col = 2;
    endless.m = (size_t)1 << 40;
    assert_true(blas_wins(&large));
    assert_true(blas_wins(&weights));
    struct gemm plain = shape(256, 1024, 1024, false), plain_t = shape(1024, 1024, 256, true);
    assert_false(blas_wins(&plain));
    assert_true(blas_wins(&plain_t));
    assert_false(blas_wins(&narrow));
    assert_false(blas_wins(&small));
    assert_false(blas_wins(&strided)); /* cblas cannot say it */
    assert_false(blas_wins(&endless));
}

static void test_core_wanted(void **state)
{
    (void)state;
    assert_string_equal(blas_core_wanted_for("avx512", "Prescott"), "SkylakeX");
    assert_string_equal(blas_core_wanted_for("avx512", "Haswell"), "SkylakeX");
    assert_null(blas_core_wanted_for("avx512", "SkylakeX"));
    assert_null(blas_core_wanted_for("avx512", "SKYLAKEX")); /* a build for one core names it so */
    assert_null(blas_core_wanted_for("avx512", "Cooperlake"));
    assert_string_equal(blas_core_wanted_for("avx2", "Prescott"), "Haswell");
    assert_string_equal(blas_core_wanted_for("avx2", "Nehalem"), "Haswell");
    assert_null(blas_core_wanted_for("avx2", "Zen"));
    assert_null(blas_core_wanted_for("avx2", "SkylakeX"));
    assert_null(blas_core_wanted_for("portable", "Prescott"));
    assert_null(blas_core_wanted_for("portable", "NEOVERSEN1"));
    assert_non_null(blas_core());
}

static void test_kernels_text(void **state)
{
    (void)state;
    char text[BLAS_KERNELS_MAX], tiny[4];
    blas_kernels(text, sizeof text);
    print_message("%s\n", text);
    assert_memory_equal(text, model_kernels(), strlen(model_kernels()));
    assert_int_equal(strstr(text, blas_core()) != NULL, blas_product() != NULL);
    blas_kernels(tiny, sizeof tiny);
    assert_memory_equal(tiny, text, 3);
}

/* ---- a model that hands over ----------------------------------------------------------------- */

static size_t handed_over;

static bool every_product(const struct gemm *g)
{
    handed_over++;
    blas_gemm(g);
    return true;
}

enum { EXAMPLES = 64, STEPS = 3 };

static void must(int rc, const struct undine_err *err)
{
    if (rc != UNDINE_OK) {
        fail_msg("%s", err->msg);
    }
}

/* Plain steps against the gradient; the values are the caller's to free, scores (EXAMPLES). */
static real *train(kernels_product product, real *scores, size_t *n_values)
{
    struct undine_err err = {0};
    struct random r = {5};
    struct schema schema;
    struct toy_batch toy;
    struct model *m;
    struct model_scratch *s;
    real logit[EXAMPLES], dlogit[EXAMPLES];
    toy_schema_plain(&schema, 8);
    toy_batch_init(
        &toy, &schema,
        &(struct toy_shape){.examples = EXAMPLES, .steps_max = 6, .rows = 30, .values = 1}, &r);
    must(model_open(&m, &schema, &MODEL_OPTIONS_DEFAULT, &err), &err);
    must(model_scratch_open(&s, m, &err), &err);
    model_set_product(m, product);
    real *values = model_values(m);
    *n_values = model_n_values(m);
    for (int step = 0; step < STEPS; step++) {
        must(model_forward(m, s, &toy.batch, MODEL_TRAIN, logit, &err), &err);
        for (size_t i = 0; i < EXAMPLES; i++) {
            dlogit[i] = (model_sigmoid(logit[i]) - toy.label[i]) / (real)EXAMPLES;
        }
        model_zero_grads(m);
        must(model_backward(m, s, &toy.batch, dlogit, &err), &err);
        for (size_t i = 0; i < *n_values; i++) {
            values[i] -= 0.1f * model_grads(m)[i];
        }
    }
    size_t before = handed_over;
    must(model_score(m, s, &toy.batch, scores, &err), &err);
    must(model_forward(m, s, &toy.batch, MODEL_SERVE, logit, &err), &err);
    assert_int_equal(handed_over, before); /* serving is the own kernels alone */
    assert_memory_equal(logit, scores, sizeof logit);
    real *copy = malloc(*n_values * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, values, *n_values * sizeof *copy);
    model_scratch_close(s);
    model_close(m);
    toy_batch_release(&toy);
    return copy;
}

static void test_training(void **state)
{
    (void)state;
    size_t n;
    real own_scores[EXAMPLES], scores[EXAMPLES], again_scores[EXAMPLES];
    real *own = train(NULL, own_scores, &n);
    assert_int_equal(handed_over, 0);
    real *blas = train(every_product, scores, &n), *again = train(every_product, again_scores, &n);
    assert_true(handed_over > 0);
    assert_memory_equal(blas, again, n * sizeof *blas);
    assert_memory_equal(scores, again_scores, sizeof scores);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs((double)blas[i] - (double)own[i]) <=
                    1e-5 * fmax(1.0, fabs((double)own[i])));
    }
    free(own);
    free(blas);
    free(again);
}

/* Large enough for the trainer's own rule: the same bits twice. */
static void test_large_product_repeats(void **state)
{
    (void)state;
    enum { M = 512, N = 512, K = 1024 };
    struct random r = {7};
    struct gemm g = shape(M, N, K, true);
    real *a = random_reals((size_t)M * K, &r), *b = random_reals((size_t)K * N, &r);
    real *c[2] = {random_reals((size_t)M * N, &r), random_reals((size_t)M * N, &r)};
    g.a = a;
    g.b = b;
    kernels_product product = blas_product();
    for (int i = 0; i < 2; i++) {
        g.c = c[i];
        if (product != NULL) {
            assert_true(product(&g));
        } else {
            blas_gemm(&g); /* a slow core repeats as well */
        }
    }
    assert_memory_equal(c[0], c[1], sizeof(real) * M * N);
    g.m = 16; /* too narrow: c stays */
    if (product != NULL) {
        c[1][0] = 42;
        assert_false(product(&g));
        assert_true(c[1][0] == 42.0f);
    }
    free(a);
    free(b);
    free(c[0]);
    free(c[1]);
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *core = blas_core_wanted();
    if (core != NULL && getenv("OPENBLAS_CORETYPE") == NULL &&
        setenv("OPENBLAS_CORETYPE", core, 1) == 0) {
        (void)execv("/proc/self/exe", argv); /* on the core that the program would run on */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),    cmocka_unit_test(test_when_it_wins),
        cmocka_unit_test(test_core_wanted), cmocka_unit_test(test_kernels_text),
        cmocka_unit_test(test_training),    cmocka_unit_test(test_large_product_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
