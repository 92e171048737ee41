#include "ops/web.h"

#include "base/clock.h"
#include "learner/blas.h"
#include "learner/model/json_text.h"
#include "ops/http_metrics.h"
#include "ops/http_problem.h"
#include "ops/json_put.h"
#include "ops/metrics.h"
#include "ops/openapi.h"
#include "ops/program.h"
#include "ops/report.h"
#include "ops/scoring.h"
#include "ops/user_json.h"
#include "ops/versions_json.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WEB_ROUTES = 9,
    HTTP_OK = 200,
    HTTP_UNAVAILABLE = 503,
    REFRESH_MS = 20, /* a look reads one short file; half of it is what a click waits for it */
    DRAIN_MS = 5000,
    USER_ID_MAX = 255
};

struct web {
    _Atomic(struct daemon *) daemon;      /* NULL until attached */
    const struct restore_lanes *progress; /* NULL = not watched; borrowed */
    const struct config *config;
    struct live_users users;           /* set when attached, as the next two */
    _Atomic(struct scoring *) scoring; /* NULL until attached */
    struct versions_json versions;
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
    scoring_metrics(atomic_load(&w->scoring), body);
    http_metrics(http_counters(w->http), body);
    return HTTP_OK;
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

static int openapi(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload, (void)in;
    writer_bytes(&out->body, openapi_json, openapi_json_len);
    return HTTP_OK;
}

/* ---- /v1 ---- */

static int restoring(struct http_answer *out)
{
    return http_problem(out, HTTP_PROBLEM_NotReady, NULL, "the state is being restored");
}

static int score(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    struct scoring *s = atomic_load(&w->scoring);
    return s == NULL ? restoring(out) : scoring_handle(s, in, out);
}

static int put_user(struct web *w, const struct live_user *u, struct http_answer *out)
{
    json_t *o = user_json(w->users.schema, u->id.data, u->id.len, u->sequence);
    bool none = u->watermark_ms == INT64_MIN || u->watermark_ms == INT64_MAX;
    json_put(o, "watermark_ms", none ? json_null() : json_integer((json_int_t)u->watermark_ms));
    char *text = json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    if (!json_put_lost() && text != NULL) {
        writer_bytes(&out->body, text, strlen(text));
    } else {
        out->body.bad = true;
    }
    free(text);
    return HTTP_OK;
}

/* What is known of a user, as an impression of this moment would see it. */
static int user(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    struct undine_err err = {0};
    struct live_user u;
    size_t len = strlen(in->rest);
    if (w->versions.token[0] != '\0' && !http_bearer(in, w->versions.token)) {
        out->authenticate = "Bearer";
        return http_problem(out, HTTP_PROBLEM_Unauthorized, NULL,
                            "the header Authorization must be `Bearer` and the token");
    }
    if (atomic_load(&w->scoring) == NULL) {
        return restoring(out);
    }
    if (len > USER_ID_MAX) {
        return http_problem(out, HTTP_PROBLEM_UnknownUser, NULL, "no user id is so long");
    }
    live_user_init(&u);
    int rc = live_user_read(&w->users, &u, in->rest, len, clock_realtime_ms(), &err);
    int status = rc < 0     ? http_problem(out, HTTP_PROBLEM_Failed, NULL, "%s", err.msg)
                 : !u.known ? http_problem(out, HTTP_PROBLEM_UnknownUser, NULL,
                                           "no sequence is stored of user `%s`", in->rest)
                            : put_user(w, &u, out);
    live_user_release(&u);
    return status;
}

static uint64_t in_use(void *payload)
{
    struct scoring_status st = {0};
    struct scoring *s = atomic_load(&((struct web *)payload)->scoring);
    if (s != NULL) {
        scoring_status(s, &st);
    }
    return st.version;
}

/* Of the three handlers of versions: not before their directory is known. */
static int versions(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    return atomic_load(&w->scoring) == NULL ? restoring(out)
                                            : versions_handle(&w->versions, in, out);
}

static int publish(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    return atomic_load(&w->scoring) == NULL ? restoring(out)
                                            : versions_handle_publish(&w->versions, in, out);
}

static int rollback(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct web *w = payload;
    return atomic_load(&w->scoring) == NULL ? restoring(out)
                                            : versions_handle_rollback(&w->versions, in, out);
}

/* ---- open, attach, close ---- */

static int start(struct web *w, struct undine_err *err)
{
    const struct config *c = w->config;
    struct http_options options = HTTP_OPTIONS_DEFAULT;
    const struct http_route routes[WEB_ROUTES] = {
        {"GET", "/metrics", metrics, w},
        {"GET", "/healthz", healthz, w},
        {"GET", "/readyz", readyz, w},
        {"GET", "/openapi.json", openapi, w},
        {"POST", "/v1/score", score, w},
        {"GET", "/v1/users/*", user, w},
        {"GET", "/v1/versions", versions, w},
        {"POST", "/v1/versions/publish", publish, w},
        {"POST", "/v1/versions/rollback", rollback, w},
    };
    memcpy(w->routes, routes, sizeof routes);
    options.listen = c->http.listen;
    options.routes = w->routes;
    options.n_routes = WEB_ROUTES;
    options.threads = c->http.threads;
    options.body_max = c->http.body_max;
    options.bodies_max = 64 * c->http.body_max;
    options.tls_cert = c->http.tls_cert[0] != '\0' ? c->http.tls_cert : NULL;
    options.tls_key = options.tls_cert != NULL ? c->http.tls_key : NULL;
    return http_open(&w->http, &options, err);
}

int web_open(struct web **out, const struct config *config, const struct restore_lanes *progress,
             struct undine_err *err)
{
    struct web *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the HTTP server");
    }
    w->config = config;
    w->progress = progress;
    int rc = UNDINE_OK;
    if (config->http.token_file[0] != '\0') {
        rc = versions_token(w->versions.token, config->http.token_file, err);
    }
    if (rc == UNDINE_OK) {
        rc = start(w, err);
    }
    if (rc != UNDINE_OK) {
        free(w);
        return rc;
    }
    *out = w;
    return UNDINE_OK;
}

int web_attach(struct web *w, struct daemon *d, struct undine_err *err)
{
    if (w == NULL) {
        return UNDINE_OK;
    }
    w->users = daemon_live_users(d);
    w->versions.dir = daemon_versions_dir(d);
    w->versions.in_use = in_use;
    w->versions.payload = w;
    struct scoring *scoring = NULL;
    const struct scoring_options options = {.versions_dir = w->versions.dir,
                                            .threads = w->config->http.threads,
                                            .precision =
                                                (enum undine_precision)w->config->http.precision,
                                            .refresh_ms = REFRESH_MS,
                                            .on_demand = true,
                                            .users = &w->users};
    int rc = scoring_open(&scoring, &options, err);
    if (rc == UNDINE_OK) {
        atomic_store(&w->scoring, scoring);
        atomic_store(&w->daemon, d);
    }
    return rc;
}

uint16_t web_port(const struct web *w)
{
    return http_port(w->http);
}

void web_close(struct web *w)
{
    if (w != NULL) {
        http_drain(w->http, DRAIN_MS);
        http_close(w->http);
        scoring_close(atomic_load(&w->scoring));
        free(w);
    }
}
