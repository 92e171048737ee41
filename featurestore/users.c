#include "featurestore/users.h"

#include "base/fault.h"
#include "featurestore/pins.h"
#include "featurestore/steps.h"

#include <stdlib.h>

enum {
    USERS_SLOTS_MIN = 1024,
    MALLOC_OVERHEAD = 16, /* what the allocator takes for a block, about */
    ID_NEAR = 16,         /* an id of so many bytes needs no block */
    CACHE_LINE = 64
};

struct user {
    uint64_t hash;
    uint8_t id_len;  /* 0 = no event has named it */
    bool referenced; /* since the hand of the clock last passed */
    bool dirty;      /* changed since the last commit */
    bool stored;     /* the store has it */
    union {
        char near[ID_NEAR]; /* up to ID_NEAR bytes */
        char *far;
    } id;
    struct pins pins;
    size_t bytes;                 /* as counted in stats.bytes */
    struct user *next, *previous; /* ring of users that nothing pins, for eviction */
    struct steps sequences[];
};

struct slot {
    uint64_t hash;
    struct user *user; /* NULL = free */
};

enum { SORT_BITS = 11, SORT_BUCKETS = 1 << SORT_BITS };
enum { MISSING_BITS = 8, MISSING_BUCKETS = 1 << MISSING_BITS }; /* a prefetch has a thousand */

struct users {
    struct store *store;
    const struct schema *schema;
    uint64_t cache_bytes;
    struct slot *slots; /* linear probing, at most three quarters full */
    size_t n_slots;     /* a power of two */
    struct user *hand;
    struct slot *dirty, *sorted; /* (dirty_capacity) */
    size_t n_dirty, dirty_capacity;
    uint64_t *missing; /* of a prefetch; twice missing_capacity, for their sorting */
    size_t missing_capacity;
    struct writer value, id, words;
    uint64_t step[STEP_WORDS_MAX];
    struct users_stats stats;
};

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "users: out of memory");
}

/* ---- the ring of users that may be evicted ---- */

static void ring_insert(struct users *t, struct user *u)
{
    if (t->hand == NULL) {
        u->next = u->previous = u;
        t->hand = u;
        return;
    }
    u->next = t->hand;
    u->previous = t->hand->previous;
    u->previous->next = u;
    u->next->previous = u;
}

static void ring_remove(struct users *t, struct user *u)
{
    if (t->hand == u) {
        t->hand = u->next == u ? NULL : u->next;
    }
    u->previous->next = u->next;
    u->next->previous = u->previous;
    u->next = u->previous = NULL;
}

/* ---- one user ---- */

static void user_account(struct users *t, struct user *u)
{
    size_t bytes = sizeof *u + 2 * sizeof(struct slot) + MALLOC_OVERHEAD + pins_bytes(&u->pins);
    bytes += u->id_len > ID_NEAR ? u->id_len + MALLOC_OVERHEAD : 0;
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        bytes += sizeof u->sequences[s] + steps_bytes(&u->sequences[s]);
    }
    t->stats.bytes += bytes - u->bytes;
    u->bytes = bytes;
}

static const char *user_id(const struct user *u)
{
    return u->id_len > ID_NEAR ? u->id.far : u->id.near;
}

static void user_unname(struct user *u)
{
    if (u->id_len > ID_NEAR) {
        free(u->id.far);
    }
    u->id_len = 0;
}

static void user_free(struct users *t, struct user *u)
{
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        steps_release(&u->sequences[s]);
    }
    pins_release(&u->pins);
    user_unname(u);
    free(u);
}

static bool user_empty(const struct users *t, const struct user *u)
{
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        if (u->sequences[s].n > 0) {
            return false;
        }
    }
    return true;
}

static int user_name(struct user *u, const void *id, size_t id_len, struct undine_err *err)
{
    char *at = id_len > ID_NEAR ? malloc(id_len) : u->id.near;
    if (at == NULL) {
        return no_memory(err);
    }
    memcpy(at, id, id_len);
    if (id_len > ID_NEAR) {
        u->id.far = at;
    }
    u->id_len = (uint8_t)id_len;
    return UNDINE_OK;
}

static int user_dirty(struct users *t, struct user *u, struct undine_err *err)
{
    if (u->dirty) {
        return UNDINE_OK;
    }
    if (t->n_dirty == t->dirty_capacity) {
        size_t capacity = t->dirty_capacity == 0 ? 256 : t->dirty_capacity * 2;
        struct slot *dirty = realloc(t->dirty, capacity * sizeof *dirty);
        t->dirty = dirty != NULL ? dirty : t->dirty;
        struct slot *sorted = realloc(t->sorted, capacity * sizeof *sorted);
        t->sorted = sorted != NULL ? sorted : t->sorted;
        if (dirty == NULL || sorted == NULL) {
            return no_memory(err);
        }
        t->dirty_capacity = capacity;
    }
    t->dirty[t->n_dirty++] = (struct slot){u->hash, u};
    u->dirty = true;
    return UNDINE_OK;
}

/* ---- the table ---- */

static struct slot *table_slot(const struct users *t, uint64_t hash)
{
    size_t i = hash & (t->n_slots - 1);
    while (t->slots[i].user != NULL && t->slots[i].hash != hash) {
        i = (i + 1) & (t->n_slots - 1);
    }
    return &t->slots[i];
}

static int table_grow(struct users *t, struct undine_err *err)
{
    struct slot *old = t->slots;
    size_t n_old = t->n_slots;
    size_t n = n_old == 0 ? USERS_SLOTS_MIN : n_old * 2;
    struct slot *slots = calloc(n, sizeof *slots);
    if (slots == NULL) {
        return no_memory(err);
    }
    t->slots = slots;
    t->n_slots = n;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].user != NULL) {
            *table_slot(t, old[i].hash) = old[i];
        }
    }
    free(old);
    return UNDINE_OK;
}

/* A new, empty user of this hash, which the table does not have. */
static struct user *table_add(struct users *t, uint64_t hash, struct undine_err *err)
{
    if ((t->stats.users + 1) * 4 > t->n_slots * 3 && table_grow(t, err) != UNDINE_OK) {
        return NULL;
    }
    struct user *u = calloc(1, sizeof *u + t->schema->n_sequences * sizeof(struct steps));
    if (u == NULL) {
        (void)no_memory(err);
        return NULL;
    }
    u->hash = hash;
    u->referenced = true;
    *table_slot(t, hash) = (struct slot){.hash = hash, .user = u};
    t->stats.users++;
    ring_insert(t, u);
    user_account(t, u);
    return u;
}

/* Take a user that nothing pins out of table and memory.  Entries behind it that would be cut off
 * from their place move up. */
static void table_remove(struct users *t, struct user *u)
{
    size_t mask = t->n_slots - 1;
    size_t hole = (size_t)(table_slot(t, u->hash) - t->slots);
    for (size_t i = (hole + 1) & mask; t->slots[i].user != NULL; i = (i + 1) & mask) {
        size_t home = t->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = (struct slot){.user = NULL};
    t->stats.users--;
    t->stats.bytes -= u->bytes;
    ring_remove(t, u);
    user_free(t, u);
}

/* ---- open, close ---- */

int users_open(struct users **out, struct store *store, const struct schema *schema,
               const struct users_options *opt, struct undine_err *err)
{
    struct users *t = calloc(1, sizeof *t);
    if (t == NULL || table_grow(t, err) != UNDINE_OK) {
        free(t);
        return no_memory(err);
    }
    t->store = store;
    t->schema = schema;
    t->cache_bytes = opt->cache_bytes;
    writer_init(&t->value);
    writer_init(&t->id);
    writer_init(&t->words);
    *out = t;
    return UNDINE_OK;
}

void users_close(struct users *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->n_slots; i++) {
        if (t->slots[i].user != NULL) {
            user_free(t, t->slots[i].user);
        }
    }
    writer_release(&t->value);
    writer_release(&t->id);
    writer_release(&t->words);
    free(t->slots);
    free(t->dirty);
    free(t->sorted);
    free(t->missing);
    free(t);
}

/* ---- find ---- */

/* Fill an empty user with its stored value. */
static int user_load(struct users *t, struct user *u, const uint8_t *value, size_t len,
                     struct undine_err *err)
{
    struct users_view views[SCHEMA_SEQUENCES_MAX];
    int rc = users_decode(t->schema, value, len, &t->id, views, &t->words, err);
    if (rc != UNDINE_OK) {
        (void)undine_err_prefix(err, "user %016llx", (unsigned long long)u->hash);
        return rc;
    }
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        if (!steps_load(&u->sequences[s], views[s].words, views[s].n_words, views[s].n_steps)) {
            return no_memory(err);
        }
    }
    if (t->id.len > 0) {
        rc = user_name(u, t->id.data, t->id.len, err);
    }
    u->stored = true;
    t->stats.loads++;
    user_account(t, u);
    return rc;
}

static int load_found(void *payload, uint64_t key, const uint8_t *value, size_t len,
                      struct undine_err *err)
{
    struct users *t = payload;
    return user_load(t, table_slot(t, key)->user, value, len, err);
}

/* Ask the store for users that the table has just got as empty ones; on failure they go again, so
 * that an empty user never stands for one that could not be read. */
static int load_missing(struct users *t, const uint64_t *hashes, size_t n, struct undine_err *err)
{
    t->stats.misses += n;
    int rc = store_get_many(t->store, STORE_SEQUENCE, hashes, n, load_found, t, err);
    for (size_t i = 0; rc != UNDINE_OK && i < n; i++) {
        table_remove(t, table_slot(t, hashes[i])->user);
    }
    return rc;
}

/* The places of all before any is looked at: where users do not fit the processor's caches, a look
 * waits for memory, and so they wait together. */
static void fetch_ahead(const struct users *t, const uint64_t *user_hashes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        __builtin_prefetch(&t->slots[user_hashes[i] & (t->n_slots - 1)]);
    }
    for (size_t i = 0; i < n; i++) {
        const struct user *u = table_slot(t, user_hashes[i])->user;
        if (u != NULL) {
            users_ahead(u);
        }
    }
}

/* Ascending: by the highest bits, then each to its place, which is near.  RocksDB would sort by the
 * bytes of each key. */
static void sort_missing(struct users *t, size_t n)
{
    uint64_t *keys = t->missing, *spread = t->missing + t->missing_capacity;
    uint32_t at[MISSING_BUCKETS + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        at[(keys[i] >> (64 - MISSING_BITS)) + 1]++;
    }
    for (size_t b = 1; b < MISSING_BUCKETS; b++) {
        at[b] += at[b - 1];
    }
    for (size_t i = 0; i < n; i++) {
        spread[at[keys[i] >> (64 - MISSING_BITS)]++] = keys[i];
    }
    for (size_t i = 0; i < n; i++) {
        size_t to = i;
        for (; to > 0 && keys[to - 1] > spread[i]; to--) {
            keys[to] = keys[to - 1];
        }
        keys[to] = spread[i];
    }
}

int users_prefetch(struct users *t, const uint64_t *user_hashes, size_t n, struct undine_err *err)
{
    fetch_ahead(t, user_hashes, n);
    if (n > t->missing_capacity) {
        uint64_t *missing = realloc(t->missing, 2 * n * sizeof *missing);
        if (missing == NULL) {
            return no_memory(err);
        }
        t->missing = missing;
        t->missing_capacity = n;
    }
    size_t n_missing = 0;
    for (size_t i = 0; i < n; i++) {
        struct user *u = table_slot(t, user_hashes[i])->user;
        if (u != NULL) {
            u->referenced = true;
            continue;
        }
        if (table_add(t, user_hashes[i], err) == NULL) {
            for (size_t k = 0; k < n_missing; k++) {
                table_remove(t, table_slot(t, t->missing[k])->user);
            }
            return UNDINE_ENOMEM;
        }
        t->missing[n_missing++] = user_hashes[i];
    }
    if (n_missing == 0) {
        return UNDINE_OK;
    }
    sort_missing(t, n_missing);
    return load_missing(t, t->missing, n_missing, err);
}

/* The id as the event has it against the id as it is remembered. */
static int user_identify(struct users *t, struct user *u, const char *id, size_t id_len,
                         struct undine_err *err)
{
    if (id == NULL || id_len == 0) {
        return UNDINE_OK;
    }
    UNDINE_ASSERT(id_len <= UINT8_MAX);
    if (u->id_len == 0) {
        int rc = user_name(u, id, id_len, err);
        user_account(t, u);
        return rc != UNDINE_OK || !u->stored ? rc : user_dirty(t, u, err);
    }
    if (u->id_len != id_len || memcmp(user_id(u), id, id_len) != 0) {
        t->stats.collisions++;
    }
    return UNDINE_OK;
}

int users_find(struct users *t, uint64_t hash, const char *id, size_t id_len, struct user **out,
               struct undine_err *err)
{
    struct user *u = table_slot(t, hash)->user;
    if (u != NULL) {
        t->stats.hits++;
        u->referenced = true;
    } else {
        u = table_add(t, hash, err);
        int rc = u == NULL ? UNDINE_ENOMEM : load_missing(t, &hash, 1, err);
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    int rc = user_identify(t, u, id, id_len, err);
    if (rc == UNDINE_OK) {
        *out = u;
    }
    return rc;
}

/* ---- change ---- */

static bool sequence_takes(const struct schema_sequence *q, enum event_kind kind, uint32_t behavior)
{
    return kind == EVENT_CLICK ? q->from_click : (q->from_behavior >> behavior & 1) != 0;
}

/* Make t->step of the sequence's fields of an event; returns its words, 2 where it has no id. */
static uint32_t make_step(struct users *t, const struct schema_sequence *q,
                          const struct event *item, int64_t time_ms)
{
    uint64_t counts = 0;
    uint32_t n_words = 2;
    for (uint32_t f = 0; f < q->n_fields; f++) {
        uint32_t n;
        const uint64_t *ids = event_field(item, q->field[f], &n);
        counts |= (uint64_t)n << 8 * f;
        if (n > 0) {
            memcpy(t->step + n_words, ids, n * sizeof *ids);
            n_words += n;
        }
    }
    t->step[0] = (uint64_t)time_ms;
    t->step[1] = counts;
    return n_words;
}

int users_append(struct users *t, struct user *u, const struct event *item, int64_t time_ms,
                 enum event_kind kind, uint32_t behavior, struct undine_err *err)
{
    UNDINE_ASSERT(kind == EVENT_CLICK || kind == EVENT_BEHAVIOR);
    int taken = 0;
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        const struct schema_sequence *q = &t->schema->sequences[s];
        if (!sequence_takes(q, kind, behavior)) {
            continue;
        }
        uint32_t n_words = make_step(t, q, item, time_ms);
        if (n_words == 2) {
            t->stats.steps_empty++; /* DROP(step_empty) */
            continue;
        }
        if (steps_have(&u->sequences[s], q->length, t->step, n_words)) {
            t->stats.steps_duplicate++; /* DROP(step_duplicate) */
            continue;
        }
        if (!steps_append(&u->sequences[s], t->step, n_words)) {
            return no_memory(err);
        }
        t->stats.steps_dropped += /* DROP(step_old) */
            steps_trim(&u->sequences[s], q->length, pins_oldest_ms(&u->pins));
        taken++;
    }
    if (taken > 0) {
        t->stats.steps_appended += (uint64_t)taken;
        user_account(t, u);
        int rc = user_dirty(t, u, err);
        return rc != UNDINE_OK ? rc : taken;
    }
    return 0;
}

int users_forget(struct users *t, struct user *u, struct undine_err *err)
{
    UNDINE_ASSERT(u->pins.n == 0);
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        steps_release(&u->sequences[s]);
    }
    user_unname(u);
    user_account(t, u);
    return user_dirty(t, u, err);
}

int users_pin(struct users *t, struct user *u, int64_t time_ms, struct undine_err *err)
{
    bool first = u->pins.n == 0;
    if (!pins_add(&u->pins, time_ms)) {
        return no_memory(err);
    }
    if (first) {
        ring_remove(t, u);
    }
    user_account(t, u);
    return UNDINE_OK;
}

/* The steps that only this pin held go with the next append: not now, since a restart pins in the
 * order of arrival and may unpin before all pins are back. */
void users_unpin(struct users *t, struct user *u, int64_t time_ms)
{
    pins_remove(&u->pins, time_ms);
    if (u->pins.n == 0) {
        ring_insert(t, u);
    }
    user_account(t, u);
}

void users_ahead(const struct user *u)
{
    __builtin_prefetch(u);
    __builtin_prefetch((const char *)u + CACHE_LINE);
}

void users_view_ahead(const struct users *t, const struct user *u)
{
    for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
        const struct steps *q = &u->sequences[s];
        if (q->n > 0) {
            __builtin_prefetch(&q->at[q->first + q->n]);
            __builtin_prefetch(q->words);
        }
    }
}

struct users_view users_view(const struct users *t, const struct user *u, uint32_t sequence,
                             int64_t time_ms)
{
    return steps_view(&u->sequences[sequence], t->schema->sequences[sequence].length, time_ms);
}

/* ---- commit ---- */

/* In the order of the keys, nearly: by the highest bits.  RocksDB's memtable goes on from the place
 * of the key before; finding places is what a commit spends most of its insertions on. */
static void sort_dirty(struct users *t)
{
    uint32_t at[SORT_BUCKETS] = {0}, sum = 0;
    for (size_t i = 0; i < t->n_dirty; i++) {
        at[t->dirty[i].hash >> (64 - SORT_BITS)]++;
    }
    for (size_t b = 0; b < SORT_BUCKETS; b++) {
        uint32_t n = at[b];
        at[b] = sum;
        sum += n;
    }
    for (size_t i = 0; i < t->n_dirty; i++) {
        t->sorted[at[t->dirty[i].hash >> (64 - SORT_BITS)]++] = t->dirty[i];
    }
    struct slot *swap = t->dirty;
    t->dirty = t->sorted;
    t->sorted = swap;
}

int users_stage(struct users *t, struct undine_err *err)
{
    sort_dirty(t);
    for (size_t i = 0; i < t->n_dirty; i++) {
        struct user *u = t->dirty[i].user;
        uint8_t key[8];
        bytes_put_be64(key, u->hash);
        if (user_empty(t, u)) {
            if (u->stored) {
                FAULT("users.before_forget");
                store_delete(t->store, STORE_SEQUENCE, key, sizeof key);
            }
            continue;
        }
        struct users_view views[SCHEMA_SEQUENCES_MAX];
        for (uint32_t s = 0; s < t->schema->n_sequences; s++) {
            views[s] = steps_all(&u->sequences[s]);
        }
        writer_clear(&t->value);
        int rc = users_encode(t->schema, user_id(u), u->id_len, views, &t->value, err);
        if (rc != UNDINE_OK) {
            return rc;
        }
        store_put(t->store, STORE_SEQUENCE, key, sizeof key, t->value.data, t->value.len);
        t->stats.written++;
    }
    return UNDINE_OK;
}

/* Down to cache_bytes, or until only pinned users are left.  A user that was looked up since the
 * hand last passed gets another round. */
static void users_evict(struct users *t)
{
    while (t->stats.bytes > t->cache_bytes && t->hand != NULL) {
        struct user *u = t->hand;
        if (u->referenced) {
            u->referenced = false;
            t->hand = u->next;
        } else {
            table_remove(t, u);
            t->stats.evictions++;
        }
    }
}

void users_commit(struct users *t)
{
    for (size_t i = 0; i < t->n_dirty; i++) {
        struct user *u = t->dirty[i].user;
        u->dirty = false;
        if (u->stored && user_empty(t, u)) {
            FAULT("users.after_forget");
        }
        u->stored = !user_empty(t, u);
        if (!u->stored && u->pins.n == 0) {
            table_remove(t, u); /* forgotten */
        }
    }
    t->n_dirty = 0;
    users_evict(t);
}

const struct users_stats *users_stats(const struct users *t)
{
    return &t->stats;
}
