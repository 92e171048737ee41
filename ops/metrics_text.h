/* metrics_text.h: single metrics in Prometheus text. */
#ifndef UNDINE_OPS_METRICS_TEXT_H
#define UNDINE_OPS_METRICS_TEXT_H

#include "base/bytes.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* HELP, TYPE and the value. */
void metrics_put(struct writer *out, const char *name, const char *type, const char *help,
                 uint64_t value);

#endif
