/* One request: its route, its body within the bounds, the handler, the answer.
 *
 * libmicrohttpd calls http_call when the headers have come, again for every piece of the body, and
 * once more at its end.  An answer at the first call ends the connection, since the body that
 * follows is not read, and a client that still sends it may not see the answer.  So only a body
 * that is declared to be far too large is answered there, and any other that nobody will look at is
 * read and forgotten. */
#include "ops/http_inside.h"
#include "ops/http_problem.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* A declared body that is so many times too large is not even read to be forgotten. */
enum { FORGOTTEN_BODIES_MAX = 8 };

struct call {
    const struct http_route *route;
    const char *rest;
    enum http_problem problem; /* HTTP_PROBLEM_COUNT = none: the route's handler answers */
    const char *allow;
    struct writer body;
    size_t held; /* bytes counted in bodies_bytes */
};

/* ---- answers ---- */

static void add_headers(struct MHD_Response *r, const struct http *h, const struct http_answer *a)
{
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, a->content_type);
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (a->allow != NULL) {
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, a->allow);
    }
    if (a->authenticate != NULL) {
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, a->authenticate);
    }
    if (a->retry_after_s > 0) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%u", a->retry_after_s);
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (atomic_load_explicit(&h->draining, memory_order_relaxed)) {
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    }
}

static void answer_init(struct http_answer *a)
{
    *a = (struct http_answer){.content_type = "application/json"};
    writer_init(&a->body);
}

/* Send it; the body's memory is the response's then. */
static enum MHD_Result answer_send(struct http *h, struct MHD_Connection *connection, int status,
                                   struct http_answer *a)
{
    if (a->body.bad) {
        writer_release(&a->body);
        status = http_problem(a, HTTP_PROBLEM_Failed, NULL, "no memory for the answer");
    }
    if (a->body.bad) { /* then without words */
        writer_release(&a->body);
    }
    struct MHD_Response *r =
        MHD_create_response_from_buffer(a->body.len, a->body.data, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        writer_release(&a->body);
        return MHD_NO;
    }
    add_headers(r, h, a);
    atomic_fetch_add_explicit(&h->counters.responses[status / 100], 1, memory_order_relaxed);
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)status, r);
    MHD_destroy_response(r);
    return queued;
}

static int list_paths(const struct http *h, struct http_answer *a)
{
    char paths[512] = "";
    size_t len = 0;
    for (size_t i = 0; i < h->opt.n_routes && len < sizeof paths; i++) {
        len += (size_t)snprintf(paths + len, sizeof paths - len, " %s", h->opt.routes[i].path);
    }
    return http_problem(a, HTTP_PROBLEM_NotFound, NULL, "not found; there are:%s", paths);
}

static int refuse(struct http *h, const struct call *c, struct http_answer *a)
{
    switch (c->problem) {
    case HTTP_PROBLEM_NotFound:
        return list_paths(h, a);
    case HTTP_PROBLEM_MethodNotAllowed:
        a->allow = c->allow;
        return http_problem(a, c->problem, NULL, "this path has %s", c->allow);
    case HTTP_PROBLEM_UnsupportedMediaType:
        return http_problem(a, c->problem, NULL,
                            "the header Content-Type must be application/json");
    case HTTP_PROBLEM_BodyTooLarge:
        return http_problem(a, c->problem, NULL, "at most %zu bytes are taken", h->opt.body_max);
    case HTTP_PROBLEM_Busy:
        atomic_fetch_add_explicit(&h->counters.busy, 1, memory_order_relaxed);
        return http_problem(a, c->problem, NULL,
                            "the requests that are being served take all of the memory for them");
    default:
        return http_problem(a, HTTP_PROBLEM_BadRequest, NULL, "this path takes no body");
    }
}

/* ---- routes ---- */

/* What follows the route's path in url, or NULL where it is another. */
static const char *match(const struct http_route *r, const char *url)
{
    size_t len = strlen(r->path);
    if (r->path[len - 1] == '*') {
        return strncmp(url, r->path, len - 1) == 0 && url[len - 1] != '\0' ? url + len - 1 : NULL;
    }
    return strcmp(url, r->path) == 0 ? url + len : NULL;
}

static void find_route(const struct http *h, struct call *c, const char *url, const char *method)
{
    bool head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    c->problem = HTTP_PROBLEM_NotFound;
    for (size_t i = 0; i < h->opt.n_routes && c->route == NULL; i++) {
        const struct http_route *r = &h->opt.routes[i];
        bool get = strcmp(r->method, MHD_HTTP_METHOD_GET) == 0;
        const char *rest = match(r, url);
        if (rest != NULL && (strcmp(method, r->method) == 0 || (head && get))) {
            c->route = r;
            c->problem = HTTP_PROBLEM_COUNT;
            c->rest = rest; /* of the connection's memory, until the request is over */
        } else if (rest != NULL) {
            c->problem = HTTP_PROBLEM_MethodNotAllowed;
            c->allow = get ? "GET, HEAD" : r->method;
        }
    }
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Asking for the type keeps web pages of other origins from sending anything here: a browser asks
 * first before it sends JSON. */
static bool is_json(const char *content_type)
{
    static const char json[] = "application/json";
    size_t len = sizeof json - 1;
    return content_type != NULL && strncasecmp(content_type, json, len) == 0 &&
           (content_type[len] == '\0' || strchr("; \t", content_type[len]) != NULL);
}

/* What the headers alone are refused for.  Returns whether to answer before the body is read. */
static bool check_headers(struct http *h, struct call *c, struct MHD_Connection *connection)
{
    const char *length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    bool post = c->route != NULL && strcmp(c->route->method, MHD_HTTP_METHOD_POST) == 0;
    bool body = (length != NULL && strcmp(length, "0") != 0) ||
                header(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
    if (c->route != NULL && !post && body) {
        c->problem = HTTP_PROBLEM_BadRequest;
    } else if (post && !is_json(header(connection, MHD_HTTP_HEADER_CONTENT_TYPE))) {
        c->problem = HTTP_PROBLEM_UnsupportedMediaType;
    }
    if (length != NULL && strtoull(length, NULL, 10) > h->opt.body_max) {
        c->problem = HTTP_PROBLEM_BodyTooLarge;
        return strtoull(length, NULL, 10) / FORGOTTEN_BODIES_MAX > h->opt.body_max;
    }
    return false;
}

/* ---- bodies ---- */

/* Count `len` more bytes against the bound of all bodies. */
static bool hold(struct http *h, struct call *c, size_t len)
{
    uint64_t before =
        atomic_fetch_add_explicit(&h->counters.bodies_bytes, len, memory_order_relaxed);
    c->held += len;
    return before + len <= h->opt.bodies_max;
}

static void drop_body(struct http *h, struct call *c)
{
    atomic_fetch_sub_explicit(&h->counters.bodies_bytes, c->held, memory_order_relaxed);
    c->held = 0;
    writer_release(&c->body);
}

/* A piece of the body.  What is refused is still read, as the answer can only follow it; whoever
 * sends without end is cut by the time a request may take. */
static void take_piece(struct http *h, struct call *c, const char *piece, size_t len)
{
    if (c->problem != HTTP_PROBLEM_COUNT) {
        return;
    }
    if (c->body.len + len > h->opt.body_max) {
        c->problem = HTTP_PROBLEM_BodyTooLarge;
    } else if (!hold(h, c, len)) {
        c->problem = HTTP_PROBLEM_Busy;
    } else {
        writer_bytes(&c->body, piece, len);
        c->problem = c->body.bad ? HTTP_PROBLEM_Busy : HTTP_PROBLEM_COUNT;
    }
    if (c->problem != HTTP_PROBLEM_COUNT) {
        drop_body(h, c);
    }
}

/* ---- the call ---- */

static int handle(struct http *h, struct call *c, struct MHD_Connection *connection,
                  struct http_answer *a)
{
    if (c->problem != HTTP_PROBLEM_COUNT) {
        return refuse(h, c, a);
    }
    const struct http_request in = {
        .rest = c->rest,
        .body = c->body.data,
        .body_len = c->body.len,
        .authorization = header(connection, MHD_HTTP_HEADER_AUTHORIZATION),
    };
    return c->route->handle(c->route->payload, &in, a);
}

static enum MHD_Result begin(struct http *h, struct MHD_Connection *connection, const char *url,
                             const char *method, void **state)
{
    struct call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return MHD_NO;
    }
    writer_init(&c->body);
    find_route(h, c, url, method);
    *state = c;
    atomic_fetch_add(&h->calls, 1);
    if (!check_headers(h, c, connection)) {
        return MHD_YES;
    }
    struct http_answer a;
    answer_init(&a);
    int status = refuse(h, c, &a);
    return answer_send(h, connection, status, &a);
}

enum MHD_Result http_call(void *payload, struct MHD_Connection *connection, const char *url,
                          const char *method, const char *version, const char *upload,
                          size_t *upload_size, void **state)
{
    struct http *h = payload;
    (void)version;
    if (*state == NULL) {
        return begin(h, connection, url, method, state);
    }
    struct call *c = *state;
    if (*upload_size > 0) {
        take_piece(h, c, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    struct http_answer a;
    answer_init(&a);
    int status = handle(h, c, connection, &a);
    drop_body(h, c);
    return answer_send(h, connection, status, &a);
}

void http_call_over(void *payload, struct MHD_Connection *connection, void **state,
                    enum MHD_RequestTerminationCode how)
{
    struct http *h = payload;
    struct call *c = *state;
    (void)how;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info != NULL && info->socket_context != NULL) {
        struct http_connection *of = info->socket_context;
        atomic_store_explicit(&of->since_ns, clock_monotonic_ns(), memory_order_relaxed);
    }
    if (c != NULL) {
        drop_body(h, c);
        free(c);
        *state = NULL;
        atomic_fetch_sub(&h->calls, 1);
    }
}

bool http_bearer(const struct http_request *in, const char *token)
{
    static const char scheme[] = "Bearer ";
    size_t skip = sizeof scheme - 1, len = strlen(token);
    if (in->authorization == NULL || strncasecmp(in->authorization, scheme, skip) != 0 ||
        strlen(in->authorization) != skip + len) {
        return false;
    }
    unsigned differs = 0;
    for (size_t i = 0; i < len; i++) {
        differs |= (unsigned)(in->authorization[skip + i] ^ token[i]);
    }
    return differs == 0;
}
