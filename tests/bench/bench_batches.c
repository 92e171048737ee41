#include "tests/bench/bench_batches.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint32_t ids_of(const struct bench_shape *shape, uint32_t field)
{
    uint32_t n_steps = shape->shops > 0 ? 3 : 2;
    return field == 0         ? shape->items
           : field == 1       ? shape->categories
           : field < n_steps  ? shape->shops
           : field == n_steps ? shape->users
                              : BENCH_SHAPE_MORE_IDS;
}

static void write_header(const struct bench_shape *shape, const struct schema *schema, FILE *f)
{
    (void)fprintf(f,
                  "{\"shape\":\"%s\",\"batch\":%u,\"batches\":%u,\"dim\":%u,\"step_fields\":%u,"
                  "\"unit\":\"%s\",\"unit_hidden\":[%u,%u],\"fields\":[",
                  shape->name, shape->batch, bench_shape_batches(shape), shape->dim,
                  schema->sequences[0].n_fields, shape->unit == UNIT_PAPER ? "paper" : "official",
                  shape->unit_hidden[0], shape->unit_hidden[1]);
    for (uint32_t i = 0; i < schema->n_fields; i++) {
        (void)fprintf(f, "%s{\"name\":\"%s\",\"ids\":%u}", i > 0 ? "," : "", schema->fields[i].name,
                      ids_of(shape, i));
    }
    (void)fprintf(f, "]}\n");
}

static void write_batch(const struct example_stream *s, FILE *f)
{
    const struct schema *schema = s->schema;
    for (uint32_t i = 0; i < s->n; i++) {
        (void)fputc(s->examples[i].kind == EXAMPLE_POSITIVE, f);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        (void)fwrite(&s->sequences[s->examples[i].sequence[0]].n_steps, sizeof(uint32_t), 1, f);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        (void)fwrite(s->examples[i].ids, sizeof(uint64_t), schema->n_fields, f);
    }
    uint32_t step_fields = schema->sequences[0].n_fields;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct example_sequence *q = &s->sequences[s->examples[i].sequence[0]];
        for (uint32_t t = 0; t < q->n_steps; t++) { /* a time and counts before a step's ids */
            (void)fwrite(q->words + (size_t)t * (2 + step_fields) + 2, sizeof(uint64_t),
                         step_fields, f);
        }
    }
}

int bench_batches_write(const struct bench_shape *shape, const char *path, struct undine_err *err)
{
    struct schema schema;
    int rc = bench_shape_schema(shape, &schema, err);
    if (rc < 0) {
        return rc;
    }
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        return undine_err_set(err, UNDINE_EIO, "cannot write %s: %s", path, strerror(errno));
    }
    write_header(shape, &schema, f);
    struct random r = {.state = BENCH_SHAPE_SEED};
    for (uint32_t i = 0; i < bench_shape_batches(shape); i++) {
        struct example_stream s;
        example_stream_init(&s, &schema);
        bench_shape_fill(shape, &s, shape->batch, &r);
        write_batch(&s, f);
        example_stream_release(&s);
    }
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad) {
        return undine_err_set(err, UNDINE_EIO, "cannot write %s", path);
    }
    return UNDINE_OK;
}
