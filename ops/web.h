/* web.h: the daemon over HTTP: /metrics, /healthz, /readyz, /openapi.json and /v1: scores by the
 * published version with the user's own sequences, what is remembered of a user, which versions
 * there are and, with a token, which one is published (docs/serving.md). */
#ifndef UNDINE_OPS_WEB_H
#define UNDINE_OPS_WEB_H

#include "base/restore_progress.h"
#include "ops/daemon.h"

struct web;
/* config->http says where and how.  Until web_attach it is alive but not ready: a daemon that waits
 * for its broker or restores a large state is not to be killed for it; /readyz says how far it is.
 * Borrows both. */
int web_open(struct web **out, const struct config *config, const struct restore_lanes *progress,
             struct undine_err *err);
/* The daemon is started.  Borrows it until web_close.  UNDINE_ENOMEM. */
int web_attach(struct web *w, struct daemon *d, struct undine_err *err);
uint16_t web_port(const struct web *w);
/* Answers what has been begun.  NULL is fine. */
void web_close(struct web *w);

#endif
