/* schema_json.h: a schema as JSON, in manifests (docs/formats.md), and back.  Names stand for
 * indices, so that the text can be read; what is derived (hash seeds) is not written.  Any thread.
 */
#ifndef UNDINE_LEARNER_MODEL_SCHEMA_JSON_H
#define UNDINE_LEARNER_MODEL_SCHEMA_JSON_H

#include "base/schema.h"

#include <jansson.h>

/* NULL where memory is out.  The caller owns it (json_decref). */
json_t *schema_to_json(const struct schema *s);
/* UNDINE_ECORRUPT where it is no schema, schema_check included. */
int schema_from_json(struct schema *out, const json_t *json, struct undine_err *err);

#endif
