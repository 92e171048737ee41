/* score_json.h: score requests in JSON, as `undine score` and the HTTP scorers take them:
 *
 *   {"user":"712","profile":{"age":"30"},"context":{"hour":3},
 *    "sequences":{"clicks":[{"video":1,"tag":[3,4]},...]},"candidates":[{"video":5239},...]}
 *
 * Ids are strings or integers as in events: 5239 and "5239" are one id, integers keep all their
 * digits, null is a missing value.  All members may be left out.  One thread at a time.
 *
 * Two forms more are for HTTP: a request may have `time` (ms since the epoch) where the scorer
 * remembers users, and {"requests":[...]} holds several. */
#ifndef UNDINE_OPS_SCORE_JSON_H
#define UNDINE_OPS_SCORE_JSON_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "ops/json_tape.h"
#include "scorer/undine.h"

enum { SCORE_JSON_POINTER_MAX = 192, SCORE_JSON_NAMES = 32 };

struct score_json {
    /* Set by the caller after init. */
    bool takes_time;       /* a request may have `time` */
    size_t candidates_max; /* 0 = no bound of ours */
    size_t requests_max;   /* 0 = a document is one request */

    struct undine_request request; /* of the last score_json_take; lives until the next load */
    int64_t time_ms;               /* -1 = it has none */
    bool has_sequences;            /* it names `sequences`, be they empty */
    char pointer[SCORE_JSON_POINTER_MAX]; /* JSON pointer of what is wrong; "" = the document */

    struct arena arena;
    struct writer text;
    struct json_tape *tape;
    const struct json_tape_node *nodes;
    uint32_t requests;                   /* node of the list, 0 = there is none */
    const char *names[SCORE_JSON_NAMES]; /* field at place i of the last object */
};

void score_json_init(struct score_json *s);
void score_json_release(struct score_json *s);

/* Read a document.  Returns the number of requests in it: 1 for one that is no list.  UNDINE_EINVAL
 * where it is no JSON or none of the two forms. */
int score_json_load(struct score_json *s, const char *text, size_t len, struct undine_err *err);
/* Make request i of it `request`.  UNDINE_EINVAL says which member is wrong, and `pointer` where;
 * names of fields are left to undine_score. */
int score_json_take(struct score_json *s, size_t i, struct undine_err *err);
/* Both for a document that is one request. */
int score_json_parse(struct score_json *s, const char *text, size_t len, struct undine_err *err);

/* Append "/name" to a JSON pointer, escaped; what does not fit is left out. */
void score_json_point(char pointer[SCORE_JSON_POINTER_MAX], const char *name);
void score_json_point_at(char pointer[SCORE_JSON_POINTER_MAX], size_t index);

/* {"version":42,"scores":[0.25,...]} without a newline, appended.  Scores have nine significant
 * digits: enough that the same float is read back. */
void score_json_answer(struct writer *out, uint64_t version, const float *prob, size_t n);
/* {"error":"..."} */
void score_json_error(struct writer *out, const char *message);

#endif
