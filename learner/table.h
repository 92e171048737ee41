/* table.h: an embedding table that grows: from 64-bit id to a row of floats, without collisions.
 *
 * Every id has a row of its own.  Rows are numbered without gaps and live in segments of fixed
 * size; an index of pages (table_index.h) finds them.  Growing adds a segment or splits a page:
 * what one insert copies or clears has a bound (table_index.h), however large the table is.  A row
 * stays where it is, except that table_erase moves the last row to the place that became free, so
 * that memory goes back as rows go: hold no row number across an erase.
 *
 * A row starts as row_initial says: a function of seed and id alone, so it does not matter when an
 * id was first seen.  Row numbers are an accident of arrival: nothing that becomes part of a model
 * may depend on them.
 *
 * A table may have a shared row, which stands for every id that has none of its own (admission.h).
 * Its id is 0, which is no id's (hash_feature); it is row 0 from the beginning, and never gone.
 *
 * All tables of a trainer draw on one budget of bytes; a table that would pass it refuses to grow
 * (UNDINE_EFULL) and stays as it is.  Learner thread. */
#ifndef UNDINE_LEARNER_TABLE_H
#define UNDINE_LEARNER_TABLE_H

#include "base/err.h"
#include "learner/model/row.h"
#include "learner/table_changes.h"
#include "learner/table_index.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_SEGMENT_BITS = 10, TABLE_SEGMENT_ROWS = 1 << TABLE_SEGMENT_BITS };
#define TABLE_NONE UINT32_MAX

struct table_row {
    uint64_t key;      /* the id */
    uint32_t seen_day; /* event day (days since the epoch) of the last touch */
    float count;       /* n_j: instances that held the id so far */
    uint32_t stamp;    /* training step of the last touch, at most UINT32_MAX; 0 = never learned */
    uint32_t local;    /* scratch: index in the list that last held it (admission, changes) */
    float value[];     /* weight (dim), then optimizer slots (n_slots) */
};

struct table_options {
    uint32_t dim;       /* floats of a row's weights (model_row_width) */
    uint32_t n_slots;   /* floats of optimizer state a row */
    float slot_initial; /* their first value */
    bool silent;        /* what is erased leaves no tombstone */
    bool shared;        /* row 0 is the shared one */
    struct row_init init;
};

struct table {
    struct table_options opt;
    struct table_account account; /* of the segments */
    size_t row_bytes;
    uint8_t **segments; /* (segments_max), as many as the budget allows: never copied */
    size_t n_segments, segments_max;
    uint32_t n_rows; /* rows that are gone and not swept yet included */
    uint32_t gone;   /* rows last touched at this step or before are gone (retention.h); 0 = none */
    uint64_t n_inserted,
        n_removed; /* rows made; rows taken away or made anew after they were gone */
    struct table_index index;
    struct table_changes changes;
    uint64_t *tombstones; /* ids erased since table_tombstones_clear */
    size_t n_tombstones, tombstones_capacity;
};

int table_init(struct table *t, const struct table_options *opt, struct table_budget *budget,
               struct undine_err *err);
void table_release(struct table *t); /* NULL-safe, and fine on a zeroed table */

static inline struct table_row *table_row(const struct table *t, uint32_t row)
{
    return (struct table_row *)(void *)(t->segments[row >> TABLE_SEGMENT_BITS] +
                                        (row & (TABLE_SEGMENT_ROWS - 1)) * t->row_bytes);
}

static inline uint64_t table_bytes(const struct table *t)
{
    return t->account.bytes + t->index.account.bytes;
}

static inline bool table_gone(const struct table *t, const struct table_row *r)
{
    return r->stamp != 0 && r->stamp <= t->gone && r->key != 0;
}

/* Row number of an id, or TABLE_NONE. */
uint32_t table_find(const struct table *t, uint64_t key);
/* Of n ids, as table_find. */
void table_find_all(const struct table *t, const uint64_t *keys, uint32_t *rows, size_t n);
/* Row numbers of n ids (0 only where there is a shared row), made where they are new or anew where
 * they are gone. UNDINE_ENOMEM, UNDINE_EFULL: the rows made so far stay, with their initial
 * weights. */
int table_need(struct table *t, const uint64_t *keys, uint32_t *rows, size_t n,
               struct undine_err *err);

/* The same for rows whose weights and optimizer slots the caller fills: all else of them is 0. */
int table_restore(struct table *t, const uint64_t *keys, uint32_t *rows, size_t n,
                  struct undine_err *err);

/* Drop an id's row, which gives its number to the last one, and note it as a tombstone.  1 =
 * dropped, 0 = it had none, < 0 = UNDINE_ENOMEM and nothing changed. */
int table_erase(struct table *t, uint64_t key, struct undine_err *err);
/* Take a row that is gone away, as table_erase does. */
int table_sweep_row(struct table *t, uint32_t row, struct undine_err *err);
/* Forget the tombstones: whoever ships them to scorers has them. */
void table_tombstones_clear(struct table *t);

#endif
