/* regularizer.h: what keeps embedding rows small.  Dense weights are never regularised.
 *
 * mba: mini-batch aware regularization (DIN, arXiv 1706.06978v4, sec. 5.1, Eq. 4-7).  Plain L2
 * would touch every row of every table in every batch.  MBA writes it as a sum over the instances
 * that hold an id (Eq. 4) and so touches only the rows of the batch (Eq. 7):
 *   w_j -= rate (g_j + lambda alpha_mj / n_j w_j)
 * n_j: instances.h.  alpha_mj is 1 (Eq. 6, `once`) or the number of instances of this batch that
 * hold j (Eq. 5, `count`).  The typeset Eq. 4 has no 1/2, Eq. 7 no 2: the penalty that Eq. 7
 * differentiates is lambda/2 |w|^2.  A row that is not touched owes nothing.
 *
 * difacto: the same with alpha_mj / n_j = 1: lambda w at each touch, so frequent ids shrink most.
 *
 * Both coupled: the term joins the gradient and passes through the optimizer; with Adam or Adagrad
 * this is the reading in which lambda = 0.01 does anything.  Or decoupled: taken off the weight
 * beside the step.
 *
 * l2: w -= rate lambda w with every training step, for every row that was ever learned, touched or
 * not, beside the step.  A row owes it until it is looked at: k steps are (1 - rate lambda)^k at
 * once.  `rate` is the configured one of the table: warm-up and decay of the rates do not scale it,
 * so that what a row owes follows from its stamp alone.  Stored rows and their stamps stay as they
 * are when a copy is made; the copy has its debts paid (and beside it the raw weights, so that a
 * restored trainer goes on bit for bit).  Stamps end at 2^32 - 1 steps; from there on rows owe
 * nothing between touches.  Learner thread. */
#ifndef UNDINE_LEARNER_REGULARIZER_H
#define UNDINE_LEARNER_REGULARIZER_H

#include "learner/instances.h"

#include <stdbool.h>
#include <stddef.h>

enum regularizer_kind { REGULARIZER_NONE, REGULARIZER_MBA, REGULARIZER_L2, REGULARIZER_DIFACTO };
enum regularizer_form {
    REGULARIZER_ONCE, /* Eq. 6: alpha = max of I */
    REGULARIZER_COUNT /* Eq. 5: count in the batch */
};

struct regularizer_options {
    enum regularizer_kind kind;
    double lambda;
    enum regularizer_form form;      /* mba */
    bool decoupled;                  /* mba, difacto: false = added before the optimizer */
    struct instances_options counts; /* mba */
};

struct regularizer {
    struct regularizer_options opt;
    struct instances instances;
    double log_keep[SCHEMA_TABLES_MAX]; /* l2: ln(1 - rate lambda) of a table */
    uint64_t since;                     /* l2: steps before it were learned without */
    uint64_t steps; /* l2: learned so far; before the batch's own while it runs */
};

/* rate lambda < 1 or the term would overshoot zero at n_j = 1; rate: the highest of any table.
 * UNDINE_ECONFIG. */
int regularizer_check(const struct regularizer_options *opt, double rate, struct undine_err *err);
/* Does it take from the weights beside the step? */
bool regularizer_decoupled(const struct regularizer_options *opt);

/* rates: of each table.  Errors of instances_open. */
int regularizer_open(struct regularizer *z, const struct regularizer_options *opt,
                     const struct schema *schema, const double *rates, struct undine_err *err);
void regularizer_release(struct regularizer *z); /* NULL-safe, and fine on a zeroed one */

/* Before a batch's rows are touched: it is step `step`, of n examples after `before` others. */
void regularizer_begin(struct regularizer *z, uint64_t step, uint64_t before, uint32_t n);
/* One touched row, whose stamp is still that of its last touch: counts its c_mj instances, pays
 * what it owes, adds the coupled term to g (dim).  Returns the share of w for the optimizer to take
 * off beside the step, 0 = none.  rate: of this step. */
float regularizer_touch(const struct regularizer *z, uint32_t table, struct table_row *r,
                        float c_mj, float rate, float *restrict g, size_t dim);

/* l2: what is left of a row's weights once its debts are paid; 1 for the other kinds. */
float regularizer_keep(const struct regularizer *z, uint32_t table, uint32_t stamp);
/* l2: pay the debts of copies: w (n, dim) of the rows `row` (n) of a table. */
void regularizer_catch_up(const struct regularizer *z, uint32_t table, const struct table *rows,
                          const uint32_t *row, uint32_t n, float *w);

/* State that is not in the rows.  Back: *raw = the rows continue from the snapshot's raw weights;
 * false where they were made without l2 or with another rate lambda, and begin anew with what the
 * copy says.  Errors as instances_restore. */
bool regularizer_snapshot(const struct regularizer *z, uint32_t n_tables, struct snapshot *s);
int regularizer_restore(struct regularizer *z, uint32_t n_tables, const struct snapshot *s,
                        uint64_t steps, bool *raw, struct undine_err *err);

#endif
