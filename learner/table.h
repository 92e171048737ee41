/* table.h: an embedding table that grows: from 64-bit id to a row of floats, without collisions.
 *
 * Every id has a row of its own.  Rows live in segments of fixed size and never move; an index of
 * u32 slots (open addressing, linear probing, at most 80 % full) finds them.  A slot holds the
 * row's number and, in the bits above it, a tag of the id, so that a probe rarely looks at a wrong
 * row.
 *
 * A row starts as row_initial says: a function of seed and id alone, so it does not matter when an
 * id was first seen.  Row numbers are an accident of arrival: nothing that becomes part of a model
 * may depend on them.
 *
 * All tables of a trainer draw on one budget of bytes; a table that would pass it refuses to grow
 * (UNDINE_EFULL) and stays as it is.  Learner thread. */
#ifndef UNDINE_LEARNER_TABLE_H
#define UNDINE_LEARNER_TABLE_H

#include "base/err.h"
#include "learner/model/row.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_SEGMENT_BITS = 10, TABLE_SEGMENT_ROWS = 1 << TABLE_SEGMENT_BITS };
#define TABLE_NONE UINT32_MAX

struct table_row {
    uint64_t key;      /* the id; 0 in a row that was erased */
    uint32_t seen_day; /* event day (days since the epoch) of the last touch */
    float count;       /* n_j: instances that held the id so far */
    uint32_t stamp;    /* training step of the last touch, at most UINT32_MAX; 0 = never learned */
    uint32_t local;    /* scratch of the batch builder: index in the batch that last held it */
    float value[];     /* weight (dim), then optimizer slots (n_slots) */
};

struct table_budget {
    uint64_t used_bytes, max_bytes; /* max 0 = no bound */
};

struct table_options {
    uint32_t dim;       /* floats of a row's weights (model_row_width) */
    uint32_t n_slots;   /* floats of optimizer state a row */
    float slot_initial; /* their first value */
    struct row_init init;
};

struct table {
    struct table_options opt;
    struct table_budget *budget; /* shared, not owned */
    size_t row_bytes;
    uint8_t **segments;
    size_t n_segments, segments_capacity;
    uint32_t n_used;    /* row numbers given out, erased ones included */
    uint32_t n_rows;    /* rows that hold an id */
    uint32_t free_head; /* erased rows wait here for reuse, linked by `local` */
    uint32_t *index;
    unsigned index_bits;
    uint64_t *tombstones; /* ids erased since table_tombstones_clear */
    size_t n_tombstones, tombstones_capacity;
    uint64_t bytes; /* held, also part of budget->used_bytes */
};

int table_init(struct table *t, const struct table_options *opt, struct table_budget *budget,
               struct undine_err *err);
void table_release(struct table *t); /* NULL-safe, and fine on a zeroed table */

static inline struct table_row *table_row(const struct table *t, uint32_t row)
{
    return (struct table_row *)(void *)(t->segments[row >> TABLE_SEGMENT_BITS] +
                                        (row & (TABLE_SEGMENT_ROWS - 1)) * t->row_bytes);
}

/* Row number of an id, or TABLE_NONE. */
uint32_t table_find(const struct table *t, uint64_t key);
/* Row numbers of n ids (none 0), made where they are new.  UNDINE_ENOMEM, UNDINE_EFULL: the rows
 * made so far stay, with their initial weights. */
int table_need(struct table *t, const uint64_t *keys, uint32_t *rows, size_t n,
               struct undine_err *err);
/* Room in the index for n rows in all, so that loading them rehashes nothing. */
int table_reserve(struct table *t, uint64_t n, struct undine_err *err);

/* Drop an id's row and note it as a tombstone.  1 = dropped, 0 = it had none, < 0 = UNDINE_ENOMEM
 * and nothing changed. */
int table_erase(struct table *t, uint64_t key, struct undine_err *err);
/* Forget the tombstones: whoever ships them to scorers has them. */
void table_tombstones_clear(struct table *t);

#endif
