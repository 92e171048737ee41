#include "learner/instances.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_STARTS "regularizer.window.starts"
#define NAME_NEXT   "regularizer.window.next"
#define NAME_COUNTS "regularizer.counts"

/* A count is at most 2^64 and a float at least 1e-45: decayed by this much, it is 0. */
#define DECAYED_AWAY 1e-66

int instances_check(const struct instances_options *opt, struct undine_err *err)
{
    switch (opt->mode) {
    case INSTANCES_WINDOW:
        if (opt->window < 1) {
            return undine_err_set(err, UNDINE_ECONFIG,
                                  "regularizer.window is 0, expected at least 1 example");
        }
        if (!(opt->decay > 0.0 && opt->decay <= 0.999)) {
            return undine_err_set(err, UNDINE_ECONFIG,
                                  "regularizer.decay is %g, expected above 0 and at most 0.999",
                                  opt->decay);
        }
        break;
    case INSTANCES_PROJECTED:
        if (opt->epoch < 1) {
            return undine_err_set(err, UNDINE_ECONFIG,
                                  "regularizer.epoch is 0, expected the examples of a pass");
        }
        break;
    case INSTANCES_FIXED:
        if (opt->counts[0] == '\0') {
            return undine_err_set(err, UNDINE_ECONFIG,
                                  "regularizer.counts is empty, expected the directory of a "
                                  "version for regularizer.counter fixed");
        }
        break;
    case INSTANCES_RUNNING:
        break;
    }
    return UNDINE_OK;
}

/* ---- fixed ---- */

static uint32_t table_named(const struct schema *schema, const char *name)
{
    uint32_t k = 0;
    while (k < schema->n_tables && strcmp(schema->tables[k].name, name) != 0) {
        k++;
    }
    return k;
}

static int find_counts(struct instances *c, const struct schema *schema, uint32_t k,
                       struct undine_err *err)
{
    c->table[k] = table_named(&c->known->manifest->schema, schema->tables[k].name);
    if (c->table[k] == c->known->manifest->schema.n_tables) {
        return undine_err_set(err, UNDINE_ECONFIG, "it has no table `%s`", schema->tables[k].name);
    }
    int rc = chain_column(&c->count[k], c->known, c->table[k], CHAIN_TABLE, "count",
                          SAFETENSORS_F32, err);
    if (rc == UNDINE_ECORRUPT || (rc == UNDINE_OK && c->count[k].n_parts == 0)) {
        rc = undine_err_set(err, UNDINE_ECONFIG, "its " MANIFEST_TRAIN " has no counts of `%s`",
                            schema->tables[k].name);
    }
    return rc;
}

static const struct version_reader *newest(const struct instances *c)
{
    return c->known->part[c->known->n_parts - 1]->reader;
}

static int open_known(struct instances *c, const struct schema *schema, struct undine_err *err)
{
    int rc = version_chain_open_path(&c->known, c->opt->counts, NULL, true, err);
    if (rc == UNDINE_OK && safetensors_find(&newest(c)->train, NAME_NEXT) != NULL) {
        rc = undine_err_set(err, UNDINE_ECONFIG,
                            "its counts are a window's, expected those of a whole pass: replay "
                            "with regularizer.counter running");
    }
    for (uint32_t k = 0; rc == UNDINE_OK && k < schema->n_tables; k++) {
        rc = find_counts(c, schema, k, err);
    }
    return rc < 0 ? undine_err_prefix(err, "regularizer.counts %s", c->opt->counts) : rc;
}

static double known_count(const struct instances *c, uint32_t table, uint64_t key)
{
    uint32_t part;
    uint64_t row;
    if (!version_rows_where(&c->known->table[c->table[table]], key, &part, &row)) {
        return 1.0;
    }
    return (double)((const float *)c->count[table].data[part])[row];
}

/* ---- window ---- */

static uint32_t periods_since(const struct instances *c, uint32_t stamp)
{
    uint32_t low = 0, high = c->n; /* starts at and after `high` are later than the stamp */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (c->start[middle] > stamp) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return c->n - high;
}

static void add_start(struct instances *c, uint32_t step)
{
    if (c->n == c->capacity) {
        memmove(c->start, c->start + 1, (c->n - 1) * sizeof *c->start);
        c->n--;
    }
    c->start[c->n++] = step;
}

int instances_open(struct instances *c, const struct instances_options *opt,
                   const struct schema *schema, struct undine_err *err)
{
    *c = (struct instances){.opt = opt, .next_examples = opt->window, .ratio = 1.0};
    if (opt->mode == INSTANCES_WINDOW) {
        c->capacity = (uint32_t)ceil(log(DECAYED_AWAY) / log(opt->decay));
        c->start = calloc(c->capacity, sizeof *c->start);
        if (c->start == NULL) {
            return undine_err_set(err, UNDINE_ENOMEM, "no memory for %u periods", c->capacity);
        }
    }
    return opt->mode == INSTANCES_FIXED ? open_known(c, schema, err) : UNDINE_OK;
}

void instances_release(struct instances *c)
{
    if (c != NULL) {
        free(c->start);
        for (size_t k = 0; k < SCHEMA_TABLES_MAX; k++) {
            chain_column_release(&c->count[k]);
        }
        version_chain_close(c->known);
        *c = (struct instances){0};
    }
}

void instances_begin(struct instances *c, uint32_t stamp, uint64_t before, uint32_t n)
{
    if (c->opt->mode == INSTANCES_WINDOW) {
        for (; before >= c->next_examples; c->next_examples += c->opt->window) {
            add_start(c, stamp);
        }
    }
    if (c->opt->mode == INSTANCES_PROJECTED) {
        c->ratio = fmax(1.0, (double)c->opt->epoch / (double)(before + n));
    }
}

double instances_count(const struct instances *c, uint32_t table, struct table_row *r, float c_mj)
{
    if (c->n > 0 && r->stamp < c->start[c->n - 1]) {
        r->count = (float)((double)r->count * pow(c->opt->decay, periods_since(c, r->stamp)));
    }
    r->count += c_mj;
    return c->known == NULL ? (double)r->count * c->ratio : known_count(c, table, r->key);
}

/* ---- out and back ---- */

static const char *known_checksum(const struct instances *c)
{
    return manifest_find(c->known->manifest, MANIFEST_TRAIN)->checksum;
}

static bool copy_out(struct snapshot *s, const char *name, enum snapshot_type type, uint64_t n,
                     const void *data)
{
    void *to = snapshot_train(s, name, type, n, 0);
    if (to != NULL) {
        memcpy(to, data, n * snapshot_type_bytes(type));
    }
    return to != NULL;
}

bool instances_snapshot(const struct instances *c, struct snapshot *s)
{
    if (c->opt->mode == INSTANCES_WINDOW) {
        return copy_out(s, NAME_NEXT, SNAPSHOT_U64, 1, &c->next_examples) &&
               (c->n == 0 || copy_out(s, NAME_STARTS, SNAPSHOT_U32, c->n, c->start));
    }
    return c->known == NULL ||
           copy_out(s, NAME_COUNTS, SNAPSHOT_U8, HASH128_HEX_LEN, known_checksum(c));
}

static int restore_window(struct instances *c, const struct snapshot *s, struct undine_err *err)
{
    const struct snapshot_array *next = snapshot_find(s->train, s->n_train, NAME_NEXT);
    const struct snapshot_array *starts = snapshot_find(s->train, s->n_train, NAME_STARTS);
    if (next == NULL) {
        c->next_examples = s->examples + c->opt->window;
        return UNDINE_OK;
    }
    if (next->type != SNAPSHOT_U64 || next->rows != 1 || next->cols > 1 ||
        (starts != NULL && (starts->type != SNAPSHOT_U32 || starts->cols > 1))) {
        return undine_err_set(err, UNDINE_ECORRUPT,
                              "arrays `" NAME_NEXT "` and `" NAME_STARTS "` have another shape");
    }
    memcpy(&c->next_examples, next->data, sizeof c->next_examples);
    const uint32_t *from = starts != NULL ? starts->data : NULL;
    for (uint64_t i = 0; starts != NULL && i < starts->rows; i++) {
        add_start(c, from[i]);
    }
    return UNDINE_OK;
}

int instances_restore(struct instances *c, const struct snapshot *s, struct undine_err *err)
{
    if (c->opt->mode == INSTANCES_WINDOW) {
        return restore_window(c, s, err);
    }
    const struct snapshot_array *a = snapshot_find(s->train, s->n_train, NAME_COUNTS);
    if (c->known == NULL || a == NULL) {
        return UNDINE_OK;
    }
    if (a->type != SNAPSHOT_U8 || a->rows != HASH128_HEX_LEN || a->cols > 1 ||
        memcmp(a->data, known_checksum(c), HASH128_HEX_LEN) != 0) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "the model on disk was made with other counts than those of "
                              "regularizer.counts %s: go back to that version (a copy will do), or "
                              "start with an empty state directory",
                              c->opt->counts);
    }
    return UNDINE_OK;
}
