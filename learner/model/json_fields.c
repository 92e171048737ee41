#include "learner/model/json_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int bad(struct undine_err *err, const char *name, const char *expected)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "`%s` is missing or is not %s", name, expected);
}

int json_field_i64(const json_t *object, const char *name, int64_t *out, struct undine_err *err)
{
    const json_t *v = json_object_get(object, name);
    if (!json_is_integer(v)) {
        return bad(err, name, "an integer");
    }
    *out = (int64_t)json_integer_value(v);
    return UNDINE_OK;
}

int json_field_u64(const json_t *object, const char *name, uint64_t max, uint64_t *out,
                   struct undine_err *err)
{
    int64_t v = 0;
    int rc = json_field_i64(object, name, &v, err);
    if (rc < 0) {
        return rc;
    }
    if (v < 0 || (uint64_t)v > max) {
        return undine_err_set(err, UNDINE_ECORRUPT, "`%s` is %" PRId64 ", expected 0..%" PRIu64,
                              name, v, max);
    }
    *out = (uint64_t)v;
    return UNDINE_OK;
}

int json_field_u32(const json_t *object, const char *name, uint32_t max, uint32_t *out,
                   struct undine_err *err)
{
    uint64_t v = 0;
    int rc = json_field_u64(object, name, max, &v, err);
    if (rc == UNDINE_OK) {
        *out = (uint32_t)v;
    }
    return rc;
}

int json_field_bool(const json_t *object, const char *name, bool *out, struct undine_err *err)
{
    const json_t *v = json_object_get(object, name);
    if (!json_is_boolean(v)) {
        return bad(err, name, "true or false");
    }
    *out = json_is_true(v);
    return UNDINE_OK;
}

int json_field_text(const json_t *object, const char *name, char *out, size_t size,
                    struct undine_err *err)
{
    const json_t *v = json_object_get(object, name);
    if (!json_is_string(v)) {
        return bad(err, name, "a string");
    }
    size_t len = json_string_length(v);
    const char *text = json_string_value(v);
    if (len >= size || strlen(text) != len) {
        return undine_err_set(err, UNDINE_ECORRUPT, "`%s` is longer than %zu bytes", name,
                              size - 1);
    }
    memcpy(out, text, len + 1);
    return UNDINE_OK;
}

int json_field_u64_text(const json_t *object, const char *name, int base, uint64_t *out,
                        struct undine_err *err)
{
    const char *digits = base == 16 ? "0123456789abcdef" : "0123456789";
    char text[24], *end;
    int rc = json_field_text(object, name, text, sizeof text, err);
    if (rc < 0) {
        return rc;
    }
    errno = 0;
    unsigned long long v = strtoull(text, &end, base);
    if (text[0] == '\0' || text[strspn(text, digits)] != '\0' || *end != '\0' || errno != 0) {
        return undine_err_set(err, UNDINE_ECORRUPT, "`%s` is \"%s\", expected a number in base %d",
                              name, text, base);
    }
    *out = v;
    return UNDINE_OK;
}

int json_field_object(const json_t *object, const char *name, json_t **out, struct undine_err *err)
{
    json_t *v = json_object_get(object, name);
    if (!json_is_object(v)) {
        return bad(err, name, "an object");
    }
    *out = v;
    return UNDINE_OK;
}

int json_field_list(const json_t *object, const char *name, size_t n_max, json_t **out,
                    struct undine_err *err)
{
    json_t *v = json_object_get(object, name);
    if (!json_is_array(v)) {
        return bad(err, name, "a list");
    }
    if (json_array_size(v) > n_max) {
        return undine_err_set(err, UNDINE_ECORRUPT, "`%s` has %zu entries, at most %zu are allowed",
                              name, json_array_size(v), n_max);
    }
    *out = v;
    return UNDINE_OK;
}
