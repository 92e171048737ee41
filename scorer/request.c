#include "scorer/request.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 64, CAPACITY_MIN = 64, GATHER_RUN = 16 };

static const char *const GROUPS[] = {"user", "candidate", "context"};

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory for the request");
}

/* ---- memory ---- */

/* Room for n elements in *array; what it holds stays. */
static bool grow(void *array, size_t *capacity, size_t n, size_t size)
{
    if (n <= *capacity) {
        return true;
    }
    size_t wanted = *capacity > 0 ? *capacity : CAPACITY_MIN;
    while (wanted < n) {
        wanted *= 2;
    }
    void *at;
    memcpy(&at, array, sizeof at); /* a pointer to any type */
    at = reallocarray(at, wanted, size);
    if (at == NULL) {
        return false;
    }
    memcpy(array, &at, sizeof at);
    *capacity = wanted;
    return true;
}

static void bags_release(struct request_bags *b)
{
    free(b->offset);
    free(b->row);
}

void request_release(struct request *r)
{
    for (size_t i = 0; i < SCHEMA_FIELDS_MAX; i++) {
        bags_release(&r->field[i]);
    }
    for (size_t i = 0; i < SCHEMA_SEQUENCES_MAX; i++) {
        for (size_t k = 0; k < SCHEMA_STEP_FIELDS_MAX; k++) {
            bags_release(&r->sequence[i].step[k]);
        }
    }
    for (size_t i = 0; i < SCHEMA_TABLES_MAX; i++) {
        free(r->table[i].key);
        free(r->table[i].weight);
        free(r->table[i].slot);
    }
    free(r->zero);
    *r = (struct request){0};
}

/* ---- distinct rows ---- */

/* With slots for as many ids as the last request had, or for one of each of the n items that this
 * one has, if those are fewer: it grows again where they do not do. */
static bool table_clear(struct request_table *t, size_t n)
{
    size_t wanted = t->n_rows < n ? t->n_rows : n, slots = SLOTS_MIN;
    while (slots <= wanted * 2) {
        slots *= 2;
    }
    if (!grow(&t->slot, &t->slots_capacity, slots, sizeof *t->slot)) {
        return false;
    }
    t->n_rows = 0;
    t->mask = slots - 1;
    memset(t->slot, 0, slots * sizeof *t->slot);
    return true;
}

static uint32_t *table_slot(const struct request_table *t, uint64_t key)
{
    size_t at = hash_mix64(key) & t->mask;
    while (t->slot[at] != 0 && t->key[t->slot[at] - 1] != key) {
        at = (at + 1) & t->mask;
    }
    return &t->slot[at];
}

/* Twice the slots, so that at most half of them are taken. */
static bool table_grow(struct request_table *t)
{
    size_t slots = (t->mask + 1) * 2;
    if (!grow(&t->slot, &t->slots_capacity, slots, sizeof *t->slot)) {
        return false;
    }
    t->mask = slots - 1;
    memset(t->slot, 0, slots * sizeof *t->slot);
    for (size_t i = 0; i < t->n_rows; i++) {
        *table_slot(t, t->key[i]) = (uint32_t)i + 1;
    }
    return true;
}

/* Row of an id among the request's. */
static bool table_row_of(struct request_table *t, uint64_t key, uint32_t *out)
{
    uint32_t *slot = table_slot(t, key);
    if (*slot == 0) {
        if (!grow(&t->key, &t->rows_capacity, t->n_rows + 1, sizeof *t->key)) {
            return false;
        }
        t->key[t->n_rows++] = key;
        *slot = (uint32_t)t->n_rows;
        *out = (uint32_t)t->n_rows - 1;
        return t->n_rows * 2 <= t->mask || table_grow(t);
    }
    *out = *slot - 1;
    return true;
}

/* The rows of n ids, at most GATHER_RUN; NULL where there is none.  Index, key and row are three
 * misses of the cache, each of which tells where the next one lies: so each is asked for of all
 * ids, before the first of them is waited for. */
static void find_rows(const float **out, const struct version_rows *from, const uint64_t *key,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        version_rows_prefetch(from, key[i]);
    }
    for (size_t i = 0; i < n; i++) {
        version_rows_prefetch_key(from, key[i]);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = version_rows_find(from, key[i]);
        out[i] = out[i] != NULL ? out[i] : from->shared;
        if (out[i] != NULL) {
            version_rows_prefetch_row(from, out[i]);
        }
    }
}

/* Copy the distinct rows out of the version. */
static bool table_gather(struct request_table *t, const struct version_rows *from,
                         const struct row_init *init)
{
    size_t width = from->width;
    if (!grow(&t->weight, &t->weight_capacity, t->n_rows * width, sizeof *t->weight)) {
        return false;
    }
    for (size_t first = 0; first < t->n_rows; first += GATHER_RUN) {
        const float *row[GATHER_RUN];
        size_t n = t->n_rows - first < GATHER_RUN ? t->n_rows - first : GATHER_RUN;
        find_rows(row, from, t->key + first, n);
        for (size_t i = 0; i < n; i++) {
            float *to = t->weight + (first + i) * width;
            if (row[i] != NULL) {
                memcpy(to, row[i], width * sizeof *to);
            } else {
                row_initial(to, from->width, t->key[first + i], init);
            }
        }
    }
    return true;
}

/* ---- bags ---- */

static int bags_room(struct request_bags *b, size_t n_bags, size_t n_rows, struct undine_err *err)
{
    if (n_rows > UINT32_MAX) {
        return undine_err_set(err, UNDINE_EINVAL, "the request holds over %u ids of one field",
                              UINT32_MAX);
    }
    if (!grow(&b->offset, &b->bags_capacity, n_bags + 1, sizeof *b->offset) ||
        !grow(&b->row, &b->rows_capacity, n_rows, sizeof *b->row)) {
        return no_memory(err);
    }
    return UNDINE_OK;
}

static void bags_end(struct request_bags *b)
{
    b->offset[++b->n_bags] = (uint32_t)b->n_rows;
}

/* The bag is full: how many of the values from `first` on are ids that it does not hold. */
static uint64_t count_cut(const struct request_table *t, uint64_t seed, const uint32_t *bag,
                          uint32_t n, const struct undine_feature *in, size_t first)
{
    uint64_t cut = 0;
    for (size_t i = first; i < in->n_values; i++) {
        const struct undine_value *v = &in->values[i];
        if (v->len == 0 || v->data == NULL) {
            continue;
        }
        uint64_t key = hash_feature(seed, v->data, v->len);
        uint32_t k = 0;
        while (k < n && t->key[bag[k]] != key) {
            k++;
        }
        cut += k == n;
    }
    return cut;
}

/* Append the bag of a field's values (NULL = absent), looked up in a table. */
static int add_bag(struct request *r, struct request_bags *b, uint32_t field, uint32_t table,
                   const struct undine_feature *in, struct undine_err *err)
{
    const struct schema_field *f = &r->schema->fields[field];
    uint64_t seed = r->schema->tables[table].hash_seed;
    int rc = bags_room(b, b->n_bags + 1, b->n_rows + f->values_max, err);
    if (rc < 0) {
        return rc;
    }
    uint32_t *first = b->row + b->n_rows, n = 0;
    size_t i = 0;
    for (; in != NULL && i < in->n_values && n < f->values_max; i++) {
        const struct undine_value *v = &in->values[i];
        uint32_t row, k = 0;
        if (v->len == 0 || v->data == NULL) {
            continue;
        }
        if (!table_row_of(&r->table[table], hash_feature(seed, v->data, v->len), &row)) {
            return no_memory(err);
        }
        while (k < n && first[k] != row) {
            k++;
        }
        first[k] = row;
        n += k == n;
    }
    if (in != NULL && i < in->n_values) { /* DROP(request_value) */
        r->cut.values += count_cut(&r->table[table], seed, first, n, in, i);
    }
    b->n_rows += n;
    bags_end(b);
    return UNDINE_OK;
}

/* Append bag 0 until there are n. */
static int repeat_bag(struct request_bags *b, size_t n, struct undine_err *err)
{
    size_t rows = b->n_rows;
    int rc = bags_room(b, n, rows * n, err);
    for (size_t i = 1; rc == UNDINE_OK && i < n; i++) {
        if (rows > 0) {
            memcpy(b->row + b->n_rows, b->row, rows * sizeof *b->row);
        }
        b->n_rows += rows;
        bags_end(b);
    }
    return rc;
}

static int bags_clear(struct request_bags *b, struct undine_err *err)
{
    b->n_bags = b->n_rows = 0;
    int rc = bags_room(b, 0, 0, err);
    if (rc == UNDINE_OK) {
        b->offset[0] = 0;
    }
    return rc;
}

/* ---- names ---- */

/* Which feature fills which field, and for the feature at place i of a list the field of last time:
 * callers mostly pass the same names in the same order, and often the same pointers. */
struct naming {
    struct request_fault *fault;
    const struct undine_feature *of_field[SCHEMA_FIELDS_MAX];
    struct {
        const char *name;
        uint32_t field;
    } last[SCHEMA_FIELDS_MAX];
};

static int find_field(const struct schema *s, struct naming *names, size_t place, const char *name,
                      uint32_t *out, struct undine_err *err)
{
    /* Borrowed for the call, so equal pointers are equal names. */
    if (place < SCHEMA_FIELDS_MAX && names->last[place].name == name) {
        *out = names->last[place].field;
        return UNDINE_OK;
    }
    int field = schema_field_find(s, name);
    if (field < 0) {
        names->fault->field = name;
        return undine_err_set(err, UNDINE_EINVAL, "the model has no field `%s`", name);
    }
    if (place < SCHEMA_FIELDS_MAX) {
        names->last[place].name = name;
        names->last[place].field = (uint32_t)field;
    }
    *out = (uint32_t)field;
    return UNDINE_OK;
}

/* Take a list of features apart.  All must be fields of the group; none may stand twice. */
static int name_features(const struct schema *s, struct naming *names, enum schema_group group,
                         const struct undine_features *in, struct undine_err *err)
{
    for (uint32_t f = 0; f < s->n_fields; f++) {
        names->of_field[f] = NULL;
    }
    for (size_t i = 0; i < in->n_features; i++) {
        const struct undine_feature *feature = &in->features[i];
        uint32_t field = 0;
        if (feature->field == NULL) {
            return undine_err_set(err, UNDINE_EINVAL, "feature %zu has no field name", i);
        }
        int rc = find_field(s, names, i, feature->field, &field, err);
        if (rc < 0) {
            return rc;
        }
        if (s->fields[field].group != group) {
            names->fault->field = feature->field;
            return undine_err_set(err, UNDINE_EINVAL, "field `%s` belongs to the %s, not to the %s",
                                  feature->field, GROUPS[s->fields[field].group], GROUPS[group]);
        }
        if (names->of_field[field] != NULL) {
            names->fault->field = feature->field;
            return undine_err_set(err, UNDINE_EINVAL, "field `%s` is given twice", feature->field);
        }
        names->of_field[field] = feature;
    }
    return UNDINE_OK;
}

/* ---- parts of a request ---- */

/* User or context: one bag, the same for all candidates. */
static int add_shared(struct request *r, enum schema_group group,
                      const struct undine_features *features, const struct undine_value *user_id,
                      size_t n, struct undine_err *err)
{
    struct naming names = {.fault = &r->fault};
    struct undine_feature id = {.values = user_id, .n_values = 1};
    r->fault.part = group == SCHEMA_USER ? "user" : "context";
    int rc = name_features(r->schema, &names, group, features, err);
    for (uint32_t f = 0; rc == UNDINE_OK && f < r->schema->n_fields; f++) {
        const struct schema_field *field = &r->schema->fields[f];
        if (field->group != group) {
            continue;
        }
        const struct undine_feature *in = names.of_field[f];
        rc =
            add_bag(r, &r->field[f], f, field->table, in == NULL && field->user_id ? &id : in, err);
        if (rc == UNDINE_OK) {
            rc = repeat_bag(&r->field[f], n, err);
        }
    }
    return rc;
}

static int add_candidates(struct request *r, const struct undine_request *in,
                          struct undine_err *err)
{
    struct naming names = {.fault = &r->fault};
    int rc = UNDINE_OK;
    r->fault.part = "candidates";
    for (size_t i = 0; rc == UNDINE_OK && i < in->n_candidates; i++) {
        r->fault.item = i;
        rc = name_features(r->schema, &names, SCHEMA_CANDIDATE, &in->candidates[i], err);
        for (uint32_t f = 0; rc == UNDINE_OK && f < r->schema->n_fields; f++) {
            if (r->schema->fields[f].group == SCHEMA_CANDIDATE) {
                rc =
                    add_bag(r, &r->field[f], f, r->schema->fields[f].table, names.of_field[f], err);
            }
        }
        if (rc < 0) {
            (void)undine_err_prefix(err, "candidate %zu", i);
        }
    }
    return rc;
}

/* Does any field of the sequence have a value? */
static bool step_counts(const struct schema_sequence *q, const struct naming *names)
{
    for (uint32_t k = 0; k < q->n_fields; k++) {
        const struct undine_feature *f = names->of_field[q->field[k]];
        for (size_t i = 0; f != NULL && i < f->n_values; i++) {
            if (f->values[i].len > 0 && f->values[i].data != NULL) {
                return true;
            }
        }
    }
    return false;
}

/* Where the newest L steps begin. */
static int first_step(const struct schema *s, const struct schema_sequence *q, struct naming *names,
                      const struct undine_sequence *in, size_t *out, struct undine_err *err)
{
    size_t first = in->n_steps;
    for (uint32_t n = 0; n < q->length && first > 0;) {
        int rc = name_features(s, names, SCHEMA_CANDIDATE, &in->steps[--first], err);
        if (rc < 0) {
            names->fault->item = first;
            (void)undine_err_prefix(err, "step %zu of sequence `%s`", first, in->name);
            return rc;
        }
        n += step_counts(q, names);
    }
    *out = first;
    return UNDINE_OK;
}

static int add_sequence(struct request *r, uint32_t which, const struct undine_sequence *in,
                        struct undine_err *err)
{
    const struct schema_sequence *q = &r->schema->sequences[which];
    struct request_sequence *to = &r->sequence[which];
    struct naming names = {.fault = &r->fault};
    size_t step = 0;
    if (to->step_offset[1] > 0) {
        return undine_err_set(err, UNDINE_EINVAL, "sequence `%s` is given twice", in->name);
    }
    int rc = first_step(r->schema, q, &names, in, &step, err);
    r->cut.steps += step; /* DROP(request_step) */
    for (; rc == UNDINE_OK && step < in->n_steps; step++) {
        (void)name_features(r->schema, &names, SCHEMA_CANDIDATE, &in->steps[step], err);
        if (!step_counts(q, &names)) {
            continue;
        }
        for (uint32_t k = 0; rc == UNDINE_OK && k < q->n_fields; k++) {
            rc = add_bag(r, &to->step[k], q->field[k], q->table[k], names.of_field[q->field[k]],
                         err);
        }
        to->step_offset[1]++;
    }
    return rc;
}

/* A bag of ids as they are stored; those of the step that is read begin at *ids. */
static int add_id_bag(struct request *r, struct request_bags *b, uint32_t table, uint32_t n,
                      const uint64_t **ids, struct undine_err *err)
{
    int rc = bags_room(b, b->n_bags + 1, b->n_rows + n, err);
    for (uint32_t i = 0; rc == UNDINE_OK && i < n; i++) {
        if (!table_row_of(&r->table[table], (*ids)[i], &b->row[b->n_rows + i])) {
            return no_memory(err);
        }
    }
    if (rc == UNDINE_OK) {
        b->n_rows += n;
        *ids += n;
        bags_end(b);
    }
    return rc;
}

/* The steps of one sequence, whose ids the decoder has made distinct and not too many. */
static int add_steps(struct request *r, uint32_t which, const struct request_steps *in,
                     struct undine_err *err)
{
    const struct schema_sequence *q = &r->schema->sequences[which];
    struct request_sequence *to = &r->sequence[which];
    const uint64_t *at = in->words;
    int rc = UNDINE_OK;
    UNDINE_ASSERT(in->n_steps <= q->length);
    for (uint32_t i = 0; rc == UNDINE_OK && i < in->n_steps; i++) {
        uint64_t counts = at[1];
        at += 2;
        for (uint32_t k = 0; rc == UNDINE_OK && k < q->n_fields; k++) {
            rc = add_id_bag(r, &to->step[k], q->table[k], (uint32_t)(counts >> (8 * k)) & 0xff, &at,
                            err);
        }
    }
    to->step_offset[1] = in->n_steps;
    return rc;
}

static int add_sequences(struct request *r, const struct undine_request *in, struct undine_err *err)
{
    int rc = UNDINE_OK;
    for (size_t i = 0; rc == UNDINE_OK && i < in->n_sequences; i++) {
        const char *name = in->sequences[i].name;
        r->fault = (struct request_fault){"sequences", name, NULL, SIZE_MAX};
        int which = name != NULL ? schema_sequence_find(r->schema, name) : -1;
        if (which < 0) {
            return undine_err_set(err, UNDINE_EINVAL, "the model has no sequence `%s`",
                                  name != NULL ? name : "");
        }
        rc = add_sequence(r, (uint32_t)which, &in->sequences[i], err);
    }
    return rc;
}

/* ---- the whole ---- */

static int clear(struct request *r, size_t n, struct undine_err *err)
{
    int rc = UNDINE_OK;
    size_t held = r->zero_capacity, items = n;
    for (uint32_t i = 0; i < r->schema->n_sequences; i++) {
        items += r->schema->sequences[i].length;
    }
    for (uint32_t i = 0; i < r->schema->n_tables; i++) {
        if (!table_clear(&r->table[i], items)) {
            return no_memory(err);
        }
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < r->schema->n_fields; i++) {
        rc = bags_clear(&r->field[i], err);
    }
    for (uint32_t i = 0; i < r->schema->n_sequences; i++) {
        r->sequence[i].step_offset[0] = r->sequence[i].step_offset[1] = 0;
        for (uint32_t k = 0; rc == UNDINE_OK && k < r->schema->sequences[i].n_fields; k++) {
            rc = bags_clear(&r->sequence[i].step[k], err);
        }
    }
    if (rc == UNDINE_OK && !grow(&r->zero, &r->zero_capacity, n, sizeof *r->zero)) {
        rc = no_memory(err);
    }
    if (r->zero_capacity > held) {
        memset(r->zero, 0, r->zero_capacity * sizeof *r->zero);
    }
    return rc;
}

static struct batch_bags bags_of(const struct request_bags *b)
{
    return (struct batch_bags){.offset = b->offset, .row = b->row};
}

static void fill_batch(struct request *r, const struct model_options *model, size_t n)
{
    const struct schema *s = r->schema;
    struct batch *batch = &r->batch;
    batch->n = (uint32_t)n;
    for (uint32_t i = 0; i < s->n_tables; i++) {
        batch->table[i] = (struct batch_table){.n_rows = (uint32_t)r->table[i].n_rows,
                                               .width = model_row_width(s, model, i),
                                               .weight = r->table[i].weight};
    }
    for (uint32_t i = 0; i < s->n_fields; i++) {
        batch->field[i] = bags_of(&r->field[i]);
    }
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        batch->sequence[i] = (struct batch_sequences){
            .n = 1, .step_offset = r->sequence[i].step_offset, .of_example = r->zero};
        for (uint32_t k = 0; k < s->sequences[i].n_fields; k++) {
            batch->sequence[i].step[k] = bags_of(&r->sequence[i].step[k]);
        }
    }
}

int request_build(struct request *r, const struct version_chain *version,
                  const struct undine_request *in, const struct request_steps *steps,
                  struct undine_err *err)
{
    size_t n = in->n_candidates;
    r->fault = (struct request_fault){"candidates", NULL, NULL, SIZE_MAX};
    r->cut = (struct request_cut){0, 0};
    if (n > REQUEST_CANDIDATES_MAX) {
        return undine_err_set(err, UNDINE_EINVAL, "the request has %zu candidates, at most %d fit",
                              n, REQUEST_CANDIDATES_MAX);
    }
    r->schema = &version->manifest->schema;
    int rc = clear(r, n, err);
    if (rc == UNDINE_OK) {
        rc = add_shared(r, SCHEMA_USER, &in->user, &in->user_id, n, err);
    }
    if (rc == UNDINE_OK) {
        rc = add_shared(r, SCHEMA_CONTEXT, &in->context, &in->user_id, n, err);
    }
    if (rc == UNDINE_OK) {
        rc = add_candidates(r, in, err);
    }
    if (rc == UNDINE_OK && steps == NULL) {
        rc = add_sequences(r, in, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && steps != NULL && i < r->schema->n_sequences; i++) {
        rc = add_steps(r, i, &steps[i], err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < r->schema->n_tables; i++) {
        if (!table_gather(&r->table[i], &version->table[i], &version->manifest->row_init[i])) {
            rc = no_memory(err);
        }
    }
    if (rc == UNDINE_OK) {
        fill_batch(r, &version->manifest->model, n);
    }
    return rc;
}
