#include "ingest/offset_guard.h"

#include <stdio.h>
#include <string.h>

enum guard offset_guard(const struct source_partition *p, int64_t offset)
{
    int64_t next = p->position.next;
    if (next >= 0 && offset < next) {
        return GUARD_DUPLICATE;
    }
    if (p->end >= 0 && offset >= p->end) {
        return GUARD_DONE;
    }
    return next >= 0 && offset > next ? GUARD_GAP : GUARD_TAKE;
}

int64_t gap_believe(struct gap_doubt *g, int64_t next, int64_t upto, bool *twice)
{
    *twice = g->asked > 0;
    if (*twice) {
        int64_t end = upto < g->asked ? upto : g->asked;
        g->widest = end - next > g->widest ? end - next : g->widest;
        g->asked = upto < g->asked ? g->asked : 0; /* what lies behind is another gap */
        return end;
    }
    if (g->asks == 0 && (upto - next) / 2 <= g->widest) {
        return upto;
    }
    g->asks -= g->asks > 0;
    g->asked = upto;
    return next;
}

bool gap_taken(struct gap_doubt *g, int64_t offset)
{
    bool lacked = offset < g->asked;
    g->asked = lacked ? g->asked : 0;
    g->n_taken++;
    if (lacked) {
        g->asks = GAP_ASKS;
    } else if (g->n_taken % GAP_ASK_EVERY == 0 && g->asks < GAP_ASKS) {
        g->asks++;
    }
    return lacked;
}

int offset_loss(struct undine_err *err, const struct source_partition *p, int64_t low, int64_t high,
                const char *what)
{
    return undine_err_set(err, UNDINE_ELOSS,
                          "topic `%s`, partition %d: %s (stored next offset %lld; the broker has "
                          "low %lld, high %lld); `--accept-loss %s:%d` goes on at %lld and records "
                          "the loss",
                          p->topic, p->partition, what, (long long)p->position.next, (long long)low,
                          (long long)high, p->topic, p->partition, (long long)low);
}

bool offset_accept_loss(struct source_partition *p, int64_t low, const char *const *accepted,
                        size_t n)
{
    char name[SOURCE_TOPIC_MAX + 16];
    (void)snprintf(name, sizeof name, "%s:%d", p->topic, p->partition);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(accepted[i], name) == 0) {
            p->position =
                (struct source_position){.next = low, .fence_offset = -1, .fence_timestamp = -1};
            return true;
        }
    }
    return false;
}

int offset_start(const struct source_partition *p, int64_t low, int64_t high, int64_t *start,
                 bool *fence, struct undine_err *err)
{
    const struct source_position *at = &p->position;
    *fence = false;
    if (at->next < 0) {
        *start = -1;
        return 0;
    }
    if (at->next < low) {
        return offset_loss(err, p, low, high, "messages were deleted before they were read");
    }
    if (at->next > high) {
        return offset_loss(err, p, low, high, "the topic ends before what was read of it");
    }
    *fence = at->fence_offset >= low;
    *start = *fence ? at->fence_offset : at->next;
    return 0;
}

int offset_fence(const struct source_partition *p, int64_t offset, int64_t timestamp_ms,
                 uint64_t hash, int64_t low, struct undine_err *err)
{
    const struct source_position *at = &p->position;
    if (offset > at->fence_offset ||
        (offset == at->fence_offset && timestamp_ms == at->fence_timestamp &&
         hash == at->fence_hash)) {
        return 1;
    }
    return offset_loss(err, p, low, p->high,
                       "the last message read is not there any more: the topic was made anew");
}
