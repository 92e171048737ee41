#include "base/hash.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

uint64_t hash_bytes(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

uint64_t hash_bytes_seeded(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

uint64_t hash_id(const void *data, size_t len)
{
    uint64_t h = hash_bytes(data, len);
    return h != 0 ? h : 1;
}

uint64_t hash_table_seed(const char *table_name)
{
    return XXH3_64bits(table_name, strlen(table_name));
}

uint64_t hash_feature(uint64_t table_seed, const void *value, size_t len)
{
    uint64_t h = XXH3_64bits_withSeed(value, len, table_seed);
    return h != 0 ? h : 1;
}

struct hash128 hash128_bytes(const void *data, size_t len)
{
    XXH128_hash_t h = XXH3_128bits(data, len);
    return (struct hash128){.low = h.low64, .high = h.high64};
}

void hash128_hex(char out[HASH128_HEX_LEN + 1], struct hash128 h)
{
    (void)snprintf(out, HASH128_HEX_LEN + 1, "%016llx%016llx", (unsigned long long)h.high,
                   (unsigned long long)h.low);
}

struct hash128_stream *hash128_stream_new(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state != NULL) {
        (void)XXH3_128bits_reset(state);
    }
    return (struct hash128_stream *)state;
}

void hash128_stream_add(struct hash128_stream *s, const void *data, size_t len)
{
    (void)XXH3_128bits_update((XXH3_state_t *)s, data, len);
}

struct hash128 hash128_stream_value(const struct hash128_stream *s)
{
    XXH128_hash_t h = XXH3_128bits_digest((const XXH3_state_t *)s);
    return (struct hash128){.low = h.low64, .high = h.high64};
}

void hash128_stream_free(struct hash128_stream *s)
{
    (void)XXH3_freeState((XXH3_state_t *)s);
}
