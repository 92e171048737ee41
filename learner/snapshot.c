#include "learner/snapshot.h"

#include "learner/model/version_chain.h"
#include "learner/snapshot_join.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SNAPSHOT_CHUNK_BYTES = 1 << 20 };

struct snapshot *snapshot_new(void)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (s != NULL) {
        arena_init(&s->memory, SNAPSHOT_CHUNK_BYTES);
    }
    return s;
}

void snapshot_free(struct snapshot *s)
{
    if (s != NULL) {
        version_chain_close(s->mapped);
        arena_release(&s->memory);
        free(s);
    }
}

void snapshot_clear(struct snapshot *s)
{
    if (s != NULL) {
        UNDINE_ASSERT(s->mapped == NULL);
        struct arena memory = s->memory;
        arena_reset(&memory);
        *s = (struct snapshot){.memory = memory};
    }
}

size_t snapshot_type_bytes(enum snapshot_type t)
{
    switch (t) {
    case SNAPSHOT_U8:
        return 1;
    case SNAPSHOT_F32:
    case SNAPSHOT_U32:
        return 4;
    case SNAPSHOT_F64:
    case SNAPSHOT_U64:
    case SNAPSHOT_I64:
        break;
    }
    return 8;
}

uint64_t snapshot_array_bytes(const struct snapshot_array *a)
{
    return a->rows * (a->cols > 0 ? a->cols : 1) * snapshot_type_bytes(a->type);
}

static void *add_array(struct snapshot *s, struct snapshot_array *list, uint32_t *n,
                       const char *name, enum snapshot_type t, uint64_t rows, uint64_t cols)
{
    UNDINE_ASSERT(*n < SNAPSHOT_ARRAYS_MAX);
    UNDINE_ASSERT(strlen(name) < sizeof list->name && snapshot_find(list, *n, name) == NULL);
    struct snapshot_array *a = &list[*n];
    uint64_t count, bytes;
    if (__builtin_mul_overflow(rows, cols > 0 ? cols : 1, &count) ||
        __builtin_mul_overflow(count, snapshot_type_bytes(t), &bytes) || bytes > SIZE_MAX) {
        return NULL;
    }
    *a = (struct snapshot_array){.type = t, .rows = rows, .cols = cols};
    (void)snprintf(a->name, sizeof a->name, "%s", name);
    a->data = arena_alloc(&s->memory, (size_t)bytes);
    *n += a->data != NULL;
    return a->data;
}

void *snapshot_dense(struct snapshot *s, const char *name, enum snapshot_type t, uint64_t rows,
                     uint64_t cols)
{
    return add_array(s, s->dense, &s->n_dense, name, t, rows, cols);
}

void *snapshot_train(struct snapshot *s, const char *name, enum snapshot_type t, uint64_t rows,
                     uint64_t cols)
{
    return add_array(s, s->train, &s->n_train, name, t, rows, cols);
}

const struct snapshot_array *snapshot_find(const struct snapshot_array *a, uint32_t n,
                                           const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(a[i].name, name) == 0) {
            return &a[i];
        }
    }
    return NULL;
}

/* ---- sorting ---- */

struct keyed_row {
    uint64_t key;
    uint64_t row;
};

/* Radix sort, least byte first; the result is in `rows` again (8 passes). */
static void sort_rows(struct keyed_row *rows, struct keyed_row *spare, uint64_t n)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint64_t at[256] = {0}, sum = 0;
        for (uint64_t i = 0; i < n; i++) {
            at[rows[i].key >> shift & 255]++;
        }
        for (unsigned b = 0; b < 256; b++) {
            uint64_t count = at[b];
            at[b] = sum;
            sum += count;
        }
        for (uint64_t i = 0; i < n; i++) {
            spare[at[rows[i].key >> shift & 255]++] = rows[i];
        }
        struct keyed_row *swap = rows;
        rows = spare;
        spare = swap;
    }
}

struct column {
    uint8_t *data; /* NULL = the table has none */
    size_t bytes;  /* of one row */
};
enum { N_COLUMNS = 7 };

static void copy_row(const struct column *columns, uint64_t to, uint64_t from)
{
    for (size_t c = 0; c < N_COLUMNS; c++) {
        if (columns[c].data != NULL) {
            memcpy(columns[c].data + to * columns[c].bytes,
                   columns[c].data + from * columns[c].bytes, columns[c].bytes);
        }
    }
}

static void save_row(const struct column *columns, uint64_t row, uint8_t *saved, bool back)
{
    for (size_t c = 0; c < N_COLUMNS; c++) {
        if (columns[c].data != NULL) {
            uint8_t *at = columns[c].data + row * columns[c].bytes;
            memcpy(back ? at : saved, back ? saved : at, columns[c].bytes);
            saved += columns[c].bytes;
        }
    }
}

/* Row i becomes the old row from[i].row, in place, one cycle of the permutation after the other. */
static void permute(const struct column *columns, struct keyed_row *from, uint64_t n,
                    uint8_t *saved)
{
    for (uint64_t i = 0; i < n; i++) {
        if (from[i].row == i) {
            continue;
        }
        save_row(columns, i, saved, false);
        uint64_t at = i;
        while (from[at].row != i) {
            uint64_t next = from[at].row;
            copy_row(columns, at, next);
            from[at].row = at;
            at = next;
        }
        save_row(columns, at, saved, true);
        from[at].row = at;
    }
}

/* 1 = ascending, 0 = not in order, < 0 = an id stands twice. */
static int ascending(const struct snapshot_table *t, struct undine_err *err)
{
    int order = 1;
    for (uint64_t i = 1; i < t->n_rows; i++) {
        if (t->key[i - 1] == t->key[i]) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "table `%s` of the snapshot holds the id %016" PRIx64 " twice",
                                  t->name, t->key[i]);
        }
        order = t->key[i - 1] > t->key[i] ? 0 : order;
    }
    return order;
}

static int sort_table(struct snapshot_table *t, bool mapped, struct undine_err *err)
{
    int rc = ascending(t, err);
    if (rc != 0) {
        return rc < 0 ? rc : UNDINE_OK;
    }
    if (mapped) {
        return undine_err_set(err, UNDINE_ECORRUPT, "table `%s` of the version is not sorted",
                              t->name);
    }
    const struct column columns[N_COLUMNS] = {
        {(uint8_t *)t->key, sizeof *t->key},
        {(uint8_t *)t->weight, t->dim * sizeof *t->weight},
        {(uint8_t *)t->raw, t->dim * sizeof *t->raw},
        {(uint8_t *)t->slot, t->n_slots * sizeof *t->slot},
        {(uint8_t *)t->count, sizeof *t->count},
        {(uint8_t *)t->seen_day, sizeof *t->seen_day},
        {(uint8_t *)t->stamp, sizeof *t->stamp},
    };
    size_t row_bytes = 0;
    for (size_t c = 0; c < N_COLUMNS; c++) {
        row_bytes += columns[c].bytes;
    }
    struct keyed_row *rows = calloc(t->n_rows, sizeof *rows);
    struct keyed_row *spare = calloc(t->n_rows, sizeof *spare);
    uint8_t *saved = malloc(row_bytes);
    if (rows == NULL || spare == NULL || saved == NULL) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "no memory to sort %" PRIu64 " rows of table `%s`",
                            t->n_rows, t->name);
        goto out;
    }
    for (uint64_t i = 0; i < t->n_rows; i++) {
        rows[i] = (struct keyed_row){.key = t->key[i], .row = i};
    }
    sort_rows(rows, spare, t->n_rows);
    permute(columns, rows, t->n_rows, saved);
    rc = ascending(t, err) < 0 ? UNDINE_ECORRUPT : UNDINE_OK;
out:
    free(rows);
    free(spare);
    free(saved);
    return rc;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* An id can have gone, come back and gone again. */
static void sort_removed(struct snapshot_table *t, bool mapped)
{
    uint64_t n = 0;
    if (mapped) { /* in order, and not to be written to */
        return;
    }
    if (t->n_removed > 1) {
        qsort(t->removed, t->n_removed, sizeof *t->removed, by_id);
    }
    for (uint64_t i = 0; i < t->n_removed; i++) {
        if (n == 0 || t->removed[n - 1] != t->removed[i]) {
            t->removed[n++] = t->removed[i];
        }
    }
    t->n_removed = n;
}

static int sort_all(struct snapshot *s, struct snapshot_table *t, struct undine_err *err)
{
    sort_removed(t, s->mapped != NULL);
    return t->older != NULL ? snapshot_join(&s->memory, t, err)
                            : sort_table(t, s->mapped != NULL, err);
}

int snapshot_sort(struct snapshot *s, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_tables; i++) {
        rc = sort_all(s, &s->table[i], err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_waiting; i++) {
        rc = sort_all(s, &s->waiting[i], err);
    }
    return rc;
}

struct hash128 snapshot_digest_of(const struct snapshot *s, const struct model_digest_rows *rows)
{
    struct model_digest d = {0};
    struct model_digest_tensor dense[SNAPSHOT_ARRAYS_MAX];
    for (uint32_t i = 0; i < s->n_tables; i++) {
        model_digest_table(&d, s->table[i].name, &rows[i]);
    }
    for (uint32_t i = 0; i < s->n_dense; i++) {
        dense[i] = (struct model_digest_tensor){.name = s->dense[i].name,
                                                .data = s->dense[i].data,
                                                .bytes = snapshot_array_bytes(&s->dense[i])};
    }
    model_digest_dense(&d, dense, s->n_dense);
    return d.value;
}

struct hash128 snapshot_digest(const struct snapshot *s)
{
    struct model_digest_rows rows[SCHEMA_TABLES_MAX] = {0};
    UNDINE_ASSERT(!s->delta);
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const struct snapshot_table *t = &s->table[i];
        model_digest_rows_add(&rows[i], t->key, t->weight, t->n_rows, t->dim);
    }
    return snapshot_digest_of(s, rows);
}
