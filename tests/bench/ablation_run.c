/* ablation_run.c: many settings over one stream, one JSON line a result (docs/ablation.md).
 *
 *   ablation_run --config FILE --input EVENTS... [-o KEY=VALUE...] [--passes N] [--holdout SHARE]
 *       [--points N] < settings
 *
 * A setting is a line `NAME SEED [KEY=VALUE...]`: overrides of the configuration behind those of
 * -o. The stream is made once; a setting may change how it is learned, not what it is.  When a
 * setting is through, a line {"done": NAME, "seed": SEED} follows, so that a driver can hand out
 * the next one.  A setting that fails is told as {"failed": ...} and ends nothing but itself. */
#include "ops/args.h"
#include "ops/tree.h"
#include "tests/bench/ablation_learn.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WORDS_MAX = 128, LINE_MAX_BYTES = 16384 };

struct setting {
    const char *name, *seed;
    const char *overrides[WORDS_MAX + ARGS_LIST_MAX + 1]; /* of the command line, then its own */
    size_t n_overrides, n_common;
    char seed_override[64];
};

static void put_real(json_t *o, const char *name, double v)
{
    (void)json_object_set_new(o, name, isfinite(v) ? json_real(v) : json_null());
}

static json_t *score_json(const struct ablation_score *s)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "n", json_integer((json_int_t)s->n));
    put_real(o, "auc", s->auc);
    put_real(o, "gauc", s->gauc);
    put_real(o, "logloss", s->logloss);
    put_real(o, "calibration", s->calibration);
    return o;
}

static int print_json(json_t *o, struct undine_err *err)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(10));
    json_decref(o);
    if (text == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a result");
    }
    int written = printf("%s\n", text);
    free(text);
    if (written < 0 || fflush(stdout) != 0) {
        return undine_err_set(err, UNDINE_EIO, "a result could not be written");
    }
    return UNDINE_OK;
}

static json_t *setting_json(const struct setting *s, const char *name_key)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, name_key, json_string(s->name));
    (void)json_object_set_new(o, "seed", json_integer(strtoll(s->seed, NULL, 10)));
    return o;
}

static int print_result(void *payload, const struct ablation_result *r, struct undine_err *err)
{
    json_t *o = setting_json(payload, "name");
    char digest[HASH128_HEX_LEN + 1];
    (void)json_object_set_new(o, "pass", json_integer(r->pass));
    (void)json_object_set_new(o, "examples", json_integer((json_int_t)r->examples));
    (void)json_object_set_new(o, "all", score_json(&r->all));
    if (r->first.n > 0) {
        (void)json_object_set_new(o, "first", score_json(&r->first));
        (void)json_object_set_new(o, "second", score_json(&r->second));
    }
    if (r->held_out) {
        (void)json_object_set_new(o, "held", score_json(&r->held));
        if (r->held_int16.n > 0) {
            (void)json_object_set_new(o, "held_int16", score_json(&r->held_int16));
            put_real(o, "int16_apart", r->int16_apart);
        }
    } else {
        hash128_hex(digest, r->model_digest);
        (void)json_object_set_new(o, "model_digest", json_string(digest));
    }
    (void)snprintf(digest, sizeof digest, "%016" PRIx64, r->example_digest);
    (void)json_object_set_new(o, "example_digest", json_string(digest));
    (void)json_object_set_new(o, "rows", json_integer((json_int_t)r->rows));
    (void)json_object_set_new(o, "batches_skipped", json_integer((json_int_t)r->batches_skipped));
    put_real(o, "seconds", r->seconds);
    return print_json(o, err);
}

/* Split a line in place.  1 = a setting, 0 = an empty line or a comment. */
static int read_setting(struct setting *s, char *line, struct undine_err *err)
{
    char *rest = NULL, *word = strtok_r(line, " \t\r\n", &rest);
    if (word == NULL || word[0] == '#') {
        return 0;
    }
    s->name = word;
    s->seed = strtok_r(NULL, " \t\r\n", &rest);
    if (s->seed == NULL || strspn(s->seed, "0123456789") != strlen(s->seed)) {
        return undine_err_set(err, UNDINE_EINVAL,
                              "setting `%s`: expected `NAME SEED [KEY=VALUE...]`", s->name);
    }
    s->n_overrides = s->n_common;
    while ((word = strtok_r(NULL, " \t\r\n", &rest)) != NULL) {
        if (s->n_overrides == s->n_common + WORDS_MAX) {
            return undine_err_set(err, UNDINE_EINVAL, "setting `%s` has over %d overrides", s->name,
                                  WORDS_MAX);
        }
        s->overrides[s->n_overrides++] = word;
    }
    (void)snprintf(s->seed_override, sizeof s->seed_override, "model.seed=%s", s->seed);
    s->overrides[s->n_overrides++] = s->seed_override;
    return 1;
}

static int run_setting(struct setting *s, const char *file, const struct ablation_stream *stream,
                       const struct ablation_plan *plan, struct undine_err *err)
{
    struct config *c = NULL;
    int rc = config_load(&c, file, s->overrides, s->n_overrides, err);
    if (rc == UNDINE_OK) {
        rc = ablation_stream_check(stream, c, err);
    }
    if (rc == UNDINE_OK) {
        rc = ablation_learn(stream, &c->schema, &c->trainer, plan, print_result, s, err);
    }
    config_free(c);
    json_t *end = setting_json(s, rc == UNDINE_OK ? "done" : "failed");
    if (rc != UNDINE_OK) {
        (void)json_object_set_new(end, "why", json_string(err->msg));
    }
    return print_json(end, err);
}

static int run_settings(struct setting *s, const char *file, const struct ablation_stream *stream,
                        const struct ablation_plan *plan, struct undine_err *err)
{
    static char line[LINE_MAX_BYTES];
    int rc = UNDINE_OK;
    while (rc >= 0 && fgets(line, sizeof line, stdin) != NULL) {
        rc = read_setting(s, line, err);
        if (rc > 0) {
            rc = run_setting(s, file, stream, plan, err);
        }
    }
    return rc;
}

static int make_stream(struct ablation_stream *stream, const char *file, const struct setting *s,
                       const struct args_list *inputs, struct undine_err *err)
{
    const char *tmp = getenv("TMPDIR");
    char dir[512];
    struct config *c = NULL;
    (void)snprintf(dir, sizeof dir, "%s/undine-ablation.XXXXXX", tmp != NULL ? tmp : "/tmp");
    int rc = config_load(&c, file, s->overrides, s->n_common, err);
    if (rc == UNDINE_OK && mkdtemp(dir) == NULL) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "temporary directory `%s`", dir);
        dir[0] = '\0';
    }
    if (rc == UNDINE_OK) {
        rc = ablation_stream_make(stream, c, inputs->item, inputs->n, dir, err);
        tree_remove(dir);
    }
    config_free(c);
    return rc;
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    struct args_list overrides = {0}, inputs = {0};
    int64_t passes = 1, points = 1;
    double holdout = 0.0;
    const struct args_option options[] = {
        {"config", 'c', ARGS_STRING, &file, "FILE", "configuration (required)"},
        {"input", 'i', ARGS_LIST, &inputs, "FILE...", "event lines, .zst too (required)"},
        {"passes", 0, ARGS_INT, &passes, "N", "passes over the stream, 1..100 (default 1)"},
        {"holdout", 0, ARGS_REAL, &holdout, "SHARE",
         "score the last part of the stream frozen and never learn it (default 0: none)"},
        {"points", 0, ARGS_INT, &points, "N", "held out: points a pass, its end included"},
        {NULL, 'o', ARGS_LIST, &overrides, "KEY=VALUE", "override a key for all settings"},
    };
    int code = args_parse(argc, argv, "ablation_run --config FILE --input FILE... < settings",
                          options, sizeof options / sizeof options[0], &inputs);
    if (code >= 0) {
        return code;
    }
    if (file == NULL || inputs.n == 0 || passes < 1 || passes > 100 || points < 1 ||
        points > 1000 || !(holdout >= 0.0 && holdout < 0.9)) {
        (void)fprintf(stderr, "ablation_run: see --help\n");
        return EXIT_USAGE;
    }
    struct setting setting = {.n_common = overrides.n};
    memcpy(setting.overrides, overrides.item, overrides.n * sizeof overrides.item[0]);
    struct ablation_plan plan = {
        .passes = (uint32_t)passes, .holdout = holdout, .points = (uint32_t)points};
    struct ablation_stream stream = {0};
    struct undine_err err = {0};
    int rc = make_stream(&stream, file, &setting, &inputs, &err);
    if (rc == UNDINE_OK) {
        rc = run_settings(&setting, file, &stream, &plan, &err);
        ablation_stream_release(&stream);
    }
    if (rc < 0) {
        (void)fprintf(stderr, "ablation_run: %s\n", err.msg);
    }
    return args_exit_code(rc < 0 ? rc : UNDINE_OK);
}
