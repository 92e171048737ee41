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
 * one batch.
 *
 * The caller goes through the rows, a few at a time while they are in a cache.  What is summed over
 * all of them is summed in parts of the caller's cut, then over the parts in order: a part is one
 * worker's at a time, and the cut must follow from the shape alone.  Forward: begin, note of each
 * part's s, settle, rows.  Backward: backward_begin, backward_rows, backward_end, center. */
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
    struct buffer parts;    /* double (n_parts, 3, stride) */
    size_t n_parts, n;      /* n: rows of the forward */
    bool noting, through_statistics;
};

void activation_declare(struct activation *a, struct params *p, const char *prefix, uint32_t width,
                        enum model_activation kind, const struct model_options *opt);
void activation_init(const struct activation *a, real *values);
void activation_scratch_release(struct activation_scratch *s);

/* A forward whose rows are noted in n_parts parts.  False where memory is out. */
bool activation_begin(const struct activation *a, struct activation_scratch *scratch,
                      const struct pass *pass, size_t n_parts);
/* Part `part` is these n rows of s (n, stride); in training each part once, n may be 0. */
void activation_note(const struct activation *a, const struct activation_scratch *scratch,
                     const struct kernels *k, size_t part, const real *s, size_t n);
/* All parts are noted, n rows together: fixes what Dice normalises with, and moves its averages. */
void activation_settle(const struct activation *a, struct activation_scratch *scratch,
                       const struct pass *pass, size_t n);
/* y, s (n, stride): any of the rows. */
void activation_rows(const struct activation *a, const struct activation_scratch *scratch,
                     const struct kernels *k, real *y, const real *s, size_t n);
struct dice_channels activation_dice_channels(const struct activation *a,
                                              const struct activation_scratch *scratch);

/* After the forward of the same rows in training.  False where memory is out. */
bool activation_backward_begin(const struct activation *a, struct activation_scratch *scratch,
                               size_t n_parts);
/* g (n, stride): dL/dy in; out: dL/ds but for what activation_center does.  y: of Dice it is
 * written, of the others read. */
void activation_backward_rows(const struct activation *a, const struct activation_scratch *scratch,
                              const struct kernels *k, size_t part, real *g, real *y, const real *s,
                              size_t n);
/* Dice's sums of a part, for a caller who has its own kernel. */
struct dice_sums activation_dice_part(const struct activation *a,
                                      const struct activation_scratch *scratch, size_t part);
/* ADDS into the gradient of alpha. */
void activation_backward_end(const struct activation *a, struct activation_scratch *scratch,
                             const struct pass *pass);
/* dL/ds of any rows, with the part that went through the statistics of Dice: g itself where there
 * is none, or out (n, stride), so that g need not go back to memory.  ADDS the sum of each column
 * into sum (stride). */
const real *activation_center(const struct activation *a, const struct activation_scratch *scratch,
                              const struct kernels *k, real *out, const real *g, const real *s,
                              size_t n, double *sum);

#endif
