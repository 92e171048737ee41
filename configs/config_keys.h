/* config_keys.h: the table of keys, the one description of the configuration.
 *
 * A row says where a key's value lives in its struct, its type, range, default and documentation;
 * the loader, the overrides, the printer and the reference all walk these rows, so a key exists
 * once. Rows of list entries (`fields[].name`) have offsets in the entry's struct below; the others
 * in struct config.  Constant data, any thread. */
#ifndef UNDINE_CONFIGS_CONFIG_KEYS_H
#define UNDINE_CONFIGS_CONFIG_KEYS_H

#include "configs/config.h"

enum config_type {
    CONFIG_BOOL,     /* bool */
    CONFIG_INT,      /* 4 or 8 byte integer; 4 byte ones are never negative */
    CONFIG_REAL,     /* double */
    CONFIG_DURATION, /* an integer of milliseconds */
    CONFIG_BYTES,    /* an integer of bytes */
    CONFIG_STRING,   /* char[size] */
    CONFIG_ENUM,     /* one of names, stored as its index */
    CONFIG_FLAGS,    /* a list of names, stored as bits */
    CONFIG_INTS,     /* a list: uint32_t[size / 4], and how many in a uint32_t */
    CONFIG_NAMES,    /* a list: char[size / SCHEMA_NAME_MAX][SCHEMA_NAME_MAX], and how many */
    CONFIG_SECTION,  /* a mapping of keys */
    CONFIG_LIST,     /* a list of mappings */
    CONFIG_MAP       /* a mapping of names that the user chooses */
};

enum { CONFIG_NAMES_MAX = 16, CONFIG_ENTRIES_MAX = 32 };

struct config_names {
    uint32_t n;
    char name[CONFIG_NAMES_MAX][SCHEMA_NAME_MAX];
};

/* Entries of the lists, as they are written. */
struct config_table {
    char name[SCHEMA_NAME_MAX];
    uint32_t dim;
};
struct config_rate {
    char name[SCHEMA_NAME_MAX];
    double rate;
};
struct config_field {
    char name[SCHEMA_NAME_MAX];
    enum schema_group of;
    char table[SCHEMA_NAME_MAX]; /* empty: the field's own name */
    uint32_t multi;
    enum schema_pool pool;
    bool user_id;
};
struct config_sequence {
    char name[SCHEMA_NAME_MAX];
    struct config_names fields, from;
    uint32_t length;
    bool shared;
};
struct config_slice {
    char name[SCHEMA_NAME_MAX], field[SCHEMA_NAME_MAX], sequence[SCHEMA_NAME_MAX];
    enum slice_is is;
    struct config_names values;
    uint32_t steps_min, steps_max;
};
struct config_topic {
    char name[SOURCE_TOPIC_MAX];
    uint32_t kinds;
};

struct config_key {
    const char *path; /* "join.window", "fields[].name" */
    enum config_type type;
    uint32_t offset, size;     /* of the value */
    uint32_t count_offset;     /* INTS, NAMES: of the number of values */
    bool fixed;                /* may not change on an existing store: part of its digest */
    int64_t min, max;          /* BOOL and lists: unused; STRING: bytes */
    double real_min, real_max; /* CONFIG_REAL */
    const char *const *names;  /* ENUM, FLAGS: NULL-terminated, in the order of the enum */
    const char *fallback;      /* the default as a user would write it; NULL = required */
    const char *doc;
};

const struct config_key *config_keys(size_t *n);
/* The row of a path, or NULL. */
const struct config_key *config_key_find(const char *path);
/* The known path that looks most like an unknown one, or NULL where none is near. */
const char *config_key_nearest(const char *path);
/* Is row `key` a direct member of the mapping whose paths start with prefix ("", "join.",
 * "fields[].")? */
bool config_key_in(const struct config_key *key, const char *prefix);
/* The part of the path behind its last dot. */
const char *config_key_name(const struct config_key *key);

#endif
