/* version.h: versions on disk: one format for checkpoint and published snapshot (docs/formats.md).
 *
 *   DIR/000000000042/manifest.json  model.safetensors  train.safetensors
 *   DIR/CURRENT   name of the published version and a newline (atomic rename)
 *   DIR/HISTORY   one JSON line for every publication
 *
 * A version appears whole or not at all: written under a temporary name, each file and the
 * directory fsynced, renamed, the parent fsynced; it goes the same way back.  What a crash left
 * under a temporary name is removed by the next write.  One process writes and retains versions
 * (the store's lock sees to that); which of them is published others may change too
 * (version_publish.h). Readers need no lock.  Publisher thread. */
#ifndef UNDINE_LEARNER_VERSION_H
#define UNDINE_LEARNER_VERSION_H

#include "learner/model/version_chain.h"
#include "learner/snapshot.h"

#include <stdbool.h>

/* What the manifest says besides what the snapshot knows. */
struct version_extra {
    uint64_t config_digest;     /* of the configuration the model depends on */
    const char *positions_json; /* source positions, JSON array text; NULL = none */
    int64_t created_ms;         /* wall clock, for people */
    uint32_t shard;
    const char *gate_json; /* verdict of the gate (gate.h); NULL = it is off */
    bool refused;          /* as it says */
};

struct version_info {
    uint64_t number;
    char name[VERSION_NAME_MAX]; /* 12 digits */
    uint64_t trained_seq;
    int64_t event_time_ms, created_ms;
    uint64_t rows, bytes, examples; /* rows of the model; bytes of its own files */
    bool refused;                   /* by the gate: a checkpoint, not for scorers */
    bool is_delta;
    uint32_t n_chain;     /* of a delta: versions that it needs */
    uint64_t base;        /* of a delta: the newest of them */
    uint64_t merged_from; /* of a full version: the delta whose model it is, 0 = none */
    char digest[HASH128_HEX_LEN + 1];
};

/* Write the next version (number = highest present or published + 1), then point CURRENT at it if
 * publish is set.  Makes DIR where it is missing.  Sorts the snapshot and attaches its norms and
 * metrics.  UNDINE_EIO, UNDINE_ENOMEM: nothing half-written stays visible; where only moving
 * CURRENT failed, the version is there, unpublished. */
int version_write(const char *dir, struct snapshot *s, const struct version_extra *extra,
                  bool publish, struct version_info *out, struct undine_err *err);

/* The same for a delta (s->delta): what the newest version, open as `base`, has to be changed by to
 * become the model that s was taken of.  Old rows are looked up in the base, so that the new
 * model's digest is known without the others: whoever opens the delta checks it.  Costs what
 * changed.  The norms of its tables are those of the changed rows.  UNDINE_ECORRUPT where s removes
 * what the base does not have, UNDINE_ESTATE where it has other tables, UNDINE_EFULL where the
 * chain is MANIFEST_CHAIN_MAX long.
 *
 * The usual round of a publisher: version_write_delta, then version_chain_open(&next, dir,
 * out.name, base, ...) as the first reader of what it wrote, then close `base` and go on with
 * `next`. */
int version_write_delta(const char *dir, struct snapshot *s, const struct version_chain *base,
                        const struct version_extra *extra, bool publish, struct version_info *out,
                        struct undine_err *err);

/* Of the version with the newest state: a delta counts as newer than the full version that was
 * merged from an older one.  Newest valid version whose trained_seq lies in [seq_min, seq_max] into
 * *out, with what the trainer needs.  1 = found, 0 = none, also where DIR does not exist.  Others
 * are skipped and described to skipped (may be NULL): invalid ones, and with UNDINE_ESTATE those
 * outside of the range.  UNDINE_EVERSION where one of a newer format is met before: a newer program
 * was here. */
typedef void (*version_skipped_fn)(void *payload, const char *name, const struct undine_err *why);
int version_restore(const char *dir, uint64_t seq_min, uint64_t seq_max, struct snapshot **out,
                    struct version_info *info, version_skipped_fn skipped, void *payload,
                    struct undine_err *err);
/* Read and verify one version wholly (every checksum), by directory path. */
int version_load(const char *path, bool with_train, struct snapshot **out,
                 struct version_info *info, struct undine_err *err);
/* The newest n_max versions whose manifest is valid, ascending; returns their number, 0 where DIR
 * does not exist, < 0 = error. */
int version_list(const char *dir, struct version_info *out, size_t n_max, struct undine_err *err);
/* What the manifest of version `number` says.  UNDINE_ENOTFOUND where there is none, and what
 * reading one may say. */
int version_info_read(const char *dir, uint64_t number, struct version_info *out,
                      struct undine_err *err);
/* Name of the published version; UNDINE_ENOTFOUND where nothing is published. */
int version_current(const char *dir, char out[VERSION_NAME_MAX], struct undine_err *err);
/* What stays: the newest state and the newest `count` (>= 1) full versions, from which a restart
 * can go on; the published one, and `count` with it that it could be rolled back to: published and
 * not withdrawn, of the deltas on one full version the newest.  And everything that the chain of
 * one of them needs.  All else goes; of the full ones but the newest, and of those to roll back to,
 * also what was made over age_ms before the newest, and what would make more than `bytes` with
 * those kept before it (without what chains need; 0 = any).  *oldest_seq = lowest trained_seq from
 * which a restart could have to go on, 0 where there is none and as long as the first `count` full
 * versions come to be: the example log may be trimmed below it. */
struct version_keep {
    unsigned count;
    int64_t age_ms;
    uint64_t bytes;
};
int version_retain_within(const char *dir, const struct version_keep *keep, uint64_t *oldest_seq,
                          struct undine_err *err);
int version_retain(const char *dir, unsigned keep, uint64_t *oldest_seq, struct undine_err *err);

#endif
