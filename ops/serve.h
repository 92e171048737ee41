/* serve.h: `undine serve`: an HTTP scorer that follows CURRENT: a reader of versions, and nothing
 * else.
 *
 * It answers from its start; until a version is published, /readyz and /v1/score are 503. */
#ifndef UNDINE_OPS_SERVE_H
#define UNDINE_OPS_SERVE_H

#include "ops/http.h"
#include "scorer/undine.h"

struct serve_options {
    const char *versions_dir; /* borrowed */
    int64_t refresh_ms;       /* between two looks at CURRENT */
    enum undine_precision precision;
    struct http_options http; /* routes are set by serve_open */
};

struct serve;
/* Errors of http_open and scoring_open; UNDINE_ENOTFOUND where the directory does not exist. */
int serve_open(struct serve **out, const struct serve_options *opt, struct undine_err *err);
uint16_t serve_port(const struct serve *s);
/* Not ready any more, accept no more, answer what has been begun for at most timeout_ms. */
void serve_drain(struct serve *s, int64_t timeout_ms);
void serve_close(struct serve *s); /* NULL is fine */

#endif
