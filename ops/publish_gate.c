#include "ops/publish_gate.h"
#include "learner/model/json_text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void publish_gate_init(struct publish_gate *g, const struct gate_options *opt, const char *dir)
{
    *g = (struct publish_gate){.opt = *opt, .dir = dir};
}

void publish_gate_release(struct publish_gate *g)
{
    free(g->json);
    g->json = NULL;
}

/* ---- the published version ---- */

static double real_of(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* What gate_measure compares of the norms that a manifest tells. */
static int read_norms(struct norms *out, const char *text, struct undine_err *err)
{
    json_t *root = NULL, *one;
    const char *name;
    int rc = json_text_parse(&root, text, strlen(text), err);
    if (rc < 0) {
        return undine_err_prefix(err, "norms of the published version");
    }
    json_object_foreach(json_object_get(root, "tables"), name, one)
    {
        if (out->n_tables < SCHEMA_TABLES_MAX) {
            struct norms_table *t = &out->table[out->n_tables++];
            (void)snprintf(t->name, sizeof t->name, "%s", name);
            t->largest = real_of(one, "largest");
        }
    }
    json_object_foreach(json_object_get(root, "tensors"), name, one)
    {
        if (out->n_tensors < SNAPSHOT_ARRAYS_MAX) {
            struct norms_tensor *t = &out->tensor[out->n_tensors++];
            (void)snprintf(t->name, sizeof t->name, "%s", name);
            t->norm = real_of(one, "norm");
        }
    }
    json_decref(root);
    return UNDINE_OK;
}

static int read_published(struct gate_published *out, const char *dir, const char *name,
                          uint64_t number, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    struct manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to read the published version");
    }
    int rc = version_path(path, dir, name, err);
    rc = rc == UNDINE_OK ? manifest_read(m, path, err) : rc;
    if (rc == UNDINE_OK) {
        *out = (struct gate_published){.number = number};
        for (uint32_t k = 0; k < m->schema.n_tables; k++) {
            out->rows += m->rows[k];
        }
        if (m->norms_json != NULL) {
            rc = read_norms(&out->norms, m->norms_json, err);
        }
    }
    manifest_release(m);
    free(m);
    return rc;
}

static int look(struct publish_gate *g, struct undine_err *err)
{
    char name[VERSION_NAME_MAX];
    uint64_t number = 0;
    int rc = version_dir_current(g->dir, name, err);
    if (rc == UNDINE_OK) {
        (void)version_number(&number, name);
    }
    if (rc == UNDINE_OK && number != g->published.number) {
        rc = read_published(&g->published, g->dir, name, number, err);
    }
    if (rc == UNDINE_ENOTFOUND || rc == UNDINE_ECORRUPT) { /* nothing to compare with */
        g->published.number = 0;
        rc = UNDINE_OK;
    }
    return rc;
}

/* ---- the verdict ---- */

static uint64_t rows_of(const struct snapshot *s)
{
    uint64_t rows = 0;
    for (uint32_t k = 0; k < s->n_tables; k++) {
        rows += s->table[k].n_rows;
    }
    return s->delta ? 0 : rows;
}

int publish_gate_judge(struct publish_gate *g, struct snapshot *s, struct version_extra *extra,
                       struct undine_err *err)
{
    struct publish_gate_status *st = &g->status;
    if (g->opt.mode == GATE_OFF) {
        return UNDINE_OK;
    }
    int rc = look(g, err);
    rc = rc == UNDINE_OK ? snapshot_sort(s, err) : rc;
    rc = rc == UNDINE_OK ? norms_attach(s, err) : rc;
    if (rc == UNDINE_OK) {
        rc = gate_measure(&st->figures, s, rows_of(s), &g->published, err);
    }
    if (rc < 0) {
        return rc;
    }
    gate_judge(&g->opt, &st->figures, &st->verdict);
    free(g->json);
    g->json = gate_json(&g->opt, &st->figures, &st->verdict);
    if (g->json == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the gate's verdict");
    }
    extra->gate_json = g->json;
    extra->refused = gate_refuses(&g->opt, &st->verdict);
    return UNDINE_OK;
}

/* A delta's norms are of the rows that changed. */
static void keep_largest(struct norms *now, const struct norms *before)
{
    for (uint32_t k = 0; k < now->n_tables && k < before->n_tables; k++) {
        now->table[k].largest = fmax(now->table[k].largest, before->table[k].largest);
    }
}

void publish_gate_written(struct publish_gate *g, const struct snapshot *s,
                          const struct version_info *info, bool published)
{
    struct publish_gate_status *st = &g->status;
    if (g->opt.mode == GATE_OFF) {
        return;
    }
    st->version = info->number;
    st->passed += st->verdict.kind == GATE_PASS;
    st->too_few += st->verdict.kind == GATE_TOO_FEW;
    st->failed += st->verdict.kind == GATE_REFUSE;
    st->refused += info->refused; /* DROP(version_refused) */
    if (published) {
        struct norms norms = *s->norms;
        if (s->delta) {
            keep_largest(&norms, &g->published.norms);
        }
        g->published.number = info->number;
        g->published.rows = info->rows;
        g->published.norms = norms;
    }
}
