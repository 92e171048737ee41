/* openapi.h: ops/openapi.json, the description of the HTTP interface (OpenAPI 3.1), compiled in. */
#ifndef UNDINE_OPS_OPENAPI_H
#define UNDINE_OPS_OPENAPI_H

#include <stddef.h>

extern const char openapi_json[];
extern const size_t openapi_json_len;

#endif
