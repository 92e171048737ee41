#include "base/schema.h"

#include "base/hash.h"

#include <string.h>

/* dots: in the name of a table that is a sequence's own. */
static bool name_ok(const char *name, unsigned dots)
{
    size_t len = strnlen(name, SCHEMA_NAME_MAX);
    if (len == 0 || len == SCHEMA_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '.' && dots > 0) {
            dots--;
        } else if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
                          name[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static int find(const char *first, size_t stride, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(first + i * stride, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int schema_table_find(const struct schema *s, const char *name)
{
    return find(s->tables[0].name, sizeof s->tables[0], s->n_tables, name);
}

int schema_field_find(const struct schema *s, const char *name)
{
    return find(s->fields[0].name, sizeof s->fields[0], s->n_fields, name);
}

int schema_behavior_find(const struct schema *s, const char *name)
{
    return find(s->behaviors[0], sizeof s->behaviors[0], s->n_behaviors, name);
}

int schema_sequence_find(const struct schema *s, const char *name)
{
    return find(s->sequences[0].name, sizeof s->sequences[0], s->n_sequences, name);
}

static int bad(struct undine_err *err, const char *what, const char *name, const char *why)
{
    return undine_err_set(err, UNDINE_ECONFIG, "%s `%s`: %s", what, name, why);
}

static int check_names(const struct schema *s, struct undine_err *err)
{
    const struct {
        const char *what, *first;
        size_t stride;
        uint32_t n, max;
    } lists[] = {
        {"table", s->tables[0].name, sizeof s->tables[0], s->n_tables, SCHEMA_TABLES_MAX},
        {"field", s->fields[0].name, sizeof s->fields[0], s->n_fields, SCHEMA_FIELDS_MAX},
        {"behavior", s->behaviors[0], sizeof s->behaviors[0], s->n_behaviors, SCHEMA_BEHAVIORS_MAX},
        {"sequence", s->sequences[0].name, sizeof s->sequences[0], s->n_sequences,
         SCHEMA_SEQUENCES_MAX},
    };
    for (size_t k = 0; k < sizeof lists / sizeof lists[0]; k++) {
        if (lists[k].n > lists[k].max) {
            return undine_err_set(err, UNDINE_ECONFIG,
                                  "%u %ss are declared, at most %u are allowed", lists[k].n,
                                  lists[k].what, lists[k].max);
        }
        for (uint32_t i = 0; i < lists[k].n; i++) {
            const char *name = lists[k].first + i * lists[k].stride;
            if (!name_ok(name, k == 0)) {
                return bad(err, lists[k].what, name,
                           "a name is 1 to 47 letters, digits, `_` or `-`");
            }
            if (find(lists[k].first, lists[k].stride, i, name) >= 0) {
                return bad(err, lists[k].what, name, "is declared twice");
            }
        }
    }
    return UNDINE_OK;
}

static int check_field(const struct schema *s, const struct schema_field *f, struct undine_err *err)
{
    if (f->table >= s->n_tables) {
        return bad(err, "field", f->name, "its table does not exist");
    }
    if (f->values_max < 1 || f->values_max > SCHEMA_VALUES_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "field `%s`: values_max is %u, expected 1..%d",
                              f->name, f->values_max, SCHEMA_VALUES_MAX);
    }
    if (f->user_id && f->group != SCHEMA_USER) {
        return bad(err, "field", f->name, "only a user field can hold the user id");
    }
    return UNDINE_OK;
}

static int check_sequence(const struct schema *s, const struct schema_sequence *q,
                          struct undine_err *err)
{
    if (q->length < 1 || q->length > SCHEMA_LENGTH_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "sequence `%s`: length is %u, expected 1..%d",
                              q->name, q->length, SCHEMA_LENGTH_MAX);
    }
    if (q->n_fields < 1 || q->n_fields > SCHEMA_STEP_FIELDS_MAX) {
        return bad(err, "sequence", q->name, "needs 1 to 8 fields");
    }
    for (uint32_t i = 0; i < q->n_fields; i++) {
        if (q->field[i] >= s->n_fields || s->fields[q->field[i]].group != SCHEMA_CANDIDATE) {
            return bad(err, "sequence", q->name, "its fields must be fields of the candidate");
        }
        for (uint32_t k = 0; k < i; k++) {
            if (q->field[k] == q->field[i]) {
                return bad(err, "sequence", q->name, "names a field twice");
            }
        }
    }
    if (!q->from_click && q->from_behavior == 0) {
        return bad(err, "sequence", q->name, "no event feeds it: `from` needs click or a behavior");
    }
    if (q->from_behavior >> s->n_behaviors != 0) {
        return bad(err, "sequence", q->name, "is fed by a behavior that is not declared");
    }
    return UNDINE_OK;
}

static int check_table(struct schema_table *t, struct undine_err *err)
{
    t->hash_seed = hash_table_seed(t->name);
    t->own = false;
    t->source = 0;
    if (t->dim < 1 || t->dim > SCHEMA_DIM_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "table `%s`: dim is %u, expected 1..%d", t->name,
                              t->dim, SCHEMA_DIM_MAX);
    }
    return UNDINE_OK;
}

/* The sequence's own table that stands for source, made if it is missing. */
static int own_table(struct schema *s, const struct schema_sequence *q, uint32_t source,
                     uint32_t *out, struct undine_err *err)
{
    char name[2 * SCHEMA_NAME_MAX];
    size_t len = strlen(q->name), rest = strlen(s->tables[source].name);
    memcpy(name, q->name, len);
    name[len] = '.';
    memcpy(name + len + 1, s->tables[source].name, rest + 1);
    if (len + 1 + rest >= SCHEMA_NAME_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "sequence `%s` shares no tables, and `%s` would be the name of its "
                              "own; a name has at most %d bytes",
                              q->name, name, SCHEMA_NAME_MAX - 1);
    }
    int found = schema_table_find(s, name);
    if (found < 0 && s->n_tables == SCHEMA_TABLES_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "sequence `%s` shares no tables, but its own `%s` would be one more "
                              "than the %d that are allowed",
                              q->name, name, SCHEMA_TABLES_MAX);
    }
    *out = found < 0 ? s->n_tables++ : (uint32_t)found;
    struct schema_table *t = &s->tables[*out];
    if (found < 0) {
        *t = (struct schema_table){.dim = s->tables[source].dim};
        memcpy(t->name, name, len + 1 + rest + 1);
    } else if (t->dim != s->tables[source].dim) {
        return undine_err_set(err, UNDINE_ECONFIG, "table `%s`: dim is %u, expected the %u of `%s`",
                              name, t->dim, s->tables[source].dim, s->tables[source].name);
    }
    t->own = true;
    t->source = source;
    t->hash_seed = s->tables[source].hash_seed;
    return UNDINE_OK;
}

static int step_tables(struct schema *s, struct schema_sequence *q, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < q->n_fields; i++) {
        q->table[i] = s->fields[q->field[i]].table;
        if (q->own_tables) {
            rc = own_table(s, q, q->table[i], &q->table[i], err);
        }
    }
    return rc;
}

/* A dot only in the names of own tables, and those are no field's. */
static int check_own(const struct schema *s, struct undine_err *err)
{
    for (uint32_t i = 0; i < s->n_tables; i++) {
        if (!s->tables[i].own && !name_ok(s->tables[i].name, 0)) {
            return bad(err, "table", s->tables[i].name,
                       "a name is 1 to 47 letters, digits, `_` or `-`");
        }
    }
    for (uint32_t i = 0; i < s->n_fields; i++) {
        if (s->tables[s->fields[i].table].own) {
            return bad(err, "field", s->fields[i].name, "its table is a sequence's own");
        }
    }
    return UNDINE_OK;
}

int schema_check(struct schema *s, struct undine_err *err)
{
    int rc = check_names(s, err);
    bool candidate = false;
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_tables; i++) {
        rc = check_table(&s->tables[i], err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_fields; i++) {
        rc = check_field(s, &s->fields[i], err);
        candidate = candidate || s->fields[i].group == SCHEMA_CANDIDATE;
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_sequences; i++) {
        rc = check_sequence(s, &s->sequences[i], err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->n_sequences; i++) {
        rc = step_tables(s, &s->sequences[i], err);
    }
    if (rc == UNDINE_OK) {
        rc = check_own(s, err);
    }
    if (rc == UNDINE_OK && !candidate) {
        rc = undine_err_set(err, UNDINE_ECONFIG,
                            "`fields` has none with `of: candidate`; expected at least one, "
                            "`- {name: item, of: candidate}`");
    }
    return rc;
}

uint32_t schema_field_dim(const struct schema *s, uint32_t field)
{
    return s->tables[s->fields[field].table].dim;
}

uint32_t schema_step_dim(const struct schema *s, uint32_t sequence)
{
    const struct schema_sequence *q = &s->sequences[sequence];
    uint32_t dim = 0;
    for (uint32_t i = 0; i < q->n_fields; i++) {
        dim += schema_field_dim(s, q->field[i]);
    }
    return dim;
}

static uint64_t mix(uint64_t h, const void *data, size_t len)
{
    return hash_bytes_seeded(data, len, h);
}

static uint64_t mix_name(uint64_t h, const char *name)
{
    return mix(h, name, strlen(name) + 1);
}

uint64_t schema_data_digest(const struct schema *s)
{
    uint64_t h = mix(0, &s->n_fields, sizeof s->n_fields);
    for (uint32_t i = 0; i < s->n_fields; i++) {
        const struct schema_field *f = &s->fields[i];
        uint32_t numbers[3] = {(uint32_t)f->group, f->values_max, f->user_id};
        h = mix_name(h, f->name);
        h = mix_name(h, s->tables[f->table].name);
        h = mix(h, numbers, sizeof numbers);
    }
    for (uint32_t i = 0; i < s->n_behaviors; i++) {
        h = mix_name(h, s->behaviors[i]);
    }
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        const struct schema_sequence *q = &s->sequences[i];
        uint32_t numbers[4] = {q->length, q->n_fields, q->from_click, q->from_behavior};
        h = mix_name(h, q->name);
        h = mix(h, numbers, sizeof numbers);
        h = mix(h, q->field, q->n_fields * sizeof q->field[0]);
    }
    return h;
}

uint64_t schema_model_digest(const struct schema *s)
{
    uint64_t h = schema_data_digest(s);
    for (uint32_t i = 0; i < s->n_tables; i++) {
        h = mix_name(h, s->tables[i].name);
        h = mix(h, &s->tables[i].dim, sizeof s->tables[i].dim);
    }
    for (uint32_t i = 0; i < s->n_fields; i++) {
        uint32_t pool = (uint32_t)s->fields[i].pool;
        h = mix(h, &pool, sizeof pool);
    }
    return h;
}
