/* version_history.h: what HISTORY tells of a directory of versions: which of them were published,
 * which were withdrawn, which the gate refused (docs/formats.md).
 *
 * One JSON object a line, oldest first; HISTORY.1 holds the lines before those of HISTORY.  What a
 * crash cut short is no line and is passed over, and so is an event of a newer program.  A number
 * may be told of several times; the last line counts:
 *   publish   `version` is published
 *   rollback  `version` is published again, and every version above it up to `from` is withdrawn
 *   refuse    `version` was written and not published
 * CURRENT alone says which one scorers take now; a crash may keep its last line from being written.
 * A version that is not told of was never published.  Any thread; no lock is needed to read. */
#ifndef UNDINE_LEARNER_MODEL_VERSION_HISTORY_H
#define UNDINE_LEARNER_MODEL_VERSION_HISTORY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define VERSION_HISTORY     "HISTORY"
#define VERSION_HISTORY_OLD "HISTORY.1"

enum version_standing {
    VERSION_UNPUBLISHED, /* not told of */
    VERSION_PUBLISHED,
    VERSION_WITHDRAWN, /* published once, and taken back */
    VERSION_REFUSED    /* by the gate */
};

struct version_history_entry {
    uint64_t number;
    enum version_standing standing;
};

struct version_history_rollback { /* at_ms 0 = there is none */
    uint64_t version, from;
    int64_t at_ms;
};

struct version_history {
    struct version_history_entry *entry; /* (n) ascending by number */
    size_t n, capacity;
    struct version_history_rollback rollback; /* the last one */
};

/* DIR's HISTORY; empty where there is none.  UNDINE_EIO, UNDINE_ENOMEM; then *out is released. */
int version_history_read(struct version_history *out, const char *dir, struct undine_err *err);
/* Of what the last `bytes` of it tell. */
int version_history_tail(struct version_history *out, const char *dir, size_t bytes,
                         struct undine_err *err);
void version_history_release(struct version_history *h); /* NULL-safe, and fine on a zeroed one */

enum version_standing version_history_standing(const struct version_history *h, uint64_t number);
/* The newest published and not withdrawn version below `below`, or 0. */
uint64_t version_history_before(const struct version_history *h, uint64_t below);

#endif
