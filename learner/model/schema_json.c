#include "learner/model/schema_json.h"

#include "learner/model/json_fields.h"

#include <string.h>

static const char *const GROUPS[] = {"user", "candidate", "context"};
static const char *const POOLS[] = {"sum", "mean"};
enum { N_GROUPS = 3, N_POOLS = 2 };

/* ---- to JSON: a NULL anywhere makes the whole NULL, since json_pack refuses it ---- */

static json_t *tables_to_json(const struct schema *s)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->n_tables; i++) {
        json_t *t =
            json_pack("{s:s, s:I}", "name", s->tables[i].name, "dim", (json_int_t)s->tables[i].dim);
        if (json_array_append_new(list, t) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *fields_to_json(const struct schema *s)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->n_fields; i++) {
        const struct schema_field *f = &s->fields[i];
        json_t *o =
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:b}", "name", f->name, "group", GROUPS[f->group],
                      "table", s->tables[f->table].name, "pool", POOLS[f->pool], "values_max",
                      (json_int_t)f->values_max, "user_id", (int)f->user_id);
        if (json_array_append_new(list, o) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *behaviors_to_json(const struct schema *s, uint32_t bits)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->n_behaviors; i++) {
        if ((bits >> i & 1) != 0 &&
            json_array_append_new(list, json_string(s->behaviors[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *step_fields_to_json(const struct schema *s, const struct schema_sequence *q)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < q->n_fields; i++) {
        if (json_array_append_new(list, json_string(s->fields[q->field[i]].name)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *sequences_to_json(const struct schema *s)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        const struct schema_sequence *q = &s->sequences[i];
        json_t *o = json_pack("{s:s, s:I, s:o, s:b, s:b, s:o}", "name", q->name, "length",
                              (json_int_t)q->length, "fields", step_fields_to_json(s, q), "shared",
                              (int)!q->own_tables, "from_click", (int)q->from_click,
                              "from_behaviors", behaviors_to_json(s, q->from_behavior));
        if (json_array_append_new(list, o) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *schema_to_json(const struct schema *s)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "tables", tables_to_json(s), "fields",
                     fields_to_json(s), "behaviors", behaviors_to_json(s, UINT32_MAX), "sequences",
                     sequences_to_json(s));
}

/* ---- and back ---- */

static int choice(const json_t *o, const char *name, const char *const *names, int n, int *out,
                  struct undine_err *err)
{
    char text[SCHEMA_NAME_MAX];
    int rc = json_field_text(o, name, text, sizeof text, err);
    if (rc < 0) {
        return rc;
    }
    for (int i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return UNDINE_OK;
        }
    }
    return undine_err_set(err, UNDINE_ECORRUPT, "`%s` is \"%s\", which is none of its values", name,
                          text);
}

static int unknown(struct undine_err *err, const char *what, const char *name)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "%s `%s` does not exist", what, name);
}

/* The i-th of a list, if it is a string that fits a name. */
static int list_name(const json_t *list, size_t i, char out[SCHEMA_NAME_MAX],
                     struct undine_err *err)
{
    const char *text = json_string_value(json_array_get(list, i));
    if (text == NULL || strlen(text) >= SCHEMA_NAME_MAX) {
        return undine_err_set(err, UNDINE_ECORRUPT, "entry %zu is no name", i);
    }
    memcpy(out, text, strlen(text) + 1);
    return UNDINE_OK;
}

static int tables_from_json(struct schema *s, const json_t *json, struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(json, "tables", SCHEMA_TABLES_MAX, &list, err);
    if (rc < 0) {
        return rc;
    }
    s->n_tables = (uint32_t)json_array_size(list);
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_tables; i++) {
        const json_t *o = json_array_get(list, i);
        rc = json_field_text(o, "name", s->tables[i].name, SCHEMA_NAME_MAX, err);
        if (rc == UNDINE_OK) {
            rc = json_field_u32(o, "dim", SCHEMA_DIM_MAX, &s->tables[i].dim, err);
        }
    }
    return rc;
}

static int field_from_json(const struct schema *s, struct schema_field *f, const json_t *o,
                           struct undine_err *err)
{
    char table[SCHEMA_NAME_MAX];
    int group = 0, pool = 0;
    int rc = json_field_text(o, "name", f->name, sizeof f->name, err);
    if (rc == UNDINE_OK) {
        rc = choice(o, "group", GROUPS, N_GROUPS, &group, err);
    }
    if (rc == UNDINE_OK) {
        rc = choice(o, "pool", POOLS, N_POOLS, &pool, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_u32(o, "values_max", SCHEMA_VALUES_MAX, &f->values_max, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_bool(o, "user_id", &f->user_id, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_text(o, "table", table, sizeof table, err);
    }
    if (rc < 0) {
        return rc;
    }
    int k = schema_table_find(s, table);
    if (k < 0) {
        return unknown(err, "table", table);
    }
    f->group = (enum schema_group)group;
    f->pool = (enum schema_pool)pool;
    f->table = (uint32_t)k;
    return UNDINE_OK;
}

static int fields_from_json(struct schema *s, const json_t *json, struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(json, "fields", SCHEMA_FIELDS_MAX, &list, err);
    for (size_t i = 0; rc == UNDINE_OK && i < json_array_size(list); i++) {
        rc = field_from_json(s, &s->fields[i], json_array_get(list, i), err);
        s->n_fields = (uint32_t)i + 1;
    }
    return rc;
}

static int behaviors_from_json(struct schema *s, const json_t *json, struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(json, "behaviors", SCHEMA_BEHAVIORS_MAX, &list, err);
    for (size_t i = 0; rc == UNDINE_OK && i < json_array_size(list); i++) {
        rc = list_name(list, i, s->behaviors[i], err);
        s->n_behaviors = (uint32_t)i + 1;
    }
    return rc;
}

static int step_fields_from_json(const struct schema *s, struct schema_sequence *q, const json_t *o,
                                 struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(o, "fields", SCHEMA_STEP_FIELDS_MAX, &list, err);
    for (size_t i = 0; rc == UNDINE_OK && i < json_array_size(list); i++) {
        char name[SCHEMA_NAME_MAX];
        rc = list_name(list, i, name, err);
        if (rc < 0) {
            return rc;
        }
        int k = schema_field_find(s, name);
        if (k < 0) {
            return unknown(err, "field", name);
        }
        q->field[i] = (uint32_t)k;
        q->n_fields = (uint32_t)i + 1;
    }
    return rc;
}

static int feeds_from_json(const struct schema *s, struct schema_sequence *q, const json_t *o,
                           struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(o, "from_behaviors", SCHEMA_BEHAVIORS_MAX, &list, err);
    for (size_t i = 0; rc == UNDINE_OK && i < json_array_size(list); i++) {
        char name[SCHEMA_NAME_MAX];
        rc = list_name(list, i, name, err);
        if (rc < 0) {
            return rc;
        }
        int k = schema_behavior_find(s, name);
        if (k < 0) {
            return unknown(err, "behavior", name);
        }
        q->from_behavior |= (uint32_t)1 << k;
    }
    return rc;
}

static int sequences_from_json(struct schema *s, const json_t *json, struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(json, "sequences", SCHEMA_SEQUENCES_MAX, &list, err);
    for (size_t i = 0; rc == UNDINE_OK && i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        struct schema_sequence *q = &s->sequences[i];
        rc = json_field_text(o, "name", q->name, sizeof q->name, err);
        if (rc == UNDINE_OK) {
            rc = json_field_u32(o, "length", SCHEMA_LENGTH_MAX, &q->length, err);
        }
        if (rc == UNDINE_OK) {
            rc = json_field_bool(o, "from_click", &q->from_click, err);
        }
        if (rc == UNDINE_OK && json_object_get(o, "shared") != NULL) { /* a version may lack it */
            bool shared = true;
            rc = json_field_bool(o, "shared", &shared, err);
            q->own_tables = !shared;
        }
        if (rc == UNDINE_OK) {
            rc = step_fields_from_json(s, q, o, err);
        }
        if (rc == UNDINE_OK) {
            rc = feeds_from_json(s, q, o, err);
        }
        s->n_sequences = (uint32_t)i + 1;
    }
    return rc;
}

int schema_from_json(struct schema *out, const json_t *json, struct undine_err *err)
{
    struct schema s = {0};
    int rc = tables_from_json(&s, json, err);
    if (rc == UNDINE_OK) {
        rc = fields_from_json(&s, json, err);
    }
    if (rc == UNDINE_OK) {
        rc = behaviors_from_json(&s, json, err);
    }
    if (rc == UNDINE_OK) {
        rc = sequences_from_json(&s, json, err);
    }
    if (rc == UNDINE_OK && schema_check(&s, err) < 0) {
        rc = UNDINE_ECORRUPT; /* not the configuration's fault */
        if (err != NULL) {
            err->code = rc;
        }
    }
    if (rc < 0) {
        (void)undine_err_prefix(err, "schema");
        return rc;
    }
    *out = s;
    return UNDINE_OK;
}
