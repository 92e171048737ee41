/* version_publish.h: which version scorers take: CURRENT, and HISTORY, which tells of every change.
 *
 * A version is written first and published then, in two steps: CURRENT is moved, and a line is
 * added to HISTORY.  A crash may come between any two of them; version_republish finishes what it
 * cut short.  Publisher thread. */
#ifndef UNDINE_LEARNER_VERSION_PUBLISH_H
#define UNDINE_LEARNER_VERSION_PUBLISH_H

#include "learner/version.h"

/* Point CURRENT at a version that is there, and note it in HISTORY.  UNDINE_EIO. */
int version_publish(const char *dir, const struct version_info *info, struct undine_err *err);

/* At start, with the version from which learning goes on: publish it where CURRENT is older,
 * missing or names what is no whole version, and where it is published already, give it the line in
 * HISTORY that it lacks.  From a whole version CURRENT never goes back.  UNDINE_EIO. */
int version_republish(const char *dir, const struct version_info *newest, struct undine_err *err);

#endif
