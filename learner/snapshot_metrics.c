#include "learner/snapshot_metrics.h"

#include "learner/metrics_state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { METRICS_JSON_MAX = 2048 };

static const struct metrics_summary NOTHING = {
    .auc = NAN, .logloss = NAN, .calibration = NAN, .gauc = NAN};

static const struct snapshot_array *train_array(const struct snapshot *s, const char *prefix,
                                                const char *rest)
{
    char name[sizeof s->train[0].name];
    (void)snprintf(name, sizeof name, "%s.%s", prefix, rest);
    return snapshot_find(s->train, s->n_train, name);
}

/* Metrics of the prefix as they were when they were saved; nothing where there are none. */
static int summarize(const struct snapshot *s, const char *prefix, struct metrics_summary *out,
                     struct undine_err *err)
{
    const struct snapshot_array *window = train_array(s, prefix, "window.user");
    uint64_t n = window != NULL ? window->rows : 0;
    struct metrics m;
    *out = NOTHING;
    if (train_array(s, prefix, "totals") == NULL) {
        return UNDINE_OK;
    }
    int rc = metrics_init(&m, n, err);
    if (rc == UNDINE_OK) {
        rc = metrics_load(&m, prefix, s, err);
    }
    if (rc == UNDINE_OK) {
        metrics_summarize(&m, out);
        metrics_rows_summarize(m.window, n, out); /* oldest first, as it was loaded */
    }
    metrics_release(&m);
    return rc;
}

/* A number as JSON has it: what could not be computed is null. */
struct json_number {
    char text[40];
};

static struct json_number number(double x)
{
    struct json_number out;
    (void)snprintf(out.text, sizeof out.text, isfinite(x) ? "%.9g" : "null", x);
    return out;
}

static char *to_json(struct snapshot *s, const struct metrics_summary *m,
                     const struct metrics_summary *popularity, const struct metrics_summary *frozen,
                     uint64_t batches_skipped)
{
    char text[METRICS_JSON_MAX];
    int len = snprintf(
        text, sizeof text,
        "{\"examples\":%" PRIu64 ",\"positives\":%" PRIu64 ",\"batches\":%" PRIu64
        ",\"batches_skipped\":%" PRIu64 ",\"auc\":%s,\"gauc\":%s,\"gauc_users\":%" PRIu64
        ",\"gauc_users_one_class\":%" PRIu64 ",\"logloss\":%s,\"normalized_entropy\":%s"
        ",\"calibration\":%s,\"ece\":%s,\"window_auc\":%s,\"window_logloss\":%s,\"window_"
        "calibration\":%s"
        ",\"popularity_auc\":%s,\"popularity_logloss\":%s,\"frozen_examples\":%" PRIu64
        ",\"frozen_auc\":%s,\"frozen_gauc\":%s,\"frozen_logloss\":%s,\"frozen_calibration\":%s}",
        s->examples, s->positives, s->batches, batches_skipped, number(m->auc).text,
        number(m->gauc).text, m->gauc_users, m->gauc_users_one_class, number(m->logloss).text,
        number(m->normalized_entropy).text, number(m->calibration).text, number(m->ece).text,
        number(m->window_auc).text, number(m->window_logloss).text,
        number(m->window_calibration).text, number(popularity->auc).text,
        number(popularity->logloss).text, frozen->examples, number(frozen->auc).text,
        number(frozen->gauc).text, number(frozen->logloss).text, number(frozen->calibration).text);
    UNDINE_ASSERT(len > 0 && len < METRICS_JSON_MAX);
    return arena_strndup(&s->memory, text, (size_t)len);
}

struct popular {
    uint64_t key;
    float shows, clicks;
};

static int by_key(const void *a, const void *b)
{
    const struct popular *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static int sort_popularity(struct snapshot *s, struct undine_err *err)
{
    const struct snapshot_array *keys = train_array(s, "popularity", "key");
    const struct snapshot_array *shows = train_array(s, "popularity", "shows");
    const struct snapshot_array *clicks = train_array(s, "popularity", "clicks");
    uint64_t n = keys != NULL ? keys->rows : 0;
    if (n == 0 || shows == NULL || clicks == NULL) {
        return UNDINE_OK;
    }
    struct popular *rows = calloc(n, sizeof *rows);
    if (rows == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to sort %" PRIu64 " click rates", n);
    }
    for (uint64_t i = 0; i < n; i++) {
        rows[i] =
            (struct popular){((const uint64_t *)keys->data)[i], ((const float *)shows->data)[i],
                             ((const float *)clicks->data)[i]};
    }
    qsort(rows, n, sizeof *rows, by_key);
    for (uint64_t i = 0; i < n; i++) {
        ((uint64_t *)keys->data)[i] = rows[i].key;
        ((float *)shows->data)[i] = rows[i].shows;
        ((float *)clicks->data)[i] = rows[i].clicks;
    }
    free(rows);
    return UNDINE_OK;
}

int snapshot_metrics_attach(struct snapshot *s, struct undine_err *err)
{
    const struct snapshot_array *counters = train_array(s, "trainer", "counters");
    struct metrics_summary metrics, popularity, frozen;
    if (s->metrics_json != NULL || counters == NULL) {
        return UNDINE_OK;
    }
    int rc = sort_popularity(s, err);
    rc = rc < 0 ? rc : summarize(s, "metrics", &metrics, err);
    rc = rc < 0 ? rc : summarize(s, "popularity", &popularity, err);
    rc = rc < 0 ? rc : summarize(s, "frozen.metrics", &frozen, err);
    if (rc < 0) {
        return rc;
    }
    s->metrics_json =
        to_json(s, &metrics, &popularity, &frozen, ((const uint64_t *)counters->data)[3]);
    return s->metrics_json != NULL
               ? UNDINE_OK
               : undine_err_set(err, UNDINE_ENOMEM, "no memory for the metrics of a version");
}
