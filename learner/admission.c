#include "learner/admission.h"

#include <stdlib.h>

enum { RUN = 256 };

/* In a list's `row`: not a row of the embedding table but an id of the batch that has none. */
#define WAITS ((uint32_t)1 << 31)

int admission_open(struct admission *a, uint32_t n_tables, uint32_t k, struct table_budget *budget,
                   struct undine_err *err)
{
    UNDINE_ASSERT(admission_on(k) && k <= ADMISSION_MAX);
    *a = (struct admission){.k = k, .n_tables = n_tables};
    const struct table_options opt = {.silent = true};
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < n_tables; i++) {
        rc = table_init(&a->table[i].waiting, &opt, budget, err);
    }
    return rc;
}

void admission_release(struct admission *a)
{
    for (uint32_t i = 0; a != NULL && i < a->n_tables; i++) {
        struct admission_table *w = &a->table[i];
        table_release(&w->waiting);
        free(w->row);
        free(w->instances);
        free(w->last);
        free(w->given);
        free(w->admitted);
    }
    if (a != NULL) {
        *a = (struct admission){0};
    }
}

uint64_t admission_waiting(const struct admission *a)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < a->n_tables; i++) {
        n += a->table[i].waiting.n_rows;
    }
    return n;
}

/* ---- every list of a batch ---- */

typedef int (*list_fn)(struct admission_table *w, const struct table *t, struct id_list *l,
                       struct undine_err *err);

static int each_list(struct admission *a, struct batch_builder *b, const struct table *tables,
                     list_fn fn, struct undine_err *err)
{
    const struct schema *schema = b->schema;
    int rc = UNDINE_OK;
    for (uint32_t f = 0; rc == UNDINE_OK && f < schema->n_fields; f++) {
        uint32_t k = schema->fields[f].table;
        rc = fn(&a->table[k], &tables[k], &b->field[f], err);
    }
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        for (uint32_t i = 0; rc == UNDINE_OK && i < schema->sequences[s].n_fields; i++) {
            uint32_t k = schema->sequences[s].table[i];
            rc = fn(&a->table[k], &tables[k], &b->sequence[s].step[i], err);
        }
    }
    return rc;
}

/* ---- who has no row ---- */

static bool room(struct admission_table *w, size_t n)
{
    if (n <= w->capacity) {
        return true;
    }
    size_t capacity = w->capacity > 0 ? w->capacity : RUN;
    while (capacity < n) {
        capacity *= 2;
    }
    uint32_t *row = reallocarray(w->row, capacity, sizeof *row);
    w->row = row != NULL ? row : w->row;
    float *instances = reallocarray(w->instances, capacity, sizeof *instances);
    w->instances = instances != NULL ? instances : w->instances;
    uint32_t *last = reallocarray(w->last, capacity, sizeof *last);
    w->last = last != NULL ? last : w->last;
    uint32_t *given = reallocarray(w->given, capacity, sizeof *given);
    w->given = given != NULL ? given : w->given;
    uint64_t *admitted = reallocarray(w->admitted, capacity, sizeof *admitted);
    w->admitted = admitted != NULL ? admitted : w->admitted;
    if (row == NULL || instances == NULL || last == NULL || given == NULL || admitted == NULL) {
        return false;
    }
    w->capacity = capacity;
    return true;
}

/* Number of a waiting id among those of the batch, as batch_builder's place. */
static uint32_t place(struct admission_table *w, uint32_t row)
{
    struct table_row *r = table_row(&w->waiting, row);
    if (r->local >= w->n || w->row[r->local] != row) {
        r->local = w->n++;
        table_changes_touch(&w->waiting.changes, row, r->stamp);
        w->row[r->local] = row;
        w->instances[r->local] = 0.0f;
        w->last[r->local] = 0;
    }
    return r->local;
}

/* At most RUN ids: rows of those that have one, and numbers of those that wait. */
static int find_run(struct admission_table *w, const struct table *t, const uint64_t *key,
                    uint32_t *row, size_t n, struct undine_err *err)
{
    uint64_t keys[RUN];
    uint32_t at[RUN], rows[RUN];
    size_t n_waiting = 0;
    table_find_all(t, key, row, n);
    for (size_t i = 0; i < n; i++) {
        if (row[i] == TABLE_NONE) {
            keys[n_waiting] = key[i];
            at[n_waiting++] = (uint32_t)i;
        }
    }
    if (!room(w, w->n + n_waiting)) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a batch");
    }
    int rc = table_need(&w->waiting, keys, rows, n_waiting, err);
    for (size_t i = 0; rc == UNDINE_OK && i < n_waiting; i++) {
        row[at[i]] = WAITS | place(w, rows[i]);
    }
    return rc;
}

static int find_list(struct admission_table *w, const struct table *t, struct id_list *l,
                     struct undine_err *err)
{
    int rc = UNDINE_OK;
    if (t->n_rows >= WAITS) {
        return undine_err_set(err, UNDINE_EFULL,
                              "an embedding table holds %u rows, the most it can with admission",
                              t->n_rows);
    }
    for (size_t at = 0; rc == UNDINE_OK && at < l->n_keys; at += RUN) {
        size_t n = l->n_keys - at < RUN ? l->n_keys - at : RUN;
        rc = find_run(w, t, l->key + at, l->row + at, n, err);
    }
    return rc;
}

/* ---- how often ---- */

/* Count an example once for every distinct id that waits among n. */
static void count_ids(struct admission_table *w, const uint32_t *row, size_t n, uint32_t example)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t at = row[i] & ~WAITS;
        if ((row[i] & WAITS) != 0 && w->last[at] != example + 1) {
            w->last[at] = example + 1;
            w->instances[at] += 1.0f;
        }
    }
}

static void count_example(struct admission *a, const struct batch_builder *b, uint32_t e)
{
    const struct schema *schema = b->schema;
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        struct admission_table *w = &a->table[schema->fields[f].table];
        const struct id_list *l = &b->field[f];
        if (w->n > 0) {
            count_ids(w, l->row + l->offset[e], l->offset[e + 1] - l->offset[e], e);
        }
    }
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        const struct batch_builder_sequences *q = &b->sequence[s];
        uint32_t k = q->of_example[e], first = q->step_offset[k], end = q->step_offset[k + 1];
        for (uint32_t i = 0; i < schema->sequences[s].n_fields && end > first; i++) {
            const struct id_list *l = &q->step[i];
            struct admission_table *w = &a->table[schema->sequences[s].table[i]];
            if (w->n > 0) {
                count_ids(w, l->row + l->offset[first], l->offset[end] - l->offset[first], e);
            }
        }
    }
}

/* ---- who gets one ---- */

static int admit(struct admission_table *w, struct table *t, uint32_t k, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < w->n; i++) {
        const struct table_row *r = table_row(&w->waiting, w->row[i]);
        w->given[i] = 0;
        if (r->count + w->instances[i] >= (float)k) {
            rc = table_need(t, &r->key, &w->given[i], 1, err);
            w->admitted[w->n_admitted++] = r->key;
        }
    }
    return rc;
}

static int give_rows(struct admission_table *w, const struct table *t, struct id_list *l,
                     struct undine_err *err)
{
    (void)t;
    (void)err;
    for (size_t i = 0; w->n > 0 && i < l->n_keys; i++) {
        l->row[i] = (l->row[i] & WAITS) != 0 ? w->given[l->row[i] & ~WAITS] : l->row[i];
    }
    return UNDINE_OK;
}

int admission_decide(struct admission *a, struct batch_builder *b, struct table *tables,
                     struct undine_err *err)
{
    for (uint32_t i = 0; i < a->n_tables; i++) {
        a->table[i].n = a->table[i].n_admitted = 0;
    }
    int rc = each_list(a, b, tables, find_list, err);
    if (rc < 0) {
        return rc;
    }
    for (uint32_t e = 0; e < b->n; e++) {
        count_example(a, b, e);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < a->n_tables; i++) {
        rc = admit(&a->table[i], &tables[i], a->k, err);
    }
    return rc < 0 ? rc : each_list(a, b, tables, give_rows, err);
}

/* ---- afterwards ---- */

int admission_note(struct admission *a, struct retention *z, uint32_t now, uint32_t today,
                   struct undine_err *err)
{
    for (uint32_t t = 0; t < a->n_tables; t++) {
        struct admission_table *w = &a->table[t];
        for (uint32_t i = 0; i < w->n; i++) {
            struct table_row *r = table_row(&w->waiting, w->row[i]);
            if (w->given[i] != 0) {
                continue;
            }
            r->count += w->instances[i];
            if (retention_on(z)) {
                retention_touch(z, a->n_tables + t, r, now, today);
            }
            r->stamp = now;
            r->seen_day = today;
        }
        for (uint32_t i = 0; i < w->n_admitted; i++) { /* which moves rows: after all else */
            int rc = admission_forget(a, z, t, w->admitted[i], err);
            if (rc < 0) {
                return rc;
            }
        }
        a->admitted += w->n_admitted;
        w->n = w->n_admitted = 0;
    }
    return UNDINE_OK;
}

int admission_forget(struct admission *a, struct retention *z, uint32_t table, uint64_t id,
                     struct undine_err *err)
{
    struct table *waiting = &a->table[table].waiting;
    uint32_t row = table_find(waiting, id);
    if (row != TABLE_NONE) {
        retention_forget(z, a->n_tables + table, table_row(waiting, row));
    }
    return table_erase(waiting, id, err);
}
