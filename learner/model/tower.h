/* tower.h: hidden layers with an activation each, then one number a row:
 *   s_i = y_{i-1} W_i + b_i,  y_i = f(s_i),  out = y_last . w + b.
 * It is the MLP of a model, and an activation unit from its first pre-activation on (the unit makes
 * s_0 itself, cheaper, from the parts of W_0).
 *
 * Dice in training needs sums over all rows before the first row goes on, once forward and once
 * backward in each layer.  Between two such places all that happens to a row happens at once, chunk
 * by chunk, so that a row comes from memory once and what is in between stays in a core's cache;
 * Dice's y is never kept, since its backward makes it again on the way. */
#ifndef UNDINE_LEARNER_MODEL_TOWER_H
#define UNDINE_LEARNER_MODEL_TOWER_H

#include "learner/model/activation.h"
#include "learner/model/dense.h"

struct tower {
    uint32_t n_hidden; /* 1..MODEL_LAYERS_MAX */
    struct {
        struct dense dense;
        struct activation act;
    } layer[MODEL_LAYERS_MAX];
    uint32_t last;               /* width of the last hidden layer */
    size_t out_weight, out_bias; /* offsets */
};

struct tower_scratch {
    struct {
        struct dense_scratch dense;
        struct activation_scratch act;
        struct buffer s, g; /* (n, out_stride) */
        struct buffer y;    /* the same; of Dice the rows at hand of each worker */
    } layer[MODEL_LAYERS_MAX];
    struct buffer centered; /* the gradient's rows at hand of each worker */
    size_t rows_max;        /* so many */
    struct buffer out_w, out_dw;
    struct buffer out_parts; /* double (parts, stride of the last + 1): dw and db */
};

/* prefix at most 52 bytes. */
void tower_declare(struct tower *t, struct params *p, const char *prefix, uint32_t in,
                   uint32_t n_hidden, const uint32_t *hidden, enum model_activation kind,
                   const struct model_options *opt);
void tower_init(const struct tower *t, const struct params *p, real *values, uint64_t seed);
void tower_scratch_release(struct tower_scratch *s);

/* Once before the forwards of a pass.  First: false leaves out W_0.  False where memory is out. */
bool tower_prepare(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                   bool first);
/* The place of s_0 for n rows (n, stride of layer 0), which come in n_parts parts; NULL where
 * memory is out.  In training whoever made the rows of a part notes them, n may be 0. */
real *tower_input(const struct tower *t, struct tower_scratch *s, const struct pass *pass, size_t n,
                  size_t n_parts);
void tower_note(const struct tower *t, const struct tower_scratch *s, const struct pass *pass,
                size_t part, size_t first, size_t n);
/* From s_0 on; out (n). */
bool tower_forward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                   real *out, size_t n);
/* dout (n).  Then the rows of dL/ds_0 are asked for by whoever is about to use them, at most
 * rows_max at once, who (base/workers.h) for room of his own: rows first .. first + n - 1 are
 * returned, valid until his next call, and the sum of each column is ADDED into sum.  ADDS into the
 * gradients of all but W_0 and b_0.  False where memory is out. */
bool tower_backward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                    const real *dout, size_t n, size_t rows_max);
const real *tower_gradient(const struct tower *t, const struct tower_scratch *s,
                           const struct pass *pass, size_t who, size_t first, size_t n,
                           double *sum);

/* The same with W_0 and b_0 in it, tower_prepare before: x (n rows of length x_stride), dx (n,
 * in_stride of layer 0). */
bool tower_forward_x(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                     const real *x, size_t x_stride, real *out, size_t n);
bool tower_backward_x(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                      const real *dout, const real *x, size_t x_stride, real *dx, size_t n);

#endif
