/* http_inside.h: what the two files of the server share: http.c (open, connections, close) and
 * http_call.c (one request).
 *
 * A connection is in the list from its begin to its end, under `lock`; what the sweeper looks at is
 * atomic.  A call belongs to the thread of its connection. */
#ifndef UNDINE_OPS_HTTP_INSIDE_H
#define UNDINE_OPS_HTTP_INSIDE_H

#include "base/ticker.h"
#include "ops/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>

struct http_connection {
    struct http_connection *next, *previous;
    int fd;
    _Atomic int64_t since_ns; /* it began, or its last answer was sent */
    bool cut;                 /* under lock: told to end */
};

struct http {
    struct MHD_Daemon *daemon;
    struct http_options opt;
    uint16_t port;
    struct http_counters counters;
    atomic_bool started, draining;
    _Atomic uint64_t calls; /* requests whose headers have come and that are not answered */
    int drained_fd;         /* the listening socket, once it is no longer used; -1 */
    struct ticker *sweeper;
    pthread_mutex_t lock;
    struct http_connection *connections;
    char failure[256]; /* what libmicrohttpd said before it started */
};

/* MHD_AccessHandlerCallback and MHD_RequestCompletedCallback; payload is the struct http. */
enum MHD_Result http_call(void *payload, struct MHD_Connection *connection, const char *url,
                          const char *method, const char *version, const char *upload,
                          size_t *upload_size, void **state);
void http_call_over(void *payload, struct MHD_Connection *connection, void **state,
                    enum MHD_RequestTerminationCode how);

#endif
