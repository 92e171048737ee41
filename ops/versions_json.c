#include "ops/versions_json.h"

#include "base/clock.h"
#include "learner/model/json_text.h"
#include "learner/version.h"
#include "learner/version_publish.h"
#include "ops/http_problem.h"
#include "ops/json_put.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    VERSIONS_SHOWN_MAX = 100,
    HISTORY_LINES_MAX = 50,
    HISTORY_TAIL_BYTES = 32768,
    TOKEN_MIN = 16
};

int versions_token(char out[VERSIONS_TOKEN_MAX], const char *path, struct undine_err *err)
{
    char text[VERSIONS_TOKEN_MAX] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    int why = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (n < 0) {
        return undine_err_sys(err, UNDINE_EIO, why, "token file `%s`", path);
    }
    text[strcspn(text, "\r\n")] = '\0';
    if (strlen(text) < TOKEN_MIN || n == (ssize_t)sizeof text - 1) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "token file `%s`: its first line must have %d to %d bytes", path,
                              TOKEN_MIN, VERSIONS_TOKEN_MAX - 2);
    }
    memcpy(out, text, sizeof text);
    return UNDINE_OK;
}

/* ---- what there is ---- */

static void put_u64(json_t *o, const char *name, uint64_t v)
{
    json_put(o, name, json_integer((json_int_t)v));
}

static json_t *version_json(const struct version_info *v)
{
    json_t *o = json_object();
    put_u64(o, "version", v->number);
    put_u64(o, "trained_seq", v->trained_seq);
    put_u64(o, "event_time_ms", (uint64_t)v->event_time_ms);
    put_u64(o, "created_ms", (uint64_t)v->created_ms);
    put_u64(o, "rows", v->rows);
    put_u64(o, "bytes", v->bytes);
    json_put(o, "refused", json_boolean(v->refused));
    json_put(o, "model_digest", json_string(v->digest));
    return o;
}

static json_t *list_json(const char *dir, struct undine_err *err)
{
    struct version_info *found = calloc(VERSIONS_SHOWN_MAX, sizeof *found);
    json_t *list = json_array();
    int n = found != NULL ? version_list(dir, found, VERSIONS_SHOWN_MAX, err)
                          : undine_err_set(err, UNDINE_ENOMEM, "no memory for the versions");
    for (int i = n - 1; i >= 0; i--) { /* newest first */
        json_put_last(list, version_json(&found[i]));
    }
    free(found);
    if (n < 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* The newest whole lines of HISTORY, newest first; lines that a crash cut short are passed over. */
static json_t *history_json(const char *dir)
{
    char path[VERSION_PATH_MAX + 16];
    json_t *list = json_array();
    char *tail = calloc(1, HISTORY_TAIL_BYTES + 1);
    (void)snprintf(path, sizeof path, "%s/HISTORY", dir);
    int fd = tail != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat st = {0};
    if (fd >= 0 && fstat(fd, &st) == 0) {
        off_t from = st.st_size > HISTORY_TAIL_BYTES ? st.st_size - HISTORY_TAIL_BYTES : 0;
        ssize_t n = pread(fd, tail, HISTORY_TAIL_BYTES, from);
        tail[n > 0 ? n : 0] = '\0';
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    char *rest = NULL;
    for (char *line = tail != NULL ? strtok_r(tail, "\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        json_t *o = NULL;
        (void)json_text_parse(&o, line, strlen(line), NULL);
        if (json_is_object(o)) {
            (void)json_array_insert(list, 0, o);
        }
        json_decref(o);
    }
    while (json_array_size(list) > HISTORY_LINES_MAX) {
        (void)json_array_remove(list, HISTORY_LINES_MAX);
    }
    free(tail);
    return list;
}

static json_t *hold_json(const struct version_hold *h)
{
    if (!h->held) {
        return json_null();
    }
    json_t *o = json_object();
    put_u64(o, "since_ms", (uint64_t)h->at_ms);
    json_put(o, "by", json_string(h->by));
    json_put(o, "reason", json_string(h->reason));
    return o;
}

static int put_json(struct http_answer *out, json_t *o)
{
    char *text = json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    if (!json_put_lost() && text != NULL) {
        writer_bytes(&out->body, text, strlen(text));
    } else {
        out->body.bad = true;
    }
    free(text);
    return 200;
}

int versions_handle(void *payload, const struct http_request *in, struct http_answer *out)
{
    const struct versions_json *v = payload;
    struct undine_err err = {0};
    struct version_state state = {0};
    (void)in;
    if (v->dir == NULL) {
        return http_problem(out, HTTP_PROBLEM_NotReady, NULL, "the state is being restored");
    }
    int rc = version_state(v->dir, &state, &err);
    json_t *list = rc == UNDINE_OK ? list_json(v->dir, &err) : NULL;
    if (list == NULL) {
        return http_problem(out, HTTP_PROBLEM_Failed, NULL, "%s", err.msg);
    }
    uint64_t in_use = v->in_use(v->payload);
    json_t *o = json_object();
    json_put(o, "in_use", in_use > 0 ? json_integer((json_int_t)in_use) : json_null());
    json_put(o, "published",
             state.current > 0 ? json_integer((json_int_t)state.current) : json_null());
    json_put(o, "hold", hold_json(&state.hold));
    json_put(o, "versions", list);
    json_put(o, "history", history_json(v->dir));
    return put_json(out, o);
}

/* ---- changes ---- */

struct change {       /* what the body asks for */
    uint64_t version; /* 0 = it names none */
    char reason[VERSION_REASON_MAX];
};

/* A whole number, however it is written: 7.0 is one to whoever reads JSON by the letter. */
static bool is_version(const json_t *in)
{
    double v = json_number_value(in);
    return json_is_number(in) && v >= 1 && v < 1e12 && v == (double)(uint64_t)v;
}

/* Reads {"version":N,"reason":"..."}.  Returns 0, or the status of the problem. */
static int read_change(struct change *c, const struct http_request *in, struct http_answer *out)
{
    struct undine_err err = {0};
    json_t *o = NULL;
    int rc = json_text_parse(&o, in->body != NULL ? in->body : "", in->body_len, &err);
    const json_t *version = json_object_get(o, "version"), *reason = json_object_get(o, "reason");
    size_t known = (version != NULL) + (size_t)(reason != NULL);
    int status = 0;
    if (rc == UNDINE_ENOMEM) {
        return http_problem(out, HTTP_PROBLEM_Busy, NULL, "%s", err.msg);
    }
    if (!json_is_object(o) || json_object_size(o) != known) {
        status = http_problem(out, HTTP_PROBLEM_BadRequest, "",
                              "expected an object of `version` and `reason`%s%s",
                              o == NULL ? ": " : "", o == NULL ? err.msg : "");
    } else if (version != NULL && !is_version(version)) {
        status = http_problem(out, HTTP_PROBLEM_BadRequest, "/version",
                              "`version` is not the number of a version");
    } else if (reason != NULL && !json_is_string(reason)) {
        status = http_problem(out, HTTP_PROBLEM_BadRequest, "/reason", "`reason` is not a text");
    } else {
        c->version = version != NULL ? (uint64_t)json_number_value(version) : 0;
        (void)snprintf(c->reason, sizeof c->reason, "%s",
                       reason != NULL ? json_string_value(reason) : "asked for over HTTP");
    }
    json_decref(o);
    return status;
}

/* May this client change what is published?  Returns 0, or the status of the problem. */
static int authorize(const struct versions_json *v, const struct http_request *in,
                     struct http_answer *out)
{
    if (v->dir == NULL) {
        return http_problem(out, HTTP_PROBLEM_NotReady, NULL, "the state is being restored");
    }
    if (v->token[0] == '\0') {
        return http_problem(out, HTTP_PROBLEM_Forbidden, NULL,
                            "`http.token_file` is not set, so nobody may change versions by HTTP");
    }
    if (!http_bearer(in, v->token)) {
        out->authenticate = "Bearer";
        return http_problem(out, HTTP_PROBLEM_Unauthorized, NULL,
                            "the header Authorization must be `Bearer` and the token");
    }
    return 0;
}

static int refused(int rc, const struct undine_err *err, struct http_answer *out)
{
    enum http_problem what = rc == UNDINE_ENOTFOUND  ? HTTP_PROBLEM_UnknownVersion
                             : rc == UNDINE_ESTATE   ? HTTP_PROBLEM_Conflict
                             : rc == UNDINE_ECORRUPT ? HTTP_PROBLEM_Conflict
                                                     : HTTP_PROBLEM_Failed;
    return http_problem(out, what, NULL, "%s", err->msg);
}

static int changed(uint64_t from, uint64_t now, struct http_answer *out)
{
    json_t *o = json_object();
    json_put(o, "from", from > 0 ? json_integer((json_int_t)from) : json_null());
    put_u64(o, "published", now);
    return put_json(out, o);
}

int versions_handle_publish(void *payload, const struct http_request *in, struct http_answer *out)
{
    const struct versions_json *v = payload;
    struct undine_err err = {0};
    struct change c = {0};
    struct version_state before = {0};
    int status = authorize(v, in, out);
    status = status != 0 ? status : read_change(&c, in, out);
    if (status != 0) {
        return status;
    }
    if (c.version == 0) {
        return http_problem(out, HTTP_PROBLEM_BadRequest, "/version", "`version` is missing");
    }
    const struct version_act act = {"http", c.reason, clock_realtime_ms()};
    int rc = version_state(v->dir, &before, &err);
    if (rc == UNDINE_OK) {
        rc = version_publish_number(v->dir, c.version, &act, &err);
    }
    return rc < 0 ? refused(rc, &err, out) : changed(before.current, c.version, out);
}

int versions_handle_rollback(void *payload, const struct http_request *in, struct http_answer *out)
{
    const struct versions_json *v = payload;
    struct undine_err err = {0};
    struct change c = {0};
    uint64_t from = 0, now = 0;
    int status = authorize(v, in, out);
    status = status != 0 ? status : read_change(&c, in, out);
    if (status != 0) {
        return status;
    }
    const struct version_act act = {"http", c.reason, clock_realtime_ms()};
    int rc = version_rollback(v->dir, c.version, &act, &from, &now, &err);
    return rc < 0 ? refused(rc, &err, out) : changed(from, now, out);
}
