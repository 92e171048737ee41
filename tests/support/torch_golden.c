#include "tests/support/torch_golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *load(const char *name)
{
    char path[512];
    json_error_t where;
    (void)snprintf(path, sizeof path, "%s/%s.json", TORCH_GOLDEN_DIR, name);
    json_t *root = json_load_file(path, 0, &where);
    if (root == NULL) {
        (void)fprintf(stderr, "%s line %d: %s\n", path, where.line, where.text);
        abort();
    }
    return root;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    UNDINE_ASSERT(text != NULL);
    return text;
}

static uint32_t number_of(const json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

static void read_fields(struct schema *s, const json_t *fields)
{
    static const char *const groups[] = {"user", "candidate", "context"};
    for (size_t i = 0; i < json_array_size(fields); i++) {
        const json_t *from = json_array_get(fields, i);
        struct schema_field *f = &s->fields[s->n_fields++];
        (void)snprintf(f->name, sizeof f->name, "%s", text_of(from, "name"));
        f->table = (uint32_t)schema_table_find(s, text_of(from, "table"));
        f->pool = strcmp(text_of(from, "pool"), "mean") == 0 ? SCHEMA_POOL_MEAN : SCHEMA_POOL_SUM;
        f->values_max = number_of(from, "values_max");
        for (int k = 0; k < 3; k++) {
            if (strcmp(text_of(from, "group"), groups[k]) == 0) {
                f->group = (enum schema_group)k;
            }
        }
    }
}

static bool holds_text(const json_t *list, const char *text)
{
    bool found = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        found = found || strcmp(json_string_value(json_array_get(list, i)), text) == 0;
    }
    return found;
}

static void read_schema(struct schema *s, const json_t *data, const json_t *file)
{
    struct undine_err err = {0};
    const json_t *tables = json_object_get(data, "tables");
    const json_t *sequences = json_object_get(data, "sequences");
    uint32_t n_sequences = number_of(file, "sequences");
    UNDINE_ASSERT(n_sequences <= json_array_size(sequences));
    for (size_t i = 0; i < json_array_size(tables); i++) {
        struct schema_table *t = &s->tables[s->n_tables++];
        (void)snprintf(t->name, sizeof t->name, "%s", text_of(json_array_get(tables, i), "name"));
        t->dim = number_of(json_array_get(tables, i), "dim");
    }
    read_fields(s, json_object_get(data, "fields"));
    for (size_t i = 0; i < n_sequences; i++) {
        const json_t *fields = json_object_get(json_array_get(sequences, i), "fields");
        struct schema_sequence *q = &s->sequences[s->n_sequences++];
        (void)snprintf(q->name, sizeof q->name, "%s",
                       text_of(json_array_get(sequences, i), "name"));
        q->length = 100;
        q->from_click = true;
        q->own_tables = holds_text(json_object_get(file, "own_tables"), q->name);
        q->n_fields = (uint32_t)json_array_size(fields);
        for (uint32_t k = 0; k < q->n_fields; k++) {
            q->field[k] =
                (uint32_t)schema_field_find(s, json_string_value(json_array_get(fields, k)));
        }
    }
    int rc = schema_check(s, &err);
    UNDINE_ASSERT(rc == UNDINE_OK);
}

void torch_golden_open(struct torch_golden *g, const char *name)
{
    struct undine_err err = {0};
    *g =
        (struct torch_golden){.data = load("data"), .initial = load("initial"), .file = load(name)};
    read_schema(&g->schema, g->data, g->file);
    g->batch_max = number_of(g->file, "batch");
    char *options = json_dumps(json_object_get(g->file, "model"), 0);
    int rc = model_options_from_json(&g->model, options, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "%s: %s\n", name, err.msg);
        abort();
    }
    free(options);
}

void torch_golden_close(struct torch_golden *g)
{
    json_decref(g->data);
    json_decref(g->initial);
    json_decref(g->file);
}

uint32_t torch_golden_rows(const struct torch_golden *g, uint32_t table)
{
    const struct schema_table *t = &g->schema.tables[table];
    uint32_t declared = t->own ? t->source : table;
    return number_of(json_array_get(json_object_get(g->data, "tables"), declared), "rows");
}

double torch_golden_initial(const struct torch_golden *g, const char *name, uint32_t rows,
                            uint32_t cols, size_t i)
{
    char key[2 * MODEL_PARAM_NAME_MAX];
    (void)snprintf(key, sizeof key, "%s %ux%u", name, rows, cols);
    const json_t *tensor = json_object_get(json_object_get(g->initial, "values"), key);
    if (json_array_size(tensor) != (size_t)rows * cols) {
        (void)fprintf(stderr, "no first weights `%s`\n", key);
        abort();
    }
    return json_number_value(json_array_get(tensor, i));
}

void torch_golden_start(const struct torch_golden *g, struct model *m)
{
    size_t n;
    const struct model_param *p = model_params(m, &n);
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; p[k].trained && i < (size_t)p[k].rows * p[k].cols; i++) {
            model_values(m)[p[k].offset + i] =
                (real)torch_golden_initial(g, p[k].name, p[k].rows, p[k].cols, i);
        }
    }
}

/* ---- a batch ------------------------------------------------------------------------------ */

static void *must(void *p)
{
    UNDINE_ASSERT(p != NULL);
    return p;
}

/* Bags to append to. */
struct bags {
    uint32_t *offset, *row;
    size_t n;
};

static struct bags bags_new(void)
{
    enum { MANY = 1 << 12 };
    return (struct bags){.offset = must(calloc(MANY, sizeof(uint32_t))),
                         .row = must(calloc(MANY, sizeof(uint32_t)))};
}

static void bags_add(struct bags *b, const json_t *ids)
{
    uint32_t at = b->offset[b->n];
    for (size_t i = 0; i < json_array_size(ids); i++) {
        b->row[at++] = (uint32_t)json_integer_value(json_array_get(ids, i));
    }
    b->offset[++b->n] = at;
}

static void batch_sequence(const struct torch_golden *g, struct toy_batch *out, uint32_t q)
{
    const json_t *examples = json_object_get(g->data, "examples");
    const struct schema_sequence *s = &g->schema.sequences[q];
    struct batch_sequences *to = &out->batch.sequence[q];
    const json_t *last = NULL;
    uint32_t *offset = must(calloc((size_t)g->batch_max + 1, sizeof *offset));
    uint32_t *of = must(calloc((size_t)g->batch_max + 1, sizeof *of));
    uint32_t n = 0;
    struct bags step[SCHEMA_STEP_FIELDS_MAX];
    for (uint32_t f = 0; f < s->n_fields; f++) {
        step[f] = bags_new();
    }
    for (uint32_t e = 0; e < g->batch_max; e++) {
        const json_t *steps =
            json_array_get(json_object_get(json_array_get(examples, e), "sequences"), q);
        if (last != NULL && json_equal(last, steps)) {
            of[e] = n - 1; /* kept once */
            continue;
        }
        last = steps;
        of[e] = n++;
        offset[n] = offset[n - 1] + (uint32_t)json_array_size(steps);
        for (size_t t = 0; t < json_array_size(steps); t++) {
            for (uint32_t f = 0; f < s->n_fields; f++) {
                bags_add(&step[f], json_array_get(json_array_get(steps, t), f));
            }
        }
    }
    *to = (struct batch_sequences){.n = n, .step_offset = offset, .of_example = of};
    for (uint32_t f = 0; f < s->n_fields; f++) {
        to->step[f] = (struct batch_bags){step[f].offset, step[f].row};
    }
}

static void batch_table(const struct torch_golden *g, struct toy_batch *out, uint32_t k)
{
    char name[SCHEMA_NAME_MAX + 8];
    const struct schema_table *t = &g->schema.tables[k];
    uint32_t rows = torch_golden_rows(g, k), width = model_row_width(&g->schema, &g->model, k);
    (void)snprintf(name, sizeof name, "table.%s", t->name);
    out->weight[k] = must(calloc((size_t)rows * width, sizeof(real)));
    out->grad[k] = must(calloc((size_t)rows * width, sizeof(real)));
    for (size_t i = 0; i < (size_t)rows * width; i++) {
        out->weight[k][i] = (real)torch_golden_initial(g, name, rows, width, i);
    }
    out->batch.table[k] = (struct batch_table){rows, width, out->weight[k], out->grad[k]};
}

void torch_golden_batch(const struct torch_golden *g, struct toy_batch *out)
{
    const json_t *examples = json_object_get(g->data, "examples");
    memset(out, 0, sizeof *out);
    out->schema = g->schema;
    out->batch.n = g->batch_max;
    out->label = must(calloc(g->batch_max, sizeof *out->label));
    for (uint32_t k = 0; k < g->schema.n_tables; k++) {
        batch_table(g, out, k);
    }
    for (uint32_t f = 0; f < g->schema.n_fields; f++) {
        struct bags bags = bags_new();
        for (uint32_t e = 0; e < g->batch_max; e++) {
            const json_t *fields = json_object_get(json_array_get(examples, e), "fields");
            bags_add(&bags, json_array_get(fields, f));
        }
        out->batch.field[f] = (struct batch_bags){bags.offset, bags.row};
    }
    for (uint32_t q = 0; q < g->schema.n_sequences; q++) {
        batch_sequence(g, out, q);
    }
    for (uint32_t e = 0; e < g->batch_max; e++) {
        out->label[e] = (real)number_of(json_array_get(examples, e), "label");
    }
}

double torch_golden_error(const json_t *expected, const real *got, size_t n)
{
    /* Some gradients are 0 by the equations: a bias in front of a softmax. */
    double largest = 1e-3, worst = 0.0;
    if (json_array_size(expected) != n) {
        return INFINITY;
    }
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(json_number_value(json_array_get(expected, i))));
    }
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - json_number_value(json_array_get(expected, i)));
        worst = error <= worst ? worst : error; /* NaN stays */
    }
    return worst / largest;
}
