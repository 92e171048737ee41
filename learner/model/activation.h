/* activation.h: y = f(s), element by element over (n, width).
 *
 * Dice (DIN, sec. 5.3, Eq. 9; gradient: algorithms 3.2): y = s (alpha + (1 - alpha) p),
 * p = sigmoid((s - E[s]) / sqrt(Var[s] + eps)), all per channel.  E and Var are
 *   batch    of the rows at hand; the gradient goes through them (3.2 B);
 *   running  the moving averages, constants of the step (3.2 A);
 *   auto     batch from DICE_ROWS_MIN rows on, running below: the statistics of a handful of rows
 * say little, and with a single row p is 1/2 and Dice a straight line. Serving always uses the
 * moving averages.  They are debiased as Adam's moments are, so the first batch counts in full;
 * where training starts with too few rows for its own statistics, mean 0 and variance 1 count as
 * one batch. */
#ifndef UNDINE_LEARNER_MODEL_ACTIVATION_H
#define UNDINE_LEARNER_MODEL_ACTIVATION_H

#include "learner/model/buffer.h"
#include "learner/model/params.h"

enum { DICE_ROWS_MIN = 32 };

struct activation {
    enum model_activation kind;
    uint32_t width;
    size_t stride;
    enum model_dice mode;
    double eps, momentum, alpha_initial;
    size_t alpha, mean, var, updates; /* offsets; alpha: PReLU and Dice, the others: Dice */
};

struct activation_scratch {
    struct buffer channels; /* real (5, stride): alpha, mean, inv, shift, slope */
    struct buffer sums;     /* double (3, stride) */
    struct buffer parts;    /* double (chunks, 3, stride): the same of each chunk (share.h) */
    bool through_statistics;
};

void activation_declare(struct activation *a, struct params *p, const char *prefix, uint32_t width,
                        enum model_activation kind, const struct model_options *opt);
void activation_init(const struct activation *a, real *values);
void activation_scratch_release(struct activation_scratch *s);

/* y, s (n, stride).  False where memory is out. */
bool activation_forward(const struct activation *a, struct activation_scratch *scratch,
                        const struct pass *pass, real *y, const real *s, size_t n);
/* After the forward of the same rows in training.  g (n, stride): dL/dy in; out: dL/ds but for what
 * activation_center does.  ADDS into the gradient of alpha. */
void activation_backward(const struct activation *a, struct activation_scratch *scratch,
                         const struct pass *pass, real *g, const real *y, const real *s, size_t n);
/* The part of dL/ds that went through the statistics of Dice: once for each row, any rows, before
 * g is used. */
void activation_center(const struct activation *a, const struct activation_scratch *scratch,
                       const struct kernels *k, real *g, const real *s, size_t n);

/* Dice for a caller that goes through the rows itself: begin; the channels for the forward of any
 * rows; in training a zeroed part for each chunk (share.h) of rows; end, after the last of them. */
bool activation_dice_begin(const struct activation *a, struct activation_scratch *scratch,
                           const struct pass *pass, const real *s, size_t n);
struct dice_channels activation_dice_channels(const struct activation *a,
                                              const struct activation_scratch *scratch);
struct dice_sums activation_dice_part(const struct activation *a,
                                      const struct activation_scratch *scratch, size_t chunk);
void activation_dice_end(const struct activation *a, struct activation_scratch *scratch,
                         const struct pass *pass, size_t n);

#endif
