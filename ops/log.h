/* log.h: one line on stderr for each fact, as logfmt:
 *
 *   ts=2026-01-02T03:04:05.678Z level=info subsystem=ingest msg="caught up" lag=0
 *
 *   log_info("ingest", log_msg("caught up"), log_int("lag", lag));
 *
 * Only ops/ logs.  Lines that say the same (subsystem and message, digits aside) are limited to
 * LOG_BURST in LOG_PERIOD_MS; the next one that passes says how many were held back.  Debug lines
 * are written only for the contexts that log_debug_contexts switched on.  Any thread. */
#ifndef UNDINE_OPS_LOG_H
#define UNDINE_OPS_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { LOG_BURST = 10, LOG_PERIOD_MS = 10000, LOG_LINE_MAX = 4096 };

/* Syslog's numbers, which librdkafka uses too. */
enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

enum log_type { LOG_TYPE_TEXT, LOG_TYPE_INT, LOG_TYPE_REAL };
struct log_field {
    const char *key; /* NULL ends a list */
    enum log_type type;
    union {
        const char *text;
        int64_t integer;
        double real;
    };
};

static inline struct log_field log_str(const char *key, const char *text)
{
    return (struct log_field){.key = key, .type = LOG_TYPE_TEXT, .text = text};
}
static inline struct log_field log_msg(const char *text)
{
    return log_str("msg", text);
}
static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .type = LOG_TYPE_INT, .integer = value};
}
static inline struct log_field log_real(const char *key, double value)
{
    return (struct log_field){.key = key, .type = LOG_TYPE_REAL, .real = value};
}

#define LOG_FIELDS(...)           ((const struct log_field[]){__VA_ARGS__, {.key = NULL}})
#define log_error(subsystem, ...) log_line(LOG_LEVEL_ERROR, subsystem, LOG_FIELDS(__VA_ARGS__))
#define log_warn(subsystem, ...)  log_line(LOG_LEVEL_WARN, subsystem, LOG_FIELDS(__VA_ARGS__))
#define log_info(subsystem, ...)  log_line(LOG_LEVEL_INFO, subsystem, LOG_FIELDS(__VA_ARGS__))
#define log_debug(subsystem, ...) log_line(LOG_LEVEL_DEBUG, subsystem, LOG_FIELDS(__VA_ARGS__))
/* The first field is the message. */
void log_line(enum log_level level, const char *subsystem, const struct log_field *fields);
/* A text that is a message as a whole (daemon_log_fn, librdkafka's callback); payload is not used.
 */
void log_text(void *payload, int level, const char *subsystem, const char *text);

/* Where lines go (stderr until then) and the most talkative level written (info until then). */
void log_init(FILE *out, enum log_level highest);
/* Say what was held back and not yet told. */
void log_close(void);

/* Names of LOG_CONTEXTS, separated by commas, or "all".  UNDINE_EINVAL names an unknown one. */
int log_debug_contexts(const char *list, struct undine_err *err);
/* Is a debug line of this subsystem wanted?  Saves the work of making one. */
bool log_debugs(const char *subsystem);

/* Keep text as the last line of a terminal, below the log; NULL removes it (progress.h). */
void log_status_line(const char *text);

#endif
