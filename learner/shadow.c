#include "learner/shadow.h"

#include "learner/metrics_state.h"
#include "learner/popularity_state.h"
#include "learner/slices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLLOWED_MAX = SLICES_MAX + 4 };

struct followed {
    char prefix[sizeof((struct snapshot_array *)0)->name];
    struct metrics metrics;
    bool known; /* it is what the learner's was with the snapshot before */
};

struct shadow {
    uint64_t window;
    uint32_t n;
    struct followed at[FOLLOWED_MAX];
    struct popularity popularity;
    bool popularity_known;
};

int shadow_open(struct shadow **out, uint64_t window, struct undine_err *err)
{
    struct shadow *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a shadow");
    }
    w->window = window;
    *out = w;
    return UNDINE_OK;
}

void shadow_close(struct shadow *w)
{
    for (uint32_t i = 0; w != NULL && i < w->n; i++) {
        metrics_release(&w->at[i].metrics);
    }
    if (w != NULL) {
        popularity_release(&w->popularity);
    }
    free(w);
}

/* Does the name end so?  *prefix: what comes before. */
static bool ends(const char *name, const char *end, char *prefix)
{
    size_t n = strlen(name), m = strlen(end);
    if (n <= m || strcmp(name + n - m, end) != 0) {
        return false;
    }
    memcpy(prefix, name, n - m);
    prefix[n - m] = '\0';
    return true;
}

/* What follows the metrics of that prefix; NULL where there are too many. */
static struct followed *followed(struct shadow *w, const char *prefix)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (strcmp(w->at[i].prefix, prefix) == 0) {
            return &w->at[i];
        }
    }
    if (w->n == FOLLOWED_MAX) {
        return NULL;
    }
    struct followed *f = &w->at[w->n++];
    *f = (struct followed){0};
    (void)snprintf(f->prefix, sizeof f->prefix, "%s", prefix);
    return f;
}

static int missing(const char *name, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ESTATE,
                          "there is nothing that the log `%s` of a snapshot goes on from", name);
}

/* Take what the snapshot's arrays say. */
static int take_metrics(struct shadow *w, const char *prefix, const struct snapshot *s,
                        struct undine_err *err)
{
    struct followed *f = followed(w, prefix);
    if (f == NULL) {
        return undine_err_set(err, UNDINE_ESTATE, "a snapshot has more metrics than %d",
                              FOLLOWED_MAX);
    }
    bool windowless = strcmp(prefix, "popularity") == 0;
    metrics_release(&f->metrics);
    f->known = false;
    int rc = metrics_init(&f->metrics, windowless ? 0 : w->window, err);
    rc = rc < 0 ? rc : metrics_load(&f->metrics, prefix, s, err);
    f->known = rc == UNDINE_OK;
    return rc;
}

static int take_popularity(struct shadow *w, const struct snapshot *s, struct undine_err *err)
{
    popularity_release(&w->popularity);
    w->popularity_known = false;
    int rc = popularity_open(&w->popularity, POPULARITY_ROWS_MAX, err);
    rc = rc < 0 ? rc : popularity_load(&w->popularity, s, err);
    w->popularity_known = rc == UNDINE_OK;
    return rc;
}

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the arrays of a snapshot");
}

/* Do what the log says, and put the arrays of it into `to`. */
static int follow_metrics(struct shadow *w, const char *prefix, const struct snapshot_array *log,
                          struct snapshot *to, struct undine_err *err)
{
    struct followed *f = followed(w, prefix);
    if (f == NULL || !f->known) {
        return missing(log->name, err);
    }
    f->known = false;
    int rc = metrics_again(&f->metrics, log->data, (size_t)log->rows, err);
    if (rc == UNDINE_OK && !metrics_save(&f->metrics, prefix, to)) {
        rc = no_memory(err);
    }
    f->known = rc == UNDINE_OK;
    return rc;
}

static int follow_popularity(struct shadow *w, const struct snapshot_array *log,
                             struct snapshot *to, struct undine_err *err)
{
    const uint8_t *at = log->data;
    if (!w->popularity_known) {
        return missing(log->name, err);
    }
    w->popularity_known = false;
    int rc = UNDINE_OK;
    for (uint64_t i = 0; rc == UNDINE_OK && i + sizeof(struct popularity_op) <= log->rows;
         i += sizeof(struct popularity_op)) {
        struct popularity_op op;
        memcpy(&op, at + i, sizeof op);
        rc = popularity_learn(&w->popularity, op.key, op.shows, op.clicks, err);
    }
    if (rc == UNDINE_OK && !popularity_save(&w->popularity, to)) {
        rc = no_memory(err);
    }
    w->popularity_known = rc == UNDINE_OK;
    return rc;
}

/* An array of the snapshot, as it was, again at the end of its list. */
static int keep(struct snapshot *s, const struct snapshot_array *a)
{
    UNDINE_ASSERT(s->n_train < SNAPSHOT_ARRAYS_MAX);
    s->train[s->n_train++] = *a;
    return UNDINE_OK;
}

static int settle_array(struct shadow *w, struct snapshot *s, const struct snapshot_array *a,
                        struct undine_err *err)
{
    char prefix[sizeof a->name];
    if (strcmp(a->name, POPULARITY_LOG) == 0) {
        return follow_popularity(w, a, s, err);
    }
    if (ends(a->name, METRICS_LOG, prefix)) {
        return follow_metrics(w, prefix, a, s, err);
    }
    return keep(s, a);
}

/* Whole arrays, from where they are: all of them are in the snapshot still. */
static int take_array(struct shadow *w, const struct snapshot *s, const struct snapshot_array *a,
                      struct undine_err *err)
{
    char prefix[sizeof a->name];
    if (strcmp(a->name, "popularity.counts") == 0) {
        return take_popularity(w, s, err);
    }
    return ends(a->name, ".totals", prefix) ? take_metrics(w, prefix, s, err) : UNDINE_OK;
}

int shadow_settle(struct shadow *w, struct snapshot *s, struct undine_err *err)
{
    uint32_t n = s->n_train;
    struct snapshot_array *arrays = calloc(n + 1, sizeof *arrays);
    if (arrays == NULL) {
        return no_memory(err);
    }
    int rc = UNDINE_OK;
    memcpy(arrays, s->train, n * sizeof *arrays);
    for (uint32_t i = 0; rc == UNDINE_OK && i < n; i++) {
        rc = take_array(w, s, &arrays[i], err);
    }
    s->n_train = 0;
    for (uint32_t i = 0; rc == UNDINE_OK && i < n; i++) {
        rc = settle_array(w, s, &arrays[i], err);
    }
    free(arrays);
    return rc;
}
