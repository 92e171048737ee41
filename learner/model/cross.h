/* cross.h: what x holds of a sequence beside its pooled vector v, so that the MLP sees the
 * candidate and the user together at first order.  c is the query of the sequence: the candidate's
 * pooled fields, one behind the other.
 *
 *   product      c * v             the authors' code of DIN: head [u, i, u*i]
 *   sum_history  s, c * s          DIEN's code of DIN: head [.., i, sum_his, i*sum_his, att], with
 *                                  s the plain sum of the steps' vectors
 *
 * In x, E wide each: [v | c*v | s | c*s].  An empty history gives zeros and no gradient. */
#ifndef UNDINE_LEARNER_MODEL_CROSS_H
#define UNDINE_LEARNER_MODEL_CROSS_H

#include "learner/model/batch.h"
#include "learner/model/buffer.h"
#include "learner/model/kernels.h"
#include "learner/model/model.h"

struct cross {
    bool product, sum_history;
    size_t e, e_stride;
    size_t v, v_product, sum, sum_product; /* where each stands in x */
};

/* One pass over a batch: all borrowed. */
struct cross_input {
    const struct batch_sequences *in;
    size_t n, x_stride; /* B examples */
    const real *query;  /* (B, e_stride) */
};

/* Columns of x that a sequence of width e takes, v among them. */
uint32_t cross_width(uint32_t e, const struct model_options *opt);
void cross_declare(struct cross *c, uint32_t e, size_t x, const struct model_options *opt);
bool cross_any(const struct cross *c);

/* x (B, x_stride) has v; e (T, e_stride) are the steps.  False where memory is out. */
bool cross_forward(const struct cross *c, struct buffer *sum, const struct cross_input *u,
                   const real *e, real *x);
/* x as forward left it.  dx (B, x_stride): ADDS into the columns of v what its product got, so that
 * it must run before v's own backward.  ADDS into dquery (B, e_stride), and keeps the gradient of
 * the sums for cross_backward_steps. */
void cross_backward(const struct cross *c, struct buffer *sum, const struct cross_input *u,
                    const real *x, real *dx, real *dquery);
/* Each step gets its sum's gradient: ADDS into de (T, e_stride). */
void cross_backward_steps(const struct cross *c, const struct buffer *sum,
                          const struct batch_sequences *in, real *de);

#endif
