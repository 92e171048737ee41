#include "ops/http_metrics.h"

#include "ops/metrics_text.h"

#include <inttypes.h>
#include <stdio.h>

void http_metrics(const struct http_counters *c, struct writer *out)
{
    char text[128];
    int len = snprintf(text, sizeof text,
                       "# HELP undine_http_responses_total Answers, by class of status.\n"
                       "# TYPE undine_http_responses_total counter\n");
    writer_bytes(out, text, (size_t)len);
    for (int digit = 2; digit <= 5; digit++) {
        len =
            snprintf(text, sizeof text, "undine_http_responses_total{class=\"%dxx\"} %" PRIu64 "\n",
                     digit, atomic_load(&c->responses[digit]));
        writer_bytes(out, text, (size_t)len);
    }
    metrics_put(out, "undine_http_connections", "gauge", "Connections that are open.",
                atomic_load(&c->connections));
    metrics_put(out, "undine_http_connections_cut_total", "counter",
                "Connections ended since a request or its answer took too long.",
                atomic_load(&c->cut));
    metrics_put(out, "undine_http_bodies_bytes", "gauge",
                "Bytes of bodies that are being received.", atomic_load(&c->bodies_bytes));
    metrics_put(out, "undine_http_busy_total", "counter",
                "Requests refused since all bodies together had taken their memory.",
                atomic_load(&c->busy));
}
