#include "learner/metrics_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { N_TOTALS = 2, N_SUMS = 4 };
_Static_assert(sizeof(struct metrics_sums) == N_SUMS * sizeof(double),
               "metrics_sums is saved as an array");
_Static_assert(sizeof(struct metrics_bin) == 4 * sizeof(double), "metrics_bin is saved as a row");

struct array_name {
    char text[sizeof((struct snapshot_array *)0)->name];
};

static struct array_name name_of(const char *prefix, const char *rest)
{
    struct array_name name;
    (void)snprintf(name.text, sizeof name.text, "%s.%s", prefix, rest);
    return name;
}

static bool save_buckets(const struct metrics *m, const char *prefix, struct snapshot *s)
{
    uint64_t n = 0;
    for (uint64_t b = 0; b < METRICS_BUCKETS; b++) {
        n += (m->bucket[b][0] | m->bucket[b][1]) != 0;
    }
    if (n == 0) {
        return true;
    }
    uint64_t *to = snapshot_train(s, name_of(prefix, "bucket").text, SNAPSHOT_U64, n, 3);
    if (to == NULL) {
        return false;
    }
    for (uint64_t b = 0; b < METRICS_BUCKETS; b++) {
        if ((m->bucket[b][0] | m->bucket[b][1]) != 0) {
            to[0] = b;
            to[1] = m->bucket[b][0];
            to[2] = m->bucket[b][1];
            to += 3;
        }
    }
    return true;
}

static bool save_window(const struct metrics *m, const char *prefix, struct snapshot *s)
{
    uint64_t n = m->window_n;
    if (n == 0) {
        return true;
    }
    uint64_t *user = snapshot_train(s, name_of(prefix, "window.user").text, SNAPSHOT_U64, n, 0);
    float *logit = snapshot_train(s, name_of(prefix, "window.logit").text, SNAPSHOT_F32, n, 0);
    float *weight = snapshot_train(s, name_of(prefix, "window.weight").text, SNAPSHOT_F32, n, 0);
    if (user == NULL || logit == NULL || weight == NULL) {
        return false;
    }
    uint64_t at = n < m->window_max ? 0 : m->window_at;
    for (uint64_t i = 0; i < n; i++) {
        user[i] = m->window[at].user;
        logit[i] = m->window[at].logit;
        weight[i] = m->window[at].weight;
        at = at + 1 < m->window_max ? at + 1 : 0;
    }
    return true;
}

static bool save_log(const struct op_log *l, const char *prefix, struct snapshot *s)
{
    uint8_t *log =
        snapshot_train(s, name_of(prefix, &METRICS_LOG[1]).text, SNAPSHOT_U8, l->bytes, 0);
    if (log != NULL && l->bytes > 0) {
        memcpy(log, l->op, l->bytes);
    }
    return log != NULL;
}

bool metrics_save(const struct metrics *m, const char *prefix, struct snapshot *s)
{
    if (s->delta && op_log_known(&m->log)) {
        return save_log(&m->log, prefix, s);
    }
    uint64_t *totals = snapshot_train(s, name_of(prefix, "totals").text, SNAPSHOT_U64, N_TOTALS, 0);
    double *sums = snapshot_train(s, name_of(prefix, "sums").text, SNAPSHOT_F64, N_SUMS, 0);
    double *bins = snapshot_train(s, name_of(prefix, "bins").text, SNAPSHOT_F64, METRICS_BINS, 4);
    if (totals == NULL || sums == NULL || bins == NULL) {
        return false;
    }
    memcpy(bins, m->bin, sizeof m->bin);
    totals[0] = m->examples;
    totals[1] = m->positives;
    memcpy(sums, &m->sums, sizeof m->sums);
    return save_buckets(m, prefix, s) && save_window(m, prefix, s);
}

/* ---- back ---- */

static int load_totals(struct metrics *m, const char *prefix, const struct snapshot *s,
                       struct undine_err *err)
{
    struct array_name totals = name_of(prefix, "totals"), sums = name_of(prefix, "sums");
    const struct snapshot_array *t = snapshot_find(s->train, s->n_train, totals.text);
    const struct snapshot_array *u = snapshot_find(s->train, s->n_train, sums.text);
    if (t == NULL || u == NULL || t->type != SNAPSHOT_U64 || u->type != SNAPSHOT_F64 ||
        snapshot_array_bytes(t) != N_TOTALS * sizeof(uint64_t) ||
        snapshot_array_bytes(u) != sizeof m->sums) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "the version has no arrays `%s` of %d numbers and `%s` of %d",
                              totals.text, N_TOTALS, sums.text, N_SUMS);
    }
    m->examples = ((const uint64_t *)t->data)[0];
    m->positives = ((const uint64_t *)t->data)[1];
    memcpy(&m->sums, u->data, sizeof m->sums);
    return UNDINE_OK;
}

static int load_bins(struct metrics *m, const char *prefix, const struct snapshot *s,
                     struct undine_err *err)
{
    struct array_name name = name_of(prefix, "bins");
    const struct snapshot_array *a = snapshot_find(s->train, s->n_train, name.text);
    if (a == NULL || a->type != SNAPSHOT_F64 || snapshot_array_bytes(a) != sizeof m->bin) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "the version has no array `%s` of (%d, 4) numbers", name.text,
                              METRICS_BINS);
    }
    memcpy(m->bin, a->data, sizeof m->bin);
    return UNDINE_OK;
}

static int load_buckets(struct metrics *m, const char *prefix, const struct snapshot *s,
                        struct undine_err *err)
{
    const struct snapshot_array *a =
        snapshot_find(s->train, s->n_train, name_of(prefix, "bucket").text);
    if (a == NULL) {
        return UNDINE_OK;
    }
    if (a->type != SNAPSHOT_U64 || a->cols != 3) {
        return undine_err_set(err, UNDINE_ECORRUPT, "array `%s` is not (n, 3) u64", a->name);
    }
    const uint64_t *from = a->data;
    for (uint64_t i = 0; i < a->rows; i++, from += 3) {
        if (from[0] >= METRICS_BUCKETS) {
            return undine_err_set(err, UNDINE_ECORRUPT, "array `%s` names bucket %" PRIu64, a->name,
                                  from[0]);
        }
        m->bucket[from[0]][0] = from[1];
        m->bucket[from[0]][1] = from[2];
    }
    return UNDINE_OK;
}

static int load_window(struct metrics *m, const char *prefix, const struct snapshot *s,
                       struct undine_err *err)
{
    struct array_name names[3] = {name_of(prefix, "window.user"), name_of(prefix, "window.logit"),
                                  name_of(prefix, "window.weight")};
    const enum snapshot_type types[3] = {SNAPSHOT_U64, SNAPSHOT_F32, SNAPSHOT_F32};
    const struct snapshot_array *a[3];
    int found = 0;
    for (int i = 0; i < 3; i++) {
        a[i] = snapshot_find(s->train, s->n_train, names[i].text);
        found += a[i] != NULL;
    }
    if (found == 0) {
        return UNDINE_OK;
    }
    for (int i = 0; i < 3; i++) {
        if (found < 3 || a[i]->type != types[i] || a[i]->rows != a[0]->rows || a[i]->cols > 1) {
            return undine_err_set(err, UNDINE_ECORRUPT, "arrays `%s`, `%s` and `%s` do not match",
                                  names[0].text, names[1].text, names[2].text);
        }
    }
    for (uint64_t i = 0; i < a[0]->rows; i++) {
        struct metrics_row row = {.user = ((const uint64_t *)a[0]->data)[i],
                                  .logit = ((const float *)a[1]->data)[i],
                                  .weight = ((const float *)a[2]->data)[i]};
        metrics_window_add(m, &row);
    }
    return UNDINE_OK;
}

int metrics_load(struct metrics *m, const char *prefix, const struct snapshot *s,
                 struct undine_err *err)
{
    int rc = load_totals(m, prefix, s, err);
    if (rc == UNDINE_OK) {
        rc = load_bins(m, prefix, s, err);
    }
    if (rc == UNDINE_OK) {
        rc = load_buckets(m, prefix, s, err);
    }
    return rc == UNDINE_OK ? load_window(m, prefix, s, err) : rc;
}
