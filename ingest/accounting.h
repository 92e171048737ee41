/* accounting.h: what became of everything that arrived, and the sums that must come out.
 *
 * Promise 2: every message read and every impression applied is in exactly one of a few counters.
 * The sums are checked before a commit is written, when a store is opened and by `inspect store
 * --verify`; the gaps (left side less right side, 0 = it closes) are metrics. */
#ifndef UNDINE_INGEST_ACCOUNTING_H
#define UNDINE_INGEST_ACCOUNTING_H

#include "base/err.h"
#include "featurestore/event.h"
#include "ingest/decode.h"

#include <stdbool.h>
#include <stdint.h>

/* Since the start of the stream; stored with every commit.  Each impression counts once, by its
 * first label; revised counts the clicks that gave their impression another label than that. */
struct ingest_counters {
    uint64_t events, applied, waiting, late, duplicate, malformed, filtered;
    uint64_t late_by_kind[EVENT_KINDS], duplicate_by_kind[EVENT_KINDS];
    uint64_t malformed_by_reason[DECODE_REASON_COUNT];
    uint64_t impressions; /* applied impressions */
    uint64_t clicks;      /* applied clicks: matched + orphan + after the deadline */
    uint64_t behaviors, forgets;
    uint64_t clicks_matched, clicks_orphan;
    uint64_t clicks_late;                   /* behind the impression's deadline */
    uint64_t positives, negatives;          /* examples emitted, the first of each impression */
    uint64_t pending, sampled_out, dropped; /* dropped: forgotten while pending */
    uint64_t losses;                        /* accepted losses at the source */
    /* Examples emitted for impressions that were labelled before, see join.h. */
    uint64_t revised, revised_negatives, revised_sampled_out;
    /* Event time from impression to example, summed over all examples (forgets are none). */
    uint64_t label_delay_ms;
};

/* Name as in metrics, and the sum. */
#define ACCOUNTING_IDENTITIES(X)                                                                   \
    X(EVENTS, "events", "events = applied + waiting + late + duplicate + malformed + filtered")    \
    X(APPLIED, "applied", "applied = impressions + clicks + behaviors + forgets")                  \
    X(IMPRESSIONS, "impressions",                                                                  \
      "impressions = positives + negatives + pending + sampled_out + dropped")                     \
    X(CLICKS, "clicks", "clicks = clicks_matched + clicks_orphan + clicks_late")                   \
    X(REVISED, "revised", "revised = revised_negatives + revised_sampled_out")                     \
    X(LATE, "late", "late = the sum of late_by_kind")                                              \
    X(DUPLICATE, "duplicate", "duplicate = the sum of duplicate_by_kind")                          \
    X(MALFORMED, "malformed", "malformed = the sum of malformed_by_reason")                        \
    X(POLICY, "policy", "revised = the clicks whose labels the configuration revises")             \
    X(WAITING, "waiting", "waiting = the events that are held for the watermark")                  \
    X(EXAMPLES, "examples",                                                                        \
      "entries of the example log = positives + negatives + revised + forgets")

enum accounting_identity {
#define X(id, name, text) ACCOUNTING_##id,
    ACCOUNTING_IDENTITIES(X)
#undef X
        ACCOUNTING_N
};
const char *accounting_name(enum accounting_identity i);
const char *accounting_text(enum accounting_identity i);

struct accounting {
    int64_t gap[ACCOUNTING_N];
};

struct ingest_options;
/* All identities: waiting = events that order holds, entries = head of the example log. */
void accounting_of(struct accounting *out, const struct ingest_counters *c,
                   const struct ingest_options *opt, uint64_t waiting, uint64_t entries);
bool accounting_closes(const struct accounting *a);
/* UNDINE_ECORRUPT, which says the first sum that does not come out and by how much. */
int accounting_check(const struct accounting *a, struct undine_err *err);

/* Those that the counters alone can say: all but POLICY, WAITING, EXAMPLES. */
bool ingest_counters_close(const struct ingest_counters *c);

#endif
