/* version_publish.h: which version scorers take: CURRENT, HISTORY, which tells of every change, and
 * HOLD, while which nothing is published by itself.
 *
 * A version is written first and published then, in two steps: CURRENT is moved, and a line is
 * added to HISTORY.  A rollback writes HOLD before these two.  A crash may come between any two of
 * them; every function here, and so the next start, first finishes what it cut short.  All take the
 * directory's lock (version_hold.h): any thread, and any process beside a running daemon. */
#ifndef UNDINE_LEARNER_VERSION_PUBLISH_H
#define UNDINE_LEARNER_VERSION_PUBLISH_H

#include "learner/version.h"
#include "learner/version_hold.h"

/* Of a version that was just written: point CURRENT at it and note it in HISTORY, unless
 * publication is on hold.  1 = published, 0 = on hold, where nothing changes.  UNDINE_EIO. */
int version_publish(const char *dir, const struct version_info *info, struct undine_err *err);
/* Note in HISTORY that the gate refused it. */
int version_refuse(const char *dir, const struct version_info *info, const char *reason,
                   struct undine_err *err);

/* At start, with the version from which learning goes on: publish it where CURRENT is older,
 * missing or names what is no whole version, and where it is published already, give it the line in
 * HISTORY that it lacks.  A version merged from the published delta is the same model: CURRENT
 * stays.  From a whole version CURRENT never goes back.  A version that was withdrawn (or is merged
 * from one that was), or refused by the gate, is not published, and on hold none is, except that
 * CURRENT leaves what is no whole version for the newest published one below it.  UNDINE_EIO. */
int version_republish(const char *dir, const struct version_info *newest, struct undine_err *err);

/* ---- by hand, or by a rule ---- */

/* Publish a version that is there and whole.  A version older than CURRENT is not taken
 * (UNDINE_ESTATE: that is a rollback).  A hold stays.  UNDINE_ENOTFOUND, UNDINE_ECORRUPT, and what
 * reading it may say. */
int version_publish_number(const char *dir, uint64_t number, const struct version_act *act,
                           struct undine_err *err);
/* Go back to version `to`, 0 = the newest whole one that was published before CURRENT and not
 * withdrawn.  All above it up to CURRENT are withdrawn, and publication is on hold.  *from and *now
 * (may be NULL): CURRENT before and after.  UNDINE_ENOTFOUND (no such version), UNDINE_ESTATE (it
 * is not older than CURRENT, or was never published), UNDINE_ECORRUPT: nothing has changed. */
int version_rollback(const char *dir, uint64_t to, const struct version_act *act, uint64_t *from,
                     uint64_t *now, struct undine_err *err);
/* The same to the newest whole one that was published before version `below` (0 = CURRENT). */
int version_rollback_before(const char *dir, uint64_t below, const struct version_act *act,
                            uint64_t *from, uint64_t *now, struct undine_err *err);
/* Put publication on hold, and lift it.  1 = done, 0 = it was so already. */
int version_hold(const char *dir, const struct version_act *act, struct undine_err *err);
int version_resume(const char *dir, const struct version_act *act, struct undine_err *err);

/* What is published now, without the lock.  0 = nothing. */
struct version_state {
    uint64_t current;
    struct version_hold hold;
};
int version_state(const char *dir, struct version_state *out, struct undine_err *err);

#endif
