/* err.h: how a library function says what went wrong.
 *
 * A fallible function returns 0 (or a count >= 0) or a negative UNDINE_E* code, and describes the
 * failure in a caller-owned struct undine_err: one impersonal line that holds the value, the place
 * and what would be right, so that it can be printed as it stands.  It is written only on failure;
 * NULL is allowed everywhere.  Callers add context in front with undine_err_prefix, never replace
 * it. Nothing here allocates, logs or exits. */
#ifndef UNDINE_BASE_ERR_H
#define UNDINE_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define UNDINE_OK 0
#define UNDINE_ERRORS(X)                                                                           \
    X(UNDINE_EIO, -1, "input/output error")                                                        \
    X(UNDINE_ENOMEM, -2, "out of memory")                                                          \
    X(UNDINE_ECORRUPT, -3, "corrupt data")                                                         \
    X(UNDINE_EVERSION, -4, "format version not supported")                                         \
    X(UNDINE_EINVAL, -5, "invalid argument")                                                       \
    X(UNDINE_ENOTFOUND, -6, "not found")                                                           \
    X(UNDINE_EAGAIN, -7, "try again")                                                              \
    X(UNDINE_EFULL, -8, "full")                                                                    \
    X(UNDINE_ECONFIG, -9, "configuration error")                                                   \
    X(UNDINE_ELOSS, -10, "data lost at the source")                                                \
    X(UNDINE_ESTATE, -11, "state does not fit the configuration")                                  \
    X(UNDINE_EGUARD, -12, "stopped by a guard")

enum undine_err_code {
#define X(name, value, text) name = value,
    UNDINE_ERRORS(X)
#undef X
};

enum { UNDINE_ERR_MSG_MAX = 512 };

struct undine_err {
    int code;      /* UNDINE_E*, 0 while nothing failed */
    int sys_errno; /* errno of the failed system call, or 0 */
    char msg[UNDINE_ERR_MSG_MAX];
};

/* Set code and message; returns code, so that `return undine_err_set(...)` reads well. */
int undine_err_set(struct undine_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a failed system call: appends ": strerror(sys_errno)". */
int undine_err_sys(struct undine_err *err, int code, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Put context in front of the message of an error that already happened; returns err's code
 * (UNDINE_EINVAL where err is NULL). */
int undine_err_prefix(struct undine_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* UNDINE_EVERSION for stored bytes of a format newer than this program: says what they are, which
 * format was found, the newest one known, and what helps. */
int undine_err_version(struct undine_err *err, const char *what, unsigned long long found,
                       unsigned known);
/* "corrupt data" for UNDINE_ECORRUPT, and so on. */
const char *undine_error_text(int code);

/* A broken invariant is our bug: abort with file and line, in release builds too. */
#define UNDINE_ASSERT(cond)                                                                        \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            undine_assert_failed(#cond, __FILE__, __LINE__);                                       \
        }                                                                                          \
    } while (0)
__attribute__((noreturn, cold)) void undine_assert_failed(const char *cond, const char *file,
                                                          int line);

#endif
