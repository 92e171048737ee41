/* publish_gate.h: the gate (learner/gate.h) as the publisher's thread has it: what is known of the
 * published version, the verdict on the next one, and counts of both for people. */
#ifndef UNDINE_OPS_PUBLISH_GATE_H
#define UNDINE_OPS_PUBLISH_GATE_H

#include "learner/gate.h"
#include "learner/model/manifest.h"
#include "learner/version.h"

struct publish_gate_status {
    uint64_t passed, too_few, failed; /* verdicts; failed: whether obeyed or not */
    uint64_t refused;                 /* versions not published for it */
    uint64_t version;                 /* that the newest verdict is of, 0 = none */
    struct gate_figures figures;
    struct gate_verdict verdict;
};

struct publish_gate {
    struct gate_options opt;
    const char *dir; /* borrowed */
    struct gate_published published;
    struct publish_gate_status status;
    char *json; /* of the newest verdict */
};

void publish_gate_init(struct publish_gate *g, const struct gate_options *opt, const char *dir);
void publish_gate_release(struct publish_gate *g);

/* The verdict on a snapshot, put into extra, where it stays until the next one; nothing where the
 * gate is off.  Sorts the snapshot and attaches its norms.  What is known of the published version
 * is read anew where somebody else has moved CURRENT.  UNDINE_ENOMEM, UNDINE_ECORRUPT, UNDINE_EIO.
 */
int publish_gate_judge(struct publish_gate *g, struct snapshot *s, struct version_extra *extra,
                       struct undine_err *err);
/* It was written as this version, and is published or not. */
void publish_gate_written(struct publish_gate *g, const struct snapshot *s,
                          const struct version_info *info, bool published);

#endif
