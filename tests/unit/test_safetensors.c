#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "learner/model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t U8[] = {1, 2, 3};
static const float F32[] = {0.5f, -1.0f, 3.0f, 4.0f, 5.0f, 6.0f};
static const double F64[] = {1e300};
static const uint64_t U64[] = {UINT64_MAX, 0};
static const uint32_t U32[] = {7};
static const int64_t I64[] = {INT64_MIN};

static const struct safetensors_tensor TENSORS[] = {
    {"bytes", SAFETENSORS_U8, 3, 0, U8, NULL},
    {"rows", SAFETENSORS_F32, 2, 3, F32, NULL},
    {"sum", SAFETENSORS_F64, 1, 0, F64, NULL},
    {"table.a.keys", SAFETENSORS_U64, 2, 0, U64, NULL},
    {"nothing", SAFETENSORS_F32, 0, 4, F32, NULL},
    {"day", SAFETENSORS_U32, 1, 1, U32, NULL},
    {"time", SAFETENSORS_I64, 1, 0, I64, NULL},
};
enum { N_TENSORS = sizeof TENSORS / sizeof TENSORS[0] };

struct bytes {
    uint64_t *data; /* aligned */
    size_t len;
    struct file_sum sum;
};

static struct bytes written(const struct safetensors_tensor *tensors, size_t n)
{
    struct bytes b = {0};
    struct undine_err err = {0};
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(safetensors_write(fileno(f), tensors, n, &b.sum, &err), UNDINE_OK);
    b.len = (size_t)lseek(fileno(f), 0, SEEK_END);
    b.data = calloc(b.len / 8 + 1, 8);
    assert_non_null(b.data);
    assert_int_equal(pread(fileno(f), b.data, b.len, 0), b.len);
    (void)fclose(f);
    return b;
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct bytes b = written(TENSORS, N_TENSORS);
    struct safetensors s;
    struct undine_err err = {0};
    assert_int_equal(b.sum.bytes, b.len);
    struct hash128 h = hash128_bytes(b.data, b.len);
    assert_true(h.low == b.sum.checksum.low && h.high == b.sum.checksum.high);
    assert_int_equal(b.data[0] % 64, 56); /* the data begins at a multiple of 64 */
    assert_int_equal(safetensors_parse(&s, b.data, b.len, &err), UNDINE_OK);
    assert_int_equal(s.n, N_TENSORS);
    for (size_t i = 0; i < N_TENSORS; i++) {
        const struct safetensors_tensor *want = &TENSORS[i];
        const struct safetensors_tensor *got = safetensors_find(&s, want->name);
        assert_non_null(got);
        assert_int_equal(got->type, want->type);
        assert_int_equal(got->rows, want->rows);
        assert_int_equal(got->cols, want->cols);
        assert_memory_equal(got->data, want->data, safetensors_bytes(want));
    }
    assert_null(safetensors_find(&s, "other"));
    safetensors_release(&s);
    free(b.data);
}

static void test_equal_tensors_give_equal_bytes(void **state)
{
    (void)state;
    struct bytes a = written(TENSORS, N_TENSORS), b = written(TENSORS, N_TENSORS);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    free(a.data);
    free(b.data);
}

static void test_no_tensors(void **state)
{
    (void)state;
    struct bytes b = written(NULL, 0);
    struct safetensors s;
    assert_int_equal(safetensors_parse(&s, b.data, b.len, NULL), UNDINE_OK);
    assert_int_equal(s.n, 0);
    safetensors_release(&s);
    free(b.data);
}

/* A file of this header and this many bytes of data. */
static int parse_header(const char *header, size_t data_len, struct safetensors *out,
                        struct undine_err *err)
{
    size_t len = strlen(header);
    uint64_t file[128] = {len};
    assert_true(8 + len + data_len <= sizeof file);
    memcpy(file + 1, header, len);
    return safetensors_parse(out, file, 8 + len + data_len, err);
}

static void test_others_files_are_read(void **state)
{
    (void)state;
    struct safetensors s;
    struct undine_err err = {0};
    /* Metadata, members in any order, a header padded to 8 bytes. */
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},"
                         "\"b\":{\"data_offsets\":[8,12],\"dtype\":\"F32\",\"shape\":[1]},"
                         "\"a\":{\"dtype\":\"U64\",\"shape\":[1,1],\"data_offsets\":[0,8]}}   ";
    assert_int_equal(strlen(header) % 8, 0);
    assert_int_equal(parse_header(header, 12, &s, &err), UNDINE_OK);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.tensor[0].name, "a");
    assert_string_equal(s.tensor[1].name, "b");
    safetensors_release(&s);
}

static void test_bad_headers_are_refused(void **state)
{
    (void)state;
#define A(dtype, shape, offsets)                                                                   \
    "\"a\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"
    static const struct {
        const char *header;
        size_t data_len;
    } bad[] = {
        {"", 0},
        {" {}", 0}, /* does not begin with { */
        {"[]", 0},
        {"{\"a\":1}", 0},
        {"{}", 1}, /* a byte of nobody */
        {"{\"a\":{}}", 0},
        {"{" A("F16", "2", "0,4") "}", 4},     /* unknown type */
        {"{" A("F32", "", "0,4") "}", 4},      /* no dimension */
        {"{" A("F32", "1,1,1", "0,4") "}", 4}, /* three */
        {"{" A("F32", "-1", "0,4") "}", 4},
        {"{" A("F32", "1,0", "0,0") "}", 0},
        {"{" A("F32", "\"1\"", "0,4") "}", 4},
        {"{" A("F32", "1.0", "0,4") "}", 4},
        {"{" A("F32", "2", "0,4") "}", 4}, /* shape and offsets differ */
        {"{" A("F32", "1", "4,0") "}", 4},
        {"{" A("F32", "1", "0,8") "}", 4}, /* past the end */
        {"{" A("F32", "1", "0") "}", 4},
        {"{" A("F32", "1", "0,4,4") "}", 4},
        {"{" A("F32", "1", "4,8") "}", 8}, /* a hole */
        {"{" A("F32", "1", "0,4") "}", 8}, /* a tail */
        {"{" A("U8", "1", "0,1") ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
         1},                                                      /* overlap */
        {"{" A("U8", "1", "0,1") "," A("U8", "1", "0,1") "}", 1}, /* twice */
        {"{" A("F32", "4611686018427387904,4", "0,0") "}", 0},    /* the product overflows */
        {"{" A("F64", "2305843009213693952", "0,0") "}", 0},
        {"{" A("F32", "9223372036854775808", "0,0") "}", 0},
        {"{" A("U8", "1", "0,1") ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
         5}, /* not aligned */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct safetensors s = {0};
        struct undine_err err = {0};
        if (parse_header(bad[i].header, bad[i].data_len, &s, &err) != UNDINE_ECORRUPT) {
            fail_msg("was taken: %s", bad[i].header);
        }
        assert_true(err.msg[0] != '\0');
        assert_null(s.tensor);
    }
}

static void test_short_files_are_refused(void **state)
{
    (void)state;
    struct bytes b = written(TENSORS, N_TENSORS);
    for (size_t len = 0; len < b.len; len++) {
        struct safetensors s = {0};
        assert_int_equal(safetensors_parse(&s, b.data, len, NULL), UNDINE_ECORRUPT);
    }
    static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, 1ULL << 40,
                                       SAFETENSORS_HEADER_MAX + 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct safetensors s = {0};
        b.data[0] = lengths[i];
        assert_int_equal(safetensors_parse(&s, b.data, b.len, NULL), UNDINE_ECORRUPT);
    }
    free(b.data);
}

static void test_a_failed_write_is_an_error(void **state)
{
    (void)state;
    struct file_sum sum;
    struct undine_err err = {0};
    assert_int_equal(safetensors_write(-1, TENSORS, N_TENSORS, &sum, &err), UNDINE_EIO);
    assert_true(err.sys_errno != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_equal_tensors_give_equal_bytes),
        cmocka_unit_test(test_no_tensors),
        cmocka_unit_test(test_others_files_are_read),
        cmocka_unit_test(test_bad_headers_are_refused),
        cmocka_unit_test(test_short_files_are_refused),
        cmocka_unit_test(test_a_failed_write_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
