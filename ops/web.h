/* web.h: the daemon over HTTP: /metrics, /healthz, /readyz. */
#ifndef UNDINE_OPS_WEB_H
#define UNDINE_OPS_WEB_H

#include "base/restore_progress.h"
#include "ops/daemon.h"

struct web;
/* listen as in http_options.  Until web_attach it is alive but not ready: a daemon that waits for
 * its broker or restores a large state is not to be killed for it; /readyz says how far it is.
 * Borrows progress. */
int web_open(struct web **out, const char *listen, const struct restore_lanes *progress,
             struct undine_err *err);
/* The daemon is started.  Borrows it until web_close. */
void web_attach(struct web *w, struct daemon *d);
uint16_t web_port(const struct web *w);
void web_close(struct web *w); /* NULL is fine */

#endif
