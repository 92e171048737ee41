/* kafka_conf.h: every librdkafka property that a reader is opened with, and why. */
#ifndef UNDINE_INGEST_KAFKA_CONF_H
#define UNDINE_INGEST_KAFKA_CONF_H

#include "ingest/source.h"

/* Call set for each property in order, until it fails: presets, then what the configuration passes
 * through, then what exactly-once rests on.  UNDINE_ECONFIG names a key that may not be passed. */
typedef int (*kafka_conf_set_fn)(void *conf, const char *key, const char *value,
                                 struct undine_err *err);
int kafka_conf_set_all(const struct source_kafka_options *opt, kafka_conf_set_fn set, void *conf,
                       struct undine_err *err);

/* UNDINE_EIO: the broker refuses us; with a hint where the client is known to be at fault. */
int kafka_auth_refused(struct undine_err *err, const char *reason);

#endif
