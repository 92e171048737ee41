/* low.h: the dense part of scoring in 16-bit integers: what a model that no longer changes is
 * turned into, once, beside its numbers of 32 bits.
 *
 * The products of the activation unit's layers and of the MLP are computed by integers
 * (low_kernels.h), each layer's sums, biases and activations in 32 bits, and Dice with a shorter
 * exponential.  Embeddings, pooling, the weights' normalisation, the query's part of the unit, the
 * last layer of each tower and the linear part are as they always are.  So the error of a layer is
 * that of its inputs' rounding: half of 1 / low_limit(inputs) of the largest of a row, and the same
 * of its weights; 1/7723 for 36 inputs, 1/3276 for 200.
 *
 * A score depends on the version, the user and the candidate alone, as ever; the same of other
 * instruction sets may differ in the last bits of 32.
 *
 * What is opened is constant, and may be shared by any threads, each with a scratch of its own.
 * Borrows the tower or unit, not their values. */
#ifndef UNDINE_LEARNER_MODEL_LOW_H
#define UNDINE_LEARNER_MODEL_LOW_H

#include "learner/model/low_kernels.h"
#include "learner/model/unit.h"

enum { LOW_BLOCK_ROWS = 64 }; /* rows of a tower at once: they stay in the first cache */

struct low_layer {
    struct buffer q, scale, bias; /* of the weights; none where the first is made elsewhere */
    struct buffer channels; /* real (4, stride): Dice: slope, shift, alpha, rest; PReLU: alpha */
    int limit;              /* of what the layer reads */
};

struct low_tower {
    const struct low_kernels *low;
    const struct kernels *k;
    const struct tower *of;
    struct low_layer layer[MODEL_LAYERS_MAX];
    struct buffer out_w;
    real out_bias;
};

struct low_tower_scratch {
    struct buffer s, t;     /* (LOW_BLOCK_ROWS, the widest stride) in turns */
    struct buffer q, scale; /* of what a layer reads */
};

struct low_unit {
    struct low_tower tower;
    const struct unit *of;
    struct buffer fold; /* W_h, W_p, W_c, each (E, k_stride), and b: unit.h */
    int limit;          /* of E terms */
};

struct low_unit_scratch {
    struct buffer query;              /* c W_c + b (B, k_stride) */
    struct buffer step_q, step_scale; /* of the steps of all sequences */
    struct buffer p, p_q, p_scale;    /* of one candidate */
    struct low_tower_scratch tower;
};

/* With the values of the tower or unit as they are now.  False where memory is out; then, as
 * always, released by the caller.  A zeroed one may be released. */
bool low_tower_open(struct low_tower *t, const struct tower *of, const real *values,
                    const struct low_kernels *low, const struct kernels *k);
void low_tower_release(struct low_tower *t);
bool low_unit_open(struct low_unit *u, const struct unit *of, const real *values,
                   const struct low_kernels *low, const struct kernels *k);
void low_unit_release(struct low_unit *u);

void low_tower_scratch_release(struct low_tower_scratch *s);
void low_unit_scratch_release(struct low_unit_scratch *s);

/* out (n) from x (n rows, x_stride apart).  False where memory is out. */
bool low_tower_forward(const struct low_tower *t, struct low_tower_scratch *s, const real *x,
                       size_t x_stride, real *out, size_t n);
/* a (pairs), as unit_forward.  False where memory is out. */
bool low_unit_forward(const struct low_unit *u, struct low_unit_scratch *s,
                      const struct unit_input *in, real *a);

#endif
