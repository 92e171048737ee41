#include "ingest/accounting.h"

#include "ingest/ingest.h"

const char *accounting_name(enum accounting_identity i)
{
    static const char *const names[ACCOUNTING_N] = {
#define X(id, name, text) name,
        ACCOUNTING_IDENTITIES(X)
#undef X
    };
    return names[i];
}

const char *accounting_text(enum accounting_identity i)
{
    static const char *const texts[ACCOUNTING_N] = {
#define X(id, name, text) text,
        ACCOUNTING_IDENTITIES(X)
#undef X
    };
    return texts[i];
}

static uint64_t sum(const uint64_t *values, int n)
{
    uint64_t s = 0;
    for (int k = 0; k < n; k++) {
        s += values[k];
    }
    return s;
}

/* Clicks that give their impression another label than its first. */
static uint64_t revising_clicks(const struct ingest_counters *c, const struct ingest_options *opt)
{
    if (opt->join.label == INGEST_LABEL_FNW) {
        return c->clicks_matched + c->clicks_late;
    }
    return opt->join.late_click == INGEST_LATE_CORRECT ? c->clicks_late : 0;
}

static void set(struct accounting *a, enum accounting_identity i, uint64_t left, uint64_t right)
{
    a->gap[i] = (int64_t)(left - right);
}

static void counters_alone(struct accounting *a, const struct ingest_counters *c)
{
    *a = (struct accounting){0};
    set(a, ACCOUNTING_EVENTS, c->events,
        c->applied + c->waiting + c->late + c->duplicate + c->malformed + c->filtered);
    set(a, ACCOUNTING_APPLIED, c->applied, c->impressions + c->clicks + c->behaviors + c->forgets);
    set(a, ACCOUNTING_IMPRESSIONS, c->impressions,
        c->positives + c->negatives + c->pending + c->sampled_out + c->dropped);
    set(a, ACCOUNTING_CLICKS, c->clicks, c->clicks_matched + c->clicks_orphan + c->clicks_late);
    set(a, ACCOUNTING_REVISED, c->revised, c->revised_negatives + c->revised_sampled_out);
    set(a, ACCOUNTING_LATE, c->late, sum(c->late_by_kind, EVENT_KINDS));
    set(a, ACCOUNTING_DUPLICATE, c->duplicate, sum(c->duplicate_by_kind, EVENT_KINDS));
    set(a, ACCOUNTING_MALFORMED, c->malformed, sum(c->malformed_by_reason, DECODE_REASON_COUNT));
}

void accounting_of(struct accounting *out, const struct ingest_counters *c,
                   const struct ingest_options *opt, uint64_t waiting, uint64_t entries)
{
    counters_alone(out, c);
    set(out, ACCOUNTING_POLICY, c->revised, revising_clicks(c, opt));
    set(out, ACCOUNTING_WAITING, c->waiting, waiting);
    set(out, ACCOUNTING_EXAMPLES, entries, c->positives + c->negatives + c->revised + c->forgets);
}

bool accounting_closes(const struct accounting *a)
{
    return accounting_check(a, NULL) == UNDINE_OK;
}

int accounting_check(const struct accounting *a, struct undine_err *err)
{
    for (int i = 0; i < ACCOUNTING_N; i++) {
        if (a->gap[i] != 0) {
            return undine_err_set(
                err, UNDINE_ECORRUPT, "the accounting does not close: %s, but for %+lld",
                accounting_text((enum accounting_identity)i), (long long)a->gap[i]);
        }
    }
    return UNDINE_OK;
}

bool ingest_counters_close(const struct ingest_counters *c)
{
    struct accounting a;
    counters_alone(&a, c);
    return accounting_closes(&a);
}
