#include "learner/chain_columns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the columns of a version");
}

static const char *table_name(const struct version_chain *c, uint32_t table)
{
    return c->manifest->schema.tables[table].name;
}

static const struct safetensors_tensor *find(const struct safetensors *file, const char *table,
                                             const char *what)
{
    char name[SAFETENSORS_NAME_MAX];
    version_tensor_name(name, table, what);
    return safetensors_find(file, name);
}

/* Ids in a tensor of the train file; none where there is no such tensor. */
static uint64_t waiting_ids(const struct version_part *p, const char *table, const char *what,
                            const uint64_t **out)
{
    const struct safetensors_tensor *t = find(&p->reader->train, table, what);
    bool fits = t != NULL && t->type == SAFETENSORS_U64 && t->cols == 0;
    *out = fits ? t->data : NULL;
    return fits ? t->rows : 0;
}

static struct merge_source source_of(const struct version_chain *c, uint32_t part, uint32_t table,
                                     enum chain_rows which)
{
    const struct version_part *p = c->part[part];
    struct merge_source s = {0};
    if (which == CHAIN_TABLE) {
        const struct version_table *t = &p->reader->table[table];
        return (struct merge_source){
            .key = t->key, .n = t->n_rows, .removed = t->removed, .n_removed = t->n_removed};
    }
    s.n = waiting_ids(p, table_name(c, table), "waiting_keys", &s.key);
    if (part > 0) {
        s.n_removed = waiting_ids(p, table_name(c, table), "waiting_removed", &s.removed);
    }
    return s;
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

int chain_plan(struct merge_plan *out, const struct version_chain *c, uint32_t table,
               enum chain_rows which, struct undine_err *err)
{
    struct merge_source *source = calloc(c->n_parts, sizeof *source);
    int rc = UNDINE_OK;
    if (source == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < c->n_parts; i++) {
        source[i] = source_of(c, i, table, which);
        if (which == CHAIN_WAITING && (!ascending(source[i].key, source[i].n) ||
                                       !ascending(source[i].removed, source[i].n_removed))) {
            rc = undine_err_set(err, UNDINE_ECORRUPT,
                                "version %" PRIu64 ": " MANIFEST_TRAIN
                                ": the ids that wait in table `%s` are out of order",
                                c->part[i]->reader->manifest.number, table_name(c, table));
        }
    }
    if (rc == UNDINE_OK) {
        rc = merge_plan_make(out, source, c->n_parts, err);
    }
    free(source);
    return rc;
}

bool chain_has_waiting(const struct version_chain *c, uint32_t table)
{
    for (uint32_t i = 0; i < c->n_parts; i++) {
        if (find(&c->part[i]->reader->train, table_name(c, table), "waiting_keys") != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- columns ---- */

void chain_column_release(struct chain_column *col)
{
    free(col->data);
    *col = (struct chain_column){0};
}

size_t chain_column_row_bytes(const struct chain_column *col)
{
    return safetensors_type_bytes(col->type) * (col->cols > 0 ? (size_t)col->cols : 1);
}

static int lacks(const struct version_part *p, const char *table, const char *what,
                 struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT,
                          "version %" PRIu64 ": " MANIFEST_TRAIN ": table `%s` has no fitting `%s`",
                          p->reader->manifest.number, table, what);
}

static bool of_model(const char *what)
{
    return strcmp(what, "keys") == 0 || strcmp(what, "rows") == 0;
}

int chain_column(struct chain_column *out, const struct version_chain *c, uint32_t table,
                 enum chain_rows which, const char *what, enum safetensors_type type,
                 struct undine_err *err)
{
    const char *of = table_name(c, table);
    struct chain_column col = {.type = type, .data = calloc(c->n_parts, sizeof(const void *))};
    const struct version_part *without = NULL;
    int rc = UNDINE_OK;
    bool any = false;
    if (col.data == NULL) {
        return no_memory(err);
    }
    version_tensor_name(col.name, of, what);
    for (uint32_t i = 0; rc == UNDINE_OK && i < c->n_parts; i++) {
        const struct version_part *p = c->part[i];
        uint64_t rows = source_of(c, i, table, which).n;
        const struct safetensors_tensor *t =
            find(of_model(what) ? &p->reader->model : &p->reader->train, of, what);
        if (t == NULL) {
            without = rows > 0 ? p : without;
            continue;
        }
        if (t->type != type || t->rows != rows || t->cols > UINT32_MAX ||
            (any && t->cols != col.cols)) {
            rc = lacks(p, of, what, err);
        }
        col.cols = t->cols;
        col.data[i] = t->data;
        any = true;
    }
    if (rc == UNDINE_OK && any && without != NULL) {
        rc = lacks(without, of, what, err);
    }
    col.n_parts = any ? c->n_parts : 0;
    if (rc < 0 || !any) {
        chain_column_release(&col);
    }
    if (rc == UNDINE_OK) {
        *out = col;
    }
    return rc;
}

void chain_column_copy(void *to, const struct chain_column *col, const struct merge_plan *plan)
{
    size_t bytes = chain_column_row_bytes(col);
    uint8_t *at = to;
    for (size_t i = 0; i < plan->n_pieces; i++) {
        const struct merge_piece *piece = &plan->piece[i];
        const uint8_t *from = (const uint8_t *)col->data[piece->part] + piece->row * bytes;
        memcpy(at, from, piece->n * bytes);
        at += piece->n * bytes;
    }
}
