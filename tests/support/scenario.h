/* scenario.h: a random stream full of trouble with the options it is to be read by, and the truth
 * about it: the events that the decoder makes of it, and what the brute-force twin makes of them.
 */
#ifndef UNDINE_TESTS_SCENARIO_H
#define UNDINE_TESTS_SCENARIO_H

#include "base/bytes.h"
#include "tests/support/ingest_world.h"
#include "tests/support/stream_maker.h"

enum scenario_policy { SCENARIO_WINDOW, SCENARIO_CORRECT, SCENARIO_FNW };

struct scenario {
    struct stream stream;
    struct schema schema;
    struct ingest_options opt;
    struct decode_options decode;
    int64_t disorder_ms;   /* what opt.order.lateness_ms allows for */
    struct event **record; /* of each message; NULL = malformed, filtered, or from the future */
    struct event **events; /* those that are not NULL */
    size_t n_events;
    uint64_t n_malformed, n_filtered; /* messages */
    struct writer truth;              /* examples, nothing being late */
    struct ingest_counters counters;  /* and what the join counts */
};

void scenario_make(struct scenario *s, struct random *r, enum scenario_policy policy);
void scenario_release(struct scenario *s);
/* Number of the message with this text, which belongs to s. */
size_t scenario_message(const struct scenario *s, const char *text);
/* A world that reads it, nothing open yet. */
void scenario_world(struct ingest_world *w, const struct scenario *s);

/* The counters of the join are the twin's, nothing waits, nothing is pending, the identities hold.
 * Fails the test. */
void scenario_same_counters(const struct ingest_counters *got, const struct ingest_counters *want);

/* What kinds of trouble there were, so that a test can say that it met all of them.  Adds to c. */
#define SCENARIO_CENSUS(X)                                                                         \
    X(duplicate_messages)                                                                          \
    X(impressions_again) /* an id seen before, another message */                                  \
    X(clicks_before)     /* before the impression they name */                                     \
    X(clicks_orphan)                                                                               \
    X(clicks_at_deadline)                                                                          \
    X(clicks_late) /* past the deadline */                                                         \
    X(clicks_again)                                                                                \
    X(equal_times) /* of different events */                                                       \
    X(carts)                                                                                       \
    X(likes)                                                                                       \
    X(undeclared)                                                                                  \
    X(malformed)                                                                                   \
    X(future)                                                                                      \
    X(future_edge) /* as far ahead as is taken */                                                  \
    X(forgets)                                                                                     \
    X(forgotten_pending)                                                                           \
    X(sessions_across) /* users seen in different windows */
struct scenario_census {
#define X(name) uint64_t name;
    SCENARIO_CENSUS(X)
#undef X
};
void scenario_census(struct scenario_census *c, const struct scenario *s);
/* Print them, and fail the test where one did not occur. */
void scenario_census_complete(const struct scenario_census *c);

/* From UNDINE_SEEDS, for more than every build tries: that many times n.  1 where it is not set. */
uint64_t scenario_seeds(uint64_t n);

#endif
