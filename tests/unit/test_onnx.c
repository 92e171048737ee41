/* The exported files without onnxruntime, which tests/integration/export.sh asks: equal bytes for
 * equal models, what is refused leaves nothing behind, memory may run out anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/onnx_export.h"
#include "tests/support/version_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static long refuse_at = -1; /* the allocation that fails; -1: none */
static bool refuse_after;   /* and all after it */

static bool refused(void)
{
    if (refuse_at < 0) {
        return false;
    }
    bool now = refuse_at == 0;
    refuse_at -= now && refuse_after ? 0 : 1;
    return now;
}

void *__wrap_malloc(size_t n)
{
    return refused() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return refused() ? NULL : __real_realloc(p, n);
}

static char dir[VERSION_PATH_MAX], output[VERSION_PATH_MAX + 16];

static void dice_and_all(struct model_options *o)
{
    o->linear = o->product = o->sum_history = true;
    o->unit.activation = o->mlp.activation = ACT_DICE;
    o->unit.normalize = UNIT_SCALED_SOFTMAX;
    o->unit.input = UNIT_OFFICIAL;
}

static struct version_chain *open_fixture(void)
{
    const struct version_fixture f = {
        .seed = 5, .n_rows = 7, .form = dice_and_all, .two_sequences = true, .spread = true};
    struct version_chain *version = NULL;
    version_fixture_write(dir, &f, true, NULL);
    assert_int_equal(version_chain_open(&version, dir, "000000000001", NULL, false, NULL),
                     UNDINE_OK);
    return version;
}

static uint8_t *read_output(const char *name, size_t *len)
{
    char path[VERSION_PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", output, name);
    return version_fixture_read(path, len);
}

static bool contains(const uint8_t *data, size_t len, const char *text)
{
    return memmem(data, len, text, strlen(text)) != NULL;
}

static void test_files(void **state)
{
    (void)state;
    struct version_chain *version = open_fixture();
    struct onnx_export out;
    assert_int_equal(onnx_export(&out, version, ONNX_UNIT_NAIVE, output, NULL), UNDINE_OK);
    size_t model_len, rows_len, ids_len, inputs_len;
    uint8_t *model = read_output("model.onnx", &model_len);
    uint8_t *rows = read_output("rows.bin", &rows_len);
    uint8_t *ids = read_output("ids.safetensors", &ids_len);
    uint8_t *inputs = read_output("inputs.json", &inputs_len);
    assert_int_equal(out.bytes, model_len + rows_len + ids_len + inputs_len);
    static const char *const parts[] = {"user.uid",           "candidate.tag",   "context.hour",
                                        "steps.clicks.video", "steps.carts.tag", "table.hour"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        assert_true(contains(model, model_len, parts[i]));
    }
    /* The last table ends with the row of ids that are not there and that of none, both zero. */
    uint32_t width = version->table[version->manifest->schema.n_tables - 1].width;
    for (size_t i = rows_len - 2 * width * sizeof(float); i < rows_len; i++) {
        assert_int_equal(rows[i], 0);
    }
    free(model);
    free(rows);
    free(ids);
    free(inputs);
    version_chain_close(version);
}

static void test_an_existing_directory_is_left_alone(void **state)
{
    (void)state;
    struct version_chain *version = open_fixture();
    struct onnx_export out;
    struct undine_err err = {0};
    assert_int_equal(mkdir(output, 0777), 0);
    assert_int_equal(onnx_export(&out, version, ONNX_UNIT_NAIVE, output, &err), UNDINE_EINVAL);
    assert_non_null(strstr(err.msg, output));
    assert_int_equal(rmdir(output), 0);
    version_chain_close(version);
}

static void test_no_candidate_field(void **state)
{
    (void)state;
    struct version_chain *version = open_fixture();
    struct onnx_export out;
    struct undine_err err = {0};
    struct schema *s = &version->part[0]->reader->manifest.schema;
    for (uint32_t i = 0; i < s->n_fields; i++) {
        s->fields[i].group = SCHEMA_CONTEXT;
    }
    assert_int_equal(onnx_export(&out, version, ONNX_UNIT_FACTORIZED, output, &err), UNDINE_EINVAL);
    assert_non_null(strstr(err.msg, "no candidate field"));
    assert_int_equal(access(output, F_OK), -1);
    version_chain_close(version);
}

/* What is there is whole, or nothing is there. */
static void try_without_memory(const struct version_chain *version, uint64_t bytes)
{
    struct onnx_export out;
    bool reached = true;
    long n = 0;
    while (reached) {
        refuse_at = n;
        int rc = onnx_export(&out, version, ONNX_UNIT_FACTORIZED, output, NULL);
        reached = refuse_after ? refuse_at == 0 : refuse_at < 0;
        refuse_at = -1;
        if (rc < 0) {
            assert_true(reached && (rc == UNDINE_ENOMEM || rc == UNDINE_EIO));
            assert_true(access(output, F_OK) == -1 && errno == ENOENT);
        } else {
            assert_int_equal(out.bytes, bytes);
            version_fixture_remove(output);
        }
        n += n < 100 ? 1 : n / 10;
    }
    print_message("up to %ld allocations refused\n", n);
    assert_true(n > 200);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct version_chain *version = open_fixture();
    struct onnx_export out;
    assert_int_equal(onnx_export(&out, version, ONNX_UNIT_FACTORIZED, output, NULL), UNDINE_OK);
    version_fixture_remove(output);
    refuse_after = false;
    try_without_memory(version, out.bytes);
    refuse_after = true;
    try_without_memory(version, out.bytes);
    version_chain_close(version);
}

static int setup(void **state)
{
    (void)state;
    version_fixture_temp_dir(dir);
    (void)snprintf(output, sizeof output, "%s/exported", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    version_fixture_remove(dir);
    return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_files),
        CASE(test_an_existing_directory_is_left_alone),
        CASE(test_no_candidate_field),
        CASE(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
