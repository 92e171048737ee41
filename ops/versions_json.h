/* versions_json.h: /v1/versions: what is published, what else is there, what was changed and by
 * whom; and the two changes that an operator may ask for.  Handlers; any thread. */
#ifndef UNDINE_OPS_VERSIONS_JSON_H
#define UNDINE_OPS_VERSIONS_JSON_H

#include "ops/http.h"

enum { VERSIONS_TOKEN_MAX = 256 };

struct versions_json {
    const char *dir; /* borrowed; NULL = not known yet */
    /* Version that requests are scored by, 0 = none; payload is the caller's. */
    uint64_t (*in_use)(void *payload);
    void *payload;
    char token[VERSIONS_TOKEN_MAX]; /* that changes need; "" = none are allowed */
};

/* Read the token's file: its first line, 16 bytes or more.  UNDINE_EIO, UNDINE_ECONFIG. */
int versions_token(char out[VERSIONS_TOKEN_MAX], const char *path, struct undine_err *err);

/* GET /v1/versions; payload is the struct versions_json. */
int versions_handle(void *payload, const struct http_request *in, struct http_answer *out);
/* POST /v1/versions/publish {"version":N}, POST /v1/versions/rollback {"version":N} or {}; both
 * take "reason". */
int versions_handle_publish(void *payload, const struct http_request *in, struct http_answer *out);
int versions_handle_rollback(void *payload, const struct http_request *in, struct http_answer *out);

#endif
