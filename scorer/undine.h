/* undine.h: score candidates with the newest published version of a model (libundine).
 *
 * Handles
 *   A scorer holds the version in use, mapped from its files.  A session holds the scratch memory
 * of one thread.  Open a scorer for each model, a session for each thread (or take them from a
 * pool). Both are opaque; close all sessions of a scorer before the scorer.
 *
 * Threads
 *   A scorer may be used by any number of threads at the same time, except where a call says
 *   otherwise.  A session may move between threads, but is used by one at a time.  Scoring takes no
 *   lock and never waits: for no other session, for no refresh.  The library starts no threads,
 *   handles no signals, prints nothing, reads no environment and keeps no global state.
 *
 * Versions
 *   undine_scorer_refresh looks for a newly published version, checks every byte of it, and makes
 * it the one in use by the exchange of one pointer.  A call that is running ends on the version
 * that it began with.  A version that is damaged or half there is refused as a whole, by its
 * reason, and the one in use stays in use.  A version may be a delta: what changed since another
 * one, which it is laid over; then all versions of its chain are checked, and the model that comes
 * out of it by its digest.  What the version in use holds open already is shared, so that the next
 * delta costs what changed.  Where the published version is damaged when a scorer is opened, it
 * begins with the newest whole one that was published before it and never rolled back;
 * undine_scorer_version tells, and each refresh says what is wrong until it is not.  Nothing is
 * refreshed unless the caller does it: from a thread of its own, say, once a second.
 *
 * Values
 *   are the bytes of ids as they stand in the events ("5239" and the number 5239 are one id), in
 * any encoding, without a NUL at the end.  An id that the model has not learned scores as a new
 * one. Absent, NULL and empty values are the same: nothing.  Values of a field that are equal count
 *   once; those beyond the `values_max` of the schema are ignored.
 *
 * Errors
 *   A call that can fail returns 0 or more, or a code of enum undine_code, and fills the caller's
 *   struct undine_error: one line that names what is wrong, where, and what would be right.  It is
 *   written on failure only; NULL is allowed.  A call that failed has changed nothing, but for
 * memory that a session has grown.  Results are written only by calls that succeed.  Handing in
 * NULL where this header does not allow it, or a handle after its close, is undefined.
 *
 * Compatibility
 *   The shared library's name is libundine.so.0; its symbols have the version UNDINE_0.  Until 1.0
 * a change that breaks programs raises that number.  Functions may be added; structs of this header
 *   never change size under one number. */
#ifndef UNDINE_H
#define UNDINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UNDINE_API __attribute__((visibility("default")))

/* New codes may come: what is not known here is an error like any other below 0. */
enum undine_code {
    UNDINE_CODE_IO = -1,        /* a file cannot be read: sys_errno says why; worth another try */
    UNDINE_CODE_NO_MEMORY = -2, /* worth another try */
    UNDINE_CODE_CORRUPT = -3,   /* a version is not what it says it is */
    UNDINE_CODE_FORMAT = -4,    /* a version of a newer format than this library knows */
    UNDINE_CODE_ARGUMENT = -5,  /* the request or another argument is wrong */
    UNDINE_CODE_NOT_FOUND = -6, /* nothing is published there (yet), or a version is gone */
    UNDINE_CODE_CONFIG = -9     /* a version's model is none that this library can compute */
};

enum { UNDINE_SCORER_MSG_MAX = 512 };
struct undine_error {
    int code;                            /* enum undine_code */
    int sys_errno;                       /* of the system call that failed, or 0 */
    char message[UNDINE_SCORER_MSG_MAX]; /* UTF-8 where paths and names are; ends with a NUL */
};

/* What the dense part of a model (activation unit and MLP) is computed in. */
enum undine_precision {
    UNDINE_PRECISION_F32 = 0, /* floats of 32 bits: as it was trained */
    /* Products in 16-bit integers, made when a version is opened, the rest in 32 bits: about half
     * the time, for processors with AVX-512 VNNI (Intel from 2019 on, AMD from Zen 4 on).
     * Probabilities differ in about the fourth digit; docs/scorers.md says what it costs. */
    UNDINE_PRECISION_INT16 = 1
};

struct undine_scorer;
struct undine_session;

struct undine_value { /* one id; {NULL, 0} = none */
    const char *data;
    size_t len; /* bytes */
};
struct undine_feature { /* one field of a user, context, candidate or step */
    const char *field;  /* its name in the schema, NUL-terminated */
    const struct undine_value *values;
    size_t n_values;
};
struct undine_features { /* in any order, none twice; fields may be left out */
    const struct undine_feature *features;
    size_t n_features;
};
struct undine_sequence { /* behaviour of the user, oldest step first; only the newest L count */
    const char *name;    /* in the schema, NUL-terminated */
    const struct undine_features *steps;
    size_t n_steps;
};
struct undine_request {          /* one user in one context, and n candidates */
    struct undine_value user_id; /* as `user` in the events; the value of the fields that take it */
    struct undine_features user; /* `profile` fields */
    struct undine_features context;
    const struct undine_sequence *sequences; /* in any order, none twice; may be left out */
    size_t n_sequences;
    const struct undine_features *candidates;
    size_t n_candidates; /* at most 2^20 */
};

/* Open the version that VERSIONS_DIR/CURRENT names.
 * Ownership: *out is the caller's, to be closed; written on success only.  The path is copied.
 * Errors: NOT_FOUND where nothing is published yet; CORRUPT (and no older one is whole), FORMAT,
 * CONFIG, IO, NO_MEMORY, ARGUMENT where the path is too long. Cost: every byte of the version's
 * files is read once, for its checksum; nothing is parsed or copied but the manifest and the dense
 * parameters.  Memory is the mapped files'. */
UNDINE_API int undine_scorer_open(struct undine_scorer **out, const char *versions_dir,
                                  struct undine_error *err);

/* The same, computing in that precision, now and after every refresh.  Errors: as above, and CONFIG
 * where this processor has no use for it, ARGUMENT where it is none of the above. */
UNDINE_API int undine_scorer_open_with(struct undine_scorer **out, const char *versions_dir,
                                       enum undine_precision precision, struct undine_error *err);

/* Look whether another version is published, and swap if it validates: 1 = swapped, 0 = unchanged,
 * < 0 = error, and the version in use stays in use.
 * Threads: any, but one at a time for a scorer.  Never blocks a session; sessions that open or
 * close meanwhile may wait for microseconds. Errors: as undine_scorer_open.  The next call tries
 * again. Cost: one small file is read where nothing changed, else as undine_scorer_open.  Versions
 * that no call uses any more are unmapped here, and not in a call of undine_score. */
UNDINE_API int undine_scorer_refresh(struct undine_scorer *s, struct undine_error *err);

/* Number of the version in use: that of the next call.  Threads: any.  Cost: a load. */
UNDINE_API uint64_t undine_scorer_version(const struct undine_scorer *s);

/* Give everything back.  NULL is fine.  No session may be open: that aborts. */
UNDINE_API void undine_scorer_close(struct undine_scorer *s);

/* A session on a scorer, which must stay open longer.
 * Ownership: *out is the caller's, to be closed; written on success only.
 * Errors: NO_MEMORY.  Cost: microseconds; its memory grows to the largest request, and stays. */
UNDINE_API int undine_session_open(struct undine_session **out, struct undine_scorer *s,
                                   struct undine_error *err);
/* NULL is fine.  No call may be running on it. */
UNDINE_API void undine_session_close(struct undine_session *t);

/* Write n_candidates probabilities of a click, each in [0, 1], to prob.
 * Ownership: the request and all that it points to are borrowed for the call; prob is the caller's.
 * Errors: ARGUMENT names the field or sequence that the model does not have, that belongs
 * elsewhere, or that is given twice; NO_MEMORY.  Nothing is written then. Results: one version for
 * the whole call.  A probability depends on the version, the user and the candidate alone: not on
 * the other candidates of the call, their number or order, the thread or earlier calls; equal ones
 * are equal bit for bit on one kind of processor. Cost: in proportion to ids looked up and
 * candidates times steps; no allocation once the session has seen its largest request; no system
 * call. */
UNDINE_API int undine_score(struct undine_session *t, const struct undine_request *req, float *prob,
                            struct undine_error *err);

/* Number of the version that the last undine_score of this session used, or, before the first, the
 * one that was in use when it was opened.  Threads: the session's. */
UNDINE_API uint64_t undine_session_version(const struct undine_session *t);

/* What undine_score left out of this session's requests since it was opened: ids beyond the
 * `values_max` of their field, and steps older than the newest L of their sequence.  They are cut
 * as they are for training; who sends many of them sends them for nothing.  Requests that failed
 * do not count, a user's or context's ids count once for all candidates.  Threads: the session's.
 * Cost: two loads. */
UNDINE_API void undine_session_cut(const struct undine_session *t, uint64_t *values,
                                   uint64_t *steps);

/* What the version in use is and expects, as a JSON object: `version`, `kind` (full or delta),
 * `chain` (how many versions a delta needs), `digest`, `trained_seq`, `examples`, `event_time_ms`,
 * `created_ms` (milliseconds since 1970 UTC), `precision` (f32 or int16: what this scorer computes
 * in), `rows` by table, `fields` (`name`, `group`: user, candidate or context, `values_max`,
 * `user_id`) and `sequences` (`name`, `length`, `fields`).  Members may be added. Threads: the
 * session's, since the version is held for the call; does not change what undine_session_version
 * says. Results: bytes of the text without its NUL; text (size bytes) gets it only if it fits with
 * its NUL, so that {NULL, 0} asks for the size.  A swap may come between two calls: compare again.
 * Errors: NO_MEMORY.  Cost: microseconds, and allocations. */
UNDINE_API int undine_session_describe(struct undine_session *t, char *text, size_t size,
                                       struct undine_error *err);

/* Version of the library: "0.1.0".  A constant. */
UNDINE_API const char *undine_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
