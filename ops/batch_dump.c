#include "ops/batch_dump.h"

#include "learner/model/json_text.h"
#include "base/fault.h"
#include "learner/trainer_state.h"
#include "ops/json_put.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DUMP_PATH_MAX = 1024, DUMPS_LISTED_MAX = 1000 };

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* The ids of bag i. */
static json_t *bag(const struct id_list *l, uint32_t i)
{
    json_t *ids = json_array();
    for (uint32_t k = l->offset[i]; k < l->offset[i + 1]; k++) {
        char hex[20];
        (void)snprintf(hex, sizeof hex, "%016llx", (unsigned long long)l->key[k]);
        json_put_last(ids, json_string(hex));
    }
    return ids;
}

static json_t *sequence(const struct schema *schema, const struct schema_sequence *q,
                        const struct batch_builder_sequences *b, uint32_t example)
{
    json_t *steps = json_array();
    uint32_t s = b->of_example[example];
    for (uint32_t step = b->step_offset[s]; step < b->step_offset[s + 1]; step++) {
        json_t *o = json_object();
        for (uint32_t f = 0; f < q->n_fields; f++) {
            json_put(o, schema->fields[q->field[f]].name, bag(&b->step[f], step));
        }
        json_put_last(steps, o);
    }
    return steps;
}

static json_t *example(const struct trainer *t, uint32_t i)
{
    const struct batch_builder *b = t->builder;
    json_t *o = json_object(), *fields = json_object(), *sequences = json_object();
    json_put(o, "example", json_integer((json_int_t)(t->trained_seq + i)));
    json_put(o, "label", number((double)b->label[i]));
    json_put(o, "sample_rate", number((double)b->sample_rate[i]));
    json_put(o, "logit", number((double)t->logit[i]));
    for (uint32_t f = 0; f < t->schema.n_fields; f++) {
        json_put(fields, t->schema.fields[f].name, bag(&b->field[f], i));
    }
    for (uint32_t s = 0; s < t->schema.n_sequences; s++) {
        json_put(
            sequences, t->schema.sequences[s].name,
            sequence(&t->schema, &t->schema.sequences[s], &b->sequence[s], i));
    }
    json_put(o, "fields", fields);
    json_put(o, "sequences", sequences);
    return o;
}

static bool put_line(FILE *out, json_t *o)
{
    char *text = json_text_print(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_decref(o);
    bool ok = !json_put_lost() && text != NULL && fputs(text, out) != EOF && fputc('\n', out) != EOF;
    free(text);
    return ok;
}

static bool put_batch(FILE *out, const struct trainer *t, const char *why)
{
    uint32_t n = t->builder->n;
    json_t *head = json_object();
    json_put(head, "why", json_string(why));
    json_put(head, "from", json_integer((json_int_t)t->trained_seq));
    json_put(head, "to", json_integer((json_int_t)(t->trained_seq + n - 1)));
    json_put(head, "event_time", json_integer((json_int_t)t->builder->last_emit_ms));
    bool ok = put_line(out, head);
    for (uint32_t i = 0; ok && i < n; i++) {
        ok = put_line(out, example(t, i));
    }
    return ok;
}

static int ascending(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

/* First examples of the dumps in dir, ascending; their number. */
static size_t list(const char *dir, long long seq[DUMPS_LISTED_MAX])
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && n < DUMPS_LISTED_MAX && (e = readdir(d)) != NULL;) {
        char *end;
        long long s = strtoll(e->d_name, &end, 10);
        if (end != e->d_name && strcmp(end, ".jsonl") == 0) {
            seq[n++] = s;
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    qsort(seq, n, sizeof seq[0], ascending);
    return n;
}

static int path_of(char out[DUMP_PATH_MAX], const char *dir, long long seq, struct undine_err *err)
{
    int n = snprintf(out, DUMP_PATH_MAX, "%s/%012lld.jsonl", dir, seq);
    return n > 0 && n < DUMP_PATH_MAX
               ? UNDINE_OK
               : undine_err_set(err, UNDINE_EINVAL, "%s: path is too long", dir);
}

int batch_dump_write(const char *dir, const struct trainer *t, const char *why,
                     struct undine_err *err)
{
    char path[DUMP_PATH_MAX];
    int rc = path_of(path, dir, (long long)t->trained_seq, err);
    if (rc < 0) {
        return rc;
    }
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", dir);
    }
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    FAULT("dump.before_write");
    bool ok = put_batch(out, t, why);
    FAULT("dump.after_write");
    if (fclose(out) != 0 || !ok) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    long long seq[DUMPS_LISTED_MAX];
    size_t n = list(dir, seq);
    for (size_t i = 0; i + BATCH_DUMPS_KEPT < n; i++) {
        if (path_of(path, dir, seq[i], NULL) == UNDINE_OK) {
            (void)unlink(path); /* DROP(batch_dump) */
        }
    }
    return UNDINE_OK;
}

int batch_dump_print(const char *dir, long long seq, FILE *out, struct undine_err *err)
{
    long long all[DUMPS_LISTED_MAX];
    size_t n = list(dir, all);
    if (seq < 0 && n == 0) {
        return undine_err_set(err, UNDINE_ENOTFOUND, "no batch was refused: %s holds no dump", dir);
    }
    char path[DUMP_PATH_MAX], text[8192];
    int rc = path_of(path, dir, seq < 0 ? all[n - 1] : seq, err);
    if (rc < 0) {
        return rc;
    }
    FILE *in = fopen(path, "r");
    if (in == NULL) {
        return undine_err_sys(err, UNDINE_ENOTFOUND, errno, "%s", path);
    }
    size_t got;
    while ((got = fread(text, 1, sizeof text, in)) > 0) {
        (void)fwrite(text, 1, got, out);
    }
    (void)fclose(in);
    return UNDINE_OK;
}
