#include "configs/config_slices.h"

#include "base/nearest.h"

#include <string.h>

static int fail_unknown(const struct config_slice *slice, const char *what, const char *name,
                        const char *nearest, const struct config_where *where,
                        struct undine_err *err)
{
    if (nearest != NULL) {
        return config_fail(err, where,
                           "slice `%s`: %s `%s` is not declared under `%ss`; did you mean `%s`?",
                           slice->name, what, name, what, nearest);
    }
    return config_fail(err, where, "slice `%s`: %s `%s` is not declared under `%ss`", slice->name,
                       what, name, what);
}

static int fail_field(const struct config *c, const struct config_slice *slice,
                      const struct config_where *where, struct undine_err *err)
{
    struct nearest n = nearest_of(slice->field);
    for (uint32_t f = 0; f < c->schema.n_fields; f++) {
        nearest_offer(&n, c->schema.fields[f].name);
    }
    return fail_unknown(slice, "field", slice->field, n.name, where, err);
}

static int fail_sequence(const struct config *c, const struct config_slice *slice,
                         const struct config_where *where, struct undine_err *err)
{
    struct nearest n = nearest_of(slice->sequence);
    for (uint32_t q = 0; q < c->schema.n_sequences; q++) {
        nearest_offer(&n, c->schema.sequences[q].name);
    }
    return fail_unknown(slice, "sequence", slice->sequence, n.name, where, err);
}

static int set_field(const struct config *c, const struct config_slice *slice, struct slice *out,
                     const struct config_where *where, struct undine_err *err)
{
    int f = schema_field_find(&c->schema, slice->field);
    bool of_rows = slice->is == SLICE_NEW || slice->is == SLICE_KNOWN;
    if (slice->field[0] == '\0') {
        return slice->is == SLICE_PRESENT && slice->values.n == 0
                   ? UNDINE_OK
                   : config_fail(err, where, "slice `%s`: `%s` needs a `field`", slice->name,
                                 slice->values.n > 0 ? "values" : "is");
    }
    if (f < 0) {
        return fail_field(c, slice, where, err);
    }
    if (slice->values.n > 0 && slice->is != SLICE_PRESENT) {
        return config_fail(err, where, "slice `%s`: `values` go with `is: present` alone",
                           slice->name);
    }
    if (of_rows && c->ingest.join.label == INGEST_LABEL_FNW) {
        return config_fail(err, where,
                           "slice `%s`: `join.label: fnw` learns every impression before its "
                           "click, so no click ever meets an id that is new: `is` must be "
                           "`present` or `missing`",
                           slice->name);
    }
    out->field = (uint32_t)f;
    return UNDINE_OK;
}

static int set_sequence(const struct config *c, const struct config_slice *slice, struct slice *out,
                        const struct config_where *where, struct undine_err *err)
{
    int q = schema_sequence_find(&c->schema, slice->sequence);
    if (slice->sequence[0] == '\0') {
        return slice->steps_min == 0 && slice->steps_max == SCHEMA_LENGTH_MAX
                   ? UNDINE_OK
                   : config_fail(err, where,
                                 "slice `%s`: `steps_min` and `steps_max` need a `sequence`",
                                 slice->name);
    }
    if (q < 0) {
        return fail_sequence(c, slice, where, err);
    }
    uint32_t length = c->schema.sequences[q].length;
    uint32_t max = slice->steps_max < length ? slice->steps_max : length;
    if (slice->steps_min > max) {
        return config_fail(err, where,
                           "slice `%s`: `steps_min` is %u, expected at most %u (`steps_max` is "
                           "%u, the `length` of sequence `%s` %u)",
                           slice->name, slice->steps_min, max, slice->steps_max, slice->sequence,
                           length);
    }
    out->sequence = (uint32_t)q;
    return UNDINE_OK;
}

int config_slice_add(struct config *c, const struct config_slice *slice,
                     const struct config_where *where, struct undine_err *err)
{
    struct slices_options *to = &c->trainer.slices;
    for (uint32_t i = 0; i < to->n; i++) {
        if (strcmp(to->slice[i].name, slice->name) == 0) {
            return config_fail(err, where, "slice `%s` is declared twice", slice->name);
        }
    }
    if (slice->field[0] == '\0' && slice->sequence[0] == '\0') {
        return config_fail(err, where,
                           "slice `%s` has no condition: expected a `field`, a "
                           "`sequence`, or both",
                           slice->name);
    }
    struct slice *out = &to->slice[to->n];
    *out = (struct slice){.field = SLICE_ANY,
                          .sequence = SLICE_ANY,
                          .is = slice->is,
                          .n_values = slice->values.n,
                          .steps_min = slice->steps_min,
                          .steps_max = slice->steps_max};
    (void)strcpy(out->name, slice->name);
    memcpy(out->value, slice->values.name, sizeof out->value);
    int rc = set_field(c, slice, out, where, err);
    rc = rc == UNDINE_OK ? set_sequence(c, slice, out, where, err) : rc;
    to->n += rc == UNDINE_OK;
    return rc;
}

void config_slice_get(const struct config *c, uint32_t i, struct config_slice *out)
{
    const struct slice *s = &c->trainer.slices.slice[i];
    (void)strcpy(out->name, s->name);
    if (s->field != SLICE_ANY) {
        (void)strcpy(out->field, c->schema.fields[s->field].name);
    }
    if (s->sequence != SLICE_ANY) {
        (void)strcpy(out->sequence, c->schema.sequences[s->sequence].name);
    }
    out->is = s->is;
    out->values.n = s->n_values;
    memcpy(out->values.name, s->value, sizeof s->value);
    out->steps_min = s->steps_min;
    out->steps_max = s->steps_max;
}
