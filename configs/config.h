/* config.h: everything that a user can set, typed, ranged, documented, with a default.
 *
 * One table (config_keys.c) is the parser, the validator, the defaults and the reference
 * (docs/configuration.md).  The file is YAML; `-o key=value` overrides it; a value may be taken
 * from the environment (`${NAME}`) or a file (`kafka: sasl.password: {file: PATH}`), so that
 * secrets stay out of it.  An error names file, line, key, value and what would be right. */
#ifndef UNDINE_CONFIGS_CONFIG_H
#define UNDINE_CONFIGS_CONFIG_H

#include "base/schema.h"
#include "featurestore/store.h"
#include "featurestore/users.h"
#include "ingest/ingest.h"
#include "ingest/source.h"
#include "learner/gate.h"
#include "learner/trainer.h"

enum { CONFIG_TOPICS_MAX = 16, CONFIG_KAFKA_MAX = 64, CONFIG_PATH_MAX = 1024 };

/* What ends a hold that calibration began. */
enum config_resume { CONFIG_RESUME_COMMAND, CONFIG_RESUME_CALIBRATION };

enum config_precision { CONFIG_PRECISION_F32, CONFIG_PRECISION_INT16 };

struct config {
    char file[CONFIG_PATH_MAX];
    struct schema schema;
    struct {
        char name[SOURCE_TOPIC_MAX];
        uint32_t kinds; /* bit k: carries enum event_kind k */
    } topics[CONFIG_TOPICS_MAX];
    uint32_t n_topics;
    char brokers[1024], group[256];
    struct source_kafka_option kafka[CONFIG_KAFKA_MAX]; /* pass-through; secrets resolved */
    uint32_t n_kafka;
    bool kafka_secret[CONFIG_KAFKA_MAX]; /* masked wherever it is shown */
    struct decode_options decode;
    struct ingest_options ingest;
    struct store_options store;
    struct users_options users;
    struct trainer_options trainer;
    struct {
        int64_t interval_ms;       /* wall time between whole versions of the daemon */
        int64_t delta_interval_ms; /* between versions of what changed; 0 = whole ones alone */
        uint32_t chain_max;        /* deltas upon a whole version */
        uint32_t keep;             /* whole versions kept, at least 2 */
        int64_t keep_age_ms;       /* 0 = any */
        uint64_t keep_bytes;       /* 0 = any */
    } snapshot;
    struct gate_options gate;
    struct {
        uint64_t examples; /* of a block; 0 = off */
        double calibration_min, calibration_max;
        enum config_resume resume;
    } rollback;
    struct {
        char listen[256]; /* "127.0.0.1:9187"; empty = no HTTP */
        uint32_t threads;
        enum config_precision precision; /* as enum undine_precision */
        uint64_t body_max;
        char token_file[CONFIG_PATH_MAX];                         /* empty = no token */
        char tls_cert[CONFIG_PATH_MAX], tls_key[CONFIG_PATH_MAX]; /* both or none */
    } http;
};

/* Defaults, then the file, then the overrides ("path.to.key=value").  UNDINE_ECONFIG. */
int config_load(struct config **out, const char *file, const char *const *overrides,
                size_t n_overrides, struct undine_err *err);
/* The same from memory; `file` is what errors call it, and where `{file: ...}` is looked up from.
 */
int config_parse(struct config **out, const char *file, const void *data, size_t len,
                 const char *const *overrides, size_t n_overrides, struct undine_err *err);
void config_free(struct config *c);

/* The effective configuration as YAML, secrets masked.  Caller frees. */
char *config_show(const struct config *c);
/* The reference of every key as Markdown.  Caller frees. */
char *config_reference(void);

#endif
