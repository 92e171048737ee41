#include "base/ticker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct ticker {
    void (*fn)(void *arg);
    void *arg;
    int period_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
};

/* Wait one period; false = asked to stop. */
static bool wait_period(struct ticker *t)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += t->period_ms / 1000;
    until.tv_nsec += (long)(t->period_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&t->lock);
    int rc = 0;
    while (!t->stop && rc == 0) {
        rc = pthread_cond_timedwait(&t->changed, &t->lock, &until);
    }
    bool go_on = !t->stop;
    (void)pthread_mutex_unlock(&t->lock);
    return go_on;
}

static void *run(void *payload)
{
    struct ticker *t = payload;
    do {
        t->fn(t->arg);
    } while (wait_period(t));
    return NULL;
}

int ticker_start(struct ticker **out, void (*fn)(void *arg), void *arg, int period_ms,
                 struct undine_err *err)
{
    struct ticker *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a thread");
    }
    t->fn = fn;
    t->arg = arg;
    t->period_ms = period_ms;
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_cond_init(&t->changed, NULL);
    int rc = pthread_create(&t->thread, NULL, run, t);
    if (rc != 0) {
        free(t);
        return undine_err_sys(err, UNDINE_EIO, rc, "no thread can be started");
    }
    *out = t;
    return 0;
}

void ticker_stop(struct ticker *t)
{
    if (t == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&t->lock);
    t->stop = true;
    (void)pthread_cond_signal(&t->changed);
    (void)pthread_mutex_unlock(&t->lock);
    (void)pthread_join(t->thread, NULL);
    (void)pthread_cond_destroy(&t->changed);
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}
