/* bench_work.h: how much arithmetic and how many bytes an example of a shape takes, counted from
 * the model's dimensions.
 *
 * Counted is the algorithm (learner/model/unit.h: the unit's first layer as one product of E x K
 * for each step), with the widths that the model has, not those that kernels pad to.  With H steps
 * of width E, unit layers K_1, K_2, .., an MLP M_1, M_2, .. over x numbers; a multiplication with
 * its addition is 2: products  3 * 2 * [H (E K_1 + K_1 K_2 + ..) + E K_1 + x M_1 + M_1 M_2 + ..]
 *             once forward, twice backward (gradients of weights and of what came in);
 *             the lone E K_1 is the candidate's part of the first layer
 *   vectors   Dice, the last layer's dot products, diag(c) W, pooling: a division, an exponential
 *             and an addition are 1 each
 * What is once a mini-batch (folding weights), metrics and guards are not counted. */
#ifndef UNDINE_TESTS_BENCH_WORK_H
#define UNDINE_TESTS_BENCH_WORK_H

#include "learner/model/model.h"

struct bench_work {       /* of one example */
    double product_flops; /* matrix products */
    double vector_flops;  /* the rest of the model, forward and backward */
    double layer_bytes;   /* sums s and gradient g of each layer: s written and read forward, read
                             twice backward, g written and read: what goes through the caches where
                             all is done at once between two sums of Dice (tower.h) */
};

/* steps: of an example, in the mean.  The model is DIN with Dice over the schema's first sequence.
 */
struct bench_work bench_work_count(const struct schema *schema, const struct model_options *model,
                                   double steps);

#endif
