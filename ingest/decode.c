#include "ingest/decode.h"

#include "base/hash.h"
#include "ingest/json_shim.h"
#include "ingest/source.h"

#include <stdlib.h>
#include <string.h>

/* Members of a message: name, and the list of the members within it. */
enum { LIST_TOP, LIST_GROUPS, LISTS = LIST_GROUPS + SCHEMA_CONTEXT + 1 };
#define TOP_MEMBERS(X)                                                                             \
    X(TOP_KIND, "kind", -1)                                                                        \
    X(TOP_ID, "id", -1)                                                                            \
    X(TOP_USER, "user", -1)                                                                        \
    X(TOP_TIME, "time", -1)                                                                        \
    X(TOP_IMPRESSION, "impression", -1)                                                            \
    X(TOP_TYPE, "type", -1)                                                                        \
    X(TOP_ITEM, "item", LIST_GROUPS + SCHEMA_CANDIDATE)                                            \
    X(TOP_PROFILE, "profile", LIST_GROUPS + SCHEMA_USER)                                           \
    X(TOP_CANDIDATE, "candidate", LIST_GROUPS + SCHEMA_CANDIDATE)                                  \
    X(TOP_CONTEXT, "context", LIST_GROUPS + SCHEMA_CONTEXT)

enum top_member {
#define X(name, text, members) name,
    TOP_MEMBERS(X)
#undef X
        TOP_COUNT
};

static const struct json_name top_names[TOP_COUNT] = {
#define X(name, text, members) {text, sizeof(text) - 1, name, members},
    TOP_MEMBERS(X)
#undef X
};

struct decoder {
    const struct schema *schema;
    struct decode_options opt;
    struct decode_stats stats;
    struct json_shim *json;
    struct json_list lists[LISTS];
    struct json_name group_names[SCHEMA_CONTEXT + 1][SCHEMA_FIELDS_MAX];
    int item_field; /* the first candidate field: what a scalar `item` is; -1 = none */
    /* The message in hand. */
    const struct json_node *nodes;
    const struct json_node *top[TOP_COUNT];           /* NULL = absent or null */
    const struct json_node *field[SCHEMA_FIELDS_MAX]; /* the same */
    uint64_t values_dropped, values_repeated;
    uint8_t counts[SCHEMA_FIELDS_MAX];
    uint32_t n_ids;
    uint64_t ids[SCHEMA_FIELDS_MAX * SCHEMA_VALUES_MAX];
};

struct text {
    const char *at; /* NULL = missing */
    size_t len;
};

const char *decode_reason_name(enum decode_reason r)
{
    static const char *const names[] = {
#define X(name, counter, text) counter,
        DECODE_REASONS(X)
#undef X
    };
    UNDINE_ASSERT(r >= 0 && r < DECODE_REASON_COUNT);
    return names[r];
}

const char *decode_reason_text(enum decode_reason r)
{
    static const char *const texts[] = {
#define X(name, counter, text) text,
        DECODE_REASONS(X)
#undef X
    };
    UNDINE_ASSERT(r >= 0 && r < DECODE_REASON_COUNT);
    return texts[r];
}

/* What the shim looks up: the names above, and those of the schema's fields by their group.  A
 * user-id field is filled from `user`, so its name is no member. */
static void name_members(struct decoder *d)
{
    uint32_t n[SCHEMA_CONTEXT + 1] = {0};
    d->item_field = -1;
    for (uint32_t f = 0; f < d->schema->n_fields; f++) {
        const struct schema_field *field = &d->schema->fields[f];
        if (field->group == SCHEMA_CANDIDATE && d->item_field < 0) {
            d->item_field = (int)f;
        }
        if (!field->user_id) {
            d->group_names[field->group][n[field->group]++] =
                (struct json_name){field->name, (uint32_t)strlen(field->name), (int32_t)f, -1};
        }
    }
    d->lists[LIST_TOP] = (struct json_list){top_names, TOP_COUNT};
    for (int g = 0; g <= SCHEMA_CONTEXT; g++) {
        d->lists[LIST_GROUPS + g] = (struct json_list){d->group_names[g], n[g]};
    }
}

int decoder_open(struct decoder **out, const struct schema *schema,
                 const struct decode_options *opt, struct undine_err *err)
{
    const size_t bytes_limit = (size_t)1 << 30;
    if (opt->message_bytes_max == 0 || opt->message_bytes_max > bytes_limit) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "`ingest.message_bytes_max` is %zu: it must be 1 to %zu",
                              opt->message_bytes_max, bytes_limit);
    }
    struct decoder *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a decoder");
    }
    d->schema = schema;
    d->opt = *opt;
    name_members(d);
    if (opt->join_by_user_item && d->item_field < 0) {
        decoder_close(d);
        return undine_err_set(err, UNDINE_ECONFIG,
                              "clicks are joined by user and item, but the schema declares no "
                              "candidate field that could be the item");
    }
    d->json = json_shim_open(d->lists, opt->message_bytes_max);
    if (d->json == NULL) {
        decoder_close(d);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for messages of %zu bytes",
                              opt->message_bytes_max);
    }
    *out = d;
    return 0;
}

void decoder_close(struct decoder *d)
{
    if (d != NULL) {
        json_shim_close(d->json);
        free(d);
    }
}

const struct decode_stats *decoder_stats(const struct decoder *d)
{
    return &d->stats;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The first child of a container, and the end of its children: equal where it is empty. */
static const struct json_node *first_child(const struct json_node *node)
{
    return node + 1;
}

static const struct json_node *next_sibling(const struct decoder *d, const struct json_node *node)
{
    return d->nodes + node->end;
}

/* The bytes of an id: a string, or the decimal text of an integer.  A missing one is {NULL, 0}. */
static enum decode_reason read_id(const struct decoder *d, const struct json_node *node,
                                  struct text *out)
{
    *out = (struct text){NULL, 0};
    if (node == NULL) {
        return DECODE_OK;
    }
    switch (node->type) {
    case JSON_NULL:
        return DECODE_OK;
    case JSON_BIG:
        return DECODE_NUMBER;
    case JSON_ARRAY:
        return first_child(node) == next_sibling(d, node) ? DECODE_OK : DECODE_TYPE;
    case JSON_INT:
    case JSON_STRING:
        break;
    default:
        return DECODE_TYPE;
    }
    if (node->len > DECODE_ID_MAX) {
        return DECODE_LENGTH;
    }
    if (node->len > 0) {
        *out = (struct text){node->text, node->len};
    }
    return DECODE_OK;
}

static enum decode_reason read_id_needed(const struct decoder *d, enum top_member member,
                                         struct text *out)
{
    enum decode_reason r = read_id(d, d->top[member], out);
    return r == DECODE_OK && out->at == NULL ? DECODE_MISSING : r;
}

/* The user, and in head its hash; where it may be missing, text and hash are 0. */
static enum decode_reason read_user(const struct decoder *d, bool needed, struct event *head,
                                    struct text *out)
{
    enum decode_reason r = read_id(d, d->top[TOP_USER], out);
    if (r == DECODE_OK && out->at == NULL) {
        return needed ? DECODE_MISSING : DECODE_OK;
    }
    if (r == DECODE_OK) {
        head->user = hash_id(out->at, out->len);
    }
    return r;
}

static enum decode_reason read_time(const struct decoder *d, int64_t *out)
{
    const struct json_node *node = d->top[TOP_TIME];
    if (node == NULL) {
        return DECODE_MISSING;
    }
    if (node->type == JSON_REAL || node->type == JSON_BIG) {
        return DECODE_NUMBER;
    }
    if (node->type != JSON_INT) {
        return DECODE_TYPE;
    }
    /* 15 digits hold DECODE_TIME_MAX_MS; a minus sign is no digit, and no time. */
    int64_t time_ms = 0;
    for (uint32_t i = 0; i < node->len; i++) {
        if (node->text[i] == '-' || i == 15) {
            return DECODE_TIME;
        }
        time_ms = time_ms * 10 + (node->text[i] - '0');
    }
    *out = time_ms;
    return time_ms <= DECODE_TIME_MAX_MS ? DECODE_OK : DECODE_TIME;
}

static enum decode_reason read_kind(const struct decoder *d, uint32_t topic_index,
                                    enum event_kind *out)
{
    static const char *const kinds[EVENT_KINDS] = {"impression", "click", "behavior", "forget"};
    const struct json_node *node = d->top[TOP_KIND];
    uint32_t carried = (1U << EVENT_KINDS) - 1;
    if (topic_index != SOURCE_TOPIC_ANY) {
        UNDINE_ASSERT(topic_index < d->opt.n_topics);
        carried &= d->opt.topic_kinds[topic_index];
    }
    if (node != NULL && node->type != JSON_STRING) {
        return DECODE_TYPE;
    }
    for (unsigned k = 0; k < EVENT_KINDS; k++) {
        uint32_t bit = 1U << k;
        bool named = node != NULL && node->len == strlen(kinds[k]) &&
                     memcmp(node->text, kinds[k], node->len) == 0;
        if ((named && (carried & bit) != 0) || (node == NULL && carried == bit)) {
            *out = (enum event_kind)k;
            return DECODE_OK;
        }
    }
    return DECODE_KIND;
}

/* Index in schema.behaviors in *out, -1 = a type that the schema does not declare. */
static enum decode_reason read_behavior(const struct decoder *d, int *out)
{
    const struct json_node *node = d->top[TOP_TYPE];
    *out = -1;
    if (node == NULL || (node->type == JSON_STRING && node->len == 0)) {
        return DECODE_MISSING;
    }
    if (node->type != JSON_STRING) {
        return DECODE_TYPE;
    }
    for (uint32_t b = 0; b < d->schema->n_behaviors; b++) {
        const char *name = d->schema->behaviors[b];
        if (node->len == strlen(name) && memcmp(node->text, name, node->len) == 0) {
            *out = (int)b;
        }
    }
    return DECODE_OK;
}

/* Note the members of a group; of members with one name the last one counts. */
static enum decode_reason gather_group(struct decoder *d, enum top_member member)
{
    const struct json_node *group = d->top[member];
    if (group == NULL) {
        return DECODE_OK;
    }
    if (group->type != JSON_OBJECT) {
        return DECODE_TYPE;
    }
    const struct json_node *end = next_sibling(d, group);
    for (const struct json_node *node = first_child(group); node < end;
         node = next_sibling(d, node)) {
        d->field[node->name] = node;
    }
    return DECODE_OK;
}

/* `item`: an object with candidate fields, or the id of the first one alone. */
static enum decode_reason gather_item(struct decoder *d)
{
    const struct json_node *item = d->top[TOP_ITEM];
    if (item == NULL) {
        return DECODE_MISSING;
    }
    if (item->type == JSON_OBJECT) {
        return gather_group(d, TOP_ITEM);
    }
    if (item->type == JSON_ARRAY || d->item_field < 0) {
        return DECODE_TYPE;
    }
    d->field[d->item_field] = item;
    return DECODE_OK;
}

/* One more id for field f: each is kept once, up to values_max. */
static void add_value(struct decoder *d, uint32_t f, struct text value)
{
    const struct schema_field *field = &d->schema->fields[f];
    uint64_t id = hash_feature(d->schema->tables[field->table].hash_seed, value.at, value.len);
    uint64_t *ids = d->ids + d->n_ids - d->counts[f];
    for (uint32_t i = 0; i < d->counts[f]; i++) {
        if (ids[i] == id) {
            d->values_repeated++; /* DROP(value_repeated) */
            return;
        }
    }
    if (d->counts[f] == field->values_max) {
        d->values_dropped++; /* DROP(value_beyond_max) */
        return;
    }
    d->ids[d->n_ids++] = id;
    d->counts[f]++;
}

static enum decode_reason fill_field(struct decoder *d, uint32_t f)
{
    const struct json_node *node = d->field[f];
    if (node == NULL) {
        return DECODE_OK;
    }
    const struct json_node *end = next_sibling(d, node);
    if (node->type == JSON_ARRAY) {
        node = first_child(node);
    }
    for (; node < end; node = next_sibling(d, node)) {
        struct text value;
        enum decode_reason r = node->type == JSON_ARRAY ? DECODE_TYPE : read_id(d, node, &value);
        if (r != DECODE_OK) {
            return r;
        }
        if (value.at != NULL) {
            add_value(d, f, value);
        }
    }
    return DECODE_OK;
}

/* Ids of every field that was gathered, in the schema's order; the item's in head. */
static enum decode_reason fill_fields(struct decoder *d, struct text user, struct event *head)
{
    for (uint32_t f = 0; f < d->schema->n_fields; f++) {
        const struct schema_field *field = &d->schema->fields[f];
        enum decode_reason r = DECODE_OK;
        if (field->user_id && head->kind == EVENT_IMPRESSION) {
            add_value(d, f, user);
        } else {
            r = fill_field(d, f);
        }
        if (r != DECODE_OK) {
            return r;
        }
        if ((int)f == d->item_field && d->counts[f] > 0) {
            head->item = d->ids[d->n_ids - d->counts[f]];
        }
    }
    return DECODE_OK;
}

/* Where the stream has no impression ids: user and item name the impression. */
static enum decode_reason join_by_user_item(struct event *head)
{
    if (head->item == 0) {
        return DECODE_MISSING;
    }
    const uint64_t both[2] = {head->user, head->item};
    head->id = hash_id(both, sizeof both);
    return DECODE_OK;
}

static enum decode_reason decode_impression(struct decoder *d, struct event *head,
                                            struct text *user)
{
    static const enum top_member groups[] = {TOP_PROFILE, TOP_CANDIDATE, TOP_CONTEXT};
    struct text id = {NULL, 0};
    enum decode_reason r = DECODE_OK;
    if (!d->opt.join_by_user_item) {
        r = read_id_needed(d, TOP_ID, &id);
        head->id = r == DECODE_OK ? hash_id(id.at, id.len) : 0;
    }
    if (r == DECODE_OK) {
        r = read_user(d, true, head, user);
    }
    for (size_t g = 0; g < sizeof groups / sizeof groups[0] && r == DECODE_OK; g++) {
        r = gather_group(d, groups[g]);
    }
    if (r == DECODE_OK) {
        r = fill_fields(d, *user, head);
    }
    if (r == DECODE_OK && d->opt.join_by_user_item) {
        r = join_by_user_item(head);
    }
    return r;
}

static enum decode_reason decode_click(struct decoder *d, struct event *head, struct text *user)
{
    struct text id = {NULL, 0};
    enum decode_reason r = read_user(d, d->opt.join_by_user_item, head, user);
    if (r != DECODE_OK) {
        return r;
    }
    if (!d->opt.join_by_user_item) {
        r = read_id_needed(d, TOP_IMPRESSION, &id);
        head->id = r == DECODE_OK ? hash_id(id.at, id.len) : 0;
        return r;
    }
    r = gather_item(d);
    if (r == DECODE_OK) {
        r = fill_field(d, (uint32_t)d->item_field);
    }
    if (r != DECODE_OK) {
        return r;
    }
    head->item = d->n_ids > 0 ? d->ids[0] : 0;
    return join_by_user_item(head);
}

/* *filtered where the schema does not declare the type: then the rest is not looked at. */
static enum decode_reason decode_behavior(struct decoder *d, struct event *head, struct text *user,
                                          bool *filtered)
{
    int behavior;
    enum decode_reason r = read_behavior(d, &behavior);
    *filtered = r == DECODE_OK && behavior < 0;
    if (r != DECODE_OK || *filtered) {
        return r;
    }
    head->behavior = (uint8_t)behavior;
    head->id = head->tie;
    r = read_user(d, true, head, user);
    if (r == DECODE_OK) {
        r = gather_item(d);
    }
    if (r == DECODE_OK) {
        r = fill_fields(d, *user, head);
    }
    return r == DECODE_OK && d->n_ids == 0 ? DECODE_MISSING : r;
}

static enum decode_reason decode_forget(struct decoder *d, struct event *head, struct text *user)
{
    head->id = head->tie;
    return read_user(d, true, head, user);
}

static enum decode_reason decode_object(struct decoder *d, uint32_t topic_index, struct event *head,
                                        struct text *user, bool *filtered)
{
    enum event_kind kind;
    enum decode_reason r = read_kind(d, topic_index, &kind);
    if (r != DECODE_OK) {
        return r;
    }
    head->kind = (uint8_t)kind;
    switch (kind) {
    case EVENT_IMPRESSION:
        r = decode_impression(d, head, user);
        break;
    case EVENT_CLICK:
        r = decode_click(d, head, user);
        break;
    case EVENT_BEHAVIOR:
        r = decode_behavior(d, head, user, filtered);
        break;
    default:
        r = decode_forget(d, head, user);
        break;
    }
    return r == DECODE_OK && !*filtered ? read_time(d, &head->time_ms) : r;
}

/* Parse, and note the members of the message; of members with one name the last one counts. */
static enum decode_reason parse(struct decoder *d, const uint8_t *data, size_t len)
{
    uint32_t n_nodes;
    memset(d->top, 0, sizeof d->top);
    memset(d->field, 0, d->schema->n_fields * sizeof d->field[0]);
    memset(d->counts, 0, d->schema->n_fields);
    d->n_ids = 0;
    d->values_dropped = 0;
    d->values_repeated = 0;
    enum json_status status = json_shim_parse(d->json, data, len, &d->nodes, &n_nodes);
    UNDINE_ASSERT(status != JSON_MEMORY); /* else a good message would count as a malformed one */
    if (status != JSON_OK) {
        return status == JSON_UTF8 ? DECODE_UTF8 : DECODE_JSON;
    }
    for (uint32_t i = 0; i < n_nodes; i = d->nodes[i].end) {
        const struct json_node *node = &d->nodes[i];
        d->top[node->name] = node->type == JSON_NULL ? NULL : node;
    }
    return DECODE_OK;
}

static void count_event(struct decoder *d, enum event_kind kind)
{
    d->stats.values_dropped += d->values_dropped;
    d->stats.values_repeated += d->values_repeated;
    for (uint32_t f = 0; kind == EVENT_IMPRESSION && f < d->schema->n_fields; f++) {
        d->stats.missing[f] += d->counts[f] == 0;
    }
}

static enum decode_reason decode_trimmed(struct decoder *d, const uint8_t *data, size_t len,
                                         uint32_t topic_index, uint64_t *out, uint32_t *words)
{
    if (len == 0) {
        return DECODE_EMPTY;
    }
    if (len > d->opt.message_bytes_max) {
        return DECODE_TOO_LONG;
    }
    enum decode_reason r = parse(d, data, len);
    if (r != DECODE_OK) {
        return r;
    }
    struct event head = {.tie = hash_id(data, len)};
    struct text user = {NULL, 0};
    bool filtered = false;
    r = decode_object(d, topic_index, &head, &user, &filtered);
    if (r != DECODE_OK) {
        return r;
    }
    if (filtered) {
        d->stats.behaviors_ignored++; /* DROP(behavior_undeclared) */
        return DECODE_OK;
    }
    bool fields = head.kind == EVENT_IMPRESSION || head.kind == EVENT_BEHAVIOR;
    *words =
        event_build(out, &head, d->schema, fields ? d->counts : NULL, d->ids, user.at, user.len);
    count_event(d, (enum event_kind)head.kind);
    return DECODE_OK;
}

enum decode_reason decoder_decode(struct decoder *d, const uint8_t *data, size_t len,
                                  uint32_t topic_index, uint64_t *out, uint32_t *words)
{
    enum decode_reason r = DECODE_TOMBSTONE;
    *words = 0;
    if (data != NULL) {
        while (len > 0 && is_space(data[len - 1])) {
            len--;
        }
        while (len > 0 && is_space(*data)) {
            data++;
            len--;
        }
        r = decode_trimmed(d, data, len, topic_index, out, words);
    }
    d->stats.reasons[r]++;
    return r;
}
