/* onnx_graph.h: an ONNX model (github.com/onnx/onnx, onnx.proto, IR 7, operators of opset 13) put
 * together node by node.
 *
 * ONNX is a protocol buffer.  The wire format is written here by hand: Debian has no C library for
 * ONNX (libonnx-dev is C++ and brings protobuf's runtime), and protobuf-c would want onnx.proto in
 * this tree and hold every weight twice, where all that is written are a dozen messages of
 * varints and bytes (protobuf.dev/programming-guides/encoding).  onnxruntime and onnx.checker read
 * what comes out in tests/integration/export.
 *
 * Values are named by strings that live as long as the graph.  Memory that runs out makes the graph
 * bad: everything goes on harmlessly, and onnx_graph_finish says so.  One thread. */
#ifndef UNDINE_OPS_ONNX_GRAPH_H
#define UNDINE_OPS_ONNX_GRAPH_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct onnx_graph {
    struct arena memory; /* names */
    struct writer nodes, constants, inputs, outputs, notes;
    uint32_t n_values;
    bool bad;
};

enum { ONNX_DIMS_MAX = 4 };
enum onnx_type { ONNX_FLOAT = 1, ONNX_INT64 = 7 };

/* A size of a shape: a number, or a name where it differs from run to run. */
struct onnx_dim {
    const char *name; /* NULL: `size` it is */
    uint64_t size;
};

/* An attribute of a node; all are integers, or lists of them. */
struct onnx_attribute {
    const char *name; /* NULL: none */
    int64_t value;
};

void onnx_graph_init(struct onnx_graph *g);
void onnx_graph_release(struct onnx_graph *g);

/* Name "FORMAT" that lives as long as the graph. */
const char *onnx_name(struct onnx_graph *g, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What is given to a run and what it gives.  Returns the name. */
const char *onnx_input(struct onnx_graph *g, const char *name, enum onnx_type type,
                       const struct onnx_dim *dims, size_t n_dims);
void onnx_output(struct onnx_graph *g, const char *name, enum onnx_type type,
                 const struct onnx_dim *dims, size_t n_dims);

/* Constants.  Their values are copied; those of onnx_floats_outside lie in a file beside the model,
 * at this offset, dims multiplied times 4 bytes long. */
const char *onnx_floats(struct onnx_graph *g, const float *values, const uint64_t *dims,
                        size_t n_dims);
const char *onnx_float(struct onnx_graph *g, float value);                    /* a scalar */
const char *onnx_ints(struct onnx_graph *g, const int64_t *values, size_t n); /* a list */
const char *onnx_int(struct onnx_graph *g, int64_t value);                    /* a scalar */
const char *onnx_floats_outside(struct onnx_graph *g, const char *name, const char *file,
                                uint64_t offset, const uint64_t *dims, size_t n_dims);

/* A node with one result, whose name is returned.  in: n names. */
const char *onnx_op(struct onnx_graph *g, const char *op, const char *const *in, size_t n,
                    struct onnx_attribute attribute);
const char *onnx_op1(struct onnx_graph *g, const char *op, const char *a);
const char *onnx_op2(struct onnx_graph *g, const char *op, const char *a, const char *b);
const char *onnx_op3(struct onnx_graph *g, const char *op, const char *a, const char *b,
                     const char *c);
/* The same value under another name: that of an output. */
void onnx_alias(struct onnx_graph *g, const char *value, const char *name);

/* A text that belongs to the model. */
void onnx_note(struct onnx_graph *g, const char *key, const char *value);

/* Append the model file.  False where memory is out, now or before. */
bool onnx_graph_finish(struct onnx_graph *g, const char *name, const char *producer_version,
                       struct writer *out);

#endif
