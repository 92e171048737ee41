/* trainer_changes.c: what changed since the copy before, as a snapshot that is a delta.
 *
 * Tables know which rows were touched (table_changes.h) and which ids went (tombstones).  A copy
 * first lets the sweep finish, so that no row in the tables is gone; rows are then gathered in the
 * order of their first touch, which prefetching makes a walk and not a search. */
#include "learner/trainer_state.h"

#include <stdio.h>
#include <string.h>

enum { AHEAD = 12, LINE_FLOATS = 16 };

static struct table *table_at(struct trainer *t, uint32_t k)
{
    return k < t->schema.n_tables ? &t->table[k]
                                  : &t->admission.table[k - t->schema.n_tables].waiting;
}

static uint32_t n_tables_of(const struct trainer *t)
{
    return t->schema.n_tables + t->admission.n_tables;
}

/* The n-th of all states that follow from their operations; NULL behind the last. */
static struct op_log *log_at(struct trainer *t, uint32_t n)
{
    struct op_log *const first[] = {&t->metrics.log, &t->popularity_metrics.log, &t->popularity.log,
                                    &t->frozen_metrics.log};
    enum { N_FIRST = sizeof first / sizeof first[0] };
    if (n < N_FIRST) {
        return first[n];
    }
    return n - N_FIRST < t->opt.slices.n ? &t->slices.metrics[n - N_FIRST].log : NULL;
}

static void logs_clear(struct trainer *t, bool lost)
{
    for (uint32_t i = 0; log_at(t, i) != NULL; i++) {
        op_log_clear(log_at(t, i));
        log_at(t, i)->lost = lost;
    }
}

void trainer_changes_open(struct trainer *t)
{
    for (uint32_t i = 0; t->opt.changes && log_at(t, i) != NULL; i++) {
        log_at(t, i)->on = true;
        log_at(t, i)->lost = true;
    }
    for (uint32_t k = 0; t->opt.changes && k < n_tables_of(t); k++) {
        struct table *table = table_at(t, k);
        table->changes.on = true;
        table->changes.lost = true; /* since never: nothing was copied yet */
        table->opt.silent = false;
    }
}

void trainer_changes_begin(struct trainer *t)
{
    uint64_t steps = t->counters.steps;
    for (uint32_t k = 0; k < n_tables_of(t); k++) {
        struct table *table = table_at(t, k);
        table_tombstones_clear(table);
        table_changes_clear(&table->changes, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    }
    logs_clear(t, false);
}

void trainer_changes_restored(struct trainer *t, const struct snapshot *s)
{
    bool same = s->n_waiting == t->admission.n_tables && !t->retention.restamped;
    for (uint32_t k = 0; same && k < t->schema.n_tables; k++) {
        same = t->table[k].n_rows == s->table[k].n_rows && s->table[k].raw == NULL;
    }
    for (uint32_t k = 0; same && k < t->admission.n_tables; k++) {
        same = t->admission.table[k].waiting.n_rows == s->waiting[k].n_rows;
    }
    trainer_changes_begin(t);
    logs_clear(t, true); /* nobody has made a shadow of what was restored */
    for (uint32_t k = 0; !same && k < n_tables_of(t); k++) {
        table_at(t, k)->changes.lost = true;
    }
}

static bool known(struct trainer *t)
{
    bool known = t->opt.changes;
    for (uint32_t k = 0; known && k < n_tables_of(t); k++) {
        known = !table_at(t, k)->changes.lost;
    }
    return known;
}

static void prefetch(const struct table *t, size_t i)
{
    const struct table_changes *c = &t->changes;
    if (i < c->n && c->row[i] < t->n_rows) {
        const struct table_row *r = table_row(t, c->row[i]);
        size_t floats = (size_t)t->opt.dim + t->opt.n_slots;
        __builtin_prefetch(r, 1);
        for (size_t at = LINE_FLOATS - 6; at < floats + LINE_FLOATS - 1; at += LINE_FLOATS) {
            __builtin_prefetch(r->value + (at < floats ? at : floats - 1));
        }
    }
}

/* The row that the list names at i, if it has changed and is not among the first n of out. */
static struct table_row *next_changed(const struct table *t, size_t i,
                                      const struct snapshot_table *out)
{
    const struct table_changes *c = &t->changes;
    if (c->row[i] >= t->n_rows) {
        return NULL;
    }
    struct table_row *r = table_row(t, c->row[i]);
    if (!table_changes_stamped(c, r->stamp) ||
        (r->local < out->n_rows && out->key[r->local] == r->key)) {
        return NULL;
    }
    return r;
}

static void copy_row(const struct table *t, struct table_row *r, struct snapshot_table *out)
{
    size_t at = out->n_rows++, dim = out->dim, n_slots = out->n_slots;
    r->local = (uint32_t)at; /* as the batch builder does, which checks what it finds there */
    out->key[at] = r->key;
    out->count[at] = r->count;
    out->seen_day[at] = r->seen_day;
    out->stamp[at] = r->stamp;
    if (out->weight != NULL) {
        memcpy(out->weight + at * dim, r->value, dim * sizeof(float));
    }
    if (n_slots > 0) {
        memcpy(out->slot + at * n_slots, r->value + t->opt.dim, n_slots * sizeof(float));
    }
}

static bool columns_open(const struct table *t, const char *name, bool weights, struct snapshot *s,
                         struct snapshot_table *out)
{
    size_t n = t->changes.n, dim = t->opt.dim, n_slots = t->opt.n_slots;
    struct arena *m = &s->memory;
    *out = (struct snapshot_table){.dim = t->opt.dim, .n_slots = t->opt.n_slots};
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    out->key = arena_alloc(m, n * sizeof *out->key);
    out->count = arena_alloc(m, n * sizeof *out->count);
    out->seen_day = arena_alloc(m, n * sizeof *out->seen_day);
    out->stamp = arena_alloc(m, n * sizeof *out->stamp);
    out->weight = weights ? arena_alloc(m, n * dim * sizeof *out->weight) : NULL;
    out->slot = n_slots > 0 ? arena_alloc(m, n * n_slots * sizeof *out->slot) : NULL;
    out->removed = arena_alloc(m, t->n_tombstones * sizeof *out->removed);
    return out->key != NULL && out->count != NULL && out->seen_day != NULL && out->stamp != NULL &&
           (out->weight != NULL || !weights) && (out->slot != NULL || n_slots == 0) &&
           out->removed != NULL;
}

static bool copy_changed(struct table *t, const char *name, bool weights, struct snapshot *s,
                         struct snapshot_table *out)
{
    if (!columns_open(t, name, weights, s, out)) {
        return false;
    }
    for (size_t i = 0; i < AHEAD; i++) {
        prefetch(t, i);
    }
    for (size_t i = 0; i < t->changes.n; i++) {
        prefetch(t, i + AHEAD);
        struct table_row *r = next_changed(t, i, out);
        if (r != NULL) {
            copy_row(t, r, out);
        }
    }
    for (size_t i = 0; i < t->n_tombstones; i++) {
        if (table_find(t, t->tombstones[i]) == TABLE_NONE) {
            out->removed[out->n_removed++] = t->tombstones[i];
        }
    }
    return true;
}

bool trainer_copy_changes(struct trainer *t, struct snapshot *s)
{
    bool ok = true;
    s->delta = true;
    s->n_tables = t->schema.n_tables;
    s->n_waiting = t->admission.n_tables;
    for (uint32_t k = 0; ok && k < s->n_tables; k++) {
        s->row_init[k] = t->table[k].opt.init;
        ok = copy_changed(&t->table[k], t->schema.tables[k].name, true, s, &s->table[k]);
    }
    for (uint32_t k = 0; ok && k < s->n_waiting; k++) {
        ok = copy_changed(&t->admission.table[k].waiting, t->schema.tables[k].name, false, s,
                          &s->waiting[k]);
    }
    return ok;
}

int trainer_changes(struct trainer *t, struct snapshot **out, struct undine_err *err)
{
    return known(t) ? trainer_copy(t, true, out, err) : 0;
}

int trainer_settle(struct trainer *t, struct undine_err *err)
{
    int rc = retention_sweep(&t->retention, false, err);
    return rc < 0 ? rc : !t->retention.sweeping;
}
