/* late_run.c: what policies for late clicks are worth on one stream, one JSON line a policy
 * (docs/learner.md, "Late clicks").
 *
 *   late_run --config FILE --input EVENTS... [-o KEY=VALUE...] --truth-window MS [--tail SHARE]
 *       < policies
 *
 * A policy is a line `NAME [KEY=VALUE...]`.  T is the time behind which lies --tail of the stream's
 * impressions.  Of each policy the examples that are known before T are learned, in their order and
 * once.  Then the impressions from T on are scored by that one model, as a scorer would and nothing
 * is learned, and compared with their final labels: those that a window of --truth-window gives. So
 * all policies are judged on the same impressions, histories and labels, and none of them saw a
 * label of these. */
#include "ops/args.h"
#include "ops/tree.h"
#include "tests/bench/ablation_stream.h"

#include "learner/trainer_state.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OVERRIDES_MAX = ARGS_LIST_MAX + 32, LINE_BYTES = 4096 };

struct overrides {
    const char *item[OVERRIDES_MAX];
    size_t n;
};

struct late_run {
    const char *config;
    const struct args_list *inputs;
    struct overrides common;
    struct ablation_stream truth;
    int64_t from_ms; /* T */
    uint64_t head_clicks;
};

static int make(const struct late_run *r, const struct overrides *o, struct config **c,
                struct ablation_stream *s, struct undine_err *err)
{
    const char *tmp = getenv("TMPDIR");
    char dir[512];
    (void)snprintf(dir, sizeof dir, "%s/undine-late.XXXXXX", tmp != NULL ? tmp : "/tmp");
    int rc = config_load(c, r->config, o->item, o->n, err);
    if (rc == UNDINE_OK && mkdtemp(dir) == NULL) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "temporary directory `%s`", dir);
    } else if (rc == UNDINE_OK) {
        rc = ablation_stream_make(s, *c, r->inputs->item, r->inputs->n, dir, err);
        tree_remove(dir);
    }
    return rc;
}

/* Final labels come in the order of impressions: `emit: deadline`. */
static int make_truth(struct late_run *r, const char *window, double tail, struct undine_err *err)
{
    struct overrides o = r->common;
    struct config *c = NULL;
    o.item[o.n++] = window;
    o.item[o.n++] = "join.emit=deadline";
    int rc = make(r, &o, &c, &r->truth, err);
    config_free(c);
    uint64_t seq = 0, from = r->truth.n - (uint64_t)(tail * (double)r->truth.n);
    for (size_t k = 0; rc == UNDINE_OK && k < r->truth.n_blocks; k++) {
        const struct example_block *b = &r->truth.blocks[k];
        for (uint32_t i = 0; i < b->n_examples; i++, seq++) {
            if (seq <= from) {
                r->from_ms = b->examples[i].time_ms;
            }
        }
    }
    for (size_t k = 0; rc == UNDINE_OK && k < r->truth.n_blocks; k++) {
        const struct example_block *b = &r->truth.blocks[k];
        for (uint32_t i = 0; i < b->n_examples; i++) {
            r->head_clicks += b->examples[i].time_ms < r->from_ms &&
                              example_kind_positive((enum example_kind)b->examples[i].kind);
        }
    }
    return rc;
}

struct learned {
    uint64_t impressions, clicks;     /* with an example before T; with a positive one */
    double impressions_ms, clicks_ms; /* sums of event time from the impression to the example */
};

static void count(struct learned *l, const struct example *e)
{
    double delay_ms = (double)(e->emit_ms - e->time_ms);
    enum example_kind kind = (enum example_kind)e->kind;
    if (!example_kind_revises(kind)) {
        l->impressions++;
        l->impressions_ms += delay_ms;
    }
    if (example_kind_positive(kind)) {
        l->clicks++;
        l->clicks_ms += delay_ms;
    }
}

static int learn(const struct late_run *r, const struct ablation_stream *s, struct trainer *t,
                 struct learned *l, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (size_t k = 0; rc >= 0 && k < s->n_blocks; k++) {
        struct example_block b = s->blocks[k];
        uint32_t n = 0;
        while (n < b.n_examples && b.examples[n].emit_ms < r->from_ms) {
            count(l, &b.examples[n++]);
        }
        bool end = n < b.n_examples;
        b.n_examples = n;
        rc = n > 0 ? trainer_learn(t, &b, UINT32_MAX, err) : UNDINE_OK;
        if (end) {
            break;
        }
    }
    return rc < 0 ? rc : trainer_learn_due(t, INT64_MAX, err);
}

static int score_batch(struct trainer *t, struct metrics_row *rows, struct undine_err *err)
{
    struct batch_builder *b = t->builder;
    int rc = batch_builder_gather(b, t->table, NULL, err);
    if (rc == UNDINE_OK) {
        rc = model_forward(t->model, t->scratch, &b->batch, MODEL_SERVE, t->logit, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < b->n; i++) {
        rows[i] = (struct metrics_row){
            .user = b->user[i], .logit = t->logit[i], .weight = b->label[i] > 0.0f ? -1.0f : 1.0f};
    }
    batch_builder_clear(b);
    return rc;
}

/* Score the truth from T on; returns how many rows, or an error. */
static int score(const struct late_run *r, struct trainer *t, struct metrics_row *rows, size_t *n,
                 struct undine_err *err)
{
    int rc = UNDINE_OK;
    *n = 0;
    for (size_t k = 0; rc == UNDINE_OK && k < r->truth.n_blocks; k++) {
        const struct example_block *b = &r->truth.blocks[k];
        for (uint32_t i = 0; rc == UNDINE_OK && i < b->n_examples; i++) {
            if (b->examples[i].time_ms < r->from_ms) {
                continue;
            }
            rc = batch_builder_add(t->builder, b, i, err);
            if (rc == UNDINE_OK && t->builder->n == t->opt.batch_max) {
                *n += t->builder->n;
                rc = score_batch(t, rows + *n - t->opt.batch_max, err);
            }
        }
    }
    if (rc == UNDINE_OK && t->builder->n > 0) {
        uint32_t rest = t->builder->n;
        rc = score_batch(t, rows + *n, err);
        *n += rest;
    }
    return rc;
}

static int print(const struct late_run *r, const char *name, const struct learned *l,
                 const struct trainer *t, struct metrics_row *rows, size_t n,
                 struct undine_err *err)
{
    struct metrics_sums sums = metrics_rows_sums(rows, n);
    double loss = metrics_logloss(&sums), calibration = metrics_calibration(&sums);
    int written =
        printf("{\"policy\":\"%s\",\"examples\":%" PRIu64 ",\"skipped\":%" PRIu64
               ",\"impressions\":%" PRIu64 ",\"impression_delay_s\":%.3f,\"click_delay_s\":%.3f,"
               "\"clicks_learned\":%.4f,\"scored\":%zu,\"calibration\":%.4f,\"logloss\":%.4f,"
               "\"auc\":%.4f}\n",
               name, t->counters.examples, t->counters.batches_skipped, l->impressions,
               l->impressions_ms / 1e3 / (double)l->impressions,
               l->clicks_ms / 1e3 / (double)l->clicks, (double)l->clicks / (double)r->head_clicks,
               n, calibration, loss, metrics_rows_auc(rows, n));
    return written < 0 || fflush(stdout) != 0
               ? undine_err_set(err, UNDINE_EIO, "a result could not be written")
               : UNDINE_OK;
}

static int run_policy(const struct late_run *r, const char *name, const struct overrides *o,
                      struct undine_err *err)
{
    struct config *c = NULL;
    struct ablation_stream s = {0};
    struct trainer *t = NULL;
    struct learned l = {0};
    size_t n = 0;
    struct metrics_row *rows = calloc(r->truth.n, sizeof *rows);
    int rc = rows != NULL ? make(r, o, &c, &s, err)
                          : undine_err_set(err, UNDINE_ENOMEM, "no memory for predictions");
    rc = rc < 0 ? rc : trainer_open(&t, &c->schema, &c->trainer, err);
    rc = rc < 0 ? rc : learn(r, &s, t, &l, err);
    rc = rc < 0 ? rc : score(r, t, rows, &n, err);
    rc = rc < 0 ? rc : print(r, name, &l, t, rows, n, err);
    trainer_close(t);
    ablation_stream_release(&s);
    config_free(c);
    free(rows);
    return rc;
}

static int run_policies(const struct late_run *r, struct undine_err *err)
{
    static char line[LINE_BYTES];
    int rc = UNDINE_OK;
    while (rc >= 0 && fgets(line, sizeof line, stdin) != NULL) {
        struct overrides o = r->common;
        char *rest = NULL, *name = strtok_r(line, " \t\r\n", &rest), *word;
        while ((word = strtok_r(NULL, " \t\r\n", &rest)) != NULL && o.n < OVERRIDES_MAX) {
            o.item[o.n++] = word;
        }
        rc = name != NULL ? run_policy(r, name, &o, err) : UNDINE_OK;
    }
    return rc;
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    struct args_list overrides = {0}, inputs = {0};
    int64_t window_ms = 0;
    double tail = 0.25;
    const struct args_option options[] = {
        {"config", 'c', ARGS_STRING, &file, "FILE", "configuration (required)"},
        {"input", 'i', ARGS_LIST, &inputs, "FILE...", "event lines, .zst too (required)"},
        {"truth-window", 0, ARGS_INT, &window_ms, "MS", "no click comes later (required)"},
        {"tail", 0, ARGS_REAL, &tail, "SHARE", "of the impressions: scored, not learned (0.25)"},
        {NULL, 'o', ARGS_LIST, &overrides, "KEY=VALUE", "override a key for all policies"},
    };
    int code = args_parse(argc, argv, "late_run --config FILE --input FILE... < policies", options,
                          sizeof options / sizeof options[0], &inputs);
    if (code >= 0) {
        return code;
    }
    if (file == NULL || inputs.n == 0 || window_ms < 1 || !(tail > 0.0 && tail < 1.0)) {
        (void)fprintf(stderr, "late_run: see --help\n");
        return EXIT_USAGE;
    }
    struct late_run r = {.config = file, .inputs = &inputs, .common = {.n = overrides.n}};
    memcpy(r.common.item, overrides.item, overrides.n * sizeof overrides.item[0]);
    char window[64];
    (void)snprintf(window, sizeof window, "join.window=%" PRId64 "ms", window_ms);
    struct undine_err err = {0};
    int rc = make_truth(&r, window, tail, &err);
    rc = rc < 0 ? rc : run_policies(&r, &err);
    ablation_stream_release(&r.truth);
    if (rc < 0) {
        (void)fprintf(stderr, "late_run: %s\n", err.msg);
    }
    return args_exit_code(rc < 0 ? rc : UNDINE_OK);
}
