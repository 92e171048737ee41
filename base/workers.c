/* How a round is taken without a lock, and why a late worker does no harm.
 *
 * A stretch's word is (round << 32 | next part).  A part is taken by moving `next` on by compare
 * and exchange, so it is taken once; where the word holds a newer round, a worker that still thinks
 * of the old one fails and looks again.  ctx and part may be read by such a worker while the owner
 * writes those of the next round: they are atomic, and used only after a part of that round was
 * taken.  A round cannot end while a part of it is taken and not done, so what was read before the
 * taking is then of the round itself.
 * A stretch is closed to the old round before its end is written anew: who sees the new end can no
 * longer take a part of the old round by it.
 * The word is written by release and taken by acquire, `left` is lowered by release and read by
 * acquire: all that the owner wrote before is seen by the parts, all that they wrote by the owner.
 */
#include "base/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPINS = 4000 /* looks before a sleep: some tens of microseconds */, LINE_BYTES = 64 };

struct stretch {
    _Alignas(LINE_BYTES) _Atomic uint64_t word;
    _Atomic uint32_t end;
};

struct workers {
    struct stretch stretch[WORKERS_MAX];
    _Alignas(LINE_BYTES) _Atomic uint32_t round;
    _Atomic(workers_part) part;
    _Atomic(void *) ctx;
    _Alignas(LINE_BYTES) _Atomic uint32_t left; /* parts of the round that are not done */
    _Alignas(LINE_BYTES) _Atomic uint32_t n_asleep;
    _Atomic bool owner_asleep, stop;
    uint32_t n, n_threads;
    pthread_mutex_t lock;
    pthread_cond_t begun, ended;
    struct member {
        struct workers *pool;
        uint32_t who;
        pthread_t thread;
    } member[WORKERS_MAX];
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* The next part of a stretch in this round; false where there is none. */
static bool take(struct stretch *s, uint32_t round, uint32_t *i)
{
    uint64_t word = atomic_load_explicit(&s->word, memory_order_acquire);
    for (;;) {
        if ((uint32_t)(word >> 32) != round ||
            (uint32_t)word >= atomic_load_explicit(&s->end, memory_order_acquire)) {
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&s->word, &word, word + 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *i = (uint32_t)word;
            return true;
        }
    }
}

static void wake_owner(struct workers *w)
{
    if (atomic_load(&w->owner_asleep)) {
        (void)pthread_mutex_lock(&w->lock);
        (void)pthread_cond_signal(&w->ended);
        (void)pthread_mutex_unlock(&w->lock);
    }
}

static void work(struct workers *w, uint32_t who, uint32_t round)
{
    workers_part part = atomic_load_explicit(&w->part, memory_order_relaxed);
    void *ctx = atomic_load_explicit(&w->ctx, memory_order_relaxed);
    for (uint32_t k = 0; k < w->n; k++) {
        uint32_t i;
        while (take(&w->stretch[(who + k) % w->n], round, &i)) {
            part(ctx, i, who);
            if (atomic_fetch_sub(&w->left, 1) == 1) {
                wake_owner(w);
            }
        }
    }
}

/* Until a round that is not `seen`. */
static uint32_t next_round(struct workers *w, uint32_t seen)
{
    uint32_t round = seen;
    for (int i = 0; i < SPINS; i++) {
        round = atomic_load_explicit(&w->round, memory_order_acquire);
        if (round != seen) {
            return round;
        }
        relax();
    }
    (void)pthread_mutex_lock(&w->lock);
    atomic_fetch_add(&w->n_asleep, 1); /* before the look: see begin */
    while ((round = atomic_load(&w->round)) == seen) {
        (void)pthread_cond_wait(&w->begun, &w->lock);
    }
    atomic_fetch_sub(&w->n_asleep, 1);
    (void)pthread_mutex_unlock(&w->lock);
    return round;
}

static void *run(void *payload)
{
    struct member *m = payload;
    uint32_t round = 0;
    for (;;) {
        round = next_round(m->pool, round);
        if (atomic_load(&m->pool->stop)) {
            return NULL;
        }
        work(m->pool, m->who, round);
    }
}

/* Show a round to the workers.  Either one that goes to sleep sees it, or it is seen asleep. */
static void begin(struct workers *w, uint32_t round)
{
    atomic_store(&w->round, round);
    if (atomic_load(&w->n_asleep) > 0) {
        (void)pthread_mutex_lock(&w->lock);
        (void)pthread_cond_broadcast(&w->begun);
        (void)pthread_mutex_unlock(&w->lock);
    }
}

static void wait_for_parts(struct workers *w)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&w->left, memory_order_acquire) == 0) {
            return;
        }
        relax();
    }
    (void)pthread_mutex_lock(&w->lock);
    atomic_store(&w->owner_asleep, true);
    while (atomic_load(&w->left) > 0) {
        (void)pthread_cond_wait(&w->ended, &w->lock);
    }
    atomic_store(&w->owner_asleep, false);
    (void)pthread_mutex_unlock(&w->lock);
}

void workers_run(struct workers *w, size_t n, workers_part part, void *ctx)
{
    if (w == NULL || n < 2) {
        for (size_t i = 0; i < n; i++) {
            part(ctx, i, 0);
        }
        return;
    }
    UNDINE_ASSERT(n <= UINT32_MAX);
    uint32_t round = atomic_load_explicit(&w->round, memory_order_relaxed) + 1;
    atomic_store_explicit(&w->part, part, memory_order_relaxed);
    atomic_store_explicit(&w->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&w->left, (uint32_t)n, memory_order_relaxed);
    for (uint32_t k = 0; k < w->n; k++) {
        struct stretch *s = &w->stretch[k];
        uint64_t first = (uint64_t)n * k / w->n, end = (uint64_t)n * (k + 1) / w->n;
        atomic_store_explicit(&s->word, (uint64_t)round << 32 | UINT32_MAX, memory_order_relaxed);
        atomic_store_explicit(&s->end, (uint32_t)end, memory_order_release);
        atomic_store_explicit(&s->word, (uint64_t)round << 32 | first, memory_order_release);
    }
    begin(w, round);
    work(w, 0, round);
    wait_for_parts(w);
}

size_t workers_count(const struct workers *w)
{
    return w != NULL ? w->n : 1;
}

static int start(struct workers *w, uint32_t who, struct undine_err *err)
{
    struct member *m = &w->member[who];
    *m = (struct member){.pool = w, .who = who};
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's, not ours */
    int rc = pthread_create(&m->thread, NULL, run, m);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        return undine_err_sys(err, UNDINE_EIO, rc, "worker thread %u of %u cannot be started", who,
                              w->n);
    }
    w->n_threads++;
    return UNDINE_OK;
}

int workers_open(struct workers **out, uint32_t n, struct undine_err *err)
{
    UNDINE_ASSERT(n >= 1 && n <= WORKERS_MAX);
    *out = NULL;
    if (n == 1) {
        return UNDINE_OK;
    }
    struct workers *w = aligned_alloc(LINE_BYTES, sizeof *w);
    if (w == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %u workers", n);
    }
    *w = (struct workers){.n = n};
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->begun, NULL);
    (void)pthread_cond_init(&w->ended, NULL);
    int rc = UNDINE_OK;
    for (uint32_t who = 1; rc == UNDINE_OK && who < n; who++) {
        rc = start(w, who, err);
    }
    if (rc < 0) {
        workers_close(w);
        return rc;
    }
    *out = w;
    return UNDINE_OK;
}

void workers_close(struct workers *w)
{
    if (w == NULL) {
        return;
    }
    atomic_store(&w->stop, true);
    begin(w, atomic_load(&w->round) + 1);
    for (uint32_t who = 1; who <= w->n_threads; who++) {
        (void)pthread_join(w->member[who].thread, NULL);
    }
    (void)pthread_cond_destroy(&w->begun);
    (void)pthread_cond_destroy(&w->ended);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
