#include "ops/publisher.h"

#include "base/clock.h"
#include "learner/model/json_text.h"
#include "learner/version_publish.h"
#include "ops/store_json.h"

#include <pthread.h>
#include <stdlib.h>

struct publisher {
    struct publisher_options opt;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    struct snapshot *slot; /* given and not yet finished with */
    bool slot_publish, stop, started;
    struct publisher_status status;
    struct norms norms;
    int last_rc;
    struct publish_gate gate;  /* of the thread */
    struct version_line *line; /* NULL = whole versions only; of the thread */
};

/* Publish what was written, unless the gate or a hold is against it. */
static int standing(struct publisher *p, const struct snapshot *s, const struct version_info *info,
                    struct undine_err *err)
{
    int rc = info->refused
                 ? version_refuse(p->opt.versions_dir, info, p->gate.status.verdict.why, err)
                 : version_publish(p->opt.versions_dir, info, err);
    if (rc < 0) {
        return rc;
    }
    publish_gate_written(&p->gate, s, info, rc > 0);
    if (p->opt.against != NULL && p->gate.opt.mode != GATE_OFF &&
        p->gate.status.verdict.kind == GATE_REFUSE) {
        p->opt.against(p->opt.told_payload, info, p->gate.status.verdict.why);
    }
    (void)pthread_mutex_lock(&p->mutex);
    p->status.last_published = rc > 0 ? info->number : 0;
    p->status.published += rc > 0;
    p->status.held += rc == 0 && !info->refused; /* DROP(version_held) */
    p->status.gate = p->gate.status;
    (void)pthread_mutex_unlock(&p->mutex);
    return UNDINE_OK;
}

enum { TEND_MS = 100 }; /* how soon a merge that is done is seen */

static void finish(const struct publisher *p, struct snapshot *s)
{
    if (p->opt.finished != NULL) {
        p->opt.finished(p->opt.finished_payload, s);
    } else {
        snapshot_free(s);
    }
}

static int write_version(struct publisher *p, struct snapshot *s, const struct version_extra *extra,
                         struct version_info *info, struct undine_err *err)
{
    return p->line != NULL ? version_line_write(p->line, s, extra, info, err)
                           : version_write(p->opt.versions_dir, s, extra, false, info, err);
}

static int retain(struct publisher *p, struct undine_err *err)
{
    uint64_t oldest_seq = 0;
    int rc = version_retain_within(p->opt.versions_dir, &p->opt.keep, &oldest_seq, err);
    if (rc == UNDINE_OK) {
        example_log_trim(p->opt.log, oldest_seq);
    }
    return rc;
}

/* Sync, write, retain, trim: in this order, so that a crash anywhere leaves a version that the
 * example log still continues. */
static int publish(struct publisher *p, struct snapshot *s, bool move_current,
                   struct version_info *info, struct undine_err *err)
{
    int rc = store_sync(p->opt.store, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    json_t *positions = store_json_positions(p->opt.store, err);
    if (positions == NULL) {
        return err->code;
    }
    char *positions_text = json_text_print(positions, JSON_COMPACT);
    json_decref(positions);
    if (positions_text == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a version's positions");
    }
    struct version_extra extra = {
        .config_digest = p->opt.config_digest,
        .positions_json = positions_text,
        .created_ms = clock_realtime_ms(),
        .shard = p->opt.shard,
    };
    rc = publish_gate_judge(&p->gate, s, &extra, err);
    if (rc == UNDINE_OK) {
        rc = write_version(p, s, &extra, info, err);
    }
    free(positions_text);
    if (rc == UNDINE_OK && move_current) {
        rc = standing(p, s, info, err);
    }
    return rc < 0 ? rc : retain(p, err);
}

/* Between two versions: merges begin and end. */
static void tend(struct publisher *p)
{
    struct version_info whole = {0};
    struct undine_err err = {0};
    if (p->line == NULL) {
        return;
    }
    int rc = version_line_tend(p->line, clock_monotonic_ns(), clock_realtime_ms(), &whole, &err);
    rc = rc > 0 ? retain(p, &err) : rc;
    if (rc < 0 && p->opt.failed != NULL) {
        p->opt.failed(p->opt.told_payload, &err);
    }
    (void)pthread_mutex_lock(&p->mutex);
    version_line_status(p->line, &p->status.line);
    (void)pthread_mutex_unlock(&p->mutex);
}

/* Wait for a snapshot, or for a moment.  Under the mutex. */
static void wait_for_work(struct publisher *p)
{
    if (p->line == NULL) {
        (void)pthread_cond_wait(&p->changed, &p->mutex);
        return;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)TEND_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&p->changed, &p->mutex, &until);
}

static void *publisher_main(void *payload)
{
    struct publisher *p = payload;
    (void)pthread_setname_np(pthread_self(), "undine-publish");
    (void)pthread_mutex_lock(&p->mutex);
    for (;;) {
        while (p->slot == NULL && !p->stop) {
            wait_for_work(p);
            (void)pthread_mutex_unlock(&p->mutex);
            tend(p);
            (void)pthread_mutex_lock(&p->mutex);
        }
        if (p->slot == NULL) {
            break;
        }
        struct snapshot *s = p->slot;
        bool move_current = p->slot_publish;
        p->status.last_published = 0;
        (void)pthread_mutex_unlock(&p->mutex);
        struct version_info info = {0};
        struct undine_err err = {0};
        int rc = publish(p, s, move_current, &info, &err);
        if (info.number != 0) {
            (void)pthread_mutex_lock(&p->mutex);
            p->norms = *s->norms;
            (void)pthread_mutex_unlock(&p->mutex);
        }
        finish(p, s);
        tend(p);
        if (rc != UNDINE_OK && p->opt.failed != NULL) {
            p->opt.failed(p->opt.told_payload, &err);
        }
        (void)pthread_mutex_lock(&p->mutex);
        p->slot = NULL;
        p->last_rc = rc;
        if (info.number != 0) { /* written, even where an older one could not be removed */
            p->status.newest = info;
        }
        if (rc != UNDINE_OK) {
            p->status.failed++; /* DROP(version_failed) */
            p->status.last_error = err;
        }
        (void)pthread_cond_broadcast(&p->changed);
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* A run that was killed may have left its last version unpublished, and nothing that this one
 * learns may come after it. */
static void republish(struct publisher *p)
{
    struct undine_err err = {0};
    if (p->opt.newest.number == 0 ||
        version_republish(p->opt.versions_dir, &p->opt.newest, &err) == UNDINE_OK) {
        return;
    }
    p->status.failed++;
    p->status.last_error = err;
    if (p->opt.failed != NULL) {
        p->opt.failed(p->opt.told_payload, &err);
    }
}

int publisher_open(struct publisher **out, const struct publisher_options *opt,
                   struct undine_err *err)
{
    struct publisher *p = calloc(1, sizeof *p);
    if (p == NULL) {
        version_chain_close(opt->line.newest);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the publisher");
    }
    p->opt = *opt;
    (void)pthread_mutex_init(&p->mutex, NULL);
    (void)pthread_cond_init(&p->changed, NULL);
    p->status.newest = opt->newest;
    publish_gate_init(&p->gate, &opt->gate, opt->versions_dir);
    if (opt->norms != NULL) {
        p->norms = *opt->norms;
    }
    republish(p);
    if (opt->deltas) {
        p->opt.line.dir = p->opt.versions_dir;
        int rc = version_line_open(&p->line, &p->opt.line, err);
        if (rc < 0) {
            publisher_close(p);
            return rc;
        }
    }
    int failed = pthread_create(&p->thread, NULL, publisher_main, p);
    p->started = failed == 0;
    if (failed != 0) {
        publisher_close(p);
        return undine_err_sys(err, UNDINE_EIO, failed, "starting the publisher thread");
    }
    *out = p;
    return UNDINE_OK;
}

void publisher_close(struct publisher *p)
{
    if (p == NULL) {
        return;
    }
    if (p->started) {
        (void)pthread_mutex_lock(&p->mutex);
        p->stop = true;
        (void)pthread_cond_broadcast(&p->changed);
        (void)pthread_mutex_unlock(&p->mutex);
        (void)pthread_join(p->thread, NULL);
    }
    version_line_close(p->line);
    (void)pthread_cond_destroy(&p->changed);
    (void)pthread_mutex_destroy(&p->mutex);
    publish_gate_release(&p->gate);
    free(p);
}

bool publisher_idle(struct publisher *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    bool idle = p->slot == NULL;
    (void)pthread_mutex_unlock(&p->mutex);
    return idle;
}

void publisher_give(struct publisher *p, struct snapshot *s, bool publish_it)
{
    (void)pthread_mutex_lock(&p->mutex);
    UNDINE_ASSERT(p->slot == NULL);
    p->slot = s;
    p->slot_publish = publish_it;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->mutex);
}

bool publisher_wants_whole(const struct publisher *p)
{
    return p->line == NULL || !version_line_unbroken(p->line);
}

int publisher_wait(struct publisher *p, struct undine_err *err)
{
    (void)pthread_mutex_lock(&p->mutex);
    while (p->slot != NULL) {
        (void)pthread_cond_wait(&p->changed, &p->mutex);
    }
    int rc = p->last_rc;
    if (rc != UNDINE_OK && err != NULL) {
        *err = p->status.last_error;
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return rc;
}

uint64_t publisher_newest_seq(struct publisher *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    uint64_t seq = p->status.newest.number == 0 ? UINT64_MAX : p->status.newest.trained_seq;
    (void)pthread_mutex_unlock(&p->mutex);
    return seq;
}

void publisher_norms(struct publisher *p, struct norms *out)
{
    (void)pthread_mutex_lock(&p->mutex);
    *out = p->norms;
    (void)pthread_mutex_unlock(&p->mutex);
}

void publisher_status(struct publisher *p, struct publisher_status *out)
{
    (void)pthread_mutex_lock(&p->mutex);
    *out = p->status;
    (void)pthread_mutex_unlock(&p->mutex);
}
