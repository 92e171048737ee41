/* bytes.h: cursors over bytes, for everything that is stored.
 *
 * Stored integers are little-endian and fixed in width.  A reader never reads past its end: the
 * first short read makes it `bad`, and every later read gives zeros, so that a decoder can read a
 * whole header and check once.  A writer grows its buffer; a failed growth makes it `bad` in the
 * same way.  One thread at a time. */
#ifndef UNDINE_BASE_BYTES_H
#define UNDINE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored formats are little-endian");

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static inline struct reader reader_of(const void *data, size_t len)
{
    const uint8_t *at = (const uint8_t *)data;
    return (struct reader){.at = at, .end = at == NULL ? NULL : at + len, .bad = false};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

/* Borrow the next len bytes; NULL (and bad) where fewer are left. */
static inline const uint8_t *reader_bytes(struct reader *r, size_t len)
{
    if (r->bad || reader_left(r) < len) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += len;
    return p;
}

#define BYTES_READ(type, name)                                                                     \
    static inline type reader_##name(struct reader *r)                                             \
    {                                                                                              \
        type v = 0;                                                                                \
        const uint8_t *p = reader_bytes(r, sizeof v);                                              \
        if (p != NULL) {                                                                           \
            memcpy(&v, p, sizeof v);                                                               \
        }                                                                                          \
        return v;                                                                                  \
    }
BYTES_READ(uint8_t, u8)
BYTES_READ(uint16_t, u16)
BYTES_READ(uint32_t, u32)
BYTES_READ(uint64_t, u64)
BYTES_READ(int64_t, i64)
BYTES_READ(float, f32)
BYTES_READ(double, f64)
#undef BYTES_READ

struct writer {
    uint8_t *data;
    size_t len, capacity;
    bool bad;
};

void writer_init(struct writer *w);
void writer_release(struct writer *w); /* NULL-safe; the writer may be used again */
void writer_clear(struct writer *w);   /* forget the content, keep the memory */
/* Room for len more bytes, zeroed; NULL (and bad) where memory is out.  Valid until the next call. */
uint8_t *writer_extend(struct writer *w, size_t len);

static inline void writer_bytes(struct writer *w, const void *data, size_t len)
{
    uint8_t *p = writer_extend(w, len);
    if (p != NULL && len > 0) {
        memcpy(p, data, len);
    }
}

#define BYTES_WRITE(type, name)                                                                    \
    static inline void writer_##name(struct writer *w, type v)                                     \
    {                                                                                              \
        writer_bytes(w, &v, sizeof v);                                                             \
    }
BYTES_WRITE(uint8_t, u8)
BYTES_WRITE(uint16_t, u16)
BYTES_WRITE(uint32_t, u32)
BYTES_WRITE(uint64_t, u64)
BYTES_WRITE(int64_t, i64)
BYTES_WRITE(float, f32)
BYTES_WRITE(double, f64)
#undef BYTES_WRITE

/* Keys of the store sort by number: big-endian. */
static inline void bytes_put_be64(uint8_t out[8], uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(out, &v, sizeof v);
}

static inline uint64_t bytes_get_be64(const uint8_t in[8])
{
    uint64_t v;
    memcpy(&v, in, sizeof v);
    return __builtin_bswap64(v);
}

#endif
