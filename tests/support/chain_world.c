#include "tests/support/chain_world.h"

#include "tests/support/event_schema.h"
#include "tests/support/version_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(bool ok, const char *what, const struct undine_err *err)
{
    if (!ok) {
        (void)fprintf(stderr, "chain world: %s: %s\n", what, err != NULL ? err->msg : "");
        abort();
    }
}

static const struct version_fixture FIXTURE = {.seed = 77, .n_rows = 1, .trained_seq = 0};

/* ---- changing ---- */

static void touch(struct chain_world *w, struct chain_world_row *row)
{
    row->changed = true;
    row->count += 1.0f;
    row->seen_day = 19000 + (uint32_t)(w->step / 3);
    row->stamp = (uint32_t)w->step;
    for (size_t d = 0; d < CHAIN_WORLD_WIDTH; d++) {
        row->weight[d] = (float)(0.3 * random_normal(&w->random));
        row->slot[d] = (float)random_unit(&w->random);
    }
}

static void step_rows(struct chain_world *w, struct chain_world_row *row, uint32_t one_in)
{
    for (size_t i = 0; i < CHAIN_WORLD_IDS; i++) {
        if (random_below(&w->random, one_in) != 0) {
            continue;
        }
        bool stays = row[i].key == 0; /* the shared row does */
        if (row[i].there && !stays && random_below(&w->random, 3) == 0) {
            row[i].there = false;
            row[i].changed = true;
            row[i].count = 0;
        } else {
            row[i].there = true;
            touch(w, &row[i]);
        }
    }
}

void chain_world_step(struct chain_world *w, uint32_t one_in)
{
    w->step++;
    w->dense += 0.001f;
    for (size_t k = 0; k < CHAIN_WORLD_TABLES; k++) {
        step_rows(w, w->row[k], one_in);
        if (w->waiting) {
            step_rows(w, w->wait[k], one_in);
        }
    }
}

void chain_world_init(struct chain_world *w, uint64_t seed, bool waiting, bool shared)
{
    struct schema schema;
    memset(w, 0, sizeof *w);
    w->random = (struct random){seed};
    w->waiting = waiting;
    w->shared = shared;
    version_fixture_schema(&schema, &FIXTURE);
    for (size_t k = 0; k < CHAIN_WORLD_TABLES; k++) {
        for (uint32_t i = 0; i < CHAIN_WORLD_IDS; i++) {
            char text[16];
            int len = snprintf(text, sizeof text, "%u", i);
            uint64_t key = hash_feature(schema.tables[k].hash_seed, text, (size_t)len);
            w->row[k][i].key = w->wait[k][i].key = key;
        }
        if (shared) {
            w->row[k][0].key = 0;
            w->row[k][0].there = true;
            touch(w, &w->row[k][0]);
        }
    }
    chain_world_step(w, 2);
}

/* ---- taking ---- */

static void *zeroed(struct snapshot *s, size_t n, size_t size)
{
    void *p = arena_calloc(&s->memory, n + 1, size);
    require(p != NULL, "memory", NULL);
    return p;
}

static void add_row(struct snapshot_table *t, const struct chain_world_row *row, bool waits)
{
    uint64_t at = t->n_rows++;
    t->key[at] = row->key;
    t->count[at] = row->count;
    t->seen_day[at] = row->seen_day;
    t->stamp[at] = row->stamp;
    if (!waits) {
        memcpy(t->weight + at * t->dim, row->weight, t->dim * sizeof *t->weight);
        memcpy(t->slot + at * t->n_slots, row->slot, t->n_slots * sizeof *t->slot);
    }
}

static void take_table(struct snapshot *s, struct snapshot_table *t, const char *name,
                       const struct chain_world_row *row, uint32_t dim)
{
    bool waits = dim == 0;
    *t = (struct snapshot_table){.dim = dim, .n_slots = dim};
    memcpy(t->name, name, strlen(name) + 1);
    t->key = zeroed(s, CHAIN_WORLD_IDS, sizeof *t->key);
    t->count = zeroed(s, CHAIN_WORLD_IDS, sizeof *t->count);
    t->seen_day = zeroed(s, CHAIN_WORLD_IDS, sizeof *t->seen_day);
    t->stamp = zeroed(s, CHAIN_WORLD_IDS, sizeof *t->stamp);
    t->removed = zeroed(s, CHAIN_WORLD_IDS, sizeof *t->removed);
    if (!waits) {
        t->weight = zeroed(s, CHAIN_WORLD_IDS, dim * sizeof *t->weight);
        t->slot = zeroed(s, CHAIN_WORLD_IDS, dim * sizeof *t->slot);
    }
    for (size_t i = CHAIN_WORLD_IDS; i > 0; i--) { /* not in the order of the ids */
        const struct chain_world_row *r = &row[i - 1];
        if (s->delta && !r->changed) {
            continue;
        }
        if (r->there) {
            add_row(t, r, waits);
        } else if (s->delta) {
            t->removed[t->n_removed++] = r->key;
        }
    }
}

static struct snapshot *take(const struct chain_world *w, bool delta)
{
    struct snapshot *s = version_fixture_snapshot(&FIXTURE);
    s->delta = delta;
    s->trained_seq = s->examples = 10 * w->step;
    s->event_time_ms = 1650812741436 + (int64_t)w->step;
    for (uint32_t k = 0; k < s->n_tables; k++) {
        const char *name = s->schema.tables[k].name;
        uint32_t dim = model_row_width(&s->schema, &s->model, k);
        require(dim <= CHAIN_WORLD_WIDTH, "width", NULL);
        take_table(s, &s->table[k], name, w->row[k], dim);
        if (w->waiting) {
            take_table(s, &s->waiting[k], name, w->wait[k], 0);
        }
    }
    s->n_waiting = w->waiting ? s->n_tables : 0;
    for (uint32_t i = 0; i < s->n_dense; i++) {
        float *x = s->dense[i].data;
        for (uint64_t d = 0; d < s->dense[i].rows * s->dense[i].cols; d++) {
            x[d] += w->dense;
        }
    }
    return s;
}

static void forget(struct chain_world *w)
{
    for (size_t k = 0; k < CHAIN_WORLD_TABLES; k++) {
        for (size_t i = 0; i < CHAIN_WORLD_IDS; i++) {
            w->row[k][i].changed = w->wait[k][i].changed = false;
        }
    }
}

struct snapshot *chain_world_full(struct chain_world *w)
{
    struct snapshot *s = take(w, false);
    forget(w);
    return s;
}

struct snapshot *chain_world_delta(struct chain_world *w)
{
    struct snapshot *s = take(w, true);
    forget(w);
    return s;
}

struct snapshot *chain_world_look(const struct chain_world *w)
{
    return take(w, false);
}

/* ---- comparing ---- */

static bool same_bytes(const void *a, const void *b, uint64_t n, size_t size)
{
    return (n == 0 || size == 0) || (a == NULL) == (b == NULL)
               ? n == 0 || a == NULL || memcmp(a, b, n * size) == 0
               : false;
}

static void same_table(const struct snapshot_table *a, const struct snapshot_table *b)
{
    require(strcmp(a->name, b->name) == 0 && a->dim == b->dim && a->n_rows == b->n_rows, a->name,
            NULL);
    uint64_t n = a->n_rows;
    require(a->n_slots == b->n_slots, "slots", NULL);
    require(same_bytes(a->key, b->key, n, sizeof *a->key), "keys", NULL);
    require(same_bytes(a->weight, b->weight, n, a->dim * sizeof *a->weight), "rows", NULL);
    require(same_bytes(a->slot, b->slot, n, a->n_slots * sizeof *a->slot), "slot", NULL);
    require(same_bytes(a->count, b->count, n, sizeof *a->count), "count", NULL);
    require(same_bytes(a->seen_day, b->seen_day, n, sizeof *a->seen_day), "seen_day", NULL);
    require(same_bytes(a->stamp, b->stamp, n, sizeof *a->stamp), "stamp", NULL);
}

static void same_arrays(const struct snapshot_array *a, uint32_t n_a,
                        const struct snapshot_array *b, uint32_t n_b)
{
    require(n_a == n_b, "number of arrays", NULL);
    for (uint32_t i = 0; i < n_a; i++) {
        const struct snapshot_array *other = snapshot_find(b, n_b, a[i].name);
        require(other != NULL && other->type == a[i].type && other->rows == a[i].rows &&
                    other->cols == a[i].cols &&
                    memcmp(a[i].data, other->data, snapshot_array_bytes(&a[i])) == 0,
                a[i].name, NULL);
    }
}

void chain_world_same(const struct snapshot *a, const struct snapshot *b)
{
    require(a->trained_seq == b->trained_seq && a->event_time_ms == b->event_time_ms &&
                a->examples == b->examples && a->n_tables == b->n_tables &&
                a->n_waiting == b->n_waiting,
            "numbers", NULL);
    for (uint32_t k = 0; k < a->n_tables; k++) {
        same_table(&a->table[k], &b->table[k]);
    }
    for (uint32_t k = 0; k < a->n_waiting; k++) {
        same_table(&a->waiting[k], &b->waiting[k]);
    }
    same_arrays(a->dense, a->n_dense, b->dense, b->n_dense);
    same_arrays(a->train, a->n_train, b->train, b->n_train);
}

/* ---- writing ---- */

void chain_world_write(struct chain_world *w, const char *dir, struct version_chain **chain,
                       bool delta, bool publish, struct version_info *info)
{
    struct undine_err err = {0};
    struct version_info local;
    struct version_extra extra = {.config_digest = 5, .created_ms = 1000 + (int64_t)w->step};
    struct version_chain *next = NULL;
    struct snapshot *s = delta ? chain_world_delta(w) : chain_world_full(w);
    info = info != NULL ? info : &local;
    int rc = delta ? version_write_delta(dir, s, *chain, &extra, publish, info, &err)
                   : version_write(dir, s, &extra, publish, info, &err);
    require(rc == UNDINE_OK, "write", &err);
    rc = version_chain_open(&next, dir, info->name, *chain, true, &err);
    require(rc == UNDINE_OK, "open", &err);
    version_chain_close(*chain);
    *chain = next;
    snapshot_free(s);
}
