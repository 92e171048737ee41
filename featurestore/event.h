/* event.h: one decoded event, as the decoder makes it, the order sorts it, the arrivals family
 * stores it and the join applies it.
 *
 * A record is one run of 8-byte words without pointers: this header, then
 *     count[fields rounded up to 8] (u8)   ids of each field of the schema, in its order
 *     ids (u64)                            the ids themselves, field by field
 *     user id (bytes, padded to 8)         as it stood in the message
 * so it can be copied, hashed and written as it is.  An impression fills every field it has, a
 * behaviour the candidate fields of its item, click and forget none.  The layout is part of the
 * `arrivals` format. */
#ifndef UNDINE_FEATURESTORE_EVENT_H
#define UNDINE_FEATURESTORE_EVENT_H

#include "base/schema.h"

#include <stddef.h>
#include <stdint.h>

/* In the order in which events of one time are applied: an impression does not see what happened
 * at its own time (as-of is strict), and a click follows its impression. */
enum event_kind { EVENT_IMPRESSION, EVENT_CLICK, EVENT_BEHAVIOR, EVENT_FORGET, EVENT_KINDS };
/* "impression", "click", ...: as events, reports and metrics name them. */
extern const char *const event_kind_names[EVENT_KINDS];

struct event {
    int64_t time_ms;  /* event time, ms since the epoch */
    uint64_t id;      /* impression: hash of its id; click: of the impression's id;
                         behaviour, forget: hash of the message */
    uint64_t user;    /* hash of the user id; 0 where a click names none */
    uint64_t tie;     /* hash of the whole message: the last key of the total order */
    uint64_t item;    /* hash of the first candidate field's first id: what a click by
                         (user, item) names; 0 where there is none */
    uint32_t words;   /* size of the record in 8-byte words, header included */
    uint8_t kind;     /* enum event_kind */
    uint8_t behavior; /* behaviour: index in schema.behaviors */
    uint8_t n_fields; /* schema.n_fields where counts are present, else 0 */
    uint8_t user_len; /* bytes of the user id, 1..255; 0 where a click names none */
};
_Static_assert(sizeof(struct event) == 48, "struct event is stored as it is");

enum { EVENT_WORDS_MAX = 48 / 8 + 4 + SCHEMA_FIELDS_MAX * SCHEMA_VALUES_MAX + 32 };

/* Parts of a record; borrowed, as long as the record lives. */
const uint8_t *event_counts(const struct event *e); /* n_fields bytes */
const uint64_t *event_ids(const struct event *e);
const char *event_user(const struct event *e); /* user_len bytes, no NUL */
/* First id of field f and its number in *n; NULL and 0 where it has none. */
const uint64_t *event_field(const struct event *e, uint32_t field, uint32_t *n);

/* Total order of application: (time, kind, id, tie, content).  < 0, 0, > 0. */
int event_compare(const struct event *a, const struct event *b);

/* Is the record at `words` (n_words left) whole and consistent with the schema?  For stored bytes.
 */
bool event_valid(const uint64_t *words, size_t n_words, const struct schema *schema);

/* Put a record together in `out` (EVENT_WORDS_MAX words).  Header fields but words, n_fields and
 * user_len are taken from head.  counts may be NULL (no fields).  Returns its words. */
uint32_t event_build(uint64_t *out, const struct event *head, const struct schema *schema,
                     const uint8_t *counts, const uint64_t *ids, const char *user, size_t user_len);

#endif
