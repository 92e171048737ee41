/* trainer_changes.c: what changed since the copy before, as a snapshot that is a delta.
 *
 * Tables know which rows were touched (table_changes.h) and which ids went (tombstones).  Rows are
 * copied in pieces, whenever some thousands are on the lists: right behind the batch that touched
 * them they are still in the caches, and little is left to do when a delta is asked for.  A row
 * that is touched again is copied again; snapshot_sort finds the newest.  A copy first lets the
 * sweep finish, so that no row in the tables is gone. */
#include "learner/trainer_state.h"

#include <stdio.h>
#include <string.h>

enum {
    AHEAD = 12,
    LINE_FLOATS = 16,
    PIECE_ROWS = 4096,        /* as many stay for the end: a fraction of a millisecond */
    PIECES_ROWS_MAX = 1 << 19 /* and so many are copied at most before a delta is asked for */
};

static struct table *table_at(struct trainer *t, uint32_t k)
{
    return k < t->schema.n_tables ? &t->table[k]
                                  : &t->admission.table[k - t->schema.n_tables].waiting;
}

static uint32_t n_tables_of(const struct trainer *t)
{
    return t->schema.n_tables + t->admission.n_tables;
}

static uint32_t steps_of(const struct trainer *t)
{
    return t->counters.steps < UINT32_MAX ? (uint32_t)t->counters.steps : UINT32_MAX;
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
    t->piece_rows = PIECE_ROWS;
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
    for (uint32_t k = 0; k < n_tables_of(t); k++) {
        struct table *table = table_at(t, k);
        table_tombstones_clear(table);
        table_changes_clear(&table->changes, steps_of(t));
    }
    trainer_changes_drop(t);
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
    r->local = (uint32_t)at; /* as admission.c does, which checks what it finds there */
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
    return out->key != NULL && out->count != NULL && out->seen_day != NULL && out->stamp != NULL &&
           (out->weight != NULL || !weights) && (out->slot != NULL || n_slots == 0);
}

/* What changed of the table since the piece before becomes the newest piece of `out`. */
static bool copy_piece(struct table *t, const char *name, bool weights, struct snapshot *s,
                       struct snapshot_table *out)
{
    struct snapshot_table piece, *older = NULL;
    if (out->n_rows > 0) {
        older = arena_alloc(&s->memory, sizeof *older);
        if (older == NULL) {
            return false;
        }
        *older = *out;
    }
    if (!columns_open(t, name, weights, s, &piece)) {
        return false;
    }
    for (size_t i = 0; i < AHEAD; i++) {
        prefetch(t, i);
    }
    for (size_t i = 0; i < t->changes.n; i++) {
        prefetch(t, i + AHEAD);
        struct table_row *r = next_changed(t, i, &piece);
        if (r != NULL) {
            copy_row(t, r, &piece);
        }
    }
    piece.older = older;
    *out = piece;
    return true;
}

static bool copy_pieces(struct trainer *t)
{
    uint32_t n = t->schema.n_tables;
    struct snapshot *s = t->open;
    bool ok = true;
    for (uint32_t k = 0; ok && k < n_tables_of(t); k++) {
        struct table *table = table_at(t, k);
        struct snapshot_table *out = k < n ? &s->table[k] : &s->waiting[k - n];
        ok = copy_piece(table, t->schema.tables[k < n ? k : k - n].name, k < n, s, out);
        t->open_rows += ok ? out->n_rows : 0;
    }
    return ok;
}

static bool begin(struct trainer *t)
{
    if (t->open == NULL) {
        (void)pthread_mutex_lock(&t->lock);
        t->open = t->spare;
        t->spare = NULL;
        (void)pthread_mutex_unlock(&t->lock);
        snapshot_clear(t->open);
        t->open_rows = 0;
    }
    t->open = t->open != NULL ? t->open : snapshot_new();
    return t->open != NULL;
}

static void all_lost(struct trainer *t)
{
    for (uint32_t k = 0; k < n_tables_of(t); k++) {
        table_at(t, k)->changes.lost = true;
    }
}

void trainer_changes_piece(struct trainer *t)
{
    size_t n = 0;
    if (!t->opt.changes) {
        return;
    }
    for (uint32_t k = 0; k < n_tables_of(t); k++) {
        n += table_at(t, k)->changes.n;
    }
    if (n < t->piece_rows || t->open_rows >= PIECES_ROWS_MAX || !known(t)) {
        return;
    }
    bool ok = begin(t) && copy_pieces(t);
    for (uint32_t k = 0; ok && k < n_tables_of(t); k++) {
        table_changes_clear(&table_at(t, k)->changes, steps_of(t));
    }
    if (!ok) {
        all_lost(t);
    }
}

static bool copy_removed(struct table *t, struct snapshot *s, struct snapshot_table *out)
{
    out->removed = arena_alloc(&s->memory, t->n_tombstones * sizeof *out->removed);
    for (size_t i = 0; out->removed != NULL && i < t->n_tombstones; i++) {
        if (table_find(t, t->tombstones[i]) == TABLE_NONE) {
            out->removed[out->n_removed++] = t->tombstones[i];
        }
    }
    return out->removed != NULL;
}

struct snapshot *trainer_changes_close(struct trainer *t)
{
    uint32_t n = t->schema.n_tables;
    bool ok = begin(t) && copy_pieces(t);
    struct snapshot *s = t->open;
    t->open = NULL;
    for (uint32_t k = 0; ok && k < n_tables_of(t); k++) {
        ok = copy_removed(table_at(t, k), s, k < n ? &s->table[k] : &s->waiting[k - n]);
    }
    if (!ok) {
        all_lost(t); /* the pieces are gone */
        snapshot_free(s);
        return NULL;
    }
    s->delta = true;
    s->n_tables = n;
    s->n_waiting = t->admission.n_tables;
    for (uint32_t k = 0; k < n; k++) {
        s->row_init[k] = t->table[k].opt.init;
    }
    return s;
}

void trainer_changes_drop(struct trainer *t)
{
    trainer_recycle(t, t->open);
    t->open = NULL;
}

void trainer_recycle(struct trainer *t, struct snapshot *s)
{
    struct snapshot *old = s;
    if (s != NULL && s->delta && s->mapped == NULL) {
        (void)pthread_mutex_lock(&t->lock);
        old = t->spare;
        t->spare = s;
        (void)pthread_mutex_unlock(&t->lock);
    }
    snapshot_free(old);
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
