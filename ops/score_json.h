/* score_json.h: a score request as one JSON object, as `undine score` and the HTTP scorer take it:
 *
 *   {"user":"712","profile":{"age":"30"},"context":{"hour":3},
 *    "sequences":{"clicks":[{"video":1,"tag":[3,4]},...]},"candidates":[{"video":5239},...]}
 *
 * Ids are strings or integers as in events: 5239 and "5239" are one id, integers keep all their
 * digits, null is a missing value.  All members may be left out.  One thread at a time. */
#ifndef UNDINE_OPS_SCORE_JSON_H
#define UNDINE_OPS_SCORE_JSON_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "scorer/undine.h"

#include <jansson.h>

struct score_json {
    struct undine_request request; /* of the last text that was parsed; lives until the next */
    struct arena arena;
    struct writer text;
    json_t *root;
};

void score_json_init(struct score_json *s);
void score_json_release(struct score_json *s);

/* UNDINE_EINVAL says which member is wrong; names of fields are left to undine_score. */
int score_json_parse(struct score_json *s, const char *text, size_t len, struct undine_err *err);

/* {"version":42,"scores":[0.25,...]} without a newline, appended. */
void score_json_answer(struct writer *out, uint64_t version, const float *prob, size_t n);
/* {"error":"..."} */
void score_json_error(struct writer *out, const char *message);

#endif
