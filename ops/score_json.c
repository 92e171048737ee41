#include "ops/score_json.h"

#include "learner/model/json_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INTEGER_DIGITS_SAFE = 18 /* fit an int64 whatever they are */ };

void score_json_init(struct score_json *s)
{
    *s = (struct score_json){0};
    arena_init(&s->arena, 0);
    writer_init(&s->text);
}

void score_json_release(struct score_json *s)
{
    json_decref(s->root);
    writer_release(&s->text);
    arena_release(&s->arena);
}

static int wrong(struct undine_err *err, const char *what, const char *expected)
{
    return undine_err_set(err, UNDINE_EINVAL, "`%s` is not %s", what, expected);
}

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the request");
}

/* ---- integers of any length ---- */

/* Length of the string literal at `at`, quotes included. */
static size_t string_len(const char *at, const char *end)
{
    const char *p = at + 1;
    while (p < end && *p != '"') {
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    }
    return (size_t)((p < end ? p + 1 : end) - at);
}

/* Length of what looks like a number, and whether it is an integer too long to be parsed as one. */
static size_t number_len(const char *at, const char *end, bool *is_long)
{
    const char *p = at;
    bool integer = true;
    while (p < end && (isalnum((unsigned char)*p) || strchr("+-.", *p) != NULL)) {
        integer = integer && isdigit((unsigned char)*p);
        p++;
    }
    size_t len = (size_t)(p - at);
    *is_long = integer && len > INTEGER_DIGITS_SAFE && *at != '0';
    return len;
}

/* A copy of the text in which long integers are strings, since the parser holds no more than an
 * int64. */
static void quote_integers(struct writer *out, const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    writer_clear(out);
    while (at < end) {
        size_t run = 1;
        bool is_long = false;
        if (*at == '"') {
            run = string_len(at, end);
        } else if (*at != '\0' && (isalnum((unsigned char)*at) || strchr("+-.", *at) != NULL)) {
            run = number_len(at, end, &is_long);
        }
        writer_bytes(out, "\"", is_long);
        writer_bytes(out, at, run);
        writer_bytes(out, "\"", is_long);
        at += run;
    }
}

/* ---- values ---- */

static int read_value(struct score_json *s, const char *field, json_t *in, struct undine_value *out,
                      struct undine_err *err)
{
    *out = (struct undine_value){NULL, 0};
    if (json_is_null(in)) {
        return UNDINE_OK;
    }
    if (json_is_string(in)) {
        *out = (struct undine_value){json_string_value(in), json_string_length(in)};
        return UNDINE_OK;
    }
    if (!json_is_integer(in)) {
        return wrong(err, field, "an id (string or integer) or a list of ids");
    }
    char text[32];
    int len = snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(in));
    char *copy = arena_strndup(&s->arena, text, (size_t)len);
    if (copy == NULL) {
        return no_memory(err);
    }
    *out = (struct undine_value){copy, (size_t)len};
    return UNDINE_OK;
}

static int read_feature(struct score_json *s, const char *field, json_t *in,
                        struct undine_feature *out, struct undine_err *err)
{
    size_t n = json_is_array(in) ? json_array_size(in) : 1;
    struct undine_value *values = arena_calloc(&s->arena, n, sizeof *values);
    if (values == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++) {
        rc = read_value(s, field, json_is_array(in) ? json_array_get(in, i) : in, &values[i], err);
    }
    *out = (struct undine_feature){field, values, n};
    return rc;
}

/* An object of fields; NULL = none. */
static int read_features(struct score_json *s, const char *what, json_t *in,
                         struct undine_features *out, struct undine_err *err)
{
    *out = (struct undine_features){NULL, 0};
    if (in == NULL || json_is_null(in)) {
        return UNDINE_OK;
    }
    if (!json_is_object(in)) {
        return wrong(err, what, "an object of fields");
    }
    size_t n = 0;
    struct undine_feature *features =
        arena_calloc(&s->arena, json_object_size(in), sizeof *features);
    if (features == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    for (void *i = json_object_iter(in); rc == UNDINE_OK && i != NULL;
         i = json_object_iter_next(in, i)) {
        rc = read_feature(s, json_object_iter_key(i), json_object_iter_value(i), &features[n++],
                          err);
    }
    *out = (struct undine_features){features, n};
    return rc;
}

/* A list of such objects. */
static int read_items(struct score_json *s, const char *what, json_t *in,
                      const struct undine_features **out, size_t *n, struct undine_err *err)
{
    *out = NULL;
    *n = 0;
    if (in == NULL || json_is_null(in)) {
        return UNDINE_OK;
    }
    if (!json_is_array(in)) {
        return wrong(err, what, "a list");
    }
    struct undine_features *items = arena_calloc(&s->arena, json_array_size(in), sizeof *items);
    if (items == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < json_array_size(in); i++) {
        rc = read_features(s, what, json_array_get(in, i), &items[i], err);
    }
    *out = items;
    *n = json_array_size(in);
    return rc;
}

static int read_sequences(struct score_json *s, json_t *in, struct undine_err *err)
{
    if (in == NULL || json_is_null(in)) {
        return UNDINE_OK;
    }
    if (!json_is_object(in)) {
        return wrong(err, "sequences", "an object of lists");
    }
    size_t n = 0;
    struct undine_sequence *sequences =
        arena_calloc(&s->arena, json_object_size(in), sizeof *sequences);
    if (sequences == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    for (void *i = json_object_iter(in); rc == UNDINE_OK && i != NULL;
         i = json_object_iter_next(in, i)) {
        struct undine_sequence *q = &sequences[n++];
        q->name = json_object_iter_key(i);
        rc = read_items(s, q->name, json_object_iter_value(i), &q->steps, &q->n_steps, err);
    }
    s->request.sequences = sequences;
    s->request.n_sequences = n;
    return rc;
}

static int check_members(json_t *root, struct undine_err *err)
{
    static const char *const names[] = {"user", "profile", "context", "sequences", "candidates"};
    for (void *i = json_object_iter(root); i != NULL; i = json_object_iter_next(root, i)) {
        bool known = false;
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            known = known || strcmp(json_object_iter_key(i), names[k]) == 0;
        }
        if (!known) {
            return undine_err_set(err, UNDINE_EINVAL,
                                  "no member `%s` is expected: a request has user, profile, "
                                  "context, sequences and candidates",
                                  json_object_iter_key(i));
        }
    }
    return UNDINE_OK;
}

int score_json_parse(struct score_json *s, const char *text, size_t len, struct undine_err *err)
{
    json_decref(s->root);
    arena_reset(&s->arena);
    s->request = (struct undine_request){0};
    quote_integers(&s->text, text, len);
    if (s->text.bad) {
        s->root = NULL;
        return no_memory(err);
    }
    s->root = NULL;
    struct undine_err why = {.msg = "it is another value"};
    if (json_text_parse(&s->root, (const char *)s->text.data, s->text.len, &why) == UNDINE_ENOMEM) {
        return no_memory(err);
    }
    if (!json_is_object(s->root)) {
        return undine_err_set(err, UNDINE_EINVAL, "the request is not one JSON object: %s",
                              why.msg);
    }
    json_t *user = json_object_get(s->root, "user");
    struct undine_request *r = &s->request;
    int rc = check_members(s->root, err);
    if (rc == UNDINE_OK && user != NULL) {
        rc = read_value(s, "user", user, &r->user_id, err);
    }
    if (rc == UNDINE_OK) {
        rc = read_features(s, "profile", json_object_get(s->root, "profile"), &r->user, err);
    }
    if (rc == UNDINE_OK) {
        rc = read_features(s, "context", json_object_get(s->root, "context"), &r->context, err);
    }
    if (rc == UNDINE_OK) {
        rc = read_sequences(s, json_object_get(s->root, "sequences"), err);
    }
    if (rc == UNDINE_OK) {
        rc = read_items(s, "candidates", json_object_get(s->root, "candidates"), &r->candidates,
                        &r->n_candidates, err);
    }
    return rc;
}

/* ---- answers ---- */

void score_json_answer(struct writer *out, uint64_t version, const float *prob, size_t n)
{
    char text[64];
    int len = snprintf(text, sizeof text, "{\"version\":%" PRIu64 ",\"scores\":[", version);
    writer_bytes(out, text, (size_t)len);
    for (size_t i = 0; i < n; i++) {
        len = snprintf(text, sizeof text, "%s%.9g", i > 0 ? "," : "", (double)prob[i]);
        writer_bytes(out, text, (size_t)len);
    }
    writer_bytes(out, "]}", 2);
}

void score_json_error(struct writer *out, const char *message)
{
    json_t *o = json_pack("{s:s%}", "error", message, strlen(message));
    if (o == NULL) { /* a message that quotes what is not UTF-8 */
        o = json_pack("{s:s}", "error", "the request names what is no UTF-8 text");
    }
    char *text = o != NULL ? json_text_print(o, JSON_COMPACT) : NULL;
    if (text != NULL) {
        writer_bytes(out, text, strlen(text));
    } else {
        out->bad = true;
    }
    free(text);
    json_decref(o);
}
