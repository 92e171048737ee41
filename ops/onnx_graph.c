#include "ops/onnx_graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { NAME_BYTES_MAX = 256, IR_VERSION = 7, OPSET_VERSION = 13, LOCATION_EXTERNAL = 1 };
enum { ATTRIBUTE_INT = 2 };
enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2 };

/* ---- the wire format ---------------------------------------------------------------------- */

static void put_varint(struct writer *w, uint64_t v)
{
    while (v >= 0x80) {
        writer_u8(w, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    writer_u8(w, (uint8_t)v);
}

static void put_int(struct writer *w, uint32_t field, int64_t v)
{
    put_varint(w, (uint64_t)field << 3 | WIRE_VARINT);
    put_varint(w, (uint64_t)v);
}

static void put_bytes(struct writer *w, uint32_t field, const void *data, size_t len)
{
    put_varint(w, (uint64_t)field << 3 | WIRE_BYTES);
    put_varint(w, len);
    writer_bytes(w, data, len);
}

static void put_text(struct writer *w, uint32_t field, const char *text)
{
    put_bytes(w, field, text, strlen(text));
}

/* Append a message and empty it. */
static void put_message(struct writer *w, uint32_t field, struct writer *message)
{
    put_bytes(w, field, message->data, message->len);
    w->bad = w->bad || message->bad;
    writer_release(message);
}

/* StringStringEntryProto */
static void put_entry(struct writer *w, uint32_t field, const char *key, const char *value)
{
    struct writer entry = {0};
    put_text(&entry, 1, key);
    put_text(&entry, 2, value);
    put_message(w, field, &entry);
}

/* ---- names -------------------------------------------------------------------------------- */

void onnx_graph_init(struct onnx_graph *g)
{
    *g = (struct onnx_graph){0};
    arena_init(&g->memory, 0);
}

void onnx_graph_release(struct onnx_graph *g)
{
    writer_release(&g->nodes);
    writer_release(&g->constants);
    writer_release(&g->inputs);
    writer_release(&g->outputs);
    writer_release(&g->notes);
    arena_release(&g->memory);
}

const char *onnx_name(struct onnx_graph *g, const char *format, ...)
{
    char text[NAME_BYTES_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    UNDINE_ASSERT(len >= 0 && (size_t)len < sizeof text);
    const char *name = arena_strndup(&g->memory, text, (size_t)len);
    g->bad = g->bad || name == NULL;
    return name != NULL ? name : "";
}

/* ---- inputs and outputs ------------------------------------------------------------------- */

/* ValueInfoProto { name 1, type 2: TypeProto { tensor_type 1: { elem_type 1, shape 2: { dim 1:
 * { dim_value 1 | dim_param 2 } } } } } */
static void put_value_info(struct writer *w, uint32_t field, const char *name, enum onnx_type type,
                           const struct onnx_dim *dims, size_t n_dims)
{
    struct writer info = {0}, type_proto = {0}, tensor = {0}, shape = {0};
    for (size_t i = 0; i < n_dims; i++) {
        struct writer dim = {0};
        if (dims[i].name != NULL) {
            put_text(&dim, 2, dims[i].name);
        } else {
            put_int(&dim, 1, (int64_t)dims[i].size);
        }
        put_message(&shape, 1, &dim);
    }
    put_int(&tensor, 1, type);
    put_message(&tensor, 2, &shape);
    put_message(&type_proto, 1, &tensor);
    put_text(&info, 1, name);
    put_message(&info, 2, &type_proto);
    put_message(w, field, &info);
}

const char *onnx_input(struct onnx_graph *g, const char *name, enum onnx_type type,
                       const struct onnx_dim *dims, size_t n_dims)
{
    put_value_info(&g->inputs, 11, name, type, dims, n_dims);
    return name;
}

void onnx_output(struct onnx_graph *g, const char *name, enum onnx_type type,
                 const struct onnx_dim *dims, size_t n_dims)
{
    put_value_info(&g->outputs, 12, name, type, dims, n_dims);
}

/* ---- constants ---------------------------------------------------------------------------- */

/* TensorProto { dims 1, data_type 2, name 8, raw_data 9, external_data 13, data_location 14 } */
static struct writer tensor_begin(const char *name, enum onnx_type type, const uint64_t *dims,
                                  size_t n_dims)
{
    struct writer tensor = {0};
    for (size_t i = 0; i < n_dims; i++) {
        put_int(&tensor, 1, (int64_t)dims[i]);
    }
    put_int(&tensor, 2, type);
    put_text(&tensor, 8, name);
    return tensor;
}

static const char *add_constant(struct onnx_graph *g, enum onnx_type type, const void *values,
                                size_t value_bytes, const uint64_t *dims, size_t n_dims)
{
    const char *name = onnx_name(g, "constant_%" PRIu32, g->n_values++);
    struct writer tensor = tensor_begin(name, type, dims, n_dims);
    size_t bytes = value_bytes;
    for (size_t i = 0; i < n_dims; i++) {
        bytes *= dims[i];
    }
    put_bytes(&tensor, 9, values, bytes);
    put_message(&g->constants, 5, &tensor);
    return name;
}

const char *onnx_floats(struct onnx_graph *g, const float *values, const uint64_t *dims,
                        size_t n_dims)
{
    return add_constant(g, ONNX_FLOAT, values, sizeof *values, dims, n_dims);
}

const char *onnx_float(struct onnx_graph *g, float value)
{
    return add_constant(g, ONNX_FLOAT, &value, sizeof value, NULL, 0);
}

const char *onnx_ints(struct onnx_graph *g, const int64_t *values, size_t n)
{
    uint64_t dim = n;
    return add_constant(g, ONNX_INT64, values, sizeof *values, &dim, 1);
}

const char *onnx_int(struct onnx_graph *g, int64_t value)
{
    return add_constant(g, ONNX_INT64, &value, sizeof value, NULL, 0);
}

const char *onnx_floats_outside(struct onnx_graph *g, const char *name, const char *file,
                                uint64_t offset, const uint64_t *dims, size_t n_dims)
{
    struct writer tensor = tensor_begin(name, ONNX_FLOAT, dims, n_dims);
    uint64_t bytes = sizeof(float);
    for (size_t i = 0; i < n_dims; i++) {
        bytes *= dims[i];
    }
    put_entry(&tensor, 13, "location", file);
    put_entry(&tensor, 13, "offset", onnx_name(g, "%" PRIu64, offset));
    put_entry(&tensor, 13, "length", onnx_name(g, "%" PRIu64, bytes));
    put_int(&tensor, 14, LOCATION_EXTERNAL);
    put_message(&g->constants, 5, &tensor);
    return name;
}

/* ---- nodes -------------------------------------------------------------------------------- */

/* NodeProto { input 1, output 2, name 3, op_type 4, attribute 5: AttributeProto { name 1, i 3,
 * type 20 } } */
static void put_node(struct onnx_graph *g, const char *op, const char *const *in, size_t n,
                     const char *out, struct onnx_attribute attribute)
{
    struct writer node = {0};
    for (size_t i = 0; i < n; i++) {
        put_text(&node, 1, in[i]);
    }
    put_text(&node, 2, out);
    put_text(&node, 3, out);
    put_text(&node, 4, op);
    if (attribute.name != NULL) {
        struct writer a = {0};
        put_text(&a, 1, attribute.name);
        put_int(&a, 3, attribute.value);
        put_int(&a, 20, ATTRIBUTE_INT);
        put_message(&node, 5, &a);
    }
    put_message(&g->nodes, 1, &node);
}

const char *onnx_op(struct onnx_graph *g, const char *op, const char *const *in, size_t n,
                    struct onnx_attribute attribute)
{
    const char *out = onnx_name(g, "%s_%" PRIu32, op, g->n_values++);
    put_node(g, op, in, n, out, attribute);
    return out;
}

const char *onnx_op1(struct onnx_graph *g, const char *op, const char *a)
{
    return onnx_op(g, op, &a, 1, (struct onnx_attribute){0});
}

const char *onnx_op2(struct onnx_graph *g, const char *op, const char *a, const char *b)
{
    const char *in[] = {a, b};
    return onnx_op(g, op, in, 2, (struct onnx_attribute){0});
}

const char *onnx_op3(struct onnx_graph *g, const char *op, const char *a, const char *b,
                     const char *c)
{
    const char *in[] = {a, b, c};
    return onnx_op(g, op, in, 3, (struct onnx_attribute){0});
}

void onnx_alias(struct onnx_graph *g, const char *value, const char *name)
{
    put_node(g, "Identity", &value, 1, name, (struct onnx_attribute){0});
}

/* ---- the model ---------------------------------------------------------------------------- */

void onnx_note(struct onnx_graph *g, const char *key, const char *value)
{
    put_entry(&g->notes, 14, key, value);
}

/* ModelProto { ir_version 1, producer_name 2, producer_version 3, graph 7: GraphProto { node 1,
 * name 2, initializer 5, input 11, output 12 }, opset_import 8: { domain 1, version 2 },
 * metadata_props 14 } */
bool onnx_graph_finish(struct onnx_graph *g, const char *name, const char *producer_version,
                       struct writer *out)
{
    const struct writer *const parts[] = {&g->nodes, &g->constants, &g->inputs, &g->outputs};
    struct writer graph = {0}, opset = {0};
    put_int(out, 1, IR_VERSION);
    put_text(out, 2, "undine");
    put_text(out, 3, producer_version);
    put_text(&graph, 2, name);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        writer_bytes(&graph, parts[i]->data, parts[i]->len);
        g->bad = g->bad || parts[i]->bad;
    }
    put_message(out, 7, &graph);
    put_text(&opset, 1, "");
    put_int(&opset, 2, OPSET_VERSION);
    put_message(out, 8, &opset);
    writer_bytes(out, g->notes.data, g->notes.len);
    return !g->bad && !g->notes.bad && !out->bad;
}
