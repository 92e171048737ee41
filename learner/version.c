#include "learner/version.h"

#include "base/fault.h"
#include "learner/blas.h"
#include "learner/model/version_chain.h"
#include "learner/norms.h"
#include "learner/snapshot_metrics.h"
#include "learner/version_files.h"
#include "learner/version_info.h"
#include "learner/version_publish.h"
#include "learner/version_tensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a version");
}

/* ---- writing ---- */

/* The manifest of a sorted snapshot whose tables have these rows in all; its texts are borrowed. */
static void describe(struct manifest *m, const struct snapshot *s,
                     const struct model_digest_rows *rows, const struct version_extra *extra)
{
    *m = (struct manifest){.trained_seq = s->trained_seq,
                           .examples = s->examples,
                           .positives = s->positives,
                           .batches = s->batches,
                           .event_time_ms = s->event_time_ms,
                           .created_ms = extra->created_ms,
                           .shard = extra->shard,
                           .config_digest = extra->config_digest,
                           .schema = s->schema,
                           .model = s->model};
    for (uint32_t i = 0; i < s->n_tables; i++) {
        m->rows[i] = rows[i].n;
        m->row_init[i] = s->row_init[i];
    }
    hash128_hex(m->digest, snapshot_digest_of(s, rows));
    blas_kernels(m->kernels, sizeof m->kernels);
    m->metrics_json = s->metrics_json;
    m->norms_json = s->norms_json;
    m->gate_json = (char *)(uintptr_t)extra->gate_json; /* likewise below */
    m->refused = extra->refused;
    m->positions_json = (char *)(uintptr_t)extra->positions_json; /* only printed */
}

static int describe_full(struct manifest *m, const struct snapshot *s,
                         const struct version_extra *extra)
{
    struct model_digest_rows rows[SCHEMA_TABLES_MAX] = {0};
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const struct snapshot_table *t = &s->table[i];
        model_digest_rows_add(&rows[i], t->key, t->weight, t->n_rows, t->dim);
    }
    describe(m, s, rows, extra);
    return UNDINE_OK;
}

/* Do the snapshot's tables change those of the base? */
static int check_tables(const struct snapshot *s, const struct version_chain *base,
                        struct undine_err *err)
{
    bool fits = schema_model_digest(&s->schema) == schema_model_digest(&base->manifest->schema);
    for (uint32_t i = 0; fits && i < s->n_tables; i++) {
        fits = s->table[i].dim == base->table[i].width &&
               memcmp(&s->row_init[i], &base->manifest->row_init[i], sizeof s->row_init[i]) == 0;
    }
    if (!fits) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "version %s has other tables than the changes that would follow it",
                              base->name);
    }
    return UNDINE_OK;
}

/* m's chain is to be freed by the caller, here and where this fails. */
static int describe_delta(struct manifest *m, const struct snapshot *s,
                          const struct version_chain *base, const struct version_extra *extra,
                          struct undine_err *err)
{
    struct model_digest_rows rows[SCHEMA_TABLES_MAX] = {0};
    if (base->n_parts > MANIFEST_CHAIN_MAX) {
        return undine_err_set(err, UNDINE_EFULL,
                              "version %s is the %uth of its chain, at most %d fit: a full version "
                              "has to come first",
                              base->name, base->n_parts, MANIFEST_CHAIN_MAX);
    }
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_tables; i++) {
        const struct snapshot_table *t = &s->table[i];
        const struct version_table changes = {.key = t->key,
                                              .row = t->weight,
                                              .n_rows = t->n_rows,
                                              .removed = t->removed,
                                              .n_removed = t->n_removed,
                                              .width = t->dim};
        rc = version_rows_follow(&base->table[i], &changes, t->name, &rows[i], err);
    }
    if (rc < 0) {
        return undine_err_prefix(err, "the changes after version %s", base->name);
    }
    describe(m, s, rows, extra);
    m->is_delta = true;
    m->delta = (struct manifest_delta){
        .base = base->number, .n_chain = base->n_parts, .chain = version_chain_links(base)};
    hash128_hex(m->delta.base_digest, base->digest);
    for (uint32_t i = 0; i < s->n_tables; i++) {
        m->delta.changed[i] = s->table[i].n_rows;
        m->delta.removed[i] = s->table[i].n_removed;
    }
    return m->delta.chain != NULL ? UNDINE_OK : no_memory(err);
}

/* All files of a version into directory `path`, which stays unfinished where this fails. */
static int write_files(const char *path, const struct snapshot *s, struct manifest *m,
                       struct undine_err *err)
{
    struct file_sum sum;
    FAULT("publish.before_directory");
    int rc = version_files_make_dir(path, err);
    FAULT("publish.after_directory");
    if (rc == UNDINE_OK) {
        rc = version_tensors_model(path, s, &sum, err);
    }
    FAULT("publish.after_model");
    if (rc == UNDINE_OK) {
        version_info_add_file(m, MANIFEST_MODEL, &sum);
        rc = version_tensors_train(path, s, &sum, err);
    }
    FAULT("publish.after_train");
    if (rc == UNDINE_OK) {
        version_info_add_file(m, MANIFEST_TRAIN, &sum);
        rc = version_info_write(path, m, err);
    }
    FAULT("publish.after_manifest");
    if (rc == UNDINE_OK) {
        rc = version_files_sync_dir(path, err);
    }
    return rc;
}

static int write_numbered(const char *dir, const struct snapshot *s, struct manifest *m,
                          struct version_info *info, struct undine_err *err)
{
    char temporary[VERSION_NAME_MAX + sizeof VERSION_TEMPORARY], path[VERSION_PATH_MAX];
    version_name(info->name, m->number);
    (void)snprintf(temporary, sizeof temporary, VERSION_TEMPORARY "%s", info->name);
    int rc = version_path(path, dir, temporary, err);
    if (rc == UNDINE_OK) {
        rc = write_files(path, s, m, err);
    }
    FAULT("publish.before_rename");
    if (rc == UNDINE_OK) {
        rc = version_files_rename(dir, temporary, info->name, err);
    }
    FAULT("publish.after_rename");
    if (rc == UNDINE_OK) {
        version_info_of(info, m);
    } else {
        (void)version_files_prepare(dir, NULL);
    }
    return rc;
}

/* base: NULL = s is a full version. */
static int write_next(const char *dir, const struct snapshot *s, const struct version_chain *base,
                      const struct version_extra *extra, struct version_info *info,
                      struct undine_err *err)
{
    uint64_t highest = 0;
    struct manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return no_memory(err);
    }
    int rc = base != NULL ? describe_delta(m, s, base, extra, err) : describe_full(m, s, extra);
    if (rc == UNDINE_OK) {
        rc = version_info_highest(dir, &highest, err);
    }
    m->number = highest + 1;
    if (rc == UNDINE_OK) {
        rc = write_numbered(dir, s, m, info, err);
    }
    free(m->delta.chain);
    free(m);
    return rc;
}

/* An id that came and went since the base has left no trace there. */
static void drop_unknown(struct snapshot_table *t, const struct version_rows *base)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < t->n_removed; i++) {
        if (version_rows_find(base, t->removed[i]) != NULL) {
            t->removed[n++] = t->removed[i];
        }
    }
    t->n_removed = n;
}

static int write_version(const char *dir, struct snapshot *s, const struct version_chain *base,
                         const struct version_extra *extra, bool publish, struct version_info *out,
                         struct undine_err *err)
{
    struct version_info info = {0};
    UNDINE_ASSERT(s->delta == (base != NULL));
    int rc = snapshot_sort(s, err);
    rc = rc == UNDINE_OK && base != NULL ? check_tables(s, base, err) : rc;
    for (uint32_t i = 0; rc == UNDINE_OK && base != NULL && i < s->n_tables; i++) {
        drop_unknown(&s->table[i], &base->table[i]);
    }
    rc = rc == UNDINE_OK ? snapshot_metrics_attach(s, err) : rc;
    rc = rc == UNDINE_OK ? norms_attach(s, err) : rc;
    if (rc == UNDINE_OK) {
        rc = version_files_prepare(dir, err);
    }
    if (rc == UNDINE_OK) {
        rc = write_next(dir, s, base, extra, &info, err);
    }
    if (rc == UNDINE_OK && publish) {
        int published = version_publish(dir, &info, err);
        rc = published < 0 ? published : UNDINE_OK;
    }
    if (rc == UNDINE_OK && out != NULL) {
        *out = info;
    }
    return rc;
}

int version_write(const char *dir, struct snapshot *s, const struct version_extra *extra,
                  bool publish, struct version_info *out, struct undine_err *err)
{
    return write_version(dir, s, NULL, extra, publish, out, err);
}

int version_write_delta(const char *dir, struct snapshot *s, const struct version_chain *base,
                        const struct version_extra *extra, bool publish, struct version_info *out,
                        struct undine_err *err)
{
    return write_version(dir, s, base, extra, publish, out, err);
}

/* ---- the directory ---- */

int version_list(const char *dir, struct version_info *out, size_t n_max, struct undine_err *err)
{
    uint64_t *numbers;
    size_t n, found = 0;
    int rc = version_files_list(dir, &numbers, &n, err);
    if (rc < 0) {
        return rc;
    }
    /* From the newest down into the end of `out`, then moved to its begin. */
    for (size_t i = n; rc != UNDINE_ENOMEM && i > 0 && found < n_max; i--) {
        rc = version_info_read(dir, numbers[i - 1], &out[n_max - 1 - found], err);
        found += rc == UNDINE_OK;
    }
    free(numbers);
    if (rc == UNDINE_ENOMEM) {
        return rc;
    }
    memmove(out, out + n_max - found, found * sizeof *out);
    return (int)found;
}

int version_current(const char *dir, char out[VERSION_NAME_MAX], struct undine_err *err)
{
    return version_dir_current(dir, out, err);
}

/* 1 = restored, 0 = passed over and said why, < 0 = memory is out, or it is of a newer format. */
static int try_restore(const char *dir, uint64_t number, uint64_t seq_min, uint64_t seq_max,
                       struct snapshot **out, struct version_info *info, struct undine_err *why)
{
    char path[VERSION_PATH_MAX], name[VERSION_NAME_MAX];
    struct version_info found;
    int rc = version_info_read(dir, number, &found, why);
    if (rc == UNDINE_OK && (found.trained_seq < seq_min || found.trained_seq > seq_max)) {
        rc = undine_err_set(why, UNDINE_ESTATE,
                            "version %" PRIu64 " has learned the examples below %" PRIu64
                            ", the example log holds %" PRIu64 " to %" PRIu64,
                            number, found.trained_seq, seq_min, seq_max);
    }
    version_name(name, number);
    if (rc == UNDINE_OK) {
        rc = version_path(path, dir, name, why);
    }
    if (rc == UNDINE_OK) {
        rc = version_load(path, true, out, info, why);
    }
    if (rc ==
        UNDINE_EVERSION) { /* to go on from an older one would fork what a newer program made */
        (void)undine_err_prefix(why, "version %s", name);
    }
    return rc == UNDINE_OK ? 1 : rc == UNDINE_ENOMEM || rc == UNDINE_EVERSION ? rc : 0;
}

struct restore {
    const char *dir;
    uint64_t seq_min, seq_max;
    struct snapshot **out;
    struct version_info *info;
    version_skipped_fn skipped;
    void *payload;
    uint64_t *merged; /* (n_merged) full versions passed by, whose state is that of older deltas */
    uint64_t *state;  /* (n_merged) which */
    size_t n_merged;
    struct undine_err *err;
};

static int restore_one(struct restore *r, uint64_t number)
{
    struct undine_err why = {0};
    char name[VERSION_NAME_MAX];
    version_name(name, number);
    int rc = try_restore(r->dir, number, r->seq_min, r->seq_max, r->out, r->info, &why);
    if (rc == 0 && r->skipped != NULL) {
        r->skipped(r->payload, name, &why);
    } else if (rc < 0 && r->err != NULL) {
        *r->err = why;
    }
    return rc;
}

/* Those passed by whose state is not older than `number`, the newest state first. */
static int restore_merged(struct restore *r, uint64_t number)
{
    int rc = 0;
    while (rc == 0) {
        size_t best = r->n_merged;
        for (size_t i = 0; i < r->n_merged; i++) {
            bool due = r->merged[i] != 0 && r->state[i] >= number;
            best = due && (best == r->n_merged || r->state[i] > r->state[best]) ? i : best;
        }
        if (best == r->n_merged) {
            return 0;
        }
        rc = restore_one(r, r->merged[best]);
        r->merged[best] = 0;
    }
    return rc;
}

/* A full version that was merged from a delta waits until its turn by that. */
static bool pass_by(struct restore *r, uint64_t number)
{
    struct version_info info;
    if (version_info_read(r->dir, number, &info, NULL) != UNDINE_OK || info.merged_from == 0) {
        return false;
    }
    r->merged[r->n_merged] = number;
    r->state[r->n_merged++] = info.merged_from;
    return true;
}

int version_restore(const char *dir, uint64_t seq_min, uint64_t seq_max, struct snapshot **out,
                    struct version_info *info, version_skipped_fn skipped, void *payload,
                    struct undine_err *err)
{
    struct restore r = {dir, seq_min, seq_max, out, info, skipped, payload, NULL, NULL, 0, err};
    uint64_t *numbers;
    size_t n;
    int rc = version_files_list(dir, &numbers, &n, err);
    r.merged = calloc(n + 1, sizeof *r.merged);
    r.state = calloc(n + 1, sizeof *r.state);
    if (rc == 0 && (r.merged == NULL || r.state == NULL)) {
        rc = no_memory(err);
    }
    for (size_t i = n; rc == 0 && i > 0; i--) {
        rc = restore_merged(&r, numbers[i - 1]);
        if (rc == 0 && !pass_by(&r, numbers[i - 1])) {
            rc = restore_one(&r, numbers[i - 1]);
        }
    }
    rc = rc == 0 ? restore_merged(&r, 0) : rc;
    free(r.merged);
    free(r.state);
    free(numbers);
    return rc;
}
