/* onnx_tower.h: layers and activations of a version as ONNX nodes: learner/model/tower.h and
 * unit.h, as serving computes them (Dice by its moving statistics). */
#ifndef UNDINE_OPS_ONNX_TOWER_H
#define UNDINE_OPS_ONNX_TOWER_H

#include "ops/onnx_model.h"

struct onnx_unit_input {
    struct onnx_graph *g;
    struct model *model;
    const struct model_options *options;
    enum onnx_unit form;
    const char *e;  /* (U, H, E) steps */
    const char *c;  /* (B, E) candidates */
    uint32_t width; /* E */
};

/* The unit of a sequence: a (B, H), before it is normalised. */
const char *onnx_unit(const struct onnx_unit_input *in, const char *sequence);
/* x (B, X) to logits (B, 1), without the linear part. */
const char *onnx_mlp(struct onnx_graph *g, struct model *m, const struct model_options *o,
                     const char *x);

#endif
