/* beside.h: one piece of work on a thread of its own, beside what its caller does meanwhile.
 *
 * Begun and joined by one thread.  Where no thread can be had, the work is done when it is joined.
 */
#ifndef UNDINE_OPS_BESIDE_H
#define UNDINE_OPS_BESIDE_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>

typedef int (*beside_fn)(void *payload, struct undine_err *err);

struct beside {
    beside_fn fn;
    void *payload;
    pthread_t thread;
    bool threaded;
    int rc;
    struct undine_err err;
};

/* fn(payload, ...) from now on; name as for pthread_setname_np.  Borrows b and payload until it is
 * joined. */
void beside_begin(struct beside *b, const char *name, beside_fn fn, void *payload);
/* What fn returned, and its error. */
int beside_join(struct beside *b, struct undine_err *err);

#endif
