/* join_twin.h: order, join and as-of once more, by brute force: lists that are searched from end to
 * end, no index, no timers, no store.  The truth that the real ones are tested against. */
#ifndef UNDINE_TESTS_JOIN_TWIN_H
#define UNDINE_TESTS_JOIN_TWIN_H

#include "base/bytes.h"
#include "ingest/ingest.h"

/* What the examples of these events (in any order, none of them late) must be, as text (see
 * ingest_world_entry), all windows closed; and what the counters of the join must be. */
void join_twin(struct writer *out, struct ingest_counters *counters, const struct schema *schema,
               const struct ingest_options *opt, struct event *const *events, size_t n);

#endif
