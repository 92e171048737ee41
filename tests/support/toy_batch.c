#include "tests/support/toy_batch.h"

#include "learner/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
    UNDINE_ASSERT(p != NULL);
    return p;
}

static void add_table(struct schema *s, const char *name, uint32_t dim)
{
    struct schema_table *t = &s->tables[s->n_tables++];
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    t->dim = dim;
}

static void add_field(struct schema *s, const char *name, enum schema_group group,
                      const char *table, enum schema_pool pool, uint32_t values_max)
{
    struct schema_field *f = &s->fields[s->n_fields++];
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->group = group;
    f->table = (uint32_t)schema_table_find(s, table);
    f->pool = pool;
    f->values_max = values_max;
}

static void add_sequence(struct schema *s, const char *name, const char *first, const char *second)
{
    struct schema_sequence *q = &s->sequences[s->n_sequences++];
    (void)snprintf(q->name, sizeof q->name, "%s", name);
    q->length = SCHEMA_LENGTH_MAX;
    q->n_fields = 2;
    q->field[0] = (uint32_t)schema_field_find(s, first);
    q->field[1] = (uint32_t)schema_field_find(s, second);
    q->from_click = true;
}

void toy_schema(struct schema *s)
{
    struct undine_err err = {0};
    memset(s, 0, sizeof *s);
    add_table(s, "user", 3);
    add_table(s, "item", 3);
    add_table(s, "tag", 2);
    add_table(s, "category", 2);
    add_table(s, "hour", 2);
    add_field(s, "user", SCHEMA_USER, "user", SCHEMA_POOL_SUM, 1);
    add_field(s, "item", SCHEMA_CANDIDATE, "item", SCHEMA_POOL_SUM, 1);
    add_field(s, "tags", SCHEMA_CANDIDATE, "tag", SCHEMA_POOL_MEAN, 4);
    add_field(s, "category", SCHEMA_CANDIDATE, "category", SCHEMA_POOL_SUM, 4);
    add_field(s, "hour", SCHEMA_CONTEXT, "hour", SCHEMA_POOL_SUM, 1);
    add_sequence(s, "clicks", "item", "tags");
    add_sequence(s, "carts", "category", "item");
    if (schema_check(s, &err) != UNDINE_OK) {
        (void)fprintf(stderr, "toy schema: %s\n", err.msg);
        abort();
    }
}

void toy_schema_plain(struct schema *s, uint32_t dim)
{
    struct undine_err err = {0};
    memset(s, 0, sizeof *s);
    add_table(s, "item", dim);
    add_table(s, "category", dim);
    add_field(s, "item", SCHEMA_CANDIDATE, "item", SCHEMA_POOL_SUM, 1);
    add_field(s, "category", SCHEMA_CANDIDATE, "category", SCHEMA_POOL_SUM, 1);
    add_sequence(s, "clicks", "item", "category");
    UNDINE_ASSERT(schema_check(s, &err) == UNDINE_OK);
}

/* n bags of 1..values_max ids; multi-hot bags may be empty or hold an id twice. */
static struct batch_bags make_bags(uint32_t n, uint32_t values_max, uint32_t rows, struct random *r)
{
    uint32_t *offset = must(calloc((size_t)n + 1, sizeof *offset));
    uint32_t *row = must(calloc((size_t)n * values_max + 1, sizeof *row));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = values_max == 1 ? 1 : (uint32_t)random_below(r, values_max + 1);
        offset[i + 1] = offset[i] + k;
        for (uint32_t j = offset[i]; j < offset[i + 1]; j++) {
            row[j] = (uint32_t)random_below(r, rows);
        }
    }
    return (struct batch_bags){offset, row};
}

static void make_sequence(struct toy_batch *t, uint32_t which, const struct toy_shape *shape,
                          struct random *r)
{
    const struct schema_sequence *q = &t->schema.sequences[which];
    struct batch_sequences *to = &t->batch.sequence[which];
    uint32_t *offset = must(calloc((size_t)shape->examples + 1, sizeof *offset));
    uint32_t *of = must(calloc((size_t)shape->examples + 1, sizeof *of));
    to->n = shape->examples;
    for (uint32_t i = 0; i < to->n; i++) {
        uint32_t steps = shape->fixed_length ? shape->steps_max
                                             : (uint32_t)random_below(r, shape->steps_max + 1);
        offset[i + 1] = offset[i] + steps;
        /* some examples share a sequence, some sequences serve none */
        of[i] = shape->fixed_length ? i : (uint32_t)random_below(r, shape->examples);
    }
    to->step_offset = offset;
    to->of_example = of;
    for (uint32_t i = 0; i < q->n_fields; i++) {
        uint32_t values = t->schema.fields[q->field[i]].values_max;
        to->step[i] = make_bags(offset[to->n], values > 1 ? shape->values : 1, shape->rows, r);
    }
}

void toy_batch_init(struct toy_batch *t, const struct schema *schema, const struct toy_shape *shape,
                    struct random *r)
{
    memset(t, 0, sizeof *t);
    t->schema = *schema;
    t->batch.n = shape->examples;
    for (uint32_t i = 0; i < schema->n_tables; i++) {
        struct model_options opt = {.linear = shape->linear};
        uint32_t width = model_row_width(schema, &opt, i);
        size_t n = (size_t)shape->rows * width;
        t->weight[i] = must(calloc(n, sizeof(real)));
        t->grad[i] = must(calloc(n, sizeof(real)));
        for (size_t k = 0; k < n; k++) {
            t->weight[i][k] = (real)(0.5 * random_normal(r));
        }
        t->batch.table[i] = (struct batch_table){shape->rows, width, t->weight[i], t->grad[i]};
    }
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        uint32_t values = schema->fields[i].values_max > 1 ? shape->values : 1;
        t->batch.field[i] = make_bags(shape->examples, values, shape->rows, r);
    }
    for (uint32_t i = 0; i < schema->n_sequences; i++) {
        make_sequence(t, i, shape, r);
    }
    t->label = must(calloc((size_t)shape->examples + 1, sizeof *t->label));
    for (uint32_t i = 0; i < shape->examples; i++) {
        t->label[i] = (real)random_below(r, 2);
    }
}

static void free_bags(const struct batch_bags *b)
{
    free((void *)(uintptr_t)b->offset);
    free((void *)(uintptr_t)b->row);
}

void toy_batch_release(struct toy_batch *t)
{
    for (uint32_t i = 0; i < t->schema.n_tables; i++) {
        free(t->weight[i]);
        free(t->grad[i]);
    }
    for (uint32_t i = 0; i < t->schema.n_fields; i++) {
        free_bags(&t->batch.field[i]);
    }
    for (uint32_t i = 0; i < t->schema.n_sequences; i++) {
        struct batch_sequences *q = &t->batch.sequence[i];
        free((void *)(uintptr_t)q->step_offset);
        free((void *)(uintptr_t)q->of_example);
        for (uint32_t k = 0; k < t->schema.sequences[i].n_fields; k++) {
            free_bags(&q->step[k]);
        }
    }
    free(t->label);
}

void toy_batch_zero_grads(struct toy_batch *t)
{
    for (uint32_t i = 0; i < t->schema.n_tables; i++) {
        size_t n = (size_t)t->batch.table[i].n_rows * t->batch.table[i].width;
        memset(t->grad[i], 0, n * sizeof(real));
    }
}
