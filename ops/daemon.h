/* daemon.h: the whole chain put together: source, ingest, store, learner, publisher.
 *
 * `run`, `replay` and `demo` are this one assembly with another source and another end, so what a
 * replay proves holds for the live daemon.  Three threads carry it:
 *   ingest     source -> store, one commit after the other        (owns users, order, join)
 *   learner    example log -> model, batch after batch            (owns the trainer)
 *   publisher  snapshot -> version directory, CURRENT, retention  (owns nothing that learns)
 * The caller's thread starts, watches and stops them.  Learner and publisher meet in a one-slot
 * mailbox: the learner makes a snapshot only when the slot is empty, so fsync never stalls
 * training. */
#ifndef UNDINE_OPS_DAEMON_H
#define UNDINE_OPS_DAEMON_H

#include "configs/config.h"
#include "learner/norms.h"
#include "learner/version.h"
#include "ops/live_users.h"
#include "ops/publish_gate.h"
#include "ops/pause.h"
#include "ops/version_line.h"

#include <stdbool.h>

typedef void (*daemon_log_fn)(void *payload, int level, const char *subsystem, const char *text);

struct daemon_options {
    const struct config *config;
    const char *state_dir;     /* store/ and versions/ live in it; created where missing */
    const char *const *inputs; /* files; NULL = Kafka topics of the configuration */
    size_t n_inputs;
    int64_t from_ms, to_ms; /* Kafka: records of this time on, and before; -1 = all */
    bool until_end;         /* bounded: stop when everything there is now has been read */
    bool keep_open;         /* at the end leave open windows waiting */
    bool publish;           /* write versions while running; false: the state is thrown away at
                               the end, where one version is written all the same */
    bool freeze_versions; /* the frozen metrics are of the newest version, not of a block */
    const char *const *accept_loss;
    size_t n_accept_loss;
    struct restore_lanes *progress; /* how far daemon_open is; NULL = nobody asks; borrowed */
    daemon_log_fn log; /* any thread; NULL = silent */
    void *log_payload;
};

struct daemon_status { /* a copy; every field as of its owner's last step */
    struct ingest_status ingest;
    struct trainer_metrics learner;
    struct version_info version; /* newest written; number 0 = none yet */
    uint64_t versions_published, versions_failed;
    uint64_t version_published; /* the published one's number, whoever published it; 0 = none */
    bool publication_held;
    uint64_t versions_held; /* written by this process while publication was on hold */
    struct publish_gate_status gate;
    uint64_t rollbacks, resumes, rollbacks_failed; /* by calibration */
    struct version_line_status line; /* deltas and merges; zeros without */
    struct pause_status pause;       /* of the learner, for copies of what it knows */
    uint64_t versions_skipped; /* at start: not usable, an older one was taken */
    uint64_t examples_trimmed; /* removed from the example log: its oldest example's number */
    int64_t version_age_ms; /* since the newest was written, -1 = none */
    uint64_t events_now,
        examples_now; /* of this process: totals count from the start of the stream */
    uint64_t backlog; /* examples in the log that are not learned */
    int64_t uptime_ms;
    bool ready;    /* running, and the source answers */
    bool guarded;  /* a guard has stopped the learner; ingest goes on */
    bool finished; /* every thread has left */
};

struct daemon;
/* Open everything and restore: newest valid version plus the example log from there.  UNDINE_EAGAIN
 * where no broker answers: may be called again. */
int daemon_open(struct daemon **out, const struct daemon_options *opt, struct undine_err *err);
/* Start the threads. */
int daemon_start(struct daemon *d, struct undine_err *err);
/* Wait until everything is done or timeout_ms is over.  1 = finished. */
int daemon_wait(struct daemon *d, int timeout_ms);
/* Ask for a clean end: finish the commit, write a version.  Async-signal-safe, any thread. */
void daemon_stop(struct daemon *d);
/* Join the threads, write the last version.  UNDINE_OK, or the first error of any thread. */
int daemon_finish(struct daemon *d, struct undine_err *err);
void daemon_close(struct daemon *d);

void daemon_status(struct daemon *d, struct daemon_status *out); /* any thread */
void daemon_slices(struct daemon *d, struct trainer_slices *out); /* any thread */
void daemon_norms(struct daemon *d, struct norms *out); /* of the newest version; any thread */
bool daemon_healthy(struct daemon *d); /* no thread has failed; any thread, cheap */
/* Where the users that it knows are read; until daemon_close. */
struct live_users daemon_live_users(const struct daemon *d);
const char *daemon_versions_dir(const struct daemon *d);

#endif
