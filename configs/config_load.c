#include "configs/config_entries.h"
#include "configs/config_text.h"

#include "base/arena.h"
#include "base/hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { FILE_BYTES_MAX = 1 << 20, PATH_BYTES_MAX = 192, KEYS_MAX = 256 };

struct loader {
    struct config *c;
    struct config_declared declared;
    struct arena texts;
    yaml_document_t doc;
    struct config_where set_at[KEYS_MAX]; /* of the scalar keys, by their row; line 0 = default */
    struct undine_err *err;
};

static struct config_where where_of(const struct loader *l, const yaml_node_t *node)
{
    return (struct config_where){l->c->file, node->start_mark.line + 1};
}

static yaml_node_t *node_at(struct loader *l, int index)
{
    return yaml_document_get_node(&l->doc, index);
}

/* A scalar key was given a value here: what is found wrong only later still has a place. */
static void note_place(struct loader *l, const struct config_key *key, struct config_where where)
{
    size_t n;
    const struct config_key *first = config_keys(&n);
    UNDINE_ASSERT(n <= KEYS_MAX);
    l->set_at[key - first] = where;
}

/* Where the key got its value; the file alone where it has its default. */
static struct config_where place_of(const struct loader *l, const char *path)
{
    size_t n;
    const struct config_where *at = &l->set_at[config_key_find(path) - config_keys(&n)];
    return at->file == NULL && at->line == 0 ? (struct config_where){l->c->file, 0} : *at;
}

/* ---- scalars ---- */

/* A key of a mapping as it stands; NULL and an error where it is no text. */
static const char *key_text(struct loader *l, const yaml_node_t *node)
{
    struct config_where where = where_of(l, node);
    if (node->type != YAML_SCALAR_NODE ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length ||
        node->data.scalar.length >= PATH_BYTES_MAX / 2) {
        (void)config_fail(l->err, &where, "a key must be a plain word");
        return NULL;
    }
    return (const char *)node->data.scalar.value;
}

/* `{file: PATH}`: its value node, or NULL. */
static yaml_node_t *file_of(struct loader *l, const yaml_node_t *node)
{
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    if (node->type != YAML_MAPPING_NODE || pair + 1 != node->data.mapping.pairs.top) {
        return NULL;
    }
    yaml_node_t *key = node_at(l, pair->key);
    bool is_file =
        key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, "file") == 0;
    return is_file ? node_at(l, pair->value) : NULL;
}

/* The text of a scalar, with `${NAME}` and, where may_be_file, `{file: PATH}` resolved; in the
 * arena. *from_file says that it came from a file and so must not be shown. */
static const char *scalar_text(struct loader *l, const char *path, yaml_node_t *node,
                               bool may_be_file, bool *from_file)
{
    struct config_where where = where_of(l, node);
    yaml_node_t *file = may_be_file ? file_of(l, node) : NULL;
    yaml_node_t *scalar = file != NULL ? file : node;
    if (scalar->type != YAML_SCALAR_NODE) {
        (void)config_fail(l->err, &where, "`%s` is a mapping or a list, expected one value", path);
        return NULL;
    }
    const char *raw = (const char *)scalar->data.scalar.value;
    if (strlen(raw) != scalar->data.scalar.length) {
        (void)config_fail(l->err, &where, "`%s` contains a NUL byte", path);
        return NULL;
    }
    const char *text = config_text_expand(&l->texts, path, raw, &where, l->err);
    if (text != NULL && file != NULL) {
        text = config_text_file(&l->texts, path, text, l->c->file, &where, l->err);
    }
    *from_file = file != NULL;
    return text;
}

/* ---- mappings ---- */

static int load_mapping(struct loader *l, const yaml_node_t *node, const char *prefix, void *base);

static int check_duplicate(struct loader *l, const yaml_node_t *mapping,
                           const yaml_node_pair_t *pair, const char *path)
{
    const yaml_node_t *key = node_at(l, pair->key);
    for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *other = node_at(l, p->key);
        if (strcmp((const char *)other->data.scalar.value, (const char *)key->data.scalar.value) ==
            0) {
            struct config_where where = where_of(l, key);
            return config_fail(l->err, &where, "`%s` is set twice, first in line %zu", path,
                               other->start_mark.line + 1);
        }
    }
    return UNDINE_OK;
}

static int fail_unknown(struct undine_err *err, const struct config_where *where, const char *path)
{
    const char *nearest = config_key_nearest(path);
    if (nearest == NULL) {
        return config_fail(err, where, "unknown key `%s`; `undine config reference` lists all keys",
                           path);
    }
    return config_fail(err, where, "unknown key `%s`; did you mean `%s`?", path, nearest);
}

static int fail_type(struct loader *l, const yaml_node_t *node, const struct config_key *key)
{
    struct config_where where = where_of(l, node);
    return config_fail(l->err, &where, "`%s` must be a %s", key->path,
                       key->type == CONFIG_LIST ? "list (`- name: ...`)" : "mapping");
}

/* One entry of a mapping of names that the user chooses. */
static int load_entry(struct loader *l, const char *map, const char *name, const char *text,
                      bool secret, const struct config_where *where)
{
    bool override = where->file == NULL;
    return strcmp(map, "kafka") == 0 ? config_entry_kafka(l->c, name, text, secret, where, l->err)
           : strcmp(map, "tables") == 0
               ? config_entry_table(&l->declared, name, text, override, where, l->err)
               : config_entry_rate(&l->declared, name, text, where, l->err);
}

static int load_map(struct loader *l, const yaml_node_t *node, const struct config_key *key)
{
    bool kafka = strcmp(key->path, "kafka") == 0, from_file = false;
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        char path[PATH_BYTES_MAX];
        const yaml_node_t *key_node = node_at(l, p->key);
        struct config_where where = where_of(l, key_node);
        const char *name = key_text(l, key_node);
        if (name == NULL) {
            return UNDINE_ECONFIG;
        }
        (void)snprintf(path, sizeof path, "%s.%s", key->path, name);
        if (check_duplicate(l, node, p, path) != UNDINE_OK) {
            return UNDINE_ECONFIG;
        }
        const char *text = scalar_text(l, path, node_at(l, p->value), kafka, &from_file);
        if (text == NULL) {
            return UNDINE_ECONFIG;
        }
        int rc = load_entry(l, key->path, name, text, from_file, &where);
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    return UNDINE_OK;
}

static int check_required(struct loader *l, const yaml_node_t *node, const char *prefix)
{
    size_t n = 0;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        bool found = keys[i].fallback != NULL || !config_key_in(&keys[i], prefix);
        for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
             !found && p < node->data.mapping.pairs.top; p++) {
            found = strcmp((const char *)node_at(l, p->key)->data.scalar.value,
                           config_key_name(&keys[i])) == 0;
        }
        if (!found) {
            struct config_where where = where_of(l, node);
            return config_fail(l->err, &where, "`%s` is missing", keys[i].path);
        }
    }
    return UNDINE_OK;
}

static int load_list(struct loader *l, const yaml_node_t *node, const struct config_key *key)
{
    char prefix[PATH_BYTES_MAX];
    (void)snprintf(prefix, sizeof prefix, "%s[].", key->path);
    for (const yaml_node_item_t *i = node->data.sequence.items.start;
         i < node->data.sequence.items.top; i++) {
        const yaml_node_t *item = node_at(l, *i);
        struct config_where where = where_of(l, item);
        if (item->type != YAML_MAPPING_NODE) {
            return config_fail(l->err, &where, "an entry of `%s` must be a mapping", key->path);
        }
        void *entry = config_entry_add(&l->declared, key->path, &where, l->err);
        if (entry == NULL) {
            return UNDINE_ECONFIG;
        }
        config_value_set_defaults(entry, prefix);
        int rc = load_mapping(l, item, prefix, entry);
        rc = rc == UNDINE_OK ? check_required(l, item, prefix) : rc;
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    return UNDINE_OK;
}

static int load_items(struct loader *l, yaml_node_t *node, const struct config_key *key, void *base)
{
    enum { ITEMS_MAX = 64 };
    const char *items[ITEMS_MAX];
    struct config_where where = where_of(l, node);
    size_t n = 0;
    bool from_file = false;
    if (node->type != YAML_SEQUENCE_NODE) {
        return config_fail(l->err, &where, "`%s` must be a list, `[a, b]`", key->path);
    }
    for (const yaml_node_item_t *i = node->data.sequence.items.start;
         i < node->data.sequence.items.top; i++) {
        if (n == ITEMS_MAX) {
            return config_fail(l->err, &where, "`%s` has more than %d entries", key->path,
                               ITEMS_MAX);
        }
        items[n] = scalar_text(l, key->path, node_at(l, *i), false, &from_file);
        if (items[n++] == NULL) {
            return UNDINE_ECONFIG;
        }
    }
    return config_value_set(base, key, items, n, &where, l->err);
}

static int load_value(struct loader *l, yaml_node_t *node, const struct config_key *key, void *base)
{
    char prefix[PATH_BYTES_MAX];
    bool empty = node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0 &&
                 node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    switch (key->type) {
    case CONFIG_SECTION:
        (void)snprintf(prefix, sizeof prefix, "%s.", key->path);
        return empty                             ? UNDINE_OK
               : node->type == YAML_MAPPING_NODE ? load_mapping(l, node, prefix, base)
                                                 : fail_type(l, node, key);
    case CONFIG_MAP:
        return empty                             ? UNDINE_OK
               : node->type == YAML_MAPPING_NODE ? load_map(l, node, key)
                                                 : fail_type(l, node, key);
    case CONFIG_LIST:
        return empty                              ? UNDINE_OK
               : node->type == YAML_SEQUENCE_NODE ? load_list(l, node, key)
                                                  : fail_type(l, node, key);
    case CONFIG_INTS:
    case CONFIG_NAMES:
    case CONFIG_FLAGS:
        return load_items(l, node, key, base);
    default: {
        struct config_where where = where_of(l, node);
        bool from_file = false;
        note_place(l, key, where);
        const char *text = scalar_text(l, key->path, node, key->type == CONFIG_STRING, &from_file);
        return text == NULL ? UNDINE_ECONFIG
                            : config_value_set(base, key, &text, 1, &where, l->err);
    }
    }
}

static int load_mapping(struct loader *l, const yaml_node_t *node, const char *prefix, void *base)
{
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        char path[PATH_BYTES_MAX];
        const yaml_node_t *key_node = node_at(l, p->key);
        const char *name = key_text(l, key_node);
        if (name == NULL) {
            return UNDINE_ECONFIG;
        }
        struct config_where where = where_of(l, key_node);
        (void)snprintf(path, sizeof path, "%s%s", prefix, name);
        const struct config_key *key = config_key_find(path);
        if (key == NULL || !config_key_in(key, prefix)) {
            return fail_unknown(l->err, &where, path);
        }
        int rc = check_duplicate(l, node, p, path);
        rc = rc == UNDINE_OK ? load_value(l, node_at(l, p->value), key, base) : rc;
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    return UNDINE_OK;
}

/* ---- documents ---- */

static int fail_yaml(struct loader *l, const yaml_parser_t *parser)
{
    /* Some of libyaml's allocations fail without a word; every other failure has one. */
    if (parser->error == YAML_MEMORY_ERROR || parser->error == YAML_NO_ERROR) {
        return undine_err_set(l->err, UNDINE_ENOMEM, "%s: out of memory", l->c->file);
    }
    struct config_where where = {l->c->file, parser->problem_mark.line + 1};
    return config_fail(
        l->err, &where, "not YAML: %s%s%s", parser->problem != NULL ? parser->problem : "unknown",
        parser->context != NULL ? ", " : "", parser->context != NULL ? parser->context : "");
}

static int load_document(struct loader *l)
{
    yaml_node_t *root = yaml_document_get_root_node(&l->doc);
    if (root == NULL) {
        return UNDINE_OK;
    }
    if (root->type != YAML_MAPPING_NODE) {
        struct config_where where = where_of(l, root);
        return config_fail(l->err, &where, "a configuration is a mapping of keys, `join: ...`");
    }
    return load_mapping(l, root, "", l->c);
}

static int load_yaml(struct loader *l, const void *data, size_t len)
{
    yaml_parser_t parser;
    yaml_document_t more;
    if (yaml_parser_initialize(&parser) == 0) {
        return undine_err_set(l->err, UNDINE_ENOMEM, "%s: out of memory", l->c->file);
    }
    yaml_parser_set_input_string(&parser, data, len);
    int rc;
    if (yaml_parser_load(&parser, &l->doc) == 0) {
        rc = fail_yaml(l, &parser);
        goto out;
    }
    rc = load_document(l);
    bool whole = yaml_document_get_root_node(&l->doc) != NULL;
    yaml_document_delete(&l->doc);
    if (rc != UNDINE_OK || !whole) {
        goto out;
    }
    if (yaml_parser_load(&parser, &more) == 0) {
        rc = fail_yaml(l, &parser);
        goto out;
    }
    if (yaml_document_get_root_node(&more) != NULL) {
        struct config_where where = {l->c->file, more.start_mark.line + 1};
        rc = config_fail(l->err, &where, "a second document; expected one");
    }
    yaml_document_delete(&more);
out:
    yaml_parser_delete(&parser);
    return rc;
}

/* ---- overrides ---- */

static int load_override(struct loader *l, const char *override)
{
    static const struct config_where where = {NULL, 0};
    const char *equals = strchr(override, '=');
    if (equals == NULL || equals == override || equals - override >= PATH_BYTES_MAX) {
        return config_fail(l->err, &where, "`%.80s` is not of the form key=value", override);
    }
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "%.*s", (int)(equals - override), override);
    const char *text = config_text_expand(&l->texts, path, equals + 1, &where, l->err);
    if (text == NULL) {
        return UNDINE_ECONFIG;
    }
    static const char *const maps[] = {"kafka", "tables", "learner.optimizer.rates"};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        size_t len = strlen(maps[i]);
        if (strncmp(path, maps[i], len) == 0 && path[len] == '.') {
            return load_entry(l, maps[i], path + len + 1, text, false, &where);
        }
    }
    const struct config_key *key = config_key_find(path);
    if (key == NULL || strstr(path, "[]") != NULL) {
        return fail_unknown(l->err, &where, path);
    }
    note_place(l, key, (struct config_where){NULL, 1});
    return config_value_set_text(l->c, key, text, &where, l->err);
}

/* ---- the whole ---- */

/* How often versions are written, and whether what changed can be told. */
static int finish_snapshots(struct loader *l)
{
    enum { DELTA_MIN_MS = 50 };
    struct config *c = l->c;
    int64_t delta_ms = c->snapshot.delta_interval_ms;
    struct config_where where = place_of(l, "snapshot.delta_interval");
    c->trainer.changes = delta_ms > 0;
    if (delta_ms > 0 && delta_ms < DELTA_MIN_MS) {
        return config_fail(l->err, &where,
                           "`snapshot.delta_interval` is %" PRId64
                           " ms, expected 0 or at least %d ms",
                           delta_ms, DELTA_MIN_MS);
    }
    if (delta_ms > 0 && delta_ms >= c->snapshot.interval_ms) {
        return config_fail(l->err, &where,
                           "`snapshot.delta_interval` is %" PRId64
                           " ms, expected less than `snapshot.interval`, which is %" PRId64 " ms",
                           delta_ms, c->snapshot.interval_ms);
    }
    if (delta_ms > 0 && c->trainer.regularizer.kind == REGULARIZER_L2) {
        return config_fail(l->err, &where,
                           "`snapshot.delta_interval` is set, but `learner.regularizer.kind: l2` "
                           "changes every embedding with every mini-batch: it must be 0, or the "
                           "kind another one");
    }
    return UNDINE_OK;
}

/* What follows from several keys. */
static int finish(struct loader *l)
{
    struct config *c = l->c;
    if (c->ingest.shard >= c->ingest.n_shards) {
        struct config_where where = place_of(l, "shard.index");
        return config_fail(l->err, &where,
                           "`shard.index` is %u, expected less than `shard.count`, which is %u",
                           c->ingest.shard, c->ingest.n_shards);
    }
    if (c->ingest.loop.backlog_max < c->trainer.batch_max) {
        struct config_where where = place_of(l, "ingest.backlog_max");
        return config_fail(l->err, &where,
                           "`ingest.backlog_max` is %" PRIu64
                           ", expected at least `learner.batch`, which is %" PRIu32
                           ": ingest would wait for the learner, and the learner for a whole batch",
                           c->ingest.loop.backlog_max, c->trainer.batch_max);
    }
    if (c->ingest.join.label == INGEST_LABEL_FNW && c->ingest.join.negative_rate != 1.0) {
        struct config_where where = place_of(l, "join.negative_rate");
        return config_fail(l->err, &where,
                           "`join.negative_rate` is %g, but `join.label: fnw` learns every "
                           "impression as a negative before it knows its label: it must be 1",
                           c->ingest.join.negative_rate);
    }
    if (c->ingest.join.label == INGEST_LABEL_FNW && c->ingest.join.emit != INGEST_EMIT_CLICK) {
        struct config_where where = place_of(l, "join.emit");
        return config_fail(l->err, &where,
                           "`join.emit` is `deadline`, but `join.label: fnw` waits for no "
                           "deadline: it must be `click`");
    }
    const char *colon = strrchr(c->http.listen, ':');
    if (c->http.listen[0] != '\0' && (colon == NULL || strspn(colon + 1, "0123456789") == 0 ||
                                      colon[1 + strspn(colon + 1, "0123456789")] != '\0')) {
        struct config_where where = place_of(l, "http.listen");
        return config_fail(l->err, &where,
                           "`http.listen` is `%s`, expected HOST:PORT, [IPV6]:PORT or :PORT",
                           c->http.listen);
    }
    if ((c->http.tls_cert[0] == '\0') != (c->http.tls_key[0] == '\0')) {
        struct config_where where =
            place_of(l, c->http.tls_cert[0] == '\0' ? "http.tls_key" : "http.tls_cert");
        return config_fail(l->err, &where,
                           "`http.tls_cert` and `http.tls_key` go together: one of them is empty");
    }
    int rc = finish_snapshots(l);
    rc = rc < 0 ? rc : config_entries_resolve(c, &l->declared, l->err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    bool watched = c->gate.mode != GATE_OFF || c->rollback.examples > 0;
    c->trainer.gate = (struct gate_window_options){.pairs_max = watched ? c->gate.window : 0,
                                                   .live_max = c->rollback.examples};
    c->decode.join_by_user_item = c->ingest.join.by == INGEST_JOIN_USER_ITEM;
    c->store.sync_every_commit = c->ingest.loop.sync_interval_ms == 0;
    char *text = config_digest_text(c);
    if (text == NULL) {
        return undine_err_set(l->err, UNDINE_ENOMEM, "%s: out of memory", c->file);
    }
    c->ingest.config_digest_text = text;
    c->ingest.config_digest = hash_bytes(text, strlen(text));
    return UNDINE_OK;
}

int config_parse(struct config **out, const char *file, const void *data, size_t len,
                 const char *const *overrides, size_t n_overrides, struct undine_err *err)
{
    if (strlen(file) >= CONFIG_PATH_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "%.64s...: the path is longer than %d bytes",
                              file, CONFIG_PATH_MAX - 1);
    }
    struct loader *l = calloc(1, sizeof *l);
    struct config *c = calloc(1, sizeof *c);
    int rc;
    if (l == NULL || c == NULL) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "%s: out of memory", file);
        goto out;
    }
    l->c = c;
    l->err = err;
    arena_init(&l->texts, 0);
    (void)strcpy(c->file, file);
    config_value_set_defaults(c, "");
    rc = load_yaml(l, data, len);
    for (size_t i = 0; rc == UNDINE_OK && i < n_overrides; i++) {
        rc = load_override(l, overrides[i]);
    }
    rc = rc == UNDINE_OK ? finish(l) : rc;
    arena_release(&l->texts);
    if (rc == UNDINE_OK) {
        *out = c;
        c = NULL;
    }
out:
    config_free(c);
    free(l);
    if (rc == UNDINE_ECONFIG && err != NULL && err->code == UNDINE_ENOMEM) {
        rc = UNDINE_ENOMEM; /* a text that could not be kept is no fault of the file */
    }
    return rc;
}

int config_load(struct config **out, const char *file, const char *const *overrides,
                size_t n_overrides, struct undine_err *err)
{
    FILE *in = fopen(file, "rb");
    if (in == NULL) {
        return undine_err_sys(err, UNDINE_ECONFIG, errno, "configuration %s", file);
    }
    char *data = malloc(FILE_BYTES_MAX + 1);
    size_t len = data != NULL ? fread(data, 1, FILE_BYTES_MAX + 1, in) : 0;
    int rc;
    if (data == NULL) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "%s: out of memory", file);
    } else if (ferror(in) != 0) {
        rc = undine_err_sys(err, UNDINE_ECONFIG, errno, "configuration %s", file);
    } else if (len > FILE_BYTES_MAX) {
        rc = undine_err_set(err, UNDINE_ECONFIG, "%s: is larger than %d bytes", file,
                            FILE_BYTES_MAX);
    } else {
        rc = config_parse(out, file, data, len, overrides, n_overrides, err);
    }
    (void)fclose(in);
    free(data);
    return rc;
}

void config_free(struct config *c)
{
    if (c != NULL) {
        free((char *)(uintptr_t)c->ingest.config_digest_text);
        free(c);
    }
}
