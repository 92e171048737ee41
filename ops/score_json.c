#include "ops/score_json.h"

#include "learner/model/json_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INTEGER_DIGITS_SAFE = 18 /* fit an int64 whatever they are */, DIGITS_MAX = 24 };

void score_json_init(struct score_json *s)
{
    *s = (struct score_json){0};
    arena_init(&s->arena, 0);
    writer_init(&s->text);
}

void score_json_release(struct score_json *s)
{
    json_tape_close(s->tape);
    writer_release(&s->text);
    arena_release(&s->arena);
}

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the request");
}

/* ---- places ---- */

/* Where in the document a value stands: made on the way down, read only when it is wrong. */
struct place {
    const struct place *up;
    const char *name; /* NULL: an element */
    size_t index;
};

static void point(char *pointer, const char *text, bool escaped)
{
    size_t len = strlen(pointer), at = len;
    if (at + 2 > SCORE_JSON_POINTER_MAX) {
        return;
    }
    pointer[at++] = '/';
    for (; *text != '\0' && at + 3 < SCORE_JSON_POINTER_MAX; text++) {
        if (escaped && (*text == '~' || *text == '/')) {
            pointer[at++] = '~';
            pointer[at++] = *text == '~' ? '0' : '1';
        } else {
            pointer[at++] = *text;
        }
    }
    pointer[*text == '\0' ? at : len] = '\0';
}

void score_json_point(char pointer[SCORE_JSON_POINTER_MAX], const char *name)
{
    point(pointer, name, true);
}

void score_json_point_at(char pointer[SCORE_JSON_POINTER_MAX], size_t index)
{
    char text[DIGITS_MAX];
    (void)snprintf(text, sizeof text, "%zu", index);
    point(pointer, text, false);
}

static void point_to(struct score_json *s, const struct place *p)
{
    if (p != NULL) {
        point_to(s, p->up);
        if (p->name != NULL) {
            score_json_point(s->pointer, p->name);
        } else {
            score_json_point_at(s->pointer, p->index);
        }
    }
}

/* The name of the nearest member above, for messages. */
static const char *name_of(const struct place *p)
{
    while (p != NULL && p->name == NULL) {
        p = p->up;
    }
    return p != NULL ? p->name : "request";
}

static int wrong(struct score_json *s, const struct place *at, const char *expected,
                 struct undine_err *err)
{
    point_to(s, at);
    return undine_err_set(err, UNDINE_EINVAL, "`%s` is not %s", name_of(at), expected);
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
        integer = integer && (isdigit((unsigned char)*p) || (p == at && *p == '-'));
        p++;
    }
    size_t len = (size_t)(p - at);
    *is_long = integer && len > INTEGER_DIGITS_SAFE && at[*at == '-'] != '0';
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

/* Is there a run of digits that is too long? */
static bool has_long_integer(const char *text, size_t len)
{
    size_t run = 0;
    for (size_t i = 0; i < len; i++) {
        run = text[i] >= '0' && text[i] <= '9' ? run + 1 : 0;
        if (run > INTEGER_DIGITS_SAFE) {
            return true;
        }
    }
    return false;
}

/* ---- values ---- */

static uint32_t count(const struct json_tape_node *nodes, uint32_t container)
{
    uint32_t n = 0;
    for (uint32_t i = container + 1; i < nodes[container].end; i = nodes[i].end) {
        n++;
    }
    return n;
}

static int read_value(struct score_json *s, uint32_t node, const struct place *at,
                      struct undine_value *out, struct undine_err *err)
{
    const struct json_tape_node *in = &s->nodes[node];
    *out = (struct undine_value){NULL, 0};
    switch (in->type) {
    case TAPE_NULL:
        return UNDINE_OK;
    case TAPE_STRING:
        *out = (struct undine_value){in->text, in->text_len};
        return UNDINE_OK;
    case TAPE_INT:
        break;
    default:
        return wrong(s, at, "an id (string or integer) or a list of ids", err);
    }
    char text[DIGITS_MAX], *first = text + sizeof text;
    uint64_t rest = in->integer < 0 ? 0 - (uint64_t)in->integer : (uint64_t)in->integer;
    do {
        *--first = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (in->integer < 0) {
        *--first = '-';
    }
    size_t len = (size_t)(text + sizeof text - first);
    char *copy = arena_strndup(&s->arena, first, len);
    if (copy == NULL) {
        return no_memory(err);
    }
    *out = (struct undine_value){copy, len};
    return UNDINE_OK;
}

static int read_feature(struct score_json *s, uint32_t node, const struct place *at,
                        struct undine_feature *out, struct undine_err *err)
{
    bool list = s->nodes[node].type == TAPE_ARRAY;
    size_t n = list ? count(s->nodes, node) : 1;
    struct undine_value *values = arena_calloc(&s->arena, n, sizeof *values);
    if (values == NULL) {
        return no_memory(err);
    }
    *out = (struct undine_feature){at->name, values, n};
    if (!list) {
        return read_value(s, node, at, values, err);
    }
    int rc = UNDINE_OK;
    uint32_t value = node + 1;
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++, value = s->nodes[value].end) {
        const struct place here = {.up = at, .index = i};
        rc = read_value(s, value, &here, &values[i], err);
    }
    return rc;
}

/* Objects of a list mostly have the same members in the same order: one text for a name at one
 * place lets undine_score know it by its address. */
static const char *member_name(struct score_json *s, size_t place,
                               const struct json_tape_node *node)
{
    if (place >= SCORE_JSON_NAMES) {
        return node->key;
    }
    if (s->names[place] == NULL || strcmp(s->names[place], node->key) != 0) {
        s->names[place] = node->key;
    }
    return s->names[place];
}

/* An object of fields. */
static int read_features(struct score_json *s, uint32_t node, const struct place *at,
                         struct undine_features *out, struct undine_err *err)
{
    *out = (struct undine_features){NULL, 0};
    if (s->nodes[node].type == TAPE_NULL) {
        return UNDINE_OK;
    }
    if (s->nodes[node].type != TAPE_OBJECT) {
        return wrong(s, at, "an object of fields", err);
    }
    size_t n = count(s->nodes, node);
    struct undine_feature *features = arena_calloc(&s->arena, n, sizeof *features);
    if (features == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    uint32_t member = node + 1;
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++, member = s->nodes[member].end) {
        const struct place here = {.up = at, .name = member_name(s, i, &s->nodes[member])};
        rc = read_feature(s, member, &here, &features[i], err);
    }
    *out = (struct undine_features){features, n};
    return rc;
}

/* A list of such objects. */
static int read_items(struct score_json *s, uint32_t node, const struct place *at,
                      const struct undine_features **out, size_t *n, struct undine_err *err)
{
    *out = NULL;
    *n = 0;
    if (s->nodes[node].type == TAPE_NULL) {
        return UNDINE_OK;
    }
    if (s->nodes[node].type != TAPE_ARRAY) {
        return wrong(s, at, "a list", err);
    }
    size_t n_items = count(s->nodes, node);
    struct undine_features *items = arena_calloc(&s->arena, n_items, sizeof *items);
    if (items == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    uint32_t item = node + 1;
    for (size_t i = 0; rc == UNDINE_OK && i < n_items; i++, item = s->nodes[item].end) {
        const struct place here = {.up = at, .index = i};
        rc = read_features(s, item, &here, &items[i], err);
    }
    *out = items;
    *n = n_items;
    return rc;
}

/* ---- members ---- */

static int read_user(struct score_json *s, uint32_t node, const struct place *at,
                     struct undine_err *err)
{
    return read_value(s, node, at, &s->request.user_id, err);
}

static int read_profile(struct score_json *s, uint32_t node, const struct place *at,
                        struct undine_err *err)
{
    return read_features(s, node, at, &s->request.user, err);
}

static int read_context(struct score_json *s, uint32_t node, const struct place *at,
                        struct undine_err *err)
{
    return read_features(s, node, at, &s->request.context, err);
}

static int read_sequences(struct score_json *s, uint32_t node, const struct place *at,
                          struct undine_err *err)
{
    if (s->nodes[node].type == TAPE_NULL) {
        return UNDINE_OK;
    }
    s->has_sequences = true;
    if (s->nodes[node].type != TAPE_OBJECT) {
        return wrong(s, at, "an object of lists", err);
    }
    size_t n = count(s->nodes, node);
    struct undine_sequence *sequences = arena_calloc(&s->arena, n, sizeof *sequences);
    if (sequences == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    uint32_t member = node + 1;
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++, member = s->nodes[member].end) {
        struct undine_sequence *q = &sequences[i];
        const struct place here = {.up = at, .name = s->nodes[member].key};
        q->name = here.name;
        rc = read_items(s, member, &here, &q->steps, &q->n_steps, err);
    }
    s->request.sequences = sequences;
    s->request.n_sequences = n;
    return rc;
}

static int read_candidates(struct score_json *s, uint32_t node, const struct place *at,
                           struct undine_err *err)
{
    struct undine_request *r = &s->request;
    if (s->candidates_max > 0 && s->nodes[node].type == TAPE_ARRAY &&
        count(s->nodes, node) > s->candidates_max) {
        point_to(s, at);
        return undine_err_set(err, UNDINE_EINVAL, "there are %u candidates, at most %zu are taken",
                              count(s->nodes, node), s->candidates_max);
    }
    return read_items(s, node, at, &r->candidates, &r->n_candidates, err);
}

/* Beyond it a number of JSON is not sure to be read as it was meant. */
#define TIME_MAX (INT64_C(1) << 53)

static int read_time(struct score_json *s, uint32_t node, const struct place *at,
                     struct undine_err *err)
{
    const struct json_tape_node *in = &s->nodes[node];
    if (in->type == TAPE_NULL) {
        return UNDINE_OK;
    }
    bool number = in->type == TAPE_INT || in->type == TAPE_REAL; /* 5.0 is a whole number, too */
    if (!number || in->integer < 0 || in->integer > TIME_MAX) {
        return wrong(s, at, "a time in milliseconds since the epoch", err);
    }
    s->time_ms = in->integer;
    return UNDINE_OK;
}

typedef int (*member_fn)(struct score_json *s, uint32_t node, const struct place *at,
                         struct undine_err *err);
static const struct {
    const char *name;
    member_fn read;
} MEMBERS[] = {
    {"user", read_user},           {"profile", read_profile},       {"context", read_context},
    {"sequences", read_sequences}, {"candidates", read_candidates}, {"time", read_time}};
enum { N_MEMBERS = sizeof MEMBERS / sizeof MEMBERS[0] };

/* Reads one member; *seen has a bit for each that has been. */
static int read_member(struct score_json *s, uint32_t node, const struct place *up, unsigned *seen,
                       struct undine_err *err)
{
    const char *key = s->nodes[node].key;
    const struct place here = {.up = up, .name = key};
    size_t which = 0;
    size_t n = s->takes_time ? N_MEMBERS : N_MEMBERS - 1;
    while (which < n && strcmp(MEMBERS[which].name, key) != 0) {
        which++;
    }
    if (which == n) {
        point_to(s, &here);
        return undine_err_set(err, UNDINE_EINVAL,
                              "no member `%s` is expected: a request has user, profile, "
                              "context, sequences%s candidates%s",
                              key, s->takes_time ? "," : " and", s->takes_time ? " and time" : "");
    }
    if ((*seen >> which & 1) != 0) {
        point_to(s, &here);
        return undine_err_set(err, UNDINE_EINVAL, "member `%s` is given twice", key);
    }
    *seen |= 1U << which;
    return MEMBERS[which].read(s, node, &here, err);
}

/* ---- documents ---- */

/* Names are C strings further on, which end at the first NUL. */
static int check_names(struct score_json *s, struct undine_err *err)
{
    for (uint32_t i = 1; i < s->nodes[0].end; i++) {
        const struct json_tape_node *n = &s->nodes[i];
        if (n->key != NULL && strlen(n->key) != n->key_len) {
            return undine_err_set(err, UNDINE_EINVAL, "the name of a member holds a NUL");
        }
    }
    return UNDINE_OK;
}

/* {"requests":[...]}: how many. */
static int find_requests(struct score_json *s, struct undine_err *err)
{
    static const char name[] = "requests";
    if (s->requests_max == 0 || s->nodes[0].end == 1 || strcmp(s->nodes[1].key, name) != 0) {
        return 1;
    }
    score_json_point(s->pointer, name);
    if (s->nodes[1].type != TAPE_ARRAY) {
        return undine_err_set(err, UNDINE_EINVAL, "`requests` is not a list");
    }
    if (s->nodes[1].end != s->nodes[0].end) {
        return undine_err_set(err, UNDINE_EINVAL,
                              "beside `requests` nothing is expected: each has its own members");
    }
    uint32_t n = count(s->nodes, 1);
    if (n > s->requests_max) {
        return undine_err_set(err, UNDINE_EINVAL, "there are %u requests, at most %zu are taken", n,
                              s->requests_max);
    }
    s->requests = 1;
    return (int)n;
}

int score_json_load(struct score_json *s, const char *text, size_t len, struct undine_err *err)
{
    s->pointer[0] = '\0';
    s->requests = 0;
    if (s->tape == NULL && (s->tape = json_tape_open()) == NULL) {
        return no_memory(err);
    }
    writer_clear(&s->text);
    if (has_long_integer(text, len)) {
        quote_integers(&s->text, text, len);
    } else {
        writer_bytes(&s->text, text, len);
    }
    len = s->text.len;
    (void)writer_extend(&s->text, JSON_TAPE_PADDING);
    if (s->text.bad) {
        writer_release(&s->text);
        return no_memory(err);
    }
    bool memory = false;
    const char *why = json_tape_parse(s->tape, (const char *)s->text.data, len, &s->nodes, &memory);
    if (memory) {
        return no_memory(err);
    }
    if (why != NULL || s->nodes[0].type != TAPE_OBJECT) {
        return undine_err_set(err, UNDINE_EINVAL, "the request is not one JSON object: %s",
                              why != NULL ? why : "it is another value");
    }
    int rc = check_names(s, err);
    return rc < 0 ? rc : find_requests(s, err);
}

int score_json_take(struct score_json *s, size_t i, struct undine_err *err)
{
    const struct place list = {.name = "requests"};
    const struct place element = {.up = &list, .index = i};
    const struct place *at = s->requests != 0 ? &element : NULL;
    uint32_t node = s->requests != 0 ? s->requests + 1 : 0;
    for (size_t k = 0; s->requests != 0 && k < i; k++) {
        node = s->nodes[node].end;
    }
    arena_reset(&s->arena);
    memset(s->names, 0, sizeof s->names);
    s->pointer[0] = '\0';
    s->request = (struct undine_request){0};
    s->time_ms = -1;
    s->has_sequences = false;
    if (s->nodes[node].type != TAPE_OBJECT) {
        return wrong(s, at, "an object", err);
    }
    unsigned seen = 0;
    int rc = UNDINE_OK;
    uint32_t end = s->nodes[node].end;
    for (uint32_t m = node + 1; rc == UNDINE_OK && m < end; m = s->nodes[m].end) {
        rc = read_member(s, m, at, &seen, err);
    }
    return rc;
}

int score_json_parse(struct score_json *s, const char *text, size_t len, struct undine_err *err)
{
    int n = score_json_load(s, text, len, err);
    return n < 0 ? n : score_json_take(s, 0, err);
}

/* ---- answers ---- */

/* A number in (10^-3, 1) in nine significant digits, as "%.9g" has it but for ties.  Its product
 * with a power of ten is off by 2^-53 of itself, a millionth of the last digit.  Returns the
 * length. */
static size_t put_score(char text[32], float prob)
{
    double p = (double)prob;
    if (!(p > 1e-3 && p < 0.9999999995)) {
        return (size_t)snprintf(text, 32, "%.9g", p);
    }
    int digits = p >= 0.1 ? 9 : p >= 0.01 ? 10 : 11;
    static const double scale[] = {1e9, 1e10, 1e11};
    uint64_t v = (uint64_t)llrint(p * scale[digits - 9]);
    text[0] = '0';
    text[1] = '.';
    for (int i = digits; i > 0; i--) {
        text[1 + i] = (char)('0' + v % 10);
        v /= 10;
    }
    size_t len = 2 + (size_t)digits;
    while (text[len - 1] == '0') {
        len--;
    }
    return len;
}

void score_json_answer(struct writer *out, uint64_t version, const float *prob, size_t n)
{
    char text[64];
    int len = snprintf(text, sizeof text, "{\"version\":%" PRIu64 ",\"scores\":[", version);
    writer_bytes(out, text, (size_t)len);
    for (size_t i = 0; i < n; i++) {
        text[0] = ',';
        size_t score_len = put_score(text + 1, prob[i]);
        writer_bytes(out, i > 0 ? text : text + 1, score_len + (i > 0));
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
