#include "ops/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 128 };

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

/* Our own socket, because libmicrohttpd does not say why it could not make one.  Non-blocking: of
 * several threads that wake for one connection all but one find none. */
int http_listen(const char *at, struct undine_err *err)
{
    struct address a;
    int rc = parse_listen(&a, at, err);
    if (rc < 0) {
        return rc;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int gai = getaddrinfo(a.host, a.port, &hints, &found);
    if (gai != 0) {
        return undine_err_set(err, UNDINE_ECONFIG, "listen address `%s`: %s", at,
                              gai_strerror(gai));
    }
    const int yes = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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
    return undine_err_sys(err, UNDINE_EIO, why, "listen address `%s`", at);
}

uint16_t http_listen_port(int fd)
{
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof bound;
    char service[8] = "0";
    if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) == 0) {
        (void)getnameinfo((struct sockaddr *)&bound, bound_len, NULL, 0, service, sizeof service,
                          NI_NUMERICSERV);
    }
    return (uint16_t)strtoul(service, NULL, 10);
}
