/* version_line.h: the line of versions that a daemon writes: whole ones, deltas on them, merges.
 *
 * A delta is written on the newest version, which is kept open: old rows are looked up in it, and
 * what was written is opened, and so checked, before anything is written on it.  Where a delta
 * could not be written the line is broken, and the next version has to be a whole one.
 *
 * When the newest whole version is old, or the chain long, a thread of its own merges the newest
 * delta and its chain into a whole version.  The one that owns the line commits it between two
 * writes (version_line_tend) and goes on upon it.  A merge that fails is counted and tried again
 * after a pause; the chain grows meanwhile, and past CHAIN_STOP the next version has to be a whole
 * one.  Publisher thread. */
#ifndef UNDINE_OPS_VERSION_LINE_H
#define UNDINE_OPS_VERSION_LINE_H

#include "learner/version.h"

struct version_line_options {
    const char *dir;              /* borrowed */
    uint64_t metrics_window;      /* of the learner */
    int64_t merge_ns;             /* a merge is due so long after the one before */
    uint32_t chain_max;           /* or when a version needs so many others */
    struct version_chain *newest; /* open, the one that was restored; taken over; NULL = none */
};

struct version_line_status {
    uint64_t deltas, delta_bytes; /* written by this process */
    uint64_t merges, merges_failed;
    double merge_seconds; /* the newest one's */
    uint32_t chain;       /* versions that the newest needs, itself included; 0 = none is open */
};

struct version_line;
/* Removes what a crash left of a merge.  The chain is taken over where it fails, too. */
int version_line_open(struct version_line **out, const struct version_line_options *opt,
                      struct undine_err *err);
void version_line_close(struct version_line *l); /* stops a merge; NULL-safe */

/* Can the next version be a delta?  Any thread. */
bool version_line_unbroken(const struct version_line *l);
/* Write the snapshot's version, a delta where it is one, unpublished, as version_write
 * does.  UNDINE_ESTATE for a delta on a broken line. */
int version_line_write(struct version_line *l, struct snapshot *s,
                       const struct version_extra *extra, struct version_info *out,
                       struct undine_err *err);
/* Start a merge where one is due, finish one that is done.  1 = a whole version was committed into
 * *out, 0 = nothing, < 0 = a merge failed. */
int version_line_tend(struct version_line *l, int64_t now_ns, int64_t created_ms,
                      struct version_info *out, struct undine_err *err);
bool version_line_merging(const struct version_line *l);
void version_line_status(const struct version_line *l, struct version_line_status *out);

#endif
