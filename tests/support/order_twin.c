#include "tests/support/order_twin.h"

#include <stdio.h>
#include <stdlib.h>

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "order twin: %s\n", what);
        abort();
    }
}

void order_twin_init(struct order_twin *t, const struct scenario *s, const struct memory_log *log,
                     int64_t lateness_ms, bool idle_at_once)
{
    *t = (struct order_twin){.scenario = s,
                             .log = log,
                             .lateness_ms = lateness_ms,
                             .idle_at_once = idle_at_once,
                             .watermark_ms = INT64_MIN};
    t->late = calloc(s->stream.n + 1, sizeof *t->late);
    t->kept = calloc(s->n_events + 1, sizeof *t->kept);
    must(t->late != NULL && t->kept != NULL, "no memory");
}

void order_twin_release(struct order_twin *t)
{
    free(t->late);
    free(t->kept);
}

static size_t message_at(const struct order_twin *t, uint32_t partition, size_t at)
{
    return scenario_message(t->scenario, t->log->texts[partition][at]);
}

/* Newest event time among all that was ever read of a partition; false = there was none. */
static bool newest_of(const struct order_twin *t, uint32_t partition, int64_t *out)
{
    bool any = false;
    for (size_t k = 0; k < t->partitions[partition].read; k++) {
        const struct event *e = t->scenario->record[message_at(t, partition, k)];
        if (e != NULL && (!any || e->time_ms > *out)) {
            *out = e->time_ms;
            any = true;
        }
    }
    return any;
}

void order_twin_polled(void *payload, const struct source_partition *p, uint32_t partition,
                       size_t from, size_t n)
{
    struct order_twin *t = payload;
    must(t->partitions[partition].read == from, "a message was skipped or read twice");
    for (size_t k = from; k < from + n; k++) {
        size_t message = message_at(t, partition, k);
        struct event *e = t->scenario->record[message];
        if (e == NULL) {
            continue;
        }
        t->late[message] = e->time_ms < t->watermark_ms;
        if (t->late[message]) {
            t->n_late++;
            t->late_by_kind[e->kind]++;
        } else {
            t->kept[t->n_kept++] = e;
        }
    }
    t->partitions[partition].read = from + n;
    t->partitions[partition].done = p->done;
    t->partitions[partition].idle = n == 0 && p->at_end && t->idle_at_once;
    for (uint32_t k = 0; k < t->log->n_partitions; k++) {
        if (t->partitions[partition].idle && !t->partitions[k].idle && !t->partitions[k].done) {
            t->idle_polls++;
            break;
        }
    }
}

void order_twin_step(struct order_twin *t)
{
    int64_t least = 0, newest = 0;
    bool any_active = false, unknown = false, any = false, all_done = true;
    for (uint32_t k = 0; k < t->log->n_partitions; k++) {
        int64_t time_ms = 0;
        bool seen = newest_of(t, k, &time_ms);
        newest = seen && (!any || time_ms > newest) ? time_ms : newest;
        any = any || seen;
        all_done = all_done && t->partitions[k].done;
        if (t->partitions[k].idle || t->partitions[k].done) {
            continue;
        }
        unknown = unknown || !seen;
        least = !any_active || time_ms < least ? time_ms : least;
        any_active = true;
    }
    int64_t target_ms = any_active ? least : newest;
    if (all_done) {
        t->watermark_ms = INT64_MAX;
    } else if (!unknown && any && target_ms - t->lateness_ms > t->watermark_ms) {
        t->watermark_ms = target_ms - t->lateness_ms;
    }
}

void order_twin_restart(struct order_twin *t, const struct source *source)
{
    for (uint32_t k = 0; k < t->log->n_partitions; k++) {
        t->partitions[k].idle = false;
        t->partitions[k].done = source->partitions[k].done;
    }
    order_twin_step(t);
}
