#include "learner/snapshot_join.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct place {
    uint64_t key;
    const struct snapshot_table *piece;
    uint32_t row, age; /* of the piece: 0 = the newest */
};

static int by_key_and_age(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key)
                            : (x->age > y->age) - (x->age < y->age);
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* One place for each id that is there; returns how many. */
static uint64_t choose(const struct snapshot_table *t, struct place *at, uint64_t n)
{
    uint64_t kept = 0;
    qsort(at, n, sizeof *at, by_key_and_age);
    for (uint64_t i = 0; i < n; i++) {
        bool older = i > 0 && at[i - 1].key == at[i].key;
        bool removed = !older && t->n_removed > 0 &&
                       bsearch(&at[i].key, t->removed, t->n_removed, sizeof *t->removed, by_id);
        at[i].piece = older || removed ? NULL : at[i].piece;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (at[i].piece != NULL) {
            at[kept++] = at[i];
        }
    }
    return kept;
}

static bool columns(struct arena *memory, const struct snapshot_table *t, uint64_t n,
                    struct snapshot_table *out)
{
    *out = *t;
    out->older = NULL;
    out->n_rows = n;
    out->key = arena_alloc(memory, n * sizeof *out->key);
    out->count = arena_alloc(memory, n * sizeof *out->count);
    out->seen_day = arena_alloc(memory, n * sizeof *out->seen_day);
    out->stamp = arena_alloc(memory, n * sizeof *out->stamp);
    out->weight = t->weight != NULL ? arena_alloc(memory, n * t->dim * sizeof *out->weight) : NULL;
    out->slot = t->slot != NULL ? arena_alloc(memory, n * t->n_slots * sizeof *out->slot) : NULL;
    return out->key != NULL && out->count != NULL && out->seen_day != NULL && out->stamp != NULL &&
           (out->weight != NULL || t->weight == NULL) && (out->slot != NULL || t->slot == NULL);
}

static void copy(struct snapshot_table *out, uint64_t i, const struct place *from)
{
    const struct snapshot_table *t = from->piece;
    uint64_t row = from->row;
    out->key[i] = t->key[row];
    out->count[i] = t->count[row];
    out->seen_day[i] = t->seen_day[row];
    out->stamp[i] = t->stamp[row];
    if (out->weight != NULL) {
        memcpy(out->weight + i * out->dim, t->weight + row * out->dim, out->dim * sizeof(float));
    }
    if (out->slot != NULL) {
        memcpy(out->slot + i * out->n_slots, t->slot + row * out->n_slots,
               out->n_slots * sizeof(float));
    }
}

int snapshot_join(struct arena *memory, struct snapshot_table *t, struct undine_err *err)
{
    uint64_t n = 0;
    uint32_t age = 0;
    for (const struct snapshot_table *p = t; p != NULL; p = p->older) {
        n += p->n_rows;
    }
    struct place *at = calloc(n + 1, sizeof *at), *end = at;
    for (const struct snapshot_table *p = t; at != NULL && p != NULL; p = p->older, age++) {
        for (uint32_t i = 0; i < p->n_rows; i++) {
            *end++ = (struct place){.key = p->key[i], .piece = p, .row = i, .age = age};
        }
    }
    struct snapshot_table out;
    bool ok = at != NULL && columns(memory, t, n = choose(t, at, n), &out);
    for (uint64_t i = 0; ok && i < n; i++) {
        copy(&out, i, &at[i]);
    }
    if (ok) {
        *t = out;
    }
    free(at);
    return ok ? UNDINE_OK
              : undine_err_set(err, UNDINE_ENOMEM, "no memory for %" PRIu64 " changed rows", n);
}
