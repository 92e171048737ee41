#include "featurestore/arrivals.h"

#include "base/fault.h"

#include <stdlib.h>

/* Memory is chunks, aligned to their size, so that an event's chunk is found by masking its
 * address. A chunk takes the events of several commits one after the other, since a slow stream has
 * few a commit, and is freed when the last of its events is released.  A run is what one commit has
 * in one chunk: it knows where its words stand in the stored block. */
enum {
    ARRIVALS_VERSION = 1,
    CHUNK_BYTES = 1 << 20,
    REJECTED_BYTES = 16,
    TRIM_BLOCKS = 128 /* many small range deletions make reads slow: wait for this many blocks */
};
static const uint64_t COMMIT_OPEN = UINT64_MAX; /* the commit in the making has no number yet */

struct run {
    uint64_t commit;
    uint32_t chunk_word; /* where it begins in the chunk */
    uint32_t block_word; /* where that is in the commit's block, in words behind the rejections */
};

struct chunk {
    struct run *runs;
    struct chunk *next, *previous;
    uint32_t n_runs, runs_capacity;
    uint32_t n_words;
    uint32_t live; /* events that order or join still refer to */
    bool staged;   /* nothing of it waits for a commit */
    uint64_t words[];
};
enum { CHUNK_WORDS = (CHUNK_BYTES - sizeof(struct chunk)) / sizeof(uint64_t) };
_Static_assert((size_t)CHUNK_WORDS >= (size_t)EVENT_WORDS_MAX, "a chunk holds the largest event");

struct rejected {
    uint64_t commit;
    uint32_t word;
};

/* A block of the store, oldest first. */
struct stored {
    uint64_t commit;
    int64_t time_max_ms;
};

struct arrivals {
    struct store *store;
    const struct schema *schema;
    uint32_t shard;
    struct chunk *newest; /* list from newest to oldest; the newest is written to */
    struct chunk *spare;
    size_t n_chunks;
    size_t runs_bytes;
    /* the commit in the making */
    uint32_t n_events, n_words;
    int64_t time_max_ms;
    struct rejected *rejected;
    size_t n_rejected, rejected_capacity;
    struct writer value;
    uint64_t commit; /* last one staged or restored */
    struct stored *stored;
    size_t stored_first, n_stored, stored_capacity;
    uint64_t n_trimmed; /* blocks, since open */
    bool trimmed; /* by the commit in the making */
};

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "arrivals: out of memory");
}

/* ---- chunks ---- */

static struct chunk *chunk_of(const struct event *e)
{
    return (struct chunk *)((uintptr_t)e & ~(uintptr_t)(CHUNK_BYTES - 1));
}

static struct chunk *chunk_new(struct arrivals *a)
{
    struct chunk *c = a->spare;
    a->spare = NULL;
    if (c == NULL) {
        c = aligned_alloc(CHUNK_BYTES, CHUNK_BYTES);
        if (c == NULL) {
            return NULL;
        }
        a->n_chunks++;
    }
    *c = (struct chunk){.staged = true, .next = a->newest};
    if (a->newest != NULL) {
        a->newest->previous = c;
    }
    a->newest = c;
    return c;
}

/* The chunk's events are all gone: keep it as the spare one, or give it back. */
static void chunk_drop(struct arrivals *a, struct chunk *c)
{
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
    if (c->previous != NULL) {
        c->previous->next = c->next;
    } else {
        a->newest = c->next;
    }
    a->runs_bytes -= c->runs_capacity * sizeof *c->runs;
    free(c->runs);
    if (a->spare == NULL) {
        a->spare = c;
    } else {
        free(c);
        a->n_chunks--;
    }
}

static void chunk_drop_if_done(struct arrivals *a, struct chunk *c)
{
    if (c->live == 0 && c->staged && c != a->newest) {
        chunk_drop(a, c);
    }
}

/* Begin a run of this commit in the chunk where the commit has none there yet. */
static int chunk_run(struct arrivals *a, struct chunk *c, uint64_t commit, struct undine_err *err)
{
    if (c->n_runs > 0 && c->runs[c->n_runs - 1].commit == commit) {
        return UNDINE_OK;
    }
    if (c->n_runs == c->runs_capacity) {
        uint32_t capacity = c->runs_capacity == 0 ? 4 : c->runs_capacity * 2;
        struct run *runs = realloc(c->runs, capacity * sizeof *runs);
        if (runs == NULL) {
            return no_memory(err);
        }
        a->runs_bytes += (capacity - c->runs_capacity) * sizeof *runs;
        c->runs = runs;
        c->runs_capacity = capacity;
    }
    c->runs[c->n_runs++] =
        (struct run){.commit = commit, .chunk_word = c->n_words, .block_word = a->n_words};
    return UNDINE_OK;
}

/* Room for the largest event of a commit, in a chunk that has a run of it. */
static uint64_t *reserve(struct arrivals *a, uint64_t commit, struct undine_err *err)
{
    struct chunk *c = a->newest;
    if (c == NULL || CHUNK_WORDS - c->n_words < EVENT_WORDS_MAX) {
        struct chunk *full = c;
        c = chunk_new(a);
        if (c == NULL) {
            (void)no_memory(err);
            return NULL;
        }
        if (full != NULL) {
            chunk_drop_if_done(a, full);
        }
    } else if (c->live == 0 && c->staged) {
        c->n_words = 0; /* nobody looks at it: begin again */
        c->n_runs = 0;
    }
    return chunk_run(a, c, commit, err) == UNDINE_OK ? c->words + c->n_words : NULL;
}

/* Take the words behind the newest chunk's end. */
static struct event *keep(struct arrivals *a, uint32_t words)
{
    struct chunk *c = a->newest;
    struct event *e = (struct event *)(void *)(c->words + c->n_words);
    c->n_words += words;
    c->live++;
    a->n_words += words;
    return e;
}

/* ---- open, close ---- */

int arrivals_open(struct arrivals **out, struct store *store, const struct schema *schema,
                  uint32_t shard, struct undine_err *err)
{
    struct arrivals *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return no_memory(err);
    }
    a->store = store;
    a->schema = schema;
    a->shard = shard;
    a->time_max_ms = INT64_MIN;
    writer_init(&a->value);
    *out = a;
    return UNDINE_OK;
}

void arrivals_close(struct arrivals *a)
{
    if (a == NULL) {
        return;
    }
    while (a->newest != NULL) {
        chunk_drop(a, a->newest);
    }
    free(a->spare);
    writer_release(&a->value);
    free(a->rejected);
    free(a->stored);
    free(a);
}

/* ---- the commit in the making ---- */

uint64_t *arrivals_reserve(struct arrivals *a, struct undine_err *err)
{
    return reserve(a, COMMIT_OPEN, err);
}

struct event *arrivals_keep(struct arrivals *a, uint32_t words)
{
    struct event *e = keep(a, words);
    UNDINE_ASSERT(e->words == words && words <= EVENT_WORDS_MAX);
    a->newest->staged = false;
    a->n_events++;
    if (e->time_ms > a->time_max_ms) {
        a->time_max_ms = e->time_ms;
    }
    return e;
}

/* Where an event stands in the store. */
static struct rejected place_of(const struct event *e)
{
    const struct chunk *c = chunk_of(e);
    uint32_t word = (uint32_t)((const uint64_t *)e - c->words);
    uint32_t low = 0, high = c->n_runs; /* runs[low] begins at or before word */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (c->runs[middle].chunk_word <= word) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const struct run *r = &c->runs[low];
    return (struct rejected){.commit = r->commit, .word = r->block_word + word - r->chunk_word};
}

static int reject(struct arrivals *a, struct rejected r, struct undine_err *err)
{
    if (a->n_rejected == a->rejected_capacity) {
        size_t capacity = a->rejected_capacity == 0 ? 64 : a->rejected_capacity * 2;
        struct rejected *rejected = realloc(a->rejected, capacity * sizeof *rejected);
        if (rejected == NULL) {
            return no_memory(err);
        }
        a->rejected = rejected;
        a->rejected_capacity = capacity;
    }
    a->rejected[a->n_rejected++] = r;
    return UNDINE_OK;
}

int arrivals_reject(struct arrivals *a, const struct event *e, struct undine_err *err)
{
    return reject(a, place_of(e), err);
}

void arrivals_release(struct arrivals *a, const struct event *e)
{
    struct chunk *c = chunk_of(e);
    UNDINE_ASSERT(c->live > 0);
    c->live--;
    chunk_drop_if_done(a, c);
}

/* ---- commit ---- */

static int stored_add(struct arrivals *a, uint64_t commit, int64_t time_max_ms,
                      struct undine_err *err)
{
    if (a->stored_first + a->n_stored == a->stored_capacity) {
        if (a->stored_first > a->n_stored) {
            memmove(a->stored, a->stored + a->stored_first, a->n_stored * sizeof *a->stored);
            a->stored_first = 0;
        } else {
            size_t capacity = a->stored_capacity == 0 ? 1024 : a->stored_capacity * 2;
            struct stored *stored = realloc(a->stored, capacity * sizeof *stored);
            if (stored == NULL) {
                return no_memory(err);
            }
            a->stored = stored;
            a->stored_capacity = capacity;
        }
    }
    a->stored[a->stored_first + a->n_stored++] =
        (struct stored){.commit = commit, .time_max_ms = time_max_ms};
    return UNDINE_OK;
}

/* Drop the oldest blocks as far as all of their events are done with, once they are enough. */
static void stage_trim(struct arrivals *a, int64_t keep_after_ms)
{
    size_t n = 0;
    const struct stored *s = a->stored + a->stored_first;
    while (n < a->n_stored && s[n].time_max_ms < keep_after_ms) {
        n++;
    }
    if (n >= TRIM_BLOCKS) {
        FAULT("arrivals.before_trim");
        /* DROP(arrivals_done): applied, and past every window; so no start needs them */
        store_delete_range(a->store, STORE_ARRIVALS, s[0].commit, s[n - 1].commit + 1);
        a->trimmed = true;
        a->n_trimmed += n;
        a->stored_first += n;
        a->n_stored -= n;
    }
}

/* The words of the commit's runs: its newest chunks, the oldest of which comes first. */
static void write_runs(struct arrivals *a, uint64_t commit)
{
    struct chunk *c = a->newest;
    while (c->next != NULL && !c->next->staged) {
        c = c->next;
    }
    for (; c != NULL; c = c->previous) {
        if (c->staged) {
            continue;
        }
        struct run *r = &c->runs[c->n_runs - 1];
        UNDINE_ASSERT(r->commit == COMMIT_OPEN);
        r->commit = commit;
        writer_bytes(&a->value, c->words + r->chunk_word,
                     (c->n_words - r->chunk_word) * sizeof(uint64_t));
    }
}

static uint64_t oldest_stored(const struct arrivals *a)
{
    return a->n_stored > 0 ? a->stored[a->stored_first].commit : UINT64_MAX;
}

static int stage_block(struct arrivals *a, uint64_t commit, struct undine_err *err)
{
    struct writer *w = &a->value;
    writer_clear(w);
    writer_u32(w, ARRIVALS_VERSION);
    writer_u32(w, a->n_events);
    writer_u32(w, (uint32_t)a->n_rejected);
    writer_u32(w, 0);
    writer_u64(w, a->shard);
    writer_i64(w, a->time_max_ms);
    for (size_t i = 0; i < a->n_rejected; i++) {
        const struct rejected *r = &a->rejected[i];
        writer_u64(w, r->commit == COMMIT_OPEN ? commit : r->commit);
        writer_u32(w, r->word);
        writer_u32(w, 0);
    }
    if (a->n_events > 0) {
        write_runs(a, commit);
    }
    if (w->bad) {
        return no_memory(err);
    }
    uint8_t key[8];
    bytes_put_be64(key, commit);
    store_put(a->store, STORE_ARRIVALS, key, sizeof key, w->data, w->len);
    return stored_add(a, commit, a->time_max_ms, err);
}

int arrivals_stage(struct arrivals *a, uint64_t commit, int64_t keep_after_ms,
                   struct undine_err *err)
{
    UNDINE_ASSERT(commit > a->commit || (commit == 0 && a->n_stored == 0));
    a->commit = commit;
    stage_trim(a, keep_after_ms);
    /* A rejection in a block that is gone has nothing left to reject. */
    size_t n = 0;
    for (size_t i = 0; i < a->n_rejected; i++) {
        if (a->rejected[i].commit >= oldest_stored(a)) { /* so is COMMIT_OPEN */
            a->rejected[n++] = a->rejected[i];
        }
    }
    a->n_rejected = n;
    return a->n_events > 0 || n > 0 ? stage_block(a, commit, err) : UNDINE_OK;
}

/* What was begun and not kept leaves an open run behind; it must not meet the next commit's. */
void arrivals_commit(struct arrivals *a)
{
    a->n_events = 0;
    a->n_words = 0;
    a->n_rejected = 0;
    a->time_max_ms = INT64_MIN;
    if (a->trimmed) {
        FAULT("arrivals.after_trim");
        a->trimmed = false;
    }
    struct chunk *c = a->newest;
    if (c != NULL && c->n_runs > 0 && c->runs[c->n_runs - 1].commit == COMMIT_OPEN) {
        c->n_runs--;
    }
    while (c != NULL) {
        struct chunk *older = !c->staged || c == a->newest ? c->next : NULL;
        c->staged = true;
        chunk_drop_if_done(a, c);
        c = older;
    }
}

/* ---- stored blocks ---- */

static int damaged(struct undine_err *err, const char *what)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "stored arrivals: %s", what);
}

struct block_header {
    uint32_t n_events, n_rejected;
    uint64_t shard;
    int64_t time_max_ms;
};

/* Read the header and find the rejections; the reader stands at the first event afterwards. */
static int read_header(struct reader *r, struct block_header *h, const uint8_t **rejected,
                       struct undine_err *err)
{
    uint32_t version = reader_u32(r);
    if (!r->bad && (version & 0xff) > ARRIVALS_VERSION) {
        return undine_err_version(err, "stored arrivals", version & 0xff, ARRIVALS_VERSION);
    }
    h->n_events = reader_u32(r);
    h->n_rejected = reader_u32(r);
    uint32_t zero = reader_u32(r);
    h->shard = reader_u64(r);
    h->time_max_ms = reader_i64(r);
    if (r->bad || version != ARRIVALS_VERSION || zero != 0) {
        return damaged(err, "the header is damaged");
    }
    if (h->n_rejected > reader_left(r) / REJECTED_BYTES) {
        return damaged(err, "the rejections do not fit");
    }
    *rejected = reader_bytes(r, (size_t)h->n_rejected * REJECTED_BYTES);
    return UNDINE_OK;
}

/* Copy the next event to `out`, which has room for the largest, and check it. */
static int read_event(struct reader *r, const struct schema *schema, uint64_t *out,
                      struct undine_err *err)
{
    struct event head;
    struct reader peek = *r;
    const uint8_t *p = reader_bytes(&peek, sizeof head);
    if (p == NULL) {
        return damaged(err, "an event is cut off");
    }
    memcpy(&head, p, sizeof head);
    size_t bytes = (size_t)head.words * sizeof(uint64_t);
    p = head.words <= EVENT_WORDS_MAX ? reader_bytes(r, bytes) : NULL;
    if (p == NULL) {
        return damaged(err, "an event is longer than its block");
    }
    memcpy(out, p, bytes);
    return event_valid(out, head.words, schema) ? UNDINE_OK : damaged(err, "an event is damaged");
}

static int check_rejected(const struct block_header *h, const uint8_t *rejected,
                          struct undine_err *err)
{
    struct reader r = reader_of(rejected, (size_t)h->n_rejected * REJECTED_BYTES);
    for (uint32_t i = 0; i < h->n_rejected; i++) {
        (void)reader_bytes(&r, 12);
        if (reader_u32(&r) != 0) {
            return damaged(err, "a rejection is damaged");
        }
    }
    return UNDINE_OK;
}

int arrivals_check(struct arrivals_block *out, const struct schema *schema, const uint8_t *value,
                   size_t len, struct undine_err *err)
{
    struct reader r = reader_of(value, len);
    struct block_header h;
    const uint8_t *rejected;
    int rc = read_header(&r, &h, &rejected, err);
    if (rc == UNDINE_OK) {
        rc = check_rejected(&h, rejected, err);
    }
    if (rc != UNDINE_OK) {
        return rc;
    }
    uint64_t *words = malloc(EVENT_WORDS_MAX * sizeof *words);
    if (words == NULL) {
        return no_memory(err);
    }
    int64_t time_max_ms = INT64_MIN;
    for (uint32_t i = 0; rc == UNDINE_OK && i < h.n_events; i++) {
        rc = read_event(&r, schema, words, err);
        int64_t time_ms = (int64_t)words[0];
        time_max_ms = rc == UNDINE_OK && time_ms > time_max_ms ? time_ms : time_max_ms;
    }
    free(words);
    if (rc == UNDINE_OK && reader_left(&r) > 0) {
        rc = damaged(err, "bytes are left behind the last event");
    }
    if (rc == UNDINE_OK && time_max_ms != h.time_max_ms) {
        rc = damaged(err, "the newest time is not that of its events");
    }
    if (rc == UNDINE_OK && out != NULL) {
        *out = (struct arrivals_block){h.n_events, h.n_rejected, h.shard};
    }
    return rc;
}

/* ---- restore ---- */

struct restore {
    struct arrivals *a;
    arrivals_fn fn;
    void *payload;
    size_t at;      /* next rejection, in order of place */
    uint64_t bytes; /* of all blocks */
    struct restore_progress *progress;
};

/* First pass: what later commits rejected in earlier ones must be known before any event is given.
 */
static int restore_rejected(void *payload, uint64_t commit, const uint8_t *value, size_t len,
                            struct undine_err *err)
{
    struct restore *s = payload;
    struct arrivals *a = s->a;
    s->bytes += len;
    struct reader r = reader_of(value, len);
    struct block_header h;
    const uint8_t *rejected;
    int rc = read_header(&r, &h, &rejected, err);
    if (rc == UNDINE_OK && h.shard != a->shard) {
        rc = undine_err_set(err, UNDINE_ESTATE, "stored arrivals: belong to shard %llu, not %u",
                            (unsigned long long)h.shard, a->shard);
    }
    if (rc == UNDINE_OK) {
        rc = stored_add(a, commit, h.time_max_ms, err);
    }
    r = reader_of(rejected, (size_t)h.n_rejected * REJECTED_BYTES);
    for (uint32_t i = 0; rc == UNDINE_OK && i < h.n_rejected; i++) {
        struct rejected x = {.commit = reader_u64(&r), .word = reader_u32(&r)};
        (void)reader_u32(&r);
        rc = reject(a, x, err);
    }
    return rc;
}

static int compare_rejected(const void *x, const void *y)
{
    const struct rejected *a = x, *b = y;
    if (a->commit != b->commit) {
        return a->commit < b->commit ? -1 : 1;
    }
    return a->word < b->word ? -1 : a->word > b->word;
}

/* Is the event at this place rejected?  Places are asked for in rising order. */
static bool is_rejected(struct restore *s, struct rejected place)
{
    const struct arrivals *a = s->a;
    while (s->at < a->n_rejected && compare_rejected(&a->rejected[s->at], &place) < 0) {
        s->at++;
    }
    return s->at < a->n_rejected && compare_rejected(&a->rejected[s->at], &place) == 0;
}

static int restore_events(void *payload, uint64_t commit, const uint8_t *value, size_t len,
                          struct undine_err *err)
{
    struct restore *s = payload;
    struct arrivals *a = s->a;
    struct reader r = reader_of(value, len);
    struct block_header h;
    const uint8_t *rejected;
    int rc = read_header(&r, &h, &rejected, err);
    a->n_words = 0;
    a->commit = commit;
    for (uint32_t i = 0; rc == UNDINE_OK && i < h.n_events; i++) {
        uint64_t *words = reserve(a, commit, err);
        rc = words == NULL ? UNDINE_ENOMEM : read_event(&r, a->schema, words, err);
        if (rc != UNDINE_OK) {
            break;
        }
        struct rejected place = {.commit = commit, .word = a->n_words};
        struct event *e = keep(a, ((struct event *)(void *)words)->words);
        if (is_rejected(s, place)) {
            arrivals_release(a, e);
        } else {
            rc = s->fn(s->payload, e, err);
        }
    }
    if (rc == UNDINE_OK && reader_left(&r) > 0) {
        rc = damaged(err, "bytes are left behind the last event");
    }
    a->n_words = 0;
    restore_progress_add(s->progress, len);
    return rc;
}

int arrivals_restore(struct arrivals *a, arrivals_fn fn, void *payload,
                     struct restore_progress *progress, struct undine_err *err)
{
    UNDINE_ASSERT(a->n_events == 0 && a->n_stored == 0);
    struct restore s = {.a = a, .fn = fn, .payload = payload, .progress = progress};
    restore_progress_begin(progress, RESTORE_EVENTS, 0); /* their bytes are not known yet */
    int rc = store_scan(a->store, STORE_ARRIVALS, 0, restore_rejected, &s, err);
    if (rc == UNDINE_OK && a->n_rejected > 0) {
        qsort(a->rejected, a->n_rejected, sizeof *a->rejected, compare_rejected);
    }
    restore_progress_begin(progress, RESTORE_EVENTS, s.bytes);
    if (rc == UNDINE_OK) {
        rc = store_scan(a->store, STORE_ARRIVALS, 0, restore_events, &s, err);
    }
    a->n_rejected = 0;
    return rc;
}

uint64_t arrivals_trimmed(const struct arrivals *a)
{
    return a->n_trimmed;
}

size_t arrivals_bytes(const struct arrivals *a)
{
    return sizeof *a + a->n_chunks * CHUNK_BYTES + a->runs_bytes +
           a->rejected_capacity * sizeof *a->rejected + a->stored_capacity * sizeof *a->stored +
           a->value.capacity;
}
