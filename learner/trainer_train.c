/* trainer_train.c: one mini-batch, from ids to new weights.
 *
 * Predict all of it, note the predictions, then learn.  In MODEL_TRAIN with Dice by batch
 * statistics a prediction is normalised by means over the features of its batch-mates, never by a
 * label; with running statistics there is not even that.  With dropout the batch is looked at a
 * second time, thinned, for the gradient alone.
 *
 * A loss or a gradient that is not finite ends the batch there: weights, slots, counts and Dice's
 * moving statistics stay as they were, and the batch is counted as skipped. */
#include "learner/trainer_state.h"

#include "base/clock.h"
#include "learner/loss.h"
#include "learner/trainer_update.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A finite gradient beyond this is none: its square, or a step by it, would not be finite. */
#define GRADIENT_NORM_MAX 1e15

static bool all_finite(const float *x, size_t n)
{
    float sum = 0.0f; /* x - x is 0, or NaN where x is not finite */
    for (size_t i = 0; i < n; i++) {
        sum += x[i] - x[i];
    }
    return sum == 0.0f;
}

/* What the rows of the batch owe is paid in its copies first: the model sees no debts. */
static void catch_up(struct trainer *t)
{
    t->regularizer.steps = t->counters.steps;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        struct batch_builder_table *rows = &t->builder->table[k];
        regularizer_catch_up(&t->regularizer, k, &t->table[k], rows->row, rows->n_rows,
                             rows->weight);
    }
}

/* Copy the parameters that are no weights (Dice's moving statistics). */
static void copy_statistics(const struct trainer *t, float *to, const float *from)
{
    size_t n;
    const struct model_param *p = model_params(t->model, &n);
    for (size_t i = 0; i < n; i++) {
        if (!p[i].trained) {
            size_t size = (size_t)p[i].rows * p[i].cols;
            memcpy(to + p[i].offset, from + p[i].offset, size * sizeof *to);
        }
    }
}

static int note_predictions(struct trainer *t, struct undine_err *err)
{
    const struct batch_builder *b = t->builder;
    int rc = UNDINE_OK;
    (void)pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; i < b->n; i++) {
        double p = popularity_predict(&t->popularity, b->item[i]);
        int label = b->label[i] > 0.0f;
        float popular = (float)(log(p) - log1p(-p));
        if (batch_builder_revises(b, i)) {
            metrics_withdraw(&t->metrics, b->user[i], t->logit[i], b->sample_rate[i]);
            metrics_withdraw(&t->popularity_metrics, b->user[i], popular, b->sample_rate[i]);
        }
        metrics_add(&t->metrics, b->user[i], t->logit[i], label, b->sample_rate[i]);
        metrics_add(&t->popularity_metrics, b->user[i], popular, label, b->sample_rate[i]);
    }
    slices_note(&t->slices, b, t->table, t->logit);
    if (t->opt.model.kind == MODEL_DIN) {
        attention_note(&t->attention, t->scratch, t->trained_seq, b->n);
    }
    (void)pthread_mutex_unlock(&t->lock);
    trainer_gate_note(t);
    for (uint32_t i = 0; rc == UNDINE_OK && i < b->n; i++) {
        double negative = 1.0 / (double)b->sample_rate[i], clicks = (double)b->label[i];
        double shows = clicks > 0.0 ? 1.0 : negative;
        shows -= batch_builder_revises(b, i) ? negative : 0.0;
        rc = popularity_learn(&t->popularity, b->item[i], shows, clicks, err);
    }
    return rc;
}

/* Gradient of the mean loss (loss.h).  The published score is sigmoid(z); what was sampled at rate
 * r is explained by sigmoid(z - ln r). */
static void loss_gradient(struct trainer *t, const float *logit)
{
    const struct batch_builder *b = t->builder;
    float scale = 1.0f / (float)b->n;
    for (uint32_t i = 0; i < b->n; i++) {
        float p = model_sigmoid(logit[i] + b->shift[i]);
        float slope = b->plain ? p - b->label[i] : loss_slope(b->kind[i], p);
        t->dlogit[i] = slope * scale;
    }
}

/* Does this batch belong to a stream that may be learned? */
static int judge(struct trainer *t, struct undine_err *err)
{
    const struct batch_builder *b = t->builder;
    bool features = t->opt.guard.missing_max < 1.0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (batch_builder_revises(b, i)) {
            guard_withdraw(&t->guard, (double)t->logit[i], (double)b->sample_rate[i]);
        }
        guard_add(&t->guard, (double)t->logit[i], (double)b->label[i], (double)b->sample_rate[i]);
        for (uint32_t f = 0; features && f < t->schema.n_fields; f++) {
            const uint32_t *offset = b->field[f].offset;
            t->guard.missing[f] += offset[i + 1] == offset[i];
        }
    }
    int rc = guard_judge(&t->guard, &t->opt.guard, &t->schema, err);
    if (rc < 0 && t->refused != NULL) {
        t->refused(t->refused_payload, t, err != NULL ? err->msg : "stopped by a guard");
    }
    return rc;
}

/* The parameters or rows whose gradient is not usable. */
static const char *unusable_gradient(const struct trainer *t)
{
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        const struct batch_builder_table *rows = &t->builder->table[k];
        if (!all_finite(rows->grad, (size_t)rows->n_rows * t->table[k].opt.dim)) {
            return t->schema.tables[k].name;
        }
    }
    size_t n;
    const struct model_param *p = model_params(t->model, &n);
    for (size_t i = 0; i < n; i++) {
        if (!all_finite(model_grads(t->model) + p[i].offset, (size_t)p[i].rows * p[i].cols)) {
            return p[i].name;
        }
    }
    return "all of the model together (it is too large)";
}

static int skip(struct trainer *t, bool logits, struct undine_err *err)
{
    copy_statistics(t, model_values(t->model), t->statistics);
    if (t->refused != NULL) {
        char why[160];
        (void)snprintf(why, sizeof why, "%s%s is not finite",
                       logits ? "a prediction" : "the gradient of ",
                       logits ? "" : unusable_gradient(t));
        t->refused(t->refused_payload, t, why);
    }
    return guard_skipped(&t->guard, &t->opt.guard, true, err);
}

/* Look at what dropout leaves of the batch, as the gradient's forward; logit (B).
 *
 * Dice's moving statistics are for scorers, who leave nothing out: they are those of the whole
 * batch's forward.  This one starts from where that one started, and leaves no trace in them. */
static int forward_thinned(struct trainer *t, float *logit, struct undine_err *err)
{
    copy_statistics(t, t->statistics_new, model_values(t->model));
    copy_statistics(t, model_values(t->model), t->statistics);
    int rc = dropout_thin(&t->dropout, t->builder, t->trained_seq, err);
    if (rc == UNDINE_OK) {
        rc = model_forward(t->model, t->scratch, &t->dropout.batch, MODEL_TRAIN, logit, err);
    }
    copy_statistics(t, model_values(t->model), t->statistics_new);
    return rc;
}

/* 1 = there is a gradient, 0 = a logit is not finite. */
static int gradient(struct trainer *t, struct undine_err *err)
{
    bool thinned = t->opt.dropout > 0.0;
    const struct batch *batch = &t->builder->batch;
    const float *logit = t->logit;
    int rc = UNDINE_OK;
    if (thinned) {
        rc = forward_thinned(t, t->dlogit, err);
        batch = &t->dropout.batch;
        logit = t->dlogit;
    }
    if (rc < 0 || (thinned && !all_finite(logit, batch->n))) {
        return rc;
    }
    loss_gradient(t, logit);
    model_zero_grads(t->model);
    rc = model_backward(t->model, t->scratch, batch, t->dlogit, err);
    if (rc == UNDINE_OK && thinned) {
        dropout_add_gradient(&t->dropout, t->builder);
    }
    return rc < 0 ? rc : 1;
}

/* 1 = learned, 0 = skipped. */
static int learn(struct trainer *t, struct undine_err *err)
{
    struct batch *batch = &t->builder->batch;
    copy_statistics(t, t->statistics, model_values(t->model));
    int rc = model_forward(t->model, t->scratch, batch, MODEL_TRAIN, t->logit, err);
    if (rc < 0) {
        return rc;
    }
    if (!all_finite(t->logit, batch->n)) {
        return skip(t, true, err);
    }
    rc = judge(t, err);
    if (rc == UNDINE_OK) {
        rc = note_predictions(t, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = gradient(t, err);
    if (rc <= 0) {
        return rc < 0 ? rc : skip(t, true, err);
    }
    double norm = trainer_gradient_norm(t);
    if (!(norm <= GRADIENT_NORM_MAX)) {
        return skip(t, false, err);
    }
    trainer_update(t, norm);
    rc = guard_skipped(&t->guard, &t->opt.guard, false, err);
    return rc < 0 ? rc : 1;
}

void trainer_publish_progress(struct trainer *t)
{
    uint64_t rows = 0, tombstones = 0;
    for (uint32_t k = 0; k < t->schema.n_tables; k++) {
        rows += t->table[k].n_rows;
        tombstones += t->table[k].n_tombstones;
    }
    uint64_t unswept = retention_unswept(&t->retention, false);
    uint64_t waiting = admission_waiting(&t->admission) - retention_unswept(&t->retention, true);
    (void)pthread_mutex_lock(&t->lock);
    t->rows = rows - unswept;
    t->tombstones = tombstones + unswept;
    t->ids_waiting = waiting;
    t->ids_admitted = t->admission.admitted;
    t->published_retention = t->retention.counters;
    t->table_bytes = t->budget.used_bytes;
    t->published_seq = t->trained_seq;
    t->published_event_time_ms = t->event_time_ms;
    trainer_frozen_publish(t);
    (void)pthread_mutex_unlock(&t->lock);
}

int trainer_train_batch(struct trainer *t, struct undine_err *err)
{
    struct batch_builder *b = t->builder;
    UNDINE_ASSERT(b->n > 0);
    int64_t start_ns = clock_monotonic_ns();
    uint32_t now = trainer_now(t);
    int rc = trainer_rows_begin(t, err);
    rc = rc < 0 ? rc : batch_builder_gather(b, t->table, t->workers, err);
    if (rc == UNDINE_OK) {
        rc = trainer_frozen_score(t, err);
    }
    if (rc == UNDINE_OK) {
        catch_up(t);
        rc = learn(t, err);
    }
    int learned = rc;
    rc = rc < 0 ? rc : trainer_rows_end(t, now, learned, err);
    if (rc < 0) {
        return undine_err_prefix(err, "training examples %llu to %llu",
                                 (unsigned long long)t->trained_seq,
                                 (unsigned long long)(t->trained_seq + b->n - 1));
    }
    uint64_t positives = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        positives += b->label[i] > 0.0f;
    }
    (void)pthread_mutex_lock(&t->lock);
    t->counters.examples += b->n;
    t->counters.positives += positives;
    t->counters.batches++;
    t->counters.batches_skipped += learned == 0; /* DROP(batch_not_finite) */
    t->counters.example_digest = t->next_digest;
    t->training_ns += clock_monotonic_ns() - start_ns;
    (void)pthread_mutex_unlock(&t->lock);
    t->trained_seq += b->n;
    t->event_time_ms = b->last_emit_ms;
    trainer_frozen_due(t, t->counters.examples - b->n);
    batch_builder_clear(b);
    trainer_changes_piece(t);
    trainer_publish_progress(t);
    return UNDINE_OK;
}
