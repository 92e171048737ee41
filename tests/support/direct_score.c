#include "tests/support/direct_score.h"

#include <stdlib.h>
#include <string.h>

enum { IDS_MAX = 4096 };

struct rows { /* of one table, one for every id that occurs */
    uint32_t n;
    float weight[IDS_MAX * 16];
};

struct bags {
    uint32_t offset[IDS_MAX], row[IDS_MAX], n;
};

struct direct {
    const struct snapshot *s;
    struct rows rows[SCHEMA_TABLES_MAX];
    struct bags field[SCHEMA_FIELDS_MAX], step[SCHEMA_SEQUENCES_MAX][SCHEMA_STEP_FIELDS_MAX];
    uint32_t step_offset[SCHEMA_SEQUENCES_MAX][2];
    uint32_t of_example[IDS_MAX];
};

static void take_row(struct direct *d, uint32_t table, uint64_t key)
{
    struct rows *rows = &d->rows[table];
    const struct snapshot_table *t = &d->s->table[table];
    UNDINE_ASSERT(rows->n < IDS_MAX && t->dim <= 16);
    float *to = rows->weight + rows->n++ * t->dim;
    uint64_t at = 0, shared = t->n_rows;
    for (; at < t->n_rows && t->key[at] != key; at++) {
        shared = t->key[at] == 0 ? at : shared;
    }
    at = at < t->n_rows ? at : shared;
    if (at < t->n_rows) {
        memcpy(to, t->weight + at * t->dim, t->dim * sizeof *to);
        return;
    }
    row_initial(to, t->dim, key, &d->s->row_init[table]);
}

static void take_bag(struct direct *d, struct bags *b, uint32_t field, uint32_t table,
                     const struct undine_feature *in)
{
    const struct schema_field *f = &d->s->schema.fields[field];
    uint64_t seen[SCHEMA_VALUES_MAX];
    uint32_t n = 0;
    for (size_t i = 0; in != NULL && i < in->n_values; i++) {
        uint64_t key = hash_feature(d->s->schema.tables[table].hash_seed, in->values[i].data,
                                    in->values[i].len);
        bool known = in->values[i].len == 0;
        for (uint32_t k = 0; k < n; k++) {
            known = known || seen[k] == key;
        }
        if (!known && n < f->values_max) {
            uint32_t at = b->offset[b->n] + n;
            b->row[at] = d->rows[table].n;
            seen[n++] = key;
            take_row(d, table, key);
        }
    }
    b->offset[b->n + 1] = b->offset[b->n] + n;
    b->n++;
}

static const struct undine_feature *feature_of(const struct undine_features *in, const char *name)
{
    for (size_t i = 0; i < in->n_features; i++) {
        if (strcmp(in->features[i].field, name) == 0) {
            return &in->features[i];
        }
    }
    return NULL;
}

static void take_fields(struct direct *d, const struct undine_request *req)
{
    const struct schema *schema = &d->s->schema;
    struct undine_feature user = {.values = &req->user_id, .n_values = 1};
    for (size_t i = 0; i < req->n_candidates; i++) {
        for (uint32_t f = 0; f < schema->n_fields; f++) {
            const struct undine_features *groups[] = {&req->user, &req->candidates[i],
                                                      &req->context};
            const struct undine_feature *in =
                feature_of(groups[schema->fields[f].group], schema->fields[f].name);
            take_bag(d, &d->field[f], f, schema->fields[f].table,
                     schema->fields[f].user_id ? &user : in);
        }
    }
}

static bool has_value(const struct undine_feature *f)
{
    bool found = false;
    for (size_t i = 0; f != NULL && i < f->n_values; i++) {
        found = found || f->values[i].len > 0;
    }
    return found;
}

static void take_sequence(struct direct *d, uint32_t which, const struct undine_sequence *in)
{
    const struct schema_sequence *q = &d->s->schema.sequences[which];
    const struct undine_features *kept[IDS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < in->n_steps; i++) {
        bool counts = false;
        for (uint32_t k = 0; k < q->n_fields; k++) {
            counts = counts ||
                     has_value(feature_of(&in->steps[i], d->s->schema.fields[q->field[k]].name));
        }
        if (counts) {
            kept[n++] = &in->steps[i];
        }
    }
    for (size_t i = n > q->length ? n - q->length : 0; i < n; i++) {
        for (uint32_t k = 0; k < q->n_fields; k++) {
            take_bag(d, &d->step[which][k], q->field[k], q->table[k],
                     feature_of(kept[i], d->s->schema.fields[q->field[k]].name));
        }
        d->step_offset[which][1]++;
    }
}

static struct model *open_model(const struct snapshot *s)
{
    struct model *m = NULL;
    size_t n;
    UNDINE_ASSERT(model_open(&m, &s->schema, &s->model, NULL) == UNDINE_OK);
    const struct model_param *p = model_params(m, &n);
    for (size_t i = 0; i < n; i++) {
        const struct snapshot_array *a = snapshot_find(s->dense, s->n_dense, p[i].name);
        memcpy(model_values(m) + p[i].offset, a->data, snapshot_array_bytes(a));
    }
    return m;
}

static void fill(struct batch *batch, const struct direct *d, uint32_t n)
{
    const struct schema *schema = &d->s->schema;
    batch->n = n;
    for (uint32_t i = 0; i < schema->n_tables; i++) {
        batch->table[i].n_rows = d->rows[i].n;
        batch->table[i].width = d->s->table[i].dim;
        batch->table[i].weight = d->rows[i].weight;
    }
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        batch->field[f] = (struct batch_bags){d->field[f].offset, d->field[f].row};
    }
    for (uint32_t i = 0; i < schema->n_sequences; i++) {
        struct batch_sequences *q = &batch->sequence[i];
        *q = (struct batch_sequences){
            .n = 1, .step_offset = d->step_offset[i], .of_example = d->of_example};
        for (uint32_t k = 0; k < schema->sequences[i].n_fields; k++) {
            q->step[k] = (struct batch_bags){d->step[i][k].offset, d->step[i][k].row};
        }
    }
}

void direct_score(const struct snapshot *s, const struct undine_request *req, float *prob)
{
    struct direct *d = calloc(1, sizeof *d);
    struct batch *batch = calloc(1, sizeof *batch);
    struct model_scratch *scratch = NULL;
    struct model *m = open_model(s);
    UNDINE_ASSERT(d != NULL && batch != NULL);
    d->s = s;
    take_fields(d, req);
    for (size_t i = 0; i < req->n_sequences; i++) {
        int which = schema_sequence_find(&s->schema, req->sequences[i].name);
        take_sequence(d, (uint32_t)which, &req->sequences[i]);
    }
    fill(batch, d, (uint32_t)req->n_candidates);
    UNDINE_ASSERT(model_scratch_open(&scratch, m, NULL) == UNDINE_OK);
    UNDINE_ASSERT(model_score(m, scratch, batch, prob, NULL) == UNDINE_OK);
    for (size_t i = 0; i < req->n_candidates; i++) {
        prob[i] = model_sigmoid(prob[i]);
    }
    model_scratch_close(scratch);
    model_close(m);
    free(batch);
    free(d);
}
