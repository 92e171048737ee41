#include "learner/merge_plan.h"

#include <stdbool.h>
#include <stdlib.h>

enum { PIECES_MIN = 64 };

void merge_plan_release(struct merge_plan *p)
{
    free(p->piece);
    *p = (struct merge_plan){0};
}

static int no_memory(struct undine_err *err)
{
    return undine_err_set(err, UNDINE_ENOMEM, "no memory to merge versions");
}

static int add_piece(struct merge_plan *p, uint32_t part, uint64_t row, uint64_t n,
                     struct undine_err *err)
{
    struct merge_piece *last = p->n_pieces > 0 ? &p->piece[p->n_pieces - 1] : NULL;
    p->n_rows += n;
    if (n == 0) {
        return UNDINE_OK;
    }
    if (last != NULL && last->part == part && last->row + (uint64_t)last->n == row) {
        last->n += (uint32_t)n;
        return UNDINE_OK;
    }
    if (p->n_pieces == p->capacity) {
        size_t wanted = p->capacity > 0 ? p->capacity * 2 : PIECES_MIN;
        struct merge_piece *grown = reallocarray(p->piece, wanted, sizeof *grown);
        if (grown == NULL) {
            return no_memory(err);
        }
        p->piece = grown;
        p->capacity = wanted;
    }
    p->piece[p->n_pieces++] =
        (struct merge_piece){.part = part, .row = (uint32_t)row, .n = (uint32_t)n};
    return UNDINE_OK;
}

/* ---- all deltas at once: a heap of their next ids ---- */

struct cursor { /* the id a part speaks of next */
    uint64_t id;
    uint32_t part;
    uint64_t key, removed; /* places in its lists */
};

/* Smaller ids first; of one id the newest part. */
static bool before(const struct cursor *a, const struct cursor *b)
{
    return a->id != b->id ? a->id < b->id : a->part > b->part;
}

static bool next_id(struct cursor *c, const struct merge_source *s)
{
    bool key = c->key < s->n, removed = c->removed < s->n_removed;
    if (key && (!removed || s->key[c->key] < s->removed[c->removed])) {
        c->id = s->key[c->key];
    } else if (removed) {
        c->id = s->removed[c->removed];
    }
    return key || removed;
}

static void sink(struct cursor *heap, size_t n, size_t at)
{
    for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!before(&heap[child], &heap[at])) {
            return;
        }
        struct cursor swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

/* First of the ascending keys from `from` on that is not below `id`; near ones are found soonest.
 */
static uint64_t not_below(const struct merge_source *s, uint64_t from, uint64_t id)
{
    uint64_t step = 1, low = from, high = from;
    while (high < s->n && s->key[high] < id) {
        low = high + 1;
        high = high + step < s->n ? high + step : s->n;
        step *= 2;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (s->key[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Take the top's id off; *row of it, or false where the part removes it. */
static bool take(struct cursor *heap, size_t *n, const struct merge_source *source, uint64_t *row)
{
    struct cursor *top = &heap[0];
    const struct merge_source *s = &source[top->part];
    bool is_key = top->key < s->n && s->key[top->key] == top->id;
    *row = top->key;
    top->key += is_key;
    top->removed += !is_key;
    if (!next_id(top, s)) {
        heap[0] = heap[--*n];
    }
    sink(heap, *n, 0);
    return is_key;
}

static int merge(struct merge_plan *p, struct cursor *heap, size_t n,
                 const struct merge_source *source, struct undine_err *err)
{
    uint64_t at = 0; /* in the full version */
    int rc = UNDINE_OK;
    while (rc == UNDINE_OK && n > 0) {
        uint64_t id = heap[0].id, row, older;
        uint32_t part = heap[0].part;
        uint64_t until = not_below(&source[0], at, id);
        rc = add_piece(p, 0, at, until - at, err);
        at = until + (until < source[0].n && source[0].key[until] == id);
        if (take(heap, &n, source, &row) && rc == UNDINE_OK) {
            rc = add_piece(p, part, row, 1, err);
        }
        while (n > 0 && heap[0].id == id) {
            (void)take(heap, &n, source, &older);
        }
    }
    return rc == UNDINE_OK ? add_piece(p, 0, at, source[0].n - at, err) : rc;
}

int merge_plan_make(struct merge_plan *out, const struct merge_source *source, uint32_t n_sources,
                    struct undine_err *err)
{
    UNDINE_ASSERT(n_sources > 0);
    struct merge_plan p = {0};
    struct cursor *heap = calloc(n_sources, sizeof *heap);
    size_t n = 0;
    if (heap == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 1; i < n_sources; i++) {
        heap[n] = (struct cursor){.part = i};
        n += next_id(&heap[n], &source[i]);
    }
    for (size_t i = n; i > 0; i--) {
        sink(heap, n, i - 1);
    }
    int rc = merge(&p, heap, n, source, err);
    free(heap);
    if (rc < 0) {
        merge_plan_release(&p);
        return rc;
    }
    *out = p;
    return UNDINE_OK;
}
