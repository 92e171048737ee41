/* version_load.c: a version with what its chain holds, as a snapshot (version.h). */
#include "learner/chain_columns.h"
#include "learner/version.h"
#include "learner/version_info.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a version");
}

struct load {
    struct snapshot *s;
    const struct version_chain *chain;
    uint32_t table;
    enum chain_rows which;
    struct merge_plan plan; /* empty where the chain is one full version */
};

static int lacks(struct undine_err *err, const char *table, const char *what)
{
    return undine_err_set(err, UNDINE_ECORRUPT, MANIFEST_TRAIN ": table `%s` has no fitting `%s`",
                          table, what);
}

/* A column as the snapshot has it: where it lies in a full version, else put together in the
 * snapshot's memory.  NULL and *cols 0 where there is none. */
static int load_column(const struct load *l, const char *what, enum safetensors_type type,
                       void *out, uint64_t *cols, struct undine_err *err)
{
    struct chain_column col;
    void *data = NULL;
    int rc = chain_column(&col, l->chain, l->table, l->which, what, type, err);
    if (rc < 0) {
        return rc;
    }
    *cols = col.cols;
    if (col.n_parts == 1) {
        data = (void *)(uintptr_t)col.data[0]; /* read only: snapshot.h */
    } else if (col.n_parts > 1) {
        data = arena_alloc(&l->s->memory, l->plan.n_rows * chain_column_row_bytes(&col));
        rc = data != NULL ? UNDINE_OK : no_memory(err);
        if (rc == UNDINE_OK) {
            chain_column_copy(data, &col, &l->plan);
        }
    }
    memcpy(out, &data, sizeof data); /* a pointer to any type */
    chain_column_release(&col);
    return rc;
}

/* One that must be there, with one number a row. */
static int load_numbers(const struct load *l, const char *what, enum safetensors_type type,
                        void *out, struct undine_err *err)
{
    uint64_t cols = 0;
    void *data = NULL;
    int rc = load_column(l, what, type, &data, &cols, err);
    if (rc == UNDINE_OK && (data == NULL || cols != 0)) {
        rc = lacks(err, l->chain->manifest->schema.tables[l->table].name, what);
    }
    memcpy(out, &data, sizeof data);
    return rc;
}

static int load_train_columns(const struct load *l, struct snapshot_table *t,
                              struct undine_err *err)
{
    uint64_t slots = 0, raw = 0;
    int rc = load_column(l, "slots", SAFETENSORS_F32, &t->slot, &slots, err);
    t->n_slots = (uint32_t)slots;
    if (rc == UNDINE_OK) {
        rc = load_column(l, "raw", SAFETENSORS_F32, &t->raw, &raw, err);
    }
    if (rc == UNDINE_OK) {
        rc = load_numbers(l, "count", SAFETENSORS_F32, &t->count, err);
    }
    if (rc == UNDINE_OK) {
        rc = load_numbers(l, "seen_day", SAFETENSORS_U32, &t->seen_day, err);
    }
    if (rc == UNDINE_OK) {
        rc = load_numbers(l, "stamp", SAFETENSORS_U32, &t->stamp, err);
    }
    if (rc == UNDINE_OK && ((t->raw != NULL && raw != t->dim) || (t->slot != NULL && slots == 0))) {
        rc = lacks(err, t->name, "shape");
    }
    return rc;
}

static int load_table(struct load *l, bool with_train, struct undine_err *err)
{
    struct snapshot *s = l->s;
    struct snapshot_table *t = &s->table[l->table];
    const struct version_rows *from = &l->chain->table[l->table];
    uint64_t none = 0, width = 0;
    *t = (struct snapshot_table){.dim = from->width, .n_rows = from->digest.n};
    memcpy(t->name, s->schema.tables[l->table].name, sizeof t->name);
    int rc = load_column(l, "keys", SAFETENSORS_U64, &t->key, &none, err);
    if (rc == UNDINE_OK) {
        rc = load_column(l, "rows", SAFETENSORS_F32, &t->weight, &width, err);
    }
    return rc == UNDINE_OK && with_train ? load_train_columns(l, t, err) : rc;
}

/* Ids that wait for a row, where the version has such. */
static int load_waiting(struct load *l, uint64_t n_rows, struct undine_err *err)
{
    struct snapshot *s = l->s;
    struct snapshot_table *w = &s->waiting[l->table];
    *w = (struct snapshot_table){.n_rows = n_rows};
    memcpy(w->name, s->schema.tables[l->table].name, sizeof w->name);
    s->n_waiting = l->table + 1; /* a table without them has none */
    int rc = load_numbers(l, "waiting_keys", SAFETENSORS_U64, &w->key, err);
    if (rc == UNDINE_OK) {
        rc = load_numbers(l, "waiting_count", SAFETENSORS_F32, &w->count, err);
    }
    if (rc == UNDINE_OK) {
        rc = load_numbers(l, "waiting_seen_day", SAFETENSORS_U32, &w->seen_day, err);
    }
    if (rc == UNDINE_OK) {
        rc = load_numbers(l, "waiting_stamp", SAFETENSORS_U32, &w->stamp, err);
    }
    return rc;
}

/* What l->which names of one table. */
static int load_part(struct load *l, bool with_train, struct undine_err *err)
{
    uint64_t n_waiting = 0;
    int rc = chain_plan(&l->plan, l->chain, l->table, l->which, err);
    if (rc < 0) {
        return rc;
    }
    if (l->which == CHAIN_TABLE) {
        UNDINE_ASSERT(l->plan.n_rows == l->chain->table[l->table].digest.n);
        rc = load_table(l, with_train, err);
    } else {
        n_waiting = l->plan.n_rows;
        rc = load_waiting(l, n_waiting, err);
    }
    merge_plan_release(&l->plan);
    return rc;
}

static int load_tables(struct snapshot *s, const struct version_chain *c, bool with_train,
                       struct undine_err *err)
{
    int rc = UNDINE_OK;
    s->n_tables = s->schema.n_tables;
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_tables; i++) {
        struct load l = {.s = s, .chain = c, .table = i, .which = CHAIN_TABLE};
        rc = load_part(&l, with_train, err);
        if (rc == UNDINE_OK && with_train && chain_has_waiting(c, i)) {
            l.which = CHAIN_WAITING;
            rc = load_part(&l, with_train, err);
        }
    }
    return rc;
}

typedef void *(*add_array_fn)(struct snapshot *s, const char *name, enum snapshot_type t,
                              uint64_t rows, uint64_t cols);

static int load_arrays(struct snapshot *s, const struct safetensors *file, add_array_fn add,
                       struct undine_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < file->n; i++) {
        const struct safetensors_tensor *t = &file->tensor[i];
        if (version_tensor_of_table(t)) {
            continue;
        }
        if (n++ == SNAPSHOT_ARRAYS_MAX) {
            return undine_err_set(err, UNDINE_ECORRUPT, "more than %d arrays besides the tables",
                                  SNAPSHOT_ARRAYS_MAX);
        }
        void *data = add(s, t->name, (enum snapshot_type)t->type, t->rows, t->cols);
        if (data == NULL) {
            return no_memory(err);
        }
        memcpy(data, t->data, safetensors_bytes(t));
    }
    return UNDINE_OK;
}

static int load_from(struct snapshot *s, const struct version_chain *c, bool with_train,
                     struct undine_err *err)
{
    const struct manifest *m = c->manifest;
    const struct version_reader *tip = c->part[c->n_parts - 1]->reader;
    s->schema = m->schema;
    s->model = m->model;
    memcpy(s->row_init, m->row_init, sizeof s->row_init);
    s->trained_seq = m->trained_seq;
    s->event_time_ms = m->event_time_ms;
    s->examples = m->examples;
    s->positives = m->positives;
    s->batches = m->batches;
    s->metrics_json = arena_strndup(&s->memory, m->metrics_json, strlen(m->metrics_json));
    if (s->metrics_json == NULL) {
        return no_memory(err);
    }
    int rc = load_tables(s, c, with_train, err);
    if (rc == UNDINE_OK) {
        rc = load_arrays(s, &tip->model, snapshot_dense, err);
    }
    if (rc == UNDINE_OK && with_train) {
        rc = load_arrays(s, &tip->train, snapshot_train, err);
    }
    return rc;
}

/* Every byte was looked at, and the trainer's tables need the memory. */
static void pass_files(const struct version_chain *c)
{
    for (uint32_t i = 0; i < c->n_parts; i++) {
        const struct version_reader *r = c->part[i]->reader;
        mapped_file_pass(r->model_file.data, r->model_file.len);
        mapped_file_pass(r->train_file.data, r->train_file.len);
    }
}

int version_load(const char *path, bool with_train, struct snapshot **out,
                 struct version_info *info, struct undine_err *err)
{
    struct version_chain *c = NULL;
    int rc = version_chain_open_path(&c, path, NULL, with_train, err);
    if (rc < 0) {
        return rc;
    }
    pass_files(c);
    struct snapshot *s = snapshot_new();
    if (s == NULL) {
        rc = no_memory(err);
        goto out;
    }
    rc = load_from(s, c, with_train, err);
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s", path);
        goto out;
    }
    if (info != NULL) {
        version_info_of(info, c->manifest);
    }
    if (c->n_parts == 1) {
        s->mapped = c; /* what its tables lie in */
        c = NULL;
    }
    *out = s;
    s = NULL;
out:
    snapshot_free(s);
    version_chain_close(c);
    return rc;
}
