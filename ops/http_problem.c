#include "ops/http_problem.h"

#include "learner/model/json_text.h"

#include "learner/model/json_text.h"
#include "ops/json_put.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DETAIL_MAX = 1024, TYPE_MAX = 96, RETRY_AFTER_S = 1 };

#define ROW(name, status, title) {#name, status, title},
static const struct {
    const char *name;
    int status;
    const char *title;
} PROBLEMS[] = {HTTP_PROBLEMS(ROW)};

const char *http_problem_name(enum http_problem what)
{
    return PROBLEMS[what].name;
}

/* What a client sent and a message quotes may be no UTF-8: then without the quotation. */
static json_t *text_of(const char *text)
{
    json_t *o = json_string(text);
    return o != NULL ? o : json_string("the request holds what is no UTF-8 text");
}

int http_problem(struct http_answer *out, enum http_problem what, const char *pointer,
                 const char *detail, ...)
{
    char text[DETAIL_MAX], type[TYPE_MAX];
    va_list ap;
    va_start(ap, detail);
    (void)vsnprintf(text, sizeof text, detail, ap);
    va_end(ap);
    (void)snprintf(type, sizeof type, "/openapi.json#/components/responses/%s",
                   PROBLEMS[what].name);
    writer_clear(&out->body);
    out->content_type = "application/problem+json";
    if (what == HTTP_PROBLEM_Busy || what == HTTP_PROBLEM_NotReady) {
        out->retry_after_s = RETRY_AFTER_S;
    }
    json_t *o = json_pack("{s:s, s:s, s:i, s:o}", "type", type, "title", PROBLEMS[what].title,
                          "status", PROBLEMS[what].status, "detail", text_of(text));
    if (o != NULL && pointer != NULL) {
        json_put(o, "pointer", text_of(pointer));
    }
    char *json = o != NULL ? json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    if (!json_put_lost() && json != NULL) {
        writer_bytes(&out->body, json, strlen(json));
    } else {
        out->body.bad = true;
    }
    free(json);
    json_decref(o);
    return PROBLEMS[what].status;
}
