/* version_retain.c: which versions stay (version.h). */
#include "base/fault.h"
#include "learner/model/version_history.h"
#include "learner/model/version_merged.h"
#include "learner/version.h"
#include "learner/version_files.h"
#include "learner/version_hold.h"
#include "learner/version_info.h"

#include <stdlib.h>

enum { RETAIN_HISTORY_BYTES = 1 << 20 }; /* thousands of lines */

enum need { /* of a version that newer ones need */
            NEED_NOT,
            NEED_DELTA,
            NEED_FULL
};

struct retain {
    const char *dir;
    struct version_keep keep;
    uint64_t current; /* UINT64_MAX = nothing is published */
    struct version_history history;
    uint64_t *number; /* (n) ascending */
    uint8_t *need;    /* (n) enum need */
    bool *keep_it;    /* (n) */
    size_t n;
    unsigned for_restart, for_scorers; /* kept already */
    uint64_t group;                    /* full version of the newest delta kept for scorers */
    uint64_t newest_state;             /* newest number whose state a full version has */
    bool have_tip;                     /* the newest state is kept */
    int64_t newest_ms;
    uint64_t bytes, oldest_seq;
};

static int retain_begin(struct retain *r, struct undine_err *err)
{
    char name[VERSION_NAME_MAX];
    r->current = r->oldest_seq = UINT64_MAX;
    r->newest_ms = INT64_MIN;
    if (version_dir_current(r->dir, name, NULL) == UNDINE_OK) {
        (void)version_number(&r->current, name);
    }
    r->need = calloc(r->n + 1, sizeof *r->need);
    r->keep_it = calloc(r->n + 1, sizeof *r->keep_it);
    if (r->need == NULL || r->keep_it == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory to list versions");
    }
    return version_history_tail(&r->history, r->dir, RETAIN_HISTORY_BYTES, err);
}

/* Place of a version that is there; r->n = it is not. */
static size_t place_of(const struct retain *r, uint64_t number)
{
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->number[middle] < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < r->n && r->number[low] == number ? low : r->n;
}

/* Where a link of the chain went when it was merged, a full version stands for it and those before
 * it; its number may be above the delta's, and so behind us.  How many links it stands for. */
static uint32_t mark_stand_in(struct retain *r, const struct manifest *m)
{
    uint32_t missing = 0, link = 0;
    struct manifest_link merged;
    while (missing < m->delta.n_chain && place_of(r, m->delta.chain[missing].number) < r->n) {
        missing++;
    }
    if (missing == m->delta.n_chain ||
        version_merged_find(r->dir, &m->delta, missing, &link, &merged, NULL) != 1) {
        return 0;
    }
    size_t at = place_of(r, merged.number);
    if (at < r->n) {
        r->need[at] = NEED_FULL;
        r->keep_it[at] = true;
    }
    return link + 1;
}

static void mark(struct retain *r, const struct manifest *m)
{
    for (uint32_t i = mark_stand_in(r, m); i < m->delta.n_chain; i++) {
        size_t at = place_of(r, m->delta.chain[i].number);
        if (at < r->n) {
            r->need[at] = i == 0 ? NEED_FULL : NEED_DELTA;
        }
    }
}

/* Is one that may go within what age and bytes allow? */
static bool within(const struct retain *r, const struct manifest *m)
{
    bool young = r->keep.age_ms == 0 || r->newest_ms - m->created_ms <= r->keep.age_ms;
    bool small = r->keep.bytes == 0 || r->bytes + manifest_bytes(m) <= r->keep.bytes;
    return young && small;
}

/* One that scorers may go back to: published, not withdrawn, and of the deltas on one full version
 * the newest. */
static bool is_target(const struct retain *r, const struct manifest *m)
{
    uint64_t group = m->is_delta ? m->delta.chain[0].number : m->number;
    return version_history_standing(&r->history, m->number) == VERSION_PUBLISHED &&
           m->number < r->current && r->for_scorers < r->keep.count &&
           (r->group == 0 || group != r->group);
}

static bool keeps_for_restart(struct retain *r, const struct manifest *m)
{
    bool tip = !r->have_tip && (!m->is_delta || m->number > r->newest_state);
    bool keeps =
        m->is_delta ? tip : r->for_restart == 0 || (r->for_restart < r->keep.count && within(r, m));
    r->have_tip = r->have_tip || (tip && (m->is_delta || m->merged_from == 0));
    if (!m->is_delta) {
        uint64_t state = m->merged_from > 0 ? m->merged_from : m->number;
        r->newest_state = state > r->newest_state ? state : r->newest_state;
        r->for_restart += keeps;
    }
    if (keeps && m->trained_seq < r->oldest_seq) {
        r->oldest_seq = m->trained_seq;
    }
    return keeps;
}

static bool keeps_for_scorers(struct retain *r, const struct manifest *m)
{
    bool keeps = m->number == r->current || (is_target(r, m) && within(r, m));
    if (keeps) {
        r->for_scorers++;
        r->group = m->is_delta ? m->delta.chain[0].number : m->number;
    }
    return keeps;
}

/* A version that can be read and that no newer one needs. */
static bool keeps_valid(struct retain *r, const struct manifest *m)
{
    r->newest_ms = m->created_ms > r->newest_ms ? m->created_ms : r->newest_ms;
    bool restart = keeps_for_restart(r, m), scorers = keeps_for_scorers(r, m);
    if (restart || scorers) {
        r->bytes += manifest_bytes(m);
        mark(r, m);
    }
    return restart || scorers;
}

static bool keeps(struct retain *r, size_t i)
{
    uint64_t number = r->number[i];
    struct manifest m;
    if (r->need[i] == NEED_DELTA) {
        return true;
    }
    if (version_info_manifest(r->dir, number, &m, NULL) != UNDINE_OK) {
        return r->need[i] != NEED_NOT || r->for_restart < r->keep.count || number == r->current;
    }
    bool keep = keeps_valid(r, &m) || r->need[i] != NEED_NOT;
    manifest_release(&m);
    return keep;
}

/* Until there are `count` full versions for the first time, those there are do not yet stand in for
 * one another: examples are kept from the first on. */
static bool none_has_gone(const struct retain *r)
{
    return r->n > 0 && r->number[0] == 1 && r->for_restart < r->keep.count;
}

static int retain(struct retain *r, struct undine_err *err)
{
    int rc = version_files_list(r->dir, &r->number, &r->n, err);
    if (rc == UNDINE_OK) {
        rc = retain_begin(r, err);
    }
    for (size_t i = r->n; rc == UNDINE_OK && i > 0; i--) {
        r->keep_it[i - 1] = keeps(r, i - 1);
    }
    /* Downwards, so that what goes goes before what it needs. */
    for (size_t i = r->n; rc == UNDINE_OK && i > 0; i--) {
        if (r->keep_it[i - 1]) {
            continue;
        }
        char name[VERSION_NAME_MAX];
        version_name(name, r->number[i - 1]);
        /* DROP(version_old): beyond `snapshot.keep`, not the published one */
        FAULT("retain.before_remove");
        rc = version_files_remove(r->dir, name, err);
        FAULT("retain.after_remove");
    }
    if (rc == UNDINE_OK && none_has_gone(r)) {
        r->oldest_seq = 0;
    }
    free(r->number);
    free(r->need);
    free(r->keep_it);
    version_history_release(&r->history);
    return rc;
}

int version_retain_within(const char *dir, const struct version_keep *keep, uint64_t *oldest_seq,
                          struct undine_err *err)
{
    UNDINE_ASSERT(keep->count >= 1);
    struct retain r = {.dir = dir, .keep = *keep};
    int lock;
    int rc = version_lock(dir, &lock, err); /* nobody publishes meanwhile what goes */
    if (rc < 0) {
        return rc;
    }
    rc = retain(&r, err);
    version_unlock(lock);
    if (rc == UNDINE_OK) {
        *oldest_seq = r.oldest_seq == UINT64_MAX ? 0 : r.oldest_seq;
    }
    return rc;
}

int version_retain(const char *dir, unsigned keep, uint64_t *oldest_seq, struct undine_err *err)
{
    struct version_keep limits = {.count = keep};
    return version_retain_within(dir, &limits, oldest_seq, err);
}
