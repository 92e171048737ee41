/* manifest.h: what a version says about itself: manifest.json (docs/formats.md).
 *
 * The text ends with a checksum of everything before it, so a manifest that parses is the one that
 * was written.  It names every other file of the version with size and checksum.  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_MANIFEST_H
#define UNDINE_LEARNER_MODEL_MANIFEST_H

#include "base/bytes.h"
#include "base/hash.h"
#include "base/schema.h"
#include "learner/model/model.h"
#include "learner/model/row.h"

#include <stdbool.h>

enum {
    MANIFEST_FORMAT_VERSION = 1,
    MANIFEST_FILES_MAX = 8,
    MANIFEST_FILE_NAME_MAX = 64,
    MANIFEST_BYTES_MAX = 4 * 1024 * 1024,
    MANIFEST_CHAIN_MAX = 4096, /* versions that a delta needs */
    MANIFEST_KERNELS_MAX = 96
};

#define MANIFEST_NAME  "manifest.json"
#define MANIFEST_MODEL "model.safetensors"
#define MANIFEST_TRAIN "train.safetensors"

struct manifest_file {
    char name[MANIFEST_FILE_NAME_MAX];
    uint64_t bytes;
    char checksum[HASH128_HEX_LEN + 1]; /* XXH3-128 */
};

/* A version of a chain: its number, and the checksum that its manifest ends with. */
struct manifest_link {
    uint64_t number;
    char seal[HASH128_HEX_LEN + 1];
};

/* A delta changes the model of version `base`, or any other of the same digest. */
struct manifest_delta {
    uint64_t base;
    char base_digest[HASH128_HEX_LEN + 1];
    uint32_t n_chain;
    struct manifest_link *chain; /* in order of application, the full version first; owned */
    uint64_t changed[SCHEMA_TABLES_MAX], removed[SCHEMA_TABLES_MAX]; /* rows in its files */
};

struct manifest {
    char seal[HASH128_HEX_LEN + 1]; /* of the text that was parsed */
    bool is_delta;
    struct manifest_delta delta; /* zeros in a full version */
    uint64_t merged_from; /* a full version that is that delta and its chain; 0 = it is not */
    uint64_t number, trained_seq, examples, positives, batches;
    int64_t event_time_ms, created_ms;
    uint32_t shard;
    uint64_t config_digest;
    struct schema schema;
    struct model_options model;
    struct row_init row_init[SCHEMA_TABLES_MAX];
    uint64_t rows[SCHEMA_TABLES_MAX]; /* of the model, with those that a delta leaves alone */
    char digest[HASH128_HEX_LEN + 1]; /* model_digest */
    char kernels[MANIFEST_KERNELS_MAX];
    uint32_t n_files;
    struct manifest_file file[MANIFEST_FILES_MAX];
    char *positions_json; /* array; owned */
    char *metrics_json;   /* object; owned */
    char *norms_json;     /* object; owned; NULL = the version says nothing of them */
    char *gate_json;      /* object; owned; NULL = the gate was off */
    bool refused;         /* by the gate, which was to be obeyed: not for scorers */
};

void manifest_release(struct manifest *m); /* NULL-safe, and fine on a zeroed one */

/* Append the text.  UNDINE_EINVAL where positions or metrics are no JSON, UNDINE_ENOMEM. */
int manifest_print(const struct manifest *m, struct writer *out, struct undine_err *err);
/* UNDINE_ECORRUPT, UNDINE_EVERSION, UNDINE_ENOMEM. */
int manifest_parse(struct manifest *out, const char *text, size_t len, struct undine_err *err);
/* Read and parse DIR/manifest.json of a version.  UNDINE_ENOTFOUND where there is none. */
int manifest_read(struct manifest *out, const char *version_dir, struct undine_err *err);

const struct manifest_file *manifest_find(const struct manifest *m, const char *name);
uint64_t manifest_bytes(const struct manifest *m); /* of all files */
uint64_t manifest_rows(const struct manifest *m);  /* of all tables */

#endif
