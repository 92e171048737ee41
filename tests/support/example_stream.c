#include "tests/support/example_stream.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

void example_stream_init(struct example_stream *s, const struct schema *schema)
{
    *s = (struct example_stream){.schema = schema};
    arena_init(&s->memory, (size_t)1 << 20);
}

void example_stream_release(struct example_stream *s)
{
    arena_release(&s->memory);
    free(s->examples);
    free(s->sequences);
    *s = (struct example_stream){0};
}

static void *must(void *p)
{
    UNDINE_ASSERT(p != NULL);
    return p;
}

uint32_t example_stream_sequence(struct example_stream *s, uint32_t sequence,
                                 const struct example_step *steps, uint32_t n_steps)
{
    uint32_t n_fields = s->schema->sequences[sequence].n_fields;
    size_t n_words = 2 * (size_t)n_steps;
    for (uint32_t t = 0; t < n_steps; t++) {
        for (uint32_t i = 0; i < n_fields; i++) {
            n_words += steps[t].counts[i];
        }
    }
    uint64_t *words = must(arena_calloc(&s->memory, n_words + 1, sizeof *words)), *at = words;
    for (uint32_t t = 0; t < n_steps; t++) {
        const uint64_t *ids = steps[t].ids;
        *at++ = t;
        memcpy(at++, steps[t].counts, n_fields);
        for (uint32_t i = 0; i < n_fields; i++) {
            for (uint32_t k = 0; k < steps[t].counts[i]; k++) {
                *at++ = *ids++;
            }
        }
    }
    if (s->n_sequences == s->sequences_capacity) {
        s->sequences_capacity = s->sequences_capacity > 0 ? 2 * s->sequences_capacity : 64;
        s->sequences =
            must(reallocarray(s->sequences, s->sequences_capacity, sizeof *s->sequences));
    }
    s->sequences[s->n_sequences] =
        (struct example_sequence){.words = words, .n_words = (uint32_t)n_words, .n_steps = n_steps};
    return s->n_sequences++;
}

struct example *example_stream_add(struct example_stream *s, const struct example *e)
{
    if (s->n == s->examples_capacity) {
        s->examples_capacity = s->examples_capacity > 0 ? 2 * s->examples_capacity : 64;
        s->examples = must(reallocarray(s->examples, s->examples_capacity, sizeof *s->examples));
    }
    uint32_t n_fields = s->schema->n_fields;
    size_t n_ids = 0;
    for (uint32_t f = 0; f < n_fields; f++) {
        n_ids += e->counts[f];
    }
    uint8_t *counts = must(arena_alloc(&s->memory, n_fields));
    uint64_t *ids = must(arena_alloc(&s->memory, (n_ids + 1) * sizeof *ids));
    memcpy(counts, e->counts, n_fields);
    memcpy(ids, e->ids, n_ids * sizeof *ids);
    struct example *out = &s->examples[s->n++];
    *out = *e;
    out->counts = counts;
    out->ids = ids;
    return out;
}

struct example_block example_stream_block(const struct example_stream *s, uint32_t from,
                                          uint32_t to)
{
    return (struct example_block){.first_seq = from,
                                  .n_examples = to - from,
                                  .n_sequences = s->n_sequences,
                                  .examples = s->examples + from,
                                  .sequences = s->sequences};
}

struct schema example_stream_schema(uint32_t dim)
{
    struct schema s = {
        .n_tables = 4,
        .n_fields = STREAM_FIELDS,
        .n_sequences = 1,
        .tables = {{.name = "item", .dim = dim},
                   {.name = "category", .dim = dim},
                   {.name = "user", .dim = dim},
                   {.name = "tag", .dim = dim}},
        .fields =
            {{.name = "item", .group = SCHEMA_CANDIDATE, .table = 0, .values_max = 1},
             {.name = "category", .group = SCHEMA_CANDIDATE, .table = 1, .values_max = 1},
             {.name = "user", .group = SCHEMA_USER, .table = 2, .values_max = 1, .user_id = true},
             {.name = "tags", .group = SCHEMA_CONTEXT, .table = 3, .values_max = 4}},
        .sequences = {{.name = "clicks",
                       .length = 100,
                       .n_fields = 2,
                       .field = {STREAM_ITEM, STREAM_CATEGORY},
                       .from_click = true}},
    };
    struct undine_err err;
    int rc = schema_check(&s, &err);
    UNDINE_ASSERT(rc == UNDINE_OK);
    return s;
}

static uint64_t id_of(const struct schema *s, uint32_t table, uint64_t number)
{
    return hash_feature(s->tables[table].hash_seed, &number, sizeof number);
}

enum { STEPS_MAX = 100 };
struct history {
    uint64_t ids[STEPS_MAX][2], category[STEPS_MAX];
    uint32_t n;
};

static uint32_t plant_history(struct example_stream *s, const struct example_stream_plan *plan,
                              struct random *r, struct history *h)
{
    static const uint8_t one_each[2] = {1, 1};
    struct example_step steps[STEPS_MAX];
    uint64_t interests[3];
    for (size_t i = 0; i < 3; i++) {
        interests[i] = random_below(r, plan->n_categories);
    }
    h->n = random_below(r, 20) == 0 ? 0 : plan->n_steps;
    for (uint32_t t = 0; t < h->n; t++) {
        h->category[t] = interests[random_below(r, 3)];
        uint64_t item =
            h->category[t] * plan->items_a_category + random_below(r, plan->items_a_category);
        h->ids[t][0] = id_of(s->schema, 0, item);
        h->ids[t][1] = id_of(s->schema, 1, h->category[t]);
        if (t > 0 && random_below(r, 10) == 0) { /* the same again */
            memcpy(h->ids[t], h->ids[t - 1], sizeof h->ids[t]);
            h->category[t] = h->category[t - 1];
        }
        steps[t] = (struct example_step){.counts = one_each, .ids = h->ids[t]};
    }
    return example_stream_sequence(s, 0, steps, h->n);
}

static bool holds(const struct history *h, uint64_t category)
{
    for (uint32_t t = 0; t < h->n; t++) {
        if (h->category[t] == category) {
            return true;
        }
    }
    return false;
}

void example_stream_plant(struct example_stream *s, const struct example_stream_plan *plan)
{
    UNDINE_ASSERT(plan->n_steps <= STEPS_MAX);
    struct random r = {.state = plan->seed};
    struct history *h = must(calloc(plan->n_users, sizeof *h));
    uint32_t *sequence = must(calloc(plan->n_users, sizeof *sequence));
    for (uint32_t u = 0; u < plan->n_users; u++) {
        sequence[u] = plant_history(s, plan, &r, &h[u]);
    }
    for (uint32_t i = 0; i < plan->n; i++) {
        uint64_t u = random_below(&r, plan->n_users);
        uint64_t category = random_below(&r, plan->n_categories);
        if (h[u].n > 0 && random_below(&r, 2) == 0) {
            category = h[u].category[random_below(&r, h[u].n)];
        }
        uint64_t item =
            category * plan->items_a_category + random_below(&r, plan->items_a_category);
        uint64_t ids[6] = {id_of(s->schema, 0, item), id_of(s->schema, 1, category)};
        uint8_t counts[STREAM_FIELDS] = {1, 1, plan->drop_users ? 0 : 1, 0};
        size_t n_ids = 2;
        if (!plan->drop_users) {
            ids[n_ids++] = id_of(s->schema, 2, u);
        }
        counts[STREAM_TAGS] = (uint8_t)random_below(&r, 3);
        for (uint32_t k = 0; k < counts[STREAM_TAGS]; k++) {
            ids[n_ids++] = id_of(s->schema, 3, random_below(&r, 4));
        }
        bool label = holds(&h[u], category) != (random_unit(&r) < plan->noise);
        struct example e = {.impression = i + 1,
                            .user = u + 1,
                            .time_ms = (int64_t)i * 10,
                            .emit_ms = (int64_t)i * 10 + 5,
                            .sample_rate = 1.0f,
                            .kind = label ? EXAMPLE_POSITIVE : EXAMPLE_NEGATIVE,
                            .counts = counts,
                            .ids = ids,
                            .sequence = {sequence[u]}};
        (void)example_stream_add(s, &e);
    }
    free(h);
    free(sequence);
}
