#include "learner/model/manifest.h"

#include "learner/model/json_fields.h"
#include "learner/model/json_text.h"
#include "learner/model/manifest_delta.h"
#include "learner/model/mapped_file.h"
#include "learner/model/schema_json.h"
#include "learner/model/version_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How every manifest ends: a member of fixed length whose value covers all bytes before it. */
static const char SEAL_BEGIN[] = ",\n  \"xxh3_128\": \"";
static const char SEAL_END[] = "\"\n}\n";
enum { SEAL_LEN = sizeof SEAL_BEGIN - 1 + HASH128_HEX_LEN + sizeof SEAL_END - 1 };

void manifest_release(struct manifest *m)
{
    if (m != NULL) {
        free(m->positions_json);
        free(m->metrics_json);
        free(m->norms_json);
        manifest_delta_release(&m->delta);
        free(m->gate_json);
        *m = (struct manifest){0};
    }
}

const struct manifest_file *manifest_find(const struct manifest *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_files; i++) {
        if (strcmp(m->file[i].name, name) == 0) {
            return &m->file[i];
        }
    }
    return NULL;
}

uint64_t manifest_bytes(const struct manifest *m)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < m->n_files; i++) {
        bytes += m->file[i].bytes;
    }
    return bytes;
}

uint64_t manifest_rows(const struct manifest *m)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < m->schema.n_tables; i++) {
        rows += m->rows[i];
    }
    return rows;
}

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a manifest");
}

/* ---- printing: by hand, so that numbers stay as their owners wrote them ---- */

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    UNDINE_ASSERT(len >= 0 && (size_t)len < sizeof text);
    writer_bytes(w, text, (size_t)len);
}

static void put_text(struct writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

/* One member whose value is JSON already; frees value, and NULL makes the writer bad. */
static void put_owned(struct writer *w, const char *name, char *value)
{
    put(w, ",\n  \"%s\": ", name);
    if (value == NULL) {
        w->bad = true;
    } else {
        put_text(w, value);
    }
    free(value);
}

static char *schema_text(const struct schema *s)
{
    json_t *json = schema_to_json(s);
    char *text = json != NULL ? json_text_print(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static char *string_text(const char *s)
{
    json_t *json = json_string(s);
    char *text = json != NULL ? json_text_print(json, JSON_ENCODE_ANY) : NULL;
    json_decref(json);
    return text;
}

static void put_tables(struct writer *w, const struct manifest *m)
{
    const struct schema *s = &m->schema;
    put_text(w, ",\n  \"row_init\": {");
    for (uint32_t i = 0; i < s->n_tables; i++) {
        put(w, "%s\"%s\": {\"seed\": \"%" PRIu64 "\", \"scale\": %.9g}", i > 0 ? ", " : "",
            s->tables[i].name, m->row_init[i].seed, (double)m->row_init[i].scale);
    }
    put_text(w, "},\n  \"rows\": {");
    for (uint32_t i = 0; i < s->n_tables; i++) {
        put(w, "%s\"%s\": %" PRIu64, i > 0 ? ", " : "", s->tables[i].name, m->rows[i]);
    }
    put_text(w, "}");
}

static void put_files(struct writer *w, const struct manifest *m)
{
    put_text(w, ",\n  \"files\": [");
    for (uint32_t i = 0; i < m->n_files; i++) {
        const struct manifest_file *f = &m->file[i];
        put(w, "%s\n    {\"name\": \"%s\", \"bytes\": %" PRIu64 ", \"xxh3_128\": \"%s\"}",
            i > 0 ? "," : "", f->name, f->bytes, f->checksum);
    }
    put_text(w, "\n  ]");
}

static void put_seal(struct writer *w)
{
    char hex[HASH128_HEX_LEN + 1];
    if (!w->bad) {
        hash128_hex(hex, hash128_bytes(w->data, w->len));
        put(w, "%s%s%s", SEAL_BEGIN, hex, SEAL_END);
    }
}

static int check_json(const char *text, json_type type, struct undine_err *err)
{
    json_t *json = NULL;
    int rc = json_text_parse(&json, text, strlen(text), err);
    if (rc != UNDINE_ENOMEM && (json == NULL || json_typeof(json) != type)) {
        rc = undine_err_set(err, UNDINE_EINVAL,
                            "positions must be a JSON array, metrics, norms and gate JSON objects");
    }
    json_decref(json);
    return rc;
}

int manifest_print(const struct manifest *m, struct writer *out, struct undine_err *err)
{
    const char *positions = m->positions_json != NULL ? m->positions_json : "[]";
    const char *metrics = m->metrics_json != NULL ? m->metrics_json : "{}";
    UNDINE_ASSERT(out->len == 0);
    int rc = check_json(positions, JSON_ARRAY, err);
    rc = rc == UNDINE_OK ? check_json(metrics, JSON_OBJECT, err) : rc;
    if (rc == UNDINE_OK && m->norms_json != NULL) {
        rc = check_json(m->norms_json, JSON_OBJECT, err);
    }
    if (rc == UNDINE_OK && m->gate_json != NULL) {
        rc = check_json(m->gate_json, JSON_OBJECT, err);
    }
    if (rc < 0) {
        return rc;
    }
    put(out, "{\n  \"format_version\": %d,\n  \"number\": %" PRIu64 ",\n  ",
        MANIFEST_FORMAT_VERSION, m->number);
    manifest_delta_print(m, out);
    put(out, ",\n  \"trained_seq\": %" PRIu64 ",\n  \"event_time_ms\": %" PRId64, m->trained_seq,
        m->event_time_ms);
    put(out,
        ",\n  \"examples\": %" PRIu64 ",\n  \"positives\": %" PRIu64 ",\n  \"batches\": %" PRIu64,
        m->examples, m->positives, m->batches);
    put_text(out, ",\n  \"positions\": ");
    put_text(out, positions);
    put_owned(out, "schema", schema_text(&m->schema));
    put_owned(out, "model", model_options_to_json(&m->model));
    put_tables(out, m);
    put(out,
        ",\n  \"digests\": {\"model\": \"%s\", \"schema\": \"%016" PRIx64
        "\", \"config\": \"%016" PRIx64 "\"}",
        m->digest, schema_model_digest(&m->schema), m->config_digest);
    put_text(out, ",\n  \"metrics\": ");
    put_text(out, metrics);
    if (m->norms_json != NULL) {
        put_text(out, ",\n  \"norms\": ");
        put_text(out, m->norms_json);
    }
    put_files(out, m);
    put_text(out, ",\n  \"gate\": ");
    put_text(out, m->gate_json != NULL ? m->gate_json : "\"off\"");
    put(out, ",\n  \"created_ms\": %" PRId64 ",\n  \"shard\": %" PRIu32, m->created_ms, m->shard);
    put_owned(out, "kernels", string_text(m->kernels));
    put_seal(out);
    return out->bad ? no_memory(err) : UNDINE_OK;
}

/* ---- parsing ---- */

static int check_seal(const char *text, size_t len, struct undine_err *err)
{
    char seal[SEAL_LEN + 1], hex[HASH128_HEX_LEN + 1];
    if (len > SEAL_LEN) {
        hash128_hex(hex, hash128_bytes(text, len - SEAL_LEN));
        (void)snprintf(seal, sizeof seal, "%s%s%s", SEAL_BEGIN, hex, SEAL_END);
        if (memcmp(text + len - SEAL_LEN, seal, SEAL_LEN) == 0) {
            return UNDINE_OK;
        }
    }
    return undine_err_set(err, UNDINE_ECORRUPT, "does not end with the checksum of its content");
}

static int check_format(const json_t *root, struct undine_err *err)
{
    uint64_t version;
    int rc = json_field_u64(root, "format_version", INT64_MAX, &version, err);
    if (rc < 0) {
        return rc;
    }
    if (version > MANIFEST_FORMAT_VERSION) {
        return undine_err_version(err, "the version", version, MANIFEST_FORMAT_VERSION);
    }
    if (version == 0) {
        return undine_err_set(err, UNDINE_ECORRUPT, "`format_version` is 0");
    }
    return UNDINE_OK;
}

static int parse_numbers(struct manifest *m, const json_t *root, struct undine_err *err)
{
    const struct {
        const char *name;
        uint64_t *out;
    } counts[] = {{"number", &m->number},
                  {"trained_seq", &m->trained_seq},
                  {"examples", &m->examples},
                  {"positives", &m->positives},
                  {"batches", &m->batches}};
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < sizeof counts / sizeof counts[0]; i++) {
        rc = json_field_u64(root, counts[i].name, INT64_MAX, counts[i].out, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_i64(root, "event_time_ms", &m->event_time_ms, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_i64(root, "created_ms", &m->created_ms, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_u32(root, "shard", UINT32_MAX, &m->shard, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_text(root, "kernels", m->kernels, sizeof m->kernels, err);
    }
    return rc;
}

static int parse_model(struct manifest *m, const json_t *root, struct undine_err *err)
{
    json_t *schema, *model;
    int rc = json_field_object(root, "schema", &schema, err);
    if (rc == UNDINE_OK) {
        rc = schema_from_json(&m->schema, schema, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_object(root, "model", &model, err);
    }
    if (rc < 0) {
        return rc;
    }
    char *text = json_text_print(model, JSON_COMPACT);
    if (text == NULL) {
        return no_memory(err);
    }
    if (model_options_from_json(&m->model, text, err) < 0) {
        rc = UNDINE_ECORRUPT; /* not the configuration's fault */
        if (err != NULL) {
            err->code = rc;
        }
        (void)undine_err_prefix(err, "model");
    }
    free(text);
    return rc;
}

static int parse_digests(struct manifest *m, const json_t *root, struct undine_err *err)
{
    json_t *digests;
    uint64_t schema_digest = 0;
    int rc = json_field_object(root, "digests", &digests, err);
    if (rc == UNDINE_OK) {
        rc = json_field_text(digests, "model", m->digest, sizeof m->digest, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_u64_text(digests, "schema", 16, &schema_digest, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_u64_text(digests, "config", 16, &m->config_digest, err);
    }
    if (rc == UNDINE_OK && schema_digest != schema_model_digest(&m->schema)) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "`digests` do not fit the schema");
    }
    return rc;
}

static int parse_tables(struct manifest *m, const json_t *root, struct undine_err *err)
{
    json_t *inits, *rows, *init;
    int rc = json_field_object(root, "row_init", &inits, err);
    if (rc == UNDINE_OK) {
        rc = json_field_object(root, "rows", &rows, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < m->schema.n_tables; i++) {
        const char *name = m->schema.tables[i].name;
        rc = json_field_u64(rows, name, UINT32_MAX - 1, &m->rows[i], err);
        if (rc == UNDINE_OK) {
            rc = json_field_object(inits, name, &init, err);
        }
        if (rc == UNDINE_OK) {
            rc = json_field_u64_text(init, "seed", 10, &m->row_init[i].seed, err);
        }
        if (rc == UNDINE_OK) {
            double scale = json_number_value(json_object_get(init, "scale"));
            if (!(scale >= 0.0 && scale <= 1e6)) {
                return undine_err_set(err, UNDINE_ECORRUPT, "`scale` is %g, expected 0..1e6",
                                      scale);
            }
            m->row_init[i].scale = (float)scale;
            m->row_init[i].n_zeros =
                model_row_width(&m->schema, &m->model, i) - m->schema.tables[i].dim;
        }
    }
    return rc;
}

static int parse_file(struct manifest_file *f, const json_t *o, struct undine_err *err)
{
    int rc = json_field_text(o, "name", f->name, sizeof f->name, err);
    if (rc == UNDINE_OK) {
        rc = json_field_u64(o, "bytes", INT64_MAX, &f->bytes, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_text(o, "xxh3_128", f->checksum, sizeof f->checksum, err);
    }
    if (rc == UNDINE_OK &&
        (f->name[0] == '\0' || f->name[0] == '.' || strchr(f->name, '/') != NULL)) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "\"%s\" is no name of a file of a version",
                            f->name);
    }
    return rc;
}

static int parse_files(struct manifest *m, const json_t *root, struct undine_err *err)
{
    json_t *list;
    int rc = json_field_list(root, "files", MANIFEST_FILES_MAX, &list, err);
    for (size_t i = 0; rc == UNDINE_OK && i < json_array_size(list); i++) {
        rc = parse_file(&m->file[i], json_array_get(list, i), err);
        m->n_files = (uint32_t)i + 1;
    }
    return rc;
}

static int parse_texts(struct manifest *m, const json_t *root, struct undine_err *err)
{
    json_t *metrics, *positions, *norms = json_object_get(root, "norms");
    int rc = json_field_object(root, "metrics", &metrics, err);
    if (rc == UNDINE_OK && norms != NULL) { /* versions from before it have none */
        rc = json_field_object(root, "norms", &norms, err);
    }
    if (rc == UNDINE_OK) {
        rc = json_field_list(root, "positions", SIZE_MAX, &positions, err);
    }
    if (rc < 0) {
        return rc;
    }
    m->metrics_json = json_text_print(metrics, JSON_COMPACT);
    m->positions_json = json_text_print(positions, JSON_COMPACT);
    m->norms_json = norms != NULL ? json_text_print(norms, JSON_COMPACT) : NULL;
    return m->metrics_json == NULL || m->positions_json == NULL ||
                   (norms != NULL && m->norms_json == NULL)
               ? no_memory(err)
               : UNDINE_OK;
}

/* Text "off", or what gate_json of learner/gate.h says. */
static int parse_gate(struct manifest *m, const json_t *root, struct undine_err *err)
{
    const json_t *gate = json_object_get(root, "gate");
    const char *mode = json_string_value(json_object_get(gate, "mode"));
    const char *verdict = json_string_value(json_object_get(gate, "verdict"));
    if (!json_is_object(gate)) {
        char text[8];
        return json_field_text(root, "gate", text, sizeof text, err);
    }
    if (mode == NULL || verdict == NULL) {
        return undine_err_set(err, UNDINE_ECORRUPT, "`gate` has no `mode` or no `verdict`");
    }
    m->refused = strcmp(mode, "enforce") == 0 && strcmp(verdict, "refuse") == 0;
    m->gate_json = json_text_print(gate, JSON_COMPACT | JSON_REAL_PRECISION(9));
    return m->gate_json != NULL ? UNDINE_OK : no_memory(err);
}

static int parse_root(struct manifest *m, const json_t *root, struct undine_err *err)
{
    int (*const parts[])(struct manifest *, const json_t *, struct undine_err *) = {
        parse_numbers, parse_model, manifest_delta_parse, parse_digests,
        parse_tables,  parse_files, parse_texts, parse_gate};
    int rc = check_format(root, err);
    for (size_t i = 0; rc == UNDINE_OK && i < sizeof parts / sizeof parts[0]; i++) {
        rc = parts[i](m, root, err);
    }
    return rc;
}

int manifest_parse(struct manifest *out, const char *text, size_t len, struct undine_err *err)
{
    if (len > MANIFEST_BYTES_MAX) {
        return undine_err_set(err, UNDINE_ECORRUPT, "is larger than %d bytes", MANIFEST_BYTES_MAX);
    }
    int rc = check_seal(text, len, err);
    if (rc < 0) {
        return rc;
    }
    json_t *root = NULL;
    rc = json_text_parse(&root, text, len, err);
    if (rc == UNDINE_ENOMEM) {
        return rc;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return undine_err_set(err, UNDINE_ECORRUPT, "is not one JSON object");
    }
    struct manifest m = {0};
    rc = parse_root(&m, root, err);
    json_decref(root);
    if (rc < 0) {
        manifest_release(&m);
        return rc;
    }
    memcpy(m.seal, text + len - SEAL_LEN + sizeof SEAL_BEGIN - 1, HASH128_HEX_LEN);
    *out = m;
    return UNDINE_OK;
}

int manifest_read(struct manifest *out, const char *version_dir, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    struct mapped_file file;
    int rc = version_path(path, version_dir, MANIFEST_NAME, err);
    if (rc == UNDINE_OK) {
        rc = mapped_file_open(&file, path, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = manifest_parse(out, (const char *)file.data, file.len, err);
    if (rc < 0) {
        (void)undine_err_prefix(err, "%s", path);
    }
    mapped_file_close(&file);
    return rc;
}
