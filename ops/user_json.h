/* user_json.h: what is stored of a user, as JSON for people: GET /v1/users/{id} and
 * `undine inspect user`.  Ids are hashes, in hexadecimal: their bytes are not stored. */
#ifndef UNDINE_OPS_USER_JSON_H
#define UNDINE_OPS_USER_JSON_H

#include "featurestore/users.h"

#include <jansson.h>

/* {"user":ID,"sequences":{NAME:[{"time":MS,FIELD:[HEX,...]},...]}}: a new reference, oldest step
 * first.  views (n_sequences). */
json_t *user_json(const struct schema *schema, const void *id, size_t id_len,
                  const struct users_view *views);

#endif
