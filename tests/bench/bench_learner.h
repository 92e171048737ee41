/* bench_learner.h: how many examples a second a trainer learns, on one core or several.
 *
 * The whole of training is timed: cutting batches, gathering rows, prediction, metrics, gradient,
 * MBA, update; not the store. */
#ifndef UNDINE_TESTS_BENCH_LEARNER_H
#define UNDINE_TESTS_BENCH_LEARNER_H

#include "learner/trainer.h"
#include "tests/bench/bench_shape.h"

struct bench_learner_options {
    struct bench_shape shape;
    uint32_t workers; /* threads that share a batch */
    double seconds;   /* measured, all runs together, after a warm-up over all data */
    enum optimizer_kind optimizer;
    bool base;             /* sum pooling instead of the activation unit */
    bool plain;            /* without MBA */
    uint32_t passes;       /* over all data, of the warm-up */
    uint32_t rows;         /* items that have a row before the warm-up; 0 = those of the batches */
    uint64_t memory_bytes; /* bound on the tables; 0 = none */
    void (*begun)(void);   /* called when the warm-up is over; NULL = nobody */
};

enum { BENCH_LEARNER_RUNS = 5 };

struct bench_learner_result {
    double examples_per_second; /* median of the runs */
    double examples_per_second_min, examples_per_second_max;
    double examples_per_cpu_second; /* median; all threads' processor time together */
    uint64_t examples, rows, table_bytes;
    uint64_t parameters; /* of the dense part */
    double logloss;      /* of the warm-up's last pass: labels are coins, so about ln 2 at first */
};

int bench_learner_run(struct bench_learner_result *out, const struct bench_learner_options *opt,
                      struct undine_err *err);

#endif
