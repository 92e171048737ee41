/* store_json.h: what the store remembers, as JSON for people, manifests and `undine inspect`.
 *
 * Each function reads the store's meta family and returns a new reference, NULL with err on failure.
 * Any thread, on a live store too. */
#ifndef UNDINE_OPS_STORE_JSON_H
#define UNDINE_OPS_STORE_JSON_H

#include "featurestore/store.h"
#include "ingest/ingest.h"

#include <jansson.h>

json_t *store_json_positions(struct store *s, struct undine_err *err); /* array, by topic */
json_t *store_json_malformed(struct store *s, struct undine_err *err); /* array, newest first */
json_t *store_json_losses(struct store *s, struct undine_err *err);    /* array, oldest first */
/* Commit, watermark, newest event time and counters; {} on a store without a commit. */
json_t *store_json_ingest(struct store *s, struct undine_err *err);
/* The counters of promise 2, also in reports. */
json_t *store_json_counters(const struct ingest_counters *c);
/* Bytes as JSON text: UTF-8 as it is, anything else escaped as \xNN. */
json_t *store_json_bytes(const void *data, size_t len);

#endif
