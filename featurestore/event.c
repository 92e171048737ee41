#include "featurestore/event.h"

#include <string.h>

const char *const event_kind_names[EVENT_KINDS] = {"impression", "click", "behavior", "forget"};

enum { HEADER_WORDS = sizeof(struct event) / sizeof(uint64_t) };

/* Words that n bytes take once they are padded. */
static uint32_t words_of_bytes(size_t n)
{
    return (uint32_t)((n + 7) / 8);
}

const uint8_t *event_counts(const struct event *e)
{
    return (const uint8_t *)(e + 1);
}

const uint64_t *event_ids(const struct event *e)
{
    return (const uint64_t *)(e + 1) + words_of_bytes(e->n_fields);
}

/* The user id ends the record, so its place follows from the sizes alone. */
const char *event_user(const struct event *e)
{
    return (const char *)((const uint64_t *)e + e->words - words_of_bytes(e->user_len));
}

const uint64_t *event_field(const struct event *e, uint32_t field, uint32_t *n)
{
    *n = 0;
    if (field >= e->n_fields) {
        return NULL;
    }
    const uint8_t *counts = event_counts(e);
    const uint64_t *ids = event_ids(e);
    for (uint32_t f = 0; f < field; f++) {
        ids += counts[f];
    }
    *n = counts[field];
    return counts[field] > 0 ? ids : NULL;
}

#define COMPARE(a, b)                                                                              \
    do {                                                                                           \
        if ((a) != (b)) {                                                                          \
            return (a) < (b) ? -1 : 1;                                                             \
        }                                                                                          \
    } while (0)

int event_compare(const struct event *a, const struct event *b)
{
    COMPARE(a->time_ms, b->time_ms);
    COMPARE(a->kind, b->kind);
    COMPARE(a->id, b->id);
    COMPARE(a->tie, b->tie);
    COMPARE(a->words, b->words);
    return memcmp(a, b, a->words * sizeof(uint64_t));
}

/* Bytes n..(n rounded up to 8) of a part must be zero, so that equal events are equal bytes. */
static bool padding_zero(const void *part, size_t n)
{
    const uint8_t *bytes = part;
    for (size_t i = n; i % 8 != 0; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Ids of all fields together; false where a field has more than it may. */
static bool counts_valid(const uint8_t *counts, const struct schema *schema, uint32_t *n_ids)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        if (counts[f] > schema->fields[f].values_max) {
            return false;
        }
        n += counts[f];
    }
    *n_ids = n;
    return padding_zero(counts, schema->n_fields);
}

bool event_valid(const uint64_t *words, size_t n_words, const struct schema *schema)
{
    struct event e;
    if (n_words < HEADER_WORDS) {
        return false;
    }
    memcpy(&e, words, sizeof e);
    if (e.words < HEADER_WORDS || e.words > n_words || e.words > EVENT_WORDS_MAX ||
        e.kind >= EVENT_KINDS || (e.n_fields != 0 && e.n_fields != schema->n_fields) ||
        (e.user_len == 0 && e.kind != EVENT_CLICK) ||
        (e.kind == EVENT_BEHAVIOR ? e.behavior >= schema->n_behaviors : e.behavior != 0)) {
        return false;
    }
    uint32_t size = HEADER_WORDS + words_of_bytes(e.n_fields) + words_of_bytes(e.user_len);
    if (e.words < size) {
        return false; /* before counts are read */
    }
    uint32_t n_ids = 0;
    if (e.n_fields > 0 && !counts_valid((const uint8_t *)(words + HEADER_WORDS), schema, &n_ids)) {
        return false;
    }
    return e.words == size + n_ids &&
           padding_zero(words + e.words - words_of_bytes(e.user_len), e.user_len);
}

uint32_t event_build(uint64_t *out, const struct event *head, const struct schema *schema,
                     const uint8_t *counts, const uint64_t *ids, const char *user, size_t user_len)
{
    UNDINE_ASSERT(user_len <= UINT8_MAX);
    struct event e = *head;
    uint64_t *at = out + HEADER_WORDS;
    e.n_fields = 0;
    if (counts != NULL) {
        uint32_t n_ids = 0;
        e.n_fields = (uint8_t)schema->n_fields;
        for (uint32_t f = 0; f < schema->n_fields; f++) {
            n_ids += counts[f];
        }
        uint32_t n_counts = words_of_bytes(e.n_fields);
        memset(at, 0, n_counts * sizeof *at);
        memcpy(at, counts, e.n_fields);
        at += n_counts;
        if (n_ids > 0) {
            memcpy(at, ids, n_ids * sizeof *at);
            at += n_ids;
        }
    }
    e.user_len = (uint8_t)user_len;
    if (user_len > 0) {
        uint32_t n_user = words_of_bytes(user_len);
        at[n_user - 1] = 0;
        memcpy(at, user, user_len);
        at += n_user;
    }
    e.words = (uint32_t)(at - out);
    memcpy(out, &e, sizeof e);
    return e.words;
}
