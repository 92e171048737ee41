/* csv.h: rows of a CSV or TSV file, one after the other, in bounded memory.
 *
 * RFC 4180: a field may be quoted, and then hold delimiters, newlines and doubled quotes; lines end
 * with LF or CRLF; a blank line is no row.  A file need not end with a newline.  One thread at a
 * time. */
#ifndef UNDINE_OPS_CSV_H
#define UNDINE_OPS_CSV_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CSV_FIELDS_MAX = 1024, CSV_ROW_BYTES_MAX = 1 << 24 };

struct csv_options {
    char delimiter; /* ',' or '\t' */
    bool header;    /* the first row names the columns */
    bool quotes;    /* false: a quote is a character like any other */
};

struct csv_row {
    const char **field; /* n texts; valid until the next csv_next */
    size_t n;
    uint64_t line;   /* line on which the row starts, from 1 */
    uint64_t number; /* data rows before this one */
};

struct csv;
/* Open a file (zfile.h: .zst, "-").  UNDINE_EIO; UNDINE_ECORRUPT where the header cannot be read.
 */
int csv_open(struct csv **out, const char *path, const struct csv_options *opt,
             struct undine_err *err);
/* The next row: 1, 0 at the end, or < 0: UNDINE_ECORRUPT with file and line for a row that is no
 * CSV or, with a header, has another number of fields; UNDINE_EIO. */
int csv_next(struct csv *c, struct csv_row *out, struct undine_err *err);
/* Column of a name of the header, or without a header of a number from 1; -1 = there is none. */
int csv_column(const struct csv *c, const char *name);
/* The same for a column that must be there: UNDINE_ECORRUPT names it and the file. */
int csv_column_needed(const struct csv *c, const char *name, int *out, struct undine_err *err);
void csv_close(struct csv *c);

#endif
