#include "ingest/ingest.h"

#include "base/clock.h"
#include "ingest/loop.h"

#include <stdlib.h>

enum { BACKLOG_WAIT_MS = 100 };

/* ---- open and close ---- */

static int ingest_alloc(struct ingest *in, struct undine_err *err)
{
    size_t n = (size_t)in->source->n_partitions + 1;
    in->moved = calloc(n, sizeof *in->moved);
    in->synced_next = calloc(n, sizeof *in->synced_next);
    in->messages = calloc(in->opt->loop.poll_max, sizeof *in->messages);
    in->run.events = calloc(INGEST_RUN_MAX, sizeof *in->run.events);
    in->run.users = calloc(INGEST_RUN_MAX, sizeof *in->run.users);
    if (in->moved == NULL || in->synced_next == NULL || in->messages == NULL ||
        in->run.events == NULL || in->run.users == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the ingest loop");
    }
    int rc = samples_init(&in->samples, in->opt->loop.malformed_samples, err);
    if (rc == UNDINE_OK) {
        rc = watermark_init(&in->watermark, in->source->n_partitions, in->opt->order.lateness_ms,
                            in->opt->order.idle_timeout_ms, in->opt->close_windows, err);
    }
    return rc;
}

static void check_options(const struct ingest_options *opt)
{
    UNDINE_ASSERT(opt->order.lateness_ms >= 0 && opt->order.lateness_ms < ORDER_TIME_MAX);
    UNDINE_ASSERT(opt->order.idle_timeout_ms >= 0 &&
                  opt->order.idle_timeout_ms <= INT64_MAX / 1000000);
    UNDINE_ASSERT(opt->order.max_future_ms < ORDER_TIME_MAX);
    UNDINE_ASSERT(opt->order.waiting_max > 0);
    UNDINE_ASSERT(opt->join.label != INGEST_LABEL_FNW ||
                  (opt->join.negative_rate == 1.0 && opt->join.emit == INGEST_EMIT_CLICK));
    UNDINE_ASSERT(opt->loop.poll_max > 0 && opt->loop.poll_max <= INT32_MAX);
    UNDINE_ASSERT(opt->loop.commit_actions_max > 0);
    UNDINE_ASSERT(opt->loop.sync_interval_ms >= 0);
}

int ingest_open(struct ingest **out, const struct schema *schema, const struct ingest_options *opt,
                struct store *store, struct users *users, struct example_log *log,
                struct source *source, struct decoder *decoder, struct undine_err *err)
{
    check_options(opt);
    struct ingest *in = calloc(1, sizeof *in);
    if (in == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the ingest loop");
    }
    in->schema = schema;
    in->opt = opt;
    in->store = store;
    in->users = users;
    in->log = log;
    in->source = source;
    in->decoder = decoder;
    in->meta = (struct meta_ingest){
        .watermark_ms = INT64_MIN, .event_time_ms = INT64_MIN, .first_ms = JOIN_NO_FIRST};
    order_init(&in->order);
    writer_init(&in->value);
    pthread_mutex_init(&in->lock, NULL);
    int rc = ingest_alloc(in, err);
    if (rc == UNDINE_OK) {
        rc = arrivals_open(&in->arrivals, store, schema, opt->shard, err);
    }
    if (rc == UNDINE_OK) {
        rc = join_open(&in->join, schema, opt, in->arrivals, users, log, &in->meta.counters, err);
    }
    if (rc == UNDINE_OK) {
        rc = ingest_restore(in, err);
    }
    if (rc < 0) {
        ingest_close(in);
        return rc;
    }
    ingest_publish(in);
    *out = in;
    return UNDINE_OK;
}

void ingest_close(struct ingest *in)
{
    if (in == NULL) {
        return;
    }
    join_close(in->join);
    order_release(&in->order);
    arrivals_close(in->arrivals);
    samples_release(&in->samples);
    watermark_release(&in->watermark);
    writer_release(&in->value);
    free(in->run.events);
    free(in->run.users);
    free(in->messages);
    free(in->losses);
    free(in->synced_next);
    free(in->moved);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

void ingest_status(struct ingest *in, struct ingest_status *out)
{
    pthread_mutex_lock(&in->lock);
    *out = in->status;
    pthread_mutex_unlock(&in->lock);
}

/* ---- in: messages become waiting events ---- */

static int take_malformed(struct ingest *in, uint32_t p, const struct source_message *m,
                          enum decode_reason reason, struct undine_err *err)
{
    const struct source_partition *part = &in->source->partitions[p];
    const char *name = decode_reason_name(reason);
    in->meta.counters.malformed++; /* DROP(message_malformed) */
    in->meta.counters.malformed_by_reason[reason]++;
    struct meta_malformed sample = {
        .number = in->meta.counters.malformed,
        .offset = m->offset,
        .timestamp_ms = m->timestamp_ms,
        .partition = part->partition,
        .payload_full_len = m->payload_len > UINT32_MAX ? UINT32_MAX : (uint32_t)m->payload_len,
        .topic = part->topic,
        .topic_len = strlen(part->topic),
        .reason = name,
        .reason_len = strlen(name),
        .payload = m->payload,
        .payload_len = m->payload_len};
    return samples_add(&in->samples, &sample, err);
}

/* One bad clock must not move the watermark past everybody's events.  "Now" is when the record was
 * written, where the source knows that: a replay then refuses what the live run refused. */
static bool too_far_ahead(const struct ingest *in, int64_t time_ms, int64_t written_ms,
                          int64_t now_ms)
{
    int64_t max_future_ms = in->opt->order.max_future_ms;
    now_ms = written_ms > 0 && written_ms < now_ms ? written_ms : now_ms;
    return time_ms >= ORDER_TIME_MAX || (max_future_ms >= 0 && time_ms > now_ms + max_future_ms);
}

static int take_message(struct ingest *in, uint32_t p, const struct source_message *m,
                        int64_t now_ms, struct undine_err *err)
{
    struct ingest_counters *c = &in->meta.counters;
    uint64_t *words = arrivals_reserve(in->arrivals, err);
    if (words == NULL) {
        return UNDINE_ENOMEM;
    }
    c->events++;
    uint32_t n_words = 0;
    enum decode_reason reason =
        decoder_decode(in->decoder, m->payload, m->payload_len,
                       in->source->partitions[p].topic_index, words, &n_words);
    if (reason == DECODE_OK && n_words == 0) {
        c->filtered++; /* DROP(behavior_undeclared) */
        return UNDINE_OK;
    }
    const struct event *decoded = (const struct event *)words;
    if (reason == DECODE_OK && too_far_ahead(in, decoded->time_ms, m->timestamp_ms, now_ms)) {
        reason = DECODE_FUTURE;
    }
    if (reason != DECODE_OK) {
        return take_malformed(in, p, m, reason, err);
    }
    watermark_seen(&in->watermark, p, decoded->time_ms);
    if (decoded->time_ms > in->meta.event_time_ms) {
        in->meta.event_time_ms = decoded->time_ms;
    }
    if (decoded->time_ms < in->meta.watermark_ms) {
        c->late++; /* DROP(event_late) */
        c->late_by_kind[decoded->kind]++;
        return UNDINE_OK;
    }
    c->waiting++;
    return order_push(&in->order, p, arrivals_keep(in->arrivals, n_words), err);
}

/* An earlier run closed the stream: whatever comes now would be late without exception. */
static int refuse_after_end(const struct ingest *in, uint32_t p, struct undine_err *err)
{
    const struct source_partition *part = &in->source->partitions[p];
    return undine_err_set(
        err, UNDINE_ESTATE,
        "the store's input was ended and all its windows closed, but `%s` partition %d has more "
        "(up to offset %lld); to go on later, end a run with --keep-open; this input needs an "
        "empty state directory",
        part->topic, part->partition, (long long)part->position.next);
}

/* Poll one partition; returns the number of messages. */
static int poll_partition(struct ingest *in, uint32_t p, uint32_t n_max, int timeout_ms,
                          struct undine_err *err)
{
    const struct source_partition *part = &in->source->partitions[p];
    int64_t before = part->position.next;
    int n = source_poll(in->source, p, in->messages, n_max, timeout_ms, err);
    if (n < 0) {
        return n;
    }
    if (n > 0 && in->meta.watermark_ms == WATERMARK_END) {
        return refuse_after_end(in, p, err);
    }
    int64_t now_ms = clock_realtime_ms();
    for (int k = 0; k < n; k++) {
        int rc = take_message(in, p, &in->messages[k], now_ms, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (n > 0 || part->position.next != before) {
        in->moved[p] = true;
        in->dirty = true;
    }
    watermark_polled(&in->watermark, p, (uint32_t)n, part->at_end, part->done,
                     clock_monotonic_ns());
    return n;
}

static bool all_at_end(const struct ingest *in)
{
    for (uint32_t p = 0; p < in->source->n_partitions; p++) {
        if (!in->source->partitions[p].at_end && !in->source->partitions[p].done) {
            return false;
        }
    }
    return true;
}

/* Poll every partition once for what it has at hand, the furthest behind first, until poll_max
 * messages are read.  Where too many events wait already, stop after the partition that holds them
 * back.  *behind is that one (UINT32_MAX = none is active); returns what is left of poll_max. */
static int poll_round(struct ingest *in, uint32_t *behind, struct undine_err *err)
{
    const uint32_t *by_time = watermark_order(&in->watermark);
    bool full = in->order.n >= in->opt->order.waiting_max;
    int left = (int)in->opt->loop.poll_max;
    *behind = UINT32_MAX;
    for (uint32_t k = 0; k < in->watermark.n && left > 0; k++) {
        uint32_t p = by_time[k];
        if (in->watermark.partitions[p].done) {
            continue;
        }
        if (full && *behind != UINT32_MAX) {
            break;
        }
        if (*behind == UINT32_MAX && watermark_active(&in->watermark, p)) {
            *behind = p;
        }
        int n = poll_partition(in, p, (uint32_t)left, 0, err);
        if (n < 0) {
            return n;
        }
        left -= n;
    }
    return left;
}

static int gather(struct ingest *in, struct undine_err *err)
{
    int poll_max = (int)in->opt->loop.poll_max;
    uint32_t behind = UINT32_MAX;
    int left = poll_round(in, &behind, err);
    for (uint32_t p = 0; p < in->watermark.n && behind == UINT32_MAX; p++) {
        behind = in->watermark.partitions[p].done ? UINT32_MAX : p; /* all idle: any will do */
    }
    if (left == poll_max && behind != UINT32_MAX && !in->watermark.partitions[behind].done) {
        /* Nothing at hand: wait where it is needed most. */
        int n =
            poll_partition(in, behind, in->opt->loop.poll_max, in->opt->loop.poll_timeout_ms, err);
        left = n < 0 ? n : left - n;
    }
    if (left < 0) {
        return left;
    }
    in->caught_up = left == poll_max && all_at_end(in);
    return UNDINE_OK;
}

/* ---- on: events and deadlines are applied in the order of time ---- */

static int fill_run(struct ingest *in, int64_t target_ms, struct undine_err *err)
{
    struct ingest_run *run = &in->run;
    size_t n_users = 0;
    run->n = order_take(&in->order, target_ms, run->events, INGEST_RUN_MAX);
    run->at = 0;
    for (size_t i = 0; i < run->n; i++) {
        const struct event *e = run->events[i];
        join_ahead(in->join, e);
        if (e->kind != EVENT_CLICK) { /* a click's user is pinned by its impression */
            run->users[n_users++] = e->user;
        }
    }
    return n_users == 0 ? UNDINE_OK : users_prefetch(in->users, run->users, n_users, err);
}

/* What comes next: *e is the event, or NULL for a deadline; *time_ms its time, or target_ms where
 * nothing below that is left.  At equal times the event comes first. */
static int next_action(struct ingest *in, int64_t target_ms, struct event **e, int64_t *time_ms,
                       struct undine_err *err)
{
    struct ingest_run *run = &in->run;
    if (run->at == run->n && in->order.n > 0) {
        int rc = fill_run(in, target_ms, err);
        if (rc < 0) {
            return rc;
        }
    }
    int64_t deadline_ms = join_deadline(in->join);
    *e = run->at < run->n ? run->events[run->at] : NULL;
    if (*e != NULL && (*e)->time_ms > deadline_ms) {
        *e = NULL;
    }
    *time_ms = *e != NULL ? (*e)->time_ms : deadline_ms;
    if (*time_ms > target_ms) {
        *time_ms = target_ms;
    }
    return UNDINE_OK;
}

/* Apply what lies below target_ms, but stop at a change of time after commit_actions_max actions.
 * Sets the watermark to what was reached. */
static int apply_until(struct ingest *in, int64_t target_ms, struct undine_err *err)
{
    int64_t last_ms = in->meta.watermark_ms;
    for (uint32_t actions = 0;; actions++) {
        struct event *e = NULL;
        int64_t time_ms = target_ms;
        int rc = next_action(in, target_ms, &e, &time_ms, err);
        if (rc < 0) {
            return rc;
        }
        if (time_ms >= target_ms) {
            last_ms = target_ms;
            break;
        }
        if (actions >= in->opt->loop.commit_actions_max && time_ms > last_ms) {
            last_ms++;
            break;
        }
        last_ms = time_ms;
        if (e != NULL) {
            in->run.at++;
            in->meta.counters.waiting--;
            rc = join_apply(in->join, e, err);
        } else {
            rc = join_fire(in->join, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    join_expire(in->join, last_ms);
    in->dirty = in->dirty || last_ms != in->meta.watermark_ms;
    in->meta.watermark_ms = last_ms;
    return UNDINE_OK;
}

/* Move the watermark to where the partitions let it, in as many commits as that takes. */
static int advance(struct ingest *in, struct undine_err *err)
{
    int64_t target_ms = watermark_target(&in->watermark, in->meta.watermark_ms);
    do {
        int rc = apply_until(in, target_ms, err);
        if (rc == UNDINE_OK && in->dirty) {
            rc = ingest_commit(in, err);
        }
        if (rc == UNDINE_OK) {
            rc = ingest_sync(in, false, err);
        }
        if (rc < 0) {
            return rc;
        }
    } while (in->meta.watermark_ms < target_ms);
    ingest_publish(in);
    return UNDINE_OK;
}

/* ---- the loop ---- */

static int step(struct ingest *in, struct undine_err *err)
{
    if (!in->resumed) {
        /* The last run may have been cut between the commits of one advance: finish that before
         * anything new is read, as it would have done. */
        int rc = advance(in, err);
        if (rc < 0) {
            return rc;
        }
        in->resumed = true;
    }
    if (!example_log_wait_room(in->log, in->opt->loop.backlog_max, BACKLOG_WAIT_MS)) {
        int rc = ingest_sync(in, false, err);
        return rc < 0 ? rc : 1;
    }
    int rc = gather(in, err);
    if (rc == UNDINE_OK) {
        rc = advance(in, err);
    }
    if (rc < 0) {
        return rc;
    }
    return watermark_done(&in->watermark) ? 0 : 1;
}

int ingest_step(struct ingest *in, struct undine_err *err)
{
    UNDINE_ASSERT(!in->failed);
    int rc = step(in, err);
    in->failed = rc < 0;
    return rc;
}

int ingest_run(struct ingest *in, const atomic_bool *stop, struct undine_err *err)
{
    int rc = 1;
    while (rc > 0 && !atomic_load(stop) && !example_log_stopped(in->log)) {
        rc = ingest_step(in, err);
    }
    return rc < 0 ? rc : ingest_sync(in, true, err);
}
