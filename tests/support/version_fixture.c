#include "tests/support/version_fixture.h"

#include "base/random.h"
#include "tests/support/event_schema.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void require(bool ok, const char *what, const struct undine_err *err)
{
    if (!ok) {
        (void)fprintf(stderr, "version fixture: %s: %s\n", what, err != NULL ? err->msg : "");
        abort();
    }
}

void version_fixture_schema(struct schema *s, const struct version_fixture *f)
{
    require(event_schema(s) == UNDINE_OK, "schema", NULL);
    s->tables[FIELD_UID].dim = 4;
    s->tables[FIELD_VIDEO].dim = f->video_dim > 0 ? f->video_dim : 8;
    s->tables[FIELD_HOUR].dim = 3;
    s->sequences[0].length = f->full_model ? 50 : 10;
    s->sequences[0].own_tables = f->own_tables;
    if (f->two_sequences) {
        s->sequences[s->n_sequences++] = (struct schema_sequence){
            .name = "carts", .length = 5, .n_fields = 1, .field = {FIELD_TAG}, .from_behavior = 2};
    }
    require(schema_check(s, NULL) == UNDINE_OK, "schema", NULL);
}

static struct model_options fixture_model(const struct version_fixture *f)
{
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.seed = f->seed;
    if (f->full_model) {
        return o;
    }
    o.unit.n_hidden = 1;
    o.unit.hidden[0] = 6;
    o.mlp.n_hidden = 2;
    o.mlp.hidden[0] = 10;
    o.mlp.hidden[1] = 5;
    if (f->form != NULL) {
        f->form(&o);
    }
    return o;
}

static void *zeroed(struct snapshot *s, size_t n, size_t size)
{
    void *p = arena_calloc(&s->memory, n, size);
    require(p != NULL, "memory", NULL);
    return p;
}

static void fill_table(struct snapshot *s, uint32_t which, const struct version_fixture *f)
{
    struct snapshot_table *t = &s->table[which];
    const struct schema_table *of = &s->schema.tables[which];
    uint32_t dim = model_row_width(&s->schema, &s->model, which);
    *t = (struct snapshot_table){.dim = dim, .n_slots = dim, .n_rows = f->n_rows};
    memcpy(t->name, of->name, sizeof t->name);
    t->key = zeroed(s, f->n_rows, sizeof *t->key);
    t->weight = zeroed(s, f->n_rows, dim * sizeof *t->weight);
    t->slot = zeroed(s, f->n_rows, dim * sizeof *t->slot);
    t->count = zeroed(s, f->n_rows, sizeof *t->count);
    t->seen_day = zeroed(s, f->n_rows, sizeof *t->seen_day);
    t->stamp = zeroed(s, f->n_rows, sizeof *t->stamp);
    for (uint32_t i = 0; i < f->n_rows; i++) {
        char text[16];
        uint32_t at = f->reversed ? f->n_rows - 1 - i : i;
        int len = snprintf(text, sizeof text, "%u", i);
        struct random r = {hash_mix64(f->seed * 1000003 + which * 65537 + i)};
        t->key[at] = f->shared && i == 0 ? 0 : hash_feature(of->hash_seed, text, (size_t)len);
        t->count[at] = (float)i;
        t->seen_day[at] = 19000 + i;
        t->stamp[at] = 7 + i;
        for (uint32_t d = 0; d < dim; d++) {
            t->weight[at * dim + d] = (float)(0.3 * random_normal(&r));
            t->slot[at * dim + d] = (float)random_unit(&r);
        }
    }
}

/* A third of a normal more, and where it has to stay above 0, a half to three halves. */
static void spread(struct model *m, const struct model_param *p)
{
    real *value = model_values(m) + p->offset;
    struct random r = {hash_bytes(p->name, strlen(p->name))};
    bool positive = strstr(p->name, ".var") != NULL || strstr(p->name, ".updates") != NULL;
    for (size_t i = 0; i < (size_t)p->rows * p->cols; i++) {
        value[i] =
            positive ? (real)(0.5 + random_unit(&r)) : value[i] + (real)(random_normal(&r) / 3.0);
    }
}

static void fill_dense(struct snapshot *s, const struct version_fixture *f)
{
    struct model *m = NULL;
    struct undine_err err = {0};
    size_t n;
    require(model_open(&m, &s->schema, &s->model, &err) == UNDINE_OK, "model", &err);
    const struct model_param *p = model_params(m, &n);
    for (size_t i = 0; i < n; i++) {
        size_t size = (size_t)p[i].rows * p[i].cols;
        float *to = snapshot_dense(s, p[i].name, SNAPSHOT_F32, p[i].rows, p[i].cols);
        require(to != NULL, "memory", NULL);
        if (f->spread) {
            spread(m, &p[i]);
        }
        memcpy(to, model_values(m) + p[i].offset, size * sizeof *to);
    }
    model_close(m);
}

struct snapshot *version_fixture_snapshot(const struct version_fixture *f)
{
    struct snapshot *s = snapshot_new();
    require(s != NULL, "memory", NULL);
    version_fixture_schema(&s->schema, f);
    s->model = fixture_model(f);
    s->trained_seq = f->trained_seq;
    s->event_time_ms = 1650812741436;
    s->examples = f->trained_seq;
    s->positives = f->trained_seq / 10;
    s->batches = f->trained_seq / 8;
    s->n_tables = s->schema.n_tables;
    for (uint32_t i = 0; i < s->n_tables; i++) {
        s->row_init[i] = (struct row_init){.seed = UINT64_MAX - f->seed - i,
                                           .scale = 0.05f,
                                           .n_zeros = model_row_width(&s->schema, &s->model, i) -
                                                      s->schema.tables[i].dim};
        fill_table(s, i, f);
    }
    fill_dense(s, f);
    uint64_t *counters = snapshot_train(s, "trainer.counters", SNAPSHOT_U64, 3, 0);
    double *sums = snapshot_train(s, "metrics.sums", SNAPSHOT_F64, 2, 2);
    uint8_t *bytes = snapshot_train(s, "metrics.bytes", SNAPSHOT_U8, 5, 0);
    int64_t *times = snapshot_train(s, "metrics.times", SNAPSHOT_I64, 1, 0);
    require(counters != NULL && sums != NULL && bytes != NULL && times != NULL, "memory", NULL);
    memcpy(counters, (uint64_t[]){1, 2, UINT64_MAX}, 3 * sizeof *counters);
    memcpy(sums, (double[]){0.5, -1.0, 2.0, 1e300}, 4 * sizeof *sums);
    memcpy(bytes, "bytes", 5);
    times[0] = INT64_MIN;
    static const char metrics[] = "{\"auc\":0.75,\"logloss\":0.25}";
    s->metrics_json = arena_strndup(&s->memory, metrics, sizeof metrics - 1);
    return s;
}

void version_fixture_write(const char *dir, const struct version_fixture *f, bool publish,
                           struct version_info *info)
{
    struct undine_err err = {0};
    struct version_extra extra = {.config_digest = 0xfedcba9876543210U,
                                  .positions_json = "[{\"topic\":\"t\",\"offset\":7}]",
                                  .created_ms = 1650812741999,
                                  .shard = 2};
    struct snapshot *s = version_fixture_snapshot(f);
    require(version_write(dir, s, &extra, publish, info, &err) == UNDINE_OK, "write", &err);
    snapshot_free(s);
}

void version_fixture_temp_dir(char out[VERSION_PATH_MAX])
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(out, VERSION_PATH_MAX, "%s/undine-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    require(mkdtemp(out) != NULL, out, NULL);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void version_fixture_remove(const char *dir)
{
    require(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, dir, NULL);
}

uint8_t *version_fixture_read(const char *path, size_t *len)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    require(f != NULL && fstat(fileno(f), &st) == 0, path, NULL);
    uint8_t *data = malloc((size_t)st.st_size + 1);
    require(data != NULL && fread(data, 1, (size_t)st.st_size, f) == (size_t)st.st_size, path,
            NULL);
    (void)fclose(f);
    *len = (size_t)st.st_size;
    return data;
}

void version_fixture_overwrite(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    require(f != NULL && fwrite(data, 1, len, f) == len && fclose(f) == 0, path, NULL);
}
