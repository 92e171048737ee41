#include "ops/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 32,
    CONNECTION_TIMEOUT_S = 10,
    CONNECTION_BYTES_MAX = 16384, /* request line and headers */
    LISTEN_BACKLOG = 32
};

struct http {
    struct MHD_Daemon *daemon;
    const struct http_route *routes;
    size_t n_routes;
    uint16_t port;
};

struct address {
    char host[256], port[8];
};

/* "host:port", "[v6]:port" or ":port". */
static int parse_listen(struct address *out, const char *listen, struct undine_err *err)
{
    const char *colon = strrchr(listen, ':');
    const char *host = listen;
    size_t host_len = colon != NULL ? (size_t)(colon - listen) : 0;
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len) != NULL) {
        colon =
            NULL; /* an IPv6 address without brackets: where its port starts is anybody's guess */
    }
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : -1;
    bool digits = colon != NULL && colon[1] >= '0' && colon[1] <= '9' && *end == '\0';
    if (!digits || port < 0 || port > 65535 || host_len >= sizeof out->host) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "listen address `%s`: expected HOST:PORT, [IPV6]:PORT or :PORT",
                              listen);
    }
    if (host_len == 0) {
        host = "127.0.0.1";
        host_len = strlen(host);
    }
    (void)snprintf(out->host, sizeof out->host, "%.*s", (int)host_len, host);
    (void)snprintf(out->port, sizeof out->port, "%ld", port);
    return UNDINE_OK;
}

/* Our own socket, because libmicrohttpd does not say why it could not make one. */
static int open_socket(const char *listen_at, struct undine_err *err)
{
    struct address a;
    int rc = parse_listen(&a, listen_at, err);
    if (rc < 0) {
        return rc;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int gai = getaddrinfo(a.host, a.port, &hints, &found);
    if (gai != 0) {
        return undine_err_set(err, UNDINE_ECONFIG, "listen address `%s`: %s", listen_at,
                              gai_strerror(gai));
    }
    const int yes = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0;
    int why = errno;
    freeaddrinfo(found);
    if (ok) {
        return fd;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return undine_err_sys(err, UNDINE_EIO, why, "listen address `%s`", listen_at);
}

static enum MHD_Result send_body(struct MHD_Connection *connection, int status,
                                 const char *content_type, struct writer *body)
{
    if (body->bad) {
        writer_release(body);
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    /* The response frees the writer's memory. */
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        writer_release(body);
        return MHD_NO;
    }
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)status, r);
    MHD_destroy_response(r);
    return queued;
}

static void put(struct writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

static enum MHD_Result send_refusal(const struct http *h, struct MHD_Connection *connection,
                                    int status)
{
    struct writer body;
    writer_init(&body);
    if (status == MHD_HTTP_NOT_FOUND) {
        put(&body, "not found; there are:");
        for (size_t i = 0; i < h->n_routes; i++) {
            put(&body, " ");
            put(&body, h->routes[i].path);
        }
        put(&body, "\n");
    } else {
        put(&body, "only GET and HEAD are served\n");
    }
    return send_body(connection, status, "text/plain; charset=utf-8", &body);
}

static enum MHD_Result on_request(void *payload, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    static int headers_seen;
    const struct http *h = payload;
    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return send_refusal(h, connection,
                            MHD_HTTP_METHOD_NOT_ALLOWED); /* before its body is read */
    }
    if (*state == NULL) { /* first call: headers only; answering now would end a kept connection */
        *state = &headers_seen;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        return MHD_NO; /* a GET with a body: close */
    }
    for (size_t i = 0; i < h->n_routes; i++) {
        const struct http_route *r = &h->routes[i];
        if (strcmp(url, r->path) == 0) {
            struct writer body;
            writer_init(&body);
            int status = r->handle(r->payload, &body);
            return send_body(connection, status, r->content_type, &body);
        }
    }
    return send_refusal(h, connection, MHD_HTTP_NOT_FOUND);
}

int http_open(struct http **out, const struct http_options *opt, struct undine_err *err)
{
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the HTTP server");
    }
    h->routes = opt->routes;
    h->n_routes = opt->n_routes;
    int fd = open_socket(opt->listen, err);
    if (fd < 0) {
        free(h);
        return fd;
    }
    h->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request, h,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX, MHD_OPTION_END);
    if (h->daemon == NULL) { /* it has closed the socket */
        free(h);
        return undine_err_set(err, UNDINE_EIO, "the HTTP server on `%s` did not start",
                              opt->listen);
    }
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof bound;
    char service[8] = "0";
    if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) == 0) {
        (void)getnameinfo((struct sockaddr *)&bound, bound_len, NULL, 0, service, sizeof service,
                          NI_NUMERICSERV);
    }
    h->port = (uint16_t)strtoul(service, NULL, 10);
    *out = h;
    return UNDINE_OK;
}

uint16_t http_port(const struct http *h)
{
    return h->port;
}

void http_close(struct http *h)
{
    if (h != NULL) {
        MHD_stop_daemon(h->daemon);
        free(h);
    }
}
