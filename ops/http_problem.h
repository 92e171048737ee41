/* http_problem.h: what is refused, said in the form of RFC 9457 (application/problem+json): type,
 * title, status, detail, and where a body is at fault the JSON pointer (RFC 6901) of the place.
 *
 * A type is a reference into /openapi.json, where the response is described. */
#ifndef UNDINE_OPS_HTTP_PROBLEM_H
#define UNDINE_OPS_HTTP_PROBLEM_H

#include "ops/http.h"

/* name, status, title */
#define HTTP_PROBLEMS(X)                                                                           \
    X(BadRequest, 400, "The request is not valid")                                                 \
    X(Unauthorized, 401, "A token is needed")                                                      \
    X(Forbidden, 403, "Not allowed here")                                                          \
    X(NotFound, 404, "There is no such path")                                                      \
    X(UnknownUser, 404, "Nothing is known of this user")                                           \
    X(UnknownVersion, 404, "There is no such version")                                             \
    X(MethodNotAllowed, 405, "The path has other methods")                                         \
    X(Conflict, 409, "The version cannot be published")                                            \
    X(BodyTooLarge, 413, "The body is too large")                                                  \
    X(UnsupportedMediaType, 415, "The body is not declared as JSON")                               \
    X(Failed, 500, "The server failed")                                                            \
    X(NotReady, 503, "Not ready")                                                                  \
    X(Busy, 503, "Too much at once")

#define HTTP_PROBLEM_ENUM(name, status, title) HTTP_PROBLEM_##name,
enum http_problem { HTTP_PROBLEMS(HTTP_PROBLEM_ENUM) HTTP_PROBLEM_COUNT };

/* Make it the answer; returns its status.  pointer may be NULL. */
int http_problem(struct http_answer *out, enum http_problem what, const char *pointer,
                 const char *detail, ...) __attribute__((format(printf, 4, 5)));
const char *http_problem_name(enum http_problem what);

#endif
