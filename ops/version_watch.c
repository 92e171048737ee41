#include "ops/version_watch.h"

#include "base/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum request { NOTHING, ROLL_BACK, RESUME };

struct version_watch {
    const char *dir;
    version_watch_say_fn say;
    void *payload;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    bool stop;
    enum request request;
    uint64_t below;
    char reason[VERSION_REASON_MAX];
    struct version_watch_status status;
};

__attribute__((format(printf, 3, 4))) static void say(struct version_watch *w, int level,
                                                      const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->say(w->payload, level, text);
}

static struct version_act act_of(const char *reason)
{
    return (struct version_act){
        .by = "calibration", .reason = reason, .at_ms = clock_realtime_ms()};
}

/* 1 = done, 0 = nothing to do. */
static int roll_back(struct version_watch *w, uint64_t below, const char *reason)
{
    struct version_act act = act_of(reason);
    struct undine_err err = {0};
    uint64_t from = 0, now = 0;
    struct version_state state;
    int rc = version_state(w->dir, &state, &err);
    if (rc == UNDINE_OK && state.hold.held) { /* asked before it was known: one is enough */
        return 0;
    }
    rc = version_rollback_before(w->dir, below, &act, &from, &now, &err);
    if (rc == UNDINE_OK) {
        say(w, 3, "version %" PRIu64 " is withdrawn and %" PRIu64 " published again: %s", from, now,
            reason);
        return 1;
    }
    if (rc == UNDINE_ENOTFOUND) {
        rc = version_hold(w->dir, &act, &err);
        if (rc >= 0) {
            say(w, 3, "publication is on hold, there is no version to go back to: %s", reason);
            return rc;
        }
    }
    say(w, 3, "the published version could not be rolled back (%s): %s", reason, err.msg);
    return rc;
}

static int resume(struct version_watch *w, const char *reason)
{
    struct version_act act = act_of(reason);
    struct undine_err err = {0};
    int rc = version_resume(w->dir, &act, &err);
    if (rc < 0) {
        say(w, 3, "publication could not be resumed (%s): %s", reason, err.msg);
    } else if (rc > 0) {
        say(w, 4, "publication is resumed: %s", reason);
    }
    return rc;
}

/* Called and returns under the mutex. */
static void serve(struct version_watch *w)
{
    enum request request = w->request;
    uint64_t below = w->below;
    char reason[VERSION_REASON_MAX];
    (void)snprintf(reason, sizeof reason, "%s", w->reason);
    w->request = NOTHING;
    (void)pthread_mutex_unlock(&w->mutex);
    int rc = request == ROLL_BACK ? roll_back(w, below, reason) : resume(w, reason);
    (void)pthread_mutex_lock(&w->mutex);
    w->status.rollbacks += request == ROLL_BACK && rc > 0;
    w->status.resumes += request == RESUME && rc > 0;
    w->status.failed += rc < 0;
}

static void look(struct version_watch *w)
{
    struct version_state state;
    (void)pthread_mutex_unlock(&w->mutex);
    int rc = version_state(w->dir, &state, NULL);
    (void)pthread_mutex_lock(&w->mutex);
    if (rc == UNDINE_OK) { /* else the next look may say more */
        w->status.state = state;
        w->status.looks++;
    }
}

static void wait_a_while(struct version_watch *w)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)VERSION_WATCH_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&w->changed, &w->mutex, &until);
}

static void *watch_main(void *payload)
{
    struct version_watch *w = payload;
    (void)pthread_setname_np(pthread_self(), "undine-watch");
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->stop || w->request != NOTHING) {
        if (w->request != NOTHING) {
            serve(w);
        }
        look(w);
        if (!w->stop && w->request == NOTHING) {
            wait_a_while(w);
        }
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

int version_watch_open(struct version_watch **out, const char *dir, version_watch_say_fn fn,
                       void *payload, struct undine_err *err)
{
    struct version_watch *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to watch versions");
    }
    w->dir = dir;
    w->say = fn;
    w->payload = payload;
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->changed, NULL);
    int failed = pthread_create(&w->thread, NULL, watch_main, w);
    if (failed != 0) {
        free(w);
        return undine_err_sys(err, UNDINE_EIO, failed, "starting the thread that watches versions");
    }
    *out = w;
    return UNDINE_OK;
}

void version_watch_close(struct version_watch *w)
{
    if (w == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&w->mutex);
    w->stop = true;
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    (void)pthread_cond_destroy(&w->changed);
    (void)pthread_mutex_destroy(&w->mutex);
    free(w);
}

void version_watch_status(struct version_watch *w, struct version_watch_status *out)
{
    (void)pthread_mutex_lock(&w->mutex);
    *out = w->status;
    (void)pthread_mutex_unlock(&w->mutex);
}

static void ask(struct version_watch *w, enum request request, uint64_t below, const char *reason)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->request = request;
    w->below = below;
    (void)snprintf(w->reason, sizeof w->reason, "%s", reason);
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->mutex);
}

void version_watch_roll_back(struct version_watch *w, uint64_t below, const char *reason)
{
    ask(w, ROLL_BACK, below, reason);
}

void version_watch_resume(struct version_watch *w, const char *reason)
{
    ask(w, RESUME, 0, reason);
}
