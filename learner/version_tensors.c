#include "learner/version_tensors.h"

#include "learner/model/manifest.h"
#include "learner/model/version_reader.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)SNAPSHOT_F32 == (int)SAFETENSORS_F32 &&
                   (int)SNAPSHOT_F64 == (int)SAFETENSORS_F64 &&
                   (int)SNAPSHOT_U64 == (int)SAFETENSORS_U64 &&
                   (int)SNAPSHOT_U32 == (int)SAFETENSORS_U32 &&
                   (int)SNAPSHOT_U8 == (int)SAFETENSORS_U8 &&
                   (int)SNAPSHOT_I64 == (int)SAFETENSORS_I64,
               "a snapshot's types are those of the files");
_Static_assert(sizeof((struct snapshot_array *)0)->name <= SAFETENSORS_NAME_MAX,
               "a snapshot's names fit the files");

enum { TENSORS_MAX = SNAPSHOT_ARRAYS_MAX + 11 * SCHEMA_TABLES_MAX };

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a version");
}

struct tensors {
    size_t n;
    struct safetensors_tensor list[TENSORS_MAX];
};

static void add_tensor(struct tensors *t, const char *name, enum safetensors_type type,
                       uint64_t rows, uint64_t cols, const void *data)
{
    struct safetensors_tensor *to = &t->list[t->n++];
    *to = (struct safetensors_tensor){.type = type, .rows = rows, .cols = cols, .data = data};
    memcpy(to->name, name, strlen(name) + 1);
}

static void add_column(struct tensors *t, const struct snapshot_table *table, const char *what,
                       enum safetensors_type type, uint64_t rows, uint64_t cols, const void *data)
{
    char name[SAFETENSORS_NAME_MAX];
    version_tensor_name(name, table->name, what);
    add_tensor(t, name, type, rows, cols, data);
}

static void add_arrays(struct tensors *t, const struct snapshot_array *a, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        add_tensor(t, a[i].name, (enum safetensors_type)a[i].type, a[i].rows, a[i].cols, a[i].data);
    }
}

static int write_full_model(const char *path, const struct snapshot *s, struct file_sum *out,
                            struct undine_err *err)
{
    int rc = UNDINE_OK;
    uint32_t *index[SCHEMA_TABLES_MAX] = {NULL};
    struct tensors *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const struct snapshot_table *table = &s->table[i];
        uint64_t slots = version_index_slots(table->n_rows);
        index[i] = calloc(slots, sizeof *index[i]);
        if (index[i] == NULL) {
            rc = no_memory(err);
            goto out;
        }
        version_index_fill(index[i], slots, table->key, table->n_rows);
        add_column(t, table, "keys", SAFETENSORS_U64, table->n_rows, 0, table->key);
        add_column(t, table, "rows", SAFETENSORS_F32, table->n_rows, table->dim, table->weight);
        add_column(t, table, "index", SAFETENSORS_U32, slots, 0, index[i]);
    }
    add_arrays(t, s->dense, s->n_dense);
    rc = version_files_tensors(path, MANIFEST_MODEL, t->list, t->n, out, err);
out:
    for (uint32_t i = 0; i < s->n_tables; i++) {
        free(index[i]);
    }
    free(t);
    return rc;
}

static int write_delta_model(const char *path, const struct snapshot *s, struct file_sum *out,
                             struct undine_err *err)
{
    struct tensors *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const struct snapshot_table *table = &s->table[i];
        add_column(t, table, "keys", SAFETENSORS_U64, table->n_rows, 0, table->key);
        add_column(t, table, "removed", SAFETENSORS_U64, table->n_removed, 0, table->removed);
        add_column(t, table, "rows", SAFETENSORS_F32, table->n_rows, table->dim, table->weight);
    }
    add_arrays(t, s->dense, s->n_dense);
    int rc = version_files_tensors(path, MANIFEST_MODEL, t->list, t->n, out, err);
    free(t);
    return rc;
}

int version_tensors_model(const char *path, const struct snapshot *s, struct file_sum *out,
                          struct undine_err *err)
{
    return s->delta ? write_delta_model(path, s, out, err) : write_full_model(path, s, out, err);
}

static void add_train_columns(struct tensors *t, const struct snapshot_table *table)
{
    if (table->n_slots > 0) {
        add_column(t, table, "slots", SAFETENSORS_F32, table->n_rows, table->n_slots, table->slot);
    }
    if (table->raw != NULL) {
        add_column(t, table, "raw", SAFETENSORS_F32, table->n_rows, table->dim, table->raw);
    }
    add_column(t, table, "count", SAFETENSORS_F32, table->n_rows, 0, table->count);
    add_column(t, table, "seen_day", SAFETENSORS_U32, table->n_rows, 0, table->seen_day);
    add_column(t, table, "stamp", SAFETENSORS_U32, table->n_rows, 0, table->stamp);
}

static void add_waiting(struct tensors *t, const struct snapshot_table *w, bool delta)
{
    add_column(t, w, "waiting_keys", SAFETENSORS_U64, w->n_rows, 0, w->key);
    if (delta) {
        add_column(t, w, "waiting_removed", SAFETENSORS_U64, w->n_removed, 0, w->removed);
    }
    add_column(t, w, "waiting_count", SAFETENSORS_F32, w->n_rows, 0, w->count);
    add_column(t, w, "waiting_seen_day", SAFETENSORS_U32, w->n_rows, 0, w->seen_day);
    add_column(t, w, "waiting_stamp", SAFETENSORS_U32, w->n_rows, 0, w->stamp);
}

int version_tensors_train(const char *path, const struct snapshot *s, struct file_sum *out,
                          struct undine_err *err)
{
    struct tensors *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < s->n_tables; i++) {
        add_train_columns(t, &s->table[i]);
    }
    for (uint32_t i = 0; i < s->n_waiting; i++) {
        add_waiting(t, &s->waiting[i], s->delta);
    }
    add_arrays(t, s->train, s->n_train);
    int rc = version_files_tensors(path, MANIFEST_TRAIN, t->list, t->n, out, err);
    free(t);
    return rc;
}
