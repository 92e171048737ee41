#include "ops/onnx_model.h"

#include "ops/onnx_tower.h"

#include <math.h>
#include <string.h>

static const char USERS[] = "users", CANDIDATES[] = "candidates", STEPS[] = "steps";
static const float FAR_BELOW = -1e30f; /* e to it is 0 */

struct build {
    struct onnx_graph *g;
    const struct onnx_source *from;
    const char *field_rows[SCHEMA_FIELDS_MAX]; /* row numbers (N, V) */
    const char *field[SCHEMA_FIELDS_MAX];      /* pooled (N, D) */
    const char *wide;                          /* shape [B, 1] */
    const char *linear;                        /* (B, 1) or NULL */
    const char *one;
};

const char *onnx_field_input(struct onnx_graph *g, const struct schema *s, uint32_t which)
{
    static const char *const groups[] = {"user", "candidate", "context"};
    return onnx_name(g, "%s.%s", groups[s->fields[which].group], s->fields[which].name);
}

const char *onnx_step_input(struct onnx_graph *g, const struct schema *s, uint32_t sequence,
                            uint32_t k)
{
    const struct schema_sequence *q = &s->sequences[sequence];
    return onnx_name(g, "steps.%s.%s", q->name, s->fields[q->field[k]].name);
}

/* ---- small words -------------------------------------------------------------------------- */

static const char *table_name(struct build *b, const struct onnx_table *t)
{
    return onnx_name(b->g, "table.%s", t->name);
}

static const char *axis(struct build *b, int64_t which)
{
    return onnx_ints(b->g, &which, 1);
}

static const char *sum(struct build *b, const char *x, int64_t over, bool keep)
{
    const char *in[] = {x, axis(b, over)};
    return onnx_op(b->g, "ReduceSum", in, 2, (struct onnx_attribute){"keepdims", keep});
}

static const char *concat(struct build *b, const char *const *in, size_t n, int64_t along)
{
    return n == 1 ? in[0] : onnx_op(b->g, "Concat", in, n, (struct onnx_attribute){"axis", along});
}

/* Columns [first, last) of the last of n_axes axes. */
static const char *columns(struct build *b, const char *x, int64_t first, int64_t last,
                           int64_t n_axes)
{
    const char *in[] = {x, axis(b, first), axis(b, last), axis(b, n_axes - 1)};
    return onnx_op(b->g, "Slice", in, 4, (struct onnx_attribute){0});
}

/* 1 where a row number is that of a value. */
static const char *present(struct build *b, const char *rows, const struct onnx_table *t)
{
    const char *none = onnx_int(b->g, (int64_t)onnx_row_none(t));
    const char *is = onnx_op1(b->g, "Not", onnx_op2(b->g, "Equal", rows, none));
    return onnx_op(b->g, "Cast", &is, 1, (struct onnx_attribute){"to", ONNX_FLOAT});
}

/* ---- bags --------------------------------------------------------------------------------- */

/* rows (.., V), the last of n_axes axes, to the pooled rows (.., W). */
static const char *pool(struct build *b, const char *rows, int64_t n_axes, uint32_t table,
                        const struct schema_field *f)
{
    const struct onnx_table *t = &b->from->table[table];
    const char *values = onnx_op2(b->g, "Gather", table_name(b, t), rows);
    if (f->values_max == 1) {
        return onnx_op2(b->g, "Squeeze", values, axis(b, n_axes - 1));
    }
    const char *total = sum(b, values, n_axes - 1, false);
    if (f->pool == SCHEMA_POOL_SUM) {
        return total;
    }
    const char *n = sum(b, present(b, rows, t), n_axes - 1, true);
    return onnx_op2(b->g, "Div", total, onnx_op2(b->g, "Max", n, b->one));
}

/* Without the linear weight that may stand behind the embedding. */
static const char *embedding(struct build *b, const char *pooled, int64_t n_axes, uint32_t table)
{
    uint32_t dim = b->from->schema->tables[table].dim;
    return b->from->table[table].width == dim ? pooled : columns(b, pooled, 0, dim, n_axes);
}

static void add_linear(struct build *b, const char *pooled, uint32_t table)
{
    uint32_t dim = b->from->schema->tables[table].dim;
    if (b->from->table[table].width == dim) {
        return;
    }
    const char *weight = columns(b, pooled, dim, dim + 1, 2);
    b->linear = b->linear == NULL ? weight : onnx_op2(b->g, "Add", b->linear, weight);
}

static void add_fields(struct build *b)
{
    const struct schema *s = b->from->schema;
    for (uint32_t i = 0; i < s->n_fields; i++) {
        const struct schema_field *f = &s->fields[i];
        const struct onnx_dim shape[] = {
            {.name = f->group == SCHEMA_CANDIDATE ? CANDIDATES : USERS},
            {.name = f->values_max == 1 ? NULL : onnx_name(b->g, "%s_values", f->name), .size = 1}};
        b->field_rows[i] = onnx_input(b->g, onnx_field_input(b->g, s, i), ONNX_INT64, shape, 2);
        const char *pooled = pool(b, b->field_rows[i], 2, f->table, f);
        b->field[i] = embedding(b, pooled, 2, f->table);
        add_linear(b, pooled, f->table);
    }
}

/* x (N, D) for every candidate (B, D). */
static const char *widen(struct build *b, const char *x)
{
    return onnx_op2(b->g, "Expand", x, b->wide);
}

/* ---- sequences ---------------------------------------------------------------------------- */

struct steps {
    const char *e;       /* (U, H, E) */
    const char *present; /* (U, H): 1 where there is a step, or NULL: not asked for */
    const char *query;   /* (B, E) */
    uint32_t width;
};

/* Does anything but sums look at the steps? */
static bool counts_steps(const struct model_options *o)
{
    return o->kind == MODEL_DIN
               ? o->unit.normalize != UNIT_NONE && o->unit.normalize != UNIT_SQRT_DIM
               : o->base_pool == SCHEMA_POOL_MEAN;
}

static struct steps add_steps(struct build *b, uint32_t sequence)
{
    const struct schema *s = b->from->schema;
    const struct schema_sequence *q = &s->sequences[sequence];
    const char *e[SCHEMA_STEP_FIELDS_MAX], *c[SCHEMA_STEP_FIELDS_MAX], *there = NULL;
    for (uint32_t k = 0; k < q->n_fields; k++) {
        const struct schema_field *f = &s->fields[q->field[k]];
        const struct onnx_dim shape[] = {
            {.name = USERS},
            {.name = onnx_name(b->g, "%s_%s", q->name, STEPS)},
            {.name = f->values_max == 1 ? NULL : onnx_name(b->g, "%s_%s_values", q->name, f->name),
             .size = 1}};
        const char *rows =
            onnx_input(b->g, onnx_step_input(b->g, s, sequence, k), ONNX_INT64, shape, 3);
        e[k] = embedding(b, pool(b, rows, 3, q->table[k], f), 3, q->table[k]);
        c[k] = b->field[q->field[k]];
        if (counts_steps(b->from->options)) {
            const char *values = sum(b, present(b, rows, &b->from->table[q->table[k]]), 2, false);
            there = there == NULL ? values : onnx_op2(b->g, "Add", there, values);
        }
    }
    return (struct steps){
        .e = concat(b, e, q->n_fields, 2),
        .present = there != NULL ? onnx_op2(b->g, "Min", there, b->one) : NULL,
        .query = concat(b, c, q->n_fields, 1),
        .width = schema_step_dim(s, sequence),
    };
}

/* The unit's numbers a (B, H) to weights: sequence.c, normalize. */
static const char *normalize(struct build *b, const char *a, const struct steps *s)
{
    enum model_normalize how = b->from->options->unit.normalize;
    if (how == UNIT_SQRT_DIM || how == UNIT_SCALED_SOFTMAX) {
        a = onnx_op2(b->g, "Mul", a, onnx_float(b->g, (float)(1.0 / sqrt((double)s->width))));
    }
    if (how == UNIT_LENGTH) {
        const char *n = onnx_op2(b->g, "Max", sum(b, s->present, 1, true), b->one);
        return onnx_op2(b->g, "Div", a, n);
    }
    if (how == UNIT_SOFTMAX || how == UNIT_SCALED_SOFTMAX) {
        const char *is = onnx_op2(b->g, "Greater", s->present, onnx_float(b->g, 0));
        a = onnx_op3(b->g, "Where", is, a, onnx_float(b->g, FAR_BELOW));
        a = onnx_op(b->g, "Softmax", &a, 1, (struct onnx_attribute){"axis", 1});
        a = onnx_op2(b->g, "Mul", a, s->present); /* no steps at all */
    }
    return a;
}

/* v (B, E) = sum of weight times e. */
static const char *pool_din(struct build *b, uint32_t sequence, const struct steps *s)
{
    struct onnx_unit_input in = {.g = b->g,
                                 .model = b->from->model,
                                 .options = b->from->options,
                                 .form = b->from->unit,
                                 .e = s->e,
                                 .c = s->query,
                                 .width = s->width};
    const char *a = onnx_unit(&in, b->from->schema->sequences[sequence].name);
    a = normalize(b, a, s);
    const char *v = onnx_op2(b->g, "MatMul", onnx_op2(b->g, "Unsqueeze", a, axis(b, 1)), s->e);
    return onnx_op2(b->g, "Squeeze", v, axis(b, 1));
}

static const char *pool_base(struct build *b, const struct steps *s, const char *total)
{
    if (s->present == NULL) {
        return widen(b, total);
    }
    const char *n = onnx_op2(b->g, "Max", sum(b, s->present, 1, true), b->one);
    return widen(b, onnx_op2(b->g, "Div", total, n));
}

/* What x holds of the sequence: [v | c*v | s | c*s], cross.h. */
static size_t add_sequence(struct build *b, uint32_t sequence, const char **x)
{
    const struct model_options *o = b->from->options;
    struct steps s = add_steps(b, sequence);
    size_t n = 0;
    bool sums = o->kind == MODEL_BASE || o->sum_history;
    const char *total = sums ? sum(b, s.e, 1, false) : NULL;
    const char *v = o->kind == MODEL_DIN ? pool_din(b, sequence, &s) : pool_base(b, &s, total);
    x[n++] = v;
    if (o->product) {
        x[n++] = onnx_op2(b->g, "Mul", s.query, v);
    }
    if (o->sum_history) {
        x[n++] = widen(b, total);
        x[n++] = onnx_op2(b->g, "Mul", s.query, total);
    }
    return n;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static int find_candidate_field(const struct schema *s, uint32_t *out, struct undine_err *err)
{
    for (uint32_t i = 0; i < s->n_fields; i++) {
        if (s->fields[i].group == SCHEMA_CANDIDATE) {
            *out = i;
            return UNDINE_OK;
        }
    }
    return undine_err_set(err, UNDINE_EINVAL,
                          "the schema has no candidate field, so nothing says how many scores a "
                          "run of the graph should give");
}

static void add_outputs(struct build *b, const char *logit)
{
    const struct onnx_dim shape[] = {{.name = CANDIDATES}};
    if (b->linear != NULL) {
        logit = onnx_op2(b->g, "Add", logit, b->linear);
    }
    logit = onnx_op2(b->g, "Squeeze", logit, axis(b, 1));
    onnx_alias(b->g, logit, "logit");
    onnx_alias(b->g, onnx_op1(b->g, "Sigmoid", logit), "score");
    onnx_output(b->g, "score", ONNX_FLOAT, shape, 1);
    onnx_output(b->g, "logit", ONNX_FLOAT, shape, 1);
}

int onnx_model_build(struct onnx_graph *g, const struct onnx_source *from, struct undine_err *err)
{
    const struct schema *s = from->schema;
    struct build b = {.g = g, .from = from, .one = onnx_float(g, 1)};
    const char *x[SCHEMA_FIELDS_MAX + 4 * SCHEMA_SEQUENCES_MAX];
    size_t n = 0;
    uint32_t candidate = 0;
    int rc = find_candidate_field(s, &candidate, err);
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < s->n_tables; i++) {
        const struct onnx_table *t = &from->table[i];
        const uint64_t dims[] = {t->n_rows + 2, t->width};
        onnx_floats_outside(g, table_name(&b, t), t->file, t->offset, dims, 2);
    }
    add_fields(&b);
    const char *count =
        onnx_op2(g, "Gather", onnx_op1(g, "Shape", b.field_rows[candidate]), axis(&b, 0));
    const char *shape[] = {count, axis(&b, 1)};
    b.wide = concat(&b, shape, 2, 0);
    for (uint32_t i = 0; i < s->n_fields; i++) {
        x[n++] = s->fields[i].group == SCHEMA_CANDIDATE ? b.field[i] : widen(&b, b.field[i]);
    }
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        n += add_sequence(&b, i, x + n);
    }
    add_outputs(&b, onnx_mlp(g, from->model, from->options, concat(&b, x, n, 1)));
    return UNDINE_OK;
}
