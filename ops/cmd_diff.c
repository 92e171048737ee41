/* cmd_diff.c: `undine diff A B`: what is different between two versions, as a text or as JSON. */
#include "learner/model/json_text.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/version_diff.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct side {
    char path[VERSION_PATH_MAX];
    struct version_chain *chain;
    json_t *manifest;
};

/* DIR/000000000042, or a directory of versions: its published one; with `dir` a number too. */
static int find(struct side *s, const char *dir, const char *word, struct undine_err *err)
{
    char name[VERSION_NAME_MAX];
    char *end = NULL;
    uint64_t number = word[0] >= '0' && word[0] <= '9' ? strtoull(word, &end, 10) : 0;
    if (dir != NULL && end != NULL && *end == '\0' && number < UINT64_C(1000000000000)) {
        version_name(name, number);
        return version_path(s->path, dir, name, err);
    }
    if (version_dir_current(word, name, NULL) == UNDINE_OK) {
        return version_path(s->path, word, name, err);
    }
    if (snprintf(s->path, sizeof s->path, "%s", word) >= (int)sizeof s->path) {
        return undine_err_set(err, UNDINE_EINVAL, "the path of a version is too long");
    }
    return UNDINE_OK;
}

static int open_side(struct side *s, const char *dir, const char *word,
                     const struct version_chain *near, struct undine_err *err)
{
    char path[VERSION_PATH_MAX];
    int rc = find(s, dir, word, err);
    rc = rc == UNDINE_OK ? version_chain_open_path(&s->chain, s->path, near, false, err) : rc;
    rc = rc == UNDINE_OK ? version_path(path, s->path, MANIFEST_NAME, err) : rc;
    if (rc == UNDINE_OK) {
        rc = json_text_read(&s->manifest, path, err);
        (void)json_object_del(json_object_get(s->manifest, "digests"), "model"); /* `equal` */
    }
    return rc;
}

static void close_side(struct side *s)
{
    version_chain_close(s->chain);
    json_decref(s->manifest);
}

/* ---- as JSON ---- */

static json_t *number_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *integer(uint64_t v)
{
    return json_integer((json_int_t)v);
}

/* Members that are not equal, by path: {"model.mlp.hidden": [A, B]}; null where one has none. */
static void put_differences(json_t *to, const char *path, json_t *a, json_t *b)
{
    char below[512];
    const char *name;
    json_t *one;
    if (a != NULL && b != NULL && json_equal(a, b)) {
        return;
    }
    if (!json_is_object(a) || !json_is_object(b)) {
        json_t *pair = json_array();
        (void)json_array_append(pair, a != NULL ? a : json_null());
        (void)json_array_append(pair, b != NULL ? b : json_null());
        (void)json_object_set_new(to, path, pair);
        return;
    }
    json_object_foreach(a, name, one)
    {
        (void)snprintf(below, sizeof below, "%s.%s", path, name);
        put_differences(to, below, one, json_object_get(b, name));
    }
    json_object_foreach(b, name, one)
    {
        if (json_object_get(a, name) == NULL) {
            (void)snprintf(below, sizeof below, "%s.%s", path, name);
            put_differences(to, below, NULL, one);
        }
    }
}

static json_t *table_json(const struct version_diff_table *t)
{
    json_t *top = json_array();
    for (uint32_t i = 0; i < t->n_top; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "%016" PRIx64, t->top[i].key);
        (void)json_array_append_new(top, json_pack("{s:s,s:o,s:o,s:o}", "id", id, "distance",
                                                   number_or_null(t->top[i].distance), "norm_a",
                                                   number_or_null(t->top[i].norm_a), "norm_b",
                                                   number_or_null(t->top[i].norm_b)));
    }
    double mean = t->moved > 0 ? t->distance_sum / (double)t->moved : (double)NAN;
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "table", t->name, "width_a",
                     integer(t->width_a), "width_b", integer(t->width_b), "rows_a",
                     integer(t->rows_a), "rows_b", integer(t->rows_b), "added", integer(t->added),
                     "removed", integer(t->removed), "moved", integer(t->moved), "mean_distance",
                     number_or_null(mean), "largest_distance", number_or_null(t->distance_max),
                     "most", top);
}

static json_t *tensor_json(const struct version_diff_tensor *t)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "tensor", t->name, "elements",
                     integer(t->elements), "norm_a", number_or_null(t->norm_a), "norm_b",
                     number_or_null(t->norm_b), "distance", number_or_null(t->distance), "largest",
                     number_or_null(t->largest), "same_shape", json_boolean(t->same_shape));
}

static json_t *side_json(const struct side *s)
{
    const struct manifest *m = s->chain->manifest;
    return json_pack("{s:s,s:o,s:s,s:o,s:o,s:s}", "path", s->path, "version", integer(m->number),
                     "kind", m->is_delta ? "delta" : "full", "trained_seq", integer(m->trained_seq),
                     "event_time_ms", json_integer(m->event_time_ms), "digest", m->digest);
}

static json_t *diff_json(const struct version_diff *d, const struct side *a, const struct side *b)
{
    static const char *const compared[] = {"schema", "model", "digests", "kernels"};
    json_t *tables = json_array(), *tensors = json_array();
    json_t *described = json_object(), *metrics = json_object();
    for (uint32_t i = 0; i < d->n_tables; i++) {
        (void)json_array_append_new(tables, table_json(&d->table[i]));
    }
    for (uint32_t i = 0; i < d->n_tensors; i++) {
        (void)json_array_append_new(tensors, tensor_json(&d->tensor[i]));
    }
    for (size_t i = 0; i < sizeof compared / sizeof compared[0]; i++) {
        json_t *of_a = json_object_get(a->manifest, compared[i]);
        json_t *of_b = json_object_get(b->manifest, compared[i]);
        if (of_a != NULL || of_b != NULL) {
            put_differences(described, compared[i], of_a, of_b);
        }
    }
    put_differences(metrics, "metrics", json_object_get(a->manifest, "metrics"),
                    json_object_get(b->manifest, "metrics"));
    return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:o}", "equal", d->equal, "a", side_json(a), "b",
                     side_json(b), "tables", tables, "tensors", tensors, "described", described,
                     "metrics", metrics);
}

/* ---- as text ---- */

static void say_pairs(const char *title, const json_t *pairs)
{
    const char *name;
    json_t *pair;
    if (json_object_size(pairs) > 0) {
        (void)printf("%s\n", title);
    }
    json_object_foreach((json_t *)(uintptr_t)pairs, name, pair)
    {
        char *a = json_text_print(json_array_get(pair, 0),
                                  JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        char *b = json_text_print(json_array_get(pair, 1),
                                  JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        (void)printf("  %s: %s -> %s\n", name, a != NULL ? a : "?", b != NULL ? b : "?");
        free(a);
        free(b);
    }
}

static void say_table(const struct version_diff_table *t)
{
    (void)printf("table %s: %" PRIu64 " -> %" PRIu64 " rows, %" PRIu64 " added, %" PRIu64
                 " removed, %" PRIu64 " moved",
                 t->name, t->rows_a, t->rows_b, t->added, t->removed, t->moved);
    if (t->width_a != t->width_b) {
        (void)printf(", width %u -> %u", t->width_a, t->width_b);
    }
    if (t->moved > 0) {
        (void)printf(" by %.6g on average, at most %.6g", t->distance_sum / (double)t->moved,
                     t->distance_max);
    }
    (void)printf("\n");
    for (uint32_t i = 0; i < t->n_top; i++) {
        const struct version_diff_row *r = &t->top[i];
        (void)printf("  %016" PRIx64 " moved %.6g, norm %.6g -> %.6g\n", r->key, r->distance,
                     r->norm_a, r->norm_b);
    }
}

static void say_tensor(const struct version_diff_tensor *t)
{
    if (!t->in_a || !t->in_b) {
        (void)printf("tensor %s: only in %s\n", t->name, t->in_a ? "A" : "B");
    } else if (!t->same_shape) {
        (void)printf("tensor %s: another shape\n", t->name);
    } else if (t->distance != 0.0) {
        (void)printf("tensor %s: moved %.6g, norm %.6g -> %.6g, an element at most %.6g\n", t->name,
                     t->distance, t->norm_a, t->norm_b, t->largest);
    }
}

static void say_diff(const struct version_diff *d, const struct side *a, const struct side *b,
                     const json_t *json)
{
    const struct manifest *of_a = a->chain->manifest, *of_b = b->chain->manifest;
    (void)printf("A %s: version %" PRIu64 ", %" PRIu64 " examples\n", a->path, of_a->number,
                 of_a->examples);
    (void)printf("B %s: version %" PRIu64 ", %" PRIu64 " examples\n", b->path, of_b->number,
                 of_b->examples);
    (void)printf(d->equal ? "the models are equal\n" : "the models differ\n");
    say_pairs("described otherwise", json_object_get(json, "described"));
    for (uint32_t i = 0; i < d->n_tables; i++) {
        say_table(&d->table[i]);
    }
    for (uint32_t i = 0; i < d->n_tensors; i++) {
        say_tensor(&d->tensor[i]);
    }
    say_pairs("metrics", json_object_get(json, "metrics"));
}

static int say(const struct version_diff *d, const struct side *a, const struct side *b, bool json,
               struct undine_err *err)
{
    json_t *o = diff_json(d, a, b);
    char *text =
        json && o != NULL
            ? json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9))
            : NULL;
    int rc = UNDINE_OK;
    if (o == NULL || (json && text == NULL)) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "no memory for the differences");
    } else if (json) {
        (void)printf("%s\n", text);
    } else {
        say_diff(d, a, b, o);
    }
    free(text);
    json_decref(o);
    return rc;
}

static int diff(const char *dir, const struct args_list *words, uint32_t top, bool json,
                struct undine_err *err)
{
    struct side a = {0}, b = {0};
    struct version_diff *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to compare versions");
    }
    int rc = open_side(&a, dir, words->item[0], NULL, err);
    if (rc == UNDINE_OK) {
        rc = open_side(&b, dir, words->item[1], a.chain, err);
    }
    if (rc == UNDINE_OK) {
        rc = version_diff_make(d, a.chain, b.chain, top, err);
    }
    if (rc == UNDINE_OK) {
        rc = say(d, &a, &b, json, err);
        version_diff_release(d);
    }
    close_side(&b);
    close_side(&a);
    free(d);
    return rc;
}

int cmd_diff(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false;
    int64_t top = 5;
    struct args_list words = {0};
    const struct args_option options[] = {
        {"versions", 0, ARGS_STRING, &dir, "DIR", "A and B may be numbers of versions in it"},
        {"top", 0, ARGS_INT, &top, "N", "rows that moved most, of each table (5)"},
        {"json", 0, ARGS_FLAG, &json, NULL, "one JSON object instead of a text"},
    };
    int code = args_parse(argc, argv, "diff [--versions DIR] A B [--top N] [--json]", options,
                          sizeof options / sizeof options[0], &words);
    if (code >= 0) {
        return code;
    }
    if (words.n != 2 || top < 0 || top > VERSION_DIFF_TOP_MAX) {
        (void)fprintf(stderr, "undine diff: %s; see `undine diff --help`\n",
                      words.n != 2 ? "two versions are compared: give A and B"
                                   : "--top is out of 0..1000");
        return EXIT_USAGE;
    }
    struct undine_err err = {0};
    int rc = diff(dir, &words, (uint32_t)top, json, &err);
    if (rc != UNDINE_OK) {
        (void)fprintf(stderr, "undine diff: %s\n", err.msg);
    }
    return args_exit_code(rc);
}
