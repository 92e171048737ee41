/* version_chain.h: a version as it is served: a full one, with what deltas changed laid over it.
 *
 * Opening a full version maps it (version_reader.h).  Opening a delta maps each version of its
 * chain, from the full one on, and applies them in order.  Whatever does not fit is refused with
 * the number and the reason: an element that is missing, damaged, of a newer format, named twice,
 * out of order, or another one than the delta was made with.  The model digest is followed through
 * all changes and compared with what each manifest says, from the rows of the full version on, so
 * that what is served is what the trainer had.
 *
 * What a chain has open already is shared by the next one that is opened beside it (`near`): the
 * parts that both have, by reference count, and where one is the other with more deltas the overlay
 * too.  So a new delta costs what it changes, not what there is.
 *
 * Immutable after opening: any number of threads look up rows, no locks.  Two threads may open and
 * close chains that share parts. */
#ifndef UNDINE_LEARNER_MODEL_VERSION_CHAIN_H
#define UNDINE_LEARNER_MODEL_VERSION_CHAIN_H

#include "learner/model/model_digest.h"
#include "learner/model/version_dir.h"
#include "learner/model/version_overlay.h"
#include "learner/model/version_reader.h"

/* A version of the chain; shared. */
struct version_part {
    atomic_uint refs;
    bool with_train;
    struct version_reader *reader;
    struct model_digest_rows rows[SCHEMA_TABLES_MAX]; /* of a full version; else zeros */
};

/* One table. */
struct version_rows {
    const struct version_table *base; /* of the full version */
    struct version_overlay overlay;
    const float *const *row; /* (n_parts) rows of each part in its file */
    const float *shared;     /* row of the ids that have none; NULL = they begin as row_initial */
    uint32_t width;          /* model_row_width */
    struct model_digest_rows digest; /* .n = rows that there are */
};

struct version_chain {
    uint64_t number; /* of the newest part, which is the version */
    char name[VERSION_NAME_MAX];
    const struct manifest *manifest; /* the newest part's; its `rows` are those of the model */
    const struct safetensors *dense; /* the newest part's model.safetensors */
    struct hash128 digest;           /* model digest, as manifest->digest says */
    uint32_t n_parts;                /* 1 = a full version */
    struct version_part **part;      /* the full one first */
    struct version_rows table[SCHEMA_TABLES_MAX];
    const float **row_memory; /* behind version_rows.row */
};

/* Version DIR/name and all that it needs.  near: a chain of the same schema or any other, open for
 * the length of the call; NULL.  with_train: train.safetensors of every part is there too.
 * UNDINE_ENOTFOUND where the version itself does not exist, UNDINE_ECORRUPT, UNDINE_EVERSION,
 * UNDINE_EIO, UNDINE_ENOMEM. */
int version_chain_open(struct version_chain **out, const char *dir, const char *name,
                       const struct version_chain *near, bool with_train, struct undine_err *err);
/* The same by the path of its directory.  A full version may lie there under any name; a delta is
 * read beside what it changes (else UNDINE_EINVAL). */
int version_chain_open_path(struct version_chain **out, const char *path,
                            const struct version_chain *near, bool with_train,
                            struct undine_err *err);
/* The same model as `near`, with another full version under it: DIR/full, that was merged from one
 * of near's parts, takes the place of that and of those before it.  A delta that is written on this
 * chain needs them no more.  UNDINE_EINVAL where it was merged from none of them, and as above. */
int version_chain_rebase(struct version_chain **out, const char *dir, const char *full,
                         const struct version_chain *near, struct undine_err *err);
void version_chain_close(struct version_chain *c); /* NULL-safe */

/* The row of an id (width numbers), NULL where the model has none. */
static inline const float *version_rows_find(const struct version_rows *t, uint64_t key)
{
    const struct version_slot *s = version_overlay_find(&t->overlay, key);
    if (s == NULL) {
        uint64_t row = version_table_find(t->base, key);
        return row < t->base->n_rows ? t->base->row + row * t->width : NULL;
    }
    return s->row == VERSION_ROW_GONE ? NULL : t->row[s->part] + (uint64_t)s->row * t->width;
}
/* Ask for what version_rows_find will look at first; */
static inline void version_rows_prefetch(const struct version_rows *t, uint64_t key)
{
    __builtin_prefetch(&t->base->index[hash_mix64(key) & t->base->mask]);
    version_overlay_prefetch(&t->overlay, key);
}
/* for the key that it will compare, once that has come; */
static inline void version_rows_prefetch_key(const struct version_rows *t, uint64_t key)
{
    uint64_t row = t->base->index[hash_mix64(key) & t->base->mask];
    if (row > 0 && row <= t->base->n_rows) {
        __builtin_prefetch(&t->base->key[row - 1]);
    }
}
/* and for the row that it found (width numbers). */
static inline void version_rows_prefetch_row(const struct version_rows *t, const float *row)
{
    __builtin_prefetch(row);
    __builtin_prefetch(row + t->width - 1);
}
/* Where it is: part and row in that part; false where there is none. */
bool version_rows_where(const struct version_rows *t, uint64_t key, uint32_t *part, uint64_t *row);

/* The digest of a table's rows after changes: their old values are looked up in `base`.
 * UNDINE_ECORRUPT where they remove an id that is not there. */
int version_rows_follow(const struct version_rows *base, const struct version_table *changes,
                        const char *name, struct model_digest_rows *out, struct undine_err *err);

/* A copy of the links of which a delta on top of this chain consists: n_parts of them, the caller
 * frees.  NULL where memory is out. */
struct manifest_link *version_chain_links(const struct version_chain *c);

#endif
