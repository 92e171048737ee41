/* within.h: call a function of somebody else's library that may hang for ever. */
#ifndef UNDINE_BASE_WITHIN_H
#define UNDINE_BASE_WITHIN_H

#include <stdbool.h>

/* Call fn(arg) in a thread of its own and wait at most timeout_ms for its end.  true = it returned;
 * false = it is left behind, still running: nothing that it uses may be freed.  Any thread. */
bool within_ms(void (*fn)(void *arg), void *arg, int timeout_ms);

#endif
