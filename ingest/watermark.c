#include "ingest/watermark.h"

#include <stdlib.h>

int watermark_init(struct watermark *w, uint32_t n_partitions, int64_t lateness_ms,
                   int64_t idle_timeout_ms, bool close_windows, struct undine_err *err)
{
    *w = (struct watermark){.lateness_ms = lateness_ms,
                            .idle_timeout_ns = idle_timeout_ms * 1000000,
                            .close_windows = close_windows,
                            .n = n_partitions};
    w->partitions = calloc((size_t)n_partitions + 1, sizeof *w->partitions);
    w->by_time = calloc((size_t)n_partitions + 1, sizeof *w->by_time);
    if (w->partitions == NULL || w->by_time == NULL) {
        watermark_release(w);
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for %u partitions", n_partitions);
    }
    for (uint32_t p = 0; p < n_partitions; p++) {
        w->partitions[p] = (struct watermark_partition){WATERMARK_NONE, -1, false, false};
        w->by_time[p] = p;
    }
    return UNDINE_OK;
}

void watermark_release(struct watermark *w)
{
    if (w != NULL) {
        free(w->partitions);
        free(w->by_time);
        *w = (struct watermark){0};
    }
}

void watermark_polled(struct watermark *w, uint32_t partition, uint32_t n_messages, bool at_end,
                      bool done, int64_t now_ns)
{
    struct watermark_partition *p = &w->partitions[partition];
    p->done = done;
    if (n_messages > 0 || !at_end) {
        p->quiet_ns = -1;
        p->idle = false;
        return;
    }
    if (p->quiet_ns < 0) {
        p->quiet_ns = now_ns;
    }
    p->idle = now_ns - p->quiet_ns >= w->idle_timeout_ns;
}

bool watermark_active(const struct watermark *w, uint32_t partition)
{
    return !w->partitions[partition].done && !w->partitions[partition].idle;
}

bool watermark_done(const struct watermark *w)
{
    for (uint32_t p = 0; p < w->n; p++) {
        if (!w->partitions[p].done) {
            return false;
        }
    }
    return true;
}

uint32_t watermark_idle_count(const struct watermark *w)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < w->n; p++) {
        n += w->partitions[p].idle && !w->partitions[p].done ? 1 : 0;
    }
    return n;
}

int64_t watermark_newest(const struct watermark *w)
{
    int64_t newest = WATERMARK_NONE;
    for (uint32_t p = 0; p < w->n; p++) {
        newest = w->partitions[p].newest_ms > newest ? w->partitions[p].newest_ms : newest;
    }
    return newest;
}

int64_t watermark_target(const struct watermark *w, int64_t reached_ms)
{
    if (w->close_windows && watermark_done(w)) {
        return WATERMARK_END;
    }
    int64_t least = WATERMARK_END;
    for (uint32_t p = 0; p < w->n; p++) {
        if (watermark_active(w, p) && w->partitions[p].newest_ms < least) {
            least = w->partitions[p].newest_ms;
        }
    }
    if (least == WATERMARK_END) {
        least = watermark_newest(w); /* nobody is active */
    }
    if (least == WATERMARK_NONE) {
        return reached_ms;
    }
    int64_t target = least - w->lateness_ms;
    return target > reached_ms ? target : reached_ms;
}

/* Is a to be polled before b?  By number where they are level, so that a restart goes on alike. */
static bool polled_before(const struct watermark *w, uint32_t a, uint32_t b)
{
    int64_t a_ms = w->partitions[a].newest_ms, b_ms = w->partitions[b].newest_ms;
    return a_ms != b_ms ? a_ms < b_ms : a < b;
}

const uint32_t *watermark_order(struct watermark *w)
{
    /* By insertion: from one poll to the next hardly anything changes places. */
    for (uint32_t i = 1; i < w->n; i++) {
        uint32_t p = w->by_time[i], at = i;
        while (at > 0 && polled_before(w, p, w->by_time[at - 1])) {
            w->by_time[at] = w->by_time[at - 1];
            at--;
        }
        w->by_time[at] = p;
    }
    return w->by_time;
}
