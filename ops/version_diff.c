#include "ops/version_diff.h"

#include "learner/merge_plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory to compare versions");
}

void version_diff_release(struct version_diff *d)
{
    for (uint32_t i = 0; i < d->n_tables; i++) {
        free(d->table[i].top);
    }
    free(d->tensor);
    *d = (struct version_diff){0};
}

/* ---- the rows of a table by id ---- */

struct cursor {
    const struct version_chain *chain;
    uint32_t table, width;
    struct merge_plan plan;
    size_t piece;
    uint32_t at; /* in the piece */
    uint64_t key;
    const float *row; /* NULL: at the end */
};

static void cursor_load(struct cursor *c)
{
    if (c->piece == c->plan.n_pieces) {
        c->row = NULL;
        return;
    }
    const struct merge_piece *p = &c->plan.piece[c->piece];
    const struct version_table *t = &c->chain->part[p->part]->reader->table[c->table];
    uint64_t row = (uint64_t)p->row + c->at;
    c->key = t->key[row];
    c->row = t->row + row * c->width;
}

static void cursor_next(struct cursor *c)
{
    if (++c->at == c->plan.piece[c->piece].n) {
        c->piece++;
        c->at = 0;
    }
    cursor_load(c);
}

static void cursor_close(struct cursor *c)
{
    merge_plan_release(&c->plan);
}

/* Before the first row; an empty one where the version has no such table. */
static int cursor_open(struct cursor *c, const struct version_chain *chain, const char *name,
                       struct undine_err *err)
{
    const struct schema *schema = &chain->manifest->schema;
    *c = (struct cursor){.chain = chain};
    while (c->table < schema->n_tables && strcmp(schema->tables[c->table].name, name) != 0) {
        c->table++;
    }
    if (c->table == schema->n_tables) {
        return UNDINE_OK;
    }
    c->width = chain->table[c->table].width;
    struct merge_source *source = calloc(chain->n_parts, sizeof *source);
    if (source == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < chain->n_parts; i++) {
        const struct version_table *t = &chain->part[i]->reader->table[c->table];
        source[i] = (struct merge_source){
            .key = t->key, .removed = t->removed, .n = t->n_rows, .n_removed = t->n_removed};
    }
    int rc = merge_plan_make(&c->plan, source, chain->n_parts, err);
    free(source);
    if (rc == UNDINE_OK) {
        cursor_load(c);
    }
    return rc;
}

/* ---- what moved most ---- */

/* Is x to be listed before y? */
static bool before(const struct version_diff_row *x, const struct version_diff_row *y)
{
    return x->distance > y->distance || (x->distance == y->distance && x->key < y->key);
}

static int by_distance(const void *a, const void *b)
{
    const struct version_diff_row *x = a, *y = b;
    return before(x, y) ? -1 : before(y, x);
}

/* top is a heap: its root would be listed last. */
static void sift(struct version_diff_row *heap, uint32_t n, uint32_t at)
{
    for (uint32_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        child += child + 1 < n && before(&heap[child], &heap[child + 1]);
        if (!before(&heap[at], &heap[child])) {
            return;
        }
        struct version_diff_row swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

static void offer(struct version_diff_table *t, uint32_t top, const struct version_diff_row *row)
{
    if (t->n_top < top) {
        t->top[t->n_top++] = *row;
        for (uint32_t i = t->n_top == top ? top / 2 : 0; i > 0; i--) {
            sift(t->top, top, i - 1);
        }
    } else if (top > 0 && before(row, &t->top[0])) {
        t->top[0] = *row;
        sift(t->top, top, 0);
    }
}

static double norm(const float *x, uint64_t n)
{
    double sum = 0.0;
    for (uint64_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

static void compare_rows(struct version_diff_table *t, uint32_t top, const struct cursor *a,
                         const struct cursor *b)
{
    if (memcmp(a->row, b->row, a->width * sizeof *a->row) == 0) {
        return;
    }
    struct version_diff_row row = {
        .key = a->key, .norm_a = norm(a->row, a->width), .norm_b = norm(b->row, b->width)};
    for (uint32_t i = 0; i < a->width; i++) {
        double d = (double)b->row[i] - (double)a->row[i];
        row.distance += d * d;
    }
    row.distance = sqrt(row.distance);
    t->moved++;
    t->distance_sum += row.distance;
    t->distance_max = fmax(t->distance_max, row.distance);
    offer(t, top, &row);
}

static void walk(struct version_diff_table *t, uint32_t top, struct cursor *a, struct cursor *b)
{
    while (a->row != NULL || b->row != NULL) {
        bool only_a = b->row == NULL || (a->row != NULL && a->key < b->key);
        bool only_b = a->row == NULL || (b->row != NULL && b->key < a->key);
        if (!only_a && !only_b && a->width == b->width) {
            compare_rows(t, top, a, b);
        } else {
            t->removed += !only_b;
            t->added += !only_a;
        }
        if (!only_b) {
            cursor_next(a);
        }
        if (!only_a) {
            cursor_next(b);
        }
    }
}

static int diff_table(struct version_diff *d, const char *name, const struct version_chain *a,
                      const struct version_chain *b, uint32_t top, struct undine_err *err)
{
    struct version_diff_table *t = &d->table[d->n_tables++];
    struct cursor of_a, of_b = {0};
    *t = (struct version_diff_table){0};
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    t->top = calloc(top > 0 ? top : 1, sizeof *t->top);
    int rc = cursor_open(&of_a, a, name, err);
    rc = rc == UNDINE_OK ? cursor_open(&of_b, b, name, err) : rc;
    rc = rc == UNDINE_OK && t->top == NULL ? no_memory(err) : rc;
    if (rc == UNDINE_OK) {
        t->in_a = of_a.width > 0;
        t->in_b = of_b.width > 0;
        t->width_a = of_a.width;
        t->width_b = of_b.width;
        t->rows_a = of_a.plan.n_rows;
        t->rows_b = of_b.plan.n_rows;
        walk(t, top, &of_a, &of_b);
        qsort(t->top, t->n_top, sizeof *t->top, by_distance);
    }
    cursor_close(&of_a);
    cursor_close(&of_b);
    return rc;
}

static bool has_table(const struct schema *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_tables; i++) {
        if (strcmp(s->tables[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int diff_tables(struct version_diff *d, const struct version_chain *a,
                       const struct version_chain *b, uint32_t top, struct undine_err *err)
{
    const struct schema *of_a = &a->manifest->schema, *of_b = &b->manifest->schema;
    int rc = UNDINE_OK;
    for (uint32_t i = 0; rc == UNDINE_OK && i < of_a->n_tables; i++) {
        rc = diff_table(d, of_a->tables[i].name, a, b, top, err);
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < of_b->n_tables; i++) {
        if (!has_table(of_a, of_b->tables[i].name)) {
            rc = diff_table(d, of_b->tables[i].name, a, b, top, err);
        }
    }
    return rc;
}

/* ---- dense tensors ---- */

static double tensor_norm(const struct safetensors_tensor *t)
{
    return t != NULL ? norm(t->data, safetensors_count(t)) : (double)NAN;
}

static void diff_tensor(struct version_diff_tensor *out, const struct safetensors_tensor *a,
                        const struct safetensors_tensor *b)
{
    const struct safetensors_tensor *one = a != NULL ? a : b;
    *out = (struct version_diff_tensor){.in_a = a != NULL,
                                        .in_b = b != NULL,
                                        .elements = safetensors_count(one),
                                        .norm_a = tensor_norm(a),
                                        .norm_b = tensor_norm(b),
                                        .distance = NAN,
                                        .largest = NAN};
    (void)snprintf(out->name, sizeof out->name, "%s", one->name);
    out->same_shape = a != NULL && b != NULL && a->rows == b->rows && a->cols == b->cols;
    if (!out->same_shape) {
        return;
    }
    const float *x = a->data, *y = b->data;
    double sum = 0.0;
    out->largest = 0.0;
    for (uint64_t i = 0; i < out->elements; i++) {
        double d = (double)y[i] - (double)x[i];
        sum += d * d;
        out->largest = fmax(out->largest, fabs(d));
    }
    out->distance = sqrt(sum);
}

static bool is_dense(const struct safetensors_tensor *t)
{
    return t->type == SAFETENSORS_F32 && !version_tensor_of_table(t);
}

static int diff_tensors(struct version_diff *d, const struct safetensors *a,
                        const struct safetensors *b, struct undine_err *err)
{
    d->tensor = calloc(a->n + b->n + 1, sizeof *d->tensor);
    if (d->tensor == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < a->n; i++) {
        const struct safetensors_tensor *t = &a->tensor[i], *other = safetensors_find(b, t->name);
        if (is_dense(t)) {
            diff_tensor(&d->tensor[d->n_tensors++], t,
                        other != NULL && is_dense(other) ? other : NULL);
        }
    }
    for (size_t i = 0; i < b->n; i++) {
        const struct safetensors_tensor *t = &b->tensor[i], *other = safetensors_find(a, t->name);
        if (is_dense(t) && (other == NULL || !is_dense(other))) {
            diff_tensor(&d->tensor[d->n_tensors++], NULL, t);
        }
    }
    return UNDINE_OK;
}

int version_diff_make(struct version_diff *out, const struct version_chain *a,
                      const struct version_chain *b, uint32_t top, struct undine_err *err)
{
    UNDINE_ASSERT(top <= VERSION_DIFF_TOP_MAX);
    *out = (struct version_diff){.equal = strcmp(a->manifest->digest, b->manifest->digest) == 0};
    int rc = diff_tables(out, a, b, top, err);
    rc = rc == UNDINE_OK ? diff_tensors(out, a->dense, b->dense, err) : rc;
    if (rc < 0) {
        version_diff_release(out);
    }
    return rc;
}
