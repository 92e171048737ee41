#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/random.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static void test_err(void **state)
{
    (void)state;
    struct undine_err err = {0};
    assert_int_equal(undine_err_set(NULL, UNDINE_EIO, "nobody listens"), UNDINE_EIO);
    assert_int_equal(undine_err_set(&err, UNDINE_EINVAL, "`%s` is %d, expected 1..9", "k", 12),
                     UNDINE_EINVAL);
    assert_string_equal(err.msg, "`k` is 12, expected 1..9");
    assert_int_equal(undine_err_prefix(&err, "file.yaml:%d", 3), UNDINE_EINVAL);
    assert_string_equal(err.msg, "file.yaml:3: `k` is 12, expected 1..9");
    assert_int_equal(undine_err_sys(&err, UNDINE_EIO, ENOENT, "open `%s`", "x"), UNDINE_EIO);
    assert_string_equal(err.msg, "open `x`: No such file or directory");
    assert_int_equal(err.sys_errno, ENOENT);
    assert_string_equal(undine_error_text(UNDINE_ECORRUPT), "corrupt data");
}

static void test_err_long_message_is_cut(void **state)
{
    (void)state;
    struct undine_err err = {0};
    char text[2 * UNDINE_ERR_MSG_MAX];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)undine_err_set(&err, UNDINE_EIO, "%s", text);
    assert_int_equal(strlen(err.msg), UNDINE_ERR_MSG_MAX - 1);
    (void)undine_err_prefix(&err, "prefix");
    assert_int_equal(strlen(err.msg), UNDINE_ERR_MSG_MAX - 1);
    assert_memory_equal(err.msg, "prefix: aaa", 11);
    (void)undine_err_sys(&err, UNDINE_EIO, ENOENT, "%s", text);
    assert_int_equal(strlen(err.msg), UNDINE_ERR_MSG_MAX - 1);
}

static void test_bytes_round_trip(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w);
    for (uint32_t i = 0; i < 1000; i++) {
        writer_u8(&w, (uint8_t)i);
        writer_u16(&w, (uint16_t)(i * 3));
        writer_u32(&w, i * 70000);
        writer_u64(&w, (uint64_t)i << 40);
        writer_i64(&w, -(int64_t)i);
        writer_f32(&w, (float)i / 3);
        writer_f64(&w, (double)i / 7);
    }
    assert_false(w.bad);
    struct reader r = reader_of(w.data, w.len);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(reader_u8(&r), (uint8_t)i);
        assert_int_equal(reader_u16(&r), (uint16_t)(i * 3));
        assert_int_equal(reader_u32(&r), i * 70000);
        assert_true(reader_u64(&r) == (uint64_t)i << 40);
        assert_true(reader_i64(&r) == -(int64_t)i);
        assert_true(reader_f32(&r) == (float)i / 3);
        assert_true(reader_f64(&r) == (double)i / 7);
    }
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.bad);
    writer_release(&w);
}

static void test_reader_never_reads_past_its_end(void **state)
{
    (void)state;
    uint8_t five[5] = {1, 2, 3, 4, 5};
    struct reader r = reader_of(five, sizeof five);
    assert_int_equal(reader_u32(&r), 0x04030201);
    assert_int_equal(reader_u32(&r), 0); /* one byte is left */
    assert_true(r.bad);
    assert_int_equal(reader_u8(&r), 0); /* bad stays bad */
    struct reader none = reader_of(NULL, 0);
    assert_null(reader_bytes(&none, 1));
    assert_true(none.bad);
}

static void test_an_empty_write_is_fine(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w);
    writer_bytes(&w, NULL, 0);
    assert_non_null(writer_extend(&w, 0));
    assert_int_equal(w.len, 0);
    assert_false(w.bad);
    writer_release(&w);
}

static void test_big_endian_keys_sort(void **state)
{
    (void)state;
    uint8_t a[8], b[8];
    bytes_put_be64(a, 255);
    bytes_put_be64(b, 256);
    assert_true(memcmp(a, b, 8) < 0);
    assert_int_equal(bytes_get_be64(b), 256);
}

static void test_arena(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1024);
    struct random r = {1};
    size_t held = 0;
    for (int round = 0; round < 5; round++) {
        uint8_t *piece[200];
        size_t size[200];
        for (int i = 0; i < 200; i++) {
            size[i] = i % 50 == 0 ? 5000 : random_below(&r, 300);
            if (round > 0) { /* the same sizes again: nothing new is allocated */
                size[i] = i % 50 == 0 ? 5000 : (size_t)(i % 150);
            }
            piece[i] = arena_alloc(&a, size[i]);
            assert_non_null(piece[i]);
            assert_int_equal((uintptr_t)piece[i] % 16, 0);
            memset(piece[i], i, size[i]);
        }
        for (int i = 0; i < 200; i++) {
            for (size_t k = 0; k < size[i]; k++) {
                assert_int_equal(piece[i][k], (uint8_t)i);
            }
        }
        if (round >= 2) {
            assert_int_equal(arena_bytes(&a), held);
        }
        held = arena_bytes(&a);
        arena_reset(&a);
    }
    assert_string_equal(arena_strndup(&a, "undine run", 6), "undine");
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 4));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    arena_release(&a);
    assert_int_equal(arena_bytes(&a), 0);
}

/* Hashes are part of every stored format: these values must never change. */
static void test_hash_golden(void **state)
{
    (void)state;
    uint64_t seed = hash_table_seed("video");
    assert_true(seed == hash_bytes("video", 5));
    assert_true(hash_bytes("", 0) == 0x2D06800538D394C2U);
    assert_true(hash_feature(seed, "5239", 4) == hash_bytes_seeded("5239", 4, seed));
    assert_true(hash_feature(seed, "5239", 4) != hash_feature(hash_table_seed("author"), "5239", 4));
    char hex[HASH128_HEX_LEN + 1];
    hash128_hex(hex, hash128_bytes("", 0));
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
}

static void test_hash_stream_equals_whole(void **state)
{
    (void)state;
    uint8_t data[5000];
    struct random r = {7};
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)random_u64(&r);
    }
    struct hash128_stream *s = hash128_stream_new();
    for (size_t i = 0; i < sizeof data; i += 123) {
        hash128_stream_add(s, data + i, sizeof data - i < 123 ? sizeof data - i : 123);
    }
    struct hash128 a = hash128_stream_value(s), b = hash128_bytes(data, sizeof data);
    assert_true(a.low == b.low && a.high == b.high);
    hash128_stream_free(s);
}

static void test_random(void **state)
{
    (void)state;
    struct random r = {42}; /* splitmix64, first value for this seed */
    assert_true(random_u64(&r) == 0xBDD732262FEB6E95U);
    double mean = 0, square = 0;
    for (int i = 0; i < 100000; i++) {
        assert_in_range(random_below(&r, 7), 0, 6);
        double u = random_unit(&r);
        assert_true(u >= 0 && u < 1);
        double x = random_normal(&r);
        mean += x / 100000;
        square += x * x / 100000;
    }
    assert_true(fabs(mean) < 0.02 && fabs(square - 1) < 0.03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err),
        cmocka_unit_test(test_err_long_message_is_cut),
        cmocka_unit_test(test_bytes_round_trip),
        cmocka_unit_test(test_reader_never_reads_past_its_end),
        cmocka_unit_test(test_an_empty_write_is_fine),
        cmocka_unit_test(test_big_endian_keys_sort),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_hash_golden),
        cmocka_unit_test(test_hash_stream_equals_whole),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
