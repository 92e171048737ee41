#include "learner/version.h"

#include "base/fault.h"
#include "learner/blas.h"
#include "learner/model/version_reader.h"
#include "learner/norms.h"
#include "learner/snapshot_metrics.h"
#include "learner/version_files.h"
#include "learner/version_publish.h"

#include <inttypes.h>
#include <stdio.h>
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

enum { TENSORS_MAX = SNAPSHOT_ARRAYS_MAX + 9 * SCHEMA_TABLES_MAX };

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a version");
}

/* ---- writing ---- */

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

static int write_model(const char *path, const struct snapshot *s, struct file_sum *out,
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

static int write_train(const char *path, const struct snapshot *s, struct file_sum *out,
                       struct undine_err *err)
{
    struct tensors *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const struct snapshot_table *table = &s->table[i];
        if (table->n_slots > 0) {
            add_column(t, table, "slots", SAFETENSORS_F32, table->n_rows, table->n_slots,
                       table->slot);
        }
        if (table->raw != NULL) {
            add_column(t, table, "raw", SAFETENSORS_F32, table->n_rows, table->dim, table->raw);
        }
        add_column(t, table, "count", SAFETENSORS_F32, table->n_rows, 0, table->count);
        add_column(t, table, "seen_day", SAFETENSORS_U32, table->n_rows, 0, table->seen_day);
        add_column(t, table, "stamp", SAFETENSORS_U32, table->n_rows, 0, table->stamp);
    }
    for (uint32_t i = 0; i < s->n_waiting; i++) {
        const struct snapshot_table *w = &s->waiting[i];
        add_column(t, w, "waiting_keys", SAFETENSORS_U64, w->n_rows, 0, w->key);
        add_column(t, w, "waiting_count", SAFETENSORS_F32, w->n_rows, 0, w->count);
        add_column(t, w, "waiting_seen_day", SAFETENSORS_U32, w->n_rows, 0, w->seen_day);
        add_column(t, w, "waiting_stamp", SAFETENSORS_U32, w->n_rows, 0, w->stamp);
    }
    add_arrays(t, s->train, s->n_train);
    int rc = version_files_tensors(path, MANIFEST_TRAIN, t->list, t->n, out, err);
    free(t);
    return rc;
}

static void add_file(struct manifest *m, const char *name, const struct file_sum *sum)
{
    struct manifest_file *f = &m->file[m->n_files++];
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->bytes = sum->bytes;
    hash128_hex(f->checksum, sum->checksum);
}

/* The manifest of a sorted snapshot; its texts are borrowed. */
static void describe(struct manifest *m, const struct snapshot *s,
                     const struct version_extra *extra, uint64_t number)
{
    *m = (struct manifest){.number = number,
                           .trained_seq = s->trained_seq,
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
        m->rows[i] = s->table[i].n_rows;
        m->row_init[i] = s->row_init[i];
    }
    hash128_hex(m->digest, snapshot_digest(s));
    blas_kernels(m->kernels, sizeof m->kernels);
    m->metrics_json = s->metrics_json;
    m->norms_json = s->norms_json;
    m->positions_json = (char *)(uintptr_t)extra->positions_json; /* only printed */
}

static int write_manifest(const char *path, const struct manifest *m, struct undine_err *err)
{
    struct writer text;
    writer_init(&text);
    int rc = manifest_print(m, &text, err);
    if (rc == UNDINE_OK) {
        rc = version_files_text(path, MANIFEST_NAME, text.data, text.len, err);
    }
    writer_release(&text);
    return rc;
}

static void info_of(struct version_info *info, const struct manifest *m)
{
    *info = (struct version_info){.number = m->number,
                                  .trained_seq = m->trained_seq,
                                  .event_time_ms = m->event_time_ms,
                                  .created_ms = m->created_ms,
                                  .bytes = manifest_bytes(m),
                                  .examples = m->examples};
    version_name(info->name, m->number);
    memcpy(info->digest, m->digest, sizeof info->digest);
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        info->rows += m->rows[i];
    }
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
        rc = write_model(path, s, &sum, err);
    }
    FAULT("publish.after_model");
    if (rc == UNDINE_OK) {
        add_file(m, MANIFEST_MODEL, &sum);
        rc = write_train(path, s, &sum, err);
    }
    FAULT("publish.after_train");
    if (rc == UNDINE_OK) {
        add_file(m, MANIFEST_TRAIN, &sum);
        rc = write_manifest(path, m, err);
    }
    FAULT("publish.after_manifest");
    if (rc == UNDINE_OK) {
        rc = version_files_sync_dir(path, err);
    }
    return rc;
}

/* Highest number that is present or published, 0 = none. */
static int highest_number(const char *dir, uint64_t *out, struct undine_err *err)
{
    uint64_t *numbers, current;
    char name[VERSION_NAME_MAX];
    size_t n;
    int rc = version_files_list(dir, &numbers, &n, err);
    if (rc < 0) {
        return rc;
    }
    *out = n > 0 ? numbers[n - 1] : 0;
    free(numbers);
    if (version_dir_current(dir, name, NULL) == UNDINE_OK && version_number(&current, name) &&
        current > *out) {
        *out = current;
    }
    return UNDINE_OK;
}

static int write_next(const char *dir, const struct snapshot *s, const struct version_extra *extra,
                      struct version_info *info, struct undine_err *err)
{
    char temporary[VERSION_NAME_MAX + sizeof VERSION_TEMPORARY], path[VERSION_PATH_MAX];
    uint64_t highest = 0;
    int rc = highest_number(dir, &highest, err);
    if (rc < 0) {
        return rc;
    }
    struct manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return no_memory(err);
    }
    describe(m, s, extra, highest + 1);
    version_name(info->name, m->number);
    (void)snprintf(temporary, sizeof temporary, VERSION_TEMPORARY "%s", info->name);
    rc = version_path(path, dir, temporary, err);
    if (rc == UNDINE_OK) {
        rc = write_files(path, s, m, err);
    }
    FAULT("publish.before_rename");
    if (rc == UNDINE_OK) {
        rc = version_files_rename(dir, temporary, info->name, err);
    }
    FAULT("publish.after_rename");
    if (rc == UNDINE_OK) {
        info_of(info, m);
    } else {
        (void)version_files_prepare(dir, NULL);
    }
    free(m);
    return rc;
}

int version_write(const char *dir, struct snapshot *s, const struct version_extra *extra,
                  bool publish, struct version_info *out, struct undine_err *err)
{
    struct version_info info = {0};
    int rc = snapshot_sort(s, err);
    rc = rc == UNDINE_OK ? snapshot_metrics_attach(s, err) : rc;
    rc = rc == UNDINE_OK ? norms_attach(s, err) : rc;
    if (rc == UNDINE_OK) {
        rc = version_files_prepare(dir, err);
    }
    if (rc == UNDINE_OK) {
        rc = write_next(dir, s, extra, &info, err);
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

/* ---- reading ---- */

static int lacks(struct undine_err *err, const char *table, const char *what)
{
    return undine_err_set(err, UNDINE_ECORRUPT, MANIFEST_TRAIN ": table `%s` has no fitting `%s`",
                          table, what);
}

/* The tensor of this shape where it lies in the mapped file; NULL where there is none (then *rc).
 */
static void *map_column(const struct safetensors *file, const char *table, const char *what,
                        enum safetensors_type type, uint64_t rows, uint64_t *cols,
                        struct undine_err *err, int *rc)
{
    char name[SAFETENSORS_NAME_MAX];
    version_tensor_name(name, table, what);
    const struct safetensors_tensor *t = safetensors_find(file, name);
    if (t == NULL || t->type != type || t->rows != rows || t->cols > UINT32_MAX) {
        *rc = lacks(err, table, what);
        return NULL;
    }
    *cols = t->cols;
    return (void *)(uintptr_t)t->data; /* read only: snapshot.h */
}

static int load_train_columns(struct snapshot_table *t, const struct safetensors *file,
                              struct undine_err *err)
{
    char name[SAFETENSORS_NAME_MAX];
    uint64_t slots = 0, raw = t->dim, none = 0;
    int rc = UNDINE_OK;
    version_tensor_name(name, t->name, "slots");
    if (safetensors_find(file, name) != NULL) {
        t->slot = map_column(file, t->name, "slots", SAFETENSORS_F32, t->n_rows, &slots, err, &rc);
        t->n_slots = (uint32_t)slots;
    }
    version_tensor_name(name, t->name, "raw");
    if (rc == UNDINE_OK && safetensors_find(file, name) != NULL) {
        t->raw = map_column(file, t->name, "raw", SAFETENSORS_F32, t->n_rows, &raw, err, &rc);
    }
    if (rc == UNDINE_OK) {
        t->count = map_column(file, t->name, "count", SAFETENSORS_F32, t->n_rows, &none, err, &rc);
    }
    if (rc == UNDINE_OK) {
        t->seen_day =
            map_column(file, t->name, "seen_day", SAFETENSORS_U32, t->n_rows, &none, err, &rc);
    }
    if (rc == UNDINE_OK) {
        t->stamp = map_column(file, t->name, "stamp", SAFETENSORS_U32, t->n_rows, &none, err, &rc);
    }
    if (rc == UNDINE_OK && (none != 0 || raw != t->dim || (t->slot != NULL && slots == 0))) {
        rc = lacks(err, t->name, "shape");
    }
    return rc;
}

/* Ids that wait for a row in table i, where the version has such. */
static int load_waiting(struct snapshot *s, uint32_t i, const struct safetensors *file,
                        struct undine_err *err)
{
    struct snapshot_table *w = &s->waiting[i];
    char name[SAFETENSORS_NAME_MAX];
    version_tensor_name(name, s->schema.tables[i].name, "waiting_keys");
    const struct safetensors_tensor *keys = safetensors_find(file, name);
    if (keys == NULL) {
        return UNDINE_OK;
    }
    *w = (struct snapshot_table){.n_rows = keys->rows};
    memcpy(w->name, s->schema.tables[i].name, sizeof w->name);
    s->n_waiting = i + 1; /* a table without them has none */
    uint64_t cols = 0, all = 0;
    int rc = UNDINE_OK;
    w->key = map_column(file, w->name, "waiting_keys", SAFETENSORS_U64, w->n_rows, &cols, err, &rc);
    all |= cols;
    if (rc == UNDINE_OK) {
        w->count =
            map_column(file, w->name, "waiting_count", SAFETENSORS_F32, w->n_rows, &cols, err, &rc);
        all |= cols;
    }
    if (rc == UNDINE_OK) {
        w->seen_day = map_column(file, w->name, "waiting_seen_day", SAFETENSORS_U32, w->n_rows,
                                 &cols, err, &rc);
        all |= cols;
    }
    if (rc == UNDINE_OK) {
        w->stamp =
            map_column(file, w->name, "waiting_stamp", SAFETENSORS_U32, w->n_rows, &cols, err, &rc);
        all |= cols;
    }
    return rc == UNDINE_OK && all != 0 ? lacks(err, w->name, "waiting_keys") : rc;
}

static int load_tables(struct snapshot *s, const struct version_reader *r, bool with_train,
                       struct undine_err *err)
{
    int rc = UNDINE_OK;
    s->n_tables = s->schema.n_tables;
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_tables; i++) {
        const struct version_table *from = &r->table[i];
        struct snapshot_table *t = &s->table[i];
        *t = (struct snapshot_table){.dim = from->width,
                                     .n_rows = from->n_rows,
                                     .key = (uint64_t *)(uintptr_t)from->key,
                                     .weight = (float *)(uintptr_t)from->row};
        memcpy(t->name, s->schema.tables[i].name, sizeof t->name);
        if (with_train) {
            rc = load_train_columns(t, &r->train, err);
            rc = rc < 0 ? rc : load_waiting(s, i, &r->train, err);
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

static int load_from(struct snapshot *s, const struct version_reader *r, bool with_train,
                     struct undine_err *err)
{
    const struct manifest *m = &r->manifest;
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
    int rc = load_tables(s, r, with_train, err);
    if (rc == UNDINE_OK) {
        rc = load_arrays(s, &r->model, snapshot_dense, err);
    }
    if (rc == UNDINE_OK && with_train) {
        rc = load_arrays(s, &r->train, snapshot_train, err);
    }
    return rc;
}

int version_load(const char *path, bool with_train, struct snapshot **out,
                 struct version_info *info, struct undine_err *err)
{
    struct version_reader *r = NULL;
    int rc = version_reader_open(&r, path, with_train, err);
    if (rc < 0) {
        return rc;
    }
    /* Every byte was looked at, and the trainer's tables need the memory. */
    mapped_file_pass(r->model_file.data, r->model_file.len);
    mapped_file_pass(r->train_file.data, r->train_file.len);
    struct snapshot *s = snapshot_new();
    if (s == NULL) {
        rc = no_memory(err);
        goto out;
    }
    rc = load_from(s, r, with_train, err);
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s", path);
        goto out;
    }
    if (info != NULL) {
        info_of(info, &r->manifest);
    }
    s->mapped = r; /* what its tables lie in */
    *out = s;
    return UNDINE_OK;
out:
    snapshot_free(s);
    version_reader_close(r);
    return rc;
}

/* ---- the directory ---- */

/* Manifest of version `number` in dir, whose name must be its number. */
int version_info_read(const char *dir, uint64_t number, struct version_info *out,
                      struct undine_err *err)
{
    char name[VERSION_NAME_MAX], path[VERSION_PATH_MAX];
    version_name(name, number);
    int rc = version_path(path, dir, name, err);
    struct manifest *m = calloc(1, sizeof *m);
    if (rc == UNDINE_OK && m == NULL) {
        rc = no_memory(err);
    }
    if (rc == UNDINE_OK) {
        rc = manifest_read(m, path, err);
    }
    if (rc == UNDINE_OK && m->number != number) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "%s: its manifest is that of version %" PRIu64,
                            path, m->number);
    }
    if (rc == UNDINE_OK) {
        info_of(out, m);
    }
    manifest_release(m);
    free(m);
    return rc;
}

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

int version_restore(const char *dir, uint64_t seq_min, uint64_t seq_max, struct snapshot **out,
                    struct version_info *info, version_skipped_fn skipped, void *payload,
                    struct undine_err *err)
{
    uint64_t *numbers;
    size_t n;
    int rc = version_files_list(dir, &numbers, &n, err);
    for (size_t i = n; rc == 0 && i > 0; i--) {
        struct undine_err why = {0};
        rc = try_restore(dir, numbers[i - 1], seq_min, seq_max, out, info, &why);
        if (rc == 0 && skipped != NULL) {
            char name[VERSION_NAME_MAX];
            version_name(name, numbers[i - 1]);
            skipped(payload, name, &why);
        } else if (rc < 0 && err != NULL) {
            *err = why;
        }
    }
    free(numbers);
    return rc;
}
