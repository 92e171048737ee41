/* trainer_frozen.c: frozen metrics beside the progressive ones of a trainer (frozen.h).
 *
 * The learner is not touched by it: with and without, the model is the same bit for bit. */
#include "learner/metrics_state.h"
#include "learner/trainer_state.h"

#include <math.h>

int trainer_frozen_open(struct trainer *t, struct undine_err *err)
{
    if (t->opt.frozen.sample <= 0.0) {
        return trainer_gate_open(t, err);
    }
    int rc = frozen_open(&t->frozen, &t->schema, &t->opt.model, t->table, &t->opt.frozen,
                         t->opt.batch_max, err);
    rc = rc < 0 ? rc : metrics_init(&t->frozen_metrics, t->opt.metrics_window, err);
    return rc < 0 ? rc : trainer_gate_open(t, err);
}

int trainer_frozen_score(struct trainer *t, struct undine_err *err)
{
    struct frozen *f = t->frozen;
    if (f == NULL) {
        return UNDINE_OK;
    }
    const struct batch_builder *b = t->builder;
    int rc = frozen_score(f, b, err);
    if (rc == UNDINE_OK && t->frozen_next != NULL) {
        rc = frozen_keep(t->frozen_next, b, err);
    }
    if (rc < 0) {
        return rc;
    }
    (void)pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; i < f->n; i++) {
        uint32_t e = f->example[i];
        uint64_t group = frozen_group(b->user[e], f->freeze);
        if (batch_builder_revises(b, e)) {
            metrics_withdraw(&t->frozen_metrics, group, f->logit[i], b->sample_rate[e]);
        }
        metrics_add(&t->frozen_metrics, group, f->logit[i], b->label[e] > 0.0f, b->sample_rate[e]);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return UNDINE_OK;
}

void trainer_freeze(struct trainer *t)
{
    if (t->frozen != NULL) {
        frozen_freeze(t->frozen, t->model, &t->regularizer, t->counters.steps);
        trainer_publish_progress(t);
    }
}

void trainer_frozen_due(struct trainer *t, uint64_t examples_before)
{
    uint64_t block = t->opt.frozen.block;
    if (block > 0 && examples_before / block != t->counters.examples / block) {
        trainer_freeze(t);
    }
}

void trainer_frozen_publish(struct trainer *t)
{
    if (t->frozen != NULL) {
        t->frozen_shown.freezes = t->frozen->freeze;
        t->frozen_shown.skipped = t->frozen->not_finite;
        t->frozen_shown.bytes = frozen_bytes(t->frozen) + frozen_bytes(t->frozen_next);
    }
}

void trainer_frozen_totals(struct trainer *t, struct trainer_frozen *out)
{
    const struct metrics *m = &t->frozen_metrics;
    *out = (struct trainer_frozen){.auc = NAN, .gauc = NAN, .logloss = NAN, .calibration = NAN};
    if (t->frozen != NULL) {
        *out = t->frozen_shown;
        out->examples = m->examples;
        out->auc = metrics_auc(m);
        out->logloss = metrics_logloss(&m->sums);
        out->calibration = metrics_calibration(&m->sums);
    }
}

bool trainer_frozen_save(const struct trainer *t, struct snapshot *s)
{
    return t->frozen == NULL ||
           (frozen_save(t->frozen, s) && metrics_save(&t->frozen_metrics, "frozen.metrics", s) &&
            gate_window_save(&t->gate, s));
}

int trainer_frozen_restore(struct trainer *t, const struct snapshot *s, struct undine_err *err)
{
    if (t->frozen == NULL) {
        return UNDINE_OK;
    }
    int rc = frozen_load(t->frozen, s, &t->regularizer, err);
    if ((rc == 0 || rc == 2) && t->opt.frozen.block == 0 && t->frozen_next == NULL) { /* scorers have this very version */
        frozen_freeze(t->frozen, t->model, &t->regularizer, t->counters.steps);
    }
    bool whole = rc == 1;
    if (rc > 0) {
        rc = metrics_load(&t->frozen_metrics, "frozen.metrics", s, err);
    }
    rc = rc < 0 ? rc : gate_window_load(&t->gate, s, err);
    if (rc == UNDINE_OK && !whole) { /* what the scores would be compared with is not there */
        gate_window_publish(&t->gate, 0, true);
    }
    return rc;
}
