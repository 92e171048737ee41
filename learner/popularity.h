/* popularity.h: the baseline that a model has to beat: the smoothed click rate of an id.
 *
 * rate(id) = (clicks + STRENGTH * prior) / (shows + STRENGTH), prior = click rate of the stream so
 * far. Predict, then learn, like the model.  The table is bounded: past rows_max new ids get the
 * prior and are counted.  Owned by the trainer. */
#ifndef UNDINE_LEARNER_POPULARITY_H
#define UNDINE_LEARNER_POPULARITY_H

#include "base/err.h"
#include "learner/op_log.h"

#include <stdint.h>

enum { POPULARITY_ROWS_MAX = 1 << 20 }; /* of a trainer */

struct popularity_row {
    uint64_t key; /* 0 = free */
    float shows, clicks;
};

struct popularity {
    struct popularity_row *row; /* open addressing, power of two */
    uint64_t capacity, n_rows, rows_max, rows_refused;
    double shows, clicks;
    struct op_log log; /* of popularity_op, where it is on */
};
struct popularity_op { /* a call of popularity_learn */
    uint64_t key;
    double shows, clicks;
};

int popularity_open(struct popularity *p, uint64_t rows_max, struct undine_err *err);
void popularity_release(struct popularity *p);

/* Click probability in (0, 1); key 0 (no id) and unknown ids give the prior, 0.5 on an empty
 * stream. */
double popularity_predict(const struct popularity *p, uint64_t key);
/* Impressions of the stream and clicks that an example stands for: a negative sampled at rate r 1/r
 * and 0, a positive 1 and 1, a click behind such a negative 1 - 1/r and 1. */
int popularity_learn(struct popularity *p, uint64_t key, double shows, double clicks,
                     struct undine_err *err);

/* Put rows back that were copied out of row[] (key != 0), into an empty table. */
int popularity_restore(struct popularity *p, const struct popularity_row *rows, uint64_t n,
                       double shows, double clicks, struct undine_err *err);

#endif
