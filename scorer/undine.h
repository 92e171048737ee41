/* undine.h: score candidates with the newest published version of a model (libundine).
 *
 * A scorer may be shared by all threads.  A session belongs to one thread at a time and holds that
 * thread's scratch memory; scoring allocates nothing once it has seen its largest request.  A bad or
 * half-written version is refused as a whole and the model in use stays in use.
 *
 * Values are the bytes of ids as they stand in the events ("5239" and the number 5239 are one id).
 * An id that the model has not learned scores as a new one; an absent field as an empty one. */
#ifndef UNDINE_H
#define UNDINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UNDINE_API __attribute__((visibility("default")))

/* Errors: 0 or a count >= 0, or a negative code; the same as in the program. */
enum { UNDINE_SCORER_MSG_MAX = 512 };
struct undine_error {
    int code;      /* -1 input/output, -3 corrupt, -4 version, -5 argument, -6 not found, ... */
    int sys_errno;
    char message[UNDINE_SCORER_MSG_MAX];
};

struct undine_scorer;
struct undine_session;

struct undine_value { /* one id */
    const char *data;
    size_t len;
};
struct undine_feature { /* one field of a user, context, candidate or step */
    const char *field; /* its name in the schema */
    const struct undine_value *values;
    size_t n_values;
};
struct undine_features {
    const struct undine_feature *features;
    size_t n_features;
};
struct undine_sequence { /* behaviour of the user, oldest step first; only the newest L count */
    const char *name;
    const struct undine_features *steps;
    size_t n_steps;
};
struct undine_request { /* one user in one context, and n candidates */
    struct undine_value user_id;    /* as `user` in the events; {NULL, 0} = unknown */
    struct undine_features user;    /* `profile` fields */
    struct undine_features context;
    const struct undine_sequence *sequences;
    size_t n_sequences;
    const struct undine_features *candidates;
    size_t n_candidates;
};

/* Open the version that DIR/CURRENT names.  -6 where nothing is published yet. */
UNDINE_API int undine_scorer_open(struct undine_scorer **out, const char *versions_dir,
                                  struct undine_error *err);
/* Look whether CURRENT moved, and swap if the version validates: 1 = swapped, 0 = unchanged, < 0 =
 * error, the model in use stays.  Any thread, one at a time; never blocks a session. */
UNDINE_API int undine_scorer_refresh(struct undine_scorer *s, struct undine_error *err);
/* Number of the version in use. */
UNDINE_API uint64_t undine_scorer_version(const struct undine_scorer *s);
UNDINE_API void undine_scorer_close(struct undine_scorer *s); /* NULL is fine; close sessions first */

UNDINE_API int undine_session_open(struct undine_session **out, struct undine_scorer *s,
                                   struct undine_error *err);
UNDINE_API void undine_session_close(struct undine_session *t);

/* Write n_candidates probabilities in [0, 1].  The request is borrowed for the call, which runs on one
 * model from begin to end.  -5 names the unknown field or sequence. */
UNDINE_API int undine_score(struct undine_session *t, const struct undine_request *req, float *prob,
                            struct undine_error *err);
/* Number of the version that the last undine_score of this session used. */
UNDINE_API uint64_t undine_session_version(const struct undine_session *t);

UNDINE_API const char *undine_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
