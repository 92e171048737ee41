/* http.h: a small HTTP server for operators: GET and HEAD, one thread of its own.
 *
 * Routes are exact paths.  A handler is called on the server's thread, fills the body and returns
 * the status; it may not block for long.  Anything else: 404 that lists the routes, 405 with Allow.
 * Bounded: connections, time of an idle one, memory of a request; a body that is sent is refused.
 */
#ifndef UNDINE_OPS_HTTP_H
#define UNDINE_OPS_HTTP_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdint.h>

struct http_route {
    const char *path; /* "/metrics" */
    const char *content_type;
    int (*handle)(void *payload, struct writer *body); /* returns an HTTP status */
    void *payload;
};

struct http_options {
    const char
        *listen; /* "127.0.0.1:9187", "[::1]:9187", ":9187" (loopback); port 0 = a free one */
    const struct http_route *routes; /* borrowed until http_close */
    size_t n_routes;
};

struct http;
/* Listen and serve.  UNDINE_EINVAL where the address is malformed, UNDINE_EIO where it is taken. */
int http_open(struct http **out, const struct http_options *opt, struct undine_err *err);
uint16_t http_port(const struct http *h);
void http_close(struct http *h); /* waits for handlers that run */

#endif
