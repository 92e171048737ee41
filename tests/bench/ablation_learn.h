/* ablation_learn.h: one model learned from a stream held in memory, over several passes, and how
 * well it predicted.
 *
 * The model is trained by trainer_learn on the stream's own blocks, so one pass gives what a replay
 * of the files gives.  A further pass sees the same examples with higher numbers, later by the
 * stream's span of time.  Two ways to judge:
 *   progressive  each prediction is made before its example is learned; the whole pass, and its
 *                halves
 *   held out     only the first part of the stream is learned; at points inside every pass the rest
 *                is scored by a frozen copy, as a scorer would (MODEL_SERVE) and nothing is learned
 * AUC and GAUC are exact (metrics.h). */
#ifndef UNDINE_TESTS_ABLATION_LEARN_H
#define UNDINE_TESTS_ABLATION_LEARN_H

#include "learner/metrics.h"
#include "tests/bench/ablation_stream.h"

struct ablation_score {
    uint64_t n; /* predictions; fewer than examples where a batch was not finite */
    double auc, gauc, logloss, calibration;
};

struct ablation_result { /* of one pass, or of a point in it */
    uint32_t pass;       /* from 1 */
    uint64_t examples;   /* learned in this pass so far */
    bool held_out;       /* `held` is filled */
    /* Progressive: this pass so far, and (at its end) of its first and second half. */
    struct ablation_score all, first, second;
    struct ablation_score held;
    /* The same examples with the same model in 16-bit integers (low.h), and how far a click's
     * probability went at most; `held_int16.n` is 0 where this processor does not do so. */
    struct ablation_score held_int16;
    double int16_apart;
    double seconds; /* spent in batches, all passes */
    uint64_t rows, batches_skipped, example_digest;
    struct hash128 model_digest; /* at the end of a pass without held-out part */
};
typedef int (*ablation_result_fn)(void *payload, const struct ablation_result *r,
                                  struct undine_err *err);

struct ablation_plan {
    uint32_t passes; /* at least 1 */
    double holdout;  /* share of the stream that is never learned, 0 = none */
    uint32_t points; /* held out: points in a pass, its end included */
};

/* Hands every result on as it is known; an error of `result` ends the run. */
int ablation_learn(const struct ablation_stream *s, const struct schema *schema,
                   const struct trainer_options *opt, const struct ablation_plan *plan,
                   ablation_result_fn result, void *payload, struct undine_err *err);

#endif
