#include "learner/model/version_reader.h"

#include "learner/model/model_digest.h"
#include "learner/model/version_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INDEX_SLOTS_MIN = 8 };

uint64_t version_index_slots(uint64_t n_rows)
{
    uint64_t slots = INDEX_SLOTS_MIN;
    while (slots < n_rows + n_rows / 2) {
        slots *= 2;
    }
    return slots;
}

void version_index_add(uint32_t *index, uint64_t slots, const uint64_t *keys, uint64_t n,
                       uint64_t first)
{
    UNDINE_ASSERT(first + n < slots && first + n < UINT32_MAX);
    uint64_t mask = slots - 1;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = hash_mix64(keys[i]) & mask;
        while (index[at] != 0) {
            at = (at + 1) & mask;
        }
        index[at] = (uint32_t)(first + i + 1);
    }
}

void version_index_fill(uint32_t *index, uint64_t slots, const uint64_t *keys, uint64_t n)
{
    version_index_add(index, slots, keys, n, 0);
}

uint64_t version_table_find(const struct version_table *t, uint64_t key)
{
    uint64_t at = hash_mix64(key) & t->mask;
    /* Both bounds hold in any version that we wrote; they keep a forged one inside its memory. */
    for (uint64_t probe = 0; probe <= t->mask; probe++, at = (at + 1) & t->mask) {
        uint64_t row = t->index[at];
        if (row == 0 || row > t->n_rows) {
            return t->n_rows;
        }
        if (t->key[row - 1] == key) {
            return row - 1;
        }
    }
    return t->n_rows;
}

void version_tensor_name(char out[SAFETENSORS_NAME_MAX], const char *table, const char *what)
{
    (void)snprintf(out, SAFETENSORS_NAME_MAX, "table.%.*s.%s", SCHEMA_NAME_MAX - 1, table, what);
}

bool version_tensor_of_table(const struct safetensors_tensor *t)
{
    return strncmp(t->name, "table.", 6) == 0;
}

/* ---- opening ---- */

/* Map a file of the version and compare every byte with the manifest's word. */
static int open_file(struct mapped_file *out, const char *path, const struct manifest_file *f,
                     struct undine_err *err)
{
    char file_path[VERSION_PATH_MAX], hex[HASH128_HEX_LEN + 1];
    struct mapped_file m = {0};
    int rc = version_path(file_path, path, f->name, err);
    if (rc == UNDINE_OK) {
        rc = mapped_file_open(&m, file_path, err);
    }
    if (rc == UNDINE_ENOTFOUND) {
        return undine_err_set(err, UNDINE_ECORRUPT, "%s: is missing", file_path);
    }
    if (rc < 0) {
        return rc;
    }
    if (m.len != f->bytes) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s: has %zu bytes, the manifest says %" PRIu64,
                            file_path, m.len, f->bytes);
        goto out;
    }
    hash128_hex(hex, hash128_bytes(m.data, m.len));
    if (strcmp(hex, f->checksum) != 0) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s: checksum is %s, the manifest says %s",
                            file_path, hex, f->checksum);
        goto out;
    }
    *out = m;
    m = (struct mapped_file){0};
out:
    mapped_file_close(&m);
    return rc;
}

static int open_files(struct version_reader *r, const char *path, bool with_train,
                      struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < r->manifest.n_files; i++) {
        const struct manifest_file *f = &r->manifest.file[i];
        struct mapped_file m = {0};
        rc = open_file(&m, path, f, err);
        if (rc == UNDINE_OK && strcmp(f->name, MANIFEST_MODEL) == 0 && r->model_file.data == NULL) {
            r->model_file = m;
        } else if (rc == UNDINE_OK && with_train && strcmp(f->name, MANIFEST_TRAIN) == 0 &&
                   r->train_file.data == NULL) {
            r->train_file = m;
        } else {
            mapped_file_close(&m);
        }
    }
    return rc;
}

static int parse_file(struct safetensors *out, const struct mapped_file *m, const char *path,
                      const char *name, struct undine_err *err)
{
    if (m->data == NULL) {
        return undine_err_set(err, UNDINE_ECORRUPT, "%s/%s: the manifest does not name it", path,
                              name);
    }
    int rc = safetensors_parse(out, m->data, m->len, err);
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s/%s", path, name);
    }
    return rc;
}

/* The table's tensor, if it has this type and shape; rows UINT64_MAX = any. */
static const struct safetensors_tensor *table_tensor(const struct safetensors *s, const char *table,
                                                     const char *what, enum safetensors_type type,
                                                     uint64_t rows, uint64_t cols)
{
    char name[SAFETENSORS_NAME_MAX];
    version_tensor_name(name, table, what);
    const struct safetensors_tensor *t = safetensors_find(s, name);
    bool fits =
        t != NULL && t->type == type && t->cols == cols && (rows == UINT64_MAX || t->rows == rows);
    return fits ? t : NULL;
}

static int no_table(const char *path, const char *name, const char *what, uint64_t n,
                    uint32_t width, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT,
                          "%s/" MANIFEST_MODEL ": table `%s` is not %" PRIu64
                          " keys, rows of %u numbers and %s",
                          path, name, n, width, what);
}

/* Keys and rows of table i, n of them. */
static bool open_rows(struct version_table *t, const struct version_reader *r, uint32_t i,
                      uint64_t n)
{
    const struct schema *schema = &r->manifest.schema;
    const char *name = schema->tables[i].name;
    uint32_t width = model_row_width(schema, &r->manifest.model, i);
    const struct safetensors_tensor *key = table_tensor(&r->model, name, "keys", SAFETENSORS_U64, n,
                                                        0),
                                    *row = table_tensor(&r->model, name, "rows", SAFETENSORS_F32, n,
                                                        width);
    *t = (struct version_table){.n_rows = n, .shared = n, .width = width};
    if (key == NULL || row == NULL) {
        return false;
    }
    t->key = key->data;
    t->row = row->data;
    return true;
}

static bool ascending(const uint64_t *key, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++) {
        if (key[i - 1] >= key[i]) {
            return false;
        }
    }
    return true;
}

/* Does a search find every row, and end for every other id?  A wrong index would make a known id
 * score as an unknown one, which neither row nor digest could tell.  Row numbers are compared, not
 * ids, so that the slots are all that is read out of order. */
static bool index_finds_all(const struct version_table *t)
{
    enum { AHEAD = 16 };
    uint64_t used = 0;
    for (uint64_t at = 0; at <= t->mask; at++) {
        used += t->index[at] != 0;
    }
    if (used != t->n_rows) { /* so there are free slots, too */
        return false;
    }
    for (uint64_t row = 0; row < t->n_rows; row++) {
        if (row + AHEAD < t->n_rows) {
            __builtin_prefetch(&t->index[hash_mix64(t->key[row + AHEAD]) & t->mask]);
        }
        uint64_t at = hash_mix64(t->key[row]) & t->mask;
        while (t->index[at] != row + 1) {
            if (t->index[at] == 0 || t->index[at] > t->n_rows) {
                return false;
            }
            at = (at + 1) & t->mask;
        }
    }
    return true;
}

static int open_full_table(struct version_reader *r, uint32_t i, const char *path,
                           struct undine_err *err)
{
    struct version_table *t = &r->table[i];
    const char *name = r->manifest.schema.tables[i].name;
    uint64_t n = r->manifest.rows[i];
    const struct safetensors_tensor *index =
        table_tensor(&r->model, name, "index", SAFETENSORS_U32, UINT64_MAX, 0);
    if (!open_rows(t, r, i, n) || index == NULL || index->rows <= n ||
        (index->rows & (index->rows - 1)) != 0) {
        return no_table(path, name, "their index", n, t->width, err);
    }
    if (!ascending(t->key, n)) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "%s/" MANIFEST_MODEL ": table `%s` has ids out of order", path, name);
    }
    t->index = index->data;
    t->mask = index->rows - 1;
    if (!index_finds_all(t)) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "%s/" MANIFEST_MODEL
                              ": the index of table `%s` does not find each of its rows",
                              path, name);
    }
    /* The lowest key of all, and no id's: learner/admission.h. */
    if (n > 0 && t->key[0] == 0) {
        t->shared = 0;
    }
    return UNDINE_OK;
}

/* Have two ascending lists nothing in common? */
static bool disjoint(const uint64_t *a, uint64_t n_a, const uint64_t *b, uint64_t n_b)
{
    uint64_t i = 0, k = 0;
    while (i < n_a && k < n_b) {
        if (a[i] == b[k]) {
            return false;
        }
        if (a[i] < b[k]) {
            i++;
        } else {
            k++;
        }
    }
    return true;
}

static int open_delta_table(struct version_reader *r, uint32_t i, const char *path,
                            struct undine_err *err)
{
    struct version_table *t = &r->table[i];
    const char *name = r->manifest.schema.tables[i].name;
    uint64_t n = r->manifest.delta.changed[i], n_removed = r->manifest.delta.removed[i];
    const struct safetensors_tensor *removed =
        table_tensor(&r->model, name, "removed", SAFETENSORS_U64, n_removed, 0);
    if (!open_rows(t, r, i, n) || removed == NULL) {
        return no_table(path, name, "the ids removed", n, t->width, err);
    }
    t->removed = removed->data;
    t->n_removed = n_removed;
    if (!ascending(t->key, n) || !ascending(t->removed, n_removed) ||
        !disjoint(t->key, n, t->removed, n_removed)) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "%s/" MANIFEST_MODEL
                              ": table `%s` has ids out of order, or one both changed and removed",
                              path, name);
    }
    return UNDINE_OK;
}

static int open_tables(struct version_reader *r, const char *path, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < r->manifest.schema.n_tables; i++) {
        rc = r->manifest.is_delta ? open_delta_table(r, i, path, err)
                                  : open_full_table(r, i, path, err);
    }
    return rc;
}

int version_reader_open(struct version_reader **out, const char *path, bool with_train,
                        struct undine_err *err)
{
    struct version_reader *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to read a version");
    }
    int rc = manifest_read(&r->manifest, path, err);
    if (rc == UNDINE_ENOTFOUND && access(path, F_OK) == 0) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s/" MANIFEST_NAME ": is missing", path);
    }
    if (rc == UNDINE_OK) {
        rc = open_files(r, path, with_train, err);
    }
    if (rc == UNDINE_OK) {
        rc = parse_file(&r->model, &r->model_file, path, MANIFEST_MODEL, err);
    }
    if (rc == UNDINE_OK && with_train) {
        rc = parse_file(&r->train, &r->train_file, path, MANIFEST_TRAIN, err);
    }
    if (rc == UNDINE_OK) {
        rc = open_tables(r, path, err);
    }
    if (rc < 0) {
        version_reader_close(r);
        return rc;
    }
    *out = r;
    return UNDINE_OK;
}

void version_reader_close(struct version_reader *r)
{
    if (r == NULL) {
        return;
    }
    safetensors_release(&r->model);
    safetensors_release(&r->train);
    mapped_file_close(&r->model_file);
    mapped_file_close(&r->train_file);
    manifest_release(&r->manifest);
    free(r);
}

int version_reader_digest_of(const struct version_reader *r, const struct model_digest_rows *rows,
                             struct hash128 *out, struct undine_err *err)
{
    struct model_digest d = {0};
    struct model_digest_tensor *dense = calloc(r->model.n + 1, sizeof *dense);
    if (dense == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a digest");
    }
    for (uint32_t i = 0; i < r->manifest.schema.n_tables; i++) {
        model_digest_table(&d, r->manifest.schema.tables[i].name, &rows[i]);
    }
    size_t n = 0;
    for (size_t i = 0; i < r->model.n; i++) {
        const struct safetensors_tensor *t = &r->model.tensor[i];
        if (!version_tensor_of_table(t)) {
            dense[n++] = (struct model_digest_tensor){
                .name = t->name, .data = t->data, .bytes = safetensors_bytes(t)};
        }
    }
    model_digest_dense(&d, dense, n);
    free(dense);
    *out = d.value;
    return UNDINE_OK;
}

int version_reader_digest(const struct version_reader *r, struct hash128 *out,
                          struct undine_err *err)
{
    struct model_digest_rows rows[SCHEMA_TABLES_MAX] = {0};
    UNDINE_ASSERT(!r->manifest.is_delta);
    for (uint32_t i = 0; i < r->manifest.schema.n_tables; i++) {
        const struct version_table *t = &r->table[i];
        model_digest_rows_add(&rows[i], t->key, t->row, t->n_rows, t->width);
    }
    return version_reader_digest_of(r, rows, out, err);
}
