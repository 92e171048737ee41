/* scorer.h: how sessions and the swap of versions share the image in use.
 *
 * `current` points to the image that new calls use.  A session's call pins it: it writes the
 * pointer into its own `pinned` and looks at `current` again; if that moved, it starts over.  A
 * refresh opens the new image beside the old one, exchanges `current`, and closes an old image only
 * after it looked at every session's `pinned` and found it in none.
 *
 * Why no call ever uses a closed image.  The four accesses (P: store to pinned, L: second load of
 * current; X: exchange of current, S: load of pinned in the scan) are sequentially consistent, so
 * there is one order of all of them, with P before L and X before S.  Let a call go on with image
 * A, so that L gave A, and let a refresh take A away with X. L before X: then P, L, X, S stand in
 * this order and S sees A pinned (or what the session wrote later, which is after its call is
 * over): A is not closed while the call runs. X before L: then L gives A only if a later exchange
 * put an image with A's address back.  That is another image, opened after A was closed, whole and
 * current, and the same holds for it. The end of a call stores NULL (release) which the scan reads
 * (acquire): all reads of the call are over before the image is unmapped.
 *
 * Why nothing waits.  A call takes no lock; it starts over only if a swap came between its two
 * loads. The mutex guards the list of sessions and that of images that wait; refresh holds it for
 * the scan alone, not while it reads files or unmaps, and only opening and closing a session ever
 * wait for it. Unmapping is left to refresh and close on purpose: it takes milliseconds for a large
 * version, which a call must not pay.  An image that a call still pins is closed by the next
 * refresh. */
#ifndef UNDINE_SCORER_SCORER_H
#define UNDINE_SCORER_SCORER_H

#include "scorer/image.h"
#include "scorer/request.h"

#include <pthread.h>
#include <stdatomic.h>

struct undine_session {
    _Atomic(struct image *) pinned; /* NULL between calls */
    struct undine_scorer *scorer;
    struct undine_session *next; /* under the scorer's mutex */
    /* Of the thread that scores. */
    struct request request;
    struct request_cut cut; /* of all requests that were scored */
    struct model_scratch *scratch;
    uint64_t version;
};

struct undine_scorer {
    char dir[VERSION_PATH_MAX];
    enum undine_precision precision;
    _Atomic(struct image *) current;
    _Atomic uint64_t number; /* of current, for those that do not pin */
    pthread_mutex_t mutex;
    struct undine_session *sessions;
    struct image *retired; /* images that were current and are not closed yet */
};

/* For the length of a call. */
struct image *session_pin(struct undine_session *t);
void session_unpin(struct undine_session *t);

/* The sequences of a user as they are stored. */
struct session_steps {
    const struct request_steps *sequence; /* (n_sequences) */
    uint64_t data_digest;                 /* of the schema that they were stored by */
};

/* undine_score; steps: NULL = the request's own sequences.  Where UNDINE_EINVAL is about the
 * request, t->request.fault says which part of it.  UNDINE_ESTATE where the version's schema is
 * another than that of the steps. */
int session_score(struct undine_session *t, const struct undine_request *req,
                  const struct session_steps *steps, float *prob, struct undine_err *err);

/* From an error inside to one of the public header. */
int scorer_error(struct undine_error *out, const struct undine_err *err, int rc);

#endif
