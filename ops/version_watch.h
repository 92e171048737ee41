/* version_watch.h: a thread that knows what is published, whoever did it, and that rolls back and
 * resumes for a daemon: both read whole versions and wait for the disk and for commands, which the
 * learner must not. */
#ifndef UNDINE_OPS_VERSION_WATCH_H
#define UNDINE_OPS_VERSION_WATCH_H

#include "learner/version_publish.h"

typedef void (*version_watch_say_fn)(void *payload, int level, const char *text);

struct version_watch_status {
    struct version_state state;          /* as of the last look */
    uint64_t looks;                      /* so far; one every VERSION_WATCH_MS */
    uint64_t rollbacks, resumes, failed; /* that this thread was asked for */
};
enum { VERSION_WATCH_MS = 250 };

struct version_watch;
/* dir: borrowed, and there.  say: any time, on the thread. */
int version_watch_open(struct version_watch **out, const char *dir, version_watch_say_fn say,
                       void *payload, struct undine_err *err);
void version_watch_close(struct version_watch *w); /* does what it was asked for; NULL-safe */

void version_watch_status(struct version_watch *w, struct version_watch_status *out);
/* Go back to the newest version published before `below` (0 = the published one); where there is
 * none, publication is put on hold.  Nothing where it is on hold already.  Any thread; what was
 * asked for last counts. */
void version_watch_roll_back(struct version_watch *w, uint64_t below, const char *reason);
void version_watch_resume(struct version_watch *w, const char *reason);

#endif
