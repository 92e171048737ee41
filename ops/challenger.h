/* challenger.h: another configuration on the examples of a state, beside what its learner said.
 *
 * The examples that the state's log still holds are learned from their beginning by a new model of
 * the other configuration, up to where the newest version of the state stands.  That version has
 * the newest predictions of the state's learner, each made before its example was learned; the
 * challenger's of the same examples are put beside them.  The state is only read, also under a
 * running daemon.  The state's learner may have learned from examples that the log has trimmed: the
 * report says from where each began. */
#ifndef UNDINE_OPS_CHALLENGER_H
#define UNDINE_OPS_CHALLENGER_H

#include "configs/config.h"

#include <stdio.h>

struct challenger_options {
    const struct config *config; /* the other one; the same data: fields and sequences */
    const char *state_dir;
};

/* Writes the report (docs/versions.md) to out.  UNDINE_ENOTFOUND where there is no version or
 * nothing to learn, UNDINE_ESTATE where the examples are of other fields, and what reading and
 * learning may say. */
int challenger_run(const struct challenger_options *opt, FILE *out, struct undine_err *err);

#endif
