#include "learner/table.h"

#include <stdlib.h>
#include <string.h>

enum { INDEX_BITS_MIN = 8, INDEX_BITS_MAX = 31, LOOKAHEAD = 16 };

/* Spread an id over 64 bits: the high ones choose the slot, the low ones are the tag.  Ids are
 * hashes already; this keeps counted ids (tests, other producers) from clustering. */
static inline uint64_t spread(uint64_t key)
{
    uint64_t h = key * 0x9E3779B97F4A7C15U;
    return h ^ (h >> 32);
}

static inline uint32_t slot_of(const struct table *t, uint64_t h)
{
    return (uint32_t)(h >> (64 - t->index_bits));
}

static inline uint32_t slot_mask(const struct table *t)
{
    return ((uint32_t)1 << t->index_bits) - 1;
}

static inline uint32_t slot_value(const struct table *t, uint64_t h, uint32_t row)
{
    return ((uint32_t)h << t->index_bits) | (row + 1);
}

static inline uint32_t slot_row(const struct table *t, uint32_t value)
{
    return (value & slot_mask(t)) - 1;
}

static int grow_budget(struct table *t, uint64_t bytes, struct undine_err *err)
{
    struct table_budget *b = t->budget;
    if (b->max_bytes != 0 && (bytes > b->max_bytes || b->used_bytes > b->max_bytes - bytes)) {
        return undine_err_set(err, UNDINE_EFULL,
                              "the embedding tables hold %llu bytes and need %llu more, over their "
                              "bound of %llu bytes",
                              (unsigned long long)b->used_bytes, (unsigned long long)bytes,
                              (unsigned long long)b->max_bytes);
    }
    b->used_bytes += bytes;
    t->bytes += bytes;
    return UNDINE_OK;
}

static void shrink_budget(struct table *t, uint64_t bytes)
{
    t->budget->used_bytes -= bytes;
    t->bytes -= bytes;
}

/* First slot on the key's way that is empty. */
static uint32_t empty_slot(const struct table *t, uint64_t h)
{
    uint32_t mask = slot_mask(t);
    uint32_t s = slot_of(t, h);
    while (t->index[s] != 0) {
        s = (s + 1) & mask;
    }
    return s;
}

static int index_grow(struct table *t, unsigned bits, struct undine_err *err)
{
    if (bits > INDEX_BITS_MAX) {
        return undine_err_set(err, UNDINE_EFULL,
                              "an embedding table holds %u rows, the most it can", t->n_rows);
    }
    size_t bytes = ((size_t)1 << bits) * sizeof t->index[0];
    size_t bytes_old = t->index != NULL ? ((size_t)1 << t->index_bits) * sizeof t->index[0] : 0;
    int rc = grow_budget(t, bytes, err);
    if (rc < 0) {
        return rc;
    }
    uint32_t *index = calloc((size_t)1 << bits, sizeof *index);
    if (index == NULL) {
        shrink_budget(t, bytes);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for an index of %zu bytes", bytes);
    }
    free(t->index);
    shrink_budget(t, bytes_old);
    t->index = index;
    t->index_bits = bits;
    for (uint32_t row = 0; row < t->n_used; row++) {
        uint64_t key = table_row(t, row)->key;
        if (key != 0) {
            uint64_t h = spread(key);
            t->index[empty_slot(t, h)] = slot_value(t, h, row);
        }
    }
    return UNDINE_OK;
}

static bool index_full_at(unsigned bits, uint64_t n_rows)
{
    return n_rows * 5 > ((uint64_t)4 << bits);
}

int table_init(struct table *t, const struct table_options *opt, struct table_budget *budget,
               struct undine_err *err)
{
    *t = (struct table){.opt = *opt, .budget = budget, .free_head = TABLE_NONE};
    size_t bytes = offsetof(struct table_row, value) +
                   sizeof(float) * ((size_t)opt->dim + (size_t)opt->n_slots);
    t->row_bytes = (bytes + 7) & ~(size_t)7;
    return index_grow(t, INDEX_BITS_MIN, err);
}

void table_release(struct table *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->n_segments; i++) {
        free(t->segments[i]);
    }
    free(t->segments);
    free(t->index);
    free(t->tombstones);
    if (t->budget != NULL) {
        t->budget->used_bytes -= t->bytes;
    }
    *t = (struct table){.free_head = TABLE_NONE};
}

static int add_segment(struct table *t, struct undine_err *err)
{
    if (t->n_segments == t->segments_capacity) {
        size_t capacity = t->segments_capacity > 0 ? 2 * t->segments_capacity : 16;
        uint8_t **segments = realloc(t->segments, capacity * sizeof *segments);
        if (segments == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu segments", capacity);
        }
        t->segments = segments;
        t->segments_capacity = capacity;
    }
    size_t bytes = TABLE_SEGMENT_ROWS * t->row_bytes;
    int rc = grow_budget(t, bytes, err);
    if (rc < 0) {
        return rc;
    }
    uint8_t *segment = malloc(bytes);
    if (segment == NULL) {
        shrink_budget(t, bytes);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %zu bytes of rows", bytes);
    }
    t->segments[t->n_segments++] = segment;
    return UNDINE_OK;
}

/* A row number that nothing uses: an erased one first. */
static int take_row(struct table *t, uint32_t *out, struct undine_err *err)
{
    if (t->free_head != TABLE_NONE) {
        *out = t->free_head;
        t->free_head = table_row(t, *out)->local;
        return UNDINE_OK;
    }
    if (t->n_used == t->n_segments * TABLE_SEGMENT_ROWS) {
        int rc = add_segment(t, err);
        if (rc < 0) {
            return rc;
        }
    }
    *out = t->n_used++;
    return UNDINE_OK;
}

static int insert(struct table *t, uint64_t key, uint32_t *out, struct undine_err *err)
{
    if (index_full_at(t->index_bits, (uint64_t)t->n_rows + 1)) {
        int rc = index_grow(t, t->index_bits + 1, err);
        if (rc < 0) {
            return rc;
        }
    }
    uint32_t row;
    int rc = take_row(t, &row, err);
    if (rc < 0) {
        return rc;
    }
    struct table_row *r = table_row(t, row);
    r->key = key;
    r->seen_day = 0;
    r->stamp = 0;
    r->count = 0.0f;
    r->local = 0;
    row_initial(r->value, t->opt.dim, key, &t->opt.init);
    for (uint32_t i = 0; i < t->opt.n_slots; i++) {
        r->value[t->opt.dim + i] = t->opt.slot_initial;
    }
    uint64_t h = spread(key);
    t->index[empty_slot(t, h)] = slot_value(t, h, row);
    t->n_rows++;
    *out = row;
    return UNDINE_OK;
}

/* Slot that holds the key, or TABLE_NONE. */
static uint32_t find_slot(const struct table *t, uint64_t key)
{
    uint64_t h = spread(key);
    uint32_t mask = slot_mask(t);
    uint32_t tag = (uint32_t)h << t->index_bits;
    for (uint32_t s = slot_of(t, h);; s = (s + 1) & mask) {
        uint32_t value = t->index[s];
        if (value == 0) {
            return TABLE_NONE;
        }
        if ((value & ~mask) == tag && table_row(t, slot_row(t, value))->key == key) {
            return s;
        }
    }
}

uint32_t table_find(const struct table *t, uint64_t key)
{
    uint32_t s = find_slot(t, key);
    return s == TABLE_NONE ? TABLE_NONE : slot_row(t, t->index[s]);
}

/* Ask for the memory of the row that the key's first slot names: mostly the one that is wanted. */
static inline void prefetch_row(const struct table *t, uint64_t key)
{
    uint32_t value = t->index[slot_of(t, spread(key))];
    if (value != 0) {
        const struct table_row *r = table_row(t, slot_row(t, value));
        __builtin_prefetch(r);
        __builtin_prefetch(r->value + 12);
    }
}

int table_need(struct table *t, const uint64_t *keys, uint32_t *rows, size_t n,
               struct undine_err *err)
{
    for (size_t i = 0; i < n; i++) {
        /* Slots are fetched 2 * LOOKAHEAD ids ahead, the rows they name LOOKAHEAD ahead. */
        if (i + 2 * LOOKAHEAD < n) {
            __builtin_prefetch(&t->index[slot_of(t, spread(keys[i + 2 * LOOKAHEAD]))]);
        }
        if (i + LOOKAHEAD < n) {
            prefetch_row(t, keys[i + LOOKAHEAD]);
        }
        uint32_t row = table_find(t, keys[i]);
        if (row == TABLE_NONE) {
            UNDINE_ASSERT(keys[i] != 0);
            int rc = insert(t, keys[i], &row, err);
            if (rc < 0) {
                return rc;
            }
        }
        rows[i] = row;
    }
    return UNDINE_OK;
}

int table_reserve(struct table *t, uint64_t n, struct undine_err *err)
{
    unsigned bits = t->index_bits;
    while (bits <= INDEX_BITS_MAX && index_full_at(bits, n)) {
        bits++;
    }
    return bits > t->index_bits ? index_grow(t, bits, err) : UNDINE_OK;
}

/* Empty a slot and close the gap: every later entry of the run that may not stand before its own
 * first slot moves up, so that lookups need no marks of deleted slots. */
static void remove_slot(struct table *t, uint32_t hole)
{
    uint32_t mask = slot_mask(t);
    for (uint32_t s = (hole + 1) & mask; t->index[s] != 0; s = (s + 1) & mask) {
        uint64_t key = table_row(t, slot_row(t, t->index[s]))->key;
        uint32_t first = slot_of(t, spread(key));
        if (((s - first) & mask) >= ((s - hole) & mask)) {
            t->index[hole] = t->index[s];
            hole = s;
        }
    }
    t->index[hole] = 0;
}

int table_erase(struct table *t, uint64_t key, struct undine_err *err)
{
    uint32_t s = find_slot(t, key);
    if (s == TABLE_NONE) {
        return 0;
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
    uint32_t row = slot_row(t, t->index[s]);
    remove_slot(t, s);
    struct table_row *r = table_row(t, row);
    memset(r, 0, t->row_bytes); /* nothing of a forgotten user stays in memory */
    r->local = t->free_head;
    t->free_head = row;
    t->n_rows--;
    return 1;
}

void table_tombstones_clear(struct table *t)
{
    t->n_tombstones = 0;
}
