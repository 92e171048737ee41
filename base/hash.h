/* hash.h: ids are 64-bit XXH3 hashes, so that a feature id, a user and an impression have one size
 * everywhere (tables, sequences, logs, versions).  Part of every stored format: never change. */
#ifndef UNDINE_BASE_HASH_H
#define UNDINE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 of the bytes. */
uint64_t hash_bytes(const void *data, size_t len);
uint64_t hash_bytes_seeded(const void *data, size_t len, uint64_t seed);

/* Id of a user, an impression or a message: hash_bytes, but never 0, which means "no id". */
uint64_t hash_id(const void *data, size_t len);

/* Id of a feature value: XXH3-64 of the value's bytes, seeded with the hash of the table's name, so
 * that equal values in two tables are two ids.  Never 0: 0 means "no id". */
uint64_t hash_table_seed(const char *table_name);
uint64_t hash_feature(uint64_t table_seed, const void *value, size_t len);

/* XXH3-128 as 32 lower-case hexadecimal digits and a NUL: file checksums, digests. */
enum { HASH128_HEX_LEN = 32 };
struct hash128 {
    uint64_t low, high;
};
struct hash128 hash128_bytes(const void *data, size_t len);
void hash128_hex(char out[HASH128_HEX_LEN + 1], struct hash128 h);

/* Streaming XXH3-128. */
struct hash128_stream;
struct hash128_stream *hash128_stream_new(void); /* NULL where memory is out */
void hash128_stream_add(struct hash128_stream *s, const void *data, size_t len);
struct hash128 hash128_stream_value(const struct hash128_stream *s);
void hash128_stream_free(struct hash128_stream *s);

/* splitmix64's finalizer: spreads a counter over 64 bits. */
static inline uint64_t hash_mix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

#endif
