/* json_fields.h: members of a JSON object, read strictly: what is missing, has the wrong type or
 * does not fit is UNDINE_ECORRUPT with the member's name.  Outputs are written only on success. Any
 * thread. */
#ifndef UNDINE_LEARNER_MODEL_JSON_FIELDS_H
#define UNDINE_LEARNER_MODEL_JSON_FIELDS_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int json_field_u64(const json_t *object, const char *name, uint64_t max, uint64_t *out,
                   struct undine_err *err);
int json_field_u32(const json_t *object, const char *name, uint32_t max, uint32_t *out,
                   struct undine_err *err);
int json_field_i64(const json_t *object, const char *name, int64_t *out, struct undine_err *err);
int json_field_bool(const json_t *object, const char *name, bool *out, struct undine_err *err);
/* A string of at most size - 1 bytes. */
int json_field_text(const json_t *object, const char *name, char *out, size_t size,
                    struct undine_err *err);
/* A string that holds a whole 64-bit number in the given base (10 or 16), which a JSON number of
 * many readers does not. */
int json_field_u64_text(const json_t *object, const char *name, int base, uint64_t *out,
                        struct undine_err *err);
/* The member itself; borrowed. */
int json_field_object(const json_t *object, const char *name, json_t **out, struct undine_err *err);
int json_field_list(const json_t *object, const char *name, size_t n_max, json_t **out,
                    struct undine_err *err);

#endif
