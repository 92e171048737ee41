/* workers.h: a few threads that share one loop, then wait for the next.
 *
 * workers_run calls part(ctx, i, who) once for each i < n and returns when all are done.  Who runs
 * which part, and when, is an accident: results must not depend on it, so parts write to places of
 * their own, and what they sum is added up afterwards in the order of i.  `who` (below
 * workers_count) is for scratch memory that nobody else uses at that moment.
 *
 * Each worker starts with a stretch of its own, the same for equal n, so that what one loop left in
 * a core's cache is found by the next; then it takes what is left of the others'.  A worker that
 * sleeps or is held up by the machine costs nothing: the owner waits for parts, not for threads.
 * Idle workers spin for some microseconds, then sleep.
 *
 * One owner: the thread that calls workers_run; parts do not call it.  NULL is a pool of one, the
 * caller. */
#ifndef UNDINE_BASE_WORKERS_H
#define UNDINE_BASE_WORKERS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { WORKERS_MAX = 64 };

struct workers;
typedef void (*workers_part)(void *ctx, size_t i, size_t who);

/* A pool of n (1..WORKERS_MAX), the owner included; n = 1 gives NULL.  UNDINE_ENOMEM, UNDINE_EIO.
 */
int workers_open(struct workers **out, uint32_t n, struct undine_err *err);
void workers_close(struct workers *w); /* NULL-safe; not while workers_run is under way */
size_t workers_count(const struct workers *w);
/* n < 2^32. */
void workers_run(struct workers *w, size_t n, workers_part part, void *ctx);

#endif
