/* scoring.h: POST /v1/score: requests in JSON are scored by the version that CURRENT names.
 *
 * One scorer (scorer/scorer.h) for all threads, and a session with its parser and buffers for each
 * request that is being answered, at most `threads` at once.  A thread of its own looks for newer
 * versions, so no request ever waits for one.  What a request takes grows to the largest one seen
 * and does not depend on the model's size.
 *
 * In the daemon nothing of this is opened before the first request: who does not score does not
 * pay. */
#ifndef UNDINE_OPS_SCORING_H
#define UNDINE_OPS_SCORING_H

#include "ops/http.h"
#include "ops/live_users.h"
#include "scorer/undine.h"

#include <stdbool.h>

struct scoring_options {
    const char *versions_dir; /* borrowed */
    uint32_t threads;
    int64_t refresh_ms;
    enum undine_precision precision;
    bool on_demand; /* open with the first request */
    /* Whose sequences are joined where a request names a user and no `sequences`; NULL = nobody's:
     * borrowed. */
    const struct live_users *users;
};

struct scoring;
/* Where nothing is published yet, or nothing usable, it goes on looking.  UNDINE_ENOMEM, UNDINE_EIO
 * (no thread), UNDINE_ECONFIG where this processor has no use for the precision. */
int scoring_open(struct scoring **out, const struct scoring_options *opt, struct undine_err *err);
void scoring_close(struct scoring *s); /* NULL is fine; no handler may run */

/* Handler of POST /v1/score; payload is the struct scoring. */
int scoring_handle(void *scoring, const struct http_request *in, struct http_answer *out);

struct scoring_status {
    uint64_t version; /* in use, 0 = none */
    uint64_t swaps, refresh_failures;
    char why[UNDINE_ERR_MSG_MAX]; /* of the last look, where it failed; "" = it did not */
};
void scoring_status(struct scoring *s, struct scoring_status *out); /* any thread */
/* Append its metrics; NULL: as if nothing had happened. */
void scoring_metrics(struct scoring *s, struct writer *out);

#endif
