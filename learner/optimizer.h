/* optimizer.h: one step of an optimizer on n numbers: an embedding row or a dense parameter.
 *
 * The gradient of a row is merged first (an id that occurs often in a batch has one gradient),
 * since all but SGD are not additive.  With g the gradient, per coordinate:
 *   SGD      w -= rate g
 *   Adagrad  a += g^2;  w -= rate g / (sqrt(a) + eps);  a starts at `accumulator`
 *   Adam     m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 *            w -= rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *   FTRL-proximal (McMahan et al., KDD'13, algorithm 1)
 *            z += g - (sqrt(n + g^2) - sqrt(n)) / rate w;  n += g^2;
 *            w = 0 where |z| <= l1, else -(z - sign(z) l1) / ((beta + sqrt(n)) / rate + l2)
 *
 * FTRL's weights are a function of z alone, so z starts where that function gives the initial
 * weight: an embedding that started at 0 beside others at 0 would have no gradient and never leave
 * it.  And its rate cannot change on the way, since z has summed it up: no schedule, no weight
 * decay beside it (l2 is FTRL's own).
 *
 * A row's gradient is that of the mean loss, so it shrinks with the batch: at 256 examples an
 * accumulator of 0.1 outweighs the squares of a whole short stream and rows hardly move.  On
 * KuaiRand (batch 256, rate 0.03) AUC is 0.63 with 0.1 and 0.74 with 1e-6.
 *
 * Adam is lazy: a row that a batch does not touch keeps weights, m and v as they are.  t is the
 * number of batches trained, the same for every row (not the row's own touches), so a row first met
 * late starts without correction: its first step is rate (1 - b1) / sqrt(1 - b2), 3.2 x rate at the
 * usual 0.9 and 0.999, which suits an id that has to catch up.  Any thread; no state of its own. */
#ifndef UNDINE_LEARNER_OPTIMIZER_H
#define UNDINE_LEARNER_OPTIMIZER_H

#include "base/err.h"
#include "learner/model/kernels.h"

#include <stddef.h>
#include <stdint.h>

enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAGRAD, OPTIMIZER_ADAM, OPTIMIZER_FTRL };

struct optimizer_options {
    enum optimizer_kind kind;
    double rate;       /* embedding rows */
    double dense_rate; /* dense parameters */
    double eps, beta1, beta2;
    double accumulator;  /* Adagrad: initial value of a */
    double beta, l1, l2; /* FTRL */
};

/* The numbers of one batch's step. */
struct optimizer_step {
    enum optimizer_kind kind;
    const struct kernels *kernels;
    float rate, eps;
    struct adam_step adam;        /* take = 1 - beta, rounded once: float(1 - 0.999) is not
                                     1 - float(0.999); rate with 1 / (1 - b1^t), correct_v =
                                     1 / sqrt(1 - b2^t) */
    float per_rate, beta, l1, l2; /* FTRL; per_rate: 1 / rate */
};

/* UNDINE_ECONFIG with the value at fault. */
int optimizer_check(const struct optimizer_options *opt, struct undine_err *err);

/* Numbers of state per weight: 0, 1 (a) or 2 (m, v; z, n), each in n numbers one after the other.
 */
uint32_t optimizer_slots(enum optimizer_kind kind);
float optimizer_slot_initial(const struct optimizer_options *opt);

/* t >= 1: this batch's number among the trained ones. */
struct optimizer_step optimizer_step(const struct optimizer_options *opt, double rate, uint64_t t);

/* w (n), slot (optimizer_slots * n), g (n). */
void optimizer_apply(const struct optimizer_step *s, float *restrict w, float *restrict slot,
                     const float *restrict g, size_t n);

#endif
