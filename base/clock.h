/* clock.h: the only place that reads a clock.  Nothing that decides what a model becomes may call
 * it: time there is event time, and comes with the events. */
#ifndef UNDINE_BASE_CLOCK_H
#define UNDINE_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_ns(void);
int64_t clock_realtime_ms(void);

#endif
