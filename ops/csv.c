#include "ops/csv.h"

#include "base/bytes.h"
#include "base/nearest.h"
#include "ops/zfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct csv {
    FILE *file;
    char *path;
    struct csv_options opt;
    struct writer text;           /* the row's fields, each with a NUL behind it */
    size_t start[CSV_FIELDS_MAX]; /* of each field in text */
    const char *field[CSV_FIELDS_MAX];
    struct writer names; /* of the header, each with a NUL behind it */
    size_t n_columns;    /* of the header; 0 = none */
    uint64_t line, rows;
};

static int bad_row(const struct csv *c, uint64_t line, const char *what, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "%s:%llu: %s", c->path, (unsigned long long)line,
                          what);
}

static int next_char(struct csv *c)
{
    int ch = getc_unlocked(c->file);
    c->line += ch == '\n';
    return ch;
}

/* The inside of a quoted field, up to the character behind the closing quote, which is returned;
 * EOF - 1 where the quote is never closed. */
static int read_quoted(struct csv *c)
{
    for (;;) {
        int ch = next_char(c);
        if (ch == EOF || c->text.len >= CSV_ROW_BYTES_MAX) {
            return EOF - 1;
        }
        if (ch == '"') {
            ch = next_char(c);
            if (ch != '"') {
                return ch;
            }
        }
        writer_u8(&c->text, (uint8_t)ch);
    }
}

/* One field and the character that ended it: the delimiter, '\n' or EOF. */
static int read_field(struct csv *c, int ch, int *end, uint64_t line, struct undine_err *err)
{
    if (ch == '"' && c->opt.quotes) {
        ch = read_quoted(c);
        if (ch == EOF - 1) {
            return bad_row(c, line, "a quoted field is not closed, or longer than 16 MiB", err);
        }
        if (ch == '\r') {
            ch = next_char(c);
        }
        if (ch != c->opt.delimiter && ch != '\n' && ch != EOF) {
            return bad_row(c, line, "text stands behind a quoted field", err);
        }
    }
    while (ch != c->opt.delimiter && ch != '\n' && ch != EOF) {
        if (ch == '\0' || c->text.len >= CSV_ROW_BYTES_MAX) {
            return bad_row(c, line, "a NUL byte, or a row longer than 16 MiB", err);
        }
        writer_u8(&c->text, (uint8_t)ch);
        ch = next_char(c);
    }
    *end = ch;
    return UNDINE_OK;
}

/* A carriage return before the end of the line belongs to the end. */
static void drop_return(struct csv *c, size_t start)
{
    if (c->text.len > start && c->text.data[c->text.len - 1] == '\r') {
        c->text.len--;
    }
}

/* The next row's fields into text and start; *n = 0 at the end of the file. */
static int read_row(struct csv *c, size_t *n, uint64_t *line, struct undine_err *err)
{
    int ch, end = '\n';
    writer_clear(&c->text);
    *n = 0;
    do {
        *line = c->line;
        ch = next_char(c);
        int blank = ch == '\r' ? next_char(c) : ch;
        if (ch == '\r' && blank != '\n') {
            (void)ungetc(blank, c->file);
        } else {
            ch = blank;
        }
    } while (ch == '\n');
    while (ch != EOF || (*n > 0 && end == c->opt.delimiter)) {
        if (*n == CSV_FIELDS_MAX) {
            return bad_row(c, *line, "more than 1024 fields", err);
        }
        size_t start = c->text.len;
        bool quoted = ch == '"' && c->opt.quotes;
        int rc = read_field(c, ch, &end, *line, err);
        if (rc != UNDINE_OK) {
            return rc;
        }
        if (end != c->opt.delimiter && !quoted) {
            drop_return(c, start);
        }
        writer_u8(&c->text, 0);
        c->start[(*n)++] = start;
        if (end != c->opt.delimiter) {
            break;
        }
        ch = next_char(c);
    }
    return c->text.bad ? undine_err_set(err, UNDINE_ENOMEM, "%s: out of memory", c->path)
                       : UNDINE_OK;
}

int csv_next(struct csv *c, struct csv_row *out, struct undine_err *err)
{
    size_t n = 0;
    uint64_t line = 0;
    UNDINE_ASSERT(c->file != NULL);
    int rc = read_row(c, &n, &line, err);
    if (ferror(c->file) !=
        0) { /* closing says what it was; the row is cut, so its errors do not count */
        rc = zfile_close(c->file, c->path, err);
        c->file = NULL;
        return rc;
    }
    if (rc != UNDINE_OK || n == 0) {
        return rc;
    }
    if (c->n_columns > 0 && n != c->n_columns) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "%s:%llu: %zu fields, expected %zu as in the header", c->path,
                              (unsigned long long)line, n, c->n_columns);
    }
    for (size_t i = 0; i < n; i++) {
        c->field[i] = (const char *)c->text.data + c->start[i];
    }
    *out = (struct csv_row){c->field, n, line, c->rows++};
    return 1;
}

static int read_header(struct csv *c, struct undine_err *err)
{
    struct csv_row row;
    int rc = csv_next(c, &row, err);
    if (rc <= 0) {
        return rc < 0 ? rc : bad_row(c, 1, "no header: the file is empty", err);
    }
    for (size_t i = 0; i < row.n; i++) {
        writer_bytes(&c->names, row.field[i], strlen(row.field[i]) + 1);
    }
    c->n_columns = row.n;
    c->rows = 0;
    return c->names.bad ? undine_err_set(err, UNDINE_ENOMEM, "%s: out of memory", c->path)
                        : UNDINE_OK;
}

/* A byte order mark is no part of the first column's name. */
static void skip_mark(struct csv *c)
{
    static const int mark[] = {0xef, 0xbb, 0xbf};
    int ch = getc(c->file);
    if (ch != mark[0]) {
        (void)ungetc(ch, c->file);
        return;
    }
    (void)getc(c->file);
    (void)getc(c->file);
}

int csv_open(struct csv **out, const char *path, const struct csv_options *opt,
             struct undine_err *err)
{
    struct csv *c = calloc(1, sizeof *c);
    if (c == NULL || (c->path = strdup(path)) == NULL) {
        free(c);
        return undine_err_set(err, UNDINE_ENOMEM, "%s: out of memory", path);
    }
    c->opt = *opt;
    c->line = 1;
    writer_init(&c->text);
    writer_init(&c->names);
    c->file = zfile_read(path, err);
    int rc = c->file == NULL ? UNDINE_EIO : UNDINE_OK;
    if (rc == UNDINE_OK) {
        skip_mark(c);
        rc = opt->header ? read_header(c, err) : UNDINE_OK;
    }
    if (rc != UNDINE_OK) {
        csv_close(c);
        return rc;
    }
    *out = c;
    return UNDINE_OK;
}

int csv_column(const struct csv *c, const char *name)
{
    if (!c->opt.header) {
        char *end = NULL;
        unsigned long number = strtoul(name, &end, 10);
        return *end == '\0' && number >= 1 && number <= CSV_FIELDS_MAX ? (int)number - 1 : -1;
    }
    const char *at = (const char *)c->names.data;
    for (size_t i = 0; i < c->n_columns; i++) {
        if (strcmp(at, name) == 0) {
            return (int)i;
        }
        at += strlen(at) + 1;
    }
    return -1;
}

int csv_column_needed(const struct csv *c, const char *name, int *out, struct undine_err *err)
{
    *out = csv_column(c, name);
    if (*out >= 0) {
        return UNDINE_OK;
    }
    if (!c->opt.header) {
        return undine_err_set(err, UNDINE_ECORRUPT, "%s: `%s` is no column number (1, 2, ...)",
                              c->path, name);
    }
    struct nearest nearest = nearest_of(name);
    const char *at = (const char *)c->names.data;
    for (size_t i = 0; i < c->n_columns; i++) {
        nearest_offer(&nearest, at);
        at += strlen(at) + 1;
    }
    return undine_err_set(err, UNDINE_ECORRUPT, "%s: no column `%s`%s%s%s", c->path, name,
                          nearest.name != NULL ? "; did you mean `" : "",
                          nearest.name != NULL ? nearest.name : "",
                          nearest.name != NULL ? "`?" : "");
}

void csv_close(struct csv *c)
{
    if (c == NULL) {
        return;
    }
    (void)zfile_close(c->file, c->path, NULL);
    writer_release(&c->text);
    writer_release(&c->names);
    free(c->path);
    free(c);
}
