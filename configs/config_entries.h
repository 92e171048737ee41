/* config_entries.h: the lists of the configuration: as they are declared, and as the schema they
 * make.
 *
 * Declarations may stand in any order and be overridden, so they are collected first, each with its
 * place, and resolved to indexes when all of them are known. */
#ifndef UNDINE_CONFIGS_CONFIG_ENTRIES_H
#define UNDINE_CONFIGS_CONFIG_ENTRIES_H

#include "configs/config_value.h"

struct config_declared {
    struct config_table tables[CONFIG_ENTRIES_MAX];
    struct config_rate rates[CONFIG_ENTRIES_MAX];
    struct config_field fields[CONFIG_ENTRIES_MAX];
    struct config_sequence sequences[CONFIG_ENTRIES_MAX];
    struct config_topic topics[CONFIG_ENTRIES_MAX];
    struct config_slice slices[CONFIG_ENTRIES_MAX];
    struct config_where table_at[CONFIG_ENTRIES_MAX], rate_at[CONFIG_ENTRIES_MAX],
        field_at[CONFIG_ENTRIES_MAX], sequence_at[CONFIG_ENTRIES_MAX], topic_at[CONFIG_ENTRIES_MAX],
        slice_at[CONFIG_ENTRIES_MAX];
    uint32_t n_tables, n_rates, n_fields, n_sequences, n_topics, n_slices;
};

/* Room for one more entry of the list `path` ("fields"), declared at where; NULL and an error where
 * there is none.  Its members are the caller's to fill, by the rows below `path[].`. */
void *config_entry_add(struct config_declared *d, const char *path,
                       const struct config_where *where, struct undine_err *err);
/* Declare a table, or change the width of one. */
int config_entry_table(struct config_declared *d, const char *name, const char *dim, bool replace,
                       const struct config_where *where, struct undine_err *err);
/* Give a table a learning rate of its own; the table may be declared later. */
int config_entry_rate(struct config_declared *d, const char *name, const char *rate,
                      const struct config_where *where, struct undine_err *err);
/* Set a librdkafka property, after asking whether it may be set. */
int config_entry_kafka(struct config *c, const char *key, const char *value, bool secret,
                       const struct config_where *where, struct undine_err *err);
/* May the value be shown? */
bool config_kafka_is_secret(const char *key);

/* Fill schema, topics and everything that follows from them. */
int config_entries_resolve(struct config *c, const struct config_declared *d,
                           struct undine_err *err);
/* The i-th entry of a list again, as it would be declared; false behind the last. */
bool config_entry_get(const struct config *c, const char *path, uint32_t i, void *out);
/* Bytes of the largest entry. */
enum { CONFIG_ENTRY_BYTES_MAX = sizeof(struct config_sequence) };

#endif
