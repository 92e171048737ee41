/* apply_delta.h: what a delta means, told the plain way: the twin of every merge.  Both snapshots
 * are sorted.  Behind cmocka.h. */
#ifndef UNDINE_TESTS_APPLY_DELTA_H
#define UNDINE_TESTS_APPLY_DELTA_H

#include "learner/snapshot.h"

#include <stdlib.h>
#include <string.h>

static inline bool apply_delta_removed(const struct snapshot_table *d, uint64_t key)
{
    for (uint64_t i = 0; i < d->n_removed; i++) {
        if (d->removed[i] == key) {
            return true;
        }
    }
    return false;
}

static inline void apply_delta_put(struct snapshot_table *to, const struct snapshot_table *from,
                                   uint64_t row)
{
    uint64_t at = to->n_rows++;
    to->key[at] = from->key[row];
    to->count[at] = from->count[row];
    to->seen_day[at] = from->seen_day[row];
    to->stamp[at] = from->stamp[row];
    if (to->weight != NULL) {
        memcpy(to->weight + at * to->dim, from->weight + row * to->dim, to->dim * sizeof(float));
    }
    if (to->slot != NULL) {
        memcpy(to->slot + at * to->n_slots, from->slot + row * to->n_slots,
               to->n_slots * sizeof(float));
    }
}

static inline void apply_delta_table(struct arena *memory, struct snapshot_table *base,
                                     const struct snapshot_table *d)
{
    struct snapshot_table out = *base;
    uint64_t n = base->n_rows + d->n_rows + 1, i = 0, j = 0;
    out.n_rows = 0;
    out.key = arena_calloc(memory, n, sizeof *out.key);
    out.count = arena_calloc(memory, n, sizeof *out.count);
    out.seen_day = arena_calloc(memory, n, sizeof *out.seen_day);
    out.stamp = arena_calloc(memory, n, sizeof *out.stamp);
    out.weight = base->weight != NULL ? arena_calloc(memory, n, out.dim * sizeof(float)) : NULL;
    out.slot = base->slot != NULL ? arena_calloc(memory, n, out.n_slots * sizeof(float)) : NULL;
    while (i < base->n_rows || j < d->n_rows) {
        if (i < base->n_rows && (j == d->n_rows || base->key[i] < d->key[j])) {
            if (!apply_delta_removed(d, base->key[i])) {
                apply_delta_put(&out, base, i);
            }
            i++;
            continue;
        }
        i += i < base->n_rows && base->key[i] == d->key[j];
        assert_false(apply_delta_removed(d, d->key[j]));
        apply_delta_put(&out, d, j++);
    }
    *base = out;
}

static inline void apply_delta_arrays(struct snapshot *base, struct snapshot_array *to,
                                      const struct snapshot_array *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t bytes = (size_t)snapshot_array_bytes(&from[i]);
        to[i] = from[i];
        to[i].data = arena_alloc(&base->memory, bytes);
        assert_non_null(to[i].data);
        memcpy(to[i].data, from[i].data, bytes);
    }
}

/* base becomes the whole snapshot of the delta's moment. */
static inline void apply_delta(struct snapshot *base, const struct snapshot *d)
{
    assert_false(base->delta);
    assert_true(d->delta);
    assert_int_equal(base->n_tables, d->n_tables);
    assert_int_equal(base->n_waiting, d->n_waiting);
    for (uint32_t k = 0; k < d->n_tables; k++) {
        apply_delta_table(&base->memory, &base->table[k], &d->table[k]);
        base->row_init[k] = d->row_init[k];
    }
    for (uint32_t k = 0; k < d->n_waiting; k++) {
        apply_delta_table(&base->memory, &base->waiting[k], &d->waiting[k]);
    }
    apply_delta_arrays(base, base->dense, d->dense, base->n_dense = d->n_dense);
    apply_delta_arrays(base, base->train, d->train, base->n_train = d->n_train);
    base->metrics_json = arena_strndup(&base->memory, d->metrics_json, strlen(d->metrics_json));
    base->trained_seq = d->trained_seq;
    base->event_time_ms = d->event_time_ms;
    base->examples = d->examples;
    base->positives = d->positives;
    base->batches = d->batches;
}

static inline void assert_same_table(const struct snapshot_table *a, const struct snapshot_table *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->n_rows, b->n_rows);
    assert_memory_equal(a->key, b->key, a->n_rows * sizeof *a->key);
    assert_memory_equal(a->count, b->count, a->n_rows * sizeof *a->count);
    assert_memory_equal(a->seen_day, b->seen_day, a->n_rows * sizeof *a->seen_day);
    assert_memory_equal(a->stamp, b->stamp, a->n_rows * sizeof *a->stamp);
    assert_true((a->weight == NULL) == (b->weight == NULL) && a->raw == NULL && b->raw == NULL);
    if (a->weight != NULL) {
        assert_memory_equal(a->weight, b->weight, a->n_rows * a->dim * sizeof *a->weight);
    }
    if (a->n_slots > 0) {
        assert_memory_equal(a->slot, b->slot, a->n_rows * a->n_slots * sizeof *a->slot);
    }
}

static inline void assert_same_arrays(const struct snapshot_array *a, uint32_t n_a,
                                      const struct snapshot_array *b, uint32_t n_b)
{
    assert_int_equal(n_a, n_b);
    for (uint32_t i = 0; i < n_a; i++) {
        assert_string_equal(a[i].name, b[i].name);
        assert_true(a[i].type == b[i].type && a[i].rows == b[i].rows && a[i].cols == b[i].cols);
        assert_memory_equal(a[i].data, b[i].data, (size_t)snapshot_array_bytes(&a[i]));
    }
}

static inline void assert_same_snapshot(const struct snapshot *a, const struct snapshot *b)
{
    assert_true(a->trained_seq == b->trained_seq && a->event_time_ms == b->event_time_ms);
    assert_true(a->examples == b->examples && a->positives == b->positives);
    assert_int_equal(a->batches, b->batches);
    assert_int_equal(a->n_tables, b->n_tables);
    assert_int_equal(a->n_waiting, b->n_waiting);
    for (uint32_t k = 0; k < a->n_tables; k++) {
        assert_same_table(&a->table[k], &b->table[k]);
        assert_memory_equal(&a->row_init[k], &b->row_init[k], sizeof a->row_init[k]);
    }
    for (uint32_t k = 0; k < a->n_waiting; k++) {
        assert_same_table(&a->waiting[k], &b->waiting[k]);
    }
    assert_same_arrays(a->dense, a->n_dense, b->dense, b->n_dense);
    assert_same_arrays(a->train, a->n_train, b->train, b->n_train);
    assert_string_equal(a->metrics_json, b->metrics_json);
}

#endif
