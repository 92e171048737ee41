#include "ingest/join.h"

#include "base/hash.h"
#include "ingest/order.h"

#include <stdlib.h>

/* The event applied last: equal messages have equal times, so they are neighbours in the order. */
struct last_event {
    int64_t time_ms;
    uint64_t id, tie;
    int kind; /* -1 = none */
};

struct join {
    const struct schema *schema;
    const struct ingest_options *opt;
    struct arrivals *arrivals;
    struct users *users;
    struct example_log *log;
    struct ingest_counters *counters;
    struct impressions known;
    uint64_t due; /* number of the first impression whose deadline has not passed */
    int64_t first_ms;
    size_t record_bytes; /* of the records that known impressions hold */
    struct last_event last;
    bool restoring; /* no emission, no counters, no users */
};

int join_open(struct join **out, const struct schema *schema, const struct ingest_options *opt,
              struct arrivals *arrivals, struct users *users, struct example_log *log,
              struct ingest_counters *counters, struct undine_err *err)
{
    UNDINE_ASSERT(opt->join.window_ms >= 0 && opt->join.window_ms < ORDER_TIME_MAX);
    UNDINE_ASSERT(opt->join.memory_ms >= 0 && opt->join.memory_ms < ORDER_TIME_MAX);
    UNDINE_ASSERT(opt->join.negative_rate > 0.0 && opt->join.negative_rate <= 1.0);
    struct join *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the join");
    }
    j->schema = schema;
    j->opt = opt;
    j->arrivals = arrivals;
    j->users = users;
    j->log = log;
    j->counters = counters;
    j->first_ms = JOIN_NO_FIRST;
    j->last.kind = -1;
    impressions_init(&j->known);
    *out = j;
    return UNDINE_OK;
}

void join_close(struct join *j)
{
    if (j != NULL) {
        impressions_release(&j->known);
        free(j);
    }
}

/* ---- small parts ---- */

static int64_t deadline_of(const struct join *j, const struct impression *i)
{
    return i->time_ms + j->opt->join.window_ms;
}

/* Is a click at this time's positive emitted at once (see join.h for the first window)? */
static bool emits_at_click(const struct join *j, int64_t click_ms)
{
    return j->opt->join.emit == INGEST_EMIT_CLICK &&
           click_ms >= j->first_ms + j->opt->join.window_ms;
}

/* By a hash of the id, never by a generator that a restart would rewind. */
static bool negative_kept(const struct join *j, uint64_t id)
{
    uint64_t h = hash_bytes_seeded(&id, sizeof id, j->opt->join.negative_seed);
    return (double)(h >> 11) * 0x1p-53 < j->opt->join.negative_rate;
}

static void release_record(struct join *j, struct impression *i)
{
    if (i->event != NULL) {
        j->record_bytes -= (size_t)i->event->words * sizeof(uint64_t);
        arrivals_release(j->arrivals, i->event);
        i->event = NULL;
    }
}

static bool learns_late_clicks(const struct join *j)
{
    return j->opt->join.late_click == INGEST_LATE_CORRECT || j->opt->join.label == INGEST_LABEL_FNW;
}

/* May an example of this impression still be emitted? */
static bool needs_user(const struct join *j, const struct impression *i)
{
    if ((i->flags & IMPRESSION_GONE) != 0) {
        return false;
    }
    return (i->flags & IMPRESSION_RESOLVED) == 0 ||
           (learns_late_clicks(j) && (i->flags & IMPRESSION_CLICKED) == 0);
}

static void unpin(struct join *j, struct impression *i)
{
    if (i->user != NULL) { /* no users while restoring */
        users_unpin(j->users, i->user, i->time_ms);
        i->user = NULL;
    }
}

/* The impression is pending no more. */
static void resolve(struct join *j, struct impression *i)
{
    i->flags |= IMPRESSION_RESOLVED;
    if (!j->restoring) {
        j->counters->pending--;
        if (!needs_user(j, i)) {
            unpin(j, i);
        }
    }
}

static int emit(struct join *j, const struct impression *i, enum example_kind kind, int64_t emit_ms,
                struct undine_err *err)
{
    struct users_view views[SCHEMA_SEQUENCES_MAX] = {{0}};
    for (uint32_t s = 0; s < j->schema->n_sequences; s++) {
        views[s] = users_view(j->users, i->user, s, i->time_ms);
    }
    int rc = example_log_add(j->log, i->event, kind, emit_ms, (float)j->opt->join.negative_rate,
                             views, err);
    if (rc < 0) {
        return rc;
    }
    j->counters->label_delay_ms += (uint64_t)(emit_ms - i->time_ms);
    if ((i->flags & IMPRESSION_RESOLVED) != 0) {
        j->counters->revised++;
    } else if (kind == EXAMPLE_POSITIVE) {
        j->counters->positives++;
    } else {
        j->counters->negatives++;
    }
    return UNDINE_OK;
}

/* A click behind the impression's first label. */
static int revise(struct join *j, const struct impression *i, int64_t click_ms,
                  struct undine_err *err)
{
    bool trained = negative_kept(j, i->id);
    enum example_kind kind = j->opt->join.label == INGEST_LABEL_FNW ? EXAMPLE_FNW_POSITIVE
                             : trained                              ? EXAMPLE_CORRECTION
                                                                    : EXAMPLE_POSITIVE;
    *(trained ? &j->counters->revised_negatives : &j->counters->revised_sampled_out) += 1;
    return emit(j, i, kind, click_ms, err);
}

/* The clicked candidate becomes a step of the user who saw it. */
static int append_click(struct join *j, struct user *u, const struct impression *i,
                        int64_t click_ms, struct undine_err *err)
{
    int rc = users_append(j->users, u, i->event, click_ms, EVENT_CLICK, 0, err);
    return rc < 0 ? rc : UNDINE_OK;
}

static void count_duplicate(struct join *j, const struct event *e)
{
    if (!j->restoring) {
        j->counters->duplicate++; /* DROP(event_duplicate) */
        j->counters->duplicate_by_kind[e->kind]++;
    }
}

/* ---- impressions ---- */

static bool impression_known(const struct join *j, const struct event *e)
{
    const struct impression *i = impressions_find(&j->known, e->id);
    if (j->opt->join.by == INGEST_JOIN_ID) {
        return i != NULL;
    }
    /* Several impressions of one item to one user are no duplicates of each other. */
    for (; i != NULL; i = impressions_older(&j->known, i)) {
        if (i->time_ms == e->time_ms && i->tie == e->tie) {
            return true;
        }
    }
    return false;
}

static int pin_user(struct join *j, struct impression *i, struct undine_err *err)
{
    const struct event *e = i->event;
    struct user *u = NULL;
    int rc = users_find(j->users, e->user, event_user(e), e->user_len, &u, err);
    if (rc < 0) {
        return rc;
    }
    rc = users_pin(j->users, u, i->time_ms, err);
    if (rc < 0) {
        return rc;
    }
    i->user = u;
    return UNDINE_OK;
}

static int apply_impression(struct join *j, struct event *e, struct undine_err *err)
{
    /* While restoring, every impression was taken once: duplicates are left out of the events, and
     * what made another one look like a duplicate may be trimmed already. */
    if (!j->restoring && impression_known(j, e)) {
        count_duplicate(j, e);
        int rc = arrivals_reject(j->arrivals, e, err);
        arrivals_release(j->arrivals, e);
        return rc;
    }
    struct impression *i = impressions_add(&j->known, e, err);
    if (i == NULL) {
        return UNDINE_ENOMEM;
    }
    j->record_bytes += (size_t)e->words * sizeof(uint64_t);
    if (j->restoring) {
        i->flags |= j->opt->join.label == INGEST_LABEL_FNW ? IMPRESSION_RESOLVED : 0;
        return UNDINE_OK;
    }
    if (j->first_ms == JOIN_NO_FIRST) {
        j->first_ms = e->time_ms;
    }
    j->counters->applied++;
    j->counters->impressions++;
    j->counters->pending++;
    int rc = pin_user(j, i, err);
    if (rc == UNDINE_OK && j->opt->join.label == INGEST_LABEL_FNW) {
        rc = emit(j, i, EXAMPLE_FNW_NEGATIVE, i->time_ms, err);
        resolve(j, i);
    }
    return rc;
}

/* ---- clicks ---- */

/* The impression that the click belongs to: the newest unclicked one, else a clicked one. */
static struct impression *clicked_impression(const struct join *j, const struct event *click)
{
    struct impression *newest = impressions_find(&j->known, click->id);
    if (newest == NULL || j->opt->join.by == INGEST_JOIN_ID) {
        return newest;
    }
    for (struct impression *i = newest; i != NULL; i = impressions_older(&j->known, i)) {
        if ((i->flags & IMPRESSION_CLICKED) == 0) {
            return i;
        }
    }
    return newest;
}

/* A click of an impression that is still pending. */
static int match(struct join *j, struct impression *i, int64_t click_ms, struct undine_err *err)
{
    bool now = emits_at_click(j, click_ms);
    i->flags |= IMPRESSION_CLICKED;
    if (!j->restoring) {
        /* The example first: it must not see the click that labels it. */
        int rc = now ? emit(j, i, EXAMPLE_POSITIVE, click_ms, err) : UNDINE_OK;
        if (rc == UNDINE_OK) {
            rc = append_click(j, i->user, i, click_ms, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    if (now) {
        resolve(j, i);
        release_record(j, i);
    }
    return UNDINE_OK;
}

/* A click of an impression that has its label. */
static int click_behind(struct join *j, struct impression *i, int64_t click_ms,
                        struct undine_err *err)
{
    i->flags |= IMPRESSION_CLICKED;
    if (!j->restoring) {
        struct user *u = i->user;
        int rc = u == NULL ? users_find(j->users, i->user_hash, event_user(i->event),
                                        i->event->user_len, &u, err)
                           : revise(j, i, click_ms, err);
        if (rc == UNDINE_OK) {
            rc = append_click(j, u, i, click_ms, err);
        }
        if (rc < 0) {
            return rc;
        }
        unpin(j, i);
    }
    release_record(j, i);
    return UNDINE_OK;
}

static int apply_click(struct join *j, struct event *e, struct undine_err *err)
{
    struct impression *i = clicked_impression(j, e);
    if (i != NULL && (i->flags & IMPRESSION_CLICKED) != 0) {
        count_duplicate(j, e);
        return UNDINE_OK;
    }
    if (!j->restoring) {
        j->counters->applied++;
        j->counters->clicks++;
        j->counters->clicks_orphan += i == NULL ? 1 : 0; /* DROP(click_orphan) */
    }
    if (i == NULL) {
        return UNDINE_OK;
    }
    if (!j->restoring) {
        /* DROP(label_late), where the configuration drops it; the step is kept */
        *(e->time_ms <= deadline_of(j, i) ? &j->counters->clicks_matched
                                          : &j->counters->clicks_late) += 1;
    }
    return (i->flags & IMPRESSION_RESOLVED) == 0 ? match(j, i, e->time_ms, err)
                                                 : click_behind(j, i, e->time_ms, err);
}

/* ---- behaviours and forgets ---- */

static int apply_behavior(struct join *j, const struct event *e, struct undine_err *err)
{
    if (j->restoring) {
        return UNDINE_OK;
    }
    struct user *u = NULL;
    int rc = users_find(j->users, e->user, event_user(e), e->user_len, &u, err);
    if (rc == UNDINE_OK) {
        rc = users_append(j->users, u, e, e->time_ms, EVENT_BEHAVIOR, e->behavior, err);
    }
    if (rc < 0) {
        return rc;
    }
    j->counters->applied++;
    j->counters->behaviors++;
    return UNDINE_OK;
}

/* Everything of the user goes: what is pending, what is remembered (a click on it is an orphan from
 * now on), the sequences, and with the log's entry the learner's rows.  One pass over the known
 * impressions: forgetting is rare, and a list of impressions by user would be paid by every event.
 */
static int apply_forget(struct join *j, const struct event *e, struct undine_err *err)
{
    for (uint64_t n = j->known.tail; n < j->known.head; n++) {
        struct impression *i = impressions_at(&j->known, n);
        if (i->user_hash != e->user || (i->flags & IMPRESSION_GONE) != 0) {
            continue;
        }
        if ((i->flags & IMPRESSION_RESOLVED) == 0) {
            resolve(j, i);
            j->counters->dropped += j->restoring ? 0 : 1; /* DROP(impression_forgotten) */
        }
        i->flags |= IMPRESSION_GONE;
        unpin(j, i);
        release_record(j, i);
    }
    if (j->restoring) {
        return UNDINE_OK;
    }
    struct user *u = NULL;
    int rc = users_find(j->users, e->user, event_user(e), e->user_len, &u, err);
    if (rc == UNDINE_OK) {
        rc = users_forget(j->users, u, err);
    }
    if (rc == UNDINE_OK) {
        rc = example_log_add(j->log, e, EXAMPLE_FORGET, e->time_ms, 1.0F, NULL, err);
    }
    if (rc < 0) {
        return rc;
    }
    j->counters->applied++;
    j->counters->forgets++; /* DROP(user_forgotten) */
    return UNDINE_OK;
}

/* ---- the order of time ---- */

/* Is the event the same message as the one before it?  Impressions are known by their id. */
static bool repeats_last(struct join *j, const struct event *e)
{
    bool same = j->last.kind == e->kind && j->last.time_ms == e->time_ms && j->last.id == e->id &&
                j->last.tie == e->tie;
    j->last = (struct last_event){e->time_ms, e->id, e->tie, e->kind};
    return same && e->kind != EVENT_IMPRESSION;
}

void join_ahead(const struct join *j, const struct event *e)
{
    impressions_ahead(&j->known, e->id);
}

int join_apply(struct join *j, struct event *e, struct undine_err *err)
{
    UNDINE_ASSERT(e->time_ms >= j->last.time_ms || j->last.kind < 0);
    join_expire(j, e->time_ms);
    if (e->kind == EVENT_IMPRESSION) {
        return apply_impression(j, e, err);
    }
    int rc = UNDINE_OK;
    if (repeats_last(j, e)) {
        count_duplicate(j, e);
    } else if (e->kind == EVENT_CLICK) {
        rc = apply_click(j, e, err);
    } else if (e->kind == EVENT_BEHAVIOR) {
        rc = apply_behavior(j, e, err);
    } else {
        rc = apply_forget(j, e, err);
    }
    arrivals_release(j->arrivals, e);
    return rc;
}

int64_t join_deadline(struct join *j)
{
    while (j->due < j->known.head) {
        const struct impression *i = impressions_at(&j->known, j->due);
        if ((i->flags & IMPRESSION_RESOLVED) == 0) {
            return deadline_of(j, i);
        }
        j->due++;
    }
    return JOIN_NEVER;
}

/* What the next deadlines look at was last seen a window ago. */
static void fire_ahead(const struct join *j)
{
    enum { AHEAD = 6 };
    if (j->known.head - j->due > 2 * AHEAD) {
        const struct impression *i = impressions_at(&j->known, j->due + 2 * AHEAD);
        if (i->user != NULL) {
            __builtin_prefetch(i->event);
            users_ahead(i->user);
        }
        i = impressions_at(&j->known, j->due + AHEAD);
        if (i->user != NULL) {
            users_view_ahead(j->users, i->user);
        }
    }
}

int join_fire(struct join *j, struct undine_err *err)
{
    fire_ahead(j);
    int64_t deadline_ms = join_deadline(j);
    UNDINE_ASSERT(deadline_ms != JOIN_NEVER);
    struct impression *i = impressions_at(&j->known, j->due++);
    bool clicked = (i->flags & IMPRESSION_CLICKED) != 0;
    int rc = UNDINE_OK;
    if (!j->restoring) {
        if (clicked) {
            rc = emit(j, i, EXAMPLE_POSITIVE, deadline_ms, err);
        } else if (negative_kept(j, i->id)) {
            rc = emit(j, i, EXAMPLE_NEGATIVE, deadline_ms, err);
        } else {
            j->counters->sampled_out++; /* DROP(negative_sampled_out) */
        }
    }
    resolve(j, i);
    if (clicked) {
        release_record(j, i);
    }
    return rc;
}

void join_expire(struct join *j, int64_t watermark_ms)
{
    int64_t memory_ms = j->opt->join.memory_ms;
    while (j->known.tail < j->known.head) {
        struct impression *i = impressions_at(&j->known, j->known.tail);
        if (deadline_of(j, i) + memory_ms >= watermark_ms) {
            break;
        }
        UNDINE_ASSERT((i->flags & IMPRESSION_RESOLVED) != 0);
        unpin(j, i);
        release_record(j, i);
        impressions_drop(&j->known);
    }
    if (j->due < j->known.tail) {
        j->due = j->known.tail;
    }
}

static int restore_deadlines(struct join *j, int64_t before_ms, struct undine_err *err)
{
    int rc = UNDINE_OK;
    while (rc == UNDINE_OK && join_deadline(j) < before_ms) {
        rc = join_fire(j, err);
    }
    return rc;
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Load the users of the impressions from `first` on that need them: in the order of the store's
 * keys, so that a block of it is read and unpacked once and not for each of its users. */
static int load_users(struct join *j, uint64_t first, struct undine_err *err)
{
    enum { RUN = 1024 };
    size_t n = 0, n_max = (size_t)(j->known.head - first);
    restore_progress_begin(j->opt->progress, RESTORE_USERS, 0); /* not known yet who needs one */
    uint64_t *users = calloc(n_max + 1, sizeof *users);
    if (users == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu users", n_max);
    }
    for (uint64_t number = first; number < j->known.head; number++) {
        const struct impression *i = impressions_at(&j->known, number);
        if (needs_user(j, i)) {
            users[n++] = i->user_hash;
        }
    }
    restore_progress_begin(j->opt->progress, RESTORE_USERS, n);
    qsort(users, n, sizeof *users, compare_hashes);
    int rc = UNDINE_OK;
    for (size_t at = 0; rc == UNDINE_OK && at < n; at += RUN) {
        size_t run = n - at < RUN ? n - at : RUN;
        rc = users_prefetch(j->users, users + at, run, err);
        restore_progress_add(j->opt->progress, run);
    }
    free(users);
    return rc;
}

/* Pin the users of all that is pending, and whoever else is needed; *pending is the number of the
 * former. */
static int restore_pins(struct join *j, uint64_t *pending, struct undine_err *err)
{
    uint64_t first = learns_late_clicks(j) ? j->known.tail : j->due;
    *pending = 0;
    int rc = load_users(j, first, err);
    for (uint64_t number = first; rc == UNDINE_OK && number < j->known.head; number++) {
        struct impression *i = impressions_at(&j->known, number);
        if (needs_user(j, i)) {
            rc = pin_user(j, i, err);
            *pending += (i->flags & IMPRESSION_RESOLVED) == 0 ? 1 : 0;
        }
    }
    return rc;
}

int join_restore(struct join *j, struct event *const *events, size_t n, int64_t watermark_ms,
                 int64_t first_ms, uint64_t *pending, struct undine_err *err)
{
    j->first_ms = first_ms;
    j->restoring = true;
    int rc = UNDINE_OK;
    restore_progress_begin(j->opt->progress, RESTORE_IMPRESSIONS, n);
    for (size_t k = 0; rc == UNDINE_OK && k < n; k++) {
        rc = restore_deadlines(j, events[k]->time_ms, err);
        if (rc == UNDINE_OK) {
            rc = join_apply(j, events[k], err);
        }
        restore_progress_add(j->opt->progress, 1);
    }
    if (rc == UNDINE_OK) {
        rc = restore_deadlines(j, watermark_ms, err);
    }
    j->restoring = false;
    if (rc < 0) {
        return rc;
    }
    join_expire(j, watermark_ms);
    return restore_pins(j, pending, err);
}

int64_t join_first(const struct join *j)
{
    return j->first_ms;
}

int64_t join_keep_after(const struct join *j, int64_t watermark_ms)
{
    int64_t known_ms = j->opt->join.window_ms + j->opt->join.memory_ms;
    return watermark_ms < INT64_MIN + known_ms ? INT64_MIN : watermark_ms - known_ms;
}

size_t join_bytes(const struct join *j)
{
    return impressions_bytes(&j->known) + j->record_bytes;
}
