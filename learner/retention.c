#include "learner/retention.h"

#include <stdlib.h>
#include <string.h>

enum {
    PARTS = 32,
    LIVE_PARTS = 28,       /* of the budget: what lives is cut back when it passes them */
    SWEEP = PARTS,         /* bytes of rows looked at for each byte of new rows */
    SWEEP_ROWS_MIN = 2048, /* looked at after a batch in any case */
    INDEX_ROW_BYTES = 27,  /* 8 a slot, pages at least 30 % full (table_index.h) */
    STEPS_MIN = 1024
};

/* What tables hold beside their rows: segments that are not full, one in reserve, a first page. */
static uint64_t fixed_bytes(const struct retention *z)
{
    uint64_t bytes = 0;
    for (uint32_t k = 0; k < z->n_tables; k++) {
        bytes += 2 * TABLE_SEGMENT_ROWS * z->table[k]->row_bytes;
        bytes += 2 * sizeof(struct table_index_page);
    }
    return bytes;
}

int retention_init(struct retention *z, const struct retention_options *opt,
                   struct table *const *tables, uint32_t n_row_tables, uint32_t n_tables,
                   struct undine_err *err)
{
    *z = (struct retention){.opt = *opt, .n_row_tables = n_row_tables, .n_tables = n_tables};
    memcpy(z->table, tables, n_tables * sizeof(struct table *));
    uint64_t fixed = fixed_bytes(z), max = opt->memory_max_bytes;
    if (opt->full == RETENTION_EVICT && max < 2 * fixed) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "memory_max is %llu bytes, expected at least %llu to evict rows of "
                              "%u tables",
                              (unsigned long long)max, (unsigned long long)(2 * fixed),
                              n_row_tables);
    }
    z->part_bytes = max > fixed ? (max - fixed) / PARTS : 0;
    return UNDINE_OK;
}

void retention_release(struct retention *z)
{
    if (z != NULL) {
        free(z->step);
        *z = (struct retention){0};
    }
}

uint64_t retention_row_bytes(const struct retention *z, uint32_t k)
{
    return z->table[k]->row_bytes + INDEX_ROW_BYTES;
}

static struct retention_step *step_of(const struct retention *z, uint32_t step)
{
    return &z->step[step & (z->capacity - 1)];
}

/* Let the ring reach to this step. */
static int reach(struct retention *z, uint32_t step, struct undine_err *err)
{
    uint64_t needed = (uint64_t)step - z->gone;
    uint32_t capacity = z->capacity > 0 ? z->capacity : STEPS_MIN;
    while (capacity < needed && capacity <= UINT32_MAX / 2) {
        capacity *= 2;
    }
    if (capacity > z->capacity) {
        struct retention_step *grown = calloc(capacity, sizeof *grown);
        if (grown == NULL || capacity < needed) {
            free(grown);
            return undine_err_set(err, UNDINE_ENOMEM, "no memory for %llu training steps",
                                  (unsigned long long)needed);
        }
        for (uint32_t s = z->gone; s < z->newest; s++) {
            grown[(s + 1) & (capacity - 1)] = *step_of(z, s + 1);
        }
        free(z->step);
        z->step = grown;
        z->capacity = capacity;
    }
    for (; z->newest < step; z->newest++) {
        *step_of(z, z->newest + 1) = (struct retention_step){0};
    }
    return UNDINE_OK;
}

static void count(struct retention *z, uint32_t k, uint32_t step, uint32_t day)
{
    struct retention_step *s = step_of(z, step);
    uint64_t bytes = retention_row_bytes(z, k);
    s->bytes += bytes;
    s->rows += k < z->n_row_tables;
    s->waiting += k >= z->n_row_tables;
    s->day = day;
    z->live_bytes += bytes;
}

void retention_forget(struct retention *z, uint32_t k, const struct table_row *r)
{
    if (!retention_on(z) || r->stamp <= z->gone || r->key == 0) {
        return;
    }
    struct retention_step *s = step_of(z, r->stamp);
    uint64_t bytes = retention_row_bytes(z, k);
    s->bytes -= bytes;
    s->rows -= k < z->n_row_tables;
    s->waiting -= k >= z->n_row_tables;
    z->live_bytes -= bytes;
}

void retention_touch(struct retention *z, uint32_t k, struct table_row *r, uint32_t step,
                     uint32_t day)
{
    UNDINE_ASSERT(step > z->gone && step <= z->newest);
    if (r->stamp != step && r->key != 0) {
        retention_forget(z, k, r);
        count(z, k, step, day);
    }
    r->stamp = step;
    r->seen_day = day;
}

static uint64_t inserted_bytes(const struct retention *z)
{
    uint64_t bytes = 0;
    for (uint32_t k = 0; k < z->n_tables; k++) {
        bytes += z->table[k]->n_inserted * retention_row_bytes(z, k);
    }
    return bytes;
}

int retention_restore(struct retention *z, struct undine_err *err)
{
    if (!retention_on(z)) {
        return UNDINE_OK;
    }
    uint32_t oldest = UINT32_MAX, newest = 1;
    for (uint32_t k = 0; k < z->n_tables; k++) {
        for (uint32_t row = 0; row < z->table[k]->n_rows; row++) {
            struct table_row *r = table_row(z->table[k], row);
            if (r->key == 0) {
                continue;
            }
            z->restamped |= r->stamp == 0;
            r->stamp = r->stamp > 0 ? r->stamp : 1; /* never learned: among the oldest there are */
            oldest = r->stamp < oldest ? r->stamp : oldest;
            newest = r->stamp > newest ? r->stamp : newest;
        }
    }
    z->gone = z->newest = oldest == UINT32_MAX ? 0 : oldest - 1;
    int rc = reach(z, newest, err);
    for (uint32_t k = 0; rc == UNDINE_OK && k < z->n_tables; k++) {
        for (uint32_t row = 0; row < z->table[k]->n_rows; row++) {
            const struct table_row *r = table_row(z->table[k], row);
            if (r->key != 0) {
                count(z, k, r->stamp, r->seen_day);
            }
        }
    }
    z->inserted_bytes = inserted_bytes(z);
    return rc;
}

/* ---- what goes ---- */

/* Move T on by one step; adds its rows to *rows. */
static void pass(struct retention *z, uint64_t *rows)
{
    const struct retention_step *s = step_of(z, ++z->gone);
    z->live_bytes -= s->bytes;
    *rows += s->rows;
    z->counters.waiting_dropped += s->waiting; /* DROP(id_waiting) */
    z->dead[0] += s->rows;
    z->dead[1] += s->waiting;
}

/* Tell the tables how far T is, if rows went. */
static void announce(struct retention *z, uint64_t dead_before)
{
    if (z->dead[0] + z->dead[1] == dead_before) {
        return;
    }
    for (uint32_t k = 0; k < z->n_tables; k++) {
        z->table[k]->gone = z->gone;
    }
    z->again = z->sweeping;
    if (!z->sweeping) {
        z->sweeping = true;
        z->sweep_table = 0;
        z->sweep_row = UINT32_MAX;
    }
}

static void expire(struct retention *z, uint32_t now, uint32_t today)
{
    uint64_t dead = z->dead[0] + z->dead[1];
    while (z->gone + 1 < now && z->gone < z->newest) {
        const struct retention_step *s = step_of(z, z->gone + 1);
        bool old = today > s->day && today - s->day > z->opt.expire_days;
        if (!old && s->bytes > 0) {
            break;
        }
        pass(z, &z->counters.rows_expired); /* DROP(row_expired) */
    }
    announce(z, dead);
}

int retention_begin(struct retention *z, uint32_t now, uint32_t today, struct undine_err *err)
{
    if (!retention_on(z)) {
        return UNDINE_OK;
    }
    if (z->opt.expire_days > 0) {
        expire(z, now, today);
    }
    return reach(z, now, err);
}

void retention_evict(struct retention *z, uint32_t now)
{
    uint64_t part = z->part_bytes, dead = z->dead[0] + z->dead[1];
    if (z->opt.full != RETENTION_EVICT || z->live_bytes <= LIVE_PARTS * part) {
        return;
    }
    while (z->gone + 1 < now && z->gone < z->newest && z->live_bytes > (LIVE_PARTS - 1) * part) {
        pass(z, &z->counters.rows_evicted); /* DROP(row_evicted) */
    }
    announce(z, dead);
}

/* ---- taking the memory back ---- */

/* Look at rows of the table that the sweep is at, for as many bytes as *left says. */
static int sweep_table(struct retention *z, uint64_t *left, struct undine_err *err)
{
    struct table *t = z->table[z->sweep_table];
    uint64_t cost = retention_row_bytes(z, z->sweep_table);
    uint32_t row = z->sweep_row < t->n_rows ? z->sweep_row : t->n_rows;
    int rc = UNDINE_OK;
    /* Downwards: the row that takes a free place comes from the end, where the sweep has been. */
    while (rc == UNDINE_OK && row > 0 && *left > 0) {
        row--;
        if (table_gone(t, table_row(t, row))) {
            rc = table_sweep_row(t, row, err);
        }
        *left -= *left < cost ? *left : cost;
    }
    z->sweep_row = row;
    return rc;
}

int retention_sweep(struct retention *z, bool whole, struct undine_err *err)
{
    uint64_t inserted = inserted_bytes(z), least = 0;
    for (uint32_t k = 0; k < z->n_tables; k++) {
        uint64_t bytes = SWEEP_ROWS_MIN * retention_row_bytes(z, k);
        least = bytes > least ? bytes : least;
    }
    uint64_t left = whole ? UINT64_MAX : SWEEP * (inserted - z->inserted_bytes) + least;
    z->inserted_bytes = inserted;
    int rc = UNDINE_OK;
    while (rc == UNDINE_OK && z->sweeping && left > 0) {
        rc = sweep_table(z, &left, err);
        if (rc < 0 || z->sweep_row > 0) {
            continue;
        }
        z->sweep_row = UINT32_MAX;
        if (++z->sweep_table == z->n_tables) {
            z->sweep_table = 0;
            z->sweeping = z->again;
            z->again = false;
        }
    }
    return rc;
}

uint64_t retention_unswept(const struct retention *z, bool waiting)
{
    uint64_t gone = 0;
    uint32_t from = waiting ? z->n_row_tables : 0, end = waiting ? z->n_tables : z->n_row_tables;
    for (uint32_t k = from; k < end; k++) {
        gone += z->table[k]->n_removed;
    }
    return z->dead[waiting] - gone;
}
