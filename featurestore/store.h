/* store.h: RocksDB, behind the few operations that undine needs (store.c is the only file that
 * knows it).
 *
 * Four column families, whose names and keys are part of the format:
 *   sequence  (user hash be64)              a user's newest steps, all sequences, and the full user
 * id arrivals  (commit number be64)          the decoded events of that commit, packed example
 * (first example_seq be64)      a block of labelled examples meta      (name) positions, watermark,
 * heads, counters, digests, losses Every value starts with a format version byte.
 *
 * One WriteBatch a commit: either all of it is there after a crash, or none.  A write or a sync that
 * fails is final (UNDINE_EIO), for all threads: the caller stops, and restart is recovery.  Writes and batches belong to the
 * ingest thread; store_get, store_sync and iteration may be called by any thread. */
#ifndef UNDINE_FEATURESTORE_STORE_H
#define UNDINE_FEATURESTORE_STORE_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_family { STORE_SEQUENCE, STORE_ARRIVALS, STORE_EXAMPLE, STORE_META, STORE_FAMILIES };

struct store_options {
    const char *dir;
    uint64_t cache_bytes;        /* block cache */
    uint64_t write_buffer_bytes; /* all memtables together */
    bool sync_every_commit;
    bool read_only; /* for inspect, on a live store too */
    /* A damaged record of the write-ahead log is an error (UNDINE_ECORRUPT), not the end of it; one
     * that is cut short at its end is that still, as a crash leaves it. */
    bool strict_log;
};

struct store;
/* UNDINE_EIO where the directory cannot be opened (or another process writes to it),
 * UNDINE_EVERSION where its format is newer, UNDINE_ECORRUPT where it is damaged, lacks
 * commits (commit_chain.h) or is no store of ours. Creates the directory, but not its parents, unless read_only.  A read-only store shows what
 * was written when it was opened. */
int store_open(struct store **out, const struct store_options *opt, struct undine_err *err);
void store_close(struct store *s); /* syncs */

/* A commit in the making.  Owned by the store, emptied by store_write. */
void store_put(struct store *s, enum store_family f, const void *key, size_t key_len,
               const void *value, size_t value_len);
void store_delete(struct store *s, enum store_family f, const void *key, size_t key_len);
/* All keys in [from, to) of a family with be64 keys. */
void store_delete_range(struct store *s, enum store_family f, uint64_t from, uint64_t to);
int store_write(struct store *s, struct undine_err *err);

/* Make every written commit survive power loss (WAL fsync).  Any thread. */
int store_sync(struct store *s, struct undine_err *err);

/* Did a write or a sync fail?  Then nothing more is written.  Any thread. */
bool store_failed(const struct store *s);

/* Append the value of a key to out (a cleared writer).  1 = found, 0 = not there, < 0 = error. */
int store_get(struct store *s, enum store_family f, const void *key, size_t key_len,
              struct writer *out, struct undine_err *err);
/* Values of n be64 keys at once, in the order of keys: calls fn for each that is there. */
typedef int (*store_value_fn)(void *payload, uint64_t key, const uint8_t *value, size_t len,
                              struct undine_err *err);
int store_get_many(struct store *s, enum store_family f, const uint64_t *keys, size_t n,
                   store_value_fn fn, void *payload, struct undine_err *err);
/* Every (key, value) of a be64 family with key >= from, ascending, until fn returns non-zero, which
 * is returned. */
int store_scan(struct store *s, enum store_family f, uint64_t from, store_value_fn fn,
               void *payload, struct undine_err *err);
/* The entry with the greatest key <= key: 0 = there is none, else what fn returned, 1 where that is
 * 0. */
int store_get_floor(struct store *s, enum store_family f, uint64_t key, store_value_fn fn,
                    void *payload, struct undine_err *err);
/* As store_scan, for meta, whose keys are names with this prefix. */
typedef int (*store_meta_fn)(void *payload, const char *name, const uint8_t *value, size_t len,
                             struct undine_err *err);
int store_scan_meta(struct store *s, const char *prefix, store_meta_fn fn, void *payload,
                    struct undine_err *err);

/* Read every block of every file of a family from disk and check its checksum, what is overwritten
 * or deleted included.  UNDINE_ECORRUPT names file and place. */
struct store_verified {
    uint64_t entries, bytes;    /* keys and values that were read */
    uint64_t files, file_bytes; /* of the family; the rest lies in the write-ahead log */
};
int store_verify(struct store *s, enum store_family f, struct store_verified *out,
                 struct undine_err *err);
const char *store_family_name(enum store_family f);

struct store_stats {
    uint64_t commits, bytes_written, syncs, gets; /* since open */
    int64_t sync_ns_max;                          /* longest WAL fsync */
    uint64_t memtable_bytes, table_reader_bytes, cache_bytes, sst_bytes, background_errors;
    bool write_stopped;
};
void store_stats(struct store *s, struct store_stats *out); /* any thread */

#endif
