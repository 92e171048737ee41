/* version_reader.h: one version on disk, mapped read-only and used as it lies there.  Of a delta
 * that are its changes alone: version_chain.h puts them on top of what they change.
 *
 * Opening checks every byte of every file once (checksums of the manifest) and every tensor's place
 * and shape; after that nothing is copied or rebuilt: keys, rows and index of a table are the
 * mapped file.  A version that does not hold what its manifest says is refused as a whole.
 *
 * The index of a table is open addressing with linear probing: slot hash_mix64(key) & mask and
 * onwards; a slot holds row + 1, 0 = free.  Immutable after opening: any thread, no locks. */
#ifndef UNDINE_LEARNER_MODEL_VERSION_READER_H
#define UNDINE_LEARNER_MODEL_VERSION_READER_H

#include "learner/model/manifest.h"
#include "learner/model/mapped_file.h"
#include "learner/model/model_digest.h"
#include "learner/model/safetensors.h"

struct version_table {
    const uint64_t *key;   /* (n_rows) ascending */
    const float *row;      /* (n_rows, width) */
    const uint32_t *index; /* (mask + 1); NULL in a delta */
    uint64_t n_rows, mask;
    const uint64_t *removed; /* (n_removed) of a delta: ascending ids, none of them in key */
    uint64_t n_removed;
    uint64_t shared; /* row of the ids that have none, n_rows = they begin as row_initial says */
    uint32_t width;  /* model_row_width */
};

struct version_reader {
    struct manifest manifest;
    struct mapped_file model_file, train_file;
    struct safetensors model, train; /* train: empty unless asked for */
    struct version_table table[SCHEMA_TABLES_MAX];
};

/* path: the version's directory.  UNDINE_ENOTFOUND where it does not exist, UNDINE_ECORRUPT,
 * UNDINE_EVERSION, UNDINE_EIO, UNDINE_ENOMEM.  The message names file and reason. */
int version_reader_open(struct version_reader **out, const char *path, bool with_train,
                        struct undine_err *err);
void version_reader_close(struct version_reader *r); /* NULL-safe */

/* Row number of an id, or n_rows.  Not in a delta. */
uint64_t version_table_find(const struct version_table *t, uint64_t key);

/* Is the tensor one of a table (and not a dense one)? */
bool version_tensor_of_table(const struct safetensors_tensor *t);
/* model_digest of what lies there, computed from rows and tensors.  Not of a delta. */
int version_reader_digest(const struct version_reader *r, struct hash128 *out,
                          struct undine_err *err);

/* model_digest of the model that has these rows in its tables, and this version's dense part. */
int version_reader_digest_of(const struct version_reader *r, const struct model_digest_rows *rows,
                             struct hash128 *out, struct undine_err *err);

/* ---- what the writer shares ---- */
/* Slots of the index of n rows: a power of two, at most two thirds full. */
uint64_t version_index_slots(uint64_t n_rows);
/* index (slots), filled for n ids; zeroed by the caller. */
void version_index_fill(uint32_t *index, uint64_t slots, const uint64_t *keys, uint64_t n);
/* The same for some of them, of which the first is row `first`. */
void version_index_add(uint32_t *index, uint64_t slots, const uint64_t *keys, uint64_t n,
                       uint64_t first);
/* "table.NAME.WHAT" */
void version_tensor_name(char out[SAFETENSORS_NAME_MAX], const char *table, const char *what);

#endif
