#include "tests/support/decode_twin.h"

#include "base/hash.h"
#include "ingest/source.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct twin {
    const struct schema *schema;
    bool by_user_item;
    json_t *root;
    struct event head;
    char user[DECODE_ID_MAX + 1];
    size_t user_len;
    bool filtered, has_fields;
    uint32_t counts[SCHEMA_FIELDS_MAX];
    uint64_t ids[SCHEMA_FIELDS_MAX][SCHEMA_VALUES_MAX];
};

struct text {
    char bytes[DECODE_ID_MAX + 1];
    size_t len; /* 0 = missing */
};

static bool is_missing(const json_t *v)
{
    return v == NULL || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

static enum decode_reason id_text(const json_t *v, struct text *out)
{
    out->len = 0;
    if (is_missing(v)) {
        return DECODE_OK;
    }
    if (json_is_integer(v)) {
        out->len = (size_t)snprintf(out->bytes, sizeof out->bytes, "%lld",
                                    (long long)json_integer_value(v));
        return DECODE_OK;
    }
    if (!json_is_string(v)) {
        return DECODE_TYPE;
    }
    if (json_string_length(v) > DECODE_ID_MAX) {
        return DECODE_LENGTH;
    }
    out->len = json_string_length(v);
    memcpy(out->bytes, json_string_value(v), out->len);
    return DECODE_OK;
}

static enum decode_reason needed_id(const struct twin *t, const char *name, uint64_t *out)
{
    struct text id;
    enum decode_reason r = id_text(json_object_get(t->root, name), &id);
    if (r == DECODE_OK && id.len == 0) {
        return DECODE_MISSING;
    }
    *out = r == DECODE_OK ? hash_id(id.bytes, id.len) : 0;
    return r;
}

static enum decode_reason user(struct twin *t, bool needed)
{
    struct text id;
    enum decode_reason r = id_text(json_object_get(t->root, "user"), &id);
    if (r != DECODE_OK || id.len == 0) {
        return r == DECODE_OK && needed ? DECODE_MISSING : r;
    }
    t->head.user = hash_id(id.bytes, id.len);
    t->user_len = id.len;
    memcpy(t->user, id.bytes, id.len);
    return DECODE_OK;
}

static enum decode_reason one_value(struct twin *t, uint32_t f, const json_t *v)
{
    const struct schema_field *field = &t->schema->fields[f];
    struct text id;
    enum decode_reason r = json_is_array(v) ? DECODE_TYPE : id_text(v, &id);
    if (r != DECODE_OK || id.len == 0) {
        return r;
    }
    uint64_t h = hash_feature(t->schema->tables[field->table].hash_seed, id.bytes, id.len);
    for (uint32_t i = 0; i < t->counts[f]; i++) {
        if (t->ids[f][i] == h) {
            return DECODE_OK;
        }
    }
    if (t->counts[f] < field->values_max) {
        t->ids[f][t->counts[f]++] = h;
    }
    return DECODE_OK;
}

static enum decode_reason values(struct twin *t, uint32_t f, const json_t *v)
{
    if (!json_is_array(v)) {
        return v == NULL ? DECODE_OK : one_value(t, f, v);
    }
    enum decode_reason r = DECODE_OK;
    for (size_t i = 0; i < json_array_size(v) && r == DECODE_OK; i++) {
        r = one_value(t, f, json_array_get(v, i));
    }
    return r;
}

static uint32_t item_field(const struct twin *t)
{
    uint32_t f = 0;
    while (t->schema->fields[f].group != SCHEMA_CANDIDATE) {
        f++;
    }
    return f;
}

static enum decode_reason impression(struct twin *t)
{
    static const char *const groups[] = {"profile", "candidate", "context"};
    enum decode_reason r = DECODE_OK;
    t->has_fields = true;
    if (!t->by_user_item) {
        r = needed_id(t, "id", &t->head.id);
    }
    r = r == DECODE_OK ? user(t, true) : r;
    for (int g = 0; g < 3 && r == DECODE_OK; g++) {
        const json_t *group = json_object_get(t->root, groups[g]);
        r = group == NULL || json_is_null(group) || json_is_object(group) ? DECODE_OK : DECODE_TYPE;
    }
    for (uint32_t f = 0; f < t->schema->n_fields && r == DECODE_OK; f++) {
        const struct schema_field *field = &t->schema->fields[f];
        if (field->user_id) {
            t->ids[f][t->counts[f]++] =
                hash_feature(t->schema->tables[field->table].hash_seed, t->user, t->user_len);
        } else {
            r = values(
                t, f, json_object_get(json_object_get(t->root, groups[field->group]), field->name));
        }
    }
    return r;
}

/* The fields of `item`; a click looks at the first one only. */
static enum decode_reason item(struct twin *t, bool all)
{
    const json_t *v = json_object_get(t->root, "item");
    uint32_t first = item_field(t);
    if (v == NULL || json_is_null(v)) {
        return DECODE_MISSING;
    }
    if (json_is_array(v)) {
        return DECODE_TYPE;
    }
    if (!json_is_object(v)) {
        return one_value(t, first, v);
    }
    enum decode_reason r = DECODE_OK;
    for (uint32_t f = 0; f < t->schema->n_fields && r == DECODE_OK; f++) {
        if ((all || f == first) && t->schema->fields[f].group == SCHEMA_CANDIDATE) {
            r = values(t, f, json_object_get(v, t->schema->fields[f].name));
        }
    }
    return r;
}

static enum decode_reason by_user_item(struct twin *t)
{
    if (t->head.item == 0) {
        return DECODE_MISSING;
    }
    const uint64_t both[2] = {t->head.user, t->head.item};
    t->head.id = hash_id(both, sizeof both);
    return DECODE_OK;
}

static void take_item(struct twin *t)
{
    uint32_t first = item_field(t);
    t->head.item = t->counts[first] > 0 ? t->ids[first][0] : 0;
}

static enum decode_reason click(struct twin *t)
{
    enum decode_reason r = user(t, t->by_user_item);
    if (r != DECODE_OK || !t->by_user_item) {
        return r != DECODE_OK ? r : needed_id(t, "impression", &t->head.id);
    }
    r = item(t, false);
    take_item(t);
    return r == DECODE_OK ? by_user_item(t) : r;
}

static enum decode_reason behavior(struct twin *t)
{
    const json_t *type = json_object_get(t->root, "type");
    t->has_fields = true;
    t->head.id = t->head.tie;
    if (type == NULL || json_is_null(type) ||
        (json_is_string(type) && json_string_length(type) == 0)) {
        return DECODE_MISSING;
    }
    if (!json_is_string(type)) {
        return DECODE_TYPE;
    }
    const char *name = json_string_value(type);
    int index =
        strlen(name) == json_string_length(type) ? schema_behavior_find(t->schema, name) : -1;
    t->filtered = index < 0;
    if (t->filtered) {
        return DECODE_OK;
    }
    t->head.behavior = (uint8_t)index;
    enum decode_reason r = user(t, true);
    r = r == DECODE_OK ? item(t, true) : r;
    uint32_t n = 0;
    for (uint32_t f = 0; f < t->schema->n_fields; f++) {
        n += t->counts[f];
    }
    return r == DECODE_OK && n == 0 ? DECODE_MISSING : r;
}

static enum decode_reason event_time(struct twin *t)
{
    const json_t *v = json_object_get(t->root, "time");
    if (v == NULL || json_is_null(v)) {
        return DECODE_MISSING;
    }
    if (!json_is_integer(v)) {
        return json_is_real(v) ? DECODE_NUMBER : DECODE_TYPE;
    }
    t->head.time_ms = json_integer_value(v);
    return t->head.time_ms >= 0 && t->head.time_ms <= DECODE_TIME_MAX_MS ? DECODE_OK : DECODE_TIME;
}

static enum decode_reason object(struct twin *t)
{
    static const char *const kinds[EVENT_KINDS] = {"impression", "click", "behavior", "forget"};
    const json_t *kind = json_object_get(t->root, "kind");
    if (kind != NULL && !json_is_null(kind) && !json_is_string(kind)) {
        return DECODE_TYPE;
    }
    t->head.kind = EVENT_KINDS;
    for (uint8_t k = 0; k < EVENT_KINDS && json_is_string(kind); k++) {
        if (strlen(kinds[k]) == json_string_length(kind) &&
            strcmp(kinds[k], json_string_value(kind)) == 0) {
            t->head.kind = k;
        }
    }
    enum decode_reason r = DECODE_KIND;
    switch (t->head.kind) {
    case EVENT_IMPRESSION:
        r = impression(t);
        take_item(t);
        r = r == DECODE_OK && t->by_user_item ? by_user_item(t) : r;
        break;
    case EVENT_CLICK:
        r = click(t);
        break;
    case EVENT_BEHAVIOR:
        r = behavior(t);
        take_item(t);
        break;
    case EVENT_FORGET:
        t->head.id = t->head.tie;
        r = user(t, true);
        break;
    default:
        break;
    }
    return r == DECODE_OK && !t->filtered ? event_time(t) : r;
}

static const char *compare_event(const struct twin *t, const struct event *e)
{
    if (e->time_ms != t->head.time_ms || e->kind != t->head.kind || e->id != t->head.id ||
        e->user != t->head.user || e->tie != t->head.tie || e->item != t->head.item ||
        e->behavior != t->head.behavior) {
        return "the header";
    }
    if (e->user_len != t->user_len || memcmp(event_user(e), t->user, t->user_len) != 0) {
        return "the user id";
    }
    for (uint32_t f = 0; t->has_fields && f < t->schema->n_fields; f++) {
        uint32_t n;
        const uint64_t *ids = event_field(e, f, &n);
        if (n != t->counts[f] || (n > 0 && memcmp(ids, t->ids[f], n * sizeof *ids) != 0)) {
            return t->schema->fields[f].name;
        }
    }
    return !t->has_fields && e->n_fields != 0 ? "fields where there are none" : NULL;
}

static size_t depth_of(const uint8_t *text, size_t len)
{
    size_t depth = 0, most = 0;
    for (size_t i = 0; i < len; i++) { /* brackets in strings count too: an upper bound */
        depth += text[i] == '[' || text[i] == '{';
        most = depth > most ? depth : most;
        depth -= depth > 0 && (text[i] == ']' || text[i] == '}');
    }
    return most;
}

static const char *compare_refused(const json_error_t *error, enum decode_reason r)
{
    enum json_error_code code = json_error_code(error);
    if (code == json_error_numeric_overflow || code == json_error_null_byte_in_key) {
        return NULL;
    }
    /* Where a message is neither UTF-8 nor JSON, either reason is true. */
    return r == DECODE_JSON || r == DECODE_UTF8 ? NULL : "not JSON";
}

const char *decode_twin_differs(struct decoder *d, const struct schema *schema, bool by_user_item,
                                const uint8_t *text, size_t len)
{
    static uint64_t record[EVENT_WORDS_MAX];
    uint32_t words;
    json_error_t error;
    const char *differs = NULL;
    enum decode_reason r = decoder_decode(d, text, len, SOURCE_TOPIC_ANY, record, &words);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL && text[len - 1] != '\0') {
        len--;
    }
    while (len > 0 && strchr(" \t\r\n", *text) != NULL && *text != '\0') {
        text++;
        len--;
    }
    if (len == 0) {
        return r == DECODE_EMPTY ? NULL : "an empty message";
    }
    if (r == DECODE_TOO_LONG || depth_of(text, len) > 100) {
        return NULL;
    }
    if (memchr(text, '\0', len) != NULL) { /* no JSON anywhere; jansson takes one behind a number */
        return r == DECODE_JSON || r == DECODE_UTF8 ? NULL : "a NUL byte";
    }
    struct twin *t = calloc(1, sizeof *t);
    t->schema = schema;
    t->by_user_item = by_user_item;
    t->head.tie = hash_id(text, len);
    t->root = json_loadb((const char *)text, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (t->root == NULL) {
        differs = compare_refused(&error, r);
    } else if (!json_is_object(t->root)) {
        differs = r == DECODE_JSON ? NULL : "no object";
    } else if (object(t) != r) {
        differs = "the reason";
    } else if (r == DECODE_OK && t->filtered != (words == 0)) {
        differs = "what is filtered";
    } else if (r == DECODE_OK && words > 0) {
        differs = event_valid(record, words, schema) ? compare_event(t, (struct event *)record)
                                                     : "a record that is not valid";
    }
    json_decref(t->root);
    free(t);
    return differs;
}
