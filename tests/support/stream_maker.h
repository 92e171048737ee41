/* stream_maker.h: small random streams of JSON events that are full of trouble: equal times, edges
 * of the window, duplicates, clicks before and without impressions, forgets, times in the future,
 * bytes that are no event. */
#ifndef UNDINE_TESTS_STREAM_MAKER_H
#define UNDINE_TESTS_STREAM_MAKER_H

#include "base/random.h"
#include "tests/support/memory_source.h"

#include <stdbool.h>

enum { STREAM_TEXT_MAX = 256 };

struct stream_message {
    char text[STREAM_TEXT_MAX];
    int64_t time_ms;    /* of the event */
    int64_t written_ms; /* timestamp of its record */
    bool future;        /* further ahead of that than max_future_ms */
};
struct stream {
    struct stream_message *messages;
    size_t n, capacity;
};
struct stream_options {
    size_t impressions;
    uint32_t users, items;
    int64_t range_ms;             /* impressions lie within */
    int64_t window_ms, memory_ms; /* clicks are made at their edges */
    bool user_item;               /* clicks name user and item */
    bool trouble;                 /* duplicates, forgets, malformed and filtered messages too */
    int64_t max_future_ms;        /* with trouble: some events are this far ahead, or further */
};

/* Events of the schema of fixture_schema. */
void stream_make(struct stream *out, struct random *r, const struct stream_options *opt);
void stream_release(struct stream *s);

/* The messages (their numbers, s->n of them) in the order in which they arrive: that of their event
 * times but for disorder_ms, and ahead_ms[k] sooner where the clock of message k is fast (NULL =
 * none is).  With at least that lateness nothing in a partition is late whose clock is one. */
void stream_arrive(size_t *out, const struct stream *s, struct random *r, int64_t disorder_ms,
                   const int64_t *ahead_ms);
/* Spread them over the log's partitions at random, in that order. */
void stream_spread(const struct stream *s, struct random *r, int64_t disorder_ms,
                   struct memory_log *out);

#endif
