/* direct_score.h: the scorer's twin: the same request, put together in the plainest way (a row for
 * every id that occurs, nothing shared) and given to the same model. */
#ifndef UNDINE_TESTS_SUPPORT_DIRECT_SCORE_H
#define UNDINE_TESTS_SUPPORT_DIRECT_SCORE_H

#include "learner/snapshot.h"
#include "scorer/undine.h"

/* prob (n_candidates).  The snapshot is sorted. */
void direct_score(const struct snapshot *s, const struct undine_request *req, float *prob);

#endif
