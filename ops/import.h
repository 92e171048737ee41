/* import.h: published data sets and files of one's own become event lines (docs/import.md).
 *
 * An importer hands its lines to the writer and leaves releasing what still waits to the caller.
 * Bad rows are errors with file and line: an import is repeated, not repaired.  One thread at a
 * time. */
#ifndef UNDINE_OPS_IMPORT_H
#define UNDINE_OPS_IMPORT_H

#include "ops/event_writer.h"

#include <stdint.h>

/* KuaiRand-Pure: log, history, user features, video features. */
struct import_kuairand {
    const char *log, *history, *users, *videos;
    int64_t click_delay_ms; /* from the impression to its click */
    bool wide; /* more fields of candidate and context, and every video shown as a behaviour */
};
struct import_kuairand_counts {
    uint64_t users_without_profile, videos_unknown; /* rows of the log; entries of the history */
};
int import_kuairand(const struct import_kuairand *opt, struct event_writer *w,
                    struct import_kuairand_counts *counts, struct undine_err *err);

/* Amazon reviews (user, item, cate, timestamp in seconds) as a stream of impressions: every
 * review but a user's first, and one sampled item that the user had not reviewed. */
struct import_amazon {
    const char *input;
    int64_t click_delay_ms;
};
int import_amazon(const struct import_amazon *opt, struct event_writer *w, struct undine_err *err);

/* Any CSV by a mapping in YAML (import_mapping.h). */
struct import_csv {
    const char *mapping, *input;
    bool sort; /* hold all lines and sort them by time */
};
struct import_csv_counts {
    uint64_t rows, skipped; /* rows whose kind the mapping does not name */
};
int import_csv(const struct import_csv *opt, struct event_writer *w,
               struct import_csv_counts *counts, struct undine_err *err);

/* Integer of a whole text, as rows hold them. */
bool import_integer(const char *text, int64_t *out);

#endif
