/* http.h: the HTTP server: routes, a pool of threads, and a bound on everything a client may take.
 *
 * A handler is called on a thread of the pool with the whole body of its request, fills the answer
 * and returns the status; at most `threads` run at once.  It may not block for long: its thread
 * serves other connections too.  A connection is kept between requests.  What is refused is
 * answered with a problem document (http_problem.h).
 *
 * Bounds: connections (further ones wait to be accepted), bytes of headers, of one body and of all
 * bodies together, the time that a connection may be idle, and the time in which a request must
 * have come and its answer gone: whoever sends or reads slower is cut off. */
#ifndef UNDINE_OPS_HTTP_H
#define UNDINE_OPS_HTTP_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct http_request {
    const char *rest; /* route ".../ *": what follows in the path, decoded; else "" */
    const void *body; /* NULL = none */
    size_t body_len;
    const char *authorization; /* header, NULL = none */
};

struct http_answer {
    struct writer body;
    const char *content_type; /* static; set before to application/json */
    const char *authenticate; /* WWW-Authenticate, static, NULL = none */
    const char *allow;        /* Allow, static, NULL = none */
    uint32_t retry_after_s;   /* Retry-After, 0 = none */
};

struct http_route {
    const char *method; /* "GET" (answers HEAD too) or "POST" (takes JSON) */
    const char *path;   /* "/metrics"; "/v1/users/" + "*" takes every path that begins so */
    /* Returns an HTTP status.  A body that went bad becomes 500. */
    int (*handle)(void *payload, const struct http_request *in, struct http_answer *out);
    void *payload;
};

struct http_options {
    /* "127.0.0.1:9187", "[::1]:9187", ":9187" (loopback); port 0 = a free one */
    const char *listen;
    const struct http_route *routes; /* borrowed until http_close */
    size_t n_routes;
    uint32_t threads;
    uint32_t connections_max;
    size_t body_max;         /* bytes of one body */
    size_t bodies_max;       /* bytes of all bodies that are being received or answered */
    int64_t idle_timeout_ms; /* rounded up to seconds */
    int64_t request_timeout_ms;
    const char *tls_cert, *tls_key; /* PEM files; NULL = no TLS */
};
#define HTTP_OPTIONS_DEFAULT                                                                       \
    {                                                                                              \
        .threads = 1, .connections_max = 256, .body_max = 1 << 20, .bodies_max = 64 << 20,         \
        .idle_timeout_ms = 10000, .request_timeout_ms = 10000                                      \
    }

struct http_counters {             /* of the process; any thread reads */
    _Atomic uint64_t responses[6]; /* by the first digit of the status */
    _Atomic uint64_t cut;          /* connections that were too slow */
    _Atomic uint64_t busy;         /* requests refused since bodies_max was reached */
    _Atomic uint64_t connections;  /* open now */
    _Atomic uint64_t bodies_bytes; /* held now */
};

struct http;
/* Listen and serve.  UNDINE_ECONFIG where the address is malformed, UNDINE_EIO where it is taken or
 * certificate and key cannot be read or used. */
int http_open(struct http **out, const struct http_options *opt, struct undine_err *err);
uint16_t http_port(const struct http *h);
const struct http_counters *http_counters(const struct http *h);
/* Accept no more; answer what has been begun, for at most timeout_ms.  http_close follows. */
void http_drain(struct http *h, int64_t timeout_ms);
void http_close(struct http *h); /* waits for handlers that run; NULL is fine */

/* Is it "Bearer TOKEN"?  The time this takes does not depend on where it differs. */
bool http_bearer(const struct http_request *in, const char *token);

#endif
