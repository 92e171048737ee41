#include "learner/version_merge.h"

#include "base/fault.h"
#include "learner/chain_columns.h"
#include "learner/norms.h"
#include "learner/version_files.h"
#include "learner/version_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PUT_BYTES = 1 << 20, COLUMNS_MAX = 12 * SCHEMA_TABLES_MAX };

struct version_merge {
    char dir[VERSION_PATH_MAX], path[VERSION_PATH_MAX];
    struct version_chain *chain;
    const atomic_bool *stop;
    struct manifest manifest; /* its texts are the chain's, but for the norms */
    char *norms_json;
    bool committed;
};

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory to merge versions");
}

/* ---- tensors that are made while they are written ---- */

struct piecewise { /* a column, or the index of one of ids */
    struct safetensors_source source;
    const struct version_merge *merge;
    struct merge_plan *plan; /* of all columns of a table */
    struct chain_column column;
    uint64_t slots; /* of an index; else 0 */
};

struct file {
    size_t n_plans, n_columns, n;
    struct merge_plan plan[2 * SCHEMA_TABLES_MAX];
    struct piecewise column[COLUMNS_MAX];
    struct safetensors_tensor tensor[COLUMNS_MAX + SNAPSHOT_ARRAYS_MAX];
};

static void file_free(struct file *f)
{
    for (size_t i = 0; f != NULL && i < f->n_plans; i++) {
        merge_plan_release(&f->plan[i]);
    }
    for (size_t i = 0; f != NULL && i < f->n_columns; i++) {
        chain_column_release(&f->column[i].column);
    }
    free(f);
}

/* Small pieces are put together before they are handed on. */
struct put {
    const struct version_merge *merge;
    safetensors_put_fn put;
    void *output;
    size_t len;
    uint8_t *buffer; /* (PUT_BYTES) */
};

static int put_flush(struct put *p, struct undine_err *err)
{
    if (p->merge->stop != NULL && atomic_load(p->merge->stop)) {
        return undine_err_set(err, UNDINE_EAGAIN, "the merge was stopped");
    }
    int rc = p->put(p->output, p->buffer, p->len, err);
    p->len = 0;
    return rc;
}

static int put_bytes(struct put *p, const uint8_t *at, uint64_t len, struct undine_err *err)
{
    int rc = UNDINE_OK;
    while (rc == UNDINE_OK && len > 0) {
        size_t room = PUT_BYTES - p->len, run = len < room ? (size_t)len : room;
        memcpy(p->buffer + p->len, at, run);
        p->len += run;
        at += run;
        len -= run;
        rc = p->len == PUT_BYTES ? put_flush(p, err) : UNDINE_OK;
    }
    return rc;
}

static int put_column(struct put *p, const struct piecewise *w, struct undine_err *err)
{
    size_t bytes = chain_column_row_bytes(&w->column);
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < w->plan->n_pieces; i++) {
        const struct merge_piece *piece = &w->plan->piece[i];
        const uint8_t *from = (const uint8_t *)w->column.data[piece->part] + piece->row * bytes;
        rc = put_bytes(p, from, piece->n * bytes, err);
    }
    return rc;
}

static int produce_column(const struct safetensors_source *self, safetensors_put_fn put,
                          void *output, struct undine_err *err)
{
    const struct piecewise *w = (const struct piecewise *)(const void *)self;
    struct put p = {.merge = w->merge, .put = put, .output = output, .buffer = malloc(PUT_BYTES)};
    int rc = p.buffer != NULL ? put_column(&p, w, err) : no_memory(err);
    rc = rc == UNDINE_OK ? put_flush(&p, err) : rc;
    free(p.buffer);
    return rc;
}

static int produce_index(const struct safetensors_source *self, safetensors_put_fn put,
                         void *output, struct undine_err *err)
{
    const struct piecewise *w = (const struct piecewise *)(const void *)self;
    uint32_t *index = calloc(w->slots, sizeof *index);
    uint64_t row = 0;
    if (index == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < w->plan->n_pieces; i++) {
        const struct merge_piece *piece = &w->plan->piece[i];
        const uint64_t *key = (const uint64_t *)w->column.data[piece->part] + piece->row;
        version_index_add(index, w->slots, key, piece->n, row);
        row += piece->n;
    }
    int rc = put(output, index, w->slots * sizeof *index, err);
    free(index);
    return rc;
}

/* ---- what is in the files ---- */

static void add_tensor(struct file *f, const struct safetensors_tensor *t)
{
    f->tensor[f->n++] = *t;
}

static int add_column(struct file *f, const struct version_merge *m, uint32_t table,
                      enum chain_rows which, const char *what, enum safetensors_type type,
                      struct undine_err *err)
{
    struct piecewise *w = &f->column[f->n_columns];
    UNDINE_ASSERT(f->n_columns < COLUMNS_MAX);
    *w = (struct piecewise){
        .source = {produce_column}, .merge = m, .plan = &f->plan[f->n_plans - 1]};
    int rc = chain_column(&w->column, m->chain, table, which, what, type, err);
    if (rc < 0 || w->column.n_parts == 0) {
        return rc;
    }
    f->n_columns++;
    struct safetensors_tensor t = {
        .type = type, .rows = w->plan->n_rows, .cols = w->column.cols, .source = &w->source};
    memcpy(t.name, w->column.name, sizeof t.name);
    add_tensor(f, &t);
    return UNDINE_OK;
}

static int add_index(struct file *f, const struct version_merge *m, uint32_t table,
                     struct undine_err *err)
{
    size_t n = f->n;
    int rc = add_column(f, m, table, CHAIN_TABLE, "keys", SAFETENSORS_U64, err);
    if (rc < 0) {
        return rc;
    }
    struct piecewise *w = &f->column[f->n_columns - 1];
    w->source.produce = produce_index;
    w->slots = version_index_slots(w->plan->n_rows);
    f->tensor[n].type = SAFETENSORS_U32;
    f->tensor[n].rows = w->slots;
    version_tensor_name(f->tensor[n].name, m->manifest.schema.tables[table].name, "index");
    return UNDINE_OK;
}

static int add_plan(struct file *f, const struct version_merge *m, uint32_t table,
                    enum chain_rows which, struct undine_err *err)
{
    return chain_plan(&f->plan[f->n_plans++], m->chain, table, which, err);
}

static int add_rest(struct file *f, const struct safetensors *from, struct undine_err *err)
{
    size_t first = f->n;
    for (size_t i = 0; i < from->n; i++) {
        if (version_tensor_of_table(&from->tensor[i])) {
            continue;
        }
        if (f->n - first == SNAPSHOT_ARRAYS_MAX) {
            return undine_err_set(err, UNDINE_ECORRUPT, "more than %d arrays besides the tables",
                                  SNAPSHOT_ARRAYS_MAX);
        }
        add_tensor(f, &from->tensor[i]);
    }
    return UNDINE_OK;
}

static int fill_model(struct file *f, const struct version_merge *m, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < m->manifest.schema.n_tables; i++) {
        rc = add_plan(f, m, i, CHAIN_TABLE, err);
        if (rc == UNDINE_OK) {
            rc = add_column(f, m, i, CHAIN_TABLE, "keys", SAFETENSORS_U64, err);
        }
        if (rc == UNDINE_OK) {
            rc = add_column(f, m, i, CHAIN_TABLE, "rows", SAFETENSORS_F32, err);
        }
        if (rc == UNDINE_OK) {
            rc = add_index(f, m, i, err);
        }
    }
    return rc == UNDINE_OK ? add_rest(f, m->chain->dense, err) : rc;
}

static int add_columns(struct file *f, const struct version_merge *m, uint32_t table,
                       enum chain_rows which, struct undine_err *err)
{
    static const struct {
        enum chain_rows which;
        const char *what;
        enum safetensors_type type;
    } columns[] = {{CHAIN_TABLE, "slots", SAFETENSORS_F32},
                   {CHAIN_TABLE, "raw", SAFETENSORS_F32},
                   {CHAIN_TABLE, "count", SAFETENSORS_F32},
                   {CHAIN_TABLE, "seen_day", SAFETENSORS_U32},
                   {CHAIN_TABLE, "stamp", SAFETENSORS_U32},
                   {CHAIN_WAITING, "waiting_keys", SAFETENSORS_U64},
                   {CHAIN_WAITING, "waiting_count", SAFETENSORS_F32},
                   {CHAIN_WAITING, "waiting_seen_day", SAFETENSORS_U32},
                   {CHAIN_WAITING, "waiting_stamp", SAFETENSORS_U32}};
    int rc = add_plan(f, m, table, which, err);
    for (size_t i = 0; rc == UNDINE_OK && i < sizeof columns / sizeof columns[0]; i++) {
        if (columns[i].which == which) {
            rc = add_column(f, m, table, which, columns[i].what, columns[i].type, err);
        }
    }
    return rc;
}

static int fill_train(struct file *f, const struct version_merge *m, struct undine_err *err)
{
    const struct version_chain *c = m->chain;
    uint32_t n = m->manifest.schema.n_tables;
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < n; i++) {
        rc = add_columns(f, m, i, CHAIN_TABLE, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < n; i++) {
        if (chain_has_waiting(c, i)) {
            rc = add_columns(f, m, i, CHAIN_WAITING, err);
        }
    }
    return rc == UNDINE_OK ? add_rest(f, &c->part[c->n_parts - 1]->reader->train, err) : rc;
}

static int write_file(struct version_merge *m, const char *name,
                      int (*fill)(struct file *, const struct version_merge *, struct undine_err *),
                      struct undine_err *err)
{
    struct file_sum sum;
    struct file *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return no_memory(err);
    }
    int rc = fill(f, m, err);
    if (rc == UNDINE_OK) {
        rc = version_files_tensors(m->path, name, f->tensor, f->n, &sum, err);
    }
    if (rc == UNDINE_OK) {
        version_info_add_file(&m->manifest, name, &sum);
    }
    file_free(f);
    return rc;
}

/* ---- reading it again ---- */

/* The model as it lies in the file, as a snapshot that owns none of it. */
static int look_at(struct snapshot *s, const struct version_merge *m,
                   const struct safetensors *file, struct undine_err *err)
{
    char name[SAFETENSORS_NAME_MAX];
    s->schema = m->manifest.schema;
    s->model = m->manifest.model;
    s->n_tables = s->schema.n_tables;
    for (uint32_t i = 0; i < s->n_tables; i++) {
        struct snapshot_table *t = &s->table[i];
        memcpy(t->name, s->schema.tables[i].name, sizeof t->name);
        version_tensor_name(name, t->name, "keys");
        const struct safetensors_tensor *key = safetensors_find(file, name);
        version_tensor_name(name, t->name, "rows");
        const struct safetensors_tensor *row = safetensors_find(file, name);
        if (key == NULL || row == NULL) {
            return undine_err_set(err, UNDINE_ECORRUPT, "table `%s` is not there", t->name);
        }
        t->n_rows = key->rows;
        t->dim = (uint32_t)row->cols;
        t->key = (uint64_t *)(uintptr_t)key->data;
        t->weight = (float *)(uintptr_t)row->data;
    }
    for (size_t i = 0; i < file->n; i++) {
        const struct safetensors_tensor *from = &file->tensor[i];
        if (!version_tensor_of_table(from) && s->n_dense < SNAPSHOT_ARRAYS_MAX) {
            struct snapshot_array *to = &s->dense[s->n_dense++];
            *to = (struct snapshot_array){.type = (enum snapshot_type)from->type,
                                          .rows = from->rows,
                                          .cols = from->cols,
                                          .data = (void *)(uintptr_t)from->data};
            memcpy(to->name, from->name, sizeof to->name);
        }
    }
    return UNDINE_OK;
}

static int check(struct version_merge *m, struct snapshot *s, const struct safetensors *file,
                 struct undine_err *err)
{
    char hex[HASH128_HEX_LEN + 1];
    int rc = look_at(s, m, file, err);
    if (rc < 0) {
        return rc;
    }
    hash128_hex(hex, snapshot_digest(s));
    if (strcmp(hex, m->manifest.digest) != 0) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "the merged model has the digest %s, version %s has %s", hex,
                              m->chain->name, m->manifest.digest);
    }
    rc = norms_attach(s, err);
    m->norms_json = rc == UNDINE_OK ? strdup(s->norms_json) : NULL;
    return rc == UNDINE_OK && m->norms_json == NULL ? no_memory(err) : rc;
}

static int read_again(struct version_merge *m, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    struct mapped_file file = {0};
    struct safetensors tensors = {0};
    struct snapshot *s = snapshot_new();
    int rc = s == NULL ? no_memory(err) : version_path(path, m->path, MANIFEST_MODEL, err);
    if (rc == UNDINE_OK) {
        rc = mapped_file_open(&file, path, err);
    }
    if (rc == UNDINE_OK) {
        rc = safetensors_parse(&tensors, file.data, file.len, err);
    }
    if (rc == UNDINE_OK) {
        rc = check(m, s, &tensors, err);
    }
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s", m->path);
    }
    snapshot_free(s);
    safetensors_release(&tensors);
    mapped_file_close(&file);
    return rc;
}

/* ---- the two steps ---- */

static void describe(struct version_merge *m)
{
    m->manifest = *m->chain->manifest;
    m->manifest.is_delta = false;
    m->manifest.delta = (struct manifest_delta){0};
    m->manifest.merged_from = m->chain->number;
    m->manifest.n_files = 0;
    m->manifest.norms_json = NULL;
}

static int write_merged(struct version_merge *m, struct undine_err *err)
{
    int rc = version_files_clear_merge(m->dir, err);
    FAULT("merge.before_directory");
    if (rc == UNDINE_OK) {
        rc = version_files_make_dir(m->path, err);
    }
    if (rc == UNDINE_OK) {
        rc = write_file(m, MANIFEST_MODEL, fill_model, err);
    }
    FAULT("merge.after_model");
    if (rc == UNDINE_OK) {
        rc = write_file(m, MANIFEST_TRAIN, fill_train, err);
    }
    FAULT("merge.after_train");
    if (rc == UNDINE_OK) {
        rc = read_again(m, err);
    }
    return rc;
}

int version_merge_write(struct version_merge **out, const char *dir, const char *name,
                        const struct version_chain *near, const atomic_bool *stop,
                        struct undine_err *err)
{
    struct version_merge *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return no_memory(err);
    }
    m->stop = stop;
    (void)snprintf(m->dir, sizeof m->dir, "%s", dir);
    int rc = version_path(m->path, dir, VERSION_MERGING, err);
    if (rc == UNDINE_OK) {
        rc = version_chain_open(&m->chain, dir, name, near, true, err);
    }
    if (rc == UNDINE_OK && m->chain->n_parts == 1) {
        rc = undine_err_set(err, UNDINE_EINVAL, "version %s is a full one: nothing to merge", name);
    }
    if (rc == UNDINE_OK) {
        describe(m);
        rc = write_merged(m, err);
    }
    if (rc < 0) {
        version_merge_free(m);
        return rc;
    }
    *out = m;
    return UNDINE_OK;
}

int version_merge_commit(struct version_merge *m, int64_t created_ms, struct version_info *out,
                         struct undine_err *err)
{
    uint64_t highest = 0;
    char name[VERSION_NAME_MAX];
    UNDINE_ASSERT(!m->committed);
    int rc = version_info_highest(m->dir, &highest, err);
    if (rc < 0) {
        return rc;
    }
    m->manifest.number = highest + 1;
    m->manifest.created_ms = created_ms;
    m->manifest.norms_json = m->norms_json;
    version_name(name, m->manifest.number);
    rc = version_info_write(m->path, &m->manifest, err);
    if (rc == UNDINE_OK) {
        rc = version_files_sync_dir(m->path, err);
    }
    FAULT("merge.before_rename");
    if (rc == UNDINE_OK) {
        rc = version_files_rename(m->dir, VERSION_MERGING, name, err);
    }
    FAULT("merge.after_rename");
    m->committed = rc == UNDINE_OK;
    if (rc == UNDINE_OK && out != NULL) {
        version_info_of(out, &m->manifest);
    }
    return rc;
}

void version_merge_free(struct version_merge *m)
{
    if (m == NULL) {
        return;
    }
    if (!m->committed && m->path[0] != '\0') {
        (void)version_files_clear_merge(m->dir, NULL);
    }
    version_chain_close(m->chain);
    free(m->norms_json);
    free(m);
}

int version_merge_clear(const char *dir, struct undine_err *err)
{
    return version_files_clear_merge(dir, err);
}
