#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int undine_err_set(struct undine_err *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        err->code = code;
        err->sys_errno = 0;
        (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
    }
    return code;
}

int undine_err_sys(struct undine_err *err, int code, int sys_errno, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        err->code = code;
        err->sys_errno = sys_errno;
        (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        size_t len = strlen(err->msg);
        char reason[128];
        /* The GNU strerror_r returns the text and may leave the buffer alone. */
        const char *text = strerror_r(sys_errno, reason, sizeof reason);
        (void)snprintf(err->msg + len, sizeof err->msg - len, ": %s", text);
    }
    return code;
}

int undine_err_prefix(struct undine_err *err, const char *fmt, ...)
{
    if (err == NULL) {
        return UNDINE_EINVAL;
    }
    char old[UNDINE_ERR_MSG_MAX];
    memcpy(old, err->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->msg);
    (void)snprintf(err->msg + len, sizeof err->msg - len, ": %s", old);
    return err->code;
}

int undine_err_version(struct undine_err *err, const char *what, unsigned long long found,
                       unsigned known)
{
    return undine_err_set(err, UNDINE_EVERSION,
                          "%s: found format version %llu, this program knows versions up to %u: a "
                          "newer undine wrote it, go on with that one or a later one",
                          what, found, known);
}

const char *undine_error_text(int code)
{
    switch (code) {
    case UNDINE_OK:
        return "ok";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        UNDINE_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

void undine_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "undine: broken invariant at %s:%d: %s\n", file, line, cond);
    abort();
}
