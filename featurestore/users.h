/* users.h: every user's behaviour sequences, memory first.
 *
 * A user is loaded from the store when an event first needs it, changed in memory, and written
 * whole in the commit that changed it.  The table is bounded: clean users that nothing pins are
 * evicted in CLOCK order once `cache_bytes` is reached.
 *
 * A sequence is kept in event-time order (order applies events so), newest at the end.  It holds
 * the newest L steps, and older ones as long as a pinned view may still need them: a view is what
 * an impression at time t sees, the newest L steps with time strictly before t (the as-of rule).
 * Since steps are only ever appended, that view is the same whenever it is asked for, as long as a
 * pin holds it: users_pin(u, t) until users_unpin(u, t).
 *
 * A step is words: time_ms, a word of counts (one byte a field of the sequence), the ids.
 * Ingest thread only. */
#ifndef UNDINE_FEATURESTORE_USERS_H
#define UNDINE_FEATURESTORE_USERS_H

#include "base/schema.h"
#include "featurestore/event.h"
#include "featurestore/store.h"

struct users;
struct user; /* stays valid while pinned, or until the next users_find / users_commit */

struct users_options {
    uint64_t cache_bytes; /* bound of the table's memory */
};

int users_open(struct users **out, struct store *store, const struct schema *schema,
               const struct users_options *opt, struct undine_err *err);
void users_close(struct users *t);

/* Load what a run of events will need in one batched read. */
int users_prefetch(struct users *t, const uint64_t *user_hashes, size_t n, struct undine_err *err);
/* The user of this hash; made empty where unknown.  id may be NULL where the event names none: an
 * unknown user then has no id until a later event names it.  Another id with the same hash is
 * counted as a collision and shares the user. */
int users_find(struct users *t, uint64_t hash, const char *id, size_t id_len, struct user **out,
               struct undine_err *err);

/* Append a step made of the event's candidate fields to every sequence that it feeds (kind
 * EVENT_CLICK: `item` is the impression, time_ms the click's).  time_ms must not be below the
 * user's newest step's.  Returns how many sequences took it; a step equal to one of the same time
 * is not taken twice, nor is one without any id; both are counted. */
int users_append(struct users *t, struct user *u, const struct event *item, int64_t time_ms,
                 enum event_kind kind, uint32_t behavior, struct undine_err *err);
/* Remove a user: memory now, store with the next commit; to find it again makes it empty.  Its pins
 * must be gone. */
int users_forget(struct users *t, struct user *u, struct undine_err *err);

/* Keep what an impression at time_ms sees.  Times of pins of one user may come in any order.  What
 * only a gone pin held is dropped with the user's next append. */
int users_pin(struct users *t, struct user *u, int64_t time_ms, struct undine_err *err);
void users_unpin(struct users *t, struct user *u, int64_t time_ms);

/* What an impression at time_ms sees of one sequence.  Borrowed until the user next changes. */
struct users_view {
    const uint64_t *words; /* n_steps steps, oldest first, one after the other */
    size_t n_words;
    uint32_t n_steps;
};
struct users_view users_view(const struct users *t, const struct user *u, uint32_t sequence,
                             int64_t time_ms);

/* Hints that cost nothing: a view of the user will be asked for soon, first where the user is, a
 * while later where its steps are. */
void users_ahead(const struct user *u);
void users_view_ahead(const struct users *t, const struct user *u);

/* The same of steps that are not in the table: of `all`, valid steps oldest first, the newest
 * `length` with time < time_ms.  Any thread. */
struct users_view users_view_before(const struct users_view *all, uint32_t length, int64_t time_ms);

/* Put the changed users into the store's batch; users_commit after it was written, which also
 * evicts. */
int users_stage(struct users *t, struct undine_err *err);
void users_commit(struct users *t);

/* Read-only look at a stored user, for inspect: calls the same code as loading.  Views point into
 * words. UNDINE_ECORRUPT, UNDINE_EVERSION. */
int users_decode(const struct schema *schema, const uint8_t *value, size_t len, struct writer *id,
                 struct users_view views[SCHEMA_SEQUENCES_MAX], struct writer *words,
                 struct undine_err *err);

/* The inverse of users_decode, appended to out: what users_stage writes. */
int users_encode(const struct schema *schema, const void *id, size_t id_len,
                 const struct users_view *views, struct writer *out, struct undine_err *err);

struct users_stats {
    uint64_t users, bytes; /* in memory now */
    uint64_t hits;         /* finds served from memory (after a prefetch, too) */
    uint64_t misses;       /* users asked of the store */
    uint64_t loads;        /* of these, the store had */
    uint64_t evictions, collisions, written;
    uint64_t steps_appended, steps_duplicate, steps_empty;
    uint64_t steps_dropped; /* older than the newest that a sequence keeps */
};
const struct users_stats *users_stats(const struct users *t);

#endif
