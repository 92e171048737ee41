#include "learner/model/manifest_delta.h"

#include "learner/model/json_fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void manifest_delta_release(struct manifest_delta *d)
{
    free(d->chain);
    *d = (struct manifest_delta){0};
}

/* ---- printing ---- */

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    UNDINE_ASSERT(len >= 0 && (size_t)len < sizeof text);
    writer_bytes(w, text, (size_t)len);
}

void manifest_delta_print(const struct manifest *m, struct writer *w)
{
    const struct manifest_delta *d = &m->delta;
    if (!m->is_delta) {
        put(w, "\"kind\": \"full\",\n  \"base\": null");
        if (m->merged_from > 0) {
            put(w, ",\n  \"merged_from\": %" PRIu64, m->merged_from);
        }
        return;
    }
    put(w, "\"kind\": \"delta\",\n  \"base\": %" PRIu64 ",\n  \"base_digest\": \"%s\"", d->base,
        d->base_digest);
    put(w, ",\n  \"chain\": [");
    for (uint32_t i = 0; i < d->n_chain; i++) {
        put(w, "%s\n    {\"number\": %" PRIu64 ", \"xxh3_128\": \"%s\"}", i > 0 ? "," : "",
            d->chain[i].number, d->chain[i].seal);
    }
    put(w, "\n  ],\n  \"changes\": {");
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        put(w, "%s\"%s\": {\"rows\": %" PRIu64 ", \"removed\": %" PRIu64 "}", i > 0 ? ", " : "",
            m->schema.tables[i].name, d->changed[i], d->removed[i]);
    }
    put(w, "}");
}

/* ---- parsing ---- */

static bool is_hex128(const char *text)
{
    return strlen(text) == HASH128_HEX_LEN && strspn(text, "0123456789abcdef") == HASH128_HEX_LEN;
}

static int parse_seal(const json_t *o, const char *name, char out[HASH128_HEX_LEN + 1],
                      struct undine_err *err)
{
    int rc = json_field_text(o, name, out, HASH128_HEX_LEN + 1, err);
    return rc == UNDINE_OK && !is_hex128(out)
               ? undine_err_set(err, UNDINE_ECORRUPT, "`%s` is not %d hexadecimal digits", name,
                                HASH128_HEX_LEN)
               : rc;
}

static int parse_chain(struct manifest_delta *d, const json_t *root, struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(root, "chain", MANIFEST_CHAIN_MAX, &list, err);
    if (rc < 0) {
        return rc;
    }
    size_t n = json_array_size(list);
    if (n == 0) {
        return undine_err_set(err, UNDINE_ECORRUPT, "`chain` is empty, expected a full version");
    }
    d->chain = calloc(n, sizeof *d->chain);
    if (d->chain == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a manifest");
    }
    d->n_chain = (uint32_t)n;
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++) {
        const json_t *o = json_array_get(list, i);
        rc = json_field_u64(o, "number", INT64_MAX, &d->chain[i].number, err);
        if (rc == UNDINE_OK) {
            rc = parse_seal(o, "xxh3_128", d->chain[i].seal, err);
        }
    }
    return rc;
}

static int parse_changes(struct manifest *m, const json_t *root, struct undine_err *err)
{
    json_t *changes, *of;
    int rc = json_field_object(root, "changes", &changes, err);
    for (uint32_t i = 0; rc == UNDINE_OK && i < m->schema.n_tables; i++) {
        rc = json_field_object(changes, m->schema.tables[i].name, &of, err);
        if (rc == UNDINE_OK) {
            rc = json_field_u64(of, "rows", UINT32_MAX - 1, &m->delta.changed[i], err);
        }
        if (rc == UNDINE_OK) {
            rc = json_field_u64(of, "removed", UINT32_MAX - 1, &m->delta.removed[i], err);
        }
    }
    return rc;
}

/* Who stands where in a chain: the full version, then deltas by number, the base last. */
static int check_order(const struct manifest *m, struct undine_err *err)
{
    const struct manifest_link *chain = m->delta.chain;
    uint32_t n = m->delta.n_chain;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t number = chain[i].number;
        if ((i > 1 && number == chain[i - 1].number) || (i > 0 && number == chain[0].number)) {
            return undine_err_set(err, UNDINE_ECORRUPT, "`chain` names version %" PRIu64 " twice",
                                  number);
        }
        if (i > 1 && number < chain[i - 1].number) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "`chain` is out of order: version %" PRIu64
                                  " stands behind version %" PRIu64,
                                  number, chain[i - 1].number);
        }
        if (number >= m->number) {
            return undine_err_set(err, UNDINE_ECORRUPT,
                                  "`chain` names version %" PRIu64 ", which is no older one",
                                  number);
        }
    }
    if (chain[n - 1].number != m->delta.base) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "`chain` ends with version %" PRIu64 ", `base` is %" PRIu64,
                              chain[n - 1].number, m->delta.base);
    }
    return UNDINE_OK;
}

static int parse_delta(struct manifest *m, const json_t *root, struct undine_err *err)
{
    struct manifest_delta *d = &m->delta;
    m->is_delta = true;
    int rc = json_field_u64(root, "base", INT64_MAX, &d->base, err);
    if (rc == UNDINE_OK) {
        rc = parse_seal(root, "base_digest", d->base_digest, err);
    }
    if (rc == UNDINE_OK) {
        rc = parse_chain(d, root, err);
    }
    if (rc == UNDINE_OK) {
        rc = parse_changes(m, root, err);
    }
    return rc == UNDINE_OK ? check_order(m, err) : rc;
}

int manifest_delta_parse(struct manifest *m, const json_t *root, struct undine_err *err)
{
    char kind[16];
    int rc = json_field_text(root, "kind", kind, sizeof kind, err);
    if (rc < 0) {
        return rc;
    }
    if (strcmp(kind, "delta") == 0) {
        return parse_delta(m, root, err);
    }
    if (strcmp(kind, "full") != 0) {
        return undine_err_set(err, UNDINE_EVERSION,
                              "`kind` is \"%s\", this program reads \"full\" and \"delta\"", kind);
    }
    if (!json_is_null(json_object_get(root, "base"))) {
        return undine_err_set(err, UNDINE_ECORRUPT, "a full version has a `base`");
    }
    return json_object_get(root, "merged_from") != NULL
               ? json_field_u64(root, "merged_from", INT64_MAX, &m->merged_from, err)
               : UNDINE_OK;
}
