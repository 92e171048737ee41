/* restore_progress.h: how far a restart has come, for whoever is asked meanwhile.
 *
 * One thread restores and writes; any thread may read.  Phase, done and total are not one: a reader
 * may see the counts of the phase before for a moment.  All functions take NULL, where nobody asks.
 */
#ifndef UNDINE_BASE_RESTORE_PROGRESS_H
#define UNDINE_BASE_RESTORE_PROGRESS_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum restore_phase {
    RESTORE_NOTHING,     /* not begun, or done */
    RESTORE_STORE,       /* opening the store; nothing is counted */
    RESTORE_BROKER,      /* reaching the broker; nothing is counted */
    RESTORE_EVENTS,      /* bytes of stored events */
    RESTORE_IMPRESSIONS, /* events applied again */
    RESTORE_USERS,       /* impressions whose users are loaded */
    RESTORE_VERSION,     /* checking and reading the newest version; nothing is counted */
    RESTORE_ROWS         /* embedding rows */
};

struct restore_progress {
    _Atomic int phase; /* enum restore_phase */
    _Atomic uint64_t done, total;
    _Atomic int64_t since_ns; /* clock_monotonic_ns of the phase's begin */
};

/* The two halves of a state, which are restored side by side. */
struct restore_lanes {
    struct restore_progress state;   /* store, broker, events, impressions, users */
    struct restore_progress learner; /* version, rows */
};

static inline void restore_progress_begin(struct restore_progress *p, enum restore_phase phase,
                                          uint64_t total)
{
    if (p != NULL) {
        atomic_store_explicit(&p->done, 0, memory_order_relaxed);
        atomic_store_explicit(&p->total, total, memory_order_relaxed);
        atomic_store_explicit(&p->since_ns, clock_monotonic_ns(), memory_order_relaxed);
        atomic_store_explicit(&p->phase, (int)phase, memory_order_relaxed);
    }
}

static inline void restore_progress_add(struct restore_progress *p, uint64_t done)
{
    if (p != NULL) {
        atomic_fetch_add_explicit(&p->done, done, memory_order_relaxed);
    }
}

#endif
