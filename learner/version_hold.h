/* version_hold.h: one change of a directory of versions at a time, and publication on hold.
 *
 *   DIR/LOCK  held by flock while CURRENT, HISTORY or HOLD change and while versions go
 *   DIR/HOLD  there while no version may be published by itself: a JSON object that says since
 *             when, by whom and why, and to which version was gone back (replaced by rename)
 * A daemon and a command may both be writers.  The lock of a process that dies is free. */
#ifndef UNDINE_LEARNER_VERSION_HOLD_H
#define UNDINE_LEARNER_VERSION_HOLD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { VERSION_BY_MAX = 32, VERSION_REASON_MAX = 256 };

/* Who changes what is published, and why. */
struct version_act {
    const char *by;     /* a word: "command", "http", "calibration" */
    const char *reason; /* for people; one line, cut at VERSION_REASON_MAX - 1 bytes */
    int64_t at_ms;      /* wall clock, > 0 */
};

struct version_hold {
    bool held;
    uint64_t version, from; /* gone back to, and from; 0 = publication was only put on hold */
    int64_t at_ms;
    char by[VERSION_BY_MAX], reason[VERSION_REASON_MAX];
};

/* Waits until the directory is ours; DIR exists.  Give *fd to version_unlock.  UNDINE_EIO. */
int version_lock(const char *dir, int *fd, struct undine_err *err);
void version_unlock(int fd);

/* A HOLD that cannot be read holds too, with that as its reason.  Any thread, no lock.  UNDINE_EIO,
 * UNDINE_ENOMEM. */
int version_hold_read(const char *dir, struct version_hold *out, struct undine_err *err);
/* Replace, and remove HOLD; on disk when they return.  Under the lock.  UNDINE_EIO, UNDINE_ENOMEM.
 */
int version_hold_write(const char *dir, const struct version_hold *h, struct undine_err *err);
int version_hold_remove(const char *dir, struct undine_err *err);

#endif
