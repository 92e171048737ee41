#include "learner/frozen.h"

#include "base/hash.h"
#include "learner/admission.h"
#include "learner/model/row.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_STATE = 4, LOOKAHEAD = 8, SHARED = 0 /* entry of a table's shared row */ };

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the frozen metrics");
}

int frozen_check(const struct frozen_options *opt, struct undine_err *err)
{
    if (!(opt->sample >= 0.0 && opt->sample <= 1.0)) {
        return undine_err_set(err, UNDINE_ECONFIG, "frozen.sample is %g, expected 0..1",
                              opt->sample);
    }
    return UNDINE_OK;
}

bool frozen_samples(double sample, uint64_t user)
{
    /* A salt of its own: negatives and shards are chosen by hashes too. */
    return (double)(hash_mix64(user ^ UINT64_C(0x66726f7a656e)) >> 11) < sample * 0x1p53;
}

uint64_t frozen_group(uint64_t user, uint64_t block)
{
    return hash_mix64(user ^ hash_mix64(block + 1));
}

/* ---- lists ---- */

static bool list_room(struct frozen_list *l, size_t n)
{
    if (n > l->capacity) {
        size_t capacity = l->capacity > 0 ? l->capacity : 64;
        while (capacity < n) {
            capacity *= 2;
        }
        uint32_t *at = reallocarray(l->at, capacity, sizeof *at);
        if (at == NULL) {
            return false;
        }
        l->at = at;
        l->capacity = capacity;
    }
    return true;
}

static bool list_add(struct frozen_list *l, uint32_t value)
{
    if (!list_room(l, l->n + 1)) {
        return false;
    }
    l->at[l->n++] = value;
    return true;
}

/* ---- open and close ---- */

int frozen_open(struct frozen **out, const struct schema *schema, const struct model_options *model,
                const struct table *tables, const struct frozen_options *opt, uint32_t batch_max,
                struct undine_err *err)
{
    struct frozen *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return no_memory(err);
    }
    f->schema = schema;
    f->tables = tables;
    f->opt = *opt;
    f->batch_max = batch_max;
    for (uint32_t k = 0; k < schema->n_tables; k++) {
        frozen_rows_init(&f->rows_kept[k], tables[k].opt.dim);
        if (!frozen_rows_room(&f->rows_kept[k], tables[k].opt.shared)) {
            frozen_close(f);
            return no_memory(err);
        }
    }
    f->example = calloc(batch_max, sizeof *f->example);
    f->logit = calloc(batch_max, sizeof *f->logit);
    int rc = f->example != NULL && f->logit != NULL ? UNDINE_OK : no_memory(err);
    if (rc == UNDINE_OK) {
        rc = model_open(&f->model, schema, model, err);
    }
    if (rc == UNDINE_OK) {
        rc = model_scratch_open(&f->scratch, f->model, err);
    }
    if (rc != UNDINE_OK) {
        frozen_close(f);
        return rc;
    }
    *out = f;
    return UNDINE_OK;
}

static void sequence_close(struct frozen_sequence *q)
{
    free(q->step_offset.at);
    free(q->of_example.at);
    free(q->number.at);
    for (size_t i = 0; i < SCHEMA_STEP_FIELDS_MAX; i++) {
        free(q->offset[i].at);
        free(q->rows[i].at);
    }
}

void frozen_close(struct frozen *f)
{
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < SCHEMA_TABLES_MAX; i++) {
        frozen_rows_release(&f->rows_kept[i]);
        free(f->entry[i].at);
    }
    for (size_t i = 0; i < SCHEMA_FIELDS_MAX; i++) {
        free(f->offset[i].at);
        free(f->rows[i].at);
    }
    for (size_t i = 0; i < SCHEMA_SEQUENCES_MAX; i++) {
        sequence_close(&f->sequence[i]);
    }
    model_scratch_close(f->scratch);
    model_close(f->model);
    free(f->example);
    free(f->logit);
    free(f);
}

uint64_t frozen_bytes(const struct frozen *f)
{
    uint64_t bytes = 0;
    for (uint32_t k = 0; f != NULL && k < f->schema->n_tables; k++) {
        bytes += frozen_rows_bytes(&f->rows_kept[k]);
    }
    return bytes;
}

/* ---- what is kept ---- */

static void pay(struct frozen_rows *kept, uint32_t entry, float keep)
{
    float *w = kept->weight + (size_t)entry * kept->width;
    for (uint32_t d = 0; d < kept->width; d++) {
        w[d] *= keep;
    }
}

/* Keep a row as it was at the freeze, from its weights, which are still those. */
static inline uint32_t keep_row(struct frozen *f, uint32_t k, const struct table_row *r,
                                const float *weight)
{
    struct frozen_rows *kept = &f->rows_kept[k];
    uint32_t n = kept->n, entry = frozen_rows_keep(kept, r->key, weight);
    if (kept->n > n && f->regularizer.opt.kind == REGULARIZER_L2) {
        pay(kept, n, regularizer_keep(&f->regularizer, k, r->stamp));
    }
    return entry;
}

void frozen_freeze(struct frozen *f, struct model *now, const struct regularizer *regularizer,
                   uint64_t steps)
{
    f->regularizer = *regularizer;
    f->regularizer.steps = steps;
    memcpy(model_values(f->model), model_values(now), model_n_values(now) * sizeof(real));
    for (uint32_t k = 0; k < f->schema->n_tables; k++) {
        frozen_rows_clear(&f->rows_kept[k]);
        if (f->tables[k].opt.shared) { /* room: made when opened */
            const struct table_row *r = table_row(&f->tables[k], 0);
            (void)keep_row(f, k, r, r->value);
        }
    }
    f->active = true;
    f->freeze++;
}

void frozen_thaw(struct frozen *f)
{
    for (uint32_t k = 0; k < f->schema->n_tables; k++) {
        frozen_rows_clear(&f->rows_kept[k]);
    }
    f->active = false;
    f->n = 0;
}

/* Ids that this batch admits had no row at the freeze: scorers give them the shared one. */
static bool keep_admitted(struct frozen *f, uint32_t k, const struct admission_table *admitted)
{
    struct frozen_rows *kept = &f->rows_kept[k];
    if (!frozen_rows_room(kept, admitted->n_admitted)) {
        return false;
    }
    for (uint32_t i = 0; i < admitted->n_admitted; i++) {
        (void)frozen_rows_keep(kept, admitted->admitted[i], kept->weight);
    }
    return true;
}

/* Keep the weights of every row of the batch that is met for the first time since the freeze. */
static bool keep_rows(struct frozen *f, uint32_t k, const struct batch_builder_table *rows)
{
    struct frozen_rows *kept = &f->rows_kept[k];
    struct frozen_list *entry = &f->entry[k];
    if (!frozen_rows_room(kept, rows->n_rows) || !list_room(entry, rows->n_rows)) {
        return false;
    }
    for (uint32_t i = 0; i < rows->n_rows; i++) {
        if (i + LOOKAHEAD < rows->n_rows) {
            frozen_rows_prefetch(kept, table_row(&f->tables[k], rows->row[i + LOOKAHEAD])->key);
        }
        const struct table_row *r = table_row(&f->tables[k], rows->row[i]);
        entry->at[i] = keep_row(f, k, r, rows->weight + (size_t)i * kept->width);
    }
    return true;
}

void frozen_forget(struct frozen *f, uint32_t table, uint64_t key)
{
    struct frozen_rows *kept = &f->rows_kept[table];
    uint32_t entry = frozen_rows_find(kept, key);
    if (entry == FROZEN_ROWS_NONE) {
        return;
    }
    float *weight = kept->weight + (size_t)entry * kept->width;
    if (f->tables[table].opt.shared) {
        memcpy(weight, kept->weight, kept->width * sizeof *weight);
    } else {
        row_initial(weight, kept->width, key, &f->tables[table].opt.init);
    }
}

/* ---- the sampled examples as a batch of their own ---- */

/* An id that waits for a row may have had one at the freeze, and lost it since. */
static uint32_t entry_of_waiting(const struct frozen_rows *kept, uint64_t key)
{
    uint32_t own = frozen_rows_find(kept, key);
    return own != FROZEN_ROWS_NONE ? own : SHARED;
}

/* Append bag `i` of a list of the builder, its rows as entries kept. */
static bool add_bag(const struct frozen *f, uint32_t table, struct frozen_list *offset,
                    struct frozen_list *to, const struct id_list *from, size_t i)
{
    const uint32_t *entry = f->entry[table].at;
    bool shared = f->tables[table].opt.shared;
    uint32_t at = from->offset[i], end = from->offset[i + 1];
    if (!list_room(to, to->n + (end - at))) {
        return false;
    }
    for (; at < end; at++) {
        uint32_t e = entry[from->row[at]];
        if (shared && e == SHARED) {
            e = entry_of_waiting(&f->rows_kept[table], from->key[at]);
        }
        to->at[to->n++] = e;
    }
    return list_add(offset, (uint32_t)to->n);
}

static bool add_sequence(struct frozen *f, const struct batch_builder *b, uint32_t s, uint32_t k)
{
    struct frozen_sequence *q = &f->sequence[s];
    const struct batch_builder_sequences *from = &b->sequence[s];
    if (q->number.at[k] != 0) {
        return list_add(&q->of_example, q->number.at[k] - 1);
    }
    const struct schema_sequence *seq = &f->schema->sequences[s];
    uint32_t first = from->step_offset[k], end = from->step_offset[k + 1];
    for (uint32_t i = 0; i < seq->n_fields; i++) {
        uint32_t table = seq->table[i];
        for (uint32_t step = first; step < end; step++) {
            if (!add_bag(f, table, &q->offset[i], &q->rows[i], &from->step[i], step)) {
                return false;
            }
        }
    }
    uint32_t steps = q->step_offset.at[q->step_offset.n - 1] + (end - first);
    q->number.at[k] = (uint32_t)q->step_offset.n;
    return list_add(&q->step_offset, steps) && list_add(&q->of_example, q->number.at[k] - 1);
}

static bool list_begin(struct frozen_list *l)
{
    l->n = 0;
    return list_add(l, 0);
}

static bool batch_begin(struct frozen *f, const struct batch_builder *b)
{
    bool ok = true;
    for (uint32_t i = 0; i < f->schema->n_fields; i++) {
        f->rows[i].n = 0;
        ok = ok && list_begin(&f->offset[i]);
    }
    for (uint32_t s = 0; s < f->schema->n_sequences; s++) {
        struct frozen_sequence *q = &f->sequence[s];
        q->of_example.n = 0;
        ok = ok && list_begin(&q->step_offset) && list_room(&q->number, b->sequence[s].n);
        for (uint32_t i = 0; i < f->schema->sequences[s].n_fields; i++) {
            q->rows[i].n = 0;
            ok = ok && list_begin(&q->offset[i]);
        }
        if (ok && b->sequence[s].n > 0) {
            memset(q->number.at, 0, b->sequence[s].n * sizeof *q->number.at);
        }
    }
    return ok;
}

static bool batch_add(struct frozen *f, const struct batch_builder *b, uint32_t i)
{
    for (uint32_t k = 0; k < f->schema->n_fields; k++) {
        uint32_t table = f->schema->fields[k].table;
        if (!add_bag(f, table, &f->offset[k], &f->rows[k], &b->field[k], i)) {
            return false;
        }
    }
    for (uint32_t s = 0; s < f->schema->n_sequences; s++) {
        if (!add_sequence(f, b, s, b->sequence[s].of_example[i])) {
            return false;
        }
    }
    f->example[f->n++] = i;
    return true;
}

static void batch_end(struct frozen *f)
{
    struct batch *batch = &f->batch;
    batch->n = f->n;
    for (uint32_t k = 0; k < f->schema->n_tables; k++) {
        const struct frozen_rows *kept = &f->rows_kept[k];
        batch->table[k] =
            (struct batch_table){.n_rows = kept->n, .width = kept->width, .weight = kept->weight};
    }
    for (uint32_t k = 0; k < f->schema->n_fields; k++) {
        batch->field[k] = (struct batch_bags){.offset = f->offset[k].at, .row = f->rows[k].at};
    }
    for (uint32_t s = 0; s < f->schema->n_sequences; s++) {
        const struct frozen_sequence *q = &f->sequence[s];
        batch->sequence[s] = (struct batch_sequences){.n = (uint32_t)(q->step_offset.n - 1),
                                                      .step_offset = q->step_offset.at,
                                                      .of_example = q->of_example.at};
        for (uint32_t i = 0; i < f->schema->sequences[s].n_fields; i++) {
            batch->sequence[s].step[i] =
                (struct batch_bags){.offset = q->offset[i].at, .row = q->rows[i].at};
        }
    }
}

/* Leave out scores that are no numbers: metrics are sums. */
static void drop_not_finite(struct frozen *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (isfinite(f->logit[i])) {
            f->example[n] = f->example[i];
            f->logit[n++] = f->logit[i];
        }
    }
    f->not_finite += f->n - n; /* DROP(frozen_score) */
    f->n = n;
}

static bool keep_batch(struct frozen *f, const struct batch_builder *b)
{
    bool ok = true;
    for (uint32_t k = 0; ok && k < f->schema->n_tables; k++) {
        ok = (b->admission == NULL || keep_admitted(f, k, &b->admission->table[k])) &&
             keep_rows(f, k, &b->table[k]);
    }
    return ok;
}

int frozen_keep(struct frozen *f, const struct batch_builder *b, struct undine_err *err)
{
    return !f->active || keep_batch(f, b) ? UNDINE_OK : no_memory(err);
}

int frozen_score(struct frozen *f, const struct batch_builder *b, struct undine_err *err)
{
    f->n = 0;
    if (!f->active) {
        return UNDINE_OK;
    }
    UNDINE_ASSERT(b->n <= f->batch_max);
    bool ok = keep_batch(f, b) && batch_begin(f, b);
    for (uint32_t i = 0; ok && i < b->n; i++) {
        ok = !frozen_samples(f->opt.sample, b->user[i]) || batch_add(f, b, i);
    }
    if (!ok) {
        return no_memory(err);
    }
    if (f->n == 0) {
        return UNDINE_OK;
    }
    batch_end(f);
    int rc = model_score(f->model, f->scratch, &f->batch, f->logit, err);
    if (rc == UNDINE_OK) {
        drop_not_finite(f);
    }
    return rc;
}

/* ---- state ---- */

struct array_name {
    char text[sizeof((struct snapshot_array *)0)->name];
};

static struct array_name name_of(const char *what, const char *table)
{
    struct array_name name;
    (void)snprintf(name.text, sizeof name.text, "frozen.%s.%s", what, table);
    return name;
}

static bool save_rows(const struct frozen_rows *r, const char *table, struct snapshot *s)
{
    if (r->n == 0) {
        return true;
    }
    uint64_t *key = snapshot_train(s, name_of("key", table).text, SNAPSHOT_U64, r->n, 0);
    float *weight = snapshot_train(s, name_of("weight", table).text, SNAPSHOT_F32, r->n, r->width);
    if (key == NULL || weight == NULL) {
        return false;
    }
    memcpy(key, r->key, r->n * sizeof *key);
    memcpy(weight, r->weight, (size_t)r->n * r->width * sizeof *weight);
    return true;
}

bool frozen_save(const struct frozen *f, struct snapshot *s)
{
    size_t n_values = model_n_values(f->model);
    const uint64_t values[N_STATE] = {f->active, f->freeze, f->not_finite, f->regularizer.steps};
    uint64_t *state = snapshot_train(s, "frozen.state", SNAPSHOT_U64, N_STATE, 0);
    float *dense = snapshot_train(s, "frozen.dense", SNAPSHOT_F32, n_values, 0);
    if (state == NULL || dense == NULL) {
        return false;
    }
    memcpy(state, values, sizeof values);
    memcpy(dense, model_values(f->model), n_values * sizeof *dense);
    for (uint32_t k = 0; k < f->schema->n_tables; k++) {
        if (!save_rows(&f->rows_kept[k], f->schema->tables[k].name, s)) {
            return false;
        }
    }
    return true;
}

static int corrupt(const char *name, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "the arrays of `%s` do not fit the model", name);
}

static int load_rows(struct frozen_rows *r, const char *table, const struct snapshot *s,
                     struct undine_err *err)
{
    struct array_name names[2] = {name_of("key", table), name_of("weight", table)};
    const struct snapshot_array *key = snapshot_find(s->train, s->n_train, names[0].text);
    const struct snapshot_array *weight = snapshot_find(s->train, s->n_train, names[1].text);
    if (key == NULL && weight == NULL) {
        return UNDINE_OK;
    }
    if (key == NULL || weight == NULL || key->type != SNAPSHOT_U64 || key->cols > 1 ||
        weight->type != SNAPSHOT_F32 || weight->rows != key->rows || weight->cols != r->width ||
        key->rows >= UINT32_MAX) {
        return corrupt(names[0].text, err);
    }
    if (!frozen_rows_room(r, (uint32_t)key->rows)) {
        return no_memory(err);
    }
    for (uint64_t i = 0; i < key->rows; i++) {
        (void)frozen_rows_keep(r, ((const uint64_t *)key->data)[i],
                               (const float *)weight->data + i * r->width);
    }
    return r->n == key->rows ? UNDINE_OK : corrupt(names[0].text, err);
}

int frozen_load(struct frozen *f, const struct snapshot *s, const struct regularizer *regularizer,
                struct undine_err *err)
{
    const struct snapshot_array *state = snapshot_find(s->train, s->n_train, "frozen.state");
    const struct snapshot_array *dense = snapshot_find(s->train, s->n_train, "frozen.dense");
    if (state == NULL) {
        return 0;
    }
    size_t n_values = model_n_values(f->model);
    if (state->type != SNAPSHOT_U64 || snapshot_array_bytes(state) != N_STATE * sizeof(uint64_t) ||
        dense == NULL || dense->type != SNAPSHOT_F32 ||
        snapshot_array_bytes(dense) != n_values * sizeof(float)) {
        return corrupt("frozen.state", err);
    }
    const uint64_t *values = state->data;
    f->active = values[0] != 0;
    f->freeze = values[1];
    f->not_finite = values[2];
    f->regularizer = *regularizer;
    f->regularizer.steps = values[3];
    memcpy(model_values(f->model), dense->data, n_values * sizeof(float));
    int rc = UNDINE_OK;
    bool fits = true;
    for (uint32_t k = 0; rc == UNDINE_OK && k < f->schema->n_tables; k++) {
        struct frozen_rows *kept = &f->rows_kept[k];
        rc = load_rows(kept, f->schema->tables[k].name, s, err);
        fits = fits && (kept->n > 0 && kept->key[SHARED] == 0) == f->tables[k].opt.shared;
    }
    bool switched = f->active && !fits;
    f->active = f->active && fits;
    return rc < 0 ? rc : 1 + switched;
}
