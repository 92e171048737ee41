/* http_metrics.h: the server's own counters as Prometheus text. */
#ifndef UNDINE_OPS_HTTP_METRICS_H
#define UNDINE_OPS_HTTP_METRICS_H

#include "ops/http.h"

void http_metrics(const struct http_counters *c, struct writer *out);

#endif
