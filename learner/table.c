#include "learner/table.h"

#include <stdlib.h>
#include <string.h>

enum { LOOKAHEAD = 16 };

static uint64_t segment_bytes(const struct table *t)
{
    return TABLE_SEGMENT_ROWS * t->row_bytes;
}

static void drop_segment(struct table *t)
{
    free(t->segments[--t->n_segments]);
    table_account_give(&t->account, segment_bytes(t));
}

void table_release(struct table *t)
{
    if (t == NULL) {
        return;
    }
    while (t->n_segments > 0) {
        drop_segment(t);
    }
    free(t->segments);
    free(t->tombstones);
    table_changes_release(&t->changes);
    table_index_release(&t->index);
    *t = (struct table){0};
}

static int add_segment(struct table *t, struct undine_err *err)
{
    int rc = table_account_take(&t->account, segment_bytes(t), err);
    if (rc < 0) {
        return rc;
    }
    uint8_t *segment = malloc(segment_bytes(t));
    if (segment == NULL) {
        table_account_give(&t->account, segment_bytes(t));
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %llu bytes of rows",
                              (unsigned long long)segment_bytes(t));
    }
    UNDINE_ASSERT(t->n_segments < t->segments_max);
    t->segments[t->n_segments++] = segment;
    return UNDINE_OK;
}

static void row_begin(const struct table *t, struct table_row *r, uint64_t key)
{
    *r = (struct table_row){.key = key};
    row_initial(r->value, t->opt.dim, key, &t->opt.init);
    for (uint32_t i = 0; i < t->opt.n_slots; i++) {
        r->value[t->opt.dim + i] = t->opt.slot_initial;
    }
}

/* Make a row, whose contents are the caller's. */
static int insert(struct table *t, uint64_t hash, uint32_t *out, struct undine_err *err)
{
    uint32_t row = t->n_rows;
    int rc = UNDINE_OK;
    if (row == TABLE_NONE) {
        return undine_err_set(err, UNDINE_EFULL,
                              "an embedding table holds %u rows, the most it can", row);
    }
    if (row == t->n_segments * TABLE_SEGMENT_ROWS) {
        rc = add_segment(t, err);
    }
    if (rc == UNDINE_OK) {
        rc = table_index_add(&t->index, hash, row, err);
    }
    if (rc < 0) {
        return rc;
    }
    t->n_inserted++;
    t->n_rows++;
    table_changes_touch(&t->changes, row, 0);
    *out = row;
    return UNDINE_OK;
}

int table_init(struct table *t, const struct table_options *opt, struct table_budget *budget,
               struct undine_err *err)
{
    *t = (struct table){.opt = *opt, .account = {.budget = budget}};
    size_t bytes = offsetof(struct table_row, value) +
                   sizeof(float) * ((size_t)opt->dim + (size_t)opt->n_slots);
    t->row_bytes = (bytes + 7) & ~(size_t)7;
    uint64_t most = ((uint64_t)1 << 32) / TABLE_SEGMENT_ROWS;
    uint64_t fit = budget->max_bytes == 0 ? most : budget->max_bytes / segment_bytes(t) + 1;
    t->segments_max = (size_t)(fit < most ? fit : most);
    /* Memory that nobody has touched costs address space alone. */
    t->segments = calloc(t->segments_max, sizeof *t->segments);
    if (t->segments == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a list of %zu segments",
                              t->segments_max);
    }
    int rc = table_index_init(&t->index, budget, err);
    if (rc == UNDINE_OK && opt->shared) {
        uint32_t row;
        rc = insert(t, table_index_hash(0), &row, err);
        if (rc == UNDINE_OK) {
            row_begin(t, table_row(t, row), 0);
        }
    }
    return rc;
}

static inline uint32_t find(const struct table *t, uint64_t key, uint64_t hash)
{
    const struct table_index_slot *slot = table_index_page(&t->index, hash)->slot;
    uint32_t tag = table_index_tag(hash);
    for (uint32_t at = table_index_first(tag);; at = (at + 1) & (TABLE_INDEX_SLOTS - 1)) {
        if (slot[at].row == 0) {
            return TABLE_NONE;
        }
        if (slot[at].tag == tag && table_row(t, slot[at].row - 1)->key == key) {
            return slot[at].row - 1;
        }
    }
}

uint32_t table_find(const struct table *t, uint64_t key)
{
    uint32_t row = find(t, key, table_index_hash(key));
    return row != TABLE_NONE && table_gone(t, table_row(t, row)) ? TABLE_NONE : row;
}

static inline const struct table_index_slot *first_slot(const struct table *t, uint64_t hash)
{
    return &table_index_page(&t->index, hash)->slot[table_index_first(table_index_tag(hash))];
}

/* Ask for a row's head and weights. */
static inline void prefetch_row(const struct table *t, uint32_t row)
{
    enum { LINE_FLOATS = 16, HEAD_FLOATS = sizeof(struct table_row) / sizeof(float) };
    const struct table_row *r = table_row(t, row);
    __builtin_prefetch(r);
    for (uint32_t at = LINE_FLOATS - HEAD_FLOATS; at < t->opt.dim; at += LINE_FLOATS) {
        __builtin_prefetch(r->value + at);
    }
    __builtin_prefetch(r->value + t->opt.dim - 1);
}

/* The row that has the key if there is one, told by the part of the hash that the index keeps. */
static inline uint32_t guess(const struct table *t, uint64_t key)
{
    uint64_t hash = table_index_hash(key);
    const struct table_index_slot *slot = table_index_page(&t->index, hash)->slot;
    uint32_t tag = table_index_tag(hash), at = table_index_first(tag);
    while (slot[at].row != 0 && slot[at].tag != tag) {
        at = (at + 1) & (TABLE_INDEX_SLOTS - 1);
    }
    if (slot[at].row != 0) {
        prefetch_row(t, slot[at].row - 1);
    }
    return slot[at].row - 1;
}

/* Where n ids are looked up one after the other: slots are fetched 2 * LOOKAHEAD ids ahead, the
 * rows they name LOOKAHEAD ahead, when rows[i + LOOKAHEAD] gets the guess. */
static inline void look_ahead(const struct table *t, const uint64_t *keys, uint32_t *rows, size_t i,
                              size_t n)
{
    if (i + 2 * LOOKAHEAD < n) {
        __builtin_prefetch(first_slot(t, table_index_hash(keys[i + 2 * LOOKAHEAD])));
    }
    if (i + LOOKAHEAD < n) {
        rows[i + LOOKAHEAD] = guess(t, keys[i + LOOKAHEAD]);
    }
}

static void look_ahead_first(const struct table *t, const uint64_t *keys, uint32_t *rows, size_t n)
{
    for (size_t i = 0; i < n && i < 2 * LOOKAHEAD; i++) {
        __builtin_prefetch(first_slot(t, table_index_hash(keys[i])));
    }
    for (size_t i = 0; i < n && i < LOOKAHEAD; i++) {
        rows[i] = guess(t, keys[i]);
    }
}

/* As find, with a guess. */
static inline uint32_t find_guessed(const struct table *t, uint64_t key, uint32_t guessed)
{
    bool right = guessed != TABLE_NONE && table_row(t, guessed)->key == key;
    return right ? guessed : find(t, key, table_index_hash(key));
}

void table_find_all(const struct table *t, const uint64_t *keys, uint32_t *rows, size_t n)
{
    look_ahead_first(t, keys, rows, n);
    for (size_t i = 0; i < n; i++) {
        look_ahead(t, keys, rows, i, n);
        uint32_t row = find_guessed(t, keys[i], rows[i]);
        rows[i] = row != TABLE_NONE && table_gone(t, table_row(t, row)) ? TABLE_NONE : row;
    }
}

static int note_tombstone(struct table *t, uint64_t key, struct undine_err *err)
{
    if (t->opt.silent) {
        return UNDINE_OK;
    }
    if (t->n_tombstones == t->tombstones_capacity) {
        size_t capacity = t->tombstones_capacity > 0 ? 2 * t->tombstones_capacity : 64;
        uint64_t *tombstones = realloc(t->tombstones, capacity * sizeof *tombstones);
        if (tombstones == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu tombstones", capacity);
        }
        t->tombstones = tombstones;
        t->tombstones_capacity = capacity;
    }
    t->tombstones[t->n_tombstones++] = key;
    return UNDINE_OK;
}

/* An id whose row is gone is met again, before the sweep came to it. */
static int begin_anew(struct table *t, uint32_t row, struct undine_err *err)
{
    struct table_row *r = table_row(t, row);
    int rc = note_tombstone(t, r->key, err);
    if (rc == UNDINE_OK) {
        row_begin(t, r, r->key);
        table_changes_touch(&t->changes, row, 0);
        t->n_removed++;
    }
    return rc;
}

int table_need(struct table *t, const uint64_t *keys, uint32_t *rows, size_t n,
               struct undine_err *err)
{
    look_ahead_first(t, keys, rows, n);
    for (size_t i = 0; i < n; i++) {
        look_ahead(t, keys, rows, i, n);
        uint32_t row = find_guessed(t, keys[i], rows[i]);
        int rc = UNDINE_OK;
        if (row == TABLE_NONE) {
            UNDINE_ASSERT(keys[i] != 0);
            rc = insert(t, table_index_hash(keys[i]), &row, err);
            if (rc == UNDINE_OK) {
                row_begin(t, table_row(t, row), keys[i]);
            }
        } else if (table_gone(t, table_row(t, row))) {
            rc = begin_anew(t, row, err);
        }
        if (rc < 0) {
            return rc;
        }
        rows[i] = row;
    }
    return UNDINE_OK;
}

int table_restore(struct table *t, const uint64_t *keys, uint32_t *rows, size_t n,
                  struct undine_err *err)
{
    look_ahead_first(t, keys, rows, n);
    for (size_t i = 0; i < n; i++) {
        look_ahead(t, keys, rows, i, n);
        rows[i] = find_guessed(t, keys[i], rows[i]);
        int rc =
            rows[i] == TABLE_NONE ? insert(t, table_index_hash(keys[i]), &rows[i], err) : UNDINE_OK;
        if (rc < 0) {
            return rc;
        }
        *table_row(t, rows[i]) = (struct table_row){.key = keys[i]};
    }
    return UNDINE_OK;
}

static int remove_row(struct table *t, uint32_t row, struct undine_err *err)
{
    struct table_row *r = table_row(t, row);
    int rc = note_tombstone(t, r->key, err);
    if (rc < 0) {
        return rc;
    }
    t->n_removed += table_gone(t, r);
    table_index_remove(&t->index, table_index_hash(r->key), row);
    uint32_t last = t->n_rows - 1;
    struct table_row *end = table_row(t, last);
    if (row != last) {
        table_index_move(&t->index, table_index_hash(end->key), last, row);
        memcpy(r, end, t->row_bytes);
        if (t->changes.on && table_changes_stamped(&t->changes, r->stamp)) {
            table_changes_add(&t->changes, row);
        }
    }
    memset(end, 0, t->row_bytes); /* nothing of a forgotten user stays in memory */
    t->n_rows--;
    /* One segment stays in reserve, so that coming and going at a boundary allocates nothing. */
    if (t->n_rows + 2 * TABLE_SEGMENT_ROWS <= t->n_segments * TABLE_SEGMENT_ROWS) {
        drop_segment(t);
    }
    return UNDINE_OK;
}

int table_erase(struct table *t, uint64_t key, struct undine_err *err)
{
    uint32_t row = find(t, key, table_index_hash(key));
    if (row == TABLE_NONE) {
        return 0;
    }
    bool gone = table_gone(t, table_row(t, row));
    int rc = remove_row(t, row, err);
    return rc < 0 ? rc : !gone;
}

int table_sweep_row(struct table *t, uint32_t row, struct undine_err *err)
{
    UNDINE_ASSERT(table_gone(t, table_row(t, row)));
    return remove_row(t, row, err);
}

void table_tombstones_clear(struct table *t)
{
    t->n_tombstones = 0;
}
