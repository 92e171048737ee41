/* onnx_model.h: the forward of a version as an ONNX graph (docs/export.md).
 *
 * Everything ragged becomes rectangular: the values of a field are (N, V) row numbers, those of the
 * steps (U, H, V), filled up with the number of a row of zeros.  A row of zeros adds nothing to a
 * sum, so only what counts or compares steps (means, 1/H, softmax) needs to know which are there.
 * N is B candidates, or U users: U is 1, one user for all candidates, or B.
 *
 * Two forms of the activation unit's first layer, equal but for rounding:
 *   factorized  h P + (c W_c + b), P = W_h + diag(c) W_p, as learner/model/unit.h
 *   naive       [h, h*c, c] W + b as the paper draws it, which needs (B, H, 3E) numbers */
#ifndef UNDINE_OPS_ONNX_MODEL_H
#define UNDINE_OPS_ONNX_MODEL_H

#include "learner/model/model.h"
#include "ops/onnx_graph.h"

enum onnx_unit { ONNX_UNIT_FACTORIZED, ONNX_UNIT_NAIVE };

/* The rows of a table as they lie in a file beside the model: n of ids, then the one of ids that
 * are not there, then zeros. */
struct onnx_table {
    const char *name, *file;
    uint64_t n_rows, offset; /* offset: bytes */
    uint32_t width;          /* model_row_width */
};

static inline uint64_t onnx_row_unknown(const struct onnx_table *t)
{
    return t->n_rows;
}
static inline uint64_t onnx_row_none(const struct onnx_table *t)
{
    return t->n_rows + 1;
}

struct onnx_source {
    const struct schema *schema;
    const struct model_options *options;
    struct model *model; /* of them, with the version's parameters; is not changed */
    struct onnx_table table[SCHEMA_TABLES_MAX];
    enum onnx_unit unit;
};

/* Name of the input that takes field `which` of the schema, or step field k of a sequence. */
const char *onnx_field_input(struct onnx_graph *g, const struct schema *s, uint32_t which);
const char *onnx_step_input(struct onnx_graph *g, const struct schema *s, uint32_t sequence,
                            uint32_t k);

/* Outputs `score` and `logit`, each (B).  UNDINE_EINVAL where the graph cannot be had, with the
 * reason; memory that runs out shows in the graph. */
int onnx_model_build(struct onnx_graph *g, const struct onnx_source *from, struct undine_err *err);

#endif
