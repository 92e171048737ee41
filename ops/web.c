#include "ops/web.h"

#include "learner/blas.h"
#include "ops/http.h"
#include "ops/metrics.h"
#include "ops/program.h"
#include "ops/report.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WEB_ROUTES = 3, HTTP_OK = 200, HTTP_UNAVAILABLE = 503, HTTP_FAILED = 500 };

struct web {
    _Atomic(struct daemon *) daemon; /* NULL until attached */
    struct http *http;
    struct http_route routes[WEB_ROUTES];
};

static void put_text(struct writer *body, const char *text)
{
    writer_bytes(body, text, strlen(text));
}

static int metrics(void *payload, struct writer *body)
{
    struct web *w = payload;
    struct daemon *d = atomic_load(&w->daemon);
    struct daemon_status st;
    struct trainer_slices slices;
    struct norms norms;
    if (d == NULL) {
        put_text(body, "# starting\n");
        return HTTP_UNAVAILABLE;
    }
    daemon_status(d, &st);
    daemon_slices(d, &slices);
    daemon_norms(d, &norms);
    char kernels[BLAS_KERNELS_MAX];
    blas_kernels(kernels, sizeof kernels);
    metrics_render(body, &(struct metrics_view){
                             .status = &st,
                             .slices = &slices,
                             .norms = &norms,
                             .version = program_version(),
                             .kernels = kernels,
                             .rss_bytes = report_rss_bytes(),
                         });
    return body->bad ? HTTP_FAILED : HTTP_OK;
}

/* Alive: the process answers and no thread has failed. */
static int healthz(void *payload, struct writer *body)
{
    struct web *w = payload;
    struct daemon *d = atomic_load(&w->daemon);
    bool healthy = d == NULL || daemon_healthy(d);
    put_text(body, healthy ? "ok\n" : "a thread has failed; the daemon is ending\n");
    return healthy ? HTTP_OK : HTTP_UNAVAILABLE;
}

/* Ready: running, with the source at hand and the backlog small enough to serve fresh versions. */
static int readyz(void *payload, struct writer *body)
{
    struct web *w = payload;
    struct daemon *d = atomic_load(&w->daemon);
    struct daemon_status st;
    if (d == NULL) {
        put_text(body, "not ready: restoring the state, or no broker answers yet\n");
        return HTTP_UNAVAILABLE;
    }
    daemon_status(d, &st);
    char text[256];
    (void)snprintf(text, sizeof text,
                   "%s\nlag_messages %llu\nbacklog_examples %llu\nversion %llu\n",
                   st.ready      ? "ready"
                   : st.finished ? "finished"
                                 : "not ready: broker not reached",
                   (unsigned long long)st.ingest.lag_messages, (unsigned long long)st.backlog,
                   (unsigned long long)st.version.number);
    put_text(body, text);
    return st.ready ? HTTP_OK : HTTP_UNAVAILABLE;
}

int web_open(struct web **out, const char *listen, struct undine_err *err)
{
    struct web *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the HTTP server");
    }
    w->routes[0] = (struct http_route){"/metrics", METRICS_CONTENT_TYPE, metrics, w};
    w->routes[1] = (struct http_route){"/healthz", "text/plain", healthz, w};
    w->routes[2] = (struct http_route){"/readyz", "text/plain", readyz, w};
    int rc = http_open(
        &w->http,
        &(struct http_options){.listen = listen, .routes = w->routes, .n_routes = WEB_ROUTES}, err);
    if (rc != UNDINE_OK) {
        free(w);
        return rc;
    }
    *out = w;
    return UNDINE_OK;
}

void web_attach(struct web *w, struct daemon *d)
{
    if (w != NULL) {
        atomic_store(&w->daemon, d);
    }
}

uint16_t web_port(const struct web *w)
{
    return http_port(w->http);
}

void web_close(struct web *w)
{
    if (w != NULL) {
        http_close(w->http);
        free(w);
    }
}
