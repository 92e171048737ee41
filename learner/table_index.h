/* table_index.h: from the hash of an id to a row number, growing a page at a time.
 *
 * Extendible hashing (Fagin et al., 1979): a directory of 2^bits pointers, read by the highest bits
 * of the hash, names pages of fixed size; a page is open addressing with linear probing.  A page
 * that is 80 % full is split in two by the next bit of the hash; the directory doubles where it
 * tells the two apart no more.  So what an insert moves is a page's entries and, once for every
 * doubling of the table, the directory: 8 bytes for 1,000 to 1,600 ids.  There is no moment at
 * which all of it is rehashed.  Two halves of a page that are emptied to 60 % of one are joined
 * again, so an index follows its table down as well as up.
 *
 * A slot keeps 32 bits of the hash beside the row number: pages are split, joined and closed up
 * without a look at the rows, and a lookup rarely looks at a wrong one.
 *
 * Learner thread. */
#ifndef UNDINE_LEARNER_TABLE_INDEX_H
#define UNDINE_LEARNER_TABLE_INDEX_H

#include "learner/table_budget.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TABLE_INDEX_SLOT_BITS = 11,
    TABLE_INDEX_SLOTS = 1 << TABLE_INDEX_SLOT_BITS,
    TABLE_INDEX_FULL = TABLE_INDEX_SLOTS * 4 / 5,     /* beyond it a page is split */
    TABLE_INDEX_JOIN = TABLE_INDEX_SLOTS * 3 / 5,     /* two pages with no more become one */
    TABLE_INDEX_BITS_MAX = 32 - TABLE_INDEX_SLOT_BITS /* where the bits kept of a hash end */
};

struct table_index_slot {
    uint32_t tag; /* the hash's high half */
    uint32_t row; /* row number + 1; 0 = free */
};

struct table_index_page {
    uint32_t n;    /* slots taken */
    uint32_t bits; /* of the hash that all its entries share */
    struct table_index_slot slot[TABLE_INDEX_SLOTS];
};

struct table_index {
    struct table_account account;
    struct table_index_page **page; /* (2^bits); pages of fewer bits stand there more than once */
    unsigned bits;                  /* >= 1 */
    uint32_t n_pages;
    uint64_t moved_bytes; /* cleared or copied by splits, joins and the directory, since init */
};

/* UNDINE_ENOMEM, UNDINE_EFULL. */
int table_index_init(struct table_index *x, struct table_budget *budget, struct undine_err *err);
void table_index_release(struct table_index *x); /* fine on a zeroed one */

/* Ids are hashes already; this keeps counted ids (tests, other producers) from clustering.  Its
 * high half is what counts. */
static inline uint64_t table_index_hash(uint64_t key)
{
    return (key ^ key >> 32) * 0x9E3779B97F4A7C15U;
}

static inline uint32_t table_index_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static inline const struct table_index_page *table_index_page(const struct table_index *x,
                                                              uint64_t hash)
{
    return x->page[hash >> (64 - x->bits)];
}

/* Where a hash's entries begin; they go on to the first free slot, around the page's end. */
static inline uint32_t table_index_first(uint32_t tag)
{
    return tag & (TABLE_INDEX_SLOTS - 1);
}

/* Add an entry (row < UINT32_MAX).  UNDINE_ENOMEM, UNDINE_EFULL: nothing was added. */
int table_index_add(struct table_index *x, uint64_t hash, uint32_t row, struct undine_err *err);
/* Take out the entry, or give it another row; it must be there. */
void table_index_remove(struct table_index *x, uint64_t hash, uint32_t row);
void table_index_move(struct table_index *x, uint64_t hash, uint32_t row, uint32_t to);

#endif
