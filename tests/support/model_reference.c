#include "tests/support/model_reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *zeros(size_t n)
{
    double *x = calloc(n + 1, sizeof *x);
    UNDINE_ASSERT(x != NULL);
    return x;
}

size_t reference_offset(const struct reference *r, const char *prefix, const char *name)
{
    char full[2 * MODEL_PARAM_NAME_MAX];
    (void)snprintf(full, sizeof full, "%s.%s", prefix, name);
    for (size_t i = 0; i < r->n_params; i++) {
        if (strcmp(r->params[i].name, full) == 0) {
            return r->params[i].offset;
        }
    }
    (void)fprintf(stderr, "no parameter %s\n", full);
    abort();
}

static double sigmoid(double z)
{
    return z >= 0 ? 1.0 / (1.0 + exp(-z)) : exp(z) / (1.0 + exp(z));
}

/* Channel c of s (n, width). */
static void dice_channel(const struct reference *r, const char *prefix, double *s, size_t n,
                         size_t width, size_t c)
{
    double alpha = r->values[reference_offset(r, prefix, "alpha") + c];
    double mean = r->values[reference_offset(r, prefix, "mean") + c];
    double var = r->values[reference_offset(r, prefix, "var") + c];
    bool of_batch = r->opt->dice.mode == DICE_BATCH || (r->opt->dice.mode == DICE_AUTO && n >= 32);
    if (r->train && of_batch && n > 0) {
        mean = var = 0.0;
        for (size_t i = 0; i < n; i++) {
            mean += s[i * width + c] / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            var += (s[i * width + c] - mean) * (s[i * width + c] - mean) / (double)n;
        }
    }
    for (size_t i = 0; i < n; i++) {
        double x = s[i * width + c];
        double p = sigmoid((x - mean) / sqrt(var + r->opt->dice.eps));
        s[i * width + c] = p * x + (1.0 - p) * alpha * x;
    }
}

static void activate(const struct reference *r, const char *prefix, enum model_activation kind,
                     double *s, size_t n, size_t width)
{
    for (size_t c = 0; kind == ACT_DICE && c < width; c++) {
        dice_channel(r, prefix, s, n, width, c);
    }
    for (size_t i = 0; i < n * width; i++) {
        switch (kind) {
        case ACT_SIGMOID:
            s[i] = sigmoid(s[i]);
            break;
        case ACT_RELU:
            s[i] = fmax(s[i], 0.0);
            break;
        case ACT_TANH:
            s[i] = tanh(s[i]);
            break;
        case ACT_PRELU:
            s[i] *= s[i] > 0 ? 1.0 : r->values[reference_offset(r, prefix, "alpha") + i % width];
            break;
        case ACT_DICE:
            break;
        }
    }
}

/* out (n, cols) = x (n, rows) W + b of the layer `prefix` */
static double *affine(const struct reference *r, const char *prefix, const double *x, size_t n,
                      size_t rows, size_t cols)
{
    const double *w = r->values + reference_offset(r, prefix, "weight");
    const double *b = r->values + reference_offset(r, prefix, "bias");
    double *out = zeros(n * cols);
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < cols; c++) {
            out[i * cols + c] = b[c];
            for (size_t k = 0; k < rows; k++) {
                out[i * cols + c] += x[i * rows + k] * w[k * cols + c];
            }
        }
    }
    return out;
}

/* x (n, in) is freed; returns (n) */
static double *tower(const struct reference *r, const char *prefix, double *x, size_t n, size_t in,
                     uint32_t n_hidden, const uint32_t *hidden, enum model_activation kind)
{
    char name[MODEL_PARAM_NAME_MAX];
    for (uint32_t i = 0; i <= n_hidden; i++) {
        size_t out = i < n_hidden ? hidden[i] : 1;
        (void)snprintf(name, sizeof name, "%.50s.%u", prefix, i);
        double *y = affine(r, name, x, n, in, out);
        if (i < n_hidden) {
            activate(r, name, kind, y, n, out);
        }
        free(x);
        x = y;
        in = out;
    }
    return x;
}

/* ADDS the pooled bag into out. */
static void bag(const struct reference *r, uint32_t field, uint32_t table,
                const struct batch_bags *bags, size_t i, double *out)
{
    const struct schema_field *f = &r->schema->fields[field];
    uint32_t dim = r->schema->tables[table].dim;
    uint32_t width = r->batch->table[table].width;
    uint32_t n = bags->offset[i + 1] - bags->offset[i];
    for (uint32_t k = bags->offset[i]; k < bags->offset[i + 1]; k++) {
        for (uint32_t d = 0; d < dim; d++) {
            double w = r->table[table][(size_t)bags->row[k] * width + d];
            out[d] += f->pool == SCHEMA_POOL_MEAN ? w / n : w;
        }
    }
}

/* The vector of a step, or with step = -1 the query of example b. */
static void vector(const struct reference *r, uint32_t q, long step, size_t b, double *out)
{
    const struct schema_sequence *s = &r->schema->sequences[q];
    for (uint32_t i = 0; i < s->n_fields; i++) {
        uint32_t f = s->field[i];
        if (step >= 0) {
            bag(r, f, s->table[i], &r->batch->sequence[q].step[i], (size_t)step, out);
        } else {
            bag(r, f, r->schema->fields[f].table, &r->batch->field[f], b, out);
        }
        out += schema_field_dim(r->schema, f);
    }
}

static void unit_row(enum model_unit_input input, double *row, const double *h, const double *c,
                     size_t e)
{
    for (size_t d = 0; d < e; d++) {
        if (input == UNIT_PAPER) {
            row[d] = h[d];
            row[e + d] = h[d] * c[d];
            row[2 * e + d] = c[d];
        } else {
            row[d] = c[d];
            row[e + d] = h[d];
            row[2 * e + d] = c[d] - h[d];
            row[3 * e + d] = c[d] * h[d];
        }
    }
}

/* Numbers of the unit for all pairs of the sequence, in order. */
static double *unit_numbers(const struct reference *r, uint32_t q, size_t pairs)
{
    const struct batch_sequences *in = &r->batch->sequence[q];
    size_t e = schema_step_dim(r->schema, q);
    size_t width = (r->opt->unit.input == UNIT_PAPER ? 3 : 4) * e;
    double *x = zeros(pairs * width), *row = x;
    double *h = zeros(e), *c = zeros(e);
    char prefix[MODEL_PARAM_NAME_MAX];
    (void)snprintf(prefix, sizeof prefix, "unit.%s", r->schema->sequences[q].name);
    for (size_t b = 0; b < r->batch->n; b++) {
        uint32_t k = in->of_example[b];
        memset(c, 0, e * sizeof *c);
        vector(r, q, -1, b, c);
        for (uint32_t t = in->step_offset[k]; t < in->step_offset[k + 1]; t++, row += width) {
            memset(h, 0, e * sizeof *h);
            vector(r, q, (long)t, b, h);
            unit_row(r->opt->unit.input, row, h, c, e);
        }
    }
    free(h);
    free(c);
    return tower(r, prefix, x, pairs, width, r->opt->unit.n_hidden, r->opt->unit.hidden,
                 r->opt->unit.activation);
}

static void weigh(const struct reference *r, double *a, size_t steps, size_t e)
{
    bool din = r->opt->kind == MODEL_DIN;
    bool softmax =
        r->opt->unit.normalize == UNIT_SOFTMAX || r->opt->unit.normalize == UNIT_SCALED_SOFTMAX;
    double by = r->opt->unit.normalize == UNIT_SCALED_SOFTMAX ? sqrt((double)e) : 1.0, sum = 0.0;
    for (size_t i = 0; i < steps; i++) {
        sum += exp(a[i] / by);
    }
    for (size_t i = 0; i < steps; i++) {
        if (!din) {
            a[i] = r->opt->base_pool == SCHEMA_POOL_MEAN ? 1.0 / (double)steps : 1.0;
        } else if (softmax) {
            a[i] = exp(a[i] / by) / sum;
        } else if (r->opt->unit.normalize == UNIT_SQRT_DIM) {
            a[i] /= sqrt((double)e);
        } else if (r->opt->unit.normalize == UNIT_LENGTH) {
            a[i] /= (double)steps;
        }
    }
}

/* [v | c*v | s | c*s] of example b, v being there. */
static void cross(const struct reference *r, uint32_t q, size_t b, double *v)
{
    const struct batch_sequences *in = &r->batch->sequence[q];
    size_t e = schema_step_dim(r->schema, q);
    double *c = zeros(e), *s = zeros(e), *to = v + e;
    vector(r, q, -1, b, c);
    for (uint32_t t = in->step_offset[in->of_example[b]];
         t < in->step_offset[in->of_example[b] + 1]; t++) {
        vector(r, q, (long)t, b, s);
    }
    for (size_t d = 0; r->opt->product && d < e; d++) {
        *to++ = c[d] * v[d];
    }
    for (size_t d = 0; r->opt->sum_history && d < e; d++) {
        to[d] = s[d];
        to[e + d] = c[d] * s[d];
    }
    free(c);
    free(s);
}

static size_t sequence_width(const struct reference *r, uint32_t q)
{
    size_t parts = 1 + (r->opt->product ? 1U : 0U) + (r->opt->sum_history ? 2U : 0U);
    return parts * schema_step_dim(r->schema, q);
}

static void sequence(const struct reference *r, uint32_t q, double *x, size_t x_dim)
{
    const struct batch_sequences *in = &r->batch->sequence[q];
    size_t e = schema_step_dim(r->schema, q), pairs = 0, pair = 0;
    for (size_t b = 0; b < r->batch->n; b++) {
        pairs += in->step_offset[in->of_example[b] + 1] - in->step_offset[in->of_example[b]];
    }
    double *a = r->opt->kind == MODEL_DIN ? unit_numbers(r, q, pairs) : zeros(pairs);
    double *h = zeros(e);
    for (size_t b = 0; b < r->batch->n; b++) {
        uint32_t first = in->step_offset[in->of_example[b]];
        size_t steps = in->step_offset[in->of_example[b] + 1] - first;
        weigh(r, a + pair, steps, e);
        for (size_t t = 0; t < steps; t++, pair++) {
            memset(h, 0, e * sizeof *h);
            vector(r, q, (long)(first + t), b, h);
            for (size_t d = 0; d < e; d++) {
                x[b * x_dim + d] += a[pair] * h[d];
            }
        }
        cross(r, q, b, x + b * x_dim);
    }
    free(a);
    free(h);
}

/* First order term of example b. */
static double linear(const struct reference *r, size_t b)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < r->schema->n_fields; i++) {
        const struct schema_field *f = &r->schema->fields[i];
        const struct batch_bags *bags = &r->batch->field[i];
        uint32_t dim = r->schema->tables[f->table].dim, n = bags->offset[b + 1] - bags->offset[b];
        for (uint32_t k = bags->offset[b]; k < bags->offset[b + 1]; k++) {
            double w = r->table[f->table][bags->row[k] * (dim + 1) + dim];
            sum += f->pool == SCHEMA_POOL_MEAN ? w / n : w;
        }
    }
    return sum;
}

void reference_logits(const struct reference *r, double *logit)
{
    size_t x_dim = 0, at = 0;
    for (uint32_t i = 0; i < r->schema->n_fields; i++) {
        x_dim += schema_field_dim(r->schema, i);
    }
    for (uint32_t q = 0; q < r->schema->n_sequences; q++) {
        x_dim += sequence_width(r, q);
    }
    double *x = zeros(r->batch->n * x_dim);
    for (uint32_t i = 0; i < r->schema->n_fields; i++) {
        for (size_t b = 0; b < r->batch->n; b++) {
            bag(r, i, r->schema->fields[i].table, &r->batch->field[i], b, x + b * x_dim + at);
        }
        at += schema_field_dim(r->schema, i);
    }
    for (uint32_t q = 0; q < r->schema->n_sequences; q++) {
        sequence(r, q, x + at, x_dim);
        at += sequence_width(r, q);
    }
    double *out = tower(r, "mlp", x, r->batch->n, x_dim, r->opt->mlp.n_hidden, r->opt->mlp.hidden,
                        r->opt->mlp.activation);
    memcpy(logit, out, r->batch->n * sizeof *out);
    free(out);
    for (size_t b = 0; r->opt->linear && b < r->batch->n; b++) {
        logit[b] += linear(r, b);
    }
}

double reference_loss(const struct reference *r, const real *label)
{
    double *logit = zeros(r->batch->n);
    double sum = 0.0;
    reference_logits(r, logit);
    for (size_t b = 0; b < r->batch->n; b++) {
        sum += model_logloss(logit[b], (double)label[b]);
    }
    free(logit);
    return sum / (double)r->batch->n;
}
