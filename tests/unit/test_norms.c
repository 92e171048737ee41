#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* test_norms.c: norms of rows and tensors against their definitions, and as versions carry them. */
#include "tests/support/example_stream.h"
#include "tests/support/trainers.h"

#include "learner/model/manifest.h"
#include "learner/norms.h"
#include "learner/octaves.h"
#include "learner/version.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLES = 640, DIM = 8 };

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) {
        fail_msg("%.12g is not %.12g", a, b);
    }
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Every bucket holds what octaves_bucket puts there, in order, within 1/16 of its middle. */
static void test_octaves(void **state)
{
    (void)state;
    struct random r = {.state = 2};
    int before = -1;
    for (double size = ldexp(1.0, OCTAVES_LOW); size < ldexp(1.0, OCTAVES_HIGH); size *= 1.01) {
        int b = octaves_bucket(size);
        assert_in_range(b, before < 0 ? 0 : before, before + 1);
        assert_near(octaves_middle(b), size, size / 16.0);
        before = b;
    }
    assert_int_equal(before, OCTAVES_BUCKETS - 1);
    assert_int_equal(octaves_bucket(1e300), OCTAVES_BUCKETS - 1);
    assert_int_equal(octaves_bucket(0.0), -1);
    assert_int_equal(octaves_bucket(ldexp(0.999, OCTAVES_LOW)), -1);
    assert_true(octaves_middle(-1) == 0.0);
    for (int i = 0; i < 1000; i++) {
        double size = exp(20.0 * random_unit(&r) - 12.0);
        assert_near(octaves_middle(octaves_bucket(size)), size, size / 16.0);
    }
}

/* ---- of a trained model ---- */

struct fixture {
    struct schema schema;
    struct example_stream stream;
    struct trainer *trainer;
    struct snapshot *snapshot;
};

static void setup(struct fixture *f, uint32_t workers)
{
    struct undine_err err = {0};
    *f = (struct fixture){.schema = example_stream_schema(DIM)};
    example_stream_init(&f->stream, &f->schema);
    const struct example_stream_plan plan = {.seed = 3,
                                             .n = EXAMPLES,
                                             .n_users = 40,
                                             .n_steps = 6,
                                             .n_categories = 12,
                                             .items_a_category = 5,
                                             .noise = 0.1};
    example_stream_plant(&f->stream, &plan);
    struct trainer_options o = trainers_options();
    o.model.linear = true; /* rows are wider than embeddings */
    o.model.mlp.activation = ACT_DICE;
    o.workers = workers;
    assert_int_equal(trainer_open(&f->trainer, &f->schema, &o, &err), UNDINE_OK);
    struct example_block block = example_stream_block(&f->stream, 0, EXAMPLES);
    assert_true(trainer_learn(f->trainer, &block, UINT32_MAX, &err) > 0);
    assert_int_equal(trainer_snapshot(f->trainer, &f->snapshot, &err), UNDINE_OK);
}

static void teardown(struct fixture *f)
{
    snapshot_free(f->snapshot);
    trainer_close(f->trainer);
    example_stream_release(&f->stream);
}

static double norm_of(const float *x, size_t n, double *largest)
{
    double sum = 0.0;
    *largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
        *largest = fabs((double)x[i]) > *largest ? fabs((double)x[i]) : *largest;
    }
    return sqrt(sum);
}

/* From the trainer itself, not from the snapshot. */
static void assert_table(const struct norms_table *n, const struct table *t)
{
    double *norm = calloc(t->n_rows, sizeof *norm), sum = 0.0, largest;
    for (uint32_t i = 0; i < t->n_rows; i++) {
        norm[i] = norm_of(table_row(t, i)->value, DIM, &largest);
        sum += norm[i];
    }
    qsort(norm, t->n_rows, sizeof *norm, by_value);
    assert_int_equal(t->opt.dim, DIM + 1);
    assert_int_equal(n->rows, t->n_rows);
    assert_near(n->mean, sum / t->n_rows, 1e-9);
    assert_near(n->largest, norm[t->n_rows - 1], 1e-12);
    for (int q = 0; q < NORMS_QUANTILES; q++) {
        double exact = norm[(size_t)ceil(NORMS_QUANTILE[q] * t->n_rows) - 1];
        assert_near(n->quantile[q], exact, exact / 16.0);
    }
    free(norm);
}

static void test_norms_are_their_definition(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, 1);
    struct norms *n = calloc(1, sizeof *n);
    struct undine_err err = {0};
    assert_int_equal(snapshot_sort(f.snapshot, &err), UNDINE_OK);
    norms_of(n, f.snapshot);
    assert_int_equal(n->n_tables, f.schema.n_tables);
    for (uint32_t k = 0; k < n->n_tables; k++) {
        assert_string_equal(n->table[k].name, f.schema.tables[k].name);
        assert_table(&n->table[k], &f.trainer->table[k]);
    }
    size_t n_params;
    uint32_t at = 0;
    const struct model_param *p = model_params(f.trainer->model, &n_params);
    for (size_t i = 0; i < n_params; i++) {
        if (!p[i].trained) {
            continue;
        }
        double largest, norm = norm_of(model_values(f.trainer->model) + p[i].offset,
                                       (size_t)p[i].rows * p[i].cols, &largest);
        assert_string_equal(n->tensor[at].name, p[i].name);
        assert_near(n->tensor[at].norm, norm, 1e-9);
        assert_near(n->tensor[at++].largest, largest, 0.0);
    }
    assert_int_equal(n->n_tensors, at);
    assert_true(at > 0 && at < n_params); /* Dice's statistics are left out */
    free(n);
    teardown(&f);
}

/* No rows, and rows that are no number. */
static void test_nothing_to_measure(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_new();
    struct undine_err err = {0};
    float weight[4] = {3.0f, 4.0f, INFINITY, 0.0f};
    s->schema = example_stream_schema(2);
    s->n_tables = 2;
    s->table[0] = (struct snapshot_table){.name = "empty", .dim = 2};
    s->table[1] = (struct snapshot_table){.name = "two", .dim = 2, .n_rows = 2, .weight = weight};
    assert_int_equal(norms_attach(s, &err), UNDINE_OK);
    assert_true(isnan(s->norms->table[0].mean) && isnan(s->norms->table[0].largest) &&
                isnan(s->norms->table[0].quantile[1]));
    assert_near(s->norms->table[1].mean, 5.0, 0.0);
    assert_near(s->norms->table[1].largest, 5.0, 0.0);
    assert_string_equal(s->norms_json,
                        "{\"tables\":{\"empty\":{\"mean\":null,\"largest\":null,\"p01\":null,"
                        "\"p50\":null,\"p99\":null},\"two\":{\"mean\":5,\"largest\":5,"
                        "\"p01\":5.25,\"p50\":5.25,\"p99\":5.25}},\"tensors\":{}}");
    snapshot_free(s);
}

/* The number behind these words. */
static double said(const char *json, const char *words)
{
    const char *at = strstr(json, words);
    assert_non_null(at);
    return strtod(at + strlen(words), NULL);
}

static double norm_by_name(const struct norms *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_tensors; i++) {
        if (strcmp(n->tensor[i].name, name) == 0) {
            return n->tensor[i].norm;
        }
    }
    fail_msg("no tensor `%s`", name);
    return 0.0;
}

/* A version's manifest says them, and what is read back has the same to the bit, for any number of
 * workers. */
static void test_norms_of_a_version(void **state)
{
    (void)state;
    char dir[] = "norms-XXXXXX", command[64];
    struct undine_err err = {0};
    struct norms *first = calloc(1, sizeof *first), *again = calloc(1, sizeof *again);
    assert_non_null(mkdtemp(dir));
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct fixture f;
        struct version_info info;
        struct snapshot *read;
        struct manifest m;
        char path[64];
        setup(&f, workers);
        const struct version_extra extra = {.created_ms = 1};
        assert_int_equal(version_write(dir, f.snapshot, &extra, true, &info, &err), UNDINE_OK);
        (void)snprintf(path, sizeof path, "%s/%s", dir, info.name);
        assert_int_equal(manifest_read(&m, path, &err), UNDINE_OK);
        assert_near(said(m.norms_json, "\"item\":{\"mean\":"), f.snapshot->norms->table[0].mean,
                    1e-8);
        assert_near(said(m.norms_json, "\"mlp.0.weight\":{\"norm\":"),
                    norm_by_name(f.snapshot->norms, "mlp.0.weight"), 1e-7);
        manifest_release(&m);
        assert_int_equal(version_load(path, true, &read, NULL, &err), UNDINE_OK);
        norms_of(again, read);
        assert_memory_equal(again, f.snapshot->norms, sizeof *again);
        if (workers > 1) {
            assert_memory_equal(again, first, sizeof *again);
        }
        *first = *again;
        snapshot_free(read);
        teardown(&f);
    }
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    free(first);
    free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_octaves),
        cmocka_unit_test(test_norms_are_their_definition),
        cmocka_unit_test(test_nothing_to_measure),
        cmocka_unit_test(test_norms_of_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
