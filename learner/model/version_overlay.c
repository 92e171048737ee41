#include "learner/model/version_overlay.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SLOTS_MIN = 8, FACTOR = 4 };

static struct version_run *run_new(uint64_t n, struct undine_err *err)
{
    uint64_t slots = SLOTS_MIN;
    while (slots < n + n / 2 + 1) {
        slots *= 2;
    }
    struct version_run *run = calloc(1, sizeof *run + slots * sizeof run->slot[0]);
    if (run == NULL) {
        (void)undine_err_set(err, UNDINE_ENOMEM, "no memory for %" PRIu64 " changed rows", n);
        return NULL;
    }
    atomic_init(&run->refs, 1);
    run->mask = slots - 1;
    return run;
}

static void run_release(struct version_run *run)
{
    if (run != NULL && atomic_fetch_sub(&run->refs, 1) == 1) {
        free(run);
    }
}

/* An id that is there already keeps its entry. */
static void run_add(struct version_run *run, struct version_slot entry)
{
    uint64_t at = hash_mix64(entry.key) & run->mask;
    while (run->slot[at].part != 0) {
        if (run->slot[at].key == entry.key) {
            return;
        }
        at = (at + 1) & run->mask;
    }
    run->slot[at] = entry;
    run->n++;
}

static void run_add_all(struct version_run *run, const struct version_run *from)
{
    for (uint64_t i = 0; i <= from->mask; i++) {
        if (from->slot[i].part != 0) {
            run_add(run, from->slot[i]);
        }
    }
}

static struct version_run *run_of(const struct version_table *t, uint32_t part,
                                  struct undine_err *err)
{
    struct version_run *run = run_new(t->n_rows + t->n_removed, err);
    for (uint64_t i = 0; run != NULL && i < t->n_rows; i++) {
        run_add(run, (struct version_slot){.key = t->key[i], .part = part, .row = (uint32_t)i});
    }
    for (uint64_t i = 0; run != NULL && i < t->n_removed; i++) {
        run_add(run,
                (struct version_slot){.key = t->removed[i], .part = part, .row = VERSION_ROW_GONE});
    }
    return run;
}

int version_overlay_push(struct version_overlay *o, const struct version_table *t, uint32_t part,
                         struct undine_err *err)
{
    UNDINE_ASSERT(part > 0);
    if (t->n_rows + t->n_removed == 0) {
        return UNDINE_OK;
    }
    struct version_run *top = run_of(t, part, err);
    while (top != NULL && o->n > 0 &&
           (o->run[o->n - 1]->n / FACTOR <= top->n || o->n == VERSION_RUNS_MAX)) {
        struct version_run *below = o->run[o->n - 1];
        struct version_run *both = run_new(top->n + below->n, err);
        if (both != NULL) {
            run_add_all(both, top);
            run_add_all(both, below);
            run_release(below);
            o->n--;
        }
        run_release(top);
        top = both;
    }
    if (top == NULL) {
        return UNDINE_ENOMEM;
    }
    o->run[o->n++] = top;
    return UNDINE_OK;
}

void version_overlay_share(struct version_overlay *to, const struct version_overlay *from)
{
    *to = *from;
    for (uint32_t i = 0; i < to->n; i++) {
        (void)atomic_fetch_add(&to->run[i]->refs, 1);
    }
}

void version_overlay_release(struct version_overlay *o)
{
    for (uint32_t i = 0; i < o->n; i++) {
        run_release(o->run[i]);
    }
    o->n = 0;
}
