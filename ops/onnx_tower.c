#include "ops/onnx_tower.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Layers of one tower, by the names that its parameters have. */
struct layers {
    struct onnx_graph *g;
    struct model *model;
    const struct model_options *options;
    const char *prefix; /* "mlp", "unit.clicks" */
    enum model_activation activation;
    uint32_t n_hidden;
};

static const struct model_param *param(const struct layers *l, uint32_t layer, const char *what)
{
    const char *name = onnx_name(l->g, "%s.%u.%s", l->prefix, layer, what);
    size_t n;
    const struct model_param *p = model_params(l->model, &n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(p[i].name, name) == 0) {
            return &p[i];
        }
    }
    UNDINE_ASSERT(l->g->bad); /* a name that was cut short by memory */
    return p;
}

static const float *values(const struct layers *l, const struct model_param *p)
{
    return model_values(l->model) + p->offset;
}

/* A vector of a layer: bias, alpha. */
static const char *vector(const struct layers *l, uint32_t layer, const char *what)
{
    const struct model_param *p = param(l, layer, what);
    uint64_t dim = p->cols;
    return onnx_floats(l->g, values(l, p), &dim, 1);
}

static const char *matrix(const struct layers *l, uint32_t layer)
{
    const struct model_param *p = param(l, layer, "weight");
    const uint64_t dims[] = {p->rows, p->cols};
    return onnx_floats(l->g, values(l, p), dims, 2);
}

/* ---- activations -------------------------------------------------------------------------- */

/* f of each channel, from one parameter of the layer. */
static const char *map_vector(const struct layers *l, uint32_t layer, const char *what,
                              float (*f)(float, const struct model_options *))
{
    const struct model_param *p = param(l, layer, what);
    uint64_t dim = p->cols;
    float *out = arena_calloc(&l->g->memory, dim, sizeof *out);
    if (out == NULL) {
        l->g->bad = true;
        return "";
    }
    for (size_t i = 0; i < dim; i++) {
        out[i] = f(values(l, p)[i], l->options);
    }
    return onnx_floats(l->g, out, &dim, 1);
}

static float inverse_deviation(float var, const struct model_options *o)
{
    return (float)(1.0 / sqrt((double)var + o->dice.eps));
}

static float one_minus(float alpha, const struct model_options *o)
{
    (void)o;
    return 1.0f - alpha;
}

/* s (alpha + (1 - alpha) p), p = sigmoid((s - mean) / deviation) */
static const char *dice(const struct layers *l, uint32_t layer, const char *s)
{
    struct onnx_graph *g = l->g;
    const char *inverse = map_vector(l, layer, "var", inverse_deviation);
    const char *centered = onnx_op2(g, "Sub", s, vector(l, layer, "mean"));
    const char *p = onnx_op1(g, "Sigmoid", onnx_op2(g, "Mul", centered, inverse));
    const char *on = onnx_op2(g, "Mul", p, map_vector(l, layer, "alpha", one_minus));
    return onnx_op2(g, "Mul", s, onnx_op2(g, "Add", on, vector(l, layer, "alpha")));
}

static const char *activate(const struct layers *l, uint32_t layer, const char *s)
{
    switch (l->activation) {
    case ACT_SIGMOID:
        return onnx_op1(l->g, "Sigmoid", s);
    case ACT_RELU:
        return onnx_op1(l->g, "Relu", s);
    case ACT_TANH:
        return onnx_op1(l->g, "Tanh", s);
    case ACT_PRELU:
        return onnx_op2(l->g, "PRelu", s, vector(l, layer, "alpha"));
    case ACT_DICE:
        break;
    }
    return dice(l, layer, s);
}

/* y W + b, for any number of axes in front. */
static const char *dense(const struct layers *l, uint32_t layer, const char *y)
{
    const char *product = onnx_op2(l->g, "MatMul", y, matrix(l, layer));
    return onnx_op2(l->g, "Add", product, vector(l, layer, "bias"));
}

/* From s_0 to the one number of each row, its axis kept. */
static const char *from_first(const struct layers *l, const char *s)
{
    for (uint32_t i = 0; i < l->n_hidden; i++) {
        s = dense(l, i + 1, activate(l, i, s));
    }
    return s;
}

const char *onnx_mlp(struct onnx_graph *g, struct model *m, const struct model_options *o,
                     const char *x)
{
    struct layers l = {g, m, o, "mlp", o->mlp.activation, o->mlp.n_hidden};
    return from_first(&l, dense(&l, 0, x));
}

/* ---- the activation unit ------------------------------------------------------------------ */

static const char *unsqueeze(struct onnx_graph *g, const char *x, int64_t axis)
{
    return onnx_op2(g, "Unsqueeze", x, onnx_ints(g, &axis, 1));
}

/* Sum of sign[i] times part i of W_0, (E, K) each; sign 0 leaves it out. */
static const char *fold(const struct layers *l, uint32_t e, const int sign[4])
{
    const struct model_param *p = param(l, 0, "weight");
    size_t size = (size_t)e * p->cols;
    const uint64_t dims[] = {e, p->cols};
    float *out = arena_calloc(&l->g->memory, size, sizeof *out);
    if (out == NULL) {
        l->g->bad = true;
        return "";
    }
    for (size_t part = 0; part < p->rows / e; part++) {
        const float *from = values(l, p) + part * size;
        for (size_t i = 0; sign[part] != 0 && i < size; i++) {
            out[i] += (float)sign[part] * from[i];
        }
    }
    return onnx_floats(l->g, out, dims, 2);
}

/* h P + (c W_c + b),  P = W_h + diag(c) W_p */
static const char *first_factorized(const struct layers *l, const struct onnx_unit_input *in)
{
    static const int paper[3][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}};
    static const int official[3][4] = {{0, 1, -1, 0}, {0, 0, 0, 1}, {1, 0, 1, 0}};
    const int(*sign)[4] = in->options->unit.input == UNIT_PAPER ? paper : official;
    struct onnx_graph *g = in->g;
    const char *w_p = fold(l, in->width, sign[1]);
    const char *scaled = onnx_op2(g, "Mul", unsqueeze(g, in->c, 2), w_p);
    const char *p = onnx_op2(g, "Add", scaled, fold(l, in->width, sign[0]));
    const char *query = onnx_op2(g, "MatMul", in->c, fold(l, in->width, sign[2]));
    query = onnx_op2(g, "Add", query, vector(l, 0, "bias"));
    return onnx_op2(g, "Add", onnx_op2(g, "MatMul", in->e, p), unsqueeze(g, query, 1));
}

/* [h, h*c, c] W + b, or [c, h, c-h, c*h] W + b */
static const char *first_naive(const struct layers *l, const struct onnx_unit_input *in)
{
    struct onnx_graph *g = in->g;
    const char *c_1 = unsqueeze(g, in->c, 1);
    const char *product = onnx_op2(g, "Mul", in->e, c_1);
    const char *shape = onnx_op1(g, "Shape", product);
    const char *h = onnx_op2(g, "Expand", in->e, shape), *c = onnx_op2(g, "Expand", c_1, shape);
    const char *input[4] = {h, product, c};
    size_t n = 3;
    if (in->options->unit.input == UNIT_OFFICIAL) {
        input[0] = c;
        input[1] = h;
        input[2] = onnx_op2(g, "Sub", c, h);
        input[3] = product;
        n = 4;
    }
    return dense(l, 0, onnx_op(g, "Concat", input, n, (struct onnx_attribute){"axis", 2}));
}

const char *onnx_unit(const struct onnx_unit_input *in, const char *sequence)
{
    const struct model_options *o = in->options;
    struct layers l = {.g = in->g,
                       .model = in->model,
                       .options = o,
                       .prefix = onnx_name(in->g, "unit.%s", sequence),
                       .activation = o->unit.activation,
                       .n_hidden = o->unit.n_hidden};
    const char *s = in->form == ONNX_UNIT_NAIVE ? first_naive(&l, in) : first_factorized(&l, in);
    const char *a = from_first(&l, s);
    const int64_t axis = 2;
    return onnx_op2(in->g, "Squeeze", a, onnx_ints(in->g, &axis, 1));
}
