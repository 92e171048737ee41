#include "learner/gate_window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_STATE = 7, N_LIVE = 6 };

int gate_window_init(struct gate_window *w, const struct gate_window_options *opt,
                     struct undine_err *err)
{
    *w = (struct gate_window){.opt = *opt};
    if (opt->pairs_max == 0) {
        return UNDINE_OK;
    }
    w->published = calloc(opt->pairs_max, sizeof *w->published);
    w->learner = calloc(opt->pairs_max, sizeof *w->learner);
    if (w->published == NULL || w->learner == NULL) {
        gate_window_release(w);
        return undine_err_set(err, UNDINE_ENOMEM,
                              "no memory for the gate's window of %llu examples",
                              (unsigned long long)opt->pairs_max);
    }
    return UNDINE_OK;
}

void gate_window_release(struct gate_window *w)
{
    free(w->published);
    free(w->learner);
    *w = (struct gate_window){0};
}

/* ---- pairs ---- */

static void push(struct gate_window *w, const struct metrics_row *published, float learner)
{
    w->published[w->at] = *published;
    w->learner[w->at] = learner;
    w->at = w->at + 1 < w->opt.pairs_max ? w->at + 1 : 0;
    w->n += w->n < w->opt.pairs_max;
}

static double probability(float logit)
{
    return 1.0 / (1.0 + exp(-(double)logit));
}

static void sum(struct gate_sums *s, float logit, double weight, double label)
{
    s->p += weight * probability(logit);
    s->label += label;
}

static double calibration(const struct gate_sums *s)
{
    return s->label > 0.0 ? s->p / s->label : NAN;
}

static void block_end(struct gate_window *w)
{
    bool scored = w->live_scored == w->live_n;
    w->block = (struct gate_block){.number = w->block.number + 1,
                                   .version = w->live_version,
                                   .published = scored ? calibration(&w->live_published) : NAN,
                                   .learner = calibration(&w->live_learner)};
    w->live_n = w->live_scored = 0;
    w->live_published = w->live_learner = (struct gate_sums){0};
}

static void add_live(struct gate_window *w, const struct gate_pair *p)
{
    double negative = 1.0 / (double)p->sample_rate;
    double weight = (p->positive ? 1.0 : negative) - (p->revises ? negative : 0.0);
    bool scored = isfinite(p->published);
    if (w->live_n++ == 0) {
        w->live_version = w->version;
    }
    w->live_scored += scored;
    sum(&w->live_learner, p->learner, weight, p->positive);
    if (scored) {
        sum(&w->live_published, p->published, weight, p->positive);
    }
    if (w->live_n >= w->opt.live_max) {
        block_end(w);
    }
}

void gate_window_add(struct gate_window *w, const struct gate_pair *p)
{
    if (w->opt.live_max > 0) {
        add_live(w, p);
    }
    if (w->opt.pairs_max == 0 || !isfinite(p->published)) {
        return;
    }
    float negative = 1.0f / p->sample_rate;
    struct metrics_row row = {.user = p->group, .logit = p->published};
    if (p->revises) { /* as metrics_withdraw notes it */
        row.weight = -1.0f - negative;
        push(w, &row, p->learner);
    }
    row.weight = p->positive ? -1.0f : negative;
    push(w, &row, p->learner);
}

void gate_window_publish(struct gate_window *w, uint64_t version, bool forget)
{
    w->version = version;
    if (forget) {
        w->n = w->at = 0;
        w->live_n = w->live_scored = 0;
        w->live_published = w->live_learner = (struct gate_sums){0};
    }
}

/* ---- state ---- */

bool gate_window_save(const struct gate_window *w, struct snapshot *s)
{
    if (w->opt.pairs_max == 0) {
        return true;
    }
    const uint64_t state[N_STATE] = {
        w->version,       w->live_n, w->live_scored, w->live_version, w->block.number,
        w->block.version, w->n};
    const double live[N_LIVE] = {w->live_published.p,   w->live_published.label, w->live_learner.p,
                                 w->live_learner.label, w->block.published,      w->block.learner};
    uint64_t *to_state = snapshot_train(s, "gate.state", SNAPSHOT_U64, N_STATE, 0);
    double *to_live = snapshot_train(s, "gate.live", SNAPSHOT_F64, N_LIVE, 0);
    if (to_state == NULL || to_live == NULL) {
        return false;
    }
    memcpy(to_state, state, sizeof state);
    memcpy(to_live, live, sizeof live);
    if (w->n == 0) {
        return true;
    }
    uint64_t *group = snapshot_train(s, "gate.group", SNAPSHOT_U64, w->n, 0);
    float *published = snapshot_train(s, "gate.published", SNAPSHOT_F32, w->n, 0);
    float *learner = snapshot_train(s, "gate.learner", SNAPSHOT_F32, w->n, 0);
    float *weight = snapshot_train(s, "gate.weight", SNAPSHOT_F32, w->n, 0);
    if (group == NULL || published == NULL || learner == NULL || weight == NULL) {
        return false;
    }
    uint64_t at = w->n < w->opt.pairs_max ? 0 : w->at;
    for (uint64_t i = 0; i < w->n; i++) {
        group[i] = w->published[at].user;
        published[i] = w->published[at].logit;
        weight[i] = w->published[at].weight;
        learner[i] = w->learner[at];
        at = at + 1 < w->opt.pairs_max ? at + 1 : 0;
    }
    return true;
}

struct pairs { /* as they lie in a snapshot */
    const uint64_t *state;
    const double *live;
    const uint64_t *group;
    const float *published, *learner, *weight;
    uint64_t n;
};

static const void *find(const struct snapshot *s, const char *name, enum snapshot_type type,
                        uint64_t rows)
{
    const struct snapshot_array *a = snapshot_find(s->train, s->n_train, name);
    return a != NULL && a->type == type && a->rows == rows && a->cols <= 1 ? a->data : NULL;
}

/* 1 = found, 0 = the snapshot says nothing of a gate. */
static int find_pairs(const struct snapshot *s, struct pairs *out, struct undine_err *err)
{
    *out = (struct pairs){0};
    if (snapshot_find(s->train, s->n_train, "gate.state") == NULL) {
        return 0;
    }
    out->state = find(s, "gate.state", SNAPSHOT_U64, N_STATE);
    out->live = find(s, "gate.live", SNAPSHOT_F64, N_LIVE);
    bool ok = out->state != NULL && out->live != NULL;
    if (ok && out->state[N_STATE - 1] > 0) {
        out->n = out->state[N_STATE - 1];
        out->group = find(s, "gate.group", SNAPSHOT_U64, out->n);
        out->published = find(s, "gate.published", SNAPSHOT_F32, out->n);
        out->learner = find(s, "gate.learner", SNAPSHOT_F32, out->n);
        out->weight = find(s, "gate.weight", SNAPSHOT_F32, out->n);
        ok = out->group != NULL && out->published != NULL && out->learner != NULL &&
             out->weight != NULL;
    }
    return ok ? 1
              : undine_err_set(err, UNDINE_ECORRUPT,
                               "the arrays `gate.*` do not fit each other or lack some");
}

int gate_window_load(struct gate_window *w, const struct snapshot *s, struct undine_err *err)
{
    struct pairs from;
    int rc = w->opt.pairs_max > 0 ? find_pairs(s, &from, err) : 0;
    if (rc <= 0) {
        return rc;
    }
    w->version = from.state[0];
    w->live_n = from.state[1];
    w->live_scored = from.state[2];
    w->live_version = from.state[3];
    w->live_published = (struct gate_sums){from.live[0], from.live[1]};
    w->live_learner = (struct gate_sums){from.live[2], from.live[3]};
    w->block = (struct gate_block){.number = from.state[4],
                                   .version = from.state[5],
                                   .published = from.live[4],
                                   .learner = from.live[5]};
    for (uint64_t i = 0; i < from.n; i++) {
        struct metrics_row row = {from.group[i], from.published[i], from.weight[i]};
        push(w, &row, from.learner[i]);
    }
    return UNDINE_OK;
}

int gate_window_rows(struct snapshot *s, struct metrics_row **published,
                     struct metrics_row **learner, size_t *n, struct undine_err *err)
{
    struct pairs from;
    int rc = find_pairs(s, &from, err);
    *n = 0;
    if (rc <= 0 || from.n == 0) {
        return rc < 0 ? rc : UNDINE_OK;
    }
    *published = arena_alloc(&s->memory, from.n * sizeof **published);
    *learner = arena_alloc(&s->memory, from.n * sizeof **learner);
    if (*published == NULL || *learner == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the gate's window");
    }
    for (uint64_t i = 0; i < from.n; i++) {
        (*published)[i] = (struct metrics_row){from.group[i], from.published[i], from.weight[i]};
        (*learner)[i] = (struct metrics_row){from.group[i], from.learner[i], from.weight[i]};
    }
    *n = from.n;
    return UNDINE_OK;
}
