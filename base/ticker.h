/* ticker.h: call a function again and again in a thread of its own: for questions to another
 * machine that a busy thread must not wait for. */
#ifndef UNDINE_BASE_TICKER_H
#define UNDINE_BASE_TICKER_H

#include "base/err.h"

struct ticker;
/* Call fn(arg) every period_ms, the first time at once; a call that takes longer delays the next.
 */
int ticker_start(struct ticker **out, void (*fn)(void *arg), void *arg, int period_ms,
                 struct undine_err *err);
/* No more calls; waits for the one that is running.  NULL-safe. */
void ticker_stop(struct ticker *t);

#endif
