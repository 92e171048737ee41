#include "base/fault.h"

#ifdef UNDINE_FAULTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void fault_point(const char *name)
{
    static _Atomic long hits;
    const char *wanted = getenv("UNDINE_FAULT");
    size_t len = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, len) != 0 ||
        (wanted[len] != '\0' && wanted[len] != ':')) {
        return;
    }
    long nth = wanted[len] == ':' ? strtol(wanted + len + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&hits, 1) + 1 == nth) {
        (void)raise(SIGKILL);
    }
}
#else
typedef int fault_compiled_out;
#endif
