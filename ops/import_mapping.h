/* import_mapping.h: which column of a CSV becomes what of an event (docs/import.md).
 *
 * Read once, then only looked at.  Errors name file, line and key. */
#ifndef UNDINE_OPS_IMPORT_MAPPING_H
#define UNDINE_OPS_IMPORT_MAPPING_H

#include "base/err.h"
#include "base/schema.h"
#include "featurestore/event.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAPPING_TEXT_MAX = 128, MAPPING_WORDS_MAX = 32 };

enum mapping_unit { MAPPING_S, MAPPING_MS, MAPPING_US, MAPPING_NS, MAPPING_ISO, MAPPING_UNITS };

/* Where a value comes from: a column, or the same text in every row. */
struct mapping_value {
    bool set;
    bool constant;
    char text[MAPPING_TEXT_MAX]; /* the column's name, or the text */
    char separator;              /* 0 = one value */
    int column;                  /* looked up by the user of the mapping */
};

struct mapping_field {
    char name[SCHEMA_NAME_MAX];
    struct mapping_value value;
};
struct mapping_group {
    struct mapping_field field[SCHEMA_FIELDS_MAX];
    uint32_t n;
};
struct mapping_words {
    char word[MAPPING_WORDS_MAX][MAPPING_TEXT_MAX];
    uint32_t n;
};

struct mapping {
    char delimiter;
    bool header, quotes;
    struct mapping_words missing;             /* texts that stand for no value */
    struct mapping_value kind;                /* constant: the kind itself */
    struct mapping_words kind_words;          /* texts of the kind's column ... */
    enum event_kind kinds[MAPPING_WORDS_MAX]; /* ... and what they mean */
    struct mapping_value id, user, time, type, impression;
    enum mapping_unit unit;
    struct mapping_value click; /* of an impression's row */
    struct mapping_words click_words;
    int64_t click_delay_ms;
    struct mapping_group candidate, context, profile;
};

/* UNDINE_ECONFIG. */
int mapping_load(struct mapping *out, const char *file, struct undine_err *err);
/* Index of a text among words, or -1. */
int mapping_words_find(const struct mapping_words *w, const char *text);

#endif
