#include "configs/config_entries.h"

#include "configs/config_slices.h"

#include <fnmatch.h>
#include <string.h>

/* Declared tables and all own ones are no more than a schema holds. */
_Static_assert((int)CONFIG_ENTRIES_MAX + SCHEMA_SEQUENCES_MAX * SCHEMA_STEP_FIELDS_MAX <=
                   (int)SCHEMA_TABLES_MAX,
               "every sequence of a configuration may have tables of its own");
#define HOLDS(max) _Static_assert((int)CONFIG_ENTRIES_MAX >= (int)(max), "declared whole")
HOLDS(SCHEMA_FIELDS_MAX);
HOLDS(SCHEMA_SEQUENCES_MAX);
HOLDS(CONFIG_TOPICS_MAX);
HOLDS(SLICES_MAX);

/* ---- declaring ---- */

static int fail_full(const char *path, uint32_t max, const struct config_where *where,
                     struct undine_err *err)
{
    return config_fail(err, where, "`%s` has more than %u entries", path, max);
}

void *config_entry_add(struct config_declared *d, const char *path,
                       const struct config_where *where, struct undine_err *err)
{
    struct {
        const char *path;
        char *entries;
        size_t size;
        struct config_where *at;
        uint32_t *n, max;
    } lists[] = {
        {"fields", (char *)d->fields, sizeof d->fields[0], d->field_at, &d->n_fields,
         SCHEMA_FIELDS_MAX},
        {"sequences", (char *)d->sequences, sizeof d->sequences[0], d->sequence_at, &d->n_sequences,
         SCHEMA_SEQUENCES_MAX},
        {"topics", (char *)d->topics, sizeof d->topics[0], d->topic_at, &d->n_topics,
         CONFIG_TOPICS_MAX},
        {"metrics.slices", (char *)d->slices, sizeof d->slices[0], d->slice_at, &d->n_slices,
         SLICES_MAX},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strcmp(lists[i].path, path) != 0) {
            continue;
        }
        if (*lists[i].n == lists[i].max) {
            (void)fail_full(path, lists[i].max, where, err);
            return NULL;
        }
        lists[i].at[*lists[i].n] = *where;
        return lists[i].entries + lists[i].size * (*lists[i].n)++;
    }
    UNDINE_ASSERT(!"every CONFIG_LIST row has a list");
    return NULL;
}

int config_entry_table(struct config_declared *d, const char *name, const char *dim, bool replace,
                       const struct config_where *where, struct undine_err *err)
{
    char path[SCHEMA_NAME_MAX + sizeof "tables."];
    if (name[0] == '\0' || strlen(name) >= SCHEMA_NAME_MAX) {
        return config_fail(err, where, "table `%.60s`: a name has 1..%d bytes", name,
                           SCHEMA_NAME_MAX - 1);
    }
    uint32_t i = 0;
    while (i < d->n_tables && strcmp(d->tables[i].name, name) != 0) {
        i++;
    }
    if (i == d->n_tables && replace) {
        return config_fail(err, where, "table `%s` is not declared in the file", name);
    }
    if (i == CONFIG_ENTRIES_MAX) {
        return fail_full("tables", CONFIG_ENTRIES_MAX, where, err);
    }
    (void)snprintf(path, sizeof path, "tables.%s", name);
    const struct config_key *map = config_key_find("tables");
    struct config_key key = {.path = path,
                             .type = CONFIG_INT,
                             .offset = (uint32_t)offsetof(struct config_table, dim),
                             .size = sizeof d->tables[0].dim,
                             .min = map->min,
                             .max = map->max};
    int rc = config_value_set_text(&d->tables[i], &key, dim, where, err);
    if (rc == UNDINE_OK && i == d->n_tables) {
        (void)strcpy(d->tables[i].name, name);
        d->table_at[i] = *where;
        d->n_tables++;
    }
    return rc;
}

int config_entry_rate(struct config_declared *d, const char *name, const char *rate,
                      const struct config_where *where, struct undine_err *err)
{
    const struct config_key *map = config_key_find("learner.optimizer.rates");
    char path[SCHEMA_NAME_MAX + sizeof "learner.optimizer.rates."];
    if (name[0] == '\0' || strlen(name) >= SCHEMA_NAME_MAX) {
        return config_fail(err, where, "`%s.%.60s`: a table's name has 1..%d bytes", map->path,
                           name, SCHEMA_NAME_MAX - 1);
    }
    uint32_t i = 0;
    while (i < d->n_rates && strcmp(d->rates[i].name, name) != 0) {
        i++;
    }
    if (i == CONFIG_ENTRIES_MAX) {
        return fail_full(map->path, CONFIG_ENTRIES_MAX, where, err);
    }
    (void)snprintf(path, sizeof path, "%s.%s", map->path, name);
    struct config_key key = {.path = path,
                             .type = CONFIG_REAL,
                             .offset = (uint32_t)offsetof(struct config_rate, rate),
                             .size = sizeof d->rates[0].rate,
                             .real_min = map->real_min,
                             .real_max = map->real_max};
    int rc = config_value_set_text(&d->rates[i], &key, rate, where, err);
    if (rc == UNDINE_OK) {
        (void)strcpy(d->rates[i].name, name);
        d->rate_at[i] = *where;
        d->n_rates = i == d->n_rates ? i + 1 : d->n_rates;
    }
    return rc;
}

bool config_kafka_is_secret(const char *key)
{
    static const char *const patterns[] = {"*password*", "*secret*", "*.key", "*.pem",
                                           "sasl.oauthbearer.*"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (fnmatch(patterns[i], key, 0) == 0) {
            return true;
        }
    }
    return false;
}

int config_entry_kafka(struct config *c, const char *key, const char *value, bool secret,
                       const struct config_where *where, struct undine_err *err)
{
    const char *refused = source_kafka_key_refused(key);
    if (refused != NULL) {
        return config_fail(err, where, "`kafka.%s` may not be set: %s", key, refused);
    }
    struct source_kafka_option *o = c->kafka;
    if (key[0] == '\0' || strlen(key) >= sizeof o->key || strlen(value) >= sizeof o->value) {
        return config_fail(err, where,
                           "`kafka.%.96s`: a key has 1..%zu bytes and a value up to %zu", key,
                           sizeof o->key - 1, sizeof o->value - 1);
    }
    uint32_t i = 0;
    while (i < c->n_kafka && strcmp(c->kafka[i].key, key) != 0) {
        i++;
    }
    if (i == CONFIG_KAFKA_MAX) {
        return fail_full("kafka", CONFIG_KAFKA_MAX, where, err);
    }
    (void)strcpy(c->kafka[i].key, key);
    (void)strcpy(c->kafka[i].value, value);
    c->kafka_secret[i] = secret || config_kafka_is_secret(key);
    c->n_kafka = i == c->n_kafka ? i + 1 : c->n_kafka;
    return UNDINE_OK;
}

/* ---- resolving ---- */

static int fail_twice(const char *what, const char *name, const struct config_where *first,
                      const struct config_where *where, struct undine_err *err)
{
    return config_fail(err, where, "%s `%s` is declared twice, first in line %zu", what, name,
                       first->line);
}

static int add_field(struct schema *s, const struct config_declared *d, uint32_t i,
                     struct undine_err *err)
{
    const struct config_field *f = &d->fields[i];
    const struct config_where *where = &d->field_at[i];
    const char *table = f->table[0] != '\0' ? f->table : f->name;
    int t = schema_table_find(s, table);
    int twin = schema_field_find(s, f->name);
    if (twin >= 0) {
        return fail_twice("field", f->name, &d->field_at[twin], where, err);
    }
    if (t < 0) {
        return config_fail(err, where, "field `%s`: table `%s` is not declared under `tables`",
                           f->name, table);
    }
    if (f->user_id && f->of != SCHEMA_USER) {
        return config_fail(err, where, "field `%s`: `user_id` needs `of: user`", f->name);
    }
    struct schema_field *out = &s->fields[s->n_fields++];
    (void)strcpy(out->name, f->name);
    out->group = f->of;
    out->table = (uint32_t)t;
    out->pool = f->pool;
    out->values_max = f->multi;
    out->user_id = f->user_id;
    return UNDINE_OK;
}

static int add_from(const struct schema *s, struct schema_sequence *out, const char *from,
                    const struct config_where *where, struct undine_err *err)
{
    int b = schema_behavior_find(s, from);
    if (strcmp(from, "click") == 0) {
        out->from_click = true;
        return UNDINE_OK;
    }
    if (b < 0) {
        return config_fail(
            err, where, "sequence `%s`: `from` names `%s`, expected `click` or one of `behaviors`",
            out->name, from);
    }
    out->from_behavior |= UINT32_C(1) << b;
    return UNDINE_OK;
}

static int add_sequence(struct schema *s, const struct config_declared *d, uint32_t number,
                        struct undine_err *err)
{
    const struct config_sequence *q = &d->sequences[number];
    const struct config_where *where = &d->sequence_at[number];
    struct schema_sequence *out = &s->sequences[s->n_sequences];
    int twin = schema_sequence_find(s, q->name);
    if (twin >= 0) {
        return fail_twice("sequence", q->name, &d->sequence_at[twin], where, err);
    }
    if (q->fields.n > SCHEMA_STEP_FIELDS_MAX) {
        return config_fail(err, where, "sequence `%s` has %u fields, expected 1..%d", q->name,
                           q->fields.n, SCHEMA_STEP_FIELDS_MAX);
    }
    (void)strcpy(out->name, q->name);
    out->length = q->length;
    out->own_tables = !q->shared;
    for (uint32_t i = 0; i < q->fields.n; i++) {
        int f = schema_field_find(s, q->fields.name[i]);
        if (f < 0 || s->fields[f].group != SCHEMA_CANDIDATE) {
            return config_fail(err, where,
                               "sequence `%s`: field `%s` is not declared with `of: candidate`",
                               q->name, q->fields.name[i]);
        }
        out->field[out->n_fields++] = (uint32_t)f;
    }
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < q->from.n; i++) {
        rc = add_from(s, out, q->from.name[i], where, err);
    }
    s->n_sequences += rc == UNDINE_OK;
    return rc;
}

static int add_topic(struct config *c, const struct config_declared *d, uint32_t number,
                     struct undine_err *err)
{
    const struct config_topic *t = &d->topics[number];
    for (uint32_t i = 0; i < c->n_topics; i++) {
        if (strcmp(c->topics[i].name, t->name) == 0) {
            return fail_twice("topic", t->name, &d->topic_at[i], &d->topic_at[number], err);
        }
    }
    (void)strcpy(c->topics[c->n_topics].name, t->name);
    c->topics[c->n_topics].kinds = t->kinds;
    c->decode.topic_kinds[c->n_topics] = t->kinds;
    c->decode.n_topics = ++c->n_topics;
    return UNDINE_OK;
}

static int add_rate(struct config *c, const struct config_rate *r, const struct config_where *where,
                    struct undine_err *err)
{
    int t = schema_table_find(&c->schema, r->name);
    if (t < 0) {
        return config_fail(err, where,
                           "`learner.optimizer.rates`: table `%s` is not declared under `tables`",
                           r->name);
    }
    c->trainer.table_rate[t] = r->rate;
    return UNDINE_OK;
}

/* A dot stands in the names of the tables that schema_check makes for sequences, and in no other.
 */
static int check_table_name(const struct config_declared *d, uint32_t table, struct undine_err *err)
{
    const char *name = d->tables[table].name, *dot = strchr(name, '.');
    for (uint32_t i = 0; dot != NULL && i < d->n_sequences; i++) {
        const struct config_sequence *q = &d->sequences[i];
        if (!q->shared && strlen(q->name) == (size_t)(dot - name) &&
            memcmp(q->name, name, (size_t)(dot - name)) == 0) {
            return config_fail(
                err, &d->table_at[table],
                "table `%s` has the name of a table of sequence `%s`, which has its "
                "own by `shared: false` in line %zu; a name that you give has no dot",
                name, q->name, d->sequence_at[i].line);
        }
    }
    return dot == NULL ? UNDINE_OK
                       : config_fail(err, &d->table_at[table],
                                     "table `%s`: a name that you give has no dot, expected "
                                     "letters, digits, `_` or `-`",
                                     name);
}

int config_entries_resolve(struct config *c, const struct config_declared *d,
                           struct undine_err *err)
{
    struct schema *s = &c->schema;
    struct config_where whole = {c->file, 0};
    int rc = UNDINE_OK;
    if (schema_behavior_find(s, "click") >= 0) {
        return config_fail(err, &whole,
                           "a behavior named `click` could not be told from a click in `from`");
    }
    for (uint32_t i = 0; i < d->n_tables; i++) {
        (void)strcpy(s->tables[i].name, d->tables[i].name);
        s->tables[i].dim = d->tables[i].dim;
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < d->n_tables; i++) {
        rc = check_table_name(d, i, err);
    }
    s->n_tables = d->n_tables;
    for (uint32_t i = 0; rc == UNDINE_OK && i < d->n_fields; i++) {
        rc = add_field(s, d, i, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < d->n_sequences; i++) {
        rc = add_sequence(s, d, i, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < d->n_topics; i++) {
        rc = add_topic(c, d, i, err);
    }
    if (rc == UNDINE_OK) {
        rc = schema_check(s, err);
        if (rc != UNDINE_OK) {
            (void)undine_err_prefix(err, "%s", c->file);
        }
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < d->n_rates; i++) {
        rc = add_rate(c, &d->rates[i], &d->rate_at[i], err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < d->n_slices; i++) {
        rc = config_slice_add(c, &d->slices[i], &d->slice_at[i], err);
    }
    return rc;
}

/* ---- and back ---- */

static void get_field(const struct schema *s, uint32_t i, struct config_field *out)
{
    const struct schema_field *f = &s->fields[i];
    (void)strcpy(out->name, f->name);
    (void)strcpy(out->table, s->tables[f->table].name);
    out->of = f->group;
    out->multi = f->values_max;
    out->pool = f->pool;
    out->user_id = f->user_id;
}

static void get_sequence(const struct schema *s, uint32_t i, struct config_sequence *out)
{
    const struct schema_sequence *q = &s->sequences[i];
    (void)strcpy(out->name, q->name);
    out->length = q->length;
    out->shared = !q->own_tables;
    out->fields.n = q->n_fields;
    for (uint32_t k = 0; k < q->n_fields; k++) {
        (void)strcpy(out->fields.name[k], s->fields[q->field[k]].name);
    }
    if (q->from_click) {
        (void)strcpy(out->from.name[out->from.n++], "click");
    }
    for (uint32_t b = 0; b < s->n_behaviors; b++) {
        if ((q->from_behavior >> b & 1) != 0) {
            (void)strcpy(out->from.name[out->from.n++], s->behaviors[b]);
        }
    }
}

bool config_entry_get(const struct config *c, const char *path, uint32_t i, void *out)
{
    memset(out, 0, CONFIG_ENTRY_BYTES_MAX);
    if (strcmp(path, "fields") == 0 && i < c->schema.n_fields) {
        get_field(&c->schema, i, out);
        return true;
    }
    if (strcmp(path, "sequences") == 0 && i < c->schema.n_sequences) {
        get_sequence(&c->schema, i, out);
        return true;
    }
    if (strcmp(path, "topics") == 0 && i < c->n_topics) {
        struct config_topic *t = out;
        (void)strcpy(t->name, c->topics[i].name);
        t->kinds = c->topics[i].kinds;
        return true;
    }
    if (strcmp(path, "metrics.slices") == 0 && i < c->trainer.slices.n) {
        config_slice_get(c, i, out);
        return true;
    }
    return false;
}
