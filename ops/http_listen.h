/* http_listen.h: an address in words becomes a listening socket. */
#ifndef UNDINE_OPS_HTTP_LISTEN_H
#define UNDINE_OPS_HTTP_LISTEN_H

#include "base/err.h"

#include <stdint.h>

/* "HOST:PORT", "[IPV6]:PORT", ":PORT" (loopback).  Returns the descriptor, UNDINE_ECONFIG where the
 * address is malformed, UNDINE_EIO where it is taken. */
int http_listen(const char *at, struct undine_err *err);
/* The port it got. */
uint16_t http_listen_port(int fd);

#endif
