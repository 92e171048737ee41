/* tower.h: hidden layers with an activation each, then one number a row:
 *   s_i = y_{i-1} W_i + b_i,  y_i = f(s_i),  out = y_last . w + b.
 * It is the MLP of a model, and an activation unit from its first pre-activation on (the unit makes
 * s_0 itself, cheaper, from the parts of W_0). */
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
        struct buffer s, y, g; /* (n, out_stride) */
    } layer[MODEL_LAYERS_MAX];
    struct buffer out_w, out_dw, out_parts;
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
/* The place of s_0 for n rows (n, stride of layer 0); NULL where memory is out. */
real *tower_input(const struct tower *t, struct tower_scratch *s, size_t n);
/* From s_0 on; out (n). */
bool tower_forward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                   real *out, size_t n);
/* dout (n) to dL/ds_0, which stays in the scratch and is returned, to be centered before it is
 * used; NULL where memory is out.  ADDS into the gradients of all but W_0 and b_0. */
const real *tower_backward(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                           const real *dout, size_t n);
/* activation_center of dL/ds_0: rows first .. first + n - 1, each once, by whoever is about to read
 * them; or all n rows. */
void tower_center(const struct tower *t, const struct tower_scratch *s, const struct pass *pass,
                  size_t first, size_t n);
void tower_center_all(const struct tower *t, struct tower_scratch *s, const struct pass *pass,
                      size_t n);

#endif
