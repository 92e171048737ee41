#include "ops/challenger.h"

#include "learner/metrics.h"
#include "learner/model/version_reader.h"
#include "learner/trainer_state.h"
#include "learner/version.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rows {
    struct metrics_row *row; /* oldest first */
    size_t n;
};

struct challenger {
    const struct config *config;
    char store_dir[VERSION_PATH_MAX], versions_dir[VERSION_PATH_MAX];
    struct version_info version; /* the state's newest */
    struct store *store;
    struct example_log *log;
    struct trainer *trainer;
    struct rows ours, theirs; /* of the other configuration, and of the state's learner */
};

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory to compare configurations");
}

static int rows_alloc(struct rows *r, size_t n, struct undine_err *err)
{
    r->row = calloc(n > 0 ? n : 1, sizeof *r->row);
    return r->row != NULL ? UNDINE_OK : no_memory(err);
}

/* ---- the state's learner ---- */

static const void *column(const struct safetensors *train, const char *name,
                          enum safetensors_type type, uint64_t rows)
{
    const struct safetensors_tensor *t = safetensors_find(train, name);
    return t != NULL && t->type == type && t->rows == rows && t->cols == 0 ? t->data : NULL;
}

static int copy_window(struct rows *out, const struct safetensors *train, struct undine_err *err)
{
    const struct safetensors_tensor *users = safetensors_find(train, "metrics.window.user");
    uint64_t n = users != NULL ? users->rows : 0;
    const uint64_t *user = column(train, "metrics.window.user", SAFETENSORS_U64, n);
    const float *logit = column(train, "metrics.window.logit", SAFETENSORS_F32, n);
    const float *weight = column(train, "metrics.window.weight", SAFETENSORS_F32, n);
    if (n == 0 || user == NULL || logit == NULL || weight == NULL) {
        return undine_err_set(err, UNDINE_ENOTFOUND, "the version holds no predictions to compare");
    }
    int rc = rows_alloc(out, n, err);
    for (uint64_t i = 0; rc == UNDINE_OK && i < n; i++) {
        out->row[out->n++] = (struct metrics_row){user[i], logit[i], weight[i]};
    }
    return rc;
}

static int read_champion(struct challenger *c, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    struct version_reader *r = NULL;
    int n = version_list(c->versions_dir, &c->version, 1, err);
    if (n <= 0) {
        return n < 0 ? n
                     : undine_err_set(err, UNDINE_ENOTFOUND,
                                      "%s: there is no version to compare "
                                      "with",
                                      c->versions_dir);
    }
    int rc = version_path(path, c->versions_dir, c->version.name, err);
    rc = rc == UNDINE_OK ? version_reader_open(&r, path, true, err) : rc;
    if (rc == UNDINE_OK) {
        rc = copy_window(&c->theirs, &r->train, err);
        rc = rc < 0 ? undine_err_prefix(err, "%s", path) : rc;
    }
    version_reader_close(r);
    return rc;
}

/* ---- the other configuration ---- */

static int open_log(struct challenger *c, struct undine_err *err)
{
    struct store_options store = {.dir = c->store_dir,
                                  .cache_bytes = 8 << 20,
                                  .write_buffer_bytes = 8 << 20,
                                  .read_only = true};
    int rc = store_open(&c->store, &store, err);
    if (rc == UNDINE_OK) {
        rc = example_log_open(&c->log, c->store, &c->config->schema, c->config->ingest.shard, err);
    }
    if (rc == UNDINE_OK && example_log_tail(c->log) >= c->version.trained_seq) {
        rc = undine_err_set(err, UNDINE_ENOTFOUND,
                            "%s: of the examples that version %" PRIu64
                            " has learned the log holds none any more",
                            c->store_dir, c->version.number);
    }
    return rc;
}

static int open_trainer(struct challenger *c, struct undine_err *err)
{
    struct trainer_options options = c->config->trainer;
    options.metrics_window = c->theirs.n;
    options.frozen.sample = 0.0;
    options.gate = (struct gate_window_options){0};
    options.changes = false;
    int rc = trainer_open(&c->trainer, &c->config->schema, &options, err);
    if (rc == UNDINE_OK) {
        trainer_begin_at(c->trainer, example_log_tail(c->log));
    }
    return rc;
}

/* Learn every example below the version's end, and no other. */
static int learn(struct challenger *c, struct undine_err *err)
{
    uint64_t end = c->version.trained_seq, at = example_log_tail(c->log);
    struct example_block block;
    int rc = UNDINE_OK;
    example_block_init(&block);
    while (rc >= 0 && at < end) {
        rc = example_log_read(c->log, at, &block, err);
        if (rc == 0) {
            rc = undine_err_set(err, UNDINE_ECORRUPT, "the log has no example %" PRIu64, at);
        }
        if (rc > 0) {
            at = block.first_seq + block.n_examples;
            if (at > end) {
                block.n_examples -= (uint32_t)(at - end);
                at = end;
            }
            rc = trainer_learn(c->trainer, &block, UINT32_MAX, err);
        }
    }
    example_block_release(&block);
    rc = rc < 0 ? rc : trainer_learn_due(c->trainer, INT64_MAX, err);
    return rc < 0 ? rc : UNDINE_OK;
}

/* The newest rows that both have, of the same examples in the same order. */
static int pair_up(struct challenger *c, struct undine_err *err)
{
    int rc = rows_alloc(&c->ours, c->theirs.n, err);
    if (rc < 0) {
        return rc;
    }
    c->ours.n = metrics_window(&c->trainer->metrics, c->ours.row);
    size_t n = c->ours.n < c->theirs.n ? c->ours.n : c->theirs.n;
    memmove(c->ours.row, c->ours.row + (c->ours.n - n), n * sizeof *c->ours.row);
    memmove(c->theirs.row, c->theirs.row + (c->theirs.n - n), n * sizeof *c->theirs.row);
    c->ours.n = c->theirs.n = n;
    for (size_t i = 0; i < n; i++) {
        const struct metrics_row *x = &c->ours.row[i], *y = &c->theirs.row[i];
        if (x->user != y->user || x->weight != y->weight) {
            return undine_err_set(err, UNDINE_ESTATE,
                                  "the predictions are not of the same examples: a batch was "
                                  "skipped on one side within the newest %zu",
                                  n);
        }
    }
    return UNDINE_OK;
}

/* ---- the report ---- */

static json_t *number_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static double loss_of(const struct metrics_row *r)
{
    double z = r->weight < 0.0f ? -(double)r->logit : (double)r->logit;
    return z > 0.0 ? z + log1p(exp(-z)) : log1p(exp(z));
}

/* Mean over examples of the challenger's loss less the learner's, and how sure it is. */
static json_t *difference(const struct challenger *c)
{
    double w_sum = 0.0, wd = 0.0, ww = 0.0, wwd = 0.0, wwdd = 0.0;
    for (size_t i = 0; i < c->ours.n; i++) {
        double weight = c->ours.row[i].weight;
        if (weight < -1.0) { /* a negative withdrawn: the settled metrics have it */
            continue;
        }
        double w = weight < 0.0 ? 1.0 : weight;
        double d = loss_of(&c->ours.row[i]) - loss_of(&c->theirs.row[i]);
        w_sum += w;
        wd += w * d;
        ww += w * w;
        wwd += w * w * d;
        wwdd += w * w * d * d;
    }
    double mean = wd / w_sum;
    double variance = (wwdd - 2.0 * mean * wwd + mean * mean * ww) / (w_sum * w_sum);
    return json_pack("{s:o,s:o}", "mean", number_or_null(mean), "standard_error",
                     number_or_null(sqrt(fmax(variance, 0.0))));
}

/* Reorders rows. */
static json_t *metrics_json(struct rows *r)
{
    struct metrics_summary m = {0};
    metrics_rows_summarize(r->row, r->n, &m);
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "auc", number_or_null(m.window_auc), "gauc",
                     number_or_null(m.gauc), "logloss", number_or_null(m.window_logloss),
                     "normalized_entropy", number_or_null(m.window_normalized_entropy),
                     "calibration", number_or_null(m.window_calibration), "ece",
                     number_or_null(m.window_ece));
}

static int report(struct challenger *c, FILE *out, struct undine_err *err)
{
    const struct trainer_counters *k = &c->trainer->counters;
    uint64_t tail = example_log_tail(c->log);
    json_t *loss = difference(c);
    size_t rows = c->ours.n;
    json_t *challenger = metrics_json(&c->ours), *learner = metrics_json(&c->theirs);
    (void)json_object_set_new(challenger, "examples", json_integer((json_int_t)k->examples));
    (void)json_object_set_new(challenger, "from_seq", json_integer((json_int_t)tail));
    (void)json_object_set_new(challenger, "batches_skipped",
                              json_integer((json_int_t)k->batches_skipped));
    (void)json_object_set_new(learner, "examples", json_integer((json_int_t)c->version.examples));
    (void)json_object_set_new(learner, "version", json_integer((json_int_t)c->version.number));
    json_t *o = json_pack("{s:s,s:I,s:I,s:o,s:o,s:o}", "config", c->config->file, "to_seq",
                          (json_int_t)c->version.trained_seq, "window_examples", (json_int_t)rows,
                          "challenger", challenger, "learner", learner, "logloss_difference", loss);
    char *text = o != NULL
                     ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9))
                     : NULL;
    json_decref(o);
    if (text == NULL) {
        return no_memory(err);
    }
    int written = fprintf(out, "%s\n", text);
    free(text);
    return written > 0 && fflush(out) == 0
               ? UNDINE_OK
               : undine_err_set(err, UNDINE_EIO, "the report could not be written");
}

static int run(struct challenger *c, FILE *out, struct undine_err *err)
{
    int rc = trainer_check(&c->config->schema, &c->config->trainer, err);
    rc = rc == UNDINE_OK ? read_champion(c, err) : rc;
    rc = rc == UNDINE_OK ? open_log(c, err) : rc; /* after it: the log goes at least as far */
    rc = rc == UNDINE_OK ? open_trainer(c, err) : rc;
    rc = rc == UNDINE_OK ? learn(c, err) : rc;
    rc = rc == UNDINE_OK ? pair_up(c, err) : rc;
    return rc == UNDINE_OK ? report(c, out, err) : rc;
}

int challenger_run(const struct challenger_options *opt, FILE *out, struct undine_err *err)
{
    struct challenger *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return no_memory(err);
    }
    c->config = opt->config;
    int rc = version_path(c->store_dir, opt->state_dir, "store", err);
    rc = rc == UNDINE_OK ? version_path(c->versions_dir, opt->state_dir, "versions", err) : rc;
    rc = rc == UNDINE_OK ? run(c, out, err) : rc;
    free(c->ours.row);
    free(c->theirs.row);
    trainer_close(c->trainer);
    example_log_close(c->log);
    store_close(c->store);
    free(c);
    return rc;
}
