/* loop.h: the state of the ingest loop, shared by its three files: ingest.c (poll, apply, run),
 * commit.c (what one WriteBatch holds) and restore.c (what a start finds). */
#ifndef UNDINE_INGEST_LOOP_H
#define UNDINE_INGEST_LOOP_H

#include "featurestore/arrivals.h"
#include "ingest/ingest.h"
#include "ingest/join.h"
#include "ingest/meta.h"
#include "ingest/order.h"
#include "ingest/samples.h"
#include "ingest/watermark.h"

#include <pthread.h>

/* The next events in their order, taken from the heap together so that their users are loaded by
 * one read. */
struct ingest_run {
    struct event **events;
    uint64_t *users;
    size_t n, at;
};
enum { INGEST_RUN_MAX = 1024 };

struct ingest {
    const struct schema *schema;
    const struct ingest_options *opt;
    struct store *store;
    struct users *users;
    struct example_log *log;
    struct source *source;
    struct decoder *decoder;

    struct arrivals *arrivals;
    struct join *join;
    struct order order;
    struct watermark watermark;
    struct samples samples;
    struct ingest_run run;
    struct source_message *messages; /* opt->loop.poll_max */

    /* as of now; meta.watermark_ms = everything below it is applied */
    struct meta_ingest meta;
    struct accounting accounting; /* of the last commit */
    bool dirty;                   /* something happened that is not committed */
    bool *moved;                  /* per partition: its position is not committed */
    bool caught_up;               /* every partition was at its end at the last poll */
    bool failed;  /* a step failed: memory and store disagree, only close is allowed */
    bool resumed; /* what the last run left to apply is applied */
    bool config_stored;
    bool topics_stored;
    struct meta_loss *losses; /* found at open, written by the first commit */
    uint32_t n_losses;

    int64_t *synced_next; /* per partition, for maintain */
    bool unsynced;        /* commits were written since the last sync */
    int64_t synced_ns, maintained_ns;
    struct writer value; /* scratch of commits */

    pthread_mutex_t lock; /* of status */
    struct ingest_status status;
};

/* Write everything since the last commit as one batch. */
int ingest_commit(struct ingest *in, struct undine_err *err);
/* Make the state of the last commit visible to ingest_status. */
void ingest_publish(struct ingest *in);
/* Sync the store where its time has come (or now), then tell the source. */
int ingest_sync(struct ingest *in, bool now, struct undine_err *err);

/* Load what the last commit left; refuses another configuration. */
int ingest_restore(struct ingest *in, struct undine_err *err);

#endif
