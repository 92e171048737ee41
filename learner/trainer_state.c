/* trainer_state.c: a trainer's whole state out into a snapshot, and back.
 *
 * A trainer that is restored goes on bit for bit as the one that was copied.  Names (part of the
 * version format, docs/formats.md):
 *   dense  <parameter>            as model_params lists them: weights and Dice's moving statistics
 *   train  optimizer.<parameter>  (slots, size) f32: state of a trained parameter, kind by kind
 *          trainer.counters       (7) u64: examples, positives, batches, skipped, steps, forgotten,
 *                                 example digest
 *          trainer.retention      (3) u64: rows expired, rows evicted, waiting ids dropped
 *          trainer.guard          struct guard as it is
 *          regularizer.*          where it has state of its own: l2.log_keep (tables) f64,
 *                                 l2.since (1) u64; window.next (1) u64, window.starts (n) u32;
 *                                 counts (32) u8: checksum of the file that fixed counts are from
 *          metrics.*              metrics_state.h; popularity.* likewise, without a window
 *          slice.<name>.*         slices.h; attention.<sequence>.* attention.h
 *          admission.*            trainer_admission.c
 *          frozen.*               frozen.h, frozen.metrics.* as metrics.*
 *          popularity.*           popularity_state.h
 *
 * Arrays without elements are left out.  Rows of the tables are in
 * snapshot_table; the open batch is not part of the state: its examples lie at trained_seq and are
 * read again. */
#include "learner/trainer_state.h"

#include "learner/metrics_state.h"
#include "learner/model/mapped_file.h"
#include "learner/popularity_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_COUNTERS = 7, N_RETENTION = 3, ROWS_RUN = 1024, ROWS_PASSED = 64 * ROWS_RUN };
_Static_assert(sizeof(struct guard) == (2 + 4 + SCHEMA_FIELDS_MAX) * sizeof(uint64_t),
               "docs/formats.md says where each of its numbers stands");
_Static_assert(sizeof(struct retention_counters) == N_RETENTION * sizeof(uint64_t),
               "retention_counters is saved as an array");
_Static_assert(sizeof(struct trainer_counters) == N_COUNTERS * sizeof(uint64_t),
               "trainer_counters is saved as an array");

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a snapshot");
}

/* "optimizer.<parameter>", "metrics.<what>" */
struct array_name {
    char text[sizeof((struct snapshot_array *)0)->name];
};

static struct array_name name_of(const char *prefix, const char *rest)
{
    struct array_name name;
    (void)snprintf(name.text, sizeof name.text, "%s.%s", prefix, rest);
    return name;
}

static bool put(struct snapshot *s, const char *prefix, const char *rest, enum snapshot_type type,
                uint64_t rows, uint64_t cols, const void *data, size_t bytes)
{
    if (rows == 0) {
        return true;
    }
    void *to = snapshot_train(s, name_of(prefix, rest).text, type, rows, cols);
    if (to != NULL) {
        memcpy(to, data, bytes);
    }
    return to != NULL;
}

/* ---- out ---- */

/* Pay in the copy what its rows owe, and keep the raw weights beside it: paid in the trainer too,
 * the moments at which copies are made would show in its last bits. */
static bool copy_debts(const struct trainer *t, uint32_t k, struct snapshot *s,
                       struct snapshot_table *out)
{
    uint64_t n = out->n_rows * out->dim;
    if (t->regularizer.opt.kind != REGULARIZER_L2 || n == 0) {
        return true;
    }
    out->raw = arena_alloc(&s->memory, n * sizeof *out->raw);
    if (out->raw == NULL) {
        return false;
    }
    memcpy(out->raw, out->weight, n * sizeof *out->raw);
    for (uint64_t i = 0; i < n; i++) {
        out->weight[i] *= regularizer_keep(&t->regularizer, k, out->stamp[i / out->dim]);
    }
    return true;
}

bool trainer_copy_keys(const struct table *t, const char *name, struct snapshot *s,
                       struct snapshot_table *out)
{
    uint64_t n = t->n_rows;
    *out = (struct snapshot_table){.dim = t->opt.dim, .n_slots = t->opt.n_slots, .n_rows = n};
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    out->key = arena_calloc(&s->memory, n, sizeof *out->key);
    out->count = arena_calloc(&s->memory, n, sizeof *out->count);
    out->seen_day = arena_calloc(&s->memory, n, sizeof *out->seen_day);
    out->stamp = arena_calloc(&s->memory, n, sizeof *out->stamp);
    if (out->key == NULL || out->count == NULL || out->seen_day == NULL || out->stamp == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct table_row *r = table_row(t, i);
        out->key[i] = r->key;
        out->count[i] = r->count;
        out->seen_day[i] = r->seen_day;
        out->stamp[i] = r->stamp;
    }
    return true;
}

static bool copy_table(const struct table *t, const char *name, struct snapshot *s,
                       struct snapshot_table *out)
{
    if (!trainer_copy_keys(t, name, s, out)) {
        return false;
    }
    size_t dim = out->dim, n_slots = out->n_slots;
    out->weight = arena_calloc(&s->memory, out->n_rows, dim * sizeof *out->weight);
    out->slot =
        n_slots > 0 ? arena_calloc(&s->memory, out->n_rows, n_slots * sizeof *out->slot) : NULL;
    if (out->weight == NULL || (n_slots > 0 && out->slot == NULL)) {
        return false;
    }
    for (uint32_t i = 0; i < out->n_rows; i++) {
        const struct table_row *r = table_row(t, i);
        memcpy(out->weight + i * dim, r->value, dim * sizeof(float));
        if (n_slots > 0) {
            memcpy(out->slot + i * n_slots, r->value + dim, n_slots * sizeof(float));
        }
    }
    return true;
}

static bool copy_dense(const struct trainer *t, struct snapshot *s)
{
    size_t n, slots = optimizer_slots(t->opt.optimizer.kind);
    const struct model_param *p = model_params(t->model, &n);
    for (size_t i = 0; i < n; i++) {
        size_t size = (size_t)p[i].rows * p[i].cols;
        float *to = snapshot_dense(s, p[i].name, SNAPSHOT_F32, p[i].rows, p[i].cols);
        if (to == NULL) {
            return false;
        }
        memcpy(to, model_values(t->model) + p[i].offset, size * sizeof *to);
        if (p[i].trained && slots > 0 &&
            !put(s, "optimizer", p[i].name, SNAPSHOT_F32, slots, size,
                 t->dense_slot + slots * p[i].offset, slots * size * sizeof(float))) {
            return false;
        }
    }
    return true;
}

static bool copy_rows(struct trainer *t, struct snapshot *s)
{
    s->n_tables = t->schema.n_tables;
    t->regularizer.steps = t->counters.steps;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        s->row_init[k] = t->table[k].opt.init;
        if (!copy_table(&t->table[k], t->schema.tables[k].name, s, &s->table[k]) ||
            !copy_debts(t, k, s, &s->table[k])) {
            return false;
        }
    }
    return trainer_admission_copy(t, s);
}

/* All but rows and what waits for one. */
static bool copy_rest(struct trainer *t, struct snapshot *s)
{
    return copy_dense(t, s) &&
           put(s, "trainer", "counters", SNAPSHOT_U64, N_COUNTERS, 0, &t->counters,
               sizeof t->counters) &&
           put(s, "trainer", "guard", SNAPSHOT_U8, sizeof t->guard, 0, &t->guard,
               sizeof t->guard) &&
           put(s, "trainer", "retention", SNAPSHOT_U64, N_RETENTION, 0, &t->retention.counters,
               sizeof t->retention.counters) &&
           trainer_admission_save(t, s) &&
           regularizer_snapshot(&t->regularizer, t->schema.n_tables, s) &&
           metrics_save(&t->metrics, "metrics", s) &&
           metrics_save(&t->popularity_metrics, "popularity", s) &&
           popularity_save(&t->popularity, s) && slices_save(&t->slices, s) &&
           attention_save(&t->attention, s) && trainer_frozen_save(t, s);
}

int trainer_copy(struct trainer *t, bool changes, struct snapshot **out, struct undine_err *err)
{
    int rc = retention_sweep(&t->retention, true, err);
    if (rc < 0) {
        return rc;
    }
    struct snapshot *s = changes ? trainer_changes_close(t) : snapshot_new();
    if (s == NULL) {
        return no_memory(err);
    }
    s->schema = t->schema;
    s->model = t->opt.model;
    s->trained_seq = t->trained_seq;
    s->event_time_ms = t->event_time_ms;
    s->examples = t->counters.examples;
    s->positives = t->counters.positives;
    s->batches = t->counters.batches;
    if (!(changes || copy_rows(t, s)) || !copy_rest(t, s)) {
        snapshot_free(s);
        return no_memory(err);
    }
    /* What was touched and erased before it is told, or needs no mention. */
    trainer_changes_begin(t);
    *out = s;
    return 1;
}

int trainer_snapshot(struct trainer *t, struct snapshot **out, struct undine_err *err)
{
    int rc = trainer_copy(t, false, out, err);
    return rc < 0 ? rc : UNDINE_OK;
}

/* ---- back ---- */

static int unfit(struct undine_err *err, const char *what)
{
    return undine_err_set(err, UNDINE_ESTATE, "%s", what);
}

static int check_fit(const struct trainer *t, const struct snapshot *s, struct undine_err *err)
{
    if (s->n_tables != t->schema.n_tables ||
        schema_model_digest(&s->schema) != schema_model_digest(&t->schema)) {
        return unfit(err, "the model on disk was made with other tables, fields or sequences: go "
                          "back to them, or "
                          "start with an empty state directory");
    }
    if (s->n_train == 0) {
        return unfit(err, "the version holds nothing for a trainer");
    }
    char *theirs = model_options_to_json(&s->model), *ours = model_options_to_json(&t->opt.model);
    int rc = UNDINE_OK;
    if (theirs == NULL || ours == NULL) {
        rc = no_memory(err);
    } else if (strcmp(theirs, ours) != 0) {
        enum { SHOWN_MAX = 60 };
        int difference = 0, at = 0; /* from the beginning of the first member that differs */
        for (; theirs[at] == ours[at]; at++) {
            bool member = (theirs[at] == '{' || theirs[at] == ',') && theirs[at + 1] == '"';
            difference = member ? at + 1 : difference;
        }
        rc = undine_err_set(
            err, UNDINE_ESTATE,
            "the model on disk was made with other options (`model` of the "
            "configuration): go back to them, or start with an empty state directory; "
            "there %.*s, configured %.*s",
            SHOWN_MAX, theirs + difference, SHOWN_MAX, ours + difference);
    }
    free(theirs);
    free(ours);
    return rc;
}

/* The named array of n elements into `to`; UNDINE_ESTATE where it is missing or has another shape.
 */
static int get(const struct snapshot_array *arrays, uint32_t n_arrays, const char *name,
               enum snapshot_type type, uint64_t n, void *to, size_t bytes, struct undine_err *err)
{
    const struct snapshot_array *a = snapshot_find(arrays, n_arrays, name);
    if (a == NULL || a->type != type || a->rows * (a->cols > 0 ? a->cols : 1) != n) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "the version has no array `%s` of %" PRIu64 " numbers", name, n);
    }
    memcpy(to, a->data, bytes);
    return UNDINE_OK;
}

static int get_train(const struct snapshot *s, const char *prefix, const char *rest,
                     enum snapshot_type type, uint64_t n, void *to, size_t bytes,
                     struct undine_err *err)
{
    return get(s->train, s->n_train, name_of(prefix, rest).text, type, n, to, bytes, err);
}

/* weight: from's, or from's raw ones. */
static int restore_rows(struct table *t, const struct snapshot_table *from, const float *weight,
                        uint64_t at, size_t n, struct undine_err *err)
{
    uint32_t rows[ROWS_RUN];
    for (size_t i = 0; i < n; i++) {
        if (from->key[at + i] == 0 && !t->opt.shared) {
            return undine_err_set(err, UNDINE_ECORRUPT, "a row has the id 0");
        }
    }
    int rc = table_restore(t, from->key + at, rows, n, err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        struct table_row *r = table_row(t, rows[i]);
        r->count = from->count[at + i];
        r->seen_day = from->seen_day[at + i];
        r->stamp = from->stamp[at + i];
        memcpy(r->value, weight + (at + i) * from->dim, from->dim * sizeof(float));
        if (from->n_slots > 0) {
            memcpy(r->value + from->dim, from->slot + (at + i) * from->n_slots,
                   from->n_slots * sizeof(float));
        }
    }
    return UNDINE_OK;
}

/* Rows [begin, end) are in the table: what they lie in need not stay in memory beside it. */
static void pass_rows(const struct snapshot_table *from, const float *weight, uint64_t begin,
                      uint64_t end)
{
    uint64_t n = end - begin, dim = from->dim, slots = from->n_slots;
    mapped_file_pass(from->key + begin, n * sizeof *from->key);
    mapped_file_pass(weight + begin * dim, n * dim * sizeof *weight);
    mapped_file_pass(from->count + begin, n * sizeof *from->count);
    mapped_file_pass(from->seen_day + begin, n * sizeof *from->seen_day);
    mapped_file_pass(from->stamp + begin, n * sizeof *from->stamp);
    if (slots > 0) {
        mapped_file_pass(from->slot + begin * slots, n * slots * sizeof *from->slot);
    }
}

static int restore_table(struct table *t, const struct snapshot_table *from, bool mapped, bool raw,
                         struct restore_progress *progress, struct undine_err *err)
{
    if (from->dim != t->opt.dim || from->n_slots != t->opt.n_slots) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "table `%s` has rows of %u weights and %u optimizer numbers, the "
                              "configuration asks for %u and %u",
                              from->name, from->dim, from->n_slots, t->opt.dim, t->opt.n_slots);
    }
    const float *weight = raw && from->raw != NULL ? from->raw : from->weight;
    bool had_shared = from->n_rows > 0 && from->key[0] == 0; /* row 0, and first when sorted too */
    uint64_t passed = 0;
    int rc = UNDINE_OK;
    for (uint64_t at = had_shared && !t->opt.shared; rc == UNDINE_OK && at < from->n_rows;
         at += ROWS_RUN) {
        uint64_t left = from->n_rows - at;
        size_t n = left < ROWS_RUN ? (size_t)left : ROWS_RUN;
        rc = restore_rows(t, from, weight, at, n, err);
        restore_progress_add(progress, n);
        if (mapped && at + n - passed >= ROWS_PASSED) {
            pass_rows(from, weight, passed, at + n);
            passed = at + n;
        }
    }
    if (rc == UNDINE_OK && t->n_rows + had_shared != from->n_rows + t->opt.shared) {
        rc = undine_err_set(err, UNDINE_ECORRUPT, "table `%s` holds an id twice", from->name);
    }
    return rc;
}

static int restore_rows_all(struct trainer *t, const struct snapshot *s, struct undine_err *err)
{
    bool raw = false;
    uint64_t rows = 0;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        rows += s->table[k].n_rows;
    }
    restore_progress_begin(t->opt.progress, RESTORE_ROWS, rows);
    int rc =
        regularizer_restore(&t->regularizer, t->schema.n_tables, s, t->counters.steps, &raw, err);
    for (uint32_t k = 0; rc == UNDINE_OK && k < t->schema.n_tables; k++) {
        rc =
            restore_table(&t->table[k], &s->table[k], s->mapped != NULL, raw, t->opt.progress, err);
    }
    /* Versions from before there was retention have dropped nothing. */
    if (rc == UNDINE_OK && snapshot_find(s->train, s->n_train, "trainer.retention") != NULL) {
        rc = get_train(s, "trainer", "retention", SNAPSHOT_U64, N_RETENTION, &t->retention.counters,
                       sizeof t->retention.counters, err);
    }
    rc = rc < 0 ? rc : trainer_admission_restore(t, s, err);
    return rc < 0 ? rc : retention_restore(&t->retention, err);
}

static int restore_dense(struct trainer *t, const struct snapshot *s, struct undine_err *err)
{
    size_t n, slots = optimizer_slots(t->opt.optimizer.kind);
    const struct model_param *p = model_params(t->model, &n);
    for (size_t i = 0; i < n; i++) {
        size_t size = (size_t)p[i].rows * p[i].cols;
        int rc = get(s->dense, s->n_dense, p[i].name, SNAPSHOT_F32, size,
                     model_values(t->model) + p[i].offset, size * sizeof(float), err);
        if (rc == UNDINE_OK && p[i].trained && slots > 0) {
            rc = get_train(s, "optimizer", p[i].name, SNAPSHOT_F32, slots * size,
                           t->dense_slot + slots * p[i].offset, slots * size * sizeof(float), err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return UNDINE_OK;
}

int trainer_restore(struct trainer *t, const struct snapshot *s, struct undine_err *err)
{
    UNDINE_ASSERT(t->trained_seq == 0 && t->next_seq == 0 && t->counters.batches == 0);
    int rc = check_fit(t, s, err);
    (void)pthread_mutex_lock(&t->lock);
    if (rc == UNDINE_OK) {
        rc = get_train(s, "trainer", "counters", SNAPSHOT_U64, N_COUNTERS, &t->counters,
                       sizeof t->counters, err);
    }
    /* Versions from before the guards have none; their window begins anew. */
    if (rc == UNDINE_OK && snapshot_find(s->train, s->n_train, "trainer.guard") != NULL) {
        rc = get_train(s, "trainer", "guard", SNAPSHOT_U8, sizeof t->guard, &t->guard,
                       sizeof t->guard, err);
    }
    (void)pthread_mutex_unlock(&t->lock);
    rc = rc == UNDINE_OK ? restore_rows_all(t, s, err) : rc;
    if (rc == UNDINE_OK) {
        rc = restore_dense(t, s, err);
    }
    (void)pthread_mutex_lock(&t->lock);
    if (rc == UNDINE_OK) {
        rc = metrics_load(&t->metrics, "metrics", s, err);
    }
    if (rc == UNDINE_OK) {
        rc = metrics_load(&t->popularity_metrics, "popularity", s, err);
    }
    if (rc == UNDINE_OK) {
        rc = slices_load(&t->slices, s, err);
    }
    if (rc == UNDINE_OK) {
        rc = attention_load(&t->attention, s, err);
    }
    if (rc == UNDINE_OK) {
        rc = trainer_frozen_restore(t, s, err);
    }
    (void)pthread_mutex_unlock(&t->lock);
    if (rc == UNDINE_OK) {
        rc = popularity_load(&t->popularity, s, err);
    }
    if (rc < 0) {
        return rc;
    }
    t->trained_seq = t->next_seq = s->trained_seq;
    t->next_digest = t->counters.example_digest;
    t->event_time_ms = s->event_time_ms;
    trainer_changes_restored(t, s);
    trainer_publish_progress(t);
    return UNDINE_OK;
}
