/* demo_probe.h: a scorer beside the demo's daemon: it follows the published versions and scores the
 * same request again and again, so that one can see a score change when a version is swapped in.
 *
 * The request is a user of `undine generate` who looked at items of three categories, and two candidates:
 * an item of one of these and one of another category.  A model that has found the planted interests scores the
 * first much higher.  Main thread. */
#ifndef UNDINE_OPS_DEMO_PROBE_H
#define UNDINE_OPS_DEMO_PROBE_H

#include "base/err.h"

#include <stdint.h>

struct undine_scorer;
struct undine_session;

struct demo_probe {
    const char *versions_dir; /* borrowed */
    struct undine_scorer *scorer;
    struct undine_session *session;
    uint64_t version, swaps; /* in use; 0 = none yet */
    float first[2], now[2];  /* scores: {in the user's interest, outside} by first and newest version */
    uint64_t first_version;
};

/* Open or refresh, then score.  UNDINE_OK also where nothing is published yet. */
int demo_probe_step(struct demo_probe *p, struct undine_err *err);
void demo_probe_release(struct demo_probe *p);

#endif
