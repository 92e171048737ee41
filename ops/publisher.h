/* publisher.h: the thread that turns snapshots into versions on disk.
 *
 * With deltas it writes them on the newest version and has them merged into whole versions beside
 * (version_line.h); where a delta cannot be next it says so (publisher_wants_whole).
 *
 * It owns a snapshot from publisher_give on.  Before a version gets its name the store is synced,
 * so that nothing is announced which a power loss could take back; after it, old versions go and
 * the example log may be trimmed below the oldest one that is kept.  A version that a crash left
 * unpublished is published at open.  A version that cannot be written is counted and told, and
 * training goes on; the next one is tried when it is due. */
#ifndef UNDINE_OPS_PUBLISHER_H
#define UNDINE_OPS_PUBLISHER_H

#include "featurestore/example_log.h"
#include "learner/norms.h"
#include "learner/version.h"
#include "ops/publish_gate.h"
#include "ops/version_line.h"

struct publisher_options {
    const char *versions_dir; /* borrowed */
    struct store *store;
    struct example_log *log;
    struct version_info newest; /* the valid one that was restored; number 0 = none.  What lies in
                                   the directory and did not validate does not count as written */
    struct gate_options gate;
    const struct norms *norms; /* of the newest, read at open; NULL = none */
    uint32_t shard;
    struct version_keep keep;
    bool deltas;
    struct version_line_options line; /* deltas; dir is set by publisher_open.  Its chain is taken
                                         over, where opening fails, too */
    uint64_t config_digest;
    /* Told of every version that could not be written; on the publisher's thread. */
    void (*failed)(void *payload, const struct undine_err *why); /* NULL = nobody */
    /* And of every one that the gate is against, published in spite of it (`warn`) or refused. */
    void (*against)(void *payload, const struct version_info *info, const char *why); /* or NULL */
    void *told_payload;
    /* What is done with a snapshot in the end; NULL = snapshot_free.  On the publisher's thread. */
    void (*finished)(void *payload, struct snapshot *s);
    void *finished_payload;
};

struct publisher_status {
    struct version_info newest; /* number 0 = none */
    uint64_t published, failed;
    uint64_t held;           /* written and not published: publication is on hold */
    uint64_t last_published; /* the number of what was given last, 0 = it was not published */
    struct publish_gate_status gate;
    struct version_line_status line;
    struct undine_err last_error;
};

struct publisher;
/* Starts the thread. */
int publisher_open(struct publisher **out, const struct publisher_options *opt,
                   struct undine_err *err);
void publisher_close(struct publisher *p); /* finishes what was given */

bool publisher_idle(struct publisher *p);
/* One slot: the publisher must be idle.  Takes the snapshot. */
void publisher_give(struct publisher *p, struct snapshot *s, bool publish);
/* Must the next snapshot be a whole one?  Any thread. */
bool publisher_wants_whole(const struct publisher *p);
/* Until idle; returns the error of the last version written, if it failed. */
int publisher_wait(struct publisher *p, struct undine_err *err);
/* trained_seq of the newest version, UINT64_MAX = none. */
uint64_t publisher_newest_seq(struct publisher *p);
void publisher_norms(struct publisher *p, struct norms *out); /* of the newest; any thread */
void publisher_status(struct publisher *p, struct publisher_status *out); /* any thread */

#endif
