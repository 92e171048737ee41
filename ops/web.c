#include "ops/web.h"

#include "base/clock.h"
#include "learner/blas.h"
#include "ops/http.h"
#include "ops/metrics.h"
#include "ops/program.h"
#include "ops/report.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WEB_ROUTES = 3, HTTP_OK = 200, HTTP_UNAVAILABLE = 503, HTTP_FAILED = 500 };

struct web {
    _Atomic(struct daemon *) daemon;         /* NULL until attached */
    const struct restore_lanes *progress;    /* NULL = not watched; borrowed */
    struct http *http;
    struct http_route routes[WEB_ROUTES];
};

static void put_text(struct writer *body, const char *text)
{
    writer_bytes(body, text, strlen(text));
}

static int metrics(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    struct writer *body = &out->body;
    (void)in;
    out->content_type = METRICS_CONTENT_TYPE;
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
static int healthz(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    struct writer *body = &out->body;
    (void)in;
    out->content_type = "text/plain; charset=utf-8";
    struct daemon *d = atomic_load(&w->daemon);
    bool healthy = d == NULL || daemon_healthy(d);
    put_text(body, healthy ? "ok\n" : "a thread has failed; the daemon is ending\n");
    return healthy ? HTTP_OK : HTTP_UNAVAILABLE;
}

/* "phase":...; where it counts something, how far it is; and for how long it has been at it. */
static void put_phase(struct writer *body, const struct restore_progress *p, int phase)
{
    static const char *const phases[] = {
        [RESTORE_NOTHING] = "starting",
        [RESTORE_STORE] = "opening the store",
        [RESTORE_BROKER] = "waiting for the broker",
        [RESTORE_EVENTS] = "reading stored events",
        [RESTORE_IMPRESSIONS] = "restoring impressions",
        [RESTORE_USERS] = "restoring users",
        [RESTORE_VERSION] = "reading the newest version",
        [RESTORE_ROWS] = "restoring rows",
    };
    char text[256];
    int len = snprintf(text, sizeof text, "\"phase\":\"%s\"", phases[phase]);
    uint64_t total = phase == RESTORE_NOTHING ? 0 : atomic_load(&p->total);
    if (total > 0) {
        uint64_t done = atomic_load(&p->done);
        done = done < total ? done : total;
        len += snprintf(text + len, sizeof text - (size_t)len,
                        ",\"done\":%" PRIu64 ",\"total\":%" PRIu64 ",\"share\":%.3f", done, total,
                        (double)done / (double)total);
    }
    if (phase != RESTORE_NOTHING) {
        int64_t took_ns = clock_monotonic_ns() - atomic_load(&p->since_ns);
        (void)snprintf(text + len, sizeof text - (size_t)len, ",\"seconds\":%.1f",
                       (double)(took_ns > 0 ? took_ns : 0) * 1e-9);
    }
    put_text(body, text);
}

/* What is done before the daemon is there. */
static void put_restoring(struct writer *body, const struct restore_lanes *lanes)
{
    int state = lanes == NULL ? RESTORE_NOTHING : atomic_load(&lanes->state.phase);
    int learner = lanes == NULL ? RESTORE_NOTHING : atomic_load(&lanes->learner.phase);
    put_text(body, "{\"ready\":false,");
    if (state == RESTORE_NOTHING && learner != RESTORE_NOTHING) {
        put_phase(body, &lanes->learner, learner);
    } else {
        put_phase(body, lanes == NULL ? NULL : &lanes->state, state);
    }
    if (state != RESTORE_NOTHING && learner != RESTORE_NOTHING) {
        put_text(body, ",\"beside\":{");
        put_phase(body, &lanes->learner, learner);
        put_text(body, "}");
    }
    put_text(body, "}\n");
}

/* Ready: running, with the source at hand. */
static int readyz(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    struct writer *body = &out->body;
    (void)in;
    struct daemon *d = atomic_load(&w->daemon);
    struct daemon_status st;
    if (d == NULL) {
        put_restoring(body, w->progress);
        return HTTP_UNAVAILABLE;
    }
    daemon_status(d, &st);
    char text[256];
    (void)snprintf(text, sizeof text,
                   "{\"ready\":%s,\"phase\":\"%s\",\"lag_messages\":%" PRIu64
                   ",\"backlog_examples\":%" PRIu64 ",\"version\":%" PRIu64 "}\n",
                   st.ready ? "true" : "false",
                   st.ready      ? "running"
                   : st.finished ? "finished"
                   : st.guarded  ? "stopped by a guard"
                                 : "a broker or a partition's leader is away",
                   st.ingest.lag_messages, st.backlog, st.version.number);
    put_text(body, text);
    return st.ready ? HTTP_OK : HTTP_UNAVAILABLE;
}

int web_open(struct web **out, const char *listen, const struct restore_lanes *progress,
             struct undine_err *err)
{
    struct web *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the HTTP server");
    }
    w->progress = progress;
    w->routes[0] = (struct http_route){"GET", "/metrics", metrics, w};
    w->routes[1] = (struct http_route){"GET", "/healthz", healthz, w};
    w->routes[2] = (struct http_route){"GET", "/readyz", readyz, w};
    struct http_options options = HTTP_OPTIONS_DEFAULT;
    options.listen = listen;
    options.routes = w->routes;
    options.n_routes = WEB_ROUTES;
    int rc = http_open(&w->http, &options, err);
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
