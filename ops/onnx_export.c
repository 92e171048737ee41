#include "ops/onnx_export.h"

#include "learner/chain_columns.h"
#include "learner/model/json_text.h"
#include "learner/model/version_model.h"
#include "ops/program.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS_ALIGNMENT = 4096 /* so that a table can be mapped by itself */ };

static const char ROWS[] = "rows.bin", IDS[] = "ids.safetensors", INPUTS[] = "inputs.json",
                  MODEL[] = "model.onnx";

struct export
{
    const struct version_chain *version;
    const struct schema *schema;
    const char *output;
    struct merge_plan plan[SCHEMA_TABLES_MAX]; /* of each table's rows */
    struct onnx_source source;
    struct onnx_graph graph;
    struct onnx_export *out;
    bool bad; /* memory was out for a part of inputs.json */
};

/* ---- files -------------------------------------------------------------------------------- */

static int open_file(struct export *x, const char *name, int *fd, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    int rc = version_path(path, x->output, name, err);
    if (rc < 0) {
        return rc;
    }
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return *fd >= 0 ? UNDINE_OK : undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
}

static int write_failed(const struct export *x, const char *name, struct undine_err *err)
{
    return undine_err_sys(err, UNDINE_EIO, errno, "%s/%s", x->output, name);
}

static int write_whole(struct export *x, const char *name, const void *data, size_t len,
                       struct undine_err *err)
{
    int fd = -1, rc = open_file(x, name, &fd, err);
    FILE *f = rc == UNDINE_OK ? fdopen(fd, "wb") : NULL;
    if (f == NULL) {
        return rc < 0 ? rc : write_failed(x, name, err);
    }
    bool written = fwrite(data, 1, len, f) == len;
    if (fclose(f) != 0 || !written) {
        return write_failed(x, name, err);
    }
    x->out->bytes += len;
    return UNDINE_OK;
}

/* ---- rows and ids ------------------------------------------------------------------------- */

static int plan_tables(struct export *x, struct undine_err *err)
{
    uint64_t offset = 0;
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < x->schema->n_tables; i++) {
        uint32_t width = x->version->table[i].width;
        rc = chain_plan(&x->plan[i], x->version, i, CHAIN_TABLE, err);
        uint64_t n = x->plan[i].n_rows;
        x->source.table[i] = (struct onnx_table){.name = x->schema->tables[i].name,
                                                 .file = ROWS,
                                                 .n_rows = n,
                                                 .offset = offset,
                                                 .width = width};
        x->out->rows[i] = n;
        offset += (n + 2) * width * sizeof(float);
        offset += (ROWS_ALIGNMENT - offset % ROWS_ALIGNMENT) % ROWS_ALIGNMENT;
    }
    return rc;
}

static bool write_floats(FILE *f, const float *values, uint64_t n)
{
    return n == 0 || fwrite(values, sizeof *values, n, f) == n;
}

/* A row of ids that are not there: the shared one, or zeros, which is what they begin as but for
 * what is random. */
static bool write_table(FILE *f, const struct version_rows *t, const struct merge_plan *plan)
{
    static const float zeros[SCHEMA_DIM_MAX + 1];
    UNDINE_ASSERT(t->width <= SCHEMA_DIM_MAX + 1);
    for (size_t i = 0; i < plan->n_pieces; i++) {
        const struct merge_piece *p = &plan->piece[i];
        const float *from = t->row[p->part] + (uint64_t)p->row * t->width;
        if (!write_floats(f, from, (uint64_t)p->n * t->width)) {
            return false;
        }
    }
    return write_floats(f, t->shared != NULL ? t->shared : zeros, t->width) &&
           write_floats(f, zeros, t->width);
}

static int write_rows(struct export *x, struct undine_err *err)
{
    int fd = -1, rc = open_file(x, ROWS, &fd, err);
    FILE *f = rc == UNDINE_OK ? fdopen(fd, "wb") : NULL;
    if (f == NULL) {
        return rc < 0 ? rc : write_failed(x, ROWS, err);
    }
    bool written = true;
    for (uint32_t i = 0; written && i < x->schema->n_tables; i++) {
        written = fseeko(f, (off_t)x->source.table[i].offset, SEEK_SET) == 0 &&
                  write_table(f, &x->version->table[i], &x->plan[i]);
    }
    off_t bytes = ftello(f);
    if (fclose(f) != 0 || !written) {
        return write_failed(x, ROWS, err);
    }
    x->out->bytes += (uint64_t)bytes;
    return UNDINE_OK;
}

/* Ids of a table, ascending; the caller frees them.  NULL where memory is out. */
static uint64_t *gather_ids(const struct export *x, uint32_t table)
{
    const struct merge_plan *plan = &x->plan[table];
    uint64_t *ids = calloc(plan->n_rows + 1, sizeof *ids), n = 0;
    for (size_t i = 0; ids != NULL && i < plan->n_pieces; i++) {
        const struct merge_piece *p = &plan->piece[i];
        const uint64_t *key = x->version->part[p->part]->reader->table[table].key;
        memcpy(ids + n, key + p->row, p->n * sizeof *ids);
        n += p->n;
    }
    return ids;
}

static int write_tensors(struct export *x, const struct safetensors_tensor *tensors, size_t n,
                         struct undine_err *err)
{
    struct file_sum sum = {0};
    int fd = -1, rc = open_file(x, IDS, &fd, err);
    if (rc == UNDINE_OK) {
        rc = safetensors_write(fd, tensors, n, &sum, err);
        if (close(fd) != 0 && rc == UNDINE_OK) {
            rc = write_failed(x, IDS, err);
        }
    }
    x->out->bytes += sum.bytes;
    return rc;
}

static int write_ids(struct export *x, struct undine_err *err)
{
    struct safetensors_tensor tensors[SCHEMA_TABLES_MAX];
    uint64_t *ids[SCHEMA_TABLES_MAX] = {NULL};
    uint32_t n = x->schema->n_tables;
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < n; i++) {
        ids[i] = gather_ids(x, i);
        tensors[i] = (struct safetensors_tensor){
            .type = SAFETENSORS_U64, .rows = x->plan[i].n_rows, .data = ids[i]};
        (void)snprintf(tensors[i].name, sizeof tensors[i].name, "%s", x->schema->tables[i].name);
        if (ids[i] == NULL) {
            rc = undine_err_set(err, UNDINE_ENOMEM, "no memory for %s", IDS);
        }
    }
    if (rc == UNDINE_OK) {
        rc = write_tensors(x, tensors, n, err);
    }
    for (uint32_t i = 0; i < n; i++) {
        free(ids[i]);
    }
    return rc;
}

/* ---- what the inputs take ----------------------------------------------------------------- */

/* One input; a step's has `sequence`, the name it has there, and L. */
static json_t *describe_input(struct export *x, const char *name, uint32_t field, uint32_t table,
                              const struct schema_sequence *q)
{
    static const char *const groups[] = {"user", "candidate", "context"};
    const struct schema_field *f = &x->schema->fields[field];
    json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:b}", "name", name, "field", f->name, "table",
                          x->schema->tables[table].name, "values_max", (int)f->values_max,
                          "user_id", (int)f->user_id);
    if (q == NULL) {
        x->bad |= 0 != json_object_set_new(o, "group", json_string(groups[f->group]));
    } else {
        x->bad |= 0 != json_object_set_new(o, "sequence", json_string(q->name));
        x->bad |= 0 != json_object_set_new(o, "length", json_integer(q->length));
    }
    return o;
}

static json_t *describe_inputs(struct export *x)
{
    json_t *list = json_array();
    const struct schema *s = x->schema;
    for (uint32_t i = 0; i < s->n_fields; i++) {
        const char *name = onnx_field_input(&x->graph, s, i);
        x->bad |=
            0 != json_array_append_new(list, describe_input(x, name, i, s->fields[i].table, NULL));
    }
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        const struct schema_sequence *q = &s->sequences[i];
        for (uint32_t k = 0; k < q->n_fields; k++) {
            const char *name = onnx_step_input(&x->graph, s, i, k);
            x->bad |= 0 != json_array_append_new(
                               list, describe_input(x, name, q->field[k], q->table[k], q));
        }
    }
    return list;
}

/* hash_seed as text: few readers of JSON keep 64 bits. */
static json_t *describe_tables(struct export *x)
{
    json_t *tables = json_object();
    for (uint32_t i = 0; i < x->schema->n_tables; i++) {
        const struct onnx_table *t = &x->source.table[i];
        char seed[24];
        (void)snprintf(seed, sizeof seed, "%" PRIu64, x->schema->tables[i].hash_seed);
        x->bad |= 0 != json_object_set_new(tables, t->name,
                                           json_pack("{s:s, s:I, s:I, s:I}", "hash_seed", seed,
                                                     "rows", (json_int_t)t->n_rows, "row_unknown",
                                                     (json_int_t)onnx_row_unknown(t), "row_none",
                                                     (json_int_t)onnx_row_none(t)));
    }
    return tables;
}

static const char *unit_name(enum onnx_unit unit)
{
    return unit == ONNX_UNIT_NAIVE ? "naive" : "factorized";
}

static int write_inputs(struct export *x, struct undine_err *err)
{
    json_t *root =
        json_pack("{s:I, s:s, s:s, s:o, s:o}", "version", (json_int_t)x->version->number, "digest",
                  x->version->manifest->digest, "unit", unit_name(x->source.unit), "tables",
                  describe_tables(x), "inputs", describe_inputs(x));
    char *text = root != NULL && !x->bad ? json_text_print(root, JSON_INDENT(1)) : NULL;
    int rc = text != NULL ? write_whole(x, INPUTS, text, strlen(text), err)
                          : undine_err_set(err, UNDINE_ENOMEM, "no memory for %s", INPUTS);
    free(text);
    json_decref(root);
    return rc;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static int write_model(struct export *x, struct undine_err *err)
{
    struct writer file = {0};
    onnx_note(&x->graph, "undine.version", x->version->name);
    onnx_note(&x->graph, "undine.digest", x->version->manifest->digest);
    onnx_note(&x->graph, "undine.unit", unit_name(x->source.unit));
    int rc = onnx_graph_finish(&x->graph, "undine", program_version(), &file)
                 ? write_whole(x, MODEL, file.data, file.len, err)
                 : undine_err_set(err, UNDINE_ENOMEM, "no memory for %s", MODEL);
    writer_release(&file);
    return rc;
}

static void remove_all(const struct export *x)
{
    const char *const names[] = {ROWS, IDS, INPUTS, MODEL};
    char path[VERSION_PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (version_path(path, x->output, names[i], NULL) == UNDINE_OK) {
            (void)unlink(path);
        }
    }
    (void)rmdir(x->output);
}

static int write_all(struct export *x, struct undine_err *err)
{
    if (mkdir(x->output, 0777) != 0) {
        int code = errno == EEXIST ? UNDINE_EINVAL : UNDINE_EIO;
        return undine_err_sys(err, code, errno, "%s: an export makes a new directory", x->output);
    }
    int rc = write_rows(x, err);
    if (rc == UNDINE_OK) {
        rc = write_ids(x, err);
    }
    if (rc == UNDINE_OK) {
        rc = write_inputs(x, err);
    }
    if (rc == UNDINE_OK) {
        rc = write_model(x, err);
    }
    if (rc < 0) {
        remove_all(x);
    }
    return rc;
}

int onnx_export(struct onnx_export *out, const struct version_chain *version, enum onnx_unit unit,
                const char *output, struct undine_err *err)
{
    const struct manifest *m = version->manifest;
    struct export x = {.version = version,
                       .schema = &m->schema,
                       .output = output,
                       .source = {.schema = &m->schema, .options = &m->model, .unit = unit},
                       .out = out};
    *out = (struct onnx_export){0};
    onnx_graph_init(&x.graph);
    int rc = version_model_open(&x.source.model, m, version->dense, err);
    if (rc == UNDINE_OK) {
        rc = plan_tables(&x, err);
    }
    if (rc == UNDINE_OK) {
        rc = onnx_model_build(&x.graph, &x.source, err);
    }
    if (rc == UNDINE_OK) {
        rc = write_all(&x, err);
    }
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        merge_plan_release(&x.plan[i]);
    }
    model_close(x.source.model);
    onnx_graph_release(&x.graph);
    return rc;
}
