/* gate_window.h: the newest examples with two scores each: that of the published version and that
 * of the learner, which predicted them before it learned them.
 *
 * Pairs come from the users that the frozen metrics sample (frozen.h), while there is a frozen
 * model, which is the published version.  Besides, sums over blocks of `live_max` of these users'
 * examples tell what calibration is now: of what is served, and of the learner, which are summed
 * where nothing is frozen too.  A negative that an impression's late click takes back is a pair of
 * its own, as in metrics.h; the blocks' sums take it back at the scores of now.
 * Learner thread. */
#ifndef UNDINE_LEARNER_GATE_WINDOW_H
#define UNDINE_LEARNER_GATE_WINDOW_H

#include "learner/metrics.h"
#include "learner/snapshot.h"

#include <stdbool.h>

struct gate_window_options {
    uint64_t pairs_max; /* 0 = off: nothing below is kept */
    uint64_t live_max;  /* 0 = no blocks */
};

struct gate_sums { /* over predictions; weight 1 for a positive, 1/rate for a negative */
    double p, label;
};

/* One block.  Calibration: predicted over observed clicks, NaN where none was observed. */
struct gate_block {
    uint64_t number;  /* of blocks that were filled, this one included; 0 = none yet */
    uint64_t version; /* published when the block began, 0 = none or several unknown */
    double published, learner;
};

struct gate_window {
    struct gate_window_options opt;
    struct metrics_row *published; /* (pairs_max) ring; user = group of rows that compare */
    float *learner;                /* (pairs_max) logits */
    uint64_t n, at;
    uint64_t version;      /* that is published, as far as the owner knows; 0 = none */
    uint64_t live_n;       /* examples of the block at hand */
    uint64_t live_scored;  /* of which the published version scored */
    uint64_t live_version; /* as gate_block.version */
    struct gate_sums live_published, live_learner;
    struct gate_block block; /* the newest that is full */
};

int gate_window_init(struct gate_window *w, const struct gate_window_options *opt,
                     struct undine_err *err);
void gate_window_release(struct gate_window *w); /* fine on a zeroed one */

struct gate_pair {
    uint64_t group;
    float published, learner; /* logits; published NaN: no version scored it */
    float sample_rate;
    bool positive, revises; /* revises: its negative is taken back first */
};
void gate_window_add(struct gate_window *w, const struct gate_pair *p);
/* What is published changed to `version`; forget: scores until now are of no use any more. */
void gate_window_publish(struct gate_window *w, uint64_t version, bool forget);

/* State in a snapshot's train arrays: gate.state (7) u64: version, live n, scored, version, block
 * number, version, pairs; gate.live (6) f64: sums of published and learner, calibrations of the
 * block; gate.group u64, gate.published f32, gate.learner f32, gate.weight f32, oldest first. False
 * where memory is out. */
bool gate_window_save(const struct gate_window *w, struct snapshot *s);
/* Into one that is empty; the newest pairs where there is room for fewer.  Without the arrays it
 * stays empty.  UNDINE_ECORRUPT. */
int gate_window_load(struct gate_window *w, const struct snapshot *s, struct undine_err *err);

/* The pairs of a snapshot as two windows of metrics_row, in its memory; *n = 0 where there are
 * none.  UNDINE_ENOMEM, UNDINE_ECORRUPT. */
int gate_window_rows(struct snapshot *s, struct metrics_row **published,
                     struct metrics_row **learner, size_t *n, struct undine_err *err);

#endif
