#include "learner/batch_builder.h"

#include "learner/admission.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GATHER_RUN = 256 /* rows looked up, then copied, while they are in the cache */ };

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for a batch");
}

/* Capacity of an array that grows by doubling to hold n. */
static size_t capacity_for(size_t capacity, size_t n)
{
    size_t grown = capacity > 0 ? capacity : 64;
    while (grown < n) {
        grown *= 2;
    }
    return grown;
}

#define BATCH_GROW(type, name)                                                                     \
    static bool grow_##name(type **array, size_t n)                                                \
    {                                                                                              \
        type *p = reallocarray(*array, n, sizeof *p);                                              \
        *array = p != NULL ? p : *array;                                                           \
        return p != NULL;                                                                          \
    }
BATCH_GROW(uint64_t, u64)
BATCH_GROW(uint32_t, u32)
BATCH_GROW(float, f32)
#undef BATCH_GROW

static void id_list_release(struct id_list *l)
{
    free(l->key);
    free(l->row);
    free(l->offset);
    *l = (struct id_list){0};
}

static void id_list_clear(struct id_list *l)
{
    l->n_keys = l->n_bags = 0;
}

static int id_list_room(struct id_list *l, size_t n_keys, size_t n_bags, struct undine_err *err)
{
    if (n_keys > UINT32_MAX) {
        return undine_err_set(err, UNDINE_EFULL, "a batch holds over %u ids of one field",
                              UINT32_MAX);
    }
    if (n_bags + 1 > l->bags_capacity) {
        size_t capacity = capacity_for(l->bags_capacity, n_bags + 1);
        if (!grow_u32(&l->offset, capacity)) {
            return no_memory(err);
        }
        l->bags_capacity = capacity;
    }
    l->offset[0] = 0;
    if (n_keys > l->keys_capacity) {
        size_t capacity = capacity_for(l->keys_capacity, n_keys);
        if (!grow_u64(&l->key, capacity) || !grow_u32(&l->row, capacity)) {
            return no_memory(err);
        }
        l->keys_capacity = capacity;
    }
    return UNDINE_OK;
}

/* Append a bag of n ids, for which there is room.  Returns whether one of them is 0. */
static inline bool id_list_append(struct id_list *l, const uint64_t *ids, size_t n)
{
    uint64_t *to = l->key + l->n_keys;
    bool zero = false;
    for (size_t i = 0; i < n; i++) {
        to[i] = ids[i];
        zero |= ids[i] == 0;
    }
    l->n_keys += n;
    l->offset[++l->n_bags] = (uint32_t)l->n_keys;
    return zero;
}

static int no_id(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "an example holds the id 0");
}

static void sequences_release(struct batch_builder_sequences *q)
{
    for (size_t i = 0; i < SCHEMA_STEP_FIELDS_MAX; i++) {
        id_list_release(&q->step[i]);
    }
    free(q->step_offset);
    free(q->of_example);
    free(q->content);
    free(q->slot);
    free(q->of_block);
}

static void table_rows_release(struct batch_builder_table *t)
{
    distinct_release(&t->ids);
    free(t->row);
    free(t->instances);
    free(t->last);
    free(t->weight);
    free(t->grad);
}

void batch_builder_close(struct batch_builder *b)
{
    if (b == NULL) {
        return;
    }
    for (size_t i = 0; i < SCHEMA_FIELDS_MAX; i++) {
        id_list_release(&b->field[i]);
    }
    for (size_t i = 0; i < SCHEMA_SEQUENCES_MAX; i++) {
        sequences_release(&b->sequence[i]);
    }
    for (size_t i = 0; i < SCHEMA_TABLES_MAX; i++) {
        table_rows_release(&b->table[i]);
    }
    free(b->label);
    free(b->sample_rate);
    free(b->kind);
    free(b->shift);
    free(b->user);
    free(b->item);
    free(b);
}

static bool sequences_open(struct batch_builder_sequences *q, uint32_t batch_max, uint32_t n_slots)
{
    q->step_offset = calloc((size_t)batch_max + 1, sizeof *q->step_offset);
    q->of_example = calloc(batch_max, sizeof *q->of_example);
    q->content = calloc(batch_max, sizeof *q->content);
    q->slot = calloc(n_slots, sizeof *q->slot);
    return q->step_offset != NULL && q->of_example != NULL && q->content != NULL && q->slot != NULL;
}

int batch_builder_open(struct batch_builder **out, const struct schema *schema, uint32_t batch_max,
                       struct undine_err *err)
{
    UNDINE_ASSERT(batch_max >= 1 && batch_max <= (uint32_t)1 << 30);
    struct batch_builder *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return no_memory(err);
    }
    b->schema = schema;
    b->batch_max = batch_max;
    b->n_slots = 2;
    while (b->n_slots < 2 * batch_max) {
        b->n_slots *= 2;
    }
    b->label = calloc(batch_max, sizeof *b->label);
    b->sample_rate = calloc(batch_max, sizeof *b->sample_rate);
    b->kind = calloc(batch_max, sizeof *b->kind);
    b->shift = calloc(batch_max, sizeof *b->shift);
    b->user = calloc(batch_max, sizeof *b->user);
    b->item = calloc(batch_max, sizeof *b->item);
    bool ok = b->label != NULL && b->sample_rate != NULL && b->kind != NULL && b->shift != NULL &&
              b->user != NULL && b->item != NULL;
    for (uint32_t i = 0; ok && i < schema->n_sequences; i++) {
        ok = sequences_open(&b->sequence[i], batch_max, b->n_slots);
    }
    if (!ok) {
        batch_builder_close(b);
        return no_memory(err);
    }
    batch_builder_clear(b);
    *out = b;
    return UNDINE_OK;
}

void batch_builder_clear(struct batch_builder *b)
{
    for (uint32_t f = 0; f < b->schema->n_fields; f++) {
        id_list_clear(&b->field[f]);
    }
    for (uint32_t s = 0; s < b->schema->n_sequences; s++) {
        struct batch_builder_sequences *q = &b->sequence[s];
        for (uint32_t i = 0; i < b->schema->sequences[s].n_fields; i++) {
            id_list_clear(&q->step[i]);
        }
        q->n = 0;
        q->step_offset[0] = 0;
        memset(q->slot, 0, b->n_slots * sizeof *q->slot);
    }
    b->n = 0;
    b->plain = true;
    b->block_seq = UINT64_MAX;
}

static int add_fields(struct batch_builder *b, const struct example *e, struct undine_err *err)
{
    const uint64_t *ids = e->ids;
    uint64_t item = 0;
    bool candidate = false;
    for (uint32_t f = 0; f < b->schema->n_fields; f++) {
        struct id_list *l = &b->field[f];
        int rc = id_list_room(l, l->n_keys + e->counts[f], l->n_bags + 1, err);
        if (rc == UNDINE_OK && id_list_append(l, ids, e->counts[f])) {
            rc = no_id(err);
        }
        if (rc < 0) {
            return undine_err_prefix(err, "field `%s`", b->schema->fields[f].name);
        }
        if (!candidate && b->schema->fields[f].group == SCHEMA_CANDIDATE) {
            candidate = true;
            item = e->counts[f] > 0 ? ids[0] : 0;
        }
        ids += e->counts[f];
    }
    b->item[b->n] = item;
    return UNDINE_OK;
}

static int step_cut_off(uint32_t step, struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ECORRUPT, "a sequence ends inside step %u", step);
}

/* Append the steps of a sequence: words are {time, counts (one byte a field), ids} a step.  No
 * field has more ids than there are words. */
static int add_steps(struct batch_builder_sequences *q, uint32_t n_fields,
                     const struct example_sequence *seq, struct undine_err *err)
{
    const uint64_t *at = seq->words, *end = seq->words + seq->n_words;
    size_t n_steps = seq->n_steps < seq->n_words / 2 ? seq->n_steps : seq->n_words / 2;
    bool zero = false;
    for (uint32_t i = 0; i < n_fields; i++) {
        struct id_list *l = &q->step[i];
        int rc = id_list_room(l, l->n_keys + seq->n_words, l->n_bags + n_steps, err);
        if (rc < 0) {
            return rc;
        }
    }
    for (uint32_t step = 0; step < seq->n_steps; step++) {
        uint8_t counts[8];
        if (end - at < 2) {
            return step_cut_off(step, err);
        }
        memcpy(counts, &at[1], sizeof counts);
        at += 2;
        for (uint32_t i = 0; i < n_fields; at += counts[i++]) {
            if (end - at < counts[i]) {
                return step_cut_off(step, err);
            }
            zero |= id_list_append(&q->step[i], at, counts[i]);
        }
    }
    if (at != end) {
        return undine_err_set(err, UNDINE_ECORRUPT, "a sequence has %td words behind its %u steps",
                              end - at, seq->n_steps);
    }
    q->n++;
    q->step_offset[q->n] = q->step_offset[q->n - 1] + seq->n_steps;
    return zero ? no_id(err) : UNDINE_OK;
}

/* The place in q->slot of this content, or the free one where it belongs. */
static uint32_t *content_slot(const struct batch_builder *b, struct batch_builder_sequences *q,
                              struct hash128 h)
{
    uint32_t mask = b->n_slots - 1;
    for (uint32_t at = (uint32_t)h.low & mask;; at = (at + 1) & mask) {
        uint32_t value = q->slot[at];
        if (value == 0 ||
            (q->content[value - 1].low == h.low && q->content[value - 1].high == h.high)) {
            return &q->slot[at];
        }
    }
}

/* Number of a block's sequence among the batch's, kept once. */
static int take_sequence(struct batch_builder *b, uint32_t s, const struct example_sequence *seq,
                         uint32_t *out, struct undine_err *err)
{
    struct batch_builder_sequences *q = &b->sequence[s];
    struct hash128 h = hash128_bytes(seq->words, (size_t)seq->n_words * sizeof seq->words[0]);
    uint32_t *slot = content_slot(b, q, h);
    if (*slot == 0) {
        q->content[q->n] = h;
        int rc = add_steps(q, b->schema->sequences[s].n_fields, seq, err);
        if (rc < 0) {
            return rc;
        }
        *slot = q->n;
    }
    *out = *slot;
    return UNDINE_OK;
}

static int add_sequence(struct batch_builder *b, const struct example_block *block,
                        const struct example *e, uint32_t s, struct undine_err *err)
{
    struct batch_builder_sequences *q = &b->sequence[s];
    uint32_t k = e->sequence[s];
    if (k >= block->n_sequences) {
        return undine_err_set(err, UNDINE_ECORRUPT, "an example names sequence %u of %u", k,
                              block->n_sequences);
    }
    if (q->of_block[k] == 0) {
        int rc = take_sequence(b, s, &block->sequences[k], &q->of_block[k], err);
        if (rc < 0) {
            return undine_err_prefix(err, "sequence `%s`", b->schema->sequences[s].name);
        }
    }
    q->of_example[b->n] = q->of_block[k] - 1;
    return UNDINE_OK;
}

/* Another block, or the first one of this batch: its sequences have no numbers yet. */
static int enter_block(struct batch_builder *b, const struct example_block *block,
                       struct undine_err *err)
{
    for (uint32_t s = 0; s < b->schema->n_sequences; s++) {
        struct batch_builder_sequences *q = &b->sequence[s];
        if (block->n_sequences > q->of_block_capacity) {
            size_t capacity = capacity_for(q->of_block_capacity, block->n_sequences);
            if (!grow_u32(&q->of_block, capacity)) {
                return no_memory(err);
            }
            q->of_block_capacity = capacity;
        }
        if (block->n_sequences > 0) {
            memset(q->of_block, 0, block->n_sequences * sizeof *q->of_block);
        }
    }
    b->block_seq = block->first_seq;
    return UNDINE_OK;
}

int batch_builder_add(struct batch_builder *b, const struct example_block *block, uint32_t i,
                      struct undine_err *err)
{
    UNDINE_ASSERT(b->n < b->batch_max && i < block->n_examples);
    const struct example *e = &block->examples[i];
    if (!(e->sample_rate > 0.0f && e->sample_rate <= 1.0f)) {
        return undine_err_set(err, UNDINE_ECORRUPT, "an example's sample rate is %g",
                              (double)e->sample_rate);
    }
    int rc = b->block_seq != block->first_seq ? enter_block(b, block, err) : UNDINE_OK;
    if (rc == UNDINE_OK) {
        rc = add_fields(b, e, err);
    }
    for (uint32_t s = 0; rc == UNDINE_OK && s < b->schema->n_sequences; s++) {
        rc = add_sequence(b, block, e, s, err);
    }
    if (rc < 0) {
        return rc;
    }
    b->kind[b->n] = e->kind;
    b->plain = b->plain && (e->kind == EXAMPLE_NEGATIVE || e->kind == EXAMPLE_POSITIVE);
    b->label[b->n] = example_kind_positive(e->kind) ? 1.0f : 0.0f;
    b->sample_rate[b->n] = e->sample_rate;
    b->shift[b->n] = e->sample_rate < 1.0f ? -logf(e->sample_rate) : 0.0f;
    b->user[b->n] = e->user;
    b->first_emit_ms = b->n == 0 ? e->emit_ms : b->first_emit_ms;
    b->last_emit_ms = e->emit_ms;
    b->n++;
    return UNDINE_OK;
}

static int rows_room(struct batch_builder_table *t, size_t n, uint32_t dim, struct undine_err *err)
{
    if (n <= t->rows_capacity) {
        return UNDINE_OK;
    }
    size_t capacity = capacity_for(t->rows_capacity, n);
    if (!grow_u32(&t->row, capacity) || !grow_f32(&t->instances, capacity) ||
        !grow_u32(&t->last, capacity) || !grow_f32(&t->weight, capacity * dim) ||
        !grow_f32(&t->grad, capacity * dim)) {
        return no_memory(err);
    }
    t->rows_capacity = capacity;
    return UNDINE_OK;
}

/* What a list holds goes by its number among the table's distinct ids from here on; with admission
 * ids have their rows by now, and it is those that are distinct. */
static int number_list(struct batch_builder_table *t, struct id_list *l, bool admitted,
                       struct undine_err *err)
{
    uint64_t rows[GATHER_RUN];
    if (!admitted) {
        return distinct_number(&t->ids, l->key, l->row, l->n_keys, err);
    }
    int rc = UNDINE_OK;
    for (size_t at = 0; rc == UNDINE_OK && at < l->n_keys; at += GATHER_RUN) {
        size_t n = l->n_keys - at < GATHER_RUN ? l->n_keys - at : GATHER_RUN;
        for (size_t i = 0; i < n; i++) {
            rows[i] = l->row[at + i];
        }
        rc = distinct_number(&t->ids, rows, l->row + at, n, err);
    }
    return rc;
}

static void copy_rows(struct batch_builder_table *t, struct table *table, uint32_t first,
                      uint32_t end)
{
    uint32_t dim = table->opt.dim;
    float *to = t->weight + (size_t)first * dim;
    for (uint32_t i = first; i < end; i++, to += dim) {
        const struct table_row *r = table_row(table, t->row[i]);
        table_changes_touch(&table->changes, t->row[i], r->stamp);
        for (uint32_t d = 0; d < dim; d++) { /* too few for a call of memcpy to pay */
            to[d] = r->value[d];
        }
    }
}

/* Rows and weights of the distinct ids. */
static int gather_rows(struct batch_builder_table *t, struct table *table, bool admitted,
                       struct undine_err *err)
{
    uint32_t n_rows = t->ids.n;
    const uint64_t *key = t->ids.key;
    int rc = rows_room(t, n_rows, table->opt.dim, err);
    for (uint32_t at = 0, n; rc == UNDINE_OK && at < n_rows; at += n) {
        n = n_rows - at < GATHER_RUN ? n_rows - at : GATHER_RUN;
        for (uint32_t i = at; admitted && i < at + n; i++) {
            t->row[i] = (uint32_t)key[i];
        }
        rc = admitted ? UNDINE_OK : table_need(table, key + at, t->row + at, n, err);
        if (rc == UNDINE_OK) {
            copy_rows(t, table, at, at + n);
        }
    }
    if (rc == UNDINE_OK && n_rows > 0) {
        memset(t->instances, 0, n_rows * sizeof *t->instances);
        memset(t->last, 0, n_rows * sizeof *t->last);
        memset(t->grad, 0, (size_t)n_rows * table->opt.dim * sizeof *t->grad);
    }
    t->n_rows = n_rows;
    return rc;
}

/* Count an example once for every distinct row among n. */
static void count_rows(struct batch_builder_table *t, const uint32_t *rows, size_t n,
                       uint32_t example)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t row = rows[i];
        if (t->last[row] != example + 1) {
            t->last[row] = example + 1;
            t->instances[row] += 1.0f;
        }
    }
}

/* Where a table is used. */
struct use {
    struct id_list *list;
    const struct batch_builder_sequences
        *sequence; /* whose steps the list holds; NULL = examples */
};
enum { USES_MAX = SCHEMA_FIELDS_MAX + SCHEMA_SEQUENCES_MAX * SCHEMA_STEP_FIELDS_MAX };

static size_t uses_of(struct batch_builder *b, uint32_t k, struct use out[USES_MAX])
{
    const struct schema *schema = b->schema;
    size_t n = 0;
    for (uint32_t f = 0; f < schema->n_fields; f++) {
        if (schema->fields[f].table == k) {
            out[n++] = (struct use){&b->field[f], NULL};
        }
    }
    for (uint32_t s = 0; s < schema->n_sequences; s++) {
        struct batch_builder_sequences *q = &b->sequence[s];
        for (uint32_t i = 0; i < schema->sequences[s].n_fields; i++) {
            if (schema->sequences[s].table[i] == k) {
                out[n++] = (struct use){&q->step[i], q};
            }
        }
    }
    return n;
}

static void count_instances(struct batch_builder_table *t, const struct use *uses, size_t n_uses,
                            uint32_t n_examples)
{
    for (uint32_t e = 0; e < n_examples; e++) {
        for (size_t u = 0; u < n_uses; u++) {
            const struct id_list *l = uses[u].list;
            const struct batch_builder_sequences *q = uses[u].sequence;
            uint32_t first = q != NULL ? q->step_offset[q->of_example[e]] : e;
            uint32_t end = q != NULL ? q->step_offset[q->of_example[e] + 1] : e + 1;
            if (end > first) {
                count_rows(t, l->row + l->offset[first], l->offset[end] - l->offset[first], e);
            }
        }
    }
}

/* Bags of a list; one without bags has its offset 0 all the same. */
static struct batch_bags bags_of(const struct id_list *l)
{
    static const uint32_t none[1] = {0};
    return (struct batch_bags){.offset = l->n_bags > 0 ? l->offset : none, .row = l->row};
}

static void fill_table(struct batch_builder *b, uint32_t k, const struct table *table)
{
    struct batch_builder_table *t = &b->table[k];
    b->batch.table[k] = (struct batch_table){
        .n_rows = t->n_rows, .width = table->opt.dim, .weight = t->weight, .grad = t->grad};
}

static void fill_batch(struct batch_builder *b)
{
    struct batch *batch = &b->batch;
    batch->n = b->n;
    for (uint32_t f = 0; f < b->schema->n_fields; f++) {
        batch->field[f] = bags_of(&b->field[f]);
    }
    for (uint32_t s = 0; s < b->schema->n_sequences; s++) {
        struct batch_builder_sequences *q = &b->sequence[s];
        batch->sequence[s] = (struct batch_sequences){
            .n = q->n, .step_offset = q->step_offset, .of_example = q->of_example};
        for (uint32_t i = 0; i < b->schema->sequences[s].n_fields; i++) {
            batch->sequence[s].step[i] = bags_of(&q->step[i]);
        }
    }
}

/* Tables have nothing in common but their budget: workers take one each. */
struct gather_job {
    struct batch_builder *b;
    struct table *tables;
    struct undine_err *err; /* (tables) code 0 where all is well */
};

static int gather_table(const struct gather_job *j, uint32_t k)
{
    struct batch_builder *b = j->b;
    struct batch_builder_table *t = &b->table[k];
    struct use use[USES_MAX];
    size_t n_uses = uses_of(b, k, use);
    bool admitted = b->admission != NULL;
    int rc = UNDINE_OK;
    distinct_begin(&t->ids);
    for (size_t u = 0; rc == UNDINE_OK && u < n_uses; u++) {
        rc = number_list(t, use[u].list, admitted, &j->err[k]);
    }
    rc = rc < 0 ? rc : gather_rows(t, &j->tables[k], admitted, &j->err[k]);
    if (rc == UNDINE_OK) {
        count_instances(t, use, n_uses, b->n);
    }
    return rc;
}

static void gather_part(void *ctx, size_t k, size_t who)
{
    const struct gather_job *j = ctx;
    (void)who;
    if (gather_table(j, (uint32_t)k) == UNDINE_OK) {
        fill_table(j->b, (uint32_t)k, &j->tables[k]);
    }
}

int batch_builder_gather(struct batch_builder *b, struct table *tables, struct workers *workers,
                         struct undine_err *err)
{
    struct undine_err of_table[SCHEMA_TABLES_MAX];
    struct gather_job job = {b, tables, of_table};
    if (b->admission != NULL) {
        int rc = admission_decide(b->admission, b, tables, err);
        if (rc < 0) {
            return rc;
        }
    }
    for (uint32_t k = 0; k < b->schema->n_tables; k++) {
        of_table[k].code = UNDINE_OK;
    }
    workers_run(workers, b->schema->n_tables, gather_part, &job);
    for (uint32_t k = 0; k < b->schema->n_tables; k++) {
        if (of_table[k].code != UNDINE_OK) {
            return undine_err_set(err, of_table[k].code, "%s", of_table[k].msg);
        }
    }
    fill_batch(b);
    return UNDINE_OK;
}
