#include "ops/scoring.h"

#include "base/clock.h"
#include "base/ticker.h"
#include "ops/http_latency.h"
#include "ops/http_problem.h"
#include "ops/log.h"
#include "ops/metrics_text.h"
#include "ops/precision.h"
#include "ops/score_json.h"
#include "scorer/scorer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CANDIDATES_MAX = 10000, REQUESTS_MAX = 1000, FIRST_WAIT_MS = 1000 };
enum { PATIENCE = 6, PATIENCE_MS = 100 }; /* a wait at first, and how often it doubles */

struct context {                    /* of one request at a time */
    struct undine_session *session; /* opened with the first request */
    struct score_json json;
    struct live_user user;
    float *prob;
    size_t prob_capacity;
    struct context *next; /* free ones */
};

struct scoring {
    struct scoring_options opt;
    _Atomic(struct undine_scorer *) scorer; /* NULL until something is published */
    uint64_t data_digest;                   /* of the users' schema */
    struct context *contexts;
    struct http_latency latency;
    _Atomic uint64_t requests, candidates, values_cut, steps_cut, refused, joined, unknown, swaps,
        refresh_failures;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t looked;
    struct context *free;
    struct ticker *follower;
    uint32_t failed_looks, skip_looks; /* of the follower's thread */
    bool has_looked;
    char why[UNDINE_ERR_MSG_MAX];
};

/* ---- versions ---- */

static void note_look(struct scoring *s, int rc, const struct undine_error *err)
{
    (void)pthread_mutex_lock(&s->mutex);
    (void)snprintf(s->why, sizeof s->why, "%s", rc < 0 ? err->message : "");
    s->has_looked = true;
    (void)pthread_cond_broadcast(&s->looked);
    (void)pthread_mutex_unlock(&s->mutex);
}

/* After looks that failed wait longer each time: each of them may have read a whole version. */
static bool is_patient(struct scoring *s)
{
    if (s->skip_looks == 0) {
        return false;
    }
    s->skip_looks--;
    return true;
}

/* Looks to leave out after so many failed ones. */
static uint32_t looks_to_skip(const struct scoring *s)
{
    int64_t looks = PATIENCE_MS / s->opt.refresh_ms;
    uint32_t doubled = s->failed_looks < PATIENCE ? s->failed_looks : PATIENCE;
    return (uint32_t)(looks > 1 ? looks : 1) << doubled;
}

/* Open the published version, or look whether it moved.  Thread of the follower. */
static void look(void *payload)
{
    struct scoring *s = payload;
    struct undine_error err = {0};
    if (is_patient(s)) {
        return;
    }
    struct undine_scorer *scorer = atomic_load(&s->scorer);
    int rc = UNDINE_OK;
    if (scorer == NULL) {
        rc = undine_scorer_open_with(&scorer, s->opt.versions_dir, s->opt.precision, &err);
        if (rc == UNDINE_OK) {
            atomic_store(&s->scorer, scorer);
        }
    } else {
        rc = undine_scorer_refresh(scorer, &err);
        atomic_fetch_add(&s->swaps, rc > 0);
    }
    bool failed = rc < 0 && (rc != UNDINE_ENOTFOUND || atomic_load(&s->scorer) != NULL);
    s->failed_looks = failed ? s->failed_looks + 1 : 0;
    s->skip_looks = failed ? looks_to_skip(s) : 0;
    if (failed) {
        atomic_fetch_add(&s->refresh_failures, 1);
        log_warn("score", log_msg("the published version cannot be taken"),
                 log_str("reason", err.message));
    }
    note_look(s, rc, &err);
}

/* On demand: begin to follow, and give the first version a moment to open. */
static void begin_to_follow(struct scoring *s)
{
    struct timespec until;
    struct undine_err err = {0};
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += FIRST_WAIT_MS / 1000;
    (void)pthread_mutex_lock(&s->mutex);
    if (s->follower == NULL &&
        ticker_start(&s->follower, look, s, (int)s->opt.refresh_ms, &err) < 0) {
        (void)snprintf(s->why, sizeof s->why, "%s", err.msg);
    }
    int rc = 0;
    while (s->follower != NULL && !s->has_looked && rc == 0) {
        rc = pthread_cond_timedwait(&s->looked, &s->mutex, &until);
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

/* ---- contexts ---- */

static struct context *take_context(struct scoring *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    struct context *c = s->free;
    UNDINE_ASSERT(c != NULL); /* as many as the server has threads */
    s->free = c->next;
    (void)pthread_mutex_unlock(&s->mutex);
    return c;
}

static void give_context(struct scoring *s, struct context *c)
{
    (void)pthread_mutex_lock(&s->mutex);
    c->next = s->free;
    s->free = c;
    (void)pthread_mutex_unlock(&s->mutex);
}

static bool room_for(struct context *c, size_t n)
{
    if (n > c->prob_capacity) {
        float *prob = reallocarray(c->prob, n, sizeof *prob);
        if (prob == NULL) {
            return false;
        }
        c->prob = prob;
        c->prob_capacity = n;
    }
    return true;
}

/* ---- one request ---- */

/* Where in the document the scorer found fault. */
static void point_to_fault(struct score_json *json, bool listed, size_t i,
                           const struct request_fault *fault)
{
    char *pointer = json->pointer;
    pointer[0] = '\0';
    if (listed) {
        score_json_point(pointer, "requests");
        score_json_point_at(pointer, i);
    }
    if (fault->part != NULL) {
        score_json_point(pointer, strcmp(fault->part, "user") == 0 ? "profile" : fault->part);
    }
    if (fault->sequence != NULL) {
        score_json_point(pointer, fault->sequence);
    }
    if (fault->item != SIZE_MAX && fault->part != NULL &&
        (fault->sequence != NULL || strcmp(fault->part, "candidates") == 0)) {
        score_json_point_at(pointer, fault->item);
    }
    if (fault->field != NULL) {
        score_json_point(pointer, fault->field);
    }
}

/* The user's own sequences, where the request leaves them to us. */
static int join_user(struct scoring *s, struct context *c, bool *joined, struct undine_err *err)
{
    const struct undine_value *id = &c->json.request.user_id;
    *joined = s->opt.users != NULL && !c->json.has_sequences && id->len > 0;
    if (!*joined) {
        return UNDINE_OK;
    }
    int64_t time_ms = c->json.time_ms >= 0 ? c->json.time_ms : clock_realtime_ms();
    int rc = live_user_read(s->opt.users, &c->user, id->data, id->len, time_ms, err);
    atomic_fetch_add(&s->joined, 1);
    atomic_fetch_add(&s->unknown, rc == UNDINE_OK && !c->user.known);
    return rc < 0 ? rc : UNDINE_OK;
}

static int score(struct scoring *s, struct context *c, bool joined, struct undine_err *err)
{
    if (!joined) {
        return session_score(c->session, &c->json.request, NULL, c->prob, err);
    }
    struct request_steps steps[SCHEMA_SEQUENCES_MAX] = {{NULL, 0}};
    for (uint32_t q = 0; q < s->opt.users->schema->n_sequences; q++) {
        steps[q] = (struct request_steps){c->user.sequence[q].words, c->user.sequence[q].n_steps};
    }
    const struct session_steps stored = {steps, s->data_digest};
    return session_score(c->session, &c->json.request, &stored, c->prob, err);
}

static void put_answer(const struct context *c, bool joined, struct writer *out)
{
    score_json_answer(out, undine_session_version(c->session), c->prob,
                      c->json.request.n_candidates);
    if (!joined || out->bad) {
        return;
    }
    char text[96], watermark[24] = "null";
    if (c->user.watermark_ms != INT64_MIN && c->user.watermark_ms != INT64_MAX) {
        (void)snprintf(watermark, sizeof watermark, "%" PRId64, c->user.watermark_ms);
    }
    int len = snprintf(text, sizeof text, ",\"user\":{\"known\":%s,\"watermark_ms\":%s}}",
                       c->user.known ? "true" : "false", watermark);
    out->len--; /* the brace that closed it */
    writer_bytes(out, text, (size_t)len);
}

/* Score request i of the document and append the answer. */
static int score_one(struct scoring *s, struct context *c, size_t i, struct writer *out,
                     struct undine_err *err)
{
    bool joined = false;
    int rc = score_json_take(&c->json, i, err);
    if (rc == UNDINE_OK && !room_for(c, c->json.request.n_candidates)) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "no memory for the scores");
    }
    if (rc == UNDINE_OK) {
        rc = join_user(s, c, &joined, err);
    }
    if (rc == UNDINE_OK) {
        rc = score(s, c, joined, err);
        if (rc == UNDINE_EINVAL) {
            point_to_fault(&c->json, c->json.requests != 0, i, &c->session->request.fault);
        }
    }
    if (rc == UNDINE_OK) {
        const struct request_cut *cut = &c->session->request.cut;
        put_answer(c, joined, out);
        atomic_fetch_add_explicit(&s->values_cut, cut->values, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->steps_cut, cut->steps, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->candidates, c->json.request.n_candidates,
                                  memory_order_relaxed);
    }
    return rc;
}

static int score_document(struct scoring *s, struct context *c, const struct http_request *in,
                          struct writer *out, struct undine_err *err)
{
    int n = score_json_load(&c->json, in->body != NULL ? in->body : "", in->body_len, err);
    if (n < 0 || c->json.requests == 0) {
        return n < 0 ? n : score_one(s, c, 0, out, err);
    }
    static const char begin[] = "{\"results\":[", end[] = "]}";
    writer_bytes(out, begin, sizeof begin - 1);
    int rc = UNDINE_OK;
    for (int i = 0; rc == UNDINE_OK && i < n; i++) {
        writer_bytes(out, ",", i > 0);
        rc = score_one(s, c, (size_t)i, out, err);
    }
    writer_bytes(out, end, sizeof end - 1);
    return rc;
}

static int refuse(struct scoring *s, const struct context *c, int rc, const struct undine_err *err,
                  struct http_answer *out)
{
    atomic_fetch_add(&s->refused, 1); /* DROP(http_request_refused) */
    switch (rc) {
    case UNDINE_EINVAL:
        return http_problem(out, HTTP_PROBLEM_BadRequest, c->json.pointer, "%s", err->msg);
    case UNDINE_ENOMEM:
        return http_problem(out, HTTP_PROBLEM_Busy, NULL, "%s", err->msg);
    case UNDINE_ESTATE:
        return http_problem(out, HTTP_PROBLEM_NotReady, NULL, "%s", err->msg);
    default:
        log_warn("score", log_msg("a request failed"), log_str("reason", err->msg));
        return http_problem(out, HTTP_PROBLEM_Failed, NULL, "%s", err->msg);
    }
}

/* Nothing to score with. */
static int not_ready(struct scoring *s, struct http_answer *out)
{
    struct scoring_status st;
    scoring_status(s, &st);
    atomic_fetch_add(&s->refused, 1); /* DROP(http_request_refused) */
    return http_problem(out, HTTP_PROBLEM_NotReady, NULL, "%s",
                        st.why[0] != '\0' ? st.why : "the published version is being opened");
}

int scoring_handle(void *scoring, const struct http_request *in, struct http_answer *out)
{
    struct scoring *s = scoring;
    struct undine_err err = {0};
    struct undine_error why = {0};
    int64_t begun_ns = clock_monotonic_ns();
    if (atomic_load(&s->scorer) == NULL && s->opt.on_demand) {
        begin_to_follow(s);
    }
    struct undine_scorer *scorer = atomic_load(&s->scorer);
    if (scorer == NULL) {
        return not_ready(s, out);
    }
    struct context *c = take_context(s);
    int rc = c->session != NULL ? UNDINE_OK : undine_session_open(&c->session, scorer, &why);
    if (rc == UNDINE_OK) {
        rc = score_document(s, c, in, &out->body, &err);
    } else {
        (void)undine_err_set(&err, rc, "%s", why.message);
    }
    int status = rc == UNDINE_OK ? 200 : refuse(s, c, rc, &err, out);
    give_context(s, c);
    http_latency_add(&s->latency, clock_monotonic_ns() - begun_ns);
    return status;
}

/* ---- open, close, look from outside ---- */

static bool contexts_open(struct scoring *s)
{
    s->contexts = calloc(s->opt.threads, sizeof *s->contexts);
    for (uint32_t i = 0; s->contexts != NULL && i < s->opt.threads; i++) {
        struct context *c = &s->contexts[i];
        score_json_init(&c->json);
        c->json.candidates_max = CANDIDATES_MAX;
        c->json.requests_max = REQUESTS_MAX;
        c->json.takes_time = s->opt.users != NULL;
        live_user_init(&c->user);
        c->next = s->free;
        s->free = c;
    }
    return s->contexts != NULL;
}

int scoring_open(struct scoring **out, const struct scoring_options *opt, struct undine_err *err)
{
    int rc = precision_check(opt->precision, err);
    if (rc != UNDINE_OK) {
        return rc;
    }
    struct scoring *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for scoring");
    }
    s->opt = *opt;
    s->data_digest = opt->users != NULL ? schema_data_digest(opt->users->schema) : 0;
    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_cond_init(&s->looked, NULL);
    rc = contexts_open(s) ? UNDINE_OK : undine_err_set(err, UNDINE_ENOMEM, "no memory for scoring");
    if (rc == UNDINE_OK && !opt->on_demand) {
        rc = ticker_start(&s->follower, look, s, (int)opt->refresh_ms, err);
    }
    if (rc != UNDINE_OK) {
        scoring_close(s);
        return rc;
    }
    *out = s;
    return UNDINE_OK;
}

void scoring_close(struct scoring *s)
{
    if (s == NULL) {
        return;
    }
    ticker_stop(s->follower);
    for (uint32_t i = 0; s->contexts != NULL && i < s->opt.threads; i++) {
        struct context *c = &s->contexts[i];
        undine_session_close(c->session);
        score_json_release(&c->json);
        live_user_release(&c->user);
        free(c->prob);
    }
    free(s->contexts);
    undine_scorer_close(atomic_load(&s->scorer));
    (void)pthread_cond_destroy(&s->looked);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

void scoring_status(struct scoring *s, struct scoring_status *out)
{
    struct undine_scorer *scorer = atomic_load(&s->scorer);
    *out = (struct scoring_status){
        .version = scorer != NULL ? undine_scorer_version(scorer) : 0,
        .swaps = atomic_load(&s->swaps),
        .refresh_failures = atomic_load(&s->refresh_failures),
    };
    (void)pthread_mutex_lock(&s->mutex);
    memcpy(out->why, s->why, sizeof out->why);
    (void)pthread_mutex_unlock(&s->mutex);
}

void scoring_metrics(struct scoring *s, struct writer *out)
{
    static struct scoring nothing;
    struct scoring_status st = {0};
    const struct scoring *of = s != NULL ? s : &nothing;
    if (s != NULL) {
        scoring_status(s, &st);
    }
    metrics_put(out, "undine_scorer_version", "gauge",
                "Version that requests are scored by; 0 = none.", st.version);
    metrics_put(out, "undine_scorer_swaps_total", "counter", "Newer versions taken.", st.swaps);
    metrics_put(
        out, "undine_scorer_refresh_failures_total", "counter",
        "Looks at the published version that found it missing or damaged: the one in use stays.",
        st.refresh_failures);
    metrics_put(out, "undine_score_requests_total", "counter", "Requests scored.",
                atomic_load(&of->requests));
    metrics_put(out, "undine_score_candidates_total", "counter", "Candidates scored.",
                atomic_load(&of->candidates));
    metrics_put(out, "undine_score_values_cut_total", "counter",
                "Ids of requests beyond the values_max of their field: left out.",
                atomic_load(&of->values_cut));
    metrics_put(out, "undine_score_steps_cut_total", "counter",
                "Steps of requests beyond the length of their sequence: left out.",
                atomic_load(&of->steps_cut));
    metrics_put(out, "undine_score_refused_total", "counter",
                "Documents of requests that were not scored.", atomic_load(&of->refused));
    metrics_put(out, "undine_score_joined_total", "counter",
                "Requests whose user's sequences were joined.", atomic_load(&of->joined));
    metrics_put(out, "undine_score_unknown_users_total", "counter",
                "Of these, requests of users of whom nothing is stored.",
                atomic_load(&of->unknown));
    http_latency_render(&of->latency, "undine_score_seconds",
                        "Time from a document of requests to its answer.", out);
}
