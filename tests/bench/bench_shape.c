#include "tests/bench/bench_shape.h"

#include "base/hash.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEP_IDS_MAX = 3, BATCHES_MIN = 4, STEPS_MAX = 2000000 };

static const struct bench_shape shapes[] = {
    {.name = "online",
     .text = "item 18, category 18, user 18, MLP 200-80, Dice",
     .batch = 256,
     .dim = 18,
     .history_min = 50,
     .history_max = 50,
     .history_power = 1,
     .items = 100000,
     .categories = 1000,
     .users = 100000,
     .unit = UNIT_PAPER,
     .unit_hidden = {80, 40}},
    {.name = "deeprec",
     .text = "item 18, category 18, user 18 as in Amazon Books, history 4 + floor(47 u^4), "
             "MLP 200-80, Dice",
     .batch = 512,
     .dim = 18,
     .history_min = 4,
     .history_max = 50,
     .history_power = 4,
     .items = 367983,
     .categories = 1601,
     .users = 543060,
     .unit = UNIT_OFFICIAL,
     .unit_hidden = {80, 40}},
    {.name = "deeprec30",
     .text = "item 18, category 18, user 18 as in Amazon Books, history 10..50, MLP 200-80, Dice",
     .batch = 512,
     .dim = 18,
     .history_min = 10,
     .history_max = 50,
     .history_power = 1,
     .items = 367983,
     .categories = 1601,
     .users = 543060,
     .unit = UNIT_OFFICIAL,
     .unit_hidden = {80, 40}},
    {.name = "paper",
     .text = "goods 12, shop 12, category 12, ten more of 12, history 1..100, MLP 200-80, Dice",
     .batch = 5000,
     .dim = 12,
     .history_min = 1,
     .history_max = 100,
     .history_power = 1,
     .items = 367983,
     .categories = 1601,
     .shops = 20000,
     .users = 543060,
     .n_more = 9, /* with the user: ten */
     .unit = UNIT_PAPER,
     .unit_hidden = {36, 0}},
};

const struct bench_shape *bench_shape_find(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

static void add_field(struct schema *s, const char *name, enum schema_group group, uint32_t dim)
{
    struct schema_table *t = &s->tables[s->n_tables];
    struct schema_field *f = &s->fields[s->n_fields++];
    *t = (struct schema_table){.dim = dim};
    *f = (struct schema_field){.group = group, .table = s->n_tables++, .values_max = 1};
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    (void)snprintf(f->name, sizeof f->name, "%s", name);
}

int bench_shape_schema(const struct bench_shape *shape, struct schema *out, struct undine_err *err)
{
    struct schema s = {0};
    add_field(&s, "item", SCHEMA_CANDIDATE, shape->dim);
    add_field(&s, "category", SCHEMA_CANDIDATE, shape->dim);
    if (shape->shops > 0) {
        add_field(&s, "shop", SCHEMA_CANDIDATE, shape->dim);
    }
    s.sequences[s.n_sequences++] = (struct schema_sequence){
        .name = "clicks",
        .length = shape->history_max > 0 ? shape->history_max : 1,
        .n_fields = s.n_fields,
        .field = {0, 1, 2},
        .from_click = true,
    };
    add_field(&s, "user", SCHEMA_USER, shape->dim);
    s.fields[s.n_fields - 1].user_id = true;
    for (uint32_t i = 0; i < shape->n_more; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "context_%u", i + 1);
        add_field(&s, name, SCHEMA_CONTEXT, shape->dim);
    }
    *out = s;
    return schema_check(out, err);
}

struct model_options bench_shape_model(const struct bench_shape *shape)
{
    struct model_options o = MODEL_OPTIONS_DEFAULT;
    o.kind = MODEL_DIN;
    o.unit.input = shape->unit;
    o.unit.n_hidden = shape->unit_hidden[1] > 0 ? 2 : 1;
    o.unit.hidden[0] = shape->unit_hidden[0];
    o.unit.hidden[1] = shape->unit_hidden[1];
    return o;
}

/* The k-th of n with a probability of about 1 / k. */
static uint64_t skewed(struct random *r, uint32_t n)
{
    return (uint64_t)pow((double)n, random_unit(r));
}

/* The ids of tables never meet, whatever their numbers are. */
static uint64_t id_of(uint64_t number, uint64_t role)
{
    return hash_mix64((role << 32) + number) | 1;
}

static void put_item(const struct bench_shape *shape, uint64_t *ids, uint64_t item)
{
    ids[0] = id_of(item, 0);
    ids[1] = id_of(hash_mix64(item) % shape->categories, 1);
    if (shape->shops > 0) {
        ids[2] = id_of(hash_mix64(item + 1) % shape->shops, 2);
    }
}

/* 1..items */
static uint64_t draw_item(const struct bench_shape *shape, struct random *r)
{
    return shape->uniform ? 1 + random_below(r, shape->items) : skewed(r, shape->items);
}

static uint32_t draw_history(const struct bench_shape *shape, struct random *r)
{
    double u = pow(random_unit(r), (double)shape->history_power);
    return shape->history_min +
           (uint32_t)(u * (double)(shape->history_max - shape->history_min + 1));
}

/* An example with these items behind it. */
static void add_example(const struct bench_shape *shape, struct example_stream *s,
                        const uint64_t *items, uint32_t history, struct random *r)
{
    static const uint8_t one_each[SCHEMA_FIELDS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1,
                                                        1, 1, 1, 1, 1, 1, 1, 1};
    static uint64_t step_ids[BENCH_SHAPE_HISTORY_MAX][STEP_IDS_MAX];
    static struct example_step steps[BENCH_SHAPE_HISTORY_MAX];
    uint32_t user_at = shape->shops > 0 ? 3 : 2;
    for (uint32_t t = 0; t < history; t++) {
        put_item(shape, step_ids[t], items[t]);
        steps[t] = (struct example_step){.counts = one_each, .ids = step_ids[t]};
    }
    uint64_t ids[SCHEMA_FIELDS_MAX];
    put_item(shape, ids, draw_item(shape, r));
    ids[user_at] = id_of(random_below(r, shape->users), 3);
    for (uint32_t k = 0; k < shape->n_more; k++) {
        ids[user_at + 1 + k] = id_of(skewed(r, BENCH_SHAPE_MORE_IDS), 4 + k);
    }
    struct example e = {.user = ids[user_at],
                        .sample_rate = 1.0f,
                        .kind = random_below(r, 2) == 0 ? EXAMPLE_NEGATIVE : EXAMPLE_POSITIVE,
                        .counts = one_each,
                        .ids = ids,
                        .sequence = {example_stream_sequence(s, 0, steps, history)}};
    (void)example_stream_add(s, &e);
}

void bench_shape_fill(const struct bench_shape *shape, struct example_stream *s, uint32_t n,
                      struct random *r)
{
    static uint64_t items[BENCH_SHAPE_HISTORY_MAX];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t history = draw_history(shape, r);
        for (uint32_t t = 0; t < history; t++) {
            items[t] = draw_item(shape, r);
        }
        add_example(shape, s, items, history, r);
    }
}

void bench_shape_fill_items(const struct bench_shape *shape, struct example_stream *s,
                            uint32_t first, uint32_t n, struct random *r)
{
    static uint64_t items[BENCH_SHAPE_HISTORY_MAX];
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t t = 0; t < shape->history_max; t++) {
            items[t] = first++;
        }
        add_example(shape, s, items, shape->history_max, r);
    }
}

uint32_t bench_shape_batches(const struct bench_shape *shape)
{
    uint64_t steps = (uint64_t)shape->batch * (shape->history_max > 0 ? shape->history_max : 1);
    uint64_t n = STEPS_MAX / steps;
    n = n > BENCH_SHAPE_BATCHES_MAX ? BENCH_SHAPE_BATCHES_MAX : n < BATCHES_MIN ? BATCHES_MIN : n;
    return shape->batches > 0 && shape->batches < n ? shape->batches : (uint32_t)n;
}
