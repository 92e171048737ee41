/* served.h: the learner's side of what scorers have: which version the trainer's frozen model is,
 * who changed it, and whether its live calibration asks for a rollback.
 *
 * Does nothing where neither a gate nor a rollback is configured.  Learner thread, but for open and
 * close. */
#ifndef UNDINE_OPS_SERVED_H
#define UNDINE_OPS_SERVED_H

#include "configs/config.h"
#include "ops/publisher.h"
#include "ops/version_watch.h"

struct served {
    const struct config *config; /* NULL = off; all borrowed */
    struct trainer *trainer;
    struct publisher *publisher;
    struct version_watch *watch;
    const char *dir;
    bool candidate;                   /* given to the publisher and not judged yet */
    char digest[HASH128_HEX_LEN + 1]; /* of the version that the trainer knows */
    uint64_t differs_since;           /* look at which another version was seen first; 0 = none */
    uint64_t block;                   /* the newest that was looked at */
};

/* After the trainer is restored (restored.number 0 = it is new) and the publisher has published
 * what was cut short.  config: NULL switches it off. */
void served_open(struct served *s, const struct config *config, struct trainer *trainer,
                 struct publisher *publisher, struct version_watch *watch, const char *dir,
                 const struct version_info *restored);
static inline bool served_on(const struct served *s)
{
    return s->config != NULL;
}
/* Just before the snapshot of the next version is taken. */
void served_candidate(struct served *s);
/* Often: after each step, and before a snapshot. */
void served_step(struct served *s);

#endif
