/* trainer_gate.c: what a gate wants to know of a trainer: the newest examples with the learner's
 * prediction and the published version's score, and which version the latter is of.
 *
 * The published version is the frozen model (frozen.h).  While a candidate is being written and
 * judged it is not known yet which of the two is next: the rows of both are kept, and the published
 * one goes on scoring.  The learner is not touched by it. */
#include "learner/trainer_state.h"

#include <math.h>

int trainer_gate_open(struct trainer *t, struct undine_err *err)
{
    if (t->opt.gate.pairs_max == 0) {
        return UNDINE_OK;
    }
    int rc = frozen_open(&t->frozen_next, &t->schema, &t->opt.model, t->table, &t->opt.frozen,
                         t->opt.batch_max, err);
    return rc < 0 ? rc : gate_window_init(&t->gate, &t->opt.gate, err);
}

void trainer_gate_close(struct trainer *t)
{
    frozen_close(t->frozen_next);
    gate_window_release(&t->gate);
}

void trainer_gate_note(struct trainer *t)
{
    const struct frozen *f = t->frozen;
    const struct batch_builder *b = t->builder;
    if (t->opt.gate.pairs_max == 0) {
        return;
    }
    uint32_t scored = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!frozen_samples(t->opt.frozen.sample, b->user[i])) {
            continue;
        }
        bool has = scored < f->n && f->example[scored] == i;
        struct gate_pair pair = {.group = frozen_group(b->user[i], f->freeze),
                                 .published = has ? f->logit[scored] : NAN,
                                 .learner = t->logit[i],
                                 .sample_rate = b->sample_rate[i],
                                 .positive = b->label[i] > 0.0f,
                                 .revises = batch_builder_revises(b, i)};
        scored += has;
        gate_window_add(&t->gate, &pair);
    }
}

void trainer_candidate(struct trainer *t)
{
    if (t->frozen_next != NULL) {
        t->frozen_next->freeze = t->frozen->freeze;
        t->frozen_next->not_finite = t->frozen->not_finite;
        frozen_freeze(t->frozen_next, t->model, &t->regularizer, t->counters.steps);
    }
}

void trainer_candidate_judged(struct trainer *t, uint64_t published)
{
    struct frozen *next = t->frozen_next;
    if (next == NULL || !next->active) {
        return;
    }
    if (published != 0) {
        next->not_finite = t->frozen->not_finite;
        t->frozen_next = t->frozen;
        t->frozen = next;
        gate_window_publish(&t->gate, published, false);
    }
    frozen_thaw(t->frozen_next);
    trainer_publish_progress(t);
}

void trainer_published(struct trainer *t, uint64_t version, enum trainer_published_kind kind)
{
    if (t->frozen_next == NULL || version == t->gate.version) {
        return;
    }
    frozen_thaw(t->frozen_next);
    if (kind == TRAINER_PUBLISHED_THIS) {
        trainer_freeze(t);
    } else if (kind == TRAINER_PUBLISHED_OTHER) {
        frozen_thaw(t->frozen);
    }
    gate_window_publish(&t->gate, version, kind == TRAINER_PUBLISHED_OTHER);
}

uint64_t trainer_published_version(const struct trainer *t)
{
    return t->gate.version;
}

const struct gate_block *trainer_gate_block(const struct trainer *t)
{
    return &t->gate.block;
}
