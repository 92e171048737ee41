#include "base/within.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct call {
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
};

static void *run(void *payload)
{
    struct call *c = payload;
    c->fn(c->arg);
    (void)pthread_mutex_lock(&c->lock);
    c->done = true;
    (void)pthread_cond_signal(&c->ended);
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

static bool wait_done(struct call *c, int timeout_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&c->lock);
    int rc = 0;
    while (!c->done && rc == 0) {
        rc = pthread_cond_timedwait(&c->ended, &c->lock, &until);
    }
    bool done = c->done;
    (void)pthread_mutex_unlock(&c->lock);
    return done;
}

bool within_ms(void (*fn)(void *arg), void *arg, int timeout_ms)
{
    pthread_t thread;
    struct call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return false;
    }
    c->fn = fn;
    c->arg = arg;
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->ended, NULL);
    if (pthread_create(&thread, NULL, run, c) != 0) {
        free(c);
        return false;
    }
    if (!wait_done(c, timeout_ms)) {
        (void)pthread_detach(thread);
        return false;
    }
    (void)pthread_join(thread, NULL);
    (void)pthread_cond_destroy(&c->ended);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
    return true;
}
