#include "ops/import_mapping.h"

#include "base/nearest.h"
#include "ops/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct loader {
    struct mapping *m;
    const char *file;
    yaml_document_t doc;
    struct undine_err *err;
};

/* A key and what reads it; `at` is the member's place in its struct. */
typedef int (*read_fn)(struct loader *l, yaml_node_t *node, const char *key, void *at);
struct entry {
    const char *key;
    read_fn read;
    void *at;
};

static int fail(struct loader *l, const yaml_node_t *node, const char *key, const char *expected)
{
    const char *text = node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value
                                                      : "a mapping or a list";
    return undine_err_set(l->err, UNDINE_ECONFIG, "%s:%zu: `%s` is `%.80s`, expected %s", l->file,
                          node->start_mark.line + 1, key, text, expected);
}

static const char *scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int find_index(const char *const *names, int n, const char *text)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

/* ---- values ---- */

static int read_text(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    const char *text = scalar(node);
    if (text == NULL || strlen(text) >= MAPPING_TEXT_MAX) {
        return fail(l, node, key, "a text of at most 127 bytes");
    }
    (void)strcpy(at, text);
    return UNDINE_OK;
}

static int read_bool(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    const char *text = scalar(node);
    if (text == NULL || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)) {
        return fail(l, node, key, "`true` or `false`");
    }
    *(bool *)at = text[0] == 't';
    return UNDINE_OK;
}

static int read_character(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    const char *text = scalar(node);
    if (text != NULL && strcmp(text, "tab") == 0) {
        text = "\t";
    }
    if (text == NULL || strlen(text) != 1 || strchr("\"\r\n", text[0]) != NULL) {
        return fail(l, node, key, "one character, or `tab`");
    }
    *(char *)at = text[0];
    return UNDINE_OK;
}

static int read_integer(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    const char *text = scalar(node);
    int64_t v = 0;
    if (text == NULL || !import_integer(text, &v) || v < 0) {
        return fail(l, node, key, "an integer from 0");
    }
    *(int64_t *)at = v;
    return UNDINE_OK;
}

static int read_unit(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    static const char *const names[MAPPING_UNITS] = {"s", "ms", "us", "ns", "iso"};
    const char *text = scalar(node);
    int i = text != NULL ? find_index(names, MAPPING_UNITS, text) : -1;
    if (i < 0) {
        return fail(l, node, key, "one of `s`, `ms`, `us`, `ns`, `iso`");
    }
    *(enum mapping_unit *)at = (enum mapping_unit)i;
    return UNDINE_OK;
}

static int read_words(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    struct mapping_words *w = at;
    if (node->type != YAML_SEQUENCE_NODE) {
        return fail(l, node, key, "a list of texts");
    }
    w->n = 0;
    for (const yaml_node_item_t *i = node->data.sequence.items.start;
         i < node->data.sequence.items.top; i++) {
        yaml_node_t *item = yaml_document_get_node(&l->doc, *i);
        if (w->n == MAPPING_WORDS_MAX) {
            return fail(l, node, key, "at most 32 texts");
        }
        int rc = read_text(l, item, key, w->word[w->n]);
        if (rc != UNDINE_OK) {
            return rc;
        }
        w->n++;
    }
    return UNDINE_OK;
}

/* ---- mappings ---- */

static int fail_unknown(struct loader *l, const yaml_node_t *node, const struct entry *entries,
                        size_t n)
{
    struct nearest nearest = nearest_of(scalar(node));
    for (size_t i = 0; i < n; i++) {
        nearest_offer(&nearest, entries[i].key);
    }
    return undine_err_set(
        l->err, UNDINE_ECONFIG, "%s:%zu: unknown key `%s`%s%s%s", l->file,
        node->start_mark.line + 1, nearest.word, nearest.name != NULL ? "; did you mean `" : "",
        nearest.name != NULL ? nearest.name : "", nearest.name != NULL ? "`?" : "");
}

static int read_mapping(struct loader *l, yaml_node_t *node, const char *key,
                        const struct entry *entries, size_t n)
{
    uint64_t seen = 0;
    if (node->type != YAML_MAPPING_NODE) {
        return fail(l, node, key, "a mapping");
    }
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        yaml_node_t *name = yaml_document_get_node(&l->doc, p->key);
        size_t i = 0;
        if (scalar(name) == NULL) {
            return fail(l, name, key, "plain words as keys");
        }
        while (i < n && strcmp(entries[i].key, scalar(name)) != 0) {
            i++;
        }
        if (i == n) {
            return fail_unknown(l, name, entries, n);
        }
        if ((seen >> i & 1) != 0) {
            return undine_err_set(l->err, UNDINE_ECONFIG, "%s:%zu: `%s` is set twice", l->file,
                                  name->start_mark.line + 1, scalar(name));
        }
        seen |= UINT64_C(1) << i;
        int rc = entries[i].read(l, yaml_document_get_node(&l->doc, p->value), scalar(name),
                                 entries[i].at);
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    return UNDINE_OK;
}

/* The members that a value may have, and others of its key: `time` has a unit, ... */
static int read_value_and(struct loader *l, yaml_node_t *node, const char *key,
                          struct mapping_value *v, struct entry *more, size_t n_more)
{
    char column[MAPPING_TEXT_MAX] = "", constant[MAPPING_TEXT_MAX] = "";
    struct entry entries[8] = {{"column", read_text, column},
                               {"value", read_text, constant},
                               {"separator", read_character, &v->separator}};
    v->set = true;
    if (node->type == YAML_SCALAR_NODE) { /* `user: user_id` is short for {column: user_id} */
        return node->data.scalar.length > 0 ? read_text(l, node, key, v->text)
                                            : fail(l, node, key, "the name of a column");
    }
    for (size_t i = 0; i < n_more; i++) {
        entries[3 + i] = more[i];
    }
    int rc = read_mapping(l, node, key, entries, 3 + n_more);
    if (rc == UNDINE_OK && (column[0] != '\0') == (constant[0] != '\0')) {
        rc = fail(l, node, key, "a column's name, {column: NAME} or {value: TEXT}");
    }
    v->constant = constant[0] != '\0';
    (void)strcpy(v->text, v->constant ? constant : column);
    return rc;
}

static int read_value(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    return read_value_and(l, node, key, at, NULL, 0);
}

static int read_time(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    struct entry more[] = {{"unit", read_unit, &l->m->unit}};
    return read_value_and(l, node, key, at, more, 1);
}

static int read_click(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    struct entry more[] = {{"values", read_words, &l->m->click_words},
                           {"delay_ms", read_integer, &l->m->click_delay_ms}};
    return read_value_and(l, node, key, at, more, 2);
}

static int read_group(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    struct mapping_group *g = at;
    if (node->type != YAML_MAPPING_NODE) {
        return fail(l, node, key, "a mapping from fields to columns");
    }
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        yaml_node_t *name = yaml_document_get_node(&l->doc, p->key);
        if (scalar(name) == NULL || strlen(scalar(name)) >= SCHEMA_NAME_MAX ||
            g->n == SCHEMA_FIELDS_MAX) {
            return fail(l, name, key, "at most 32 fields with names of at most 47 bytes");
        }
        struct mapping_field *f = &g->field[g->n++];
        (void)strcpy(f->name, scalar(name));
        int rc = read_value(l, yaml_document_get_node(&l->doc, p->value), f->name, &f->value);
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    return UNDINE_OK;
}

static const char kind_expected[] = "one of `impression`, `click`, `behavior`, `forget`";

/* {view: impression, buy: behavior}: texts of the column, and the kinds that they stand for. */
static int read_kind_values(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    (void)at;
    struct mapping *m = l->m;
    if (node->type != YAML_MAPPING_NODE) {
        return fail(l, node, key, "a mapping from texts to kinds");
    }
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        yaml_node_t *text = yaml_document_get_node(&l->doc, p->key);
        yaml_node_t *kind = yaml_document_get_node(&l->doc, p->value);
        int k = scalar(kind) != NULL ? find_index(event_kind_names, EVENT_KINDS, scalar(kind)) : -1;
        if (k < 0) {
            return fail(l, kind, key, kind_expected);
        }
        if (m->kind_words.n == MAPPING_WORDS_MAX) {
            return fail(l, node, key, "at most 32 texts");
        }
        int rc = read_text(l, text, key, m->kind_words.word[m->kind_words.n]);
        if (rc != UNDINE_OK) {
            return rc;
        }
        m->kinds[m->kind_words.n++] = (enum event_kind)k;
    }
    return UNDINE_OK;
}

static int read_kind(struct loader *l, yaml_node_t *node, const char *key, void *at)
{
    struct mapping_value *v = at;
    struct entry more[] = {{"values", read_kind_values, NULL}};
    if (node->type != YAML_SCALAR_NODE) {
        int rc = read_value_and(l, node, key, v, more, 1);
        if (rc != UNDINE_OK || !v->constant) {
            return rc == UNDINE_OK && l->m->kind_words.n == 0
                       ? fail(l, node, key, "`values`: what each text of the column stands for")
                       : rc;
        }
    } else {
        (void)read_text(l, node, key, v->text);
    }
    v->set = v->constant = true;
    int k = find_index(event_kind_names, EVENT_KINDS, v->text);
    if (k < 0) {
        return fail(l, node, key, kind_expected);
    }
    l->m->kinds[0] = (enum event_kind)k;
    return UNDINE_OK;
}

/* ---- the file ---- */

/* What the kinds that occur need. */
static int check(struct loader *l)
{
    const struct mapping *m = l->m;
    bool occurs[EVENT_KINDS] = {false};
    for (uint32_t i = 0; i < (m->kind.constant ? 1 : m->kind_words.n); i++) {
        occurs[m->kinds[i]] = true;
    }
    const struct {
        bool needed, set;
        const char *key, *why;
    } needs[] = {
        {true, m->kind.set, "kind", "what a row is"},
        {true, m->time.set, "time", "when it happened"},
        {occurs[EVENT_IMPRESSION] || occurs[EVENT_BEHAVIOR] || occurs[EVENT_FORGET], m->user.set,
         "user", "whose event it is"},
        {occurs[EVENT_IMPRESSION] || occurs[EVENT_BEHAVIOR], m->candidate.n > 0, "candidate",
         "the fields of the ad"},
        {occurs[EVENT_BEHAVIOR], m->type.set, "type", "the behaviour's type"},
        {occurs[EVENT_CLICK], m->impression.set || (m->user.set && m->candidate.n > 0),
         "impression", "the id of the clicked impression (or `user` and `candidate`)"},
    };
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        if (needs[i].needed && !needs[i].set) {
            return undine_err_set(l->err, UNDINE_ECONFIG, "%s: `%s` is missing: %s", l->file,
                                  needs[i].key, needs[i].why);
        }
    }
    return UNDINE_OK;
}

static int read_document(struct loader *l)
{
    struct mapping *m = l->m;
    const struct entry entries[] = {
        {"delimiter", read_character, &m->delimiter},
        {"header", read_bool, &m->header},
        {"quotes", read_bool, &m->quotes},
        {"missing", read_words, &m->missing},
        {"kind", read_kind, &m->kind},
        {"id", read_value, &m->id},
        {"user", read_value, &m->user},
        {"time", read_time, &m->time},
        {"type", read_value, &m->type},
        {"impression", read_value, &m->impression},
        {"click", read_click, &m->click},
        {"candidate", read_group, &m->candidate},
        {"context", read_group, &m->context},
        {"profile", read_group, &m->profile},
    };
    yaml_node_t *root = yaml_document_get_root_node(&l->doc);
    int rc = UNDINE_OK;
    if (root != NULL) {
        rc = read_mapping(l, root, "mapping", entries, sizeof entries / sizeof entries[0]);
    }
    return rc == UNDINE_OK ? check(l) : rc;
}

int mapping_words_find(const struct mapping_words *w, const char *text)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (strcmp(w->word[i], text) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int mapping_load(struct mapping *out, const char *file, struct undine_err *err)
{
    struct loader l = {.m = out, .file = file, .err = err};
    yaml_parser_t parser;
    *out = (struct mapping){.delimiter = ',',
                            .header = true,
                            .quotes = true,
                            .unit = MAPPING_MS,
                            .click_words = {.word = {"1", "true"}, .n = 2},
                            .click_delay_ms = 1000};
    FILE *in = fopen(file, "re");
    if (in == NULL) {
        return undine_err_sys(err, UNDINE_ECONFIG, errno, "mapping %s", file);
    }
    if (yaml_parser_initialize(&parser) == 0) {
        (void)fclose(in);
        return undine_err_set(err, UNDINE_ENOMEM, "%s: out of memory", file);
    }
    yaml_parser_set_input_file(&parser, in);
    int rc;
    if (yaml_parser_load(&parser, &l.doc) == 0) {
        rc = undine_err_set(err, UNDINE_ECONFIG, "%s:%zu: not YAML: %s", file,
                            parser.problem_mark.line + 1,
                            parser.problem != NULL ? parser.problem : "out of memory");
    } else {
        rc = read_document(&l);
        yaml_document_delete(&l.doc);
    }
    yaml_parser_delete(&parser);
    (void)fclose(in);
    return rc;
}
