#include "ops/serve.h"

#include "ops/http_metrics.h"
#include "ops/metrics_text.h"
#include "ops/openapi.h"
#include "ops/program.h"
#include "ops/report.h"
#include "ops/scoring.h"
#include "ops/versions_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SERVE_ROUTES = 6 };

struct serve {
    struct scoring *scoring;
    struct versions_json versions;
    struct http *http;
    atomic_bool draining;
    struct http_route routes[SERVE_ROUTES];
};

static void put_text(struct http_answer *out, const char *text)
{
    writer_bytes(&out->body, text, strlen(text));
}

static int metrics(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct serve *s = payload;
    (void)in;
    out->content_type = METRICS_CONTENT_TYPE;
    metrics_put(&out->body, "undine_rss_bytes", "gauge", "Resident memory of the process.",
                report_rss_bytes());
    scoring_metrics(s->scoring, &out->body);
    http_metrics(http_counters(s->http), &out->body);
    return 200;
}

static int healthz(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload, (void)in;
    out->content_type = "text/plain; charset=utf-8";
    put_text(out, "ok\n");
    return 200;
}

/* Ready: a version is open, and new connections are taken. */
static int readyz(void *payload, const struct http_request *in, struct http_answer *out)
{
    struct serve *s = payload;
    struct scoring_status st;
    char text[128];
    (void)in;
    scoring_status(s->scoring, &st);
    bool draining = atomic_load(&s->draining), ready = st.version > 0 && !draining;
    (void)snprintf(text, sizeof text, "{\"ready\":%s,\"phase\":\"%s\",\"version\":%" PRIu64 "}\n",
                   ready ? "true" : "false",
                   ready      ? "serving"
                   : draining ? "draining"
                              : "no version is open",
                   st.version);
    put_text(out, text);
    return ready ? 200 : 503;
}

static int openapi(void *payload, const struct http_request *in, struct http_answer *out)
{
    (void)payload, (void)in;
    writer_bytes(&out->body, openapi_json, openapi_json_len);
    return 200;
}

static uint64_t in_use(void *payload)
{
    struct scoring_status st;
    scoring_status(((struct serve *)payload)->scoring, &st);
    return st.version;
}

static int open_all(struct serve *s, const struct serve_options *opt, struct undine_err *err)
{
    const struct scoring_options scoring = {.versions_dir = opt->versions_dir,
                                            .threads = opt->http.threads,
                                            .refresh_ms = opt->refresh_ms,
                                            .precision = opt->precision};
    if (access(opt->versions_dir, R_OK | X_OK) != 0) {
        return undine_err_sys(err, UNDINE_ENOTFOUND, errno, "directory of versions `%s`",
                              opt->versions_dir);
    }
    int rc = scoring_open(&s->scoring, &scoring, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    s->versions = (struct versions_json){.dir = opt->versions_dir, .in_use = in_use, .payload = s};
    const struct http_route routes[SERVE_ROUTES] = {
        {"POST", "/v1/score", scoring_handle, s->scoring},
        {"GET", "/v1/versions", versions_handle, &s->versions},
        {"GET", "/metrics", metrics, s},
        {"GET", "/healthz", healthz, s},
        {"GET", "/readyz", readyz, s},
        {"GET", "/openapi.json", openapi, s},
    };
    memcpy(s->routes, routes, sizeof routes);
    struct http_options http = opt->http;
    http.routes = s->routes;
    http.n_routes = SERVE_ROUTES;
    return http_open(&s->http, &http, err);
}

int serve_open(struct serve **out, const struct serve_options *opt, struct undine_err *err)
{
    struct serve *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to serve");
    }
    int rc = open_all(s, opt, err);
    if (rc != UNDINE_OK) {
        serve_close(s);
        return rc;
    }
    *out = s;
    return UNDINE_OK;
}

uint16_t serve_port(const struct serve *s)
{
    return http_port(s->http);
}

void serve_drain(struct serve *s, int64_t timeout_ms)
{
    atomic_store(&s->draining, true);
    http_drain(s->http, timeout_ms);
}

void serve_close(struct serve *s)
{
    if (s != NULL) {
        http_close(s->http);
        scoring_close(s->scoring);
        free(s);
    }
}
