#include "ops/daemon.h"

#include "base/clock.h"
#include "base/fault.h"
#include "learner/version_files.h"
#include "ops/batch_dump.h"
#include "ops/beside.h"
#include "ops/publisher.h"
#include "ops/served.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LEARNER_BATCHES_A_STEP = 8,
    LEARNER_WAIT_MS = 100,
    METADATA_TIMEOUT_MS = 10000,
    SETTLE_RUNS = 64 /* a millisecond or two */
};
#define SETTLE_MAX_NS INT64_C(5000000000)

struct daemon {
    struct daemon_options opt;
    const struct config *config;
    struct ingest_options ingest_options; /* borrowed by ingest */
    char store_dir[VERSION_PATH_MAX], versions_dir[VERSION_PATH_MAX], dumps_dir[VERSION_PATH_MAX];
    struct store *store;
    struct users *users;
    struct example_log *log;
    struct decoder *decoder;
    struct source *source;
    struct ingest *ingest;
    struct trainer *trainer;
    struct publisher *publisher;
    struct version_watch *watch;
    struct served served;
    struct version_info restored; /* number 0 = none */
    struct norms restored_norms;
    uint64_t versions_skipped; /* by open */
    pthread_t ingest_thread, learner_thread;
    bool started;
    atomic_bool stop;        /* asked to end */
    atomic_bool ingest_done; /* the ingest thread has left; what is in the log is all there is */
    int64_t started_ns, snapshot_ns;
    int64_t whole_ns;                     /* when a whole snapshot was taken, 0 = none was */
    struct version_chain *restored_chain; /* until the publisher has it */
    struct pause pause;
    uint64_t events_before, examples_before; /* what the restored state had seen */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    int running; /* threads of ours that have not left */
    int rc;
    struct undine_err err; /* the first failure of any thread */
};

static void daemon_say(const struct daemon *d, int level, const char *subsystem, const char *fmt,
                       ...) __attribute__((format(printf, 4, 5)));
static void daemon_say(const struct daemon *d, int level, const char *subsystem, const char *fmt,
                       ...)
{
    if (d->opt.log == NULL) {
        return;
    }
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->opt.log(d->opt.log_payload, level, subsystem, text);
}

/* ---- opening ---- */

static int make_dirs(struct daemon *d, struct undine_err *err)
{
    const char *state = d->opt.state_dir;
    int n = snprintf(d->store_dir, sizeof d->store_dir, "%s/store", state);
    int m = snprintf(d->versions_dir, sizeof d->versions_dir, "%s/versions", state);
    int k = snprintf(d->dumps_dir, sizeof d->dumps_dir, "%s/dumps", state);
    if (n < 0 || m < 0 || k < 0 || (size_t)n >= sizeof d->store_dir ||
        (size_t)m >= sizeof d->versions_dir || (size_t)k >= sizeof d->dumps_dir) {
        return undine_err_set(err, UNDINE_EINVAL, "state directory `%s`: path is too long", state);
    }
    const char *dirs[] = {state, d->store_dir, d->versions_dir};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        if (version_files_keep_dir(dirs[i], err) < 0) {
            return undine_err_prefix(err, "state directory");
        }
    }
    return UNDINE_OK;
}

static void kafka_log(void *payload, int level, const char *text)
{
    daemon_say(payload, level, "kafka", "%s", text);
}

static int open_source(struct daemon *d, struct undine_err *err)
{
    const struct config *c = d->config;
    if (d->opt.inputs != NULL) {
        struct source_file_options files = {
            .paths = d->opt.inputs,
            .n_paths = d->opt.n_inputs,
            .line_bytes_max = c->decode.message_bytes_max + 1,
        };
        return source_file_open(&d->source, &files, ingest_position, d->store, err);
    }
    struct source_kafka_topic topics[CONFIG_TOPICS_MAX];
    for (uint32_t i = 0; i < c->n_topics; i++) {
        (void)snprintf(topics[i].name, sizeof topics[i].name, "%s", c->topics[i].name);
    }
    struct source_kafka_options kafka = {
        .brokers = c->brokers,
        .group = c->group,
        .topics = topics,
        .n_topics = c->n_topics,
        .shard = c->ingest.shard,
        .n_shards = c->ingest.n_shards,
        .pass = c->kafka,
        .n_pass = c->n_kafka,
        .until_end = d->opt.until_end,
        .from_ms = d->opt.from_ms,
        .to_ms = d->opt.to_ms,
        .accept_loss = d->opt.accept_loss,
        .n_accept_loss = d->opt.n_accept_loss,
        .metadata_timeout_ms = METADATA_TIMEOUT_MS,
        .log = kafka_log,
        .log_payload = d,
    };
    return source_kafka_open(&d->source, &kafka, ingest_position, d->store, err);
}

/* The halves of the progress, or NULL where nobody asks. */
static struct restore_progress *state_progress(const struct daemon *d)
{
    return d->opt.progress == NULL ? NULL : &d->opt.progress->state;
}

static struct restore_progress *learner_progress(const struct daemon *d)
{
    return d->opt.progress == NULL ? NULL : &d->opt.progress->learner;
}

static int open_state(struct daemon *d, struct undine_err *err)
{
    const struct config *c = d->config;
    struct store_options store = c->store;
    store.dir = d->store_dir;
    restore_progress_begin(state_progress(d), RESTORE_STORE, 0);
    int rc = store_open(&d->store, &store, err);
    if (rc == UNDINE_OK) { /* before anything waits for a broker */
        int known = ingest_check_config(d->store, &c->ingest, err);
        rc = known < 0 ? known : UNDINE_OK;
    }
    if (rc == UNDINE_OK) {
        rc = users_open(&d->users, d->store, &c->schema, &c->users, err);
    }
    if (rc == UNDINE_OK) {
        rc = example_log_open(&d->log, d->store, &c->schema, c->ingest.shard, err);
    }
    if (rc == UNDINE_OK) {
        rc = decoder_open(&d->decoder, &c->schema, &c->decode, err);
    }
    restore_progress_begin(state_progress(d), RESTORE_BROKER, 0);
    return rc == UNDINE_OK ? open_source(d, err) : rc;
}

static int open_ingest(struct daemon *d, struct undine_err *err)
{
    const struct config *c = d->config;
    d->ingest_options = c->ingest;
    d->ingest_options.accept_loss = d->opt.accept_loss;
    d->ingest_options.n_accept_loss = d->opt.n_accept_loss;
    d->ingest_options.progress = state_progress(d);
    d->ingest_options.close_windows = d->opt.until_end && !d->opt.keep_open;
    return ingest_open(&d->ingest, &c->schema, &d->ingest_options, d->store, d->users, d->log,
                       d->source, d->decoder, err);
}

static void version_skipped(void *payload, const char *name, const struct undine_err *why)
{
    ((struct daemon *)payload)->versions_skipped++; /* DROP(version_unusable) */
    daemon_say(payload, 4, "version", "version %s is not usable and is skipped: %s", name,
               why->msg);
}

static void batch_refused(void *payload, const struct trainer *t, const char *why)
{
    struct daemon *d = payload;
    struct undine_err err = {0};
    daemon_say(d, 4, "learner", "a batch is not learned: %s", why);
    if (batch_dump_write(d->dumps_dir, t, why, &err) != UNDINE_OK) {
        daemon_say(d, 4, "learner", "the batch could not be kept for `undine inspect dump`: %s",
                   err.msg);
    }
}

static int open_learner(struct daemon *d, struct undine_err *err)
{
    struct trainer_options options = d->config->trainer;
    options.progress = learner_progress(d);
    bool by_version = d->opt.freeze_versions || options.gate.pairs_max > 0;
    options.changes = options.changes && d->opt.publish;
    options.frozen.block = by_version ? 0 : options.frozen.block;
    int rc = trainer_open(&d->trainer, &d->config->schema, &options, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    trainer_on_refused(d->trainer, batch_refused, d);
    struct snapshot *snapshot = NULL;
    struct version_info info = {0};
    uint64_t tail = example_log_tail(d->log), head = example_log_head(d->log);
    int found =
        version_restore(d->versions_dir, tail, head, &snapshot, &info, version_skipped, d, err);
    if (found < 0) {
        return found;
    }
    if (found == 0 && tail > 0) {
        return undine_err_set(
            err, UNDINE_ESTATE,
            "%s holds no usable version between example %llu and %llu, and the "
            "example log no longer reaches back to the first one: restore store and "
            "versions from one moment, or start with an empty state directory",
            d->versions_dir, (unsigned long long)tail, (unsigned long long)head);
    }
    if (found > 0) {
        rc = trainer_restore(d->trainer, snapshot, err);
        norms_of(&d->restored_norms, snapshot);
        if (rc == UNDINE_OK && options.changes) { /* nothing of the rest is read any more */
            d->restored_chain = snapshot->mapped;
            snapshot->mapped = NULL;
        }
        snapshot_free(snapshot);
        d->restored = info;
        daemon_say(d, 6, "version", "restored version %s: %llu examples learned, %llu in the log",
                   info.name, (unsigned long long)info.trained_seq, (unsigned long long)head);
    }
    return rc;
}

static int learner_half(void *payload, struct undine_err *err)
{
    struct daemon *d = payload;
    restore_progress_begin(learner_progress(d), RESTORE_VERSION, 0);
    int rc = open_learner(d, err);
    restore_progress_begin(learner_progress(d), RESTORE_NOTHING, 0);
    return rc;
}

/* Version and rows on one core, events and users on another: they have nothing in common but the
 * two ends of the example log, which stand still until the threads are started. */
static int open_halves(struct daemon *d, struct undine_err *err)
{
    struct beside learner;
    struct undine_err learner_err = {0};
    beside_begin(&learner, "undine-restore", learner_half, d);
    int rc = open_ingest(d, err);
    restore_progress_begin(state_progress(d), RESTORE_NOTHING, 0);
    int learner_rc = beside_join(&learner, &learner_err);
    if (rc == UNDINE_OK && learner_rc < 0) {
        rc = learner_rc;
        if (err != NULL) {
            *err = learner_err;
        }
    }
    return rc;
}

/* The first failure of any thread is kept, and ends the others. */
static void daemon_fail(struct daemon *d, int rc, const struct undine_err *err)
{
    (void)pthread_mutex_lock(&d->mutex);
    if (d->rc == UNDINE_OK) {
        d->rc = rc;
        d->err = *err;
    }
    (void)pthread_mutex_unlock(&d->mutex);
    atomic_store(&d->stop, true);
    example_log_stop(d->log);
}

/* A version may fail, the store may not. */
static void version_failed(void *payload, const struct undine_err *why)
{
    struct daemon *d = payload;
    if (store_failed(d->store)) {
        daemon_fail(d, why->code, why);
        return;
    }
    daemon_say(payload, 3, "version", "version not written, tried again when the next is due: %s",
               why->msg);
}

static void gate_against(void *payload, const struct version_info *info, const char *why)
{
    daemon_say(payload, 4, "version", "the gate is against version %" PRIu64 ", which %s: %s",
               info->number, info->refused ? "is not published" : "may be published all the same",
               why);
}

static void watch_says(void *payload, int level, const char *text)
{
    daemon_say(payload, level, "version", "%s", text);
}

static int open_watch(struct daemon *d, struct undine_err *err)
{
    int rc = version_watch_open(&d->watch, d->versions_dir, watch_says, d, err);
    if (rc == UNDINE_OK) {
        bool on = d->config->trainer.gate.pairs_max > 0;
        served_open(&d->served, on ? d->config : NULL, d->trainer, d->publisher, d->watch,
                    d->versions_dir, &d->restored);
    }
    return rc;
}

static void snapshot_done(void *payload, struct snapshot *s)
{
    trainer_recycle(((struct daemon *)payload)->trainer, s);
}

static bool with_deltas(const struct daemon *d)
{
    return d->opt.publish && d->config->snapshot.delta_interval_ms > 0;
}

int daemon_open(struct daemon **out, const struct daemon_options *opt, struct undine_err *err)
{
    struct daemon *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the daemon");
    }
    d->opt = *opt;
    d->config = opt->config;
    (void)pthread_mutex_init(&d->mutex, NULL);
    (void)pthread_cond_init(&d->changed, NULL);
    /* before anything is made */
    int rc = trainer_check(&d->config->schema, &d->config->trainer, err);
    rc = rc == UNDINE_OK ? gate_check(&d->config->gate, err) : rc;
    if (rc == UNDINE_OK) {
        rc = make_dirs(d, err);
    }
    if (rc == UNDINE_OK) {
        rc = open_state(d, err);
    }
    if (rc == UNDINE_OK) {
        rc = open_halves(d, err);
    }
    if (rc == UNDINE_OK) {
        struct publisher_options publisher = {
            .versions_dir = d->versions_dir,
            .store = d->store,
            .log = d->log,
            .newest = d->restored,
            .norms = &d->restored_norms,
            .gate = d->config->gate,
            .keep = {.count = d->config->snapshot.keep,
                     .age_ms = d->config->snapshot.keep_age_ms,
                     .bytes = d->config->snapshot.keep_bytes},
            .deltas = with_deltas(d),
            .line = {.metrics_window = d->config->trainer.metrics_window,
                     .merge_ns = d->config->snapshot.interval_ms * 1000000,
                     .chain_max = d->config->snapshot.chain_max,
                     .newest = d->restored_chain},
            .finished = snapshot_done,
            .finished_payload = d,
            .shard = d->config->ingest.shard,
            .config_digest = d->config->ingest.config_digest,
            .failed = version_failed,
            .against = gate_against,
            .told_payload = d,
        };
        d->restored_chain = NULL;
        rc = publisher_open(&d->publisher, &publisher, err);
    }
    if (rc == UNDINE_OK) {
        rc = open_watch(d, err);
    }
    if (rc != UNDINE_OK) {
        daemon_close(d);
        return rc;
    }
    struct daemon_status restored;
    daemon_status(d, &restored);
    d->events_before = restored.ingest.counters.events;
    d->examples_before = restored.learner.examples;
    *out = d;
    return UNDINE_OK;
}

/* ---- threads ---- */

/* A thread leaves: the first failure is kept, and ends the others; but where a guard stops the
 * learner of a live stream, ingest goes on, so that nothing is lost while somebody looks. */
static void thread_leaves(struct daemon *d, int rc, const struct undine_err *err)
{
    (void)pthread_mutex_lock(&d->mutex);
    if (rc < 0 && d->rc == UNDINE_OK) {
        d->rc = rc;
        d->err = *err;
    }
    if (rc < 0 && (rc != UNDINE_EGUARD || d->opt.until_end)) {
        atomic_store(&d->stop, true);
    }
    d->running--;
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->mutex);
}

static void *ingest_main(void *payload)
{
    struct daemon *d = payload;
    (void)pthread_setname_np(pthread_self(), "undine-ingest");
    struct undine_err err = {0};
    int rc = ingest_run(d->ingest, &d->stop, &err);
    atomic_store(&d->ingest_done, true);
    if (rc < 0) {
        example_log_stop(d->log);
    }
    thread_leaves(d, rc, &err);
    return NULL;
}

/* The learner stands still meanwhile, and it is written down for how long. */
static int take_snapshot(struct daemon *d, struct snapshot **out, struct undine_err *err)
{
    int64_t start_ns = clock_monotonic_ns();
    if (served_on(&d->served)) {
        served_candidate(&d->served);
    } else if (d->opt.freeze_versions) { /* before, so that a restart finds the version frozen */
        trainer_freeze(d->trainer);
    }
    int rc = publisher_wants_whole(d->publisher) ? 0 : trainer_changes(d->trainer, out, err);
    if (rc == 0) {
        d->whole_ns = start_ns;
        rc = trainer_snapshot(d->trainer, out, err);
    }
    pause_record(&d->pause, clock_monotonic_ns() - start_ns);
    return rc < 0 ? rc : UNDINE_OK;
}

/* A whole snapshot is not taken more often than whole versions are wanted. */
static bool snapshot_due(const struct daemon *d, int64_t now_ns)
{
    int64_t whole_ns = d->config->snapshot.interval_ms * 1000000;
    if (!with_deltas(d)) {
        return now_ns - d->snapshot_ns >= whole_ns;
    }
    bool whole = publisher_wants_whole(d->publisher);
    return now_ns - d->snapshot_ns >= d->config->snapshot.delta_interval_ms * 1000000 &&
           (!whole || d->whole_ns == 0 || now_ns - d->whole_ns >= whole_ns);
}

/* 1 = rows that are gone are out of the way, 0 = let the learner go on and call again; for so long
 * at most that versions do not get old. */
static int settle(struct daemon *d, int64_t now_ns, struct undine_err *err)
{
    int64_t due_ns = d->snapshot_ns + d->config->snapshot.delta_interval_ms * 1000000;
    int rc = with_deltas(d) ? 0 : 1;
    for (int i = 0; i < SETTLE_RUNS && rc == 0; i++) {
        rc = trainer_settle(d->trainer, err);
    }
    return rc == 0 && now_ns - due_ns > SETTLE_MAX_NS ? 1 : rc;
}

/* Hand a snapshot to the publisher if one is due and it is idle. */
static int publish_if_due(struct daemon *d, struct undine_err *err)
{
    int64_t now_ns = clock_monotonic_ns();
    uint64_t seq = trainer_seq(d->trainer);
    if (!d->opt.publish || !snapshot_due(d, now_ns) || seq == 0 || !publisher_idle(d->publisher) ||
        publisher_newest_seq(d->publisher) == seq) {
        return UNDINE_OK; /* nothing new, or nothing at all, was learned */
    }
    struct snapshot *s = NULL;
    int rc = settle(d, now_ns, err);
    if (rc <= 0) {
        return rc;
    }
    rc = take_snapshot(d, &s, err);
    if (rc == UNDINE_OK) {
        publisher_give(d->publisher, s, true);
        d->snapshot_ns = now_ns;
    }
    return rc;
}

static int learner_run(struct daemon *d, struct undine_err *err)
{
    for (;;) {
        /* Read before the step: what was in the log then is trained by it. */
        bool last = atomic_load(&d->ingest_done);
        bool stop = atomic_load(&d->stop);
        if (stop) {
            return UNDINE_OK;
        }
        int n = trainer_step(d->trainer, d->log, LEARNER_BATCHES_A_STEP, err);
        if (n < 0) {
            return n;
        }
        served_step(&d->served);
        int rc = publish_if_due(d, err);
        if (rc != UNDINE_OK) {
            return rc;
        }
        if (!d->opt.publish) { /* nobody restarts here: what is learned may go */
            example_log_trim(d->log, trainer_seq(d->trainer));
        }
        if (n == 0 && last) {
            return UNDINE_OK;
        }
        if (n == 0) {
            example_log_wait(d->log, example_log_head(d->log), trainer_next_close_ms(d->trainer),
                             LEARNER_WAIT_MS);
        }
    }
}

static void *learner_main(void *payload)
{
    struct daemon *d = payload;
    (void)pthread_setname_np(pthread_self(), "undine-learner");
    struct undine_err err = {0};
    int rc = learner_run(d, &err);
    if (rc == UNDINE_EGUARD && !d->opt.until_end) {
        daemon_say(d, 3, "learner", "learning has stopped, ingest goes on: %s", err.msg);
    } else if (rc < 0) {
        /* Ingest may be waiting for room that nobody will make. */
        atomic_store(&d->stop, true);
        example_log_stop(d->log);
    }
    thread_leaves(d, rc, &err);
    return NULL;
}

int daemon_start(struct daemon *d, struct undine_err *err)
{
    d->started_ns = d->snapshot_ns = clock_monotonic_ns();
    d->running = 2;
    d->started = true;
    int rc = pthread_create(&d->ingest_thread, NULL, ingest_main, d);
    if (rc != 0) {
        d->started = false;
        return undine_err_sys(err, UNDINE_EIO, rc, "starting the ingest thread");
    }
    rc = pthread_create(&d->learner_thread, NULL, learner_main, d);
    if (rc != 0) {
        atomic_store(&d->stop, true);
        example_log_stop(d->log);
        (void)pthread_join(d->ingest_thread, NULL);
        d->started = false;
        return undine_err_sys(err, UNDINE_EIO, rc, "starting the learner thread");
    }
    return UNDINE_OK;
}

int daemon_wait(struct daemon *d, int timeout_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&d->mutex);
    int rc = 0;
    while (d->running > 0 && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&d->changed, &d->mutex, &until);
    }
    int finished = d->running == 0;
    (void)pthread_mutex_unlock(&d->mutex);
    return finished;
}

void daemon_stop(struct daemon *d)
{
    atomic_store(&d->stop, true);
}

/* The last version: what the learner knows when it stops. */
static int publish_last(struct daemon *d, struct undine_err *err)
{
    if (publisher_newest_seq(d->publisher) == trainer_seq(d->trainer)) {
        return UNDINE_OK;
    }
    struct snapshot *s = NULL;
    int rc = take_snapshot(d, &s, err);
    if (rc == UNDINE_OK) {
        publisher_give(d->publisher, s, true);
        rc = publisher_wait(d->publisher, err);
    }
    return rc;
}

int daemon_finish(struct daemon *d, struct undine_err *err)
{
    if (!d->started) {
        return UNDINE_OK;
    }
    (void)pthread_join(d->ingest_thread, NULL);
    (void)pthread_join(d->learner_thread, NULL);
    d->started = false;
    (void)publisher_wait(d->publisher, NULL); /* an earlier failure is counted and logged */
    (void)pthread_mutex_lock(&d->mutex);
    int rc = d->rc;
    if (rc != UNDINE_OK && err != NULL) {
        *err = d->err; /* state and positions agree on disk; a restart is the recovery */
    }
    (void)pthread_mutex_unlock(&d->mutex);
    return rc == UNDINE_OK ? publish_last(d, err) : rc;
}

void daemon_close(struct daemon *d)
{
    if (d == NULL) {
        return;
    }
    if (d->started) {
        daemon_stop(d);
        (void)daemon_finish(d, NULL);
    }
    version_watch_close(d->watch);
    publisher_close(d->publisher);
    version_chain_close(d->restored_chain);
    trainer_close(d->trainer);
    ingest_close(d->ingest);
    source_close(d->source);
    decoder_close(d->decoder);
    example_log_close(d->log);
    users_close(d->users);
    store_close(d->store);
    (void)pthread_cond_destroy(&d->changed);
    (void)pthread_mutex_destroy(&d->mutex);
    free(d);
}

static void served_totals(struct daemon *d, struct daemon_status *out)
{
    struct version_watch_status watch = {0};
    struct version_state state;
    if (d->watch != NULL) {
        version_watch_status(d->watch, &watch);
    }
    if (version_state(d->versions_dir, &state, NULL) == UNDINE_OK) { /* fresher than the look */
        watch.state = state;
    }
    out->version_published = watch.state.current;
    out->publication_held = watch.state.hold.held;
    out->rollbacks = watch.rollbacks;
    out->resumes = watch.resumes;
    out->rollbacks_failed = watch.failed;
}

void daemon_status(struct daemon *d, struct daemon_status *out)
{
    *out = (struct daemon_status){0};
    ingest_status(d->ingest, &out->ingest);
    trainer_metrics(d->trainer, &out->learner);
    out->events_now = out->ingest.counters.events - d->events_before;
    out->examples_now = out->learner.examples - d->examples_before;
    struct publisher_status publisher;
    publisher_status(d->publisher, &publisher);
    out->version = publisher.newest;
    out->versions_published = publisher.published;
    out->versions_failed = publisher.failed;
    out->versions_held = publisher.held;
    out->gate = publisher.gate;
    served_totals(d, out);
    out->line = publisher.line;
    pause_status(&d->pause, &out->pause);
    out->version_age_ms =
        publisher.newest.number == 0 ? -1 : clock_realtime_ms() - publisher.newest.created_ms;
    out->versions_skipped = d->versions_skipped;
    out->examples_trimmed = example_log_tail(d->log);
    uint64_t head = example_log_head(d->log);
    out->backlog = head - out->learner.trained_seq;
    out->uptime_ms = (clock_monotonic_ns() - d->started_ns) / 1000000;
    (void)pthread_mutex_lock(&d->mutex);
    out->finished = d->running == 0;
    out->guarded = d->rc == UNDINE_EGUARD;
    out->ready = d->rc == UNDINE_OK && d->running > 0 && !out->ingest.source.away;
    (void)pthread_mutex_unlock(&d->mutex);
}

void daemon_slices(struct daemon *d, struct trainer_slices *out)
{
    trainer_slices(d->trainer, out);
}

void daemon_norms(struct daemon *d, struct norms *out)
{
    publisher_norms(d->publisher, out);
}

bool daemon_healthy(struct daemon *d)
{
    (void)pthread_mutex_lock(&d->mutex);
    bool healthy = d->rc == UNDINE_OK || d->rc == UNDINE_EGUARD; /* a restart would not help */
    (void)pthread_mutex_unlock(&d->mutex);
    return healthy;
}

struct live_users daemon_live_users(const struct daemon *d)
{
    return (struct live_users){
        .store = d->store, .ingest = d->ingest, .schema = &d->config->schema};
}

const char *daemon_versions_dir(const struct daemon *d)
{
    return d->versions_dir;
}
