#include "learner/slices.h"

#include "base/hash.h"
#include "learner/metrics_state.h"

#include <stdio.h>
#include <string.h>

static bool of_rows(const struct slice *slice)
{
    return slice->field != SLICE_ANY && (slice->is == SLICE_NEW || slice->is == SLICE_KNOWN);
}

static int check_slice(const struct slice *slice, const struct schema *schema,
                       struct undine_err *err)
{
    bool field = slice->field != SLICE_ANY, sequence = slice->sequence != SLICE_ANY;
    if ((field && slice->field >= schema->n_fields) ||
        (sequence && slice->sequence >= schema->n_sequences) || !(field || sequence)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "slice `%s`: expected a field or a sequence of the schema",
                              slice->name);
    }
    if (slice->n_values > SLICE_VALUES_MAX ||
        (slice->n_values > 0 && !(field && slice->is == SLICE_PRESENT))) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "slice `%s`: %u values, expected up to %d of a field that is "
                              "present",
                              slice->name, slice->n_values, SLICE_VALUES_MAX);
    }
    if (sequence && slice->steps_min > slice->steps_max) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "slice `%s`: at least %u and at most %u steps can never be",
                              slice->name, slice->steps_min, slice->steps_max);
    }
    return UNDINE_OK;
}

int slices_check(const struct slices_options *opt, const struct schema *schema,
                 struct undine_err *err)
{
    if (opt->n > SLICES_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "%u slices, expected at most %d", opt->n,
                              SLICES_MAX);
    }
    for (uint32_t k = 0; k < opt->n; k++) {
        int rc = check_slice(&opt->slice[k], schema, err);
        for (uint32_t i = 0; rc == UNDINE_OK && i < k; i++) {
            if (strcmp(opt->slice[i].name, opt->slice[k].name) == 0) {
                rc = undine_err_set(err, UNDINE_ECONFIG, "slice `%s` is there twice",
                                    opt->slice[k].name);
            }
        }
        if (rc < 0) {
            return rc;
        }
    }
    return UNDINE_OK;
}

int slices_open(struct slices *s, const struct slices_options *opt, const struct schema *schema,
                uint64_t window_max, struct undine_err *err)
{
    *s = (struct slices){.schema = schema, .opt = opt};
    for (uint32_t k = 0; k < opt->n; k++) {
        const struct slice *slice = &opt->slice[k];
        for (uint32_t v = 0; v < slice->n_values; v++) {
            uint64_t seed = schema->tables[schema->fields[slice->field].table].hash_seed;
            s->id[k][v] = hash_feature(seed, slice->value[v], strlen(slice->value[v]));
        }
        int rc = metrics_init(&s->metrics[k], window_max, err);
        if (rc < 0) {
            return undine_err_prefix(err, "slice `%s`", slice->name);
        }
    }
    return UNDINE_OK;
}

void slices_release(struct slices *s)
{
    for (uint32_t k = 0; k < SLICES_MAX; k++) {
        metrics_release(&s->metrics[k]);
    }
}

/* ---- who is in ---- */

static bool holds_value(const struct slices *s, uint32_t k, const uint64_t *ids, uint32_t n)
{
    uint32_t n_values = s->opt->slice[k].n_values;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t v = 0; v < n_values; v++) {
            if (ids[i] == s->id[k][v]) {
                return true;
            }
        }
    }
    return n > 0 && n_values == 0;
}

/* Was every one of the batch's rows an id's own, and learned, before the batch? */
static bool all_known(const struct batch_builder_table *rows, const struct table *table,
                      const uint32_t *row, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct table_row *r = table_row(table, rows->row[row[i]]);
        bool shared = r->key == 0; /* of the ids that wait for admission */
        /* Not its stamp: that is also given to what a skipped batch has made. */
        if (shared || r->count == 0.0f) {
            return false;
        }
    }
    return true;
}

static bool field_holds(const struct slices *s, uint32_t k, const struct batch_builder *b,
                        const struct table *tables, uint32_t i)
{
    const struct slice *slice = &s->opt->slice[k];
    const struct id_list *l = &b->field[slice->field];
    uint32_t first = l->offset[i], n = l->offset[i + 1] - first;
    uint32_t table = s->schema->fields[slice->field].table;
    switch (slice->is) {
    case SLICE_MISSING:
        return n == 0;
    case SLICE_NEW:
        return n > 0 && !all_known(&b->table[table], &tables[table], l->row + first, n);
    case SLICE_KNOWN:
        return n > 0 && all_known(&b->table[table], &tables[table], l->row + first, n);
    case SLICE_PRESENT:
    default:
        return holds_value(s, k, l->key + first, n);
    }
}

bool slices_holds(const struct slices *s, uint32_t k, const struct batch_builder *b,
                  const struct table *tables, uint32_t i)
{
    const struct slice *slice = &s->opt->slice[k];
    if (slice->sequence != SLICE_ANY) {
        const struct batch_builder_sequences *q = &b->sequence[slice->sequence];
        uint32_t at = q->of_example[i], steps = q->step_offset[at + 1] - q->step_offset[at];
        if (steps < slice->steps_min || steps > slice->steps_max) {
            return false;
        }
    }
    return slice->field == SLICE_ANY || field_holds(s, k, b, tables, i);
}

static void note(struct slices *s, uint32_t k, const struct batch_builder *b, uint32_t i,
                 float logit)
{
    if (batch_builder_revises(b, i)) {
        if (of_rows(&s->opt->slice[k])) {
            return;
        }
        metrics_withdraw(&s->metrics[k], b->user[i], logit, b->sample_rate[i]);
    }
    metrics_add(&s->metrics[k], b->user[i], logit, b->label[i] > 0.0f, b->sample_rate[i]);
}

void slices_note(struct slices *s, const struct batch_builder *b, const struct table *tables,
                 const float *logit)
{
    for (uint32_t k = 0; k < s->opt->n; k++) {
        for (uint32_t i = 0; i < b->n; i++) {
            if (slices_holds(s, k, b, tables, i)) {
                note(s, k, b, i, logit[i]);
            }
        }
    }
}

/* ---- state ---- */

struct slice_name {
    char text[sizeof((struct snapshot_array *)0)->name];
};

static struct slice_name prefix_of(const struct slice *slice, const char *rest)
{
    struct slice_name out;
    (void)snprintf(out.text, sizeof out.text, "slice.%s%s", slice->name, rest);
    return out;
}

/* Of everything but the name.  Fields and sequences are by number: a snapshot of another schema is
 * refused before. */
static uint64_t condition_of(const struct slice *slice)
{
    const uint32_t numbers[] = {slice->field,    (uint32_t)slice->is, slice->n_values,
                                slice->sequence, slice->steps_min,    slice->steps_max};
    uint64_t hash = hash_bytes(numbers, sizeof numbers);
    for (uint32_t v = 0; v < slice->n_values; v++) {
        hash = hash_bytes_seeded(slice->value[v], strlen(slice->value[v]), hash);
    }
    return hash;
}

bool slices_save(const struct slices *s, struct snapshot *out)
{
    for (uint32_t k = 0; k < s->opt->n; k++) {
        const struct slice *slice = &s->opt->slice[k];
        uint64_t *condition =
            snapshot_train(out, prefix_of(slice, ".condition").text, SNAPSHOT_U64, 1, 0);
        if (condition == NULL || !metrics_save(&s->metrics[k], prefix_of(slice, "").text, out)) {
            return false;
        }
        *condition = condition_of(slice);
    }
    return true;
}

int slices_load(struct slices *s, const struct snapshot *from, struct undine_err *err)
{
    for (uint32_t k = 0; k < s->opt->n; k++) {
        const struct slice *slice = &s->opt->slice[k];
        const struct snapshot_array *a =
            snapshot_find(from->train, from->n_train, prefix_of(slice, ".condition").text);
        if (a == NULL) {
            continue;
        }
        if (a->type != SNAPSHOT_U64 || snapshot_array_bytes(a) != sizeof(uint64_t)) {
            return undine_err_set(err, UNDINE_ECORRUPT, "array `%s` is not one u64", a->name);
        }
        uint64_t condition;
        memcpy(&condition, a->data, sizeof condition);
        int rc = condition == condition_of(slice)
                     ? metrics_load(&s->metrics[k], prefix_of(slice, "").text, from, err)
                     : UNDINE_OK;
        if (rc < 0) {
            return rc;
        }
    }
    return UNDINE_OK;
}
