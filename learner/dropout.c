#include "learner/dropout.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for dropout");
}

/* An array whose old content may go: to at least n elements. */
static bool room(void **array, size_t *capacity, size_t n, size_t size)
{
    if (n <= *capacity) {
        return true;
    }
    size_t grown = n > 2 * *capacity ? n : 2 * *capacity;
    free(*array);
    *array = calloc(grown, size);
    *capacity = *array != NULL ? grown : 0;
    return *array != NULL;
}

static bool rows_room(uint32_t **row, size_t *capacity, size_t n)
{
    void *p = *row;
    bool ok = room(&p, capacity, n, sizeof **row);
    *row = p;
    return ok;
}

int dropout_check(double rate, struct undine_err *err)
{
    if (!(rate >= 0.0 && rate <= DROPOUT_RATE_MAX)) {
        return undine_err_set(err, UNDINE_ECONFIG, "dropout is %g, expected 0 to %g", rate,
                              DROPOUT_RATE_MAX);
    }
    return UNDINE_OK;
}

int dropout_open(struct dropout *d, const struct schema *schema, double rate, uint64_t seed,
                 uint32_t batch_max, struct undine_err *err)
{
    *d = (struct dropout){.schema = schema, .rate = rate, .seed = seed, .batch_max = batch_max};
    if (rate <= 0.0) {
        return UNDINE_OK;
    }
    d->own = calloc(batch_max, sizeof *d->own);
    bool ok = d->own != NULL;
    for (uint32_t e = 0; ok && e < batch_max; e++) {
        d->own[e] = e;
    }
    for (uint32_t s = 0; ok && s < schema->n_sequences; s++) {
        d->step_offset[s] = calloc((size_t)batch_max + 1, sizeof *d->step_offset[s]);
        ok = d->step_offset[s] != NULL;
    }
    if (!ok) {
        dropout_release(d);
        return no_memory(err);
    }
    return UNDINE_OK;
}

static void list_release(struct dropout_list *l)
{
    free(l->row);
    free(l->offset);
}

void dropout_release(struct dropout *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t k = 0; k < SCHEMA_TABLES_MAX; k++) {
        free(d->table[k].weight);
        free(d->table[k].grad);
    }
    for (size_t f = 0; f < SCHEMA_FIELDS_MAX; f++) {
        list_release(&d->field[f]);
    }
    for (size_t s = 0; s < SCHEMA_SEQUENCES_MAX; s++) {
        for (size_t i = 0; i < SCHEMA_STEP_FIELDS_MAX; i++) {
            list_release(&d->step[s][i]);
        }
        free(d->step_offset[s]);
    }
    free(d->own);
    *d = (struct dropout){0};
}

/* ---- who is left out ---- */

/* A place of an example: fields first, then the fields of each sequence's steps. */
static uint64_t field_place(const struct dropout *d, uint64_t example_seq, uint32_t field)
{
    return hash_mix64(hash_mix64(hash_mix64(d->seed) ^ example_seq) ^ field);
}

static uint64_t step_place(const struct dropout *d, uint64_t example_seq, uint32_t sequence,
                           uint32_t step, uint32_t i)
{
    uint64_t place = (uint64_t)(sequence + 1) << 40 | (uint64_t)step << 8 | i;
    return hash_mix64(hash_mix64(hash_mix64(d->seed) ^ example_seq) ^ place);
}

static bool left_out(const struct dropout *d, uint64_t place, uint64_t id)
{
    return (double)(hash_mix64(place ^ id) >> 11) < d->rate * 0x1p53;
}

bool dropout_field(const struct dropout *d, uint64_t example_seq, uint32_t field, uint64_t id)
{
    return left_out(d, field_place(d, example_seq, field), id);
}

bool dropout_step(const struct dropout *d, uint64_t example_seq, uint32_t sequence, uint32_t step,
                  uint32_t i, uint64_t id)
{
    return left_out(d, step_place(d, example_seq, sequence, step, i), id);
}

/* ---- the thinned batch ---- */

/* Rows of a bag, or the row of zeros behind the table's own. */
static void thin_bag(const struct dropout *d, uint32_t *to, const struct id_list *from,
                     uint32_t first, uint32_t last, uint64_t place, uint32_t zeros)
{
    for (uint32_t j = first; j < last; j++) {
        *to++ = left_out(d, place, from->key[j]) ? zeros : from->row[j];
    }
}

static int thin_field(struct dropout *d, const struct batch_builder *b, uint32_t f,
                      uint64_t first_seq, struct undine_err *err)
{
    const struct id_list *from = &b->field[f];
    struct dropout_list *l = &d->field[f];
    uint32_t zeros = b->table[d->schema->fields[f].table].n_rows;
    if (!rows_room(&l->row, &l->rows_capacity, from->n_keys)) {
        return no_memory(err);
    }
    for (uint32_t e = 0; e < b->n; e++) {
        uint32_t first = from->offset[e];
        thin_bag(d, l->row + first, from, first, from->offset[e + 1],
                 field_place(d, first_seq + e, f), zeros);
    }
    d->batch.field[f] = (struct batch_bags){.offset = b->batch.field[f].offset, .row = l->row};
    return UNDINE_OK;
}

/* Ids that the examples hold in field i of their steps, each example for itself. */
static size_t count_keys(const struct batch_builder *b, uint32_t s, uint32_t i)
{
    const struct batch_builder_sequences *q = &b->sequence[s];
    size_t n = 0;
    for (uint32_t e = 0; e < b->n; e++) {
        uint32_t k = q->of_example[e], first = q->step_offset[k], end = q->step_offset[k + 1];
        n += end > first ? q->step[i].offset[end] - q->step[i].offset[first] : 0;
    }
    return n;
}

static int thin_steps(struct dropout *d, const struct batch_builder *b, uint32_t s, uint32_t i,
                      uint64_t first_seq, struct undine_err *err)
{
    const struct batch_builder_sequences *q = &b->sequence[s];
    const struct id_list *from = &q->step[i];
    struct dropout_list *l = &d->step[s][i];
    uint32_t zeros = b->table[d->schema->sequences[s].table[i]].n_rows;
    size_t n_keys = count_keys(b, s, i), n_steps = d->step_offset[s][b->n];
    if (n_keys > UINT32_MAX) {
        return undine_err_set(err, UNDINE_EFULL,
                              "a batch holds over %u ids of one field of `%s`, which dropout does "
                              "not share among its examples",
                              UINT32_MAX, d->schema->sequences[s].name);
    }
    if (!rows_room(&l->row, &l->rows_capacity, n_keys) ||
        !rows_room(&l->offset, &l->offsets_capacity, n_steps + 1)) {
        return no_memory(err);
    }
    uint32_t at = 0, bag = 0;
    for (uint32_t e = 0; e < b->n; e++) {
        uint32_t k = q->of_example[e], begin = q->step_offset[k], end = q->step_offset[k + 1];
        for (uint32_t t = begin; t < end; t++) {
            uint32_t first = from->offset[t], last = from->offset[t + 1];
            l->offset[bag++] = at;
            thin_bag(d, l->row + at, from, first, last,
                     step_place(d, first_seq + e, s, t - begin, i), zeros);
            at += last - first;
        }
    }
    l->offset[bag] = at;
    d->batch.sequence[s].step[i] = (struct batch_bags){.offset = l->offset, .row = l->row};
    return UNDINE_OK;
}

static int thin_sequence(struct dropout *d, const struct batch_builder *b, uint32_t s,
                         uint64_t first_seq, struct undine_err *err)
{
    const struct batch_builder_sequences *q = &b->sequence[s];
    uint32_t *offset = d->step_offset[s];
    size_t n_steps = 0;
    for (uint32_t e = 0; e < b->n; e++) {
        uint32_t k = q->of_example[e];
        offset[e] = (uint32_t)n_steps;
        n_steps += q->step_offset[k + 1] - q->step_offset[k];
    }
    if (n_steps >= UINT32_MAX) {
        return undine_err_set(err, UNDINE_EFULL,
                              "a batch holds over %u steps of `%s`, which dropout does not share "
                              "among its examples",
                              UINT32_MAX - 1, d->schema->sequences[s].name);
    }
    offset[b->n] = (uint32_t)n_steps;
    d->batch.sequence[s] =
        (struct batch_sequences){.n = b->n, .step_offset = offset, .of_example = d->own};
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < d->schema->sequences[s].n_fields; i++) {
        rc = thin_steps(d, b, s, i, first_seq, err);
    }
    return rc;
}

static int thin_table(struct dropout *d, const struct batch_table *full, uint32_t k,
                      struct undine_err *err)
{
    struct dropout_rows *t = &d->table[k];
    size_t n = (size_t)full->n_rows * full->width, total = n + full->width;
    if (total > t->capacity) {
        size_t capacity = total > 2 * t->capacity ? total : 2 * t->capacity;
        free(t->weight);
        free(t->grad);
        t->weight = calloc(capacity, sizeof *t->weight);
        t->grad = calloc(capacity, sizeof *t->grad);
        t->capacity = capacity;
        if (t->weight == NULL || t->grad == NULL) {
            t->capacity = 0;
            return no_memory(err);
        }
    }
    float scale = (float)(1.0 / (1.0 - d->rate));
    for (size_t i = 0; i < n; i++) {
        t->weight[i] = full->weight[i] * scale;
    }
    memset(t->weight + n, 0, full->width * sizeof *t->weight);
    memset(t->grad, 0, total * sizeof *t->grad);
    d->batch.table[k] = (struct batch_table){
        .n_rows = full->n_rows + 1, .width = full->width, .weight = t->weight, .grad = t->grad};
    return UNDINE_OK;
}

int dropout_thin(struct dropout *d, const struct batch_builder *b, uint64_t first_seq,
                 struct undine_err *err)
{
    UNDINE_ASSERT(d->own != NULL && b->n <= d->batch_max);
    int rc = UNDINE_OK;
    d->batch.n = b->n;
    for (uint32_t k = 0; rc == UNDINE_OK && k < d->schema->n_tables; k++) {
        rc = thin_table(d, &b->batch.table[k], k, err);
    }
    for (uint32_t f = 0; rc == UNDINE_OK && f < d->schema->n_fields; f++) {
        rc = thin_field(d, b, f, first_seq, err);
    }
    for (uint32_t s = 0; rc == UNDINE_OK && s < d->schema->n_sequences; s++) {
        rc = thin_sequence(d, b, s, first_seq, err);
    }
    return rc;
}

void dropout_add_gradient(const struct dropout *d, const struct batch_builder *b)
{
    float scale = (float)(1.0 / (1.0 - d->rate));
    for (uint32_t k = 0; k < d->schema->n_tables; k++) {
        const struct batch_table *full = &b->batch.table[k];
        size_t n = (size_t)full->n_rows * full->width;
        for (size_t i = 0; i < n; i++) {
            full->grad[i] += d->table[k].grad[i] * scale;
        }
    }
}
