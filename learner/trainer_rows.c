/* trainer_rows.c: which rows there are: what happens to the tables before and after a batch learns.
 */
#include "learner/trainer_state.h"

enum { DAY_MS = 86400000 };

static uint32_t day_of(int64_t time_ms)
{
    int64_t day = time_ms / DAY_MS;
    return time_ms < 0 ? 0 : day > UINT32_MAX ? UINT32_MAX : (uint32_t)day;
}

uint32_t trainer_now(const struct trainer *t)
{
    return t->counters.steps < UINT32_MAX ? (uint32_t)t->counters.steps + 1 : UINT32_MAX;
}

uint32_t trainer_today(const struct trainer *t)
{
    return day_of(t->builder->last_emit_ms);
}

int trainer_rows_open(struct trainer *t, struct undine_err *err)
{
    struct table *tables[2 * SCHEMA_TABLES_MAX];
    uint32_t n = 0;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        tables[n++] = &t->table[k];
    }
    for (uint32_t k = 0; k < t->admission.n_tables; k++) {
        tables[n++] = &t->admission.table[k].waiting;
    }
    struct retention_options opt = {.full = t->opt.memory_full,
                                    .memory_max_bytes = t->opt.memory_max_bytes};
    if (t->opt.expire_after_ms > 0) {
        opt.expire_days = day_of(t->opt.expire_after_ms + DAY_MS - 1);
    }
    return retention_init(&t->retention, &opt, tables, t->schema.n_tables, n, err);
}

int trainer_rows_begin(struct trainer *t, struct undine_err *err)
{
    return retention_begin(&t->retention, trainer_now(t), trainer_today(t), err);
}

/* What a skipped batch made new has no stamp yet. */
static void touch_new(struct trainer *t, uint32_t now)
{
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        const struct batch_builder_table *rows = &t->builder->table[k];
        for (uint32_t i = 0; i < rows->n_rows; i++) {
            struct table_row *r = table_row(&t->table[k], rows->row[i]);
            if (r->stamp == 0) {
                retention_touch(&t->retention, k, r, now, trainer_today(t));
            }
        }
    }
}

int trainer_rows_end(struct trainer *t, uint32_t now, bool learned, struct undine_err *err)
{
    int rc = admission_note(&t->admission, &t->retention, now, trainer_today(t), err);
    if (rc < 0 || !retention_on(&t->retention)) {
        return rc;
    }
    if (!learned) {
        touch_new(t, now);
    }
    retention_evict(&t->retention, now);
    return retention_sweep(&t->retention, false, err);
}

int trainer_rows_forget(struct trainer *t, uint32_t table, uint64_t id, struct undine_err *err)
{
    uint32_t row = table_find(&t->table[table], id);
    if (row != TABLE_NONE) {
        retention_forget(&t->retention, table, table_row(&t->table[table], row));
    }
    int rc = table_erase(&t->table[table], id, err);
    if (rc < 0 || !admission_on(t->admission.k)) {
        return rc;
    }
    int waited = admission_forget(&t->admission, &t->retention, table, id, err);
    return waited < 0 ? waited : rc || waited;
}
