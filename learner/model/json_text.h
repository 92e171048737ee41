/* json_text.h: JSON text into jansson's values.  Any thread. */
#ifndef UNDINE_LEARNER_MODEL_JSON_TEXT_H
#define UNDINE_LEARNER_MODEL_JSON_TEXT_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* One value, no member twice.  UNDINE_ECORRUPT: the text is at fault ("line 3: ..."),
 * UNDINE_ENOMEM: it is not, as far as anybody can tell. */
int json_text_parse(json_t **out, const char *text, size_t len, struct undine_err *err);

/* The same of a file; the message begins with its path.  UNDINE_ENOTFOUND and UNDINE_EIO, too. */
int json_text_read(json_t **out, const char *path, struct undine_err *err);

/* As json_dumps, which leaves a member's name out where it has no memory for it: the whole text, or
 * NULL where memory is out or json is NULL.  The caller frees it. */
char *json_text_print(const json_t *json, size_t flags);

#endif
