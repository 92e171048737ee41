/* The stored value of a user; layout in docs/formats.md. */
#include "featurestore/users.h"

#include "featurestore/steps.h"

enum { USERS_VERSION = 1 };

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "users: out of memory");
}

static void write_padded(struct writer *w, const void *data, size_t len)
{
    uint8_t *p = writer_extend(w, (len + 7) & ~(size_t)7);
    if (p != NULL && len > 0) {
        memcpy(p, data, len);
    }
}

int users_encode(const struct schema *schema, const void *id, size_t id_len,
                 const struct users_view *views, struct writer *out, struct undine_err *err)
{
    UNDINE_ASSERT(id_len <= UINT8_MAX);
    writer_u8(out, USERS_VERSION);
    writer_u8(out, (uint8_t)schema->n_sequences);
    writer_u8(out, (uint8_t)id_len);
    (void)writer_extend(out, 5);
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        writer_u32(out, views[s].n_steps);
        writer_u32(out, (uint32_t)views[s].n_words);
    }
    write_padded(out, id, id_len);
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        writer_bytes(out, views[s].words, views[s].n_words * sizeof(uint64_t));
    }
    return out->bad ? no_memory(err) : UNDINE_OK;
}

static int damaged(struct undine_err *err, const char *what)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "stored user: %s", what);
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    while (len > 0 && *bytes == 0) {
        bytes++;
        len--;
    }
    return len == 0;
}

int users_decode(const struct schema *schema, const uint8_t *value, size_t len, struct writer *id,
                 struct users_view views[SCHEMA_SEQUENCES_MAX], struct writer *words,
                 struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    uint8_t version = reader_u8(&r);
    if (!r.bad && version > USERS_VERSION) {
        return undine_err_version(err, "stored user", version, USERS_VERSION);
    }
    uint8_t n_sequences = reader_u8(&r), id_len = reader_u8(&r);
    const uint8_t *zeros = reader_bytes(&r, 5);
    if (zeros == NULL || version == 0 || !all_zero(zeros, 5)) {
        return damaged(err, "its header is damaged");
    }
    if (n_sequences != schema->n_sequences) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "stored user: has %u sequences, the schema declares %u", n_sequences,
                              schema->n_sequences);
    }
    uint64_t n_words = 0;
    struct users_view found[SCHEMA_SEQUENCES_MAX] = {{0}};
    for (uint32_t s = 0; s < n_sequences; s++) {
        found[s].n_steps = reader_u32(&r);
        found[s].n_words = reader_u32(&r);
        n_words += found[s].n_words;
    }
    size_t id_space = (id_len + 7U) & ~7U;
    const uint8_t *name = reader_bytes(&r, id_space);
    if (name == NULL || !all_zero(name + id_len, id_space - id_len) ||
        n_words * sizeof(uint64_t) != reader_left(&r)) {
        return damaged(err, "its length does not fit its header");
    }
    writer_clear(id);
    writer_clear(words);
    writer_bytes(id, name, id_len);
    writer_bytes(words, r.at, reader_left(&r));
    if (id->bad || words->bad) {
        return no_memory(err);
    }
    const uint64_t *at = words->len > 0 ? (const uint64_t *)(void *)words->data : NULL;
    for (uint32_t s = 0; s < n_sequences; s++) {
        if (!steps_valid(schema, s, at, found[s].n_words, found[s].n_steps)) {
            return undine_err_set(err, UNDINE_ECORRUPT, "stored user: sequence `%s` is damaged",
                                  schema->sequences[s].name);
        }
        if (found[s].n_words > 0) {
            found[s].words = at;
            at += found[s].n_words;
        }
    }
    memcpy(views, found, sizeof found);
    return UNDINE_OK;
}

struct users_view users_view_before(const struct users_view *all, uint32_t length, int64_t time_ms)
{
    const uint64_t *end = all->words, *first = all->words;
    uint32_t n = 0;
    while (n < all->n_steps && (int64_t)end[0] < time_ms) {
        end += step_words(end);
        n++;
    }
    for (; n > length; n--) {
        first += step_words(first);
    }
    return (struct users_view){first, (size_t)(end - first), n};
}
