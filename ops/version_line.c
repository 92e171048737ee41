#include "ops/version_line.h"

#include "base/clock.h"
#include "learner/shadow.h"
#include "learner/version_merge.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHAIN_STOP = MANIFEST_CHAIN_MAX - 64 };
#define RETRY_NS ((int64_t)10 * 1000000000)

struct version_line {
    struct version_line_options opt;
    struct shadow *shadow;
    struct version_chain *base; /* the newest version; NULL = the line is broken */
    atomic_bool unbroken;
    int64_t merged_ns; /* when the newest whole version was made, or a merge failed */
    bool failed;       /* the merge before */
    struct version_line_status status;

    /* A merge under way.  Its thread reads `from`, and writes what follows before `done`. */
    bool merging;
    pthread_t thread;
    struct version_chain *from;
    atomic_bool stop, done;
    struct version_merge *merge;
    int merge_rc;
    struct undine_err merge_err;
    int64_t begun_ns;
};

static void set_base(struct version_line *l, struct version_chain *c)
{
    version_chain_close(l->base);
    l->base = c;
    l->status.chain = c != NULL ? c->n_parts : 0;
    atomic_store(&l->unbroken, c != NULL && c->n_parts < CHAIN_STOP);
}

int version_line_open(struct version_line **out, const struct version_line_options *opt,
                      struct undine_err *err)
{
    struct version_line *l = calloc(1, sizeof *l);
    if (l == NULL) {
        version_chain_close(opt->newest);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for the line of versions");
    }
    l->opt = *opt;
    l->merged_ns = clock_monotonic_ns();
    set_base(l, opt->newest);
    int rc = shadow_open(&l->shadow, opt->metrics_window, err);
    rc = rc < 0 ? rc : version_merge_clear(opt->dir, err);
    if (rc < 0) {
        version_line_close(l);
        return rc;
    }
    *out = l;
    return UNDINE_OK;
}

static void merge_join(struct version_line *l)
{
    (void)pthread_join(l->thread, NULL);
    l->merging = false;
    version_chain_close(l->from);
    l->from = NULL;
}

void version_line_close(struct version_line *l)
{
    if (l == NULL) {
        return;
    }
    if (l->merging) {
        atomic_store(&l->stop, true);
        merge_join(l);
        version_merge_free(l->merge);
    }
    version_chain_close(l->base);
    shadow_close(l->shadow);
    free(l);
}

bool version_line_unbroken(const struct version_line *l)
{
    return atomic_load(&l->unbroken);
}

bool version_line_merging(const struct version_line *l)
{
    return l->merging;
}

void version_line_status(const struct version_line *l, struct version_line_status *out)
{
    *out = l->status;
}

/* ---- writing ---- */

/* Ids that were made and went since the base was written are none of its rows. */
static void drop_unknown(struct snapshot *s, const struct version_chain *base)
{
    for (uint32_t k = 0; k < s->n_tables; k++) {
        struct snapshot_table *t = &s->table[k];
        uint64_t n = 0, row;
        uint32_t part;
        for (uint64_t i = 0; i < t->n_removed; i++) {
            if (version_rows_where(&base->table[k], t->removed[i], &part, &row)) {
                t->removed[n++] = t->removed[i];
            }
        }
        t->n_removed = n;
    }
}

static int write_delta(struct version_line *l, struct snapshot *s,
                       const struct version_extra *extra, struct version_info *out,
                       struct undine_err *err)
{
    if (l->base == NULL) {
        return undine_err_set(err, UNDINE_ESTATE,
                              "there is no version that a delta could be written on");
    }
    drop_unknown(s, l->base);
    int rc = version_write_delta(l->opt.dir, s, l->base, extra, false, out, err);
    if (rc == UNDINE_OK) {
        l->status.deltas++;
        l->status.delta_bytes += out->bytes;
    }
    return rc;
}

int version_line_write(struct version_line *l, struct snapshot *s,
                       const struct version_extra *extra, struct version_info *out,
                       struct undine_err *err)
{
    struct version_chain *next = NULL;
    bool delta = s->delta;
    int rc = shadow_settle(l->shadow, s, err);
    if (rc == UNDINE_OK) {
        rc = delta ? write_delta(l, s, extra, out, err)
                   : version_write(l->opt.dir, s, extra, false, out, err);
    }
    if (rc == UNDINE_OK) {
        rc = version_chain_open(&next, l->opt.dir, out->name, l->base, false, err);
    }
    set_base(l, rc == UNDINE_OK ? next : NULL);
    if (rc == UNDINE_OK && !delta) {
        l->merged_ns = clock_monotonic_ns();
    }
    return rc;
}

/* ---- merging ---- */

static void *merge_main(void *payload)
{
    struct version_line *l = payload;
    (void)pthread_setname_np(pthread_self(), "undine-merge");
    l->merge_rc =
        version_merge_write(&l->merge, l->opt.dir, l->from->name, l->from, &l->stop, &l->merge_err);
    atomic_store(&l->done, true);
    return NULL;
}

static int merge_failed(struct version_line *l, int64_t now_ns)
{
    l->status.merges_failed++; /* DROP(merge_failed) */
    l->failed = true;
    l->merged_ns = now_ns;
    return l->merge_err.code != 0 ? l->merge_err.code : UNDINE_EIO;
}

static bool merge_due(const struct version_line *l, int64_t now_ns)
{
    if (l->base == NULL || l->base->n_parts < 2) {
        return false;
    }
    int64_t since = now_ns - l->merged_ns;
    return l->failed ? since >= RETRY_NS
                     : since >= l->opt.merge_ns || l->base->n_parts > l->opt.chain_max;
}

static int merge_begin(struct version_line *l, int64_t now_ns, struct undine_err *err)
{
    l->merge = NULL;
    l->merge_err = (struct undine_err){0};
    l->begun_ns = now_ns;
    atomic_store(&l->done, false);
    int rc = version_chain_open(&l->from, l->opt.dir, l->base->name, l->base, false, &l->merge_err);
    if (rc == UNDINE_OK) {
        int failed = pthread_create(&l->thread, NULL, merge_main, l);
        if (failed == 0) {
            l->merging = true;
            return UNDINE_OK;
        }
        version_chain_close(l->from);
        l->from = NULL;
        rc = undine_err_sys(&l->merge_err, UNDINE_EIO, failed, "starting the merge thread");
    }
    *err = l->merge_err;
    (void)merge_failed(l, now_ns);
    return rc;
}

/* The whole version takes the place of the first parts of the chain. */
static int go_on_upon(struct version_line *l, const struct version_info *whole,
                      struct undine_err *err)
{
    struct version_chain *next = NULL;
    int rc = l->base == NULL ? UNDINE_OK
                             : version_chain_rebase(&next, l->opt.dir, whole->name, l->base, err);
    if (rc == UNDINE_OK && next != NULL) {
        set_base(l, next);
    }
    return rc;
}

static int merge_end(struct version_line *l, int64_t now_ns, int64_t created_ms,
                     struct version_info *out, struct undine_err *err)
{
    merge_join(l);
    int rc = l->merge_rc;
    if (rc == UNDINE_OK) {
        rc = version_merge_commit(l->merge, created_ms, out, &l->merge_err);
    }
    if (rc == UNDINE_OK) {
        rc = go_on_upon(l, out, &l->merge_err);
    }
    version_merge_free(l->merge);
    l->merge = NULL;
    if (rc < 0) {
        *err = l->merge_err;
        (void)merge_failed(l, now_ns);
        return rc;
    }
    l->status.merges++;
    l->status.merge_seconds = (double)(now_ns - l->begun_ns) * 1e-9;
    l->failed = false;
    l->merged_ns = l->begun_ns;
    return 1;
}

int version_line_tend(struct version_line *l, int64_t now_ns, int64_t created_ms,
                      struct version_info *out, struct undine_err *err)
{
    if (l->merging) {
        return atomic_load(&l->done) ? merge_end(l, now_ns, created_ms, out, err) : 0;
    }
    return merge_due(l, now_ns) ? merge_begin(l, now_ns, err) : 0;
}
