/* ingest.h: the ingest thread's loop: source, decode, order, join, one WriteBatch a commit.
 *
 * Everything right of `order` is a pure function of the ordered stream, so poll sizes, partition
 * interleaving, crashes and restarts do not show in the examples.  One path for live, replay and
 * backfill: only the source differs.  All functions are called by the ingest thread, except those
 * marked "any thread". */
#ifndef UNDINE_INGEST_INGEST_H
#define UNDINE_INGEST_INGEST_H

#include "base/restore_progress.h"
#include "base/schema.h"
#include "featurestore/example_log.h"
#include "featurestore/store.h"
#include "featurestore/users.h"
#include "ingest/accounting.h"
#include "ingest/decode.h"
#include "ingest/source.h"

#include <stdatomic.h>

enum ingest_emit { INGEST_EMIT_CLICK, INGEST_EMIT_DEADLINE };
enum ingest_join_by { INGEST_JOIN_ID, INGEST_JOIN_USER_ITEM };
enum ingest_late_click { INGEST_LATE_DROP, INGEST_LATE_CORRECT };
enum ingest_label { INGEST_LABEL_WINDOW, INGEST_LABEL_FNW };

struct ingest_options {
    struct restore_progress *progress; /* NULL = nobody asks; borrowed */
    struct {
        /* Watermark = min over active partitions of newest event time - lateness. */
        int64_t lateness_ms;
        /* Refuse events further ahead of their record's timestamp or the wall clock; -1 = off. */
        int64_t max_future_ms;
        /* Wall time after which a partition at its end stops holding the watermark back. */
        int64_t idle_timeout_ms;
        /* Events; beyond it only the partition that holds the watermark back is polled. */
        uint64_t waiting_max;
    } order;
    struct {
        enum ingest_join_by by;
        enum ingest_emit emit;
        enum ingest_late_click late_click;
        enum ingest_label label; /* FNW: negative_rate is 1 and emit CLICK */
        int64_t window_ms;       /* attribution window */
        int64_t memory_ms;       /* how long past the deadline an impression's id is still known */
        double negative_rate;    /* share of negatives kept, in (0, 1] */
        uint64_t negative_seed;
        uint64_t pending_max_bytes; /* of the impressions still known; beyond it UNDINE_EFULL after
                                       the commit; 0 = no bound */
    } join;
    struct {
        uint32_t poll_max; /* messages a poll */
        int poll_timeout_ms;
        /* Events + timers applied by one commit (cut at a time boundary). */
        uint32_t commit_actions_max;
        int sync_interval_ms;       /* WAL sync at least this often; 0 = every commit */
        uint64_t backlog_max;       /* examples the learner may be behind before ingest waits */
        uint32_t malformed_samples; /* newest malformed messages kept for inspect */
    } loop;
    uint32_t shard, n_shards;
    const char *const *accept_loss; /* "topic:partition" that may be gone from a topic made anew */
    size_t n_accept_loss;
    /* At the end of a bounded input move the watermark past everything, for good: such a store
     * takes no more input (UNDINE_ESTATE where there is some).  Without it the watermark stays
     * `lateness` behind the newest event. */
    bool close_windows;
    uint64_t config_digest;         /* of what may not change on an existing store */
    const char *config_digest_text; /* the keys and values it is made of, one "key=value" a line */
};

/* Does the store belong to this configuration, and can its positions be read?  1 = yes, 0 = it is
 * new, UNDINE_ESTATE names the key that changed, UNDINE_EVERSION and UNDINE_ECORRUPT the value.
 * ingest_open asks too; to be asked before a source is opened, which may wait. */
int ingest_check_config(struct store *store, const struct ingest_options *opt,
                        struct undine_err *err);

struct ingest;
/* Check the configuration, restore the waiting
 * and pending events.  A partition whose source does not go on where the store says is an accepted
 * loss, and recorded.  UNDINE_ELOSS where a topic has other numbers of partitions than when it was
 * read last: fewer, each of which may be accepted, or under shards any other number.  Borrows all
 * of its arguments. */
int ingest_open(struct ingest **out, const struct schema *schema, const struct ingest_options *opt,
                struct store *store, struct users *users, struct example_log *log,
                struct source *source, struct decoder *decoder, struct undine_err *err);
void ingest_close(struct ingest *in);

/* source_position_fn over the store's meta, to open a source before the loop; payload is the struct
 * store. */
int ingest_position(void *payload, const char *topic, int32_t partition,
                    struct source_position *out);

/* Run until *stop, until a bounded source is done (all windows closed where asked), or an error.
 * Leaves everything committed and synced. */
int ingest_run(struct ingest *in, const atomic_bool *stop, struct undine_err *err);
/* One turn of the loop, for tests: poll, apply, commit.  1 = more to do, 0 = bounded source done.
 * After an error only ingest_close is allowed: restart is recovery. */
int ingest_step(struct ingest *in, struct undine_err *err);

/* A consistent copy taken at the last commit.  Any thread. */
struct ingest_status {
    struct ingest_counters counters;
    struct accounting accounting; /* as it was checked at that commit */
    struct decode_stats decode;
    struct source_stats source;
    struct users_stats users;
    uint64_t commit;
    int64_t watermark_ms, event_time_ms; /* newest event time seen */
    uint64_t lag_messages;
    uint64_t waiting_bytes;
    uint64_t pending_bytes;
    uint64_t arrivals_trimmed; /* blocks since open */
    uint32_t partitions, partitions_idle;
    bool caught_up; /* every partition was at its end at the last poll */
};
void ingest_status(struct ingest *in, struct ingest_status *out);

#endif
