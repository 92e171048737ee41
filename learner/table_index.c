#include "learner/table_index.h"

#include <stdlib.h>
#include <string.h>

enum { MASK = TABLE_INDEX_SLOTS - 1 };

static uint64_t directory_bytes(unsigned bits)
{
    return sizeof(struct table_index_page *) << bits;
}

static int page_new(struct table_index *x, uint32_t bits, struct table_index_page **out,
                    struct undine_err *err)
{
    int rc = table_account_take(&x->account, sizeof **out, err);
    if (rc < 0) {
        return rc;
    }
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        table_account_give(&x->account, sizeof **out);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for an index page of %zu bytes",
                              sizeof **out);
    }
    (*out)->bits = bits;
    x->n_pages++;
    x->moved_bytes += sizeof **out;
    return UNDINE_OK;
}

static void page_free(struct table_index *x, struct table_index_page *p)
{
    free(p);
    table_account_give(&x->account, sizeof *p);
    x->n_pages--;
}

static void page_put(struct table_index_page *p, struct table_index_slot entry)
{
    uint32_t at = table_index_first(entry.tag);
    while (p->slot[at].row != 0) {
        at = (at + 1) & MASK;
    }
    p->slot[at] = entry;
    p->n++;
}

int table_index_init(struct table_index *x, struct table_budget *budget, struct undine_err *err)
{
    *x = (struct table_index){.account = {.budget = budget}, .bits = 1};
    int rc = table_account_take(&x->account, directory_bytes(1), err);
    if (rc < 0) {
        return rc;
    }
    x->page = calloc(2, sizeof(struct table_index_page *));
    if (x->page == NULL) {
        table_account_give(&x->account, directory_bytes(1));
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for an index");
    }
    rc = page_new(x, 0, &x->page[0], err);
    if (rc < 0) {
        table_index_release(x);
        return rc;
    }
    x->page[1] = x->page[0];
    return UNDINE_OK;
}

void table_index_release(struct table_index *x)
{
    if (x->page == NULL) {
        return;
    }
    for (uint64_t i = 0; i >> x->bits == 0 && x->page[i] != NULL;) {
        struct table_index_page *p = x->page[i];
        i += (uint64_t)1 << (x->bits - p->bits);
        page_free(x, p);
    }
    free(x->page);
    table_account_give(&x->account, directory_bytes(x->bits));
    *x = (struct table_index){0};
}

static int directory_grow(struct table_index *x, struct undine_err *err)
{
    uint64_t bytes = directory_bytes(x->bits + 1);
    int rc = table_account_take(&x->account, bytes, err);
    if (rc < 0) {
        return rc;
    }
    struct table_index_page **page = malloc(bytes);
    if (page == NULL) {
        table_account_give(&x->account, bytes);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for an index of %llu pointers",
                              (unsigned long long)2 << x->bits);
    }
    for (uint64_t i = 0; i >> x->bits == 0; i++) {
        page[2 * i] = page[2 * i + 1] = x->page[i];
    }
    free(x->page);
    table_account_give(&x->account, directory_bytes(x->bits));
    x->page = page;
    x->bits++;
    x->moved_bytes += bytes;
    return UNDINE_OK;
}

/* Entry of the directory where those of a page with these `bits` begin. */
static uint64_t directory_first(const struct table_index *x, uint64_t hash, uint32_t bits)
{
    return bits == 0 ? 0 : hash >> (64 - bits) << (x->bits - bits);
}

static void directory_set(struct table_index *x, uint64_t hash, struct table_index_page *p)
{
    uint64_t first = directory_first(x, hash, p->bits);
    uint64_t end = first + ((uint64_t)1 << (x->bits - p->bits));
    for (uint64_t i = first; i < end; i++) {
        x->page[i] = p;
    }
    x->moved_bytes += (end - first) * sizeof(struct table_index_page *);
}

/* Give one half of a hash's page to a new one. */
static int split(struct table_index *x, uint64_t hash, struct undine_err *err)
{
    struct table_index_page *p = x->page[hash >> (64 - x->bits)];
    if (p->bits == TABLE_INDEX_BITS_MAX) {
        return undine_err_set(err, UNDINE_EFULL,
                              "%u ids share the first %d bits of their hash: an embedding table "
                              "cannot tell more of them apart",
                              p->n, TABLE_INDEX_BITS_MAX);
    }
    int rc = p->bits == x->bits ? directory_grow(x, err) : UNDINE_OK;
    struct table_index_page *high = NULL;
    rc = rc < 0 ? rc : page_new(x, p->bits + 1, &high, err);
    if (rc < 0) {
        return rc;
    }
    struct table_index_page old = *p;
    uint32_t bit = (uint32_t)1 << (31 - p->bits);
    memset(p, 0, sizeof *p);
    p->bits = high->bits;
    x->moved_bytes += 2 * sizeof *p;
    for (uint32_t at = 0; at < TABLE_INDEX_SLOTS; at++) {
        if (old.slot[at].row != 0) {
            page_put((old.slot[at].tag & bit) != 0 ? high : p, old.slot[at]);
        }
    }
    directory_set(x, hash | (uint64_t)bit << 32, high);
    return UNDINE_OK;
}

int table_index_add(struct table_index *x, uint64_t hash, uint32_t row, struct undine_err *err)
{
    while (table_index_page(x, hash)->n >= TABLE_INDEX_FULL) {
        int rc = split(x, hash, err);
        if (rc < 0) {
            return rc;
        }
    }
    struct table_index_slot entry = {.tag = table_index_tag(hash), .row = row + 1};
    page_put(x->page[hash >> (64 - x->bits)], entry);
    return UNDINE_OK;
}

static uint32_t slot_of(const struct table_index_page *p, uint32_t tag, uint32_t row)
{
    uint32_t at = table_index_first(tag);
    while (p->slot[at].row != row + 1) {
        UNDINE_ASSERT(p->slot[at].row != 0);
        at = (at + 1) & MASK;
    }
    return at;
}

/* Empty a slot and close the gap: every later entry of the run that may not stand before its own
 * first slot moves up, so that lookups need no marks of deleted slots. */
static void page_take(struct table_index_page *p, uint32_t hole)
{
    for (uint32_t at = (hole + 1) & MASK; p->slot[at].row != 0; at = (at + 1) & MASK) {
        uint32_t first = table_index_first(p->slot[at].tag);
        if (((at - first) & MASK) >= ((at - hole) & MASK)) {
            p->slot[hole] = p->slot[at];
            hole = at;
        }
    }
    p->slot[hole] = (struct table_index_slot){0};
    p->n--;
}

/* Join a hash's page with its other half where both are nearly empty. */
static void join(struct table_index *x, uint64_t hash)
{
    struct table_index_page *p = x->page[hash >> (64 - x->bits)];
    if (p->bits == 0) {
        return;
    }
    uint64_t other = hash ^ (uint64_t)1 << (64 - p->bits);
    struct table_index_page *q = x->page[other >> (64 - x->bits)];
    if (q->bits != p->bits || p->n + q->n > TABLE_INDEX_JOIN) {
        return;
    }
    for (uint32_t at = 0; at < TABLE_INDEX_SLOTS; at++) {
        if (q->slot[at].row != 0) {
            page_put(p, q->slot[at]);
        }
    }
    x->moved_bytes += sizeof *q;
    page_free(x, q);
    p->bits--;
    directory_set(x, hash, p);
}

void table_index_remove(struct table_index *x, uint64_t hash, uint32_t row)
{
    struct table_index_page *p = x->page[hash >> (64 - x->bits)];
    page_take(p, slot_of(p, table_index_tag(hash), row));
    join(x, hash);
}

void table_index_move(struct table_index *x, uint64_t hash, uint32_t row, uint32_t to)
{
    struct table_index_page *p = x->page[hash >> (64 - x->bits)];
    p->slot[slot_of(p, table_index_tag(hash), row)].row = to + 1;
}
