#include "ops/http_inside.h"

#include "base/clock.h"
#include "ops/http_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTION_BYTES_MAX = 16384, /* request line and headers */
    SWEEP_MS = 500,
    DRAIN_POLL_MS = 10,
    DRAIN_QUIET_MS = 100, /* no request for so long: nobody is in the middle of one */
    PEM_BYTES_MAX = 1 << 20,
    OPTIONS_MAX = 16
};

/* ---- connections ---- */

/* MHD_NotifyConnectionCallback.  Its end is told before its descriptor is closed, so a descriptor
 * in the list is never another's. */
static void on_connection(void *payload, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *h = payload;
    struct http_connection *c = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        c = calloc(1, sizeof *c);
        *context = c;
        if (c == NULL || info == NULL) {
            return; /* then the idle timeout alone guards it */
        }
        c->fd = info->connect_fd;
        atomic_init(&c->since_ns, clock_monotonic_ns());
        (void)pthread_mutex_lock(&h->lock);
        c->next = h->connections;
        if (c->next != NULL) {
            c->next->previous = c;
        }
        h->connections = c;
        (void)pthread_mutex_unlock(&h->lock);
        atomic_fetch_add(&h->counters.connections, 1);
    } else if (c != NULL) {
        (void)pthread_mutex_lock(&h->lock);
        if (h->connections == c || c->previous != NULL) {
            *(c->previous != NULL ? &c->previous->next : &h->connections) = c->next;
            if (c->next != NULL) {
                c->next->previous = c->previous;
            }
            atomic_fetch_sub(&h->counters.connections, 1);
        }
        (void)pthread_mutex_unlock(&h->lock);
        free(c);
        *context = NULL;
    }
}

/* libmicrohttpd cuts who is silent for too long.  Who sends a byte now and then is cut here:
 * between two answers lie at most an idle time and the time of a request. */
static void sweep(void *payload)
{
    struct http *h = payload;
    int64_t limit_ns = (h->opt.idle_timeout_ms + h->opt.request_timeout_ms) * 1000000;
    int64_t now_ns = clock_monotonic_ns();
    (void)pthread_mutex_lock(&h->lock);
    for (struct http_connection *c = h->connections; c != NULL; c = c->next) {
        if (!c->cut && now_ns - atomic_load(&c->since_ns) > limit_ns) {
            c->cut = true;
            (void)shutdown(c->fd, SHUT_RDWR);
            atomic_fetch_add(&h->counters.cut, 1);
        }
    }
    (void)pthread_mutex_unlock(&h->lock);
}

/* ---- open ---- */

/* libmicrohttpd says why it does not start here alone. */
static void keep_failure(void *payload, const char *fmt, va_list ap)
{
    struct http *h = payload;
    if (!atomic_load(&h->started)) {
        (void)vsnprintf(h->failure, sizeof h->failure, fmt, ap);
        h->failure[strcspn(h->failure, "\n")] = '\0';
    }
}

/* The text of a PEM file.  Caller frees. */
static int read_pem(char **out, const char *path, struct undine_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int why = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return undine_err_sys(err, UNDINE_EIO, why, "`%s`", path);
    }
    size_t size = (size_t)st.st_size;
    char *text = S_ISREG(st.st_mode) && size <= PEM_BYTES_MAX ? calloc(1, size + 1) : NULL;
    ssize_t n = text != NULL ? read(fd, text, size) : -1;
    (void)close(fd);
    if (n != (ssize_t)size || n == 0) {
        free(text);
        return undine_err_set(err, UNDINE_EIO, "`%s` is not a PEM file that can be read", path);
    }
    *out = text;
    return UNDINE_OK;
}

static unsigned rounded_s(int64_t ms)
{
    return (unsigned)((ms + 999) / 1000);
}

static int start(struct http *h, int fd, const char *cert, const char *key, struct undine_err *err)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG |
                     (cert != NULL ? MHD_USE_TLS : 0);
    struct MHD_OptionItem options[OPTIONS_MAX];
    size_t n = 0;
    if (h->opt.threads > 1) {
        options[n++] =
            (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)h->opt.threads, NULL};
    }
    if (cert != NULL) {
        options[n++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cert};
        options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key};
        options[n++] = (struct MHD_OptionItem){
            MHD_OPTION_HTTPS_PRIORITIES, 0,
            (void *)(uintptr_t) "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
    }
    options[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_call, h, MHD_OPTION_EXTERNAL_LOGGER, keep_failure, h,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, http_call_over, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)h->opt.connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
        rounded_s(h->opt.idle_timeout_ms), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES_MAX, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (daemon == NULL) {
        return undine_err_set(err, UNDINE_EIO, "the HTTP server on `%s` did not start: %s",
                              h->opt.listen,
                              h->failure[0] != '\0' ? h->failure : "no reason given");
    }
    h->daemon = daemon;
    atomic_store(&h->started, true);
    return UNDINE_OK;
}

/* Read certificate and key where asked for, and start on the socket. */
static int start_with_keys(struct http *h, int fd, struct undine_err *err)
{
    char *cert = NULL, *key = NULL;
    int rc = UNDINE_OK;
    if (h->opt.tls_cert != NULL && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
        rc = undine_err_set(err, UNDINE_ECONFIG, "this build of libmicrohttpd knows no TLS");
    }
    if (rc == UNDINE_OK && h->opt.tls_cert != NULL) {
        rc = read_pem(&cert, h->opt.tls_cert, err);
    }
    if (rc == UNDINE_OK && cert != NULL) {
        rc = read_pem(&key, h->opt.tls_key, err);
    }
    if (rc == UNDINE_OK) {
        rc = start(h, fd, cert, key, err); /* on failure, too, it owns the socket */
    } else {
        (void)close(fd);
    }
    if (key != NULL) {
        explicit_bzero(key, strlen(key));
    }
    free(key);
    free(cert);
    return rc;
}

int http_open(struct http **out, const struct http_options *opt, struct undine_err *err)
{
    UNDINE_ASSERT((opt->tls_cert == NULL) == (opt->tls_key == NULL));
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the HTTP server");
    }
    h->opt = *opt;
    h->drained_fd = -1;
    (void)pthread_mutex_init(&h->lock, NULL);
    int fd = http_listen(opt->listen, err);
    int rc = fd < 0 ? fd : UNDINE_OK;
    if (rc == UNDINE_OK) {
        h->port = http_listen_port(fd);
        rc = start_with_keys(h, fd, err);
    }
    if (rc == UNDINE_OK) {
        rc = ticker_start(&h->sweeper, sweep, h, SWEEP_MS, err);
    }
    if (rc != UNDINE_OK) {
        http_close(h);
        return rc;
    }
    *out = h;
    return UNDINE_OK;
}

uint16_t http_port(const struct http *h)
{
    return h->port;
}

const struct http_counters *http_counters(const struct http *h)
{
    return &h->counters;
}

/* ---- close ---- */

void http_drain(struct http *h, int64_t timeout_ms)
{
    if (h->drained_fd >= 0) {
        return;
    }
    atomic_store(&h->draining, true);
    h->drained_fd = MHD_quiesce_daemon(h->daemon);
    const struct timespec pause = {.tv_nsec = DRAIN_POLL_MS * 1000000};
    int64_t quiet_ms = 0;
    for (int64_t waited_ms = 0; waited_ms < timeout_ms; waited_ms += DRAIN_POLL_MS) {
        quiet_ms = atomic_load(&h->calls) == 0 ? quiet_ms + DRAIN_POLL_MS : 0;
        if (quiet_ms > DRAIN_QUIET_MS || atomic_load(&h->counters.connections) == 0) {
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
}

void http_close(struct http *h)
{
    if (h == NULL) {
        return;
    }
    ticker_stop(h->sweeper);
    if (h->daemon != NULL) {
        MHD_stop_daemon(h->daemon);
    }
    if (h->drained_fd >= 0) {
        (void)close(h->drained_fd);
    }
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}
