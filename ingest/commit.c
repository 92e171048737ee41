#include "ingest/loop.h"

#include "base/clock.h"
#include "base/fault.h"

#include <string.h>

enum { MAINTAIN_INTERVAL_NS = 1000000000 };

/* Put in->value under this name, and clear it for the next. */
static int put_meta(struct ingest *in, const char *name, struct undine_err *err)
{
    if (in->value.bad) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for meta `%s`", name);
    }
    store_put(in->store, STORE_META, name, strlen(name), in->value.data, in->value.len);
    writer_clear(&in->value);
    return UNDINE_OK;
}

static int stage_positions(struct ingest *in, struct undine_err *err)
{
    for (uint32_t p = 0; p < in->source->n_partitions; p++) {
        if (!in->moved[p]) {
            continue;
        }
        const struct source_partition *part = &in->source->partitions[p];
        char name[META_NAME_MAX];
        meta_position_name(name, part->topic, part->partition);
        meta_position_encode(
            &in->value,
            &(struct meta_position){part->position, in->watermark.partitions[p].newest_ms});
        int rc = put_meta(in, name, err);
        if (rc < 0) {
            return rc;
        }
    }
    return UNDINE_OK;
}

static int stage_config(struct ingest *in, struct undine_err *err)
{
    const char *text = in->opt->config_digest_text == NULL ? "" : in->opt->config_digest_text;
    meta_config_encode(&in->value,
                       &(struct meta_config){in->opt->config_digest, text, strlen(text)});
    return put_meta(in, META_CONFIG, err);
}

static int stage_topics(struct ingest *in, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (size_t t = 0; t < in->source->n_topics && rc == UNDINE_OK; t++) {
        char name[META_NAME_MAX];
        meta_topic_name(name, in->source->topics[t].name);
        meta_topic_encode(&in->value, &(struct meta_topic){in->source->topics[t].n_partitions});
        rc = put_meta(in, name, err);
    }
    return rc;
}

static int stage_losses(struct ingest *in, struct undine_err *err)
{
    for (uint32_t k = 0; k < in->n_losses; k++) {
        char name[META_NAME_MAX];
        FAULT("loss.before_record");
        meta_loss_name(name, in->meta.counters.losses - in->n_losses + k);
        meta_loss_encode(&in->value, &in->losses[k]);
        int rc = put_meta(in, name, err);
        if (rc < 0) {
            return rc;
        }
        if (in->losses[k].source_next < 0) { /* there is nowhere to go on */
            meta_position_name(name, in->losses[k].topic, in->losses[k].partition);
            store_delete(in->store, STORE_META, name, strlen(name));
        }
    }
    return UNDINE_OK;
}

static int stage_meta(struct ingest *in, struct undine_err *err)
{
    int rc = stage_positions(in, err);
    if (rc == UNDINE_OK && !in->config_stored) {
        rc = stage_config(in, err);
    }
    if (rc == UNDINE_OK && !in->topics_stored) {
        rc = stage_topics(in, err);
    }
    if (rc == UNDINE_OK) {
        rc = stage_losses(in, err);
    }
    if (rc == UNDINE_OK) {
        samples_stage(&in->samples, in->store);
        meta_ingest_encode(&in->value, &in->meta);
        rc = put_meta(in, META_INGEST, err);
    }
    return rc;
}

void ingest_publish(struct ingest *in)
{
    struct ingest_status s = {.counters = in->meta.counters,
                              .accounting = in->accounting,
                              .decode = *decoder_stats(in->decoder),
                              .source = in->source->stats,
                              .users = *users_stats(in->users),
                              .commit = in->meta.commit,
                              .watermark_ms = in->meta.watermark_ms,
                              .event_time_ms = in->meta.event_time_ms,
                              .waiting_bytes = order_bytes(&in->order),
                              .pending_bytes = join_bytes(in->join),
                              .arrivals_trimmed = arrivals_trimmed(in->arrivals),
                              .partitions = in->source->n_partitions,
                              .partitions_idle = watermark_idle_count(&in->watermark),
                              .caught_up = in->caught_up};
    for (uint32_t p = 0; p < in->source->n_partitions; p++) {
        const struct source_partition *part = &in->source->partitions[p];
        if (part->high > part->position.next && part->position.next >= 0) {
            s.lag_messages += (uint64_t)(part->high - part->position.next);
        }
    }
    pthread_mutex_lock(&in->lock);
    in->status = s;
    pthread_mutex_unlock(&in->lock);
}

/* Impressions must be known for their window, so nothing may go to make room and waiting would not
 * make any: the daemon stops, with all of it committed, and goes on under a larger bound. */
static int check_pending(const struct ingest *in, struct undine_err *err)
{
    uint64_t bytes = join_bytes(in->join), max = in->opt->join.pending_max_bytes;
    if (max == 0 || bytes <= max) {
        return UNDINE_OK;
    }
    return undine_err_set(
        err, UNDINE_EFULL,
        "the impressions of one attribution window hold %llu bytes, more than "
        "`join.pending_max`, which is %llu: raise it, or shorten `join.window` or "
        "`join.memory` on a new state",
        (unsigned long long)bytes, (unsigned long long)max);
}

/* Before anything is written: a commit whose sums do not come out would carry the mistake on for
 * good.  What is stored closes, so a restart goes on from there.  A build with fault points stops
 * on the spot, where a debugger still sees what led here. */
static int check_accounting(struct ingest *in, struct undine_err *err)
{
    accounting_of(&in->accounting, &in->meta.counters, in->opt,
                  in->order.n + (in->run.n - in->run.at), example_log_next(in->log));
    if (accounting_closes(&in->accounting)) {
        return UNDINE_OK;
    }
#ifdef UNDINE_FAULTS
    UNDINE_ASSERT(accounting_closes(&in->accounting));
#endif
    ingest_publish(in); /* the gaps are metrics */
    (void)accounting_check(&in->accounting, err);
    return undine_err_prefix(err, "commit %llu is not written, the one before it stands",
                             (unsigned long long)in->meta.commit + 1);
}

int ingest_commit(struct ingest *in, struct undine_err *err)
{
    int rc = check_accounting(in, err);
    if (rc < 0) {
        return rc;
    }
    in->meta.commit++;
    in->meta.first_ms = join_first(in->join);
    int64_t watermark_ms = in->meta.watermark_ms;
    rc =
        arrivals_stage(in->arrivals, in->meta.commit, join_keep_after(in->join, watermark_ms), err);
    if (rc == UNDINE_OK) {
        rc = users_stage(in->users, err);
    }
    if (rc == UNDINE_OK) {
        rc = example_log_stage(in->log, watermark_ms, err);
    }
    if (rc == UNDINE_OK) {
        rc = stage_meta(in, err);
    }
    if (rc < 0) {
        return rc;
    }
    FAULT("ingest.before_write");
    rc = store_write(in->store, err);
    if (rc < 0) {
        return rc;
    }
    FAULT("ingest.after_write");
    arrivals_commit(in->arrivals);
    users_commit(in->users);
    example_log_commit(in->log);
    UNDINE_ASSERT(example_log_head(in->log) == example_log_next(in->log));
    samples_commit(&in->samples);
    memset(in->moved, 0, in->source->n_partitions * sizeof *in->moved);
    in->config_stored = in->topics_stored = true;
    if (in->n_losses > 0) {
        FAULT("loss.after_record");
    }
    in->n_losses = 0;
    in->dirty = false;
    in->unsynced = true;
    ingest_publish(in);
    return check_pending(in, err);
}

int ingest_sync(struct ingest *in, bool now, struct undine_err *err)
{
    int64_t now_ns = clock_monotonic_ns();
    int64_t interval_ns = (int64_t)in->opt->loop.sync_interval_ms * 1000000;
    if (in->unsynced && (now || now_ns - in->synced_ns >= interval_ns)) {
        int rc = store_sync(in->store, err);
        if (rc < 0) {
            return rc;
        }
        in->unsynced = false;
        in->synced_ns = now_ns;
        for (uint32_t p = 0; p < in->source->n_partitions; p++) {
            in->synced_next[p] = in->source->partitions[p].position.next;
        }
    }
    if (in->source->ops->maintain == NULL ||
        (!now && now_ns - in->maintained_ns < MAINTAIN_INTERVAL_NS)) {
        return UNDINE_OK;
    }
    in->maintained_ns = now_ns;
    return in->source->ops->maintain(in->source, in->synced_next, err);
}
