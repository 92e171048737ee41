/* bench_learner.h: how many examples a second a trainer learns, on one core or several.
 *
 * The shape: item and category (candidate and history, embeddings 18 + 18, 100,000 and 1,000 ids
 * drawn with a skew of 1 / rank), a user (18), an activation unit of 80-40, an MLP of 200-80, Dice,
 * MBA on. Every example brings a history of its own, so nothing is saved by sharing.  The whole of
 * training is timed: cutting batches, gathering rows, prediction, metrics, gradient, update; not
 * the store. */
#ifndef UNDINE_TESTS_BENCH_LEARNER_H
#define UNDINE_TESTS_BENCH_LEARNER_H

#include "learner/trainer.h"

struct bench_learner_options {
    uint32_t batch, history;
    uint32_t workers; /* threads that share a batch */
    double seconds;   /* measured, all runs together, after a warm-up over all data */
    enum optimizer_kind optimizer;
    enum model_unit_input unit;
    bool base; /* sum pooling instead of the activation unit */
};

enum { BENCH_LEARNER_RUNS = 5 };

struct bench_learner_result {
    double examples_per_second; /* median of the runs */
    double examples_per_second_min, examples_per_second_max;
    uint64_t examples, rows, table_bytes;
    double logloss; /* of the warm-up: labels are coins, so about ln 2 */
};

int bench_learner_run(struct bench_learner_result *out, const struct bench_learner_options *opt,
                      struct undine_err *err);

#endif
