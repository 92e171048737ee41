/* web.h: the daemon over HTTP: /metrics, /healthz, /readyz. */
#ifndef UNDINE_OPS_WEB_H
#define UNDINE_OPS_WEB_H

#include "ops/daemon.h"

struct web;
/* listen as in http_options.  Borrows the daemon until web_close. */
int web_open(struct web **out, const char *listen, struct daemon *d, struct undine_err *err);
uint16_t web_port(const struct web *w);
void web_close(struct web *w); /* NULL is fine */

#endif
