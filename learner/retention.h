/* retention.h: which rows stay: expiry by event time and eviction under a memory budget.
 *
 * A row carries the training step of its last touch.  Steps follow event time, so both rules say
 * the same kind of thing: "rows last touched at step T or before are gone".  Expiry moves T past
 * the steps of days long ago, eviction moves it until the rest fits.  T is a function of the events
 * alone: how many bytes of rows were last touched at which step is counted exactly, and nothing
 * here looks at row numbers, addresses or how much memory is really held.  Rows of one step go
 * together, so there are no ties.
 *
 * The moment T moves, rows behind it do not exist any more: lookups do not see them, an id that
 * comes back begins anew.  Their memory is taken back by a sweep that goes through the tables
 * beside the training, SWEEP bytes of rows for each byte of new rows.  At most 1 / 32 of the budget
 * comes new before a sweep has gone through all of it, two such circles may lie between a row's end
 * and its removal, and what lives is held under 28 / 32; so memory stays within the budget as long
 * as one batch brings less than 2 / 32 of it.
 *
 * A table's shared row (table.h) always stays and counts for nothing here.  Learner thread. */
#ifndef UNDINE_LEARNER_RETENTION_H
#define UNDINE_LEARNER_RETENTION_H

#include "base/schema.h"
#include "learner/table.h"

enum retention_full {
    RETENTION_STOP, /* nothing goes for want of memory: a table that cannot grow is an error */
    RETENTION_EVICT /* the rows that were not touched for the longest time go */
};

struct retention_options {
    uint32_t
        expire_days; /* a row goes after more event days than this without a touch; 0 = never */
    enum retention_full full;
    uint64_t memory_max_bytes;
};

struct retention_step { /* what was last touched at one step */
    uint64_t bytes;
    uint32_t rows, waiting;
    uint32_t day;
};

struct retention_counters { /* since the start of the stream; part of a snapshot */
    uint64_t rows_expired, rows_evicted, waiting_dropped;
};

struct retention {
    struct retention_options opt;
    struct table *table[2 * SCHEMA_TABLES_MAX]; /* not owned; rows, then those of waiting ids */
    uint32_t n_tables, n_row_tables;
    struct retention_step *step; /* (capacity) ring: step s at s & (capacity - 1) */
    uint32_t capacity;
    uint32_t gone, newest; /* T; the ring holds steps gone + 1 .. newest */
    uint64_t live_bytes;
    uint64_t part_bytes; /* 1 / 32 of the budget that is left for rows */
    struct retention_counters counters;
    uint64_t dead[2];                /* rows and waiting ids that T passed, since opening */
    uint64_t inserted_bytes;         /* up to the last sweep */
    uint32_t sweep_table, sweep_row; /* the next row to look at is sweep_row - 1 */
    bool sweeping, again;            /* again: T moved during this circle */
    bool restamped; /* rows that were never learned got a stamp when they were restored */
};

/* tables: of rows (n_row_tables of them), then of waiting ids; they outlive it.  UNDINE_ECONFIG:
 * eviction with a budget that the tables' fixed parts fill by half. */
int retention_init(struct retention *z, const struct retention_options *opt,
                   struct table *const *tables, uint32_t n_row_tables, uint32_t n_tables,
                   struct undine_err *err);
void retention_release(struct retention *z); /* NULL-safe, and fine on a zeroed one */

static inline bool retention_on(const struct retention *z)
{
    return z->opt.full == RETENTION_EVICT || z->opt.expire_days > 0;
}

/* Bytes that a row of table k counts for: its own, and its share of an index at its emptiest. */
uint64_t retention_row_bytes(const struct retention *z, uint32_t k);

/* Before a batch of event day `today`, to be learned as step `now` >= any before, is looked up:
 * rows expire.  UNDINE_ENOMEM. */
int retention_begin(struct retention *z, uint32_t now, uint32_t today, struct undine_err *err);
/* Row r of table k is touched at the step that began: sets stamp and seen_day.  Only where
 * retention is on. */
void retention_touch(struct retention *z, uint32_t k, struct table_row *r, uint32_t step,
                     uint32_t day);
/* The row is about to be erased by someone else. */
void retention_forget(struct retention *z, uint32_t k, const struct table_row *r);
/* Count all rows of the tables anew, as after filling them from a snapshot. */
int retention_restore(struct retention *z, struct undine_err *err);

/* After a batch was learned as step `now`: what it touched stays. */
void retention_evict(struct retention *z, uint32_t now);
/* After a batch: take back the memory of some rows that are gone; `whole`: of all of them, so that
 * tables hold living rows only and tombstones name all that went. */
int retention_sweep(struct retention *z, bool whole, struct undine_err *err);

/* Rows, or waiting ids, that are gone and not swept yet: they are part of table.n_rows. */
uint64_t retention_unswept(const struct retention *z, bool waiting);

#endif
