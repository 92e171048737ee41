#include "tests/bench/bench_world.h"

#include "base/random.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DIM = 18, OTHER_ROWS = 1000, ROWS_MAX = 100000000, TEXT_MAX = 12 };
enum { TABLE_ITEM, TABLE_CATEGORY, TABLE_USER, TABLES };

struct memory { /* what the requests point to */
    char text[BENCH_WORLD_REQUESTS][TEXT_MAX];
    struct undine_value user[BENCH_WORLD_REQUESTS];
    struct undine_sequence sequence[BENCH_WORLD_REQUESTS];
    struct { /* a candidate or step */
        char text[2][TEXT_MAX];
        struct undine_value value[2];
        struct undine_feature feature[2];
    } * item; /* of all requests, candidates and steps */
    struct undine_features *features;
};

static int make_schema(struct schema *out, uint32_t history, struct undine_err *err)
{
    static const char *const names[TABLES] = {"item", "category", "user"};
    struct schema s = {.n_tables = TABLES, .n_fields = TABLES, .n_sequences = 1};
    for (uint32_t i = 0; i < TABLES; i++) {
        s.tables[i].dim = DIM;
        (void)snprintf(s.tables[i].name, sizeof s.tables[i].name, "%s", names[i]);
        s.fields[i] =
            (struct schema_field){.table = i,
                                  .values_max = 1,
                                  .user_id = i == TABLE_USER,
                                  .group = i == TABLE_USER ? SCHEMA_USER : SCHEMA_CANDIDATE};
        (void)snprintf(s.fields[i].name, sizeof s.fields[i].name, "%s", names[i]);
    }
    s.sequences[0] = (struct schema_sequence){
        .name = "clicks", .length = history, .n_fields = 2, .field = {0, 1}, .from_click = true};
    *out = s;
    return schema_check(out, err);
}

static uint32_t rows_of(const struct bench_world *w, uint32_t table)
{
    return table == TABLE_ITEM ? w->opt.rows : OTHER_ROWS;
}

static struct undine_value number_text(char text[TEXT_MAX], uint64_t number)
{
    int len = snprintf(text, TEXT_MAX, "%u", (unsigned)number);
    return (struct undine_value){text, (size_t)len};
}

static void make_item(const struct bench_world *w, struct memory *m, size_t at, struct random *r)
{
    uint64_t item = random_below(r, w->opt.rows);
    m->item[at].value[0] = number_text(m->item[at].text[0], item);
    m->item[at].value[1] = number_text(m->item[at].text[1], item % OTHER_ROWS);
    m->item[at].feature[0] = (struct undine_feature){"item", &m->item[at].value[0], 1};
    m->item[at].feature[1] = (struct undine_feature){"category", &m->item[at].value[1], 1};
    m->features[at] = (struct undine_features){m->item[at].feature, 2};
}

static void make_requests(struct bench_world *w, struct memory *m)
{
    struct random r = {.state = 7};
    size_t each = (size_t)w->opt.candidates + w->opt.history;
    for (size_t i = 0; i < BENCH_WORLD_REQUESTS; i++) {
        struct undine_features *first = &m->features[i * each];
        for (size_t k = 0; k < each; k++) {
            make_item(w, m, i * each + k, &r);
        }
        m->user[i] = number_text(m->text[i], random_below(&r, OTHER_ROWS));
        m->sequence[i] =
            (struct undine_sequence){"clicks", first + w->opt.candidates, w->opt.history};
        w->request[i] = (struct undine_request){.user_id = m->user[i],
                                                .sequences = &m->sequence[i],
                                                .n_sequences = 1,
                                                .candidates = first,
                                                .n_candidates = w->opt.candidates};
    }
}

int bench_world_open(struct bench_world *w, const struct bench_world_options *opt,
                     struct undine_err *err)
{
    *w = (struct bench_world){.opt = *opt};
    if (opt->rows < OTHER_ROWS || opt->rows > ROWS_MAX || opt->candidates < 1 ||
        opt->candidates > 100000 || opt->history < 1 || opt->history > 1000) {
        return undine_err_set(err, UNDINE_EINVAL,
                              "rows are %u, candidates %u and history %u, expected 1000..10^8, "
                              "1..100000 and 1..1000",
                              opt->rows, opt->candidates, opt->history);
    }
    int rc = make_schema(&w->schema, opt->history, err);
    if (rc < 0) {
        return rc;
    }
    struct memory *m = calloc(1, sizeof *m);
    size_t n = BENCH_WORLD_REQUESTS * ((size_t)opt->candidates + opt->history);
    if (m != NULL) {
        m->item = calloc(n, sizeof *m->item);
        m->features = calloc(n, sizeof *m->features);
    }
    w->memory = m;
    if (m == NULL || m->item == NULL || m->features == NULL) {
        bench_world_release(w);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for requests");
    }
    make_requests(w, m);
    return UNDINE_OK;
}

void bench_world_release(struct bench_world *w)
{
    struct memory *m = w->memory;
    if (m != NULL) {
        free(m->item);
        free(m->features);
        free(m);
    }
    w->memory = NULL;
}

int bench_world_dir(char out[VERSION_PATH_MAX], const char *parent, bool whole,
                    struct undine_err *err)
{
    int n = snprintf(out, VERSION_PATH_MAX, "%s%s", parent, whole ? "" : "/undine-bench-XXXXXX");
    if (n >= VERSION_PATH_MAX) {
        return undine_err_set(err, UNDINE_EINVAL, "the path %s is too long", parent);
    }
    if (whole ? mkdir(out, 0777) != 0 && errno != EEXIST : mkdtemp(out) == NULL) {
        return undine_err_set(err, UNDINE_EIO, "cannot make %s: %s", out, strerror(errno));
    }
    return UNDINE_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void bench_world_remove(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* n rows: all, or (step > 1) every step-th from `first` on, until n are there. */
static bool fill_table(const struct bench_world *w, struct snapshot *s, uint32_t which,
                       uint64_t seed, uint32_t n, uint32_t first, uint32_t step)
{
    struct snapshot_table *t = &s->table[which];
    const struct schema_table *of = &s->schema.tables[which];
    *t = (struct snapshot_table){.dim = DIM, .n_rows = n};
    memcpy(t->name, of->name, sizeof t->name);
    t->key = arena_alloc(&s->memory, (n + 1) * sizeof *t->key);
    t->weight = arena_alloc(&s->memory, (n + 1) * DIM * sizeof *t->weight);
    t->count = arena_calloc(&s->memory, n + 1, sizeof *t->count);
    t->seen_day = arena_calloc(&s->memory, n + 1, sizeof *t->seen_day);
    t->stamp = arena_calloc(&s->memory, n + 1, sizeof *t->stamp);
    if (t->key == NULL || t->weight == NULL || t->count == NULL || t->seen_day == NULL ||
        t->stamp == NULL) {
        return false;
    }
    struct random r = {hash_mix64(seed * 1000003 + which)};
    for (uint32_t i = 0; i < n; i++) {
        char text[TEXT_MAX];
        uint64_t number = (first + (uint64_t)i * step) % rows_of(w, which);
        struct undine_value v = number_text(text, number);
        t->key[i] = hash_feature(of->hash_seed, v.data, v.len);
        for (uint32_t d = 0; d < DIM; d++) {
            t->weight[(size_t)i * DIM + d] = (float)(random_unit(&r) - 0.5);
        }
    }
    return true;
}

static int fill_dense(struct snapshot *s, struct undine_err *err)
{
    struct model *m = NULL;
    int rc = model_open(&m, &s->schema, &s->model, err);
    if (rc < 0) {
        return rc;
    }
    size_t n;
    const struct model_param *p = model_params(m, &n);
    for (size_t i = 0; rc == UNDINE_OK && i < n; i++) {
        float *to = snapshot_dense(s, p[i].name, SNAPSHOT_F32, p[i].rows, p[i].cols);
        if (to == NULL) {
            rc = undine_err_set(err, UNDINE_ENOMEM, "no memory for a version");
        } else {
            memcpy(to, model_values(m) + p[i].offset, (size_t)p[i].rows * p[i].cols * sizeof *to);
        }
    }
    model_close(m);
    return rc;
}

static struct snapshot *new_snapshot(const struct bench_world *w, uint64_t seed)
{
    struct snapshot *s = snapshot_new();
    if (s != NULL) {
        s->schema = w->schema;
        s->model = MODEL_OPTIONS_DEFAULT;
        s->model.kind = MODEL_DIN;
        s->model.seed = 1;
        s->model.unit.input = w->opt.official ? UNIT_OFFICIAL : UNIT_PAPER;
        s->model.unit.n_hidden = w->opt.official ? 2 : 1;
        s->model.unit.hidden[0] = w->opt.official ? 80 : 36;
        s->model.unit.hidden[1] = 40;
        s->trained_seq = seed;
        s->n_tables = TABLES;
        for (uint32_t i = 0; i < TABLES; i++) {
            s->row_init[i] = (struct row_init){.seed = i + 1, .scale = 0.01f};
        }
    }
    return s;
}

static int no_memory(struct snapshot *s, struct undine_err *err)
{
    snapshot_free(s);
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a version");
}

int bench_world_full(const struct bench_world *w, const char *dir, uint64_t seed,
                     struct version_info *info, struct undine_err *err)
{
    struct snapshot *s = new_snapshot(w, seed);
    bool filled = s != NULL;
    for (uint32_t i = 0; filled && i < TABLES; i++) {
        filled = fill_table(w, s, i, seed, rows_of(w, i), 0, 1);
    }
    if (!filled) {
        return no_memory(s, err);
    }
    int rc = fill_dense(s, err);
    if (rc == UNDINE_OK) {
        rc =
            version_write(dir, s, &(struct version_extra){.positions_json = "[]"}, true, info, err);
    }
    snapshot_free(s);
    return rc;
}

int bench_world_delta(const struct bench_world *w, const char *dir,
                      const struct version_chain *base, uint64_t seed, uint32_t rows,
                      struct version_info *info, struct undine_err *err)
{
    struct snapshot *s = new_snapshot(w, seed);
    bool filled = s != NULL;
    uint32_t n = rows < w->opt.rows ? rows : w->opt.rows, step = w->opt.rows / (n > 0 ? n : 1);
    for (uint32_t i = 0; filled && i < TABLES; i++) {
        filled = i == TABLE_ITEM ? fill_table(w, s, i, seed, n, (uint32_t)(seed % step), step)
                                 : fill_table(w, s, i, seed, 100, 0, 1);
    }
    if (!filled) {
        return no_memory(s, err);
    }
    s->delta = true;
    int rc = fill_dense(s, err);
    if (rc == UNDINE_OK) {
        rc = version_write_delta(dir, s, base, &(struct version_extra){.positions_json = "[]"},
                                 false, info, err);
    }
    snapshot_free(s);
    return rc;
}

int bench_world_publish(const char *dir, const char *name, struct undine_err *err)
{
    char path[VERSION_PATH_MAX + 16], next[VERSION_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/CURRENT", dir);
    (void)snprintf(next, sizeof next, "%s/CURRENT.next", dir);
    FILE *f = fopen(next, "we");
    if (f == NULL || fprintf(f, "%s\n", name) < 0 || fclose(f) != 0 || rename(next, path) != 0) {
        return undine_err_set(err, UNDINE_EIO, "cannot write %s: %s", next, strerror(errno));
    }
    return UNDINE_OK;
}
