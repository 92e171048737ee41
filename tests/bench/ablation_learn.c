#include "tests/bench/ablation_learn.h"

#include "learner/trainer_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const struct ablation_stream *s;
    const struct schema *schema;
    const struct trainer_options *opt;
    const struct ablation_plan *plan;
    struct trainer *trainer;
    uint64_t n_learned;       /* examples of a pass; the others are held out */
    uint32_t pass;            /* from 0 */
    struct metrics_row *rows; /* (s->n) predictions of this pass, by example; weight 0 = none */
    struct metrics_row *work; /* (s->n) what metrics may reorder */
    struct example *examples; /* of a block, at the time of this pass */
    size_t examples_capacity;
    ablation_result_fn result;
    void *payload;
};

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory to learn with");
}

/* ---- judging ---- */

static void note(struct run *r, uint64_t i, float logit)
{
    const struct ablation_stream *s = r->s;
    float weight = s->label[i] != 0 ? -1.0f : 1.0f / s->rate[i];
    r->rows[i] = (struct metrics_row){
        .user = s->user[i], .logit = logit, .weight = isfinite(logit) ? weight : 0.0f};
}

static struct ablation_score score(const struct run *r, uint64_t from, uint64_t to)
{
    size_t n = 0;
    for (uint64_t i = from; i < to; i++) {
        r->work[n] = r->rows[i];
        n += r->rows[i].weight != 0.0f;
    }
    struct metrics_sums sums = metrics_rows_sums(r->work, n);
    struct ablation_score out = {
        .n = n, .logloss = metrics_logloss(&sums), .calibration = metrics_calibration(&sums)};
    out.gauc = metrics_rows_gauc(r->work, n).gauc;
    out.auc = metrics_rows_auc(r->work, n);
    return out;
}

/* Predictions of the open batch by a frozen copy, noted from example `first` on. */
static int score_batch(struct run *r, struct trainer *copy, uint64_t first, struct undine_err *err)
{
    struct batch_builder *b = copy->builder;
    int rc = batch_builder_gather(b, copy->table, NULL, err);
    if (rc == UNDINE_OK) {
        rc = model_forward(copy->model, copy->scratch, &b->batch, MODEL_SERVE, copy->logit, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < b->n; i++) {
        note(r, first + i, copy->logit[i]);
    }
    batch_builder_clear(b);
    return rc;
}

/* Before they are overwritten: the scores of the rest by the same model in other numbers. */
static double farthest(const struct run *r, const struct metrics_row *other)
{
    double most = 0.0;
    for (uint64_t i = r->n_learned; i < r->s->n; i++) {
        double apart = fabs((double)model_sigmoid(r->rows[i].logit) -
                            (double)model_sigmoid(other[i - r->n_learned].logit));
        most = apart > most ? apart : most;
    }
    return most;
}

static int score_rest(struct run *r, struct trainer *copy, struct undine_err *err)
{
    const struct ablation_stream *s = r->s;
    uint64_t first = r->n_learned, next = r->n_learned;
    int rc = UNDINE_OK;
    for (size_t k = 0; rc == UNDINE_OK && k < s->n_blocks; k++) {
        const struct example_block *b = &s->blocks[k];
        for (uint32_t i = 0; rc == UNDINE_OK && i < b->n_examples; i++) {
            if (b->first_seq + i < r->n_learned) {
                continue;
            }
            rc = batch_builder_add(copy->builder, b, i, err);
            next++;
            if (rc == UNDINE_OK && (next - first == r->opt->batch_max || next == s->n)) {
                rc = score_batch(r, copy, first, err);
                first = next;
            }
        }
    }
    return rc;
}

static int score_int16(struct run *r, struct trainer *copy, struct ablation_result *out,
                       struct undine_err *err)
{
    uint64_t n = r->s->n - r->n_learned;
    struct metrics_row *f32 = calloc(n > 0 ? n : 1, sizeof *f32);
    if (f32 == NULL) {
        return no_memory(err);
    }
    memcpy(f32, r->rows + r->n_learned, n * sizeof *f32);
    int rc = model_lower(copy->model, err);
    if (rc == UNDINE_OK) {
        rc = score_rest(r, copy, err);
    }
    if (rc == UNDINE_OK) {
        out->held_int16 = score(r, r->n_learned, r->s->n);
        out->int16_apart = farthest(r, f32);
    }
    free(f32);
    return rc;
}

/* A scorer gives an id that it does not know its initial row (scorer/request.c); in a copy of the
 * trainer the same row is made, and goes with the copy. */
static int score_held(struct run *r, struct ablation_result *out, struct undine_err *err)
{
    struct trainer *copy = NULL;
    struct snapshot *snapshot = NULL;
    int rc = trainer_snapshot(r->trainer, &snapshot, err);
    if (rc == UNDINE_OK) {
        rc = trainer_open(&copy, r->schema, r->opt, err);
    }
    if (rc == UNDINE_OK) {
        rc = trainer_restore(copy, snapshot, err);
    }
    if (rc == UNDINE_OK) {
        rc = score_rest(r, copy, err);
    }
    if (rc == UNDINE_OK) {
        out->held = score(r, r->n_learned, r->s->n);
        rc = model_lowers() ? score_int16(r, copy, out, err) : UNDINE_OK;
    }
    trainer_close(copy);
    snapshot_free(snapshot);
    return rc;
}

static int model_digest_of(struct run *r, struct hash128 *out, struct undine_err *err)
{
    struct snapshot *snapshot = NULL;
    int rc = trainer_snapshot(r->trainer, &snapshot, err);
    if (rc == UNDINE_OK) {
        rc = snapshot_sort(snapshot, err);
    }
    if (rc == UNDINE_OK) {
        *out = snapshot_digest(snapshot);
    }
    snapshot_free(snapshot);
    return rc;
}

static int tell(struct run *r, uint64_t learned, struct undine_err *err)
{
    struct trainer_metrics m;
    trainer_metrics(r->trainer, &m);
    struct ablation_result out = {.pass = r->pass + 1,
                                  .examples = learned,
                                  .held_out = r->n_learned < r->s->n,
                                  .all = score(r, 0, learned),
                                  .seconds = m.seconds_training,
                                  .rows = m.rows,
                                  .batches_skipped = m.batches_skipped,
                                  .example_digest = m.example_digest};
    int rc = UNDINE_OK;
    if (learned == r->n_learned) {
        out.first = score(r, 0, learned / 2);
        out.second = score(r, learned / 2, learned);
    }
    if (out.held_out) {
        rc = score_held(r, &out, err);
    } else {
        rc = model_digest_of(r, &out.model_digest, err);
    }
    return rc == UNDINE_OK ? r->result(r->payload, &out, err) : rc;
}

/* ---- learning ---- */

/* What the trainer predicted since it stood at example `before`. */
static void take_predictions(struct run *r, uint64_t before)
{
    uint64_t first = before - r->pass * r->n_learned, n = trainer_seq(r->trainer) - before;
    for (uint64_t i = 0; i < n; i++) {
        note(r, first + i, r->trainer->logit[i]);
    }
}

/* A block as this pass sees it: examples of the learned part, numbered and timed behind the passes
 * before. */
static int block_of_pass(struct run *r, const struct example_block *b, struct example_block *out,
                         struct undine_err *err)
{
    uint32_t n = b->n_examples;
    if (b->first_seq + n > r->n_learned) {
        n = b->first_seq < r->n_learned ? (uint32_t)(r->n_learned - b->first_seq) : 0;
    }
    if (n > r->examples_capacity) {
        struct example *examples = reallocarray(r->examples, b->n_examples, sizeof *examples);
        if (examples == NULL) {
            return no_memory(err);
        }
        r->examples = examples;
        r->examples_capacity = b->n_examples;
    }
    for (uint32_t i = 0; i < n; i++) {
        r->examples[i] = b->examples[i];
        r->examples[i].time_ms += (int64_t)r->pass * r->s->span_ms;
        r->examples[i].emit_ms += (int64_t)r->pass * r->s->span_ms;
    }
    *out = *b;
    out->first_seq = b->first_seq + r->pass * r->n_learned;
    out->n_examples = n;
    out->examples = r->examples;
    return UNDINE_OK;
}

/* One batch of the block.  1 = learned, 0 = the block is through. */
static int learn_batch(struct run *r, const struct example_block *block, struct undine_err *err)
{
    uint64_t before = trainer_seq(r->trainer);
    int rc = block != NULL ? trainer_learn(r->trainer, block, 1, err)
                           : trainer_learn_due(r->trainer, INT64_MAX, err);
    if (rc > 0) {
        take_predictions(r, before);
    }
    return rc;
}

/* Has a point been reached at which the rest is scored?  The pass's end is told apart. */
static bool at_point(const struct run *r, uint64_t *next_point)
{
    uint64_t learned = trainer_seq(r->trainer) - r->pass * r->n_learned;
    if (r->plan->points < 2 || learned < *next_point || learned == r->n_learned) {
        return false;
    }
    while (*next_point <= learned) {
        *next_point += r->n_learned / r->plan->points;
    }
    return true;
}

static int learn_pass(struct run *r, struct undine_err *err)
{
    uint64_t next_point = r->plan->points > 1 ? r->n_learned / r->plan->points : r->n_learned;
    int rc = UNDINE_OK;
    for (size_t k = 0; rc >= 0 && k < r->s->n_blocks; k++) {
        struct example_block block;
        rc = block_of_pass(r, &r->s->blocks[k], &block, err);
        while (rc >= 0 && (rc = learn_batch(r, &block, err)) > 0) {
            if (r->n_learned < r->s->n && at_point(r, &next_point)) {
                rc = tell(r, trainer_seq(r->trainer) - r->pass * r->n_learned, err);
            }
        }
    }
    if (rc >= 0) {
        rc = learn_batch(r, NULL, err);
    }
    return rc < 0 ? rc : tell(r, r->n_learned, err);
}

int ablation_learn(const struct ablation_stream *s, const struct schema *schema,
                   const struct trainer_options *opt, const struct ablation_plan *plan,
                   ablation_result_fn result, void *payload, struct undine_err *err)
{
    UNDINE_ASSERT(plan->passes >= 1 && plan->holdout >= 0.0 && plan->holdout < 1.0);
    struct run r = {.s = s,
                    .schema = schema,
                    .opt = opt,
                    .plan = plan,
                    .n_learned = s->n - (uint64_t)(plan->holdout * (double)s->n),
                    .result = result,
                    .payload = payload};
    r.rows = calloc(s->n, sizeof *r.rows);
    r.work = calloc(s->n, sizeof *r.work);
    int rc = r.rows == NULL || r.work == NULL ? no_memory(err)
                                              : trainer_open(&r.trainer, schema, opt, err);
    for (; rc == UNDINE_OK && r.pass < plan->passes; r.pass++) {
        rc = learn_pass(&r, err);
    }
    trainer_close(r.trainer);
    free(r.rows);
    free(r.work);
    free(r.examples);
    return rc;
}
