/* schema.h: the shape of a user's data, as the configuration declares it.
 *
 * A field is one feature of an impression: of the user, of the candidate ad, or of the context.  It
 * holds one id or several (multi-hot) and looks them up in a table; fields may share a table.  A
 * sequence is a user's behaviour: its steps carry values of candidate fields and share their
 * tables, unless the sequence asks for tables of its own.  Decoder, store, learner and scorer all
 * work from this one description, which is saved in every version.
 *
 * Plain data, fixed bounds, no pointers: may be copied and compared.  Built by configs/, checked by
 * schema_check, then read-only and safe in any thread. */
#ifndef UNDINE_BASE_SCHEMA_H
#define UNDINE_BASE_SCHEMA_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SCHEMA_NAME_MAX = 48,   /* bytes of a name, NUL included */
    SCHEMA_TABLES_MAX = 64, /* 32 that are declared, and 8 of each sequence's own */
    SCHEMA_FIELDS_MAX = 32,
    SCHEMA_BEHAVIORS_MAX = 16,
    SCHEMA_SEQUENCES_MAX = 4,
    SCHEMA_STEP_FIELDS_MAX = 8, /* fields of one sequence */
    SCHEMA_VALUES_MAX = 255,    /* ids of one multi-hot field */
    SCHEMA_LENGTH_MAX = 4096,   /* steps of one sequence */
    SCHEMA_DIM_MAX = 256
};

enum schema_group { SCHEMA_USER, SCHEMA_CANDIDATE, SCHEMA_CONTEXT };
enum schema_pool { SCHEMA_POOL_SUM, SCHEMA_POOL_MEAN };

struct schema_table {
    char name[SCHEMA_NAME_MAX];
    uint32_t dim;       /* floats of an embedding */
    uint64_t hash_seed; /* filled by schema_check: hash_table_seed(name), or the source's */
    bool own;           /* made by schema_check for a sequence that shares none */
    uint32_t source;    /* own: the table that it stands for */
};

struct schema_field {
    char name[SCHEMA_NAME_MAX];
    enum schema_group group;
    uint32_t table;        /* index in tables[] */
    enum schema_pool pool; /* how several ids become one vector */
    uint32_t
        values_max; /* 1: one id; more: a multi-hot field, further ids are dropped and counted */
    bool user_id;   /* takes the event's user id instead of a member of `profile` */
};

struct schema_sequence {
    char name[SCHEMA_NAME_MAX];
    uint32_t length; /* L, newest steps that an example sees */
    uint32_t n_fields;
    uint32_t field[SCHEMA_STEP_FIELDS_MAX]; /* candidate fields, index in fields[] */
    uint32_t table[SCHEMA_STEP_FIELDS_MAX]; /* where a step's values are looked up; schema_check */
    bool own_tables;                        /* the steps share no table with the candidate */
    bool from_click;                        /* a clicked candidate becomes a step */
    uint32_t from_behavior; /* bit i: behaviours of type behaviors[i] become steps */
};

struct schema {
    uint32_t n_tables, n_fields, n_behaviors, n_sequences;
    struct schema_table tables[SCHEMA_TABLES_MAX];
    struct schema_field fields[SCHEMA_FIELDS_MAX];
    char behaviors[SCHEMA_BEHAVIORS_MAX][SCHEMA_NAME_MAX]; /* names of the behaviour types */
    struct schema_sequence sequences[SCHEMA_SEQUENCES_MAX];
};

/* Check every bound and reference, fill what is derived.  UNDINE_ECONFIG with the name at fault.
 *
 * A sequence with own_tables gets one table for each that the fields of its steps name, called
 * "<sequence>.<table>" (a dot stands in no declared name), as wide, and with the same ids: stored
 * events do not depend on it.  Made here where they are missing, so a checked schema passes again
 * unchanged. */
int schema_check(struct schema *s, struct undine_err *err);

/* Index by name, or -1. */
int schema_table_find(const struct schema *s, const char *name);
int schema_field_find(const struct schema *s, const char *name);
int schema_behavior_find(const struct schema *s, const char *name);
int schema_sequence_find(const struct schema *s, const char *name);

/* Width of a field's vector, and of a step of a sequence (E: the sum over its fields). */
uint32_t schema_field_dim(const struct schema *s, uint32_t field);
uint32_t schema_step_dim(const struct schema *s, uint32_t sequence);

/* Two hashes of the schema: what the stored events and sequences depend on (names, tables, order,
 * steps), and that plus what only the model depends on (dim, pool). */
uint64_t schema_data_digest(const struct schema *s);
uint64_t schema_model_digest(const struct schema *s);

#endif
