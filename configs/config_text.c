#include "configs/config_text.h"

#include "configs/config_entries.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BYTES_MAX = 8192 };

/* ---- environment ---- */

/* p stands behind "${"; gives the variable's value and the end of the reference. */
static const char *variable(const char *path, const char *p, const char **rest,
                            const struct config_where *where, struct undine_err *err)
{
    char name[128];
    size_t len = strcspn(p, "}");
    if (p[len] != '}' || len == 0 || len >= sizeof name) {
        (void)config_fail(err, where, "`%s`: `${` without a name and `}`; `$${` stands for `${`",
                          path);
        return NULL;
    }
    memcpy(name, p, len);
    name[len] = '\0';
    const char *value = getenv(name);
    if (value == NULL) {
        (void)config_fail(err, where, "`%s`: the environment variable %s is not set", path, name);
    }
    *rest = p + len + 1;
    return value;
}

const char *config_text_expand(struct arena *a, const char *path, const char *raw,
                               const struct config_where *where, struct undine_err *err)
{
    char text[TEXT_BYTES_MAX];
    size_t n = 0;
    for (const char *p = raw; *p != '\0';) {
        const char *piece = p;
        size_t len = 1;
        if (strncmp(p, "$${", 3) == 0) {
            piece = p + 1;
            len = 2;
            p += 3;
        } else if (strncmp(p, "${", 2) == 0) {
            piece = variable(path, p + 2, &p, where, err);
            if (piece == NULL) {
                return NULL;
            }
            len = strlen(piece);
        } else {
            p++;
        }
        if (len >= sizeof text - n) {
            (void)config_fail(err, where, "`%s` is longer than %d bytes", path, TEXT_BYTES_MAX - 1);
            return NULL;
        }
        memcpy(text + n, piece, len);
        n += len;
    }
    const char *out = arena_strndup(a, text, n);
    if (out == NULL) {
        (void)undine_err_set(err, UNDINE_ENOMEM, "`%s`: out of memory", path);
    }
    return out;
}

/* ---- files ---- */

/* Bytes read, or -1 with errno. */
static ssize_t read_small(const char *name, char *out, size_t capacity)
{
    struct stat st;
    ssize_t n = -1;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) == 0) {
        if (!S_ISREG(st.st_mode) || st.st_size >= (off_t)capacity) {
            errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
        } else {
            n = read(fd, out, capacity);
        }
    }
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return n;
}

const char *config_text_file(struct arena *a, const char *path, const char *name,
                             const char *config_file, const struct config_where *where,
                             struct undine_err *err)
{
    char full[CONFIG_PATH_MAX + TEXT_BYTES_MAX], text[TEXT_BYTES_MAX];
    const char *slash = strrchr(config_file, '/');
    int folder = name[0] == '/' || slash == NULL ? 0 : (int)(slash - config_file) + 1;
    (void)snprintf(full, sizeof full, "%.*s%s", folder, config_file, name);
    ssize_t n = read_small(full, text, sizeof text);
    if (n < 0) {
        (void)config_fail(err, where, "`%s`: file %.200s: %s", path, full, strerror(errno));
        return NULL;
    }
    if (memchr(text, '\0', (size_t)n) != NULL) {
        (void)config_fail(err, where, "`%s`: file %.200s contains a NUL byte", path, full);
        return NULL;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) {
        n--;
    }
    const char *out = arena_strndup(a, text, (size_t)n);
    if (out == NULL) {
        (void)undine_err_set(err, UNDINE_ENOMEM, "`%s`: out of memory", path);
    }
    return out;
}

/* ---- showing ---- */

static void indent(FILE *out, const char *path)
{
    for (const char *p = path; *p != '\0'; p++) {
        (void)fputs(*p == '.' ? "  " : "", out);
    }
}

static void show_list(FILE *out, const struct config *c, const struct config_key *list)
{
    _Alignas(8) char entry[CONFIG_ENTRY_BYTES_MAX];
    char prefix[64];
    size_t n = 0;
    const struct config_key *keys = config_keys(&n);
    (void)snprintf(prefix, sizeof prefix, "%s[].", list->path);
    const char *nested = strchr(list->path, '.') != NULL ? "  " : "";
    (void)fprintf(out, "%s%s:", nested, config_key_name(list));
    if (!config_entry_get(c, list->path, 0, entry)) {
        (void)fputs(" []\n", out);
        return;
    }
    (void)fputc('\n', out);
    for (uint32_t i = 0; config_entry_get(c, list->path, i, entry); i++) {
        const char *mark = "  - ";
        for (size_t k = 0; k < n; k++) {
            if (config_key_in(&keys[k], prefix)) {
                (void)fprintf(out, "%s%s%s: ", nested, mark, config_key_name(&keys[k]));
                config_value_print(out, entry, &keys[k]);
                (void)fputc('\n', out);
                mark = "    ";
            }
        }
    }
}

/* The i-th entry of a mapping: its name, and its value written; false behind the last. */
static bool show_entry(FILE *out, const struct config *c, const struct config_key *map, uint32_t i,
                       const char *before)
{
    const struct schema *s = &c->schema;
    if (strcmp(map->path, "kafka") == 0) {
        if (i < c->n_kafka) {
            (void)fputs(before, out);
            config_string_print(out, c->kafka[i].key);
            (void)fputs(": ", out);
            config_string_print(out, c->kafka_secret[i] ? "********" : c->kafka[i].value);
            (void)fputc('\n', out);
        }
        return i < c->n_kafka;
    }
    bool rates = strcmp(map->path, "tables") != 0;
    bool shown = i < s->n_tables && (rates ? c->trainer.table_rate[i] > 0.0 : !s->tables[i].own);
    if (shown) {
        (void)fputs(before, out);
        config_string_print(out, s->tables[i].name);
        (void)fprintf(out, rates ? ": %.17g\n" : ": %.0f\n",
                      rates ? c->trainer.table_rate[i] : (double)s->tables[i].dim);
    }
    return i < s->n_tables;
}

static bool is_empty(const struct config *c, const struct config_key *map)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->schema.n_tables; i++) {
        n += c->trainer.table_rate[i] > 0.0;
    }
    return strcmp(map->path, "kafka") == 0    ? c->n_kafka == 0
           : strcmp(map->path, "tables") == 0 ? c->schema.n_tables == 0
                                              : n == 0;
}

static void show_map(FILE *out, const struct config *c, const struct config_key *map)
{
    bool nested = strchr(map->path, '.') != NULL;
    indent(out, map->path);
    (void)fprintf(out, "%s:%s\n", config_key_name(map), is_empty(c, map) ? " {}" : "");
    for (uint32_t i = 0; show_entry(out, c, map, i, nested ? "      " : "  "); i++) {
    }
}

static void show_key(FILE *out, const struct config *c, const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_LIST:
        show_list(out, c, key);
        break;
    case CONFIG_MAP:
        show_map(out, c, key);
        break;
    case CONFIG_SECTION:
        indent(out, key->path);
        (void)fprintf(out, "%s:\n", config_key_name(key));
        break;
    default:
        indent(out, key->path);
        (void)fprintf(out, "%s: ", config_key_name(key));
        config_value_print(out, c, key);
        (void)fputc('\n', out);
    }
}

/* One text written by fn; NULL where memory is out. */
static char *text_of(void (*fn)(FILE *out, const struct config *c), const struct config *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }
    fn(out, c);
    bool bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad) {
        free(text);
        return NULL;
    }
    return text;
}

static void show(FILE *out, const struct config *c)
{
    size_t n = 0;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        if (strstr(keys[i].path, "[]") == NULL) {
            show_key(out, c, &keys[i]);
        }
    }
}

char *config_show(const struct config *c)
{
    return text_of(show, c);
}

/* ---- the digest ---- */

static void digest(FILE *out, const struct config *c)
{
    size_t n = 0;
    const struct config_key *keys = config_keys(&n);
    const struct schema *s = &c->schema;
    for (size_t i = 0; i < n; i++) {
        if (keys[i].fixed) {
            (void)fprintf(out, "%s=", keys[i].path);
            config_value_print(out, c, &keys[i]);
            (void)fputc('\n', out);
        }
    }
    (void)fputs("fields=", out);
    for (uint32_t i = 0; i < s->n_fields; i++) {
        (void)fprintf(out, "%s%s", i > 0 ? "," : "", s->fields[i].name);
    }
    for (uint32_t i = 0; i < s->n_fields; i++) {
        const struct schema_field *f = &s->fields[i];
        (void)fprintf(out, "\nfields.%s=of %s, table %s, multi %u, user_id %d", f->name,
                      config_key_find("fields[].of")->names[f->group], s->tables[f->table].name,
                      f->values_max, f->user_id);
    }
    (void)fputs("\nbehaviors=", out);
    for (uint32_t i = 0; i < s->n_behaviors; i++) {
        (void)fprintf(out, "%s%s", i > 0 ? "," : "", s->behaviors[i]);
    }
    (void)fputs("\nsequences=", out);
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        (void)fprintf(out, "%s%s", i > 0 ? "," : "", s->sequences[i].name);
    }
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        const struct schema_sequence *q = &s->sequences[i];
        (void)fprintf(out, "\nsequences.%s=length %u, from_click %d, from_behavior %u, fields",
                      q->name, q->length, q->from_click, q->from_behavior);
        for (uint32_t k = 0; k < q->n_fields; k++) {
            (void)fprintf(out, " %s", s->fields[q->field[k]].name);
        }
    }
    (void)fputc('\n', out);
}

char *config_digest_text(const struct config *c)
{
    return text_of(digest, c);
}

/* ---- the reference ---- */

static void reference_row(FILE *out, const struct config_key *key)
{
    (void)fprintf(out, "| `%s` | ", key->path);
    config_value_describe(out, key);
    (void)fputs(" | ", out);
    if (key->fallback == NULL) {
        (void)fputs("required", out);
    } else {
        (void)fprintf(out, "`%s`", key->fallback[0] != '\0' ? key->fallback : "\"\"");
    }
    (void)fprintf(out, " | %s%s |\n", key->doc,
                  key->fixed ? " *Fixed: may not change on an existing store.*" : "");
}

static void reference(FILE *out, const struct config *c)
{
    static const char columns[] = "| key | value | default | what it does |\n|---|---|---|---|\n";
    size_t n = 0;
    const struct config_key *keys = config_keys(&n);
    bool in_table = false;
    (void)c;
    (void)fputs(
        "# Configuration\n\n"
        "Made by `undine config reference`. A configuration is one YAML file; "
        "`undine config check --config FILE`\nsays whether it is right, "
        "`undine config show` prints it with every default, secrets masked.\n\n"
        "- `-o key=value` sets any key of this page from the command line, behind the file: "
        "`-o join.window=5m`,\n  `-o model.mlp.hidden=200,80`, `-o tables.video=36`, "
        "`-o kafka.client.id=undine-1`.\n"
        "- `${NAME}` in a value is replaced by the environment variable; `$${` stands for `${`.\n"
        "- `{file: PATH}` in place of a text reads it from a file; a relative path starts at the "
        "configuration file.\n"
        "- Durations: `500ms`, `10s`, `5m`, `2h`, `3d`; a plain number is milliseconds. Bytes: "
        "`64MiB`; a plain number\n  is bytes.\n"
        "- Unknown keys, duplicate keys and values out of range are refused with file and line.\n"
        "- *Fixed* keys, and the names, groups, tables, lengths and order of fields, behaviors and "
        "sequences, may not\n  change on an existing store: the program says so and stops "
        "(exit code 4).\n",
        out);
    for (size_t i = 0; i < n; i++) {
        if (keys[i].type == CONFIG_SECTION) {
            (void)fprintf(out, "\n## %s\n\n%s\n\n%s", keys[i].path, keys[i].doc, columns);
            in_table = true;
            continue;
        }
        if (!in_table) {
            (void)fprintf(out, "\n## Data and streams\n\n%s", columns);
            in_table = true;
        }
        reference_row(out, &keys[i]);
    }
}

char *config_reference(void)
{
    return text_of(reference, NULL);
}
