#include "learner/trainer.h"

#include "base/hash.h"
#include "learner/blas.h"
#include "learner/trainer_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 1 << 20 };

static double rate_of(const struct trainer_options *opt, uint32_t table)
{
    return opt->table_rate[table] > 0.0 ? opt->table_rate[table] : opt->optimizer.rate;
}

/* Rates, their schedule, and what reckons with them. */
static int check_rates(const struct trainer_options *opt, struct undine_err *err)
{
    double highest = 0.0;
    int rc = optimizer_check(&opt->optimizer, err);
    for (uint32_t k = 0; rc == UNDINE_OK && k < SCHEMA_TABLES_MAX; k++) {
        struct optimizer_options o = opt->optimizer;
        o.rate = rate_of(opt, k);
        highest = fmax(highest, o.rate);
        rc = optimizer_check(&o, err);
    }
    if (rc == UNDINE_OK) {
        rc = schedule_check(&opt->schedule, err);
    }
    if (rc == UNDINE_OK) {
        rc = regularizer_check(&opt->regularizer, highest, err);
    }
    if (rc < 0 || opt->optimizer.kind != OPTIMIZER_FTRL) {
        return rc;
    }
    if (opt->schedule.warmup > 0 || opt->schedule.decay != SCHEDULE_CONSTANT) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "optimizer.kind is ftrl, whose rate cannot change on the way: "
                              "expected no optimizer.warmup and no optimizer.decay");
    }
    if (regularizer_decoupled(&opt->regularizer)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "optimizer.kind is ftrl, whose weights follow from its sums: "
                              "expected no decoupled decay beside it, but optimizer.l2");
    }
    return UNDINE_OK;
}

static int check_options(const struct trainer_options *opt, struct undine_err *err)
{
    if (opt->batch_max < 1 || opt->batch_max > BATCH_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "batch_max is %u, expected 1..%d",
                              opt->batch_max, BATCH_MAX);
    }
    if (opt->max_delay_ms < 0) {
        return undine_err_set(err, UNDINE_ECONFIG, "max_delay_ms is %lld, expected at least 0",
                              (long long)opt->max_delay_ms);
    }
    if (!(opt->clip_norm >= 0.0) || !(opt->row_scale >= 0.0)) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "clip_norm is %g and row_scale %g, expected at least 0",
                              opt->clip_norm, opt->row_scale);
    }
    if (opt->metrics_window > (uint64_t)1 << 32) {
        return undine_err_set(err, UNDINE_ECONFIG, "metrics_window is %llu, expected at most 2^32",
                              (unsigned long long)opt->metrics_window);
    }
    if (opt->workers > WORKERS_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "workers is %u, expected at most %d",
                              opt->workers, WORKERS_MAX);
    }
    if (opt->admission > ADMISSION_MAX) {
        return undine_err_set(err, UNDINE_ECONFIG, "admission is %u, expected at most %d",
                              opt->admission, ADMISSION_MAX);
    }
    int rc = guard_check(&opt->guard, err);
    if (rc == UNDINE_OK) {
        rc = dropout_check(opt->dropout, err);
    }
    if (rc == UNDINE_OK) {
        rc = frozen_check(&opt->frozen, err);
    }
    return rc < 0 ? rc : check_rates(opt, err);
}

int trainer_check(const struct schema *schema, const struct trainer_options *opt,
                  struct undine_err *err)
{
    int rc = check_options(opt, err);
    rc = rc < 0 ? rc : slices_check(&opt->slices, schema, err);
    if (rc == UNDINE_OK && opt->gate.pairs_max > 0 && !(opt->frozen.sample > 0.0)) {
        rc = undine_err_set(err, UNDINE_ECONFIG,
                            "frozen.sample is 0, expected more: the gate and rollback by "
                            "calibration look at the scores of sampled users");
    }
    if (rc == UNDINE_OK && opt->changes && opt->regularizer.kind == REGULARIZER_L2) {
        rc = undine_err_set(err, UNDINE_ECONFIG,
                            "regularizer.kind is l2, which changes rows that no batch touches: "
                            "expected another kind, or whole versions alone");
    }
    if (rc < 0) {
        (void)undine_err_prefix(err, "learner");
        return rc;
    }
    return model_check(schema, &opt->model, err);
}

/* An own table holds the ids of the one that it stands for, yet starts with other weights. */
static uint64_t row_seed(const struct trainer *t, uint32_t table)
{
    const struct schema_table *of = &t->schema.tables[table];
    return of->own ? hash_mix64(t->opt.model.seed ^ hash_table_seed(of->name)) : t->opt.model.seed;
}

static int open_tables(struct trainer *t, struct undine_err *err)
{
    t->budget.max_bytes = t->opt.memory_max_bytes;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        uint32_t dim = model_row_width(&t->schema, &t->opt.model, k);
        struct table_options opt = {
            .dim = dim,
            .n_slots = dim * optimizer_slots(t->opt.optimizer.kind),
            .slot_initial = optimizer_slot_initial(&t->opt.optimizer),
            .shared = admission_on(t->opt.admission),
            .init = {.seed = row_seed(t, k),
                     .scale = (float)t->opt.row_scale,
                     .n_zeros = dim - t->schema.tables[k].dim},
        };
        int rc = table_init(&t->table[k], &opt, &t->budget, err);
        if (rc < 0) {
            return undine_err_prefix(err, "table `%s`", t->schema.tables[k].name);
        }
    }
    if (!admission_on(t->opt.admission)) {
        return UNDINE_OK;
    }
    return admission_open(&t->admission, t->schema.n_tables, t->opt.admission, &t->budget, err);
}

static int open_arrays(struct trainer *t, struct undine_err *err)
{
    size_t n = model_n_values(t->model);
    size_t slots = n * optimizer_slots(t->opt.optimizer.kind);
    t->dense_slot = calloc(slots + 1, sizeof *t->dense_slot);
    t->statistics = calloc(n + 1, sizeof *t->statistics);
    t->statistics_new = calloc(t->opt.dropout > 0.0 ? n + 1 : 1, sizeof *t->statistics_new);
    t->logit = calloc(t->opt.batch_max, sizeof *t->logit);
    t->dlogit = calloc(t->opt.batch_max, sizeof *t->dlogit);
    t->window_copy = calloc(t->opt.metrics_window + 1, sizeof *t->window_copy);
    if (t->dense_slot == NULL || t->statistics == NULL || t->statistics_new == NULL ||
        t->logit == NULL || t->dlogit == NULL || t->window_copy == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a trainer");
    }
    for (size_t i = 0; i < slots; i++) {
        t->dense_slot[i] = optimizer_slot_initial(&t->opt.optimizer);
    }
    return UNDINE_OK;
}

static int open_parts(struct trainer *t, struct undine_err *err)
{
    int rc = open_tables(t, err);
    rc = rc < 0 ? rc : trainer_rows_open(t, err);
    if (rc == UNDINE_OK) {
        rc = regularizer_open(&t->regularizer, &t->opt.regularizer, &t->schema, t->opt.table_rate,
                              err);
    }
    if (rc == UNDINE_OK) {
        rc = model_open(&t->model, &t->schema, &t->opt.model, err);
    }
    if (rc == UNDINE_OK) {
        rc = workers_open(&t->workers, t->opt.workers > 0 ? t->opt.workers : 1, err);
    }
    if (rc == UNDINE_OK) {
        model_set_product(t->model, blas_product());
        model_set_workers(t->model, t->workers);
        rc = model_scratch_open(&t->scratch, t->model, err);
    }
    if (rc == UNDINE_OK) {
        rc = open_arrays(t, err);
    }
    if (rc == UNDINE_OK) {
        rc = batch_builder_open(&t->builder, &t->schema, t->opt.batch_max, err);
    }
    if (rc == UNDINE_OK && admission_on(t->admission.k)) {
        t->builder->admission = &t->admission;
    }
    if (rc == UNDINE_OK) {
        rc = dropout_open(&t->dropout, &t->schema, t->opt.dropout, t->opt.model.seed,
                          t->opt.batch_max, err);
    }
    if (rc == UNDINE_OK) {
        rc = metrics_init(&t->metrics, t->opt.metrics_window, err);
    }
    if (rc == UNDINE_OK) {
        rc = metrics_init(&t->popularity_metrics, 0, err);
    }
    if (rc == UNDINE_OK) {
        rc = slices_open(&t->slices, &t->opt.slices, &t->schema, t->opt.metrics_window, err);
    }
    if (rc == UNDINE_OK) {
        rc = popularity_open(&t->popularity, POPULARITY_ROWS_MAX, err);
    }
    if (rc == UNDINE_OK) {
        rc = trainer_frozen_open(t, err);
    }
    return rc;
}

int trainer_open(struct trainer **out, const struct schema *schema,
                 const struct trainer_options *opt, struct undine_err *err)
{
    int rc = trainer_check(schema, opt, err);
    if (rc < 0) {
        return rc;
    }
    struct trainer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for a trainer");
    }
    t->schema = *schema;
    t->opt = *opt;
    for (uint32_t k = 0; k < SCHEMA_TABLES_MAX; k++) {
        t->opt.table_rate[k] = rate_of(opt, k);
    }
    t->event_time_ms = t->published_event_time_ms = INT64_MIN;
    attention_init(&t->attention, &t->schema, opt->metrics_window / 2);
    example_block_init(&t->block);
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_mutex_init(&t->query_lock, NULL);
    rc = open_parts(t, err);
    if (rc < 0) {
        trainer_close(t);
        return rc;
    }
    trainer_changes_open(t);
    trainer_publish_progress(t);
    *out = t;
    return UNDINE_OK;
}

void trainer_close(struct trainer *t)
{
    if (t == NULL) {
        return;
    }
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        table_release(&t->table[k]);
    }
    admission_release(&t->admission);
    retention_release(&t->retention);
    regularizer_release(&t->regularizer);
    model_scratch_close(t->scratch);
    model_close(t->model);
    workers_close(t->workers);
    batch_builder_close(t->builder);
    dropout_release(&t->dropout);
    example_block_release(&t->block);
    metrics_release(&t->metrics);
    metrics_release(&t->popularity_metrics);
    metrics_release(&t->frozen_metrics);
    slices_release(&t->slices);
    frozen_close(t->frozen);
    snapshot_free(t->open);
    snapshot_free(t->spare);
    trainer_gate_close(t);
    popularity_release(&t->popularity);
    free(t->dense_slot);
    free(t->statistics);
    free(t->statistics_new);
    free(t->logit);
    free(t->dlogit);
    free(t->window_copy);
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_mutex_destroy(&t->query_lock);
    free(t);
}

void trainer_on_refused(struct trainer *t, trainer_refused_fn fn, void *payload)
{
    t->refused = fn;
    t->refused_payload = payload;
}

void trainer_begin_at(struct trainer *t, uint64_t seq)
{
    UNDINE_ASSERT(t->counters.batches == 0 && t->builder->n == 0);
    t->next_seq = t->trained_seq = seq;
    trainer_publish_progress(t);
}

uint64_t trainer_seq(const struct trainer *t)
{
    return t->trained_seq;
}

int64_t trainer_next_close_ms(const struct trainer *t)
{
    int64_t close_ms;
    if (t->builder->n == 0 ||
        __builtin_add_overflow(t->builder->first_emit_ms, t->opt.max_delay_ms, &close_ms)) {
        return INT64_MAX;
    }
    return close_ms;
}

/* Drop the rows of a user's own id: the entry carries the ids of the schema's user_id fields. */
static int forget(struct trainer *t, const struct example *e, struct undine_err *err)
{
    const uint64_t *ids = e->ids;
    uint64_t rows = 0;
    for (uint32_t f = 0; f < t->schema.n_fields; f++) {
        const struct schema_field *field = &t->schema.fields[f];
        for (uint32_t i = 0; field->user_id && i < e->counts[f]; i++) {
            int rc = trainer_rows_forget(t, field->table, ids[i], err);
            if (rc < 0) {
                return rc;
            }
            rows += (uint64_t)rc;
            if (t->frozen != NULL) {
                frozen_forget(t->frozen, field->table, ids[i]);
            }
            if (t->frozen_next != NULL) {
                frozen_forget(t->frozen_next, field->table, ids[i]);
            }
        }
        ids += e->counts[f];
    }
    (void)pthread_mutex_lock(&t->lock);
    t->counters.rows_forgotten += rows; /* DROP(row_forgotten) */
    t->counters.example_digest = t->next_digest;
    (void)pthread_mutex_unlock(&t->lock);
    t->next_seq++;
    t->trained_seq = t->next_seq;
    t->event_time_ms = e->emit_ms;
    trainer_publish_progress(t);
    return UNDINE_OK;
}

/* Must the open batch close before this example joins? */
static bool closes_before(const struct trainer *t, const struct example *e)
{
    if (t->builder->n == 0) {
        return false;
    }
    return e->kind == EXAMPLE_FORGET || e->emit_ms >= trainer_next_close_ms(t);
}

/* Take one example of the block in.  1 = a batch was trained, 0 = none, < 0 = error. */
static int take(struct trainer *t, const struct example_block *block, uint32_t i,
                struct undine_err *err)
{
    const struct example *e = &block->examples[i];
    int rc;
    if (closes_before(t, e)) {
        rc = trainer_train_batch(t, err);
        return rc < 0 ? rc : 1;
    }
    t->next_digest = example_block_chain(block, &t->schema, i, t->next_digest);
    if (e->kind == EXAMPLE_FORGET) {
        return forget(t, e, err);
    }
    rc = batch_builder_add(t->builder, block, i, err);
    if (rc < 0) {
        return undine_err_prefix(err, "example %llu", (unsigned long long)t->next_seq);
    }
    t->next_seq++;
    if (t->builder->n < t->opt.batch_max) {
        return 0;
    }
    rc = trainer_train_batch(t, err);
    return rc < 0 ? rc : 1;
}

static bool inside(const struct example_block *block, uint64_t seq)
{
    return seq >= block->first_seq && seq - block->first_seq < block->n_examples;
}

int trainer_learn(struct trainer *t, const struct example_block *block, uint32_t batches_max,
                  struct undine_err *err)
{
    uint32_t done = 0;
    while (done < batches_max && inside(block, t->next_seq)) {
        int rc = take(t, block, (uint32_t)(t->next_seq - block->first_seq), err);
        if (rc < 0) {
            return rc;
        }
        done += (uint32_t)rc;
    }
    return (int)done;
}

int trainer_learn_due(struct trainer *t, int64_t watermark_ms, struct undine_err *err)
{
    if (t->builder->n == 0 || watermark_ms < trainer_next_close_ms(t)) {
        return 0;
    }
    int rc = trainer_train_batch(t, err);
    return rc < 0 ? rc : 1;
}

int trainer_step(struct trainer *t, struct example_log *log, uint32_t batches_max,
                 struct undine_err *err)
{
    uint32_t done = 0;
    while (done < batches_max) {
        /* The watermark is read before the log: whatever lies below it is then seen by the read. */
        int64_t watermark_ms = example_log_watermark(log);
        int rc = 1;
        if (!inside(&t->block, t->next_seq)) {
            rc = example_log_read(log, t->next_seq, &t->block, err);
        }
        if (rc > 0) {
            UNDINE_ASSERT(inside(&t->block, t->next_seq));
            rc = trainer_learn(t, &t->block, batches_max - done, err);
        } else if (rc == 0) {
            t->block.n_examples = 0;
            rc = trainer_learn_due(t, watermark_ms, err);
            if (rc == 0) {
                break;
            }
        }
        if (rc < 0) {
            return rc;
        }
        done += (uint32_t)rc;
    }
    example_log_consumed(log, t->trained_seq);
    return (int)done;
}

static void copy_totals(struct trainer *t, struct trainer_metrics *out)
{
    const struct metrics *m = &t->metrics;
    *out = (struct trainer_metrics){
        .examples = t->counters.examples,
        .positives = t->counters.positives,
        .batches = t->counters.batches,
        .batches_skipped = t->counters.batches_skipped,
        .rows = t->rows,
        .rows_forgotten = t->counters.rows_forgotten,
        .rows_expired = t->published_retention.rows_expired,
        .rows_evicted = t->published_retention.rows_evicted,
        .waiting_dropped = t->published_retention.waiting_dropped,
        .ids_waiting = t->ids_waiting,
        .ids_admitted = t->ids_admitted,
        .tombstones = t->tombstones,
        .example_digest = t->counters.example_digest,
        .auc = metrics_auc(m),
        .logloss = metrics_logloss(&m->sums),
        .normalized_entropy = metrics_normalized_entropy(&m->sums),
        .calibration = metrics_calibration(&m->sums),
        .ece = metrics_ece(m->bin),
        .popularity_rows_refused = t->popularity.rows_refused,
        .popularity_auc = metrics_auc(&t->popularity_metrics),
        .popularity_logloss = metrics_logloss(&t->popularity_metrics.sums),
        .seconds_training = (double)t->training_ns * 1e-9,
        .workers = (uint32_t)workers_count(t->workers),
        .table_bytes = t->table_bytes,
        .trained_seq = t->published_seq,
        .event_time_ms = t->published_event_time_ms,
    };
}

/* Under the lock. */
static void attention_totals(const struct trainer *t, struct trainer_metrics *out)
{
    out->n_attention = t->opt.model.kind == MODEL_DIN ? t->schema.n_sequences : 0;
    for (uint32_t q = 0; q < out->n_attention; q++) {
        memcpy(out->attention[q].sequence, t->schema.sequences[q].name,
               sizeof out->attention[q].sequence);
        attention_summarize(&t->attention, q, &out->attention[q].weights);
    }
}

void trainer_metrics(struct trainer *t, struct trainer_metrics *out)
{
    (void)pthread_mutex_lock(&t->query_lock);
    (void)pthread_mutex_lock(&t->lock);
    copy_totals(t, out);
    memcpy(out->bin, t->metrics.bin, sizeof out->bin);
    trainer_frozen_totals(t, &out->frozen);
    attention_totals(t, out);
    size_t n = metrics_window(&t->metrics, t->window_copy);
    (void)pthread_mutex_unlock(&t->lock);

    struct metrics_summary window;
    metrics_rows_summarize(t->window_copy, n, &window);
    out->gauc = window.gauc;
    out->gauc_users = window.gauc_users;
    out->gauc_users_one_class = window.gauc_users_one_class;
    out->window_auc = window.window_auc;
    out->window_logloss = window.window_logloss;
    out->window_normalized_entropy = window.window_normalized_entropy;
    out->window_calibration = window.window_calibration;
    out->window_ece = window.window_ece;

    (void)pthread_mutex_lock(&t->lock);
    n = metrics_window(&t->frozen_metrics, t->window_copy);
    (void)pthread_mutex_unlock(&t->lock);
    n = metrics_rows_settle(t->window_copy, n);
    struct metrics_gauc gauc = metrics_rows_gauc(t->window_copy, n);
    out->frozen.gauc = gauc.gauc;
    out->frozen.gauc_users = gauc.users;
    out->frozen.gauc_users_one_class = gauc.users_one_class;
    (void)pthread_mutex_unlock(&t->query_lock);
}

void trainer_slices(struct trainer *t, struct trainer_slices *out)
{
    (void)pthread_mutex_lock(&t->query_lock);
    out->n = t->opt.slices.n;
    for (uint32_t k = 0; k < out->n; k++) {
        const struct metrics *m = &t->slices.metrics[k];
        memcpy(out->slice[k].name, t->opt.slices.slice[k].name, sizeof out->slice[k].name);
        (void)pthread_mutex_lock(&t->lock);
        metrics_summarize(m, &out->slice[k].metrics);
        size_t n = metrics_window(m, t->window_copy);
        (void)pthread_mutex_unlock(&t->lock);
        metrics_rows_summarize(t->window_copy, n, &out->slice[k].metrics);
    }
    (void)pthread_mutex_unlock(&t->query_lock);
}
