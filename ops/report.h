/* report.h: what a run did, as one JSON object on one line (fields: docs/report.md). */
#ifndef UNDINE_OPS_REPORT_H
#define UNDINE_OPS_REPORT_H

#include "ops/daemon.h"

#include <stdio.h>

/* Resident set of this process now and at its highest, bytes. */
uint64_t report_rss_bytes(void);
uint64_t report_rss_bytes_max(void);

struct report_parts { /* what the status leaves out */
    struct trainer_slices slices;
    struct norms norms;
};
/* Write the report of a finished daemon. seconds is the wall time of the run. */
int report_write(FILE *out, const struct daemon_status *st, const struct report_parts *parts,
                 double seconds, struct undine_err *err);

#endif
