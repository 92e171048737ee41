#include "scorer/scorer.h"

#include "learner/model/json_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const GROUPS[] = {"user", "candidate", "context"};

static json_t *fields(const struct schema *s)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->n_fields; i++) {
        const struct schema_field *f = &s->fields[i];
        json_t *o = json_pack("{s:s, s:s, s:i, s:b}", "name", f->name, "group", GROUPS[f->group],
                              "values_max", (int)f->values_max, "user_id", (int)f->user_id);
        if (json_array_append_new(list, o) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *sequence(const struct schema *s, const struct schema_sequence *q)
{
    json_t *names = json_array();
    for (uint32_t k = 0; k < q->n_fields; k++) {
        if (json_array_append_new(names, json_string(s->fields[q->field[k]].name)) != 0) {
            json_decref(names);
            return NULL;
        }
    }
    return json_pack("{s:s, s:i, s:o}", "name", q->name, "length", (int)q->length, "fields", names);
}

static json_t *sequences(const struct schema *s)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        if (json_array_append_new(list, sequence(s, &s->sequences[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *rows(const struct manifest *m)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        json_t *n = json_integer((json_int_t)m->rows[i]);
        if (json_object_set_new(o, m->schema.tables[i].name, n) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

/* NULL where memory is out. */
static char *describe(const struct manifest *m, enum undine_precision precision)
{
    json_t *o =
        json_pack("{s:I, s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:o}", "version",
                  (json_int_t)m->number, "kind", m->is_delta ? "delta" : "full", "chain",
                  (int)m->delta.n_chain, "digest", m->digest, "trained_seq",
                  (json_int_t)m->trained_seq, "examples", (json_int_t)m->examples, "event_time_ms",
                  (json_int_t)m->event_time_ms, "created_ms", (json_int_t)m->created_ms,
                  "precision", precision == UNDINE_PRECISION_INT16 ? "int16" : "f32", "rows",
                  rows(m), "fields", fields(&m->schema), "sequences", sequences(&m->schema));
    char *text = o != NULL ? json_text_print(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

int undine_session_describe(struct undine_session *t, char *text, size_t size,
                            struct undine_error *error)
{
    struct undine_err err = {0};
    struct image *image = session_pin(t);
    char *whole = describe(&image->reader->manifest, t->scorer->precision);
    session_unpin(t);
    if (whole == NULL) {
        int rc = undine_err_set(&err, UNDINE_ENOMEM, "no memory to describe a version");
        return scorer_error(error, &err, rc);
    }
    size_t len = strlen(whole);
    if (len < size) {
        memcpy(text, whole, len + 1);
    }
    free(whole);
    return (int)len;
}
