/* config_value.h: one value of the configuration: text to memory by its row, and back.
 *
 * Errors name the place, the key, the value, and what would be right.  No allocation. */
#ifndef UNDINE_CONFIGS_CONFIG_VALUE_H
#define UNDINE_CONFIGS_CONFIG_VALUE_H

#include "configs/config_keys.h"

#include <stdio.h>

/* Where a value was written; file NULL = an override (`-o`), line 0 = no place of its own. */
struct config_where {
    const char *file;
    size_t line;
};

/* UNDINE_ECONFIG with "file:line: " or "-o: " in front. */
int config_fail(struct undine_err *err, const struct config_where *where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Is the type a list of scalars? */
bool config_type_is_list(enum config_type type);

/* Put a value into the struct at base.  A scalar has one item. */
int config_value_set(void *base, const struct config_key *key, const char *const *items, size_t n,
                     const struct config_where *where, struct undine_err *err);
/* The same from one text; items of a list are separated by commas, brackets may enclose them. */
int config_value_set_text(void *base, const struct config_key *key, const char *text,
                          const struct config_where *where, struct undine_err *err);
/* Give every row below prefix that has a default its default. */
void config_value_set_defaults(void *base, const char *prefix);

/* Write the value as YAML that reads back as the same value. */
void config_value_print(FILE *out, const void *base, const struct config_key *key);
/* A text as a double-quoted YAML scalar, `${` escaped. */
void config_string_print(FILE *out, const char *text);
/* "integer, 1..100": what the row expects, for errors and the reference. */
void config_value_describe(FILE *out, const struct config_key *key);

#endif
