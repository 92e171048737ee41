#include "configs/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t size;
};
/* Largest first; the last one is the unit of a plain number. */
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit byte_units[] = {
    {"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};
enum { UNITS = 5 };
_Static_assert(sizeof durations == sizeof byte_units, "both have UNITS rows");

int config_fail(struct undine_err *err, const struct config_where *where, const char *fmt, ...)
{
    char text[UNDINE_ERR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (where->file == NULL) {
        return undine_err_set(err, UNDINE_ECONFIG, "-o: %s", text);
    }
    if (where->line == 0) {
        return undine_err_set(err, UNDINE_ECONFIG, "%s: %s", where->file, text);
    }
    return undine_err_set(err, UNDINE_ECONFIG, "%s:%zu: %s", where->file, where->line, text);
}

bool config_type_is_list(enum config_type type)
{
    return type == CONFIG_INTS || type == CONFIG_NAMES || type == CONFIG_FLAGS;
}

/* ---- numbers ---- */

static const struct unit *units_of(enum config_type type)
{
    return type == CONFIG_DURATION ? durations : type == CONFIG_BYTES ? byte_units : NULL;
}

static bool parse_integer(const char *text, int64_t *out, const char **rest)
{
    char *end = NULL;
    if (text[0] != '-' && !isdigit((unsigned char)text[0])) {
        return false;
    }
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *out = v;
    *rest = end;
    return errno == 0 && end != text;
}

/* "10m", "10 m", "600000". */
static bool parse_with_unit(const char *text, const struct unit *units, int64_t *out)
{
    const char *rest = NULL;
    int64_t v = 0;
    if (!parse_integer(text, &v, &rest)) {
        return false;
    }
    while (*rest == ' ') {
        rest++;
    }
    if (*rest == '\0') {
        *out = v;
        return true;
    }
    for (int i = 0; units != NULL && i < UNITS; i++) {
        if (strcmp(rest, units[i].name) == 0) {
            return !__builtin_mul_overflow(v, units[i].size, out);
        }
    }
    return false;
}

/* The largest unit that leaves no rest; `gap` stands between number and unit. */
static void print_number(FILE *out, int64_t v, const struct unit *units, const char *gap)
{
    int i = UNITS - 1;
    for (int k = 0; units != NULL && v != 0 && k < UNITS; k++) {
        if (v % units[k].size == 0) {
            i = k;
            break;
        }
    }
    if (units == NULL) {
        (void)fprintf(out, "%" PRId64, v);
    } else {
        (void)fprintf(out, "%" PRId64 "%s%s", v / units[i].size, gap, units[i].name);
    }
}

static void store_integer(void *at, uint32_t size, int64_t v)
{
    UNDINE_ASSERT(size == 4 || size == 8);
    memcpy(at, &v, size); /* little-endian: the low bytes come first (base/bytes.h asserts it) */
}

static int64_t load_integer(const void *at, uint32_t size)
{
    int64_t v = 0;
    memcpy(&v, at, size);
    return v;
}

static double load_real(const void *at)
{
    double v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* The shortest text that reads back as the same number. */
static void print_real(FILE *out, double v)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    (void)fputs(text, out);
}

/* ---- what a row expects ---- */

static void print_range(FILE *out, const struct config_key *key)
{
    const struct unit *units = units_of(key->type);
    if (key->type == CONFIG_REAL) {
        print_real(out, key->real_min);
        (void)fputs("..", out);
        print_real(out, key->real_max);
        return;
    }
    int64_t min = key->min;
    if (key->type == CONFIG_DURATION && min < 0) {
        (void)fputs("off, ", out);
        min = 0;
    }
    print_number(out, min, units, " ");
    (void)fputs("..", out);
    print_number(out, key->max, units, " ");
}

static void print_names(FILE *out, const struct config_key *key)
{
    for (size_t i = 0; key->names[i] != NULL; i++) {
        (void)fprintf(out, "%s`%s`", i > 0 ? ", " : "", key->names[i]);
    }
}

void config_value_describe(FILE *out, const struct config_key *key)
{
    static const char *const words[] = {
        [CONFIG_BOOL] = "`true` or `false`",
        [CONFIG_INT] = "integer, ",
        [CONFIG_REAL] = "number, ",
        [CONFIG_DURATION] = "duration (ms, s, m, h, d), ",
        [CONFIG_BYTES] = "bytes (B, KiB, MiB, GiB, TiB), ",
        [CONFIG_STRING] = "text",
        [CONFIG_ENUM] = "one of ",
        [CONFIG_FLAGS] = "list of ",
        [CONFIG_INTS] = "list of integers, each ",
        [CONFIG_NAMES] = "list of names",
        [CONFIG_SECTION] = "mapping",
        [CONFIG_LIST] = "list of mappings",
        [CONFIG_MAP] = "mapping",
    };
    (void)fputs(words[key->type], out);
    switch (key->type) {
    case CONFIG_INT:
    case CONFIG_REAL:
    case CONFIG_DURATION:
    case CONFIG_BYTES:
    case CONFIG_INTS:
        print_range(out, key);
        break;
    case CONFIG_STRING:
        (void)fprintf(out, " of %" PRId64 "..%" PRId64 " bytes", key->min, key->max);
        break;
    case CONFIG_ENUM:
    case CONFIG_FLAGS:
        print_names(out, key);
        break;
    default:
        break;
    }
}

/* "... is <value>, expected <what the row describes>" */
static int fail_expected(const struct config_key *key, const char *text,
                         const struct config_where *where, struct undine_err *err)
{
    char expected[256] = "";
    FILE *out = fmemopen(expected, sizeof expected, "w");
    if (out != NULL) {
        config_value_describe(out, key);
        (void)fclose(out);
    }
    return config_fail(err, where, "`%s` is `%.80s`, expected %s", key->path, text, expected);
}

static int fail_range(const struct config_key *key, int64_t v, double v_real,
                      const struct config_where *where, struct undine_err *err)
{
    char text[128] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    if (out != NULL) {
        if (key->type == CONFIG_REAL) {
            print_real(out, v_real);
        } else {
            print_number(out, v, units_of(key->type), " ");
        }
        (void)fputs(", expected ", out);
        print_range(out, key);
        (void)fclose(out);
    }
    return config_fail(err, where, "`%s` is %s", key->path, text);
}

/* ---- text to memory ---- */

static int set_number(void *at, const struct config_key *key, const char *text,
                      const struct config_where *where, struct undine_err *err)
{
    int64_t v = 0;
    if (key->type == CONFIG_DURATION && key->min < 0 && strcmp(text, "off") == 0) {
        store_integer(at, key->size, -1);
        return UNDINE_OK;
    }
    if (!parse_with_unit(text, units_of(key->type), &v)) {
        return fail_expected(key, text, where, err);
    }
    int64_t min = key->type == CONFIG_DURATION && key->min < 0 ? 0 : key->min;
    if (v < min || v > key->max) {
        return fail_range(key, v, 0, where, err);
    }
    store_integer(at, key->size, v);
    return UNDINE_OK;
}

static int set_real(void *at, const struct config_key *key, const char *text,
                    const struct config_where *where, struct undine_err *err)
{
    char *end = NULL;
    double v = strtod(text, &end);
    if (text[0] == '\0' || isspace((unsigned char)text[0]) || *end != '\0' || !isfinite(v)) {
        return fail_expected(key, text, where, err);
    }
    if (v < key->real_min || v > key->real_max) {
        return fail_range(key, 0, v, where, err);
    }
    memcpy(at, &v, sizeof v);
    return UNDINE_OK;
}

static int set_string(char *at, const struct config_key *key, const char *text,
                      const struct config_where *where, struct undine_err *err)
{
    size_t len = strlen(text);
    if (len < (size_t)key->min || len > (size_t)key->max) {
        return config_fail(err, where, "`%s` is %zu bytes long, expected %" PRId64 "..%" PRId64,
                           key->path, len, key->min, key->max);
    }
    memset(at, 0, key->size);
    memcpy(at, text, len);
    return UNDINE_OK;
}

static int find_name(const struct config_key *key, const char *text)
{
    for (int i = 0; key->names[i] != NULL; i++) {
        if (strcmp(key->names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

static int set_scalar(void *at, const struct config_key *key, const char *text,
                      const struct config_where *where, struct undine_err *err)
{
    switch (key->type) {
    case CONFIG_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return fail_expected(key, text, where, err);
        }
        *(bool *)at = text[0] == 't';
        return UNDINE_OK;
    case CONFIG_INT:
    case CONFIG_DURATION:
    case CONFIG_BYTES:
        return set_number(at, key, text, where, err);
    case CONFIG_REAL:
        return set_real(at, key, text, where, err);
    case CONFIG_STRING:
        return set_string(at, key, text, where, err);
    case CONFIG_ENUM: {
        int i = find_name(key, text);
        if (i < 0) {
            return fail_expected(key, text, where, err);
        }
        store_integer(at, key->size, i);
        return UNDINE_OK;
    }
    default:
        return config_fail(
            err, where, "`%s` is a mapping or a list; it can only be set in the file", key->path);
    }
}

/* One more entry of a list; `n` are there. */
static int set_item(void *base, const struct config_key *key, uint32_t n, const char *text,
                    const struct config_where *where, struct undine_err *err)
{
    char *at = (char *)base + key->offset;
    if (key->type == CONFIG_FLAGS) {
        int bit = find_name(key, text);
        if (bit < 0) {
            return fail_expected(key, text, where, err);
        }
        store_integer(at, key->size, load_integer(at, key->size) | INT64_C(1) << bit);
        return UNDINE_OK;
    }
    uint32_t item_size = key->type == CONFIG_INTS ? (uint32_t)sizeof(uint32_t) : SCHEMA_NAME_MAX;
    struct config_key item = *key;
    item.size = item_size;
    if (n >= key->size / item_size) {
        return config_fail(err, where, "`%s` has more than %u entries", key->path,
                           key->size / item_size);
    }
    if (key->type == CONFIG_INTS) {
        return set_number(at + n * item_size, &item, text, where, err);
    }
    item.min = 1;
    item.max = SCHEMA_NAME_MAX - 1;
    return set_string(at + n * item_size, &item, text, where, err);
}

int config_value_set(void *base, const struct config_key *key, const char *const *items, size_t n,
                     const struct config_where *where, struct undine_err *err)
{
    char *at = (char *)base + key->offset;
    if (!config_type_is_list(key->type)) {
        UNDINE_ASSERT(n == 1);
        return set_scalar(at, key, items[0], where, err);
    }
    if (n == 0 && (key->fallback == NULL || key->type == CONFIG_INTS)) {
        return config_fail(err, where, "`%s` is empty, expected at least one entry", key->path);
    }
    memset(at, 0, key->size);
    for (size_t i = 0; i < n; i++) {
        int rc = set_item(base, key, (uint32_t)i, items[i], where, err);
        if (rc != UNDINE_OK) {
            return rc;
        }
    }
    if (key->type != CONFIG_FLAGS) {
        store_integer((char *)base + key->count_offset, sizeof(uint32_t), (int64_t)n);
    }
    return UNDINE_OK;
}

int config_value_set_text(void *base, const struct config_key *key, const char *text,
                          const struct config_where *where, struct undine_err *err)
{
    enum { ITEMS_MAX = 32, TEXT_MAX = 2048 };
    char copy[TEXT_MAX], *next = NULL;
    const char *items[ITEMS_MAX];
    size_t n = 0;
    if (!config_type_is_list(key->type)) {
        return config_value_set(base, key, &text, 1, where, err);
    }
    if (strlen(text) >= sizeof copy) {
        return config_fail(err, where, "`%s` is longer than %d bytes", key->path, TEXT_MAX - 1);
    }
    (void)strcpy(copy, text);
    for (char *word = strtok_r(copy, "[], ", &next); word != NULL;
         word = strtok_r(NULL, "[], ", &next)) {
        if (n == ITEMS_MAX) {
            return config_fail(err, where, "`%s` has more than %d entries", key->path, ITEMS_MAX);
        }
        items[n++] = word;
    }
    return config_value_set(base, key, items, n, where, err);
}

void config_value_set_defaults(void *base, const char *prefix)
{
    size_t n = 0, len = strlen(prefix);
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        const struct config_key *k = &keys[i];
        bool below = strncmp(k->path, prefix, len) == 0;
        bool entry = strstr(k->path + (below ? len : 0), "[]") != NULL;
        if (below && !entry && k->fallback != NULL && k->size > 0) {
            struct undine_err err = {0};
            struct config_where where = {"default", 0};
            int rc = config_value_set_text(base, k, k->fallback, &where, &err);
            UNDINE_ASSERT(rc == UNDINE_OK); /* the table contradicts itself */
        }
    }
}

/* ---- memory to text ---- */

void config_string_print(FILE *out, const char *text)
{
    (void)fputc('"', out);
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            (void)fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            (void)fprintf(out, "\\x%02x", c);
        } else if (c == '$' && p[1] == '{') {
            (void)fputs("$$", out);
        } else {
            (void)fputc(c, out);
        }
    }
    (void)fputc('"', out);
}

static void print_list(FILE *out, const char *at, uint32_t n, const struct config_key *key)
{
    (void)fputc('[', out);
    for (uint32_t i = 0; i < n; i++) {
        (void)fputs(i > 0 ? ", " : "", out);
        if (key->type == CONFIG_INTS) {
            (void)fprintf(out, "%" PRId64, load_integer(at + i * sizeof(uint32_t), 4));
        } else {
            config_string_print(out, at + i * SCHEMA_NAME_MAX);
        }
    }
    (void)fputc(']', out);
}

static void print_flags(FILE *out, int64_t bits, const struct config_key *key)
{
    const char *gap = "";
    (void)fputc('[', out);
    for (int i = 0; key->names[i] != NULL; i++) {
        if ((bits >> i & 1) != 0) {
            (void)fprintf(out, "%s%s", gap, key->names[i]);
            gap = ", ";
        }
    }
    (void)fputc(']', out);
}

void config_value_print(FILE *out, const void *base, const struct config_key *key)
{
    const char *at = (const char *)base + key->offset;
    switch (key->type) {
    case CONFIG_BOOL:
        (void)fputs(*(const bool *)at ? "true" : "false", out);
        break;
    case CONFIG_INT:
    case CONFIG_DURATION:
    case CONFIG_BYTES: {
        int64_t v = load_integer(at, key->size);
        if (key->type == CONFIG_DURATION && v < 0) {
            (void)fputs("off", out);
        } else {
            print_number(out, v, units_of(key->type), "");
        }
        break;
    }
    case CONFIG_REAL:
        print_real(out, load_real(at));
        break;
    case CONFIG_STRING:
        config_string_print(out, at);
        break;
    case CONFIG_ENUM:
        (void)fputs(key->names[load_integer(at, key->size)], out);
        break;
    case CONFIG_FLAGS:
        print_flags(out, load_integer(at, key->size), key);
        break;
    case CONFIG_INTS:
    case CONFIG_NAMES: {
        uint32_t n = (uint32_t)load_integer((const char *)base + key->count_offset, 4);
        print_list(out, at, n, key);
        break;
    }
    default:
        UNDINE_ASSERT(!"a mapping or a list of mappings is printed entry by entry");
    }
}
