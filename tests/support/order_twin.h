/* order_twin.h: watermark and lateness once more, from their definition, for one that is told what
 * each poll gave.  The truth about which events are late.
 *
 * Between two steps of the loop the watermark is max(itself, min over the active partitions of the
 * newest event time seen - lateness); an event below it is late.  A partition at its end is idle
 * at once or never, so that no clock matters. */
#ifndef UNDINE_TESTS_ORDER_TWIN_H
#define UNDINE_TESTS_ORDER_TWIN_H

#include "tests/support/memory_source.h"
#include "tests/support/scenario.h"

struct order_twin {
    const struct scenario *scenario;
    const struct memory_log *log;
    int64_t lateness_ms;
    bool idle_at_once;
    struct {
        size_t read; /* messages, over all runs */
        bool idle, done;
    } partitions[MEMORY_PARTITIONS_MAX];
    int64_t watermark_ms;
    bool *late;            /* of each message that was read */
    struct event **kept;   /* events that were read and are not late */
    size_t n_kept, n_late; /* events */
    uint64_t late_by_kind[EVENT_KINDS];
    uint64_t idle_polls; /* polls that found a partition idle while another was not */
};

void order_twin_init(struct order_twin *t, const struct scenario *s, const struct memory_log *log,
                     int64_t lateness_ms, bool idle_at_once);
void order_twin_release(struct order_twin *t);
/* As memory_source_options.polled, payload = the twin. */
void order_twin_polled(void *payload, const struct source_partition *p, uint32_t partition,
                       size_t from, size_t n);
/* A step is over: the watermark moves. */
void order_twin_step(struct order_twin *t);
/* The program was started anew: who was idle is forgotten, and it moves the watermark before it
 * polls. */
void order_twin_restart(struct order_twin *t, const struct source *source);

#endif
