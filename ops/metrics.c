#include "ops/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum metric_value { METRIC_U64, METRIC_U32, METRIC_BOOL, METRIC_REAL, METRIC_MS };

struct metric { /* one value of struct daemon_status */
    const char *name, *type, *help;
    enum metric_value value;
    size_t offset;
};

#define COUNTER(name, field, help)                                                                 \
    {                                                                                              \
        "undine_" name "_total", "counter", help, METRIC_U64,                                      \
            offsetof(struct daemon_status, field)                                                  \
    }
#define GAUGE(name, value, field, help)                                                            \
    {                                                                                              \
        "undine_" name, "gauge", help, value, offsetof(struct daemon_status, field)                \
    }

static const struct metric METRICS[] = {
    /* How far behind. */
    GAUGE("ready", METRIC_BOOL, ready, "1 once restored and running."),
    GAUGE("guarded", METRIC_BOOL, guarded,
          "1 where a guard has stopped the learner; ingest goes on."),
    GAUGE("lag_messages", METRIC_U64, ingest.lag_messages,
          "Messages at the source that were not read yet."),
    GAUGE("caught_up", METRIC_BOOL, ingest.caught_up,
          "1 while every partition was at its end at the last poll."),
    GAUGE("watermark_timestamp_seconds", METRIC_MS, ingest.watermark_ms,
          "Event time up to which everything has been applied."),
    GAUGE("event_timestamp_seconds", METRIC_MS, ingest.event_time_ms, "Newest event time seen."),
    GAUGE("learned_timestamp_seconds", METRIC_MS, learner.event_time_ms,
          "Event time of the newest learned example."),
    GAUGE("backlog_examples", METRIC_U64, backlog, "Labelled examples that are not learned yet."),
    GAUGE("partitions", METRIC_U32, ingest.partitions, "Partitions that this process owns."),
    GAUGE("partitions_idle", METRIC_U32, ingest.partitions_idle,
          "Owned partitions that are idle and do not hold the watermark back."),
    GAUGE("uptime_seconds", METRIC_MS, uptime_ms, "Time since the daemon was started."),

    /* Accounting: events = applied + waiting + late + duplicate + malformed + filtered. */
    COUNTER("events", ingest.counters.events, "Messages read."),
    COUNTER("events_applied", ingest.counters.applied, "Events applied in event time order."),
    GAUGE("events_waiting", METRIC_U64, ingest.counters.waiting,
          "Events that wait for the watermark."),
    COUNTER("events_late", ingest.counters.late, "Events behind the watermark."),
    COUNTER("events_duplicate", ingest.counters.duplicate, "Events with an id seen before."),
    COUNTER("events_malformed", ingest.counters.malformed, "Messages that are no valid event."),
    COUNTER("events_filtered", ingest.counters.filtered,
            "Events that the configuration does not ask for."),
    COUNTER("impressions", ingest.counters.impressions, "Impressions applied."),
    COUNTER("clicks", ingest.counters.clicks, "Clicks applied."),
    COUNTER("clicks_matched", ingest.counters.clicks_matched, "Clicks that made a positive."),
    COUNTER("clicks_orphan", ingest.counters.clicks_orphan, "Clicks without a known impression."),
    COUNTER("clicks_late", ingest.counters.clicks_late,
            "Clicks after their impression's attribution window."),
    COUNTER("behaviors", ingest.counters.behaviors, "Behaviour events applied."),
    COUNTER("forgets", ingest.counters.forgets, "Users removed on request."),
    COUNTER("examples_positive", ingest.counters.positives, "Positive examples emitted."),
    COUNTER("examples_negative", ingest.counters.negatives, "Negative examples emitted."),
    GAUGE("impressions_pending", METRIC_U64, ingest.counters.pending,
          "Impressions in their attribution window."),
    COUNTER("impressions_sampled_out", ingest.counters.sampled_out, "Negatives not kept."),
    COUNTER("impressions_dropped", ingest.counters.dropped, "Impressions forgotten while pending."),
    COUNTER("examples_revised", ingest.counters.revised,
            "Examples of impressions that had another label before."),
    COUNTER("revised_negatives", ingest.counters.revised_negatives,
            "Of these, impressions that were learned as negatives."),
    COUNTER("revised_sampled_out", ingest.counters.revised_sampled_out,
            "Of these, impressions whose negatives were not kept."),
    COUNTER("label_delay_milliseconds", ingest.counters.label_delay_ms,
            "Event time from impressions to their examples, summed over examples."),
    COUNTER("losses_accepted", ingest.counters.losses,
            "Losses at the source that an operator accepted."),
    COUNTER("values_dropped", ingest.decode.values_dropped,
            "Ids beyond the values_max of their field."),
    COUNTER("values_repeated", ingest.decode.values_repeated,
            "Ids that their field has already in the same event."),
    COUNTER("steps_empty", ingest.users.steps_empty, "Steps without any id, not taken."),
    COUNTER("steps_duplicate", ingest.users.steps_duplicate,
            "Steps that equal one of their time, not taken."),
    COUNTER("steps_dropped", ingest.users.steps_dropped,
            "Steps that newer ones have pushed out of their sequence."),
    COUNTER("arrivals_trimmed", ingest.arrivals_trimmed,
            "Stored blocks of events removed, all past every window."),
    COUNTER("examples_trimmed", examples_trimmed,
            "Examples removed from the log, all learned by every version kept."),
    COUNTER("commits", ingest.commit, "Commits of the store."),
    COUNTER("source_bytes", ingest.source.bytes, "Bytes read from the source."),
    COUNTER("source_errors", ingest.source.errors, "Errors reported by the Kafka client."),
    COUNTER("source_duplicates_skipped", ingest.source.duplicates_skipped,
            "Records that the Kafka client delivered again."),
    COUNTER("source_gaps", ingest.source.gaps_explained,
            "Gaps between offsets that are no loss: control records, aborted transactions, "
            "compaction."),
    COUNTER("source_gaps_verified", ingest.source.gaps_verified,
            "Of these gaps, those that a second answer of the broker showed, too."),
    COUNTER("source_records_recovered", ingest.source.records_recovered,
            "Records that the Kafka client left out and had when it was asked again."),
    COUNTER("source_reconnects", ingest.source.reconnects, "Connections made again."),

    /* How wrong: predictions made before the example was learned. */
    COUNTER("examples_learned", learner.examples, "Examples learned."),
    COUNTER("positives_learned", learner.positives, "Positive examples learned."),
    COUNTER("batches", learner.batches, "Mini-batches learned."),
    COUNTER("batches_skipped", learner.batches_skipped,
            "Mini-batches with a non-finite loss or gradient."),
    COUNTER("rows_forgotten", learner.rows_forgotten, "Embeddings dropped for forgotten users."),
    COUNTER("rows_expired", learner.rows_expired, "Embeddings dropped by `learner.expire_after`."),
    COUNTER("rows_evicted", learner.rows_evicted,
            "Embeddings dropped to stay within `learner.memory_max`."),
    GAUGE("ids_waiting", METRIC_U64, learner.ids_waiting,
          "Ids that have no embedding of their own yet, by `learner.admission`."),
    COUNTER("ids_admitted", learner.ids_admitted, "Ids that got one after having waited for it."),
    COUNTER("waiting_dropped", learner.waiting_dropped,
            "Waiting ids whose counts were dropped as embeddings are, or when admission ended."),
    GAUGE("tombstones", METRIC_U64, learner.tombstones,
          "Ids dropped since the last version was made."),
    COUNTER("trained_seq", learner.trained_seq, "Number of the next example to learn."),
    GAUGE("auc", METRIC_REAL, learner.auc, "Progressive AUC since start."),
    GAUGE("gauc", METRIC_REAL, learner.gauc,
          "Progressive AUC inside each user, weighted by impressions, newest window."),
    GAUGE("logloss", METRIC_REAL, learner.logloss, "Progressive logloss since start."),
    GAUGE("normalized_entropy", METRIC_REAL, learner.normalized_entropy,
          "Progressive logloss over the entropy of the click rate, since start."),
    GAUGE("calibration", METRIC_REAL, learner.calibration,
          "Predicted over observed clicks since start."),
    GAUGE("window_auc", METRIC_REAL, learner.window_auc, "Progressive AUC, newest window."),
    GAUGE("window_logloss", METRIC_REAL, learner.window_logloss,
          "Progressive logloss, newest window."),
    GAUGE("window_normalized_entropy", METRIC_REAL, learner.window_normalized_entropy,
          "Progressive logloss over the entropy of the click rate, newest window."),
    GAUGE("window_calibration", METRIC_REAL, learner.window_calibration,
          "Predicted over observed clicks, newest window."),
    GAUGE("ece", METRIC_REAL, learner.ece, "Expected calibration error of 20 bins, since start."),
    GAUGE("window_ece", METRIC_REAL, learner.window_ece,
          "Expected calibration error of 20 bins, newest window."),

    /* How wrong a model is that stands still: scores of one model over a block. */
    COUNTER("frozen_examples", learner.frozen.examples, "Examples scored by a frozen model."),
    COUNTER("frozen_skipped", learner.frozen.skipped,
            "Scores of a frozen model that were not finite."),
    COUNTER("popularity_rows_refused", learner.popularity_rows_refused,
            "Shows of items beyond those whose click rates are kept."),
    COUNTER("frozen_freezes", learner.frozen.freezes, "Models frozen, one after the other."),
    GAUGE("frozen_auc", METRIC_REAL, learner.frozen.auc, "AUC of frozen models since start."),
    GAUGE("frozen_gauc", METRIC_REAL, learner.frozen.gauc,
          "AUC of frozen models inside each user and block, weighted by impressions, newest "
          "window."),
    GAUGE("frozen_logloss", METRIC_REAL, learner.frozen.logloss,
          "Logloss of frozen models since start."),
    GAUGE("frozen_calibration", METRIC_REAL, learner.frozen.calibration,
          "Predicted over observed clicks, frozen models, since start."),

    /* How fresh. */
    GAUGE("version", METRIC_U64, version.number, "Number of the newest version, 0 = none."),
    GAUGE("version_age_seconds", METRIC_MS, version_age_ms, "Time since it was written."),
    GAUGE("version_bytes", METRIC_U64, version.bytes, "Its size."),
    COUNTER("versions_published", versions_published, "Versions published by this process."),
    COUNTER("deltas_published", line.deltas,
            "Of these, deltas: what changed since the one before."),
    COUNTER("delta_bytes", line.delta_bytes, "Size of all deltas written."),
    GAUGE("version_chain", METRIC_U32, line.chain,
          "Versions that the newest one needs, itself included; 0 without deltas, or before the "
          "first whole one."),
    COUNTER("merges", line.merges, "Whole versions merged from deltas."),
    COUNTER("merges_failed", line.merges_failed, "Merges that failed; they are tried again."),
    GAUGE("merge_seconds", METRIC_REAL, line.merge_seconds, "Time that the newest merge took."),
    COUNTER("versions_failed", versions_failed, "Versions that could not be written."),
    COUNTER("versions_skipped", versions_skipped,
            "Versions that the start found and could not use."),

    /* What scorers have (docs/versions.md). */
    GAUGE("version_published", METRIC_U64, version_published,
          "Number of the published version, whoever published it, 0 = none."),
    GAUGE("publication_held", METRIC_BOOL, publication_held,
          "1 while publication is on hold: a rollback, or by hand."),
    COUNTER("versions_held", versions_held, "Versions not published because of a hold."),
    COUNTER("versions_refused", gate.refused, "Versions that the gate kept from being published."),
    COUNTER("gate_passed", gate.passed, "Versions that passed the gate."),
    COUNTER("gate_too_few", gate.too_few,
            "Versions that passed for want of examples to compare them on."),
    COUNTER("gate_failed", gate.failed, "Versions that failed the gate, published or not."),
    GAUGE("gate_examples", METRIC_U64, gate.figures.examples,
          "Examples that the newest verdict is based on."),
    GAUGE("gate_logloss", METRIC_REAL, gate.figures.learner.logloss,
          "Logloss of the newest judged version on them, by progressive scores."),
    GAUGE("gate_published_logloss", METRIC_REAL, gate.figures.published.logloss,
          "Logloss of the then published version on them."),
    GAUGE("gate_gauc", METRIC_REAL, gate.figures.learner.gauc,
          "The same: AUC inside each user and block."),
    GAUGE("gate_published_gauc", METRIC_REAL, gate.figures.published.gauc,
          "The same of the published version."),
    GAUGE("gate_calibration", METRIC_REAL, gate.figures.learner.calibration,
          "The same: predicted over observed clicks."),
    GAUGE("gate_published_calibration", METRIC_REAL, gate.figures.published.calibration,
          "The same of the published version."),
    GAUGE("gate_norm_ratio", METRIC_REAL, gate.figures.norm_ratio,
          "Largest norm of the judged version over the published one's."),
    COUNTER("rollbacks", rollbacks, "Rollbacks and holds by calibration."),
    COUNTER("resumes", resumes, "Holds that calibration has lifted."),
    COUNTER("rollbacks_failed", rollbacks_failed,
            "Rollbacks, holds and resumptions by calibration that did not succeed."),

    /* How full. */
    GAUGE("embedding_rows", METRIC_U64, learner.rows, "Rows of the embedding tables."),
    GAUGE("embedding_bytes", METRIC_U64, learner.table_bytes, "Memory of the embedding tables."),
    GAUGE("frozen_bytes", METRIC_U64, learner.frozen.bytes,
          "Memory of the rows kept for the frozen metrics."),
    GAUGE("waiting_bytes", METRIC_U64, ingest.waiting_bytes, "Memory of the waiting events."),
    GAUGE("pending_bytes", METRIC_U64, ingest.pending_bytes, "Memory of the pending impressions."),
    GAUGE("users_cached", METRIC_U64, ingest.users.users, "Users whose sequences are in memory."),
    GAUGE("users_cached_bytes", METRIC_U64, ingest.users.bytes, "Memory of those sequences."),
    COUNTER("user_cache_misses", ingest.users.misses, "Users that had to be read from the store."),
    COUNTER("user_collisions", ingest.users.collisions, "Users whose ids have equal hashes."),
};

static void put(struct writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

static void put_header(struct writer *w, const char *name, const char *type, const char *help)
{
    put(w, "# HELP ");
    put(w, name);
    put(w, " ");
    put(w, help);
    put(w, "\n# TYPE ");
    put(w, name);
    put(w, " ");
    put(w, type);
    put(w, "\n");
}

/* NaN and infinities in Prometheus' spelling. */
static void put_real(struct writer *w, double v)
{
    char text[40];
    if (isnan(v)) {
        put(w, "NaN");
    } else if (isinf(v)) {
        put(w, v > 0 ? "+Inf" : "-Inf");
    } else {
        (void)snprintf(text, sizeof text, "%.15g", v);
        put(w, text);
    }
    put(w, "\n");
}

static void put_u64(struct writer *w, uint64_t v)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64 "\n", v);
    put(w, text);
}

static void put_value(struct writer *w, const struct metric *m, const void *at)
{
    uint32_t u32;
    uint64_t u64;
    int64_t ms;
    bool flag;
    double number;
    switch (m->value) {
    case METRIC_U64:
        memcpy(&u64, at, sizeof u64);
        put_u64(w, u64);
        return;
    case METRIC_U32:
        memcpy(&u32, at, sizeof u32);
        put_u64(w, u32);
        return;
    case METRIC_BOOL:
        memcpy(&flag, at, sizeof flag);
        put_u64(w, flag ? 1 : 0);
        return;
    case METRIC_REAL:
        memcpy(&number, at, sizeof number);
        put_real(w, number);
        return;
    case METRIC_MS: /* negative: there is none yet */
        memcpy(&ms, at, sizeof ms);
        put_real(w, ms < 0 ? (double)NAN : (double)ms / 1000.0);
        return;
    }
}

/* A label's value: backslash, quote and newline escaped. */
static void put_label(struct writer *w, const char *label, const char *value)
{
    put(w, label);
    put(w, "=\"");
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\n') {
            put(w, "\\n");
            continue;
        }
        if (*p == '"' || *p == '\\') {
            put(w, "\\");
        }
        writer_bytes(w, p, 1);
    }
    put(w, "\"");
}

static void put_labelled(struct writer *w, const char *name, const char *label, const char *value,
                         uint64_t v)
{
    put(w, name);
    put(w, "{");
    put_label(w, label, value);
    put(w, "} ");
    put_u64(w, v);
}

static void render_by_kind(struct writer *w, const char *name, const char *help,
                           const uint64_t counts[EVENT_KINDS])
{
    put_header(w, name, "counter", help);
    for (int k = 0; k < EVENT_KINDS; k++) {
        put_labelled(w, name, "kind", event_kind_names[k], counts[k]);
    }
}

static void render_accounting(struct writer *w, const struct accounting *a)
{
    const char *name = "undine_accounting_gap";
    put_header(w, name, "gauge",
               "What a sum of the accounting is off by, 0 = it comes out; by sum.");
    for (int i = 0; i < ACCOUNTING_N; i++) {
        char text[24];
        (void)snprintf(text, sizeof text, "%" PRId64 "\n", a->gap[i]);
        put(w, name);
        put(w, "{");
        put_label(w, "sum", accounting_name((enum accounting_identity)i));
        put(w, "} ");
        put(w, text);
    }
}

static void render_pause(struct writer *w, const struct pause_status *p)
{
    static const char name[] = "undine_publish_pause_seconds";
    uint64_t below = 0;
    char text[160];
    put_header(w, name, "histogram",
               "How long the learner stood still to copy what a version is written from.");
    for (int i = 0; i < PAUSE_BUCKETS; i++) {
        char bound[24] = "+Inf";
        if (i < PAUSE_BUCKETS - 1) {
            (void)snprintf(bound, sizeof bound, "%g", pause_bound[i]);
        }
        below += p->bucket[i];
        (void)snprintf(text, sizeof text, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name, bound, below);
        put(w, text);
    }
    (void)snprintf(text, sizeof text, "%s_sum %.9g\n%s_count %" PRIu64 "\n", name, p->seconds, name,
                   p->n);
    put(w, text);
}

static void render_malformed(struct writer *w, const struct ingest_counters *c)
{
    const char *name = "undine_malformed_by_reason_total";
    put_header(w, name, "counter", "Messages that are no valid event, by reason.");
    for (int r = DECODE_OK + 1; r < DECODE_REASON_COUNT; r++) {
        put_labelled(w, name, "reason", decode_reason_name((enum decode_reason)r),
                     c->malformed_by_reason[r]);
    }
}

/* A counter of each bin of p. */
static void render_bins(struct writer *w, const char *name, const char *help,
                        const struct metrics_bin bin[METRICS_BINS], size_t offset)
{
    put_header(w, name, "counter", help);
    for (int b = 0; b < METRICS_BINS; b++) {
        char from[8];
        double value;
        (void)snprintf(from, sizeof from, "%.2f", (double)b / METRICS_BINS);
        memcpy(&value, (const char *)&bin[b] + offset, sizeof value);
        put(w, name);
        put(w, "{");
        put_label(w, "from", from);
        put(w, "} ");
        put_real(w, value);
    }
}

static void render_predictions(struct writer *w, const struct metrics_bin bin[METRICS_BINS])
{
    render_bins(w, "undine_prediction_examples_total", "Examples with a prediction in this bin.",
                bin, offsetof(struct metrics_bin, examples));
    render_bins(w, "undine_prediction_weight_total",
                "Impressions that they stand for: a negative sampled at r for 1/r.", bin,
                offsetof(struct metrics_bin, weight));
    render_bins(w, "undine_prediction_sum_total", "Clicks predicted for those impressions.", bin,
                offsetof(struct metrics_bin, p));
    render_bins(w, "undine_prediction_clicks_total", "Clicks observed.", bin,
                offsetof(struct metrics_bin, label));
}

#define SLICE(name, type, value, field, help)                                                      \
    {                                                                                              \
        "undine_slice_" name, type, help, value, offsetof(struct metrics_summary, field)           \
    }
static const struct metric SLICE_METRICS[] = {
    /* values of struct metrics_summary */
    SLICE("examples_total", "counter", METRIC_U64, examples, "Examples of the slice."),
    SLICE("positives_total", "counter", METRIC_U64, positives, "Positive examples of it."),
    SLICE("auc", "gauge", METRIC_REAL, auc, "Progressive AUC since start."),
    SLICE("gauc", "gauge", METRIC_REAL, gauc,
          "Progressive AUC inside each user, weighted by impressions, newest window."),
    SLICE("gauc_users", "gauge", METRIC_U64, gauc_users, "Users that it is of."),
    SLICE("gauc_users_one_class", "gauge", METRIC_U64, gauc_users_one_class,
          "Users left out of it because they have one class."),
    SLICE("logloss", "gauge", METRIC_REAL, logloss, "Progressive logloss since start."),
    SLICE("normalized_entropy", "gauge", METRIC_REAL, normalized_entropy,
          "Progressive logloss over the entropy of the slice's click rate, since start."),
    SLICE("calibration", "gauge", METRIC_REAL, calibration,
          "Predicted over observed clicks since start."),
    SLICE("ece", "gauge", METRIC_REAL, ece, "Expected calibration error of 20 bins, since start."),
    SLICE("window_examples", "gauge", METRIC_U64, window_examples, "Examples in its window."),
    SLICE("window_auc", "gauge", METRIC_REAL, window_auc, "Progressive AUC, newest window."),
    SLICE("window_logloss", "gauge", METRIC_REAL, window_logloss,
          "Progressive logloss, newest window."),
    SLICE("window_normalized_entropy", "gauge", METRIC_REAL, window_normalized_entropy,
          "Progressive logloss over the entropy of the slice's click rate, newest window."),
    SLICE("window_calibration", "gauge", METRIC_REAL, window_calibration,
          "Predicted over observed clicks, newest window."),
    SLICE("window_ece", "gauge", METRIC_REAL, window_ece,
          "Expected calibration error of 20 bins, newest window."),
};

static void render_slices(struct writer *w, const struct trainer_slices *s)
{
    for (size_t i = 0; i < sizeof SLICE_METRICS / sizeof SLICE_METRICS[0]; i++) {
        const struct metric *m = &SLICE_METRICS[i];
        put_header(w, m->name, m->type, m->help);
        for (uint32_t k = 0; k < s->n; k++) {
            put(w, m->name);
            put(w, "{");
            put_label(w, "slice", s->slice[k].name);
            put(w, "} ");
            put_value(w, m, (const char *)&s->slice[k].metrics + m->offset);
        }
    }
}

static void put_sequence(struct writer *w, const char *name, const char *sequence)
{
    put(w, name);
    put(w, "{");
    put_label(w, "sequence", sequence);
}

#define ATTENTION(name, value, field, help)                                                        \
    {                                                                                              \
        "undine_attention_" name, "gauge", help, value, offsetof(struct attention_summary, field)  \
    }
static const struct metric ATTENTION_METRICS[] = {
    /* values of struct attention_summary */
    ATTENTION("examples", METRIC_U64, examples, "Histories looked at, of the newest examples."),
    ATTENTION("steps", METRIC_REAL, steps, "Mean number of their steps."),
    ATTENTION("effective_steps", METRIC_REAL, effective_steps,
              "Steps among which the weights are spread: 1 = one has all."),
    ATTENTION("ignored_ratio", METRIC_REAL, ignored,
              "Share of steps that weigh at most 1/100 of the heaviest of their history."),
    ATTENTION("weight_mean", METRIC_REAL, mean, "Mean weight of a step."),
    ATTENTION("weight_sd", METRIC_REAL, sd, "Standard deviation of the weights."),
};

static void render_attention(struct writer *w, const struct trainer_metrics *m)
{
    for (size_t i = 0; i < sizeof ATTENTION_METRICS / sizeof ATTENTION_METRICS[0]; i++) {
        const struct metric *metric = &ATTENTION_METRICS[i];
        put_header(w, metric->name, metric->type, metric->help);
        for (uint32_t q = 0; q < m->n_attention; q++) {
            put_sequence(w, metric->name, m->attention[q].sequence);
            put(w, "} ");
            put_value(w, metric, (const char *)&m->attention[q].weights + metric->offset);
        }
    }
    const char *name = "undine_attention_weight";
    put_header(w, name, "gauge", "Quantiles of the weights.");
    for (uint32_t q = 0; q < m->n_attention; q++) {
        for (int i = 0; i < ATTENTION_QUANTILES; i++) {
            char quantile[16];
            (void)snprintf(quantile, sizeof quantile, "%g", ATTENTION_QUANTILE[i]);
            put_sequence(w, name, m->attention[q].sequence);
            put(w, ",");
            put_label(w, "quantile", quantile);
            put(w, "} ");
            put_real(w, m->attention[q].weights.quantile[i]);
        }
    }
}

static void put_sized(struct writer *w, const char *name, const char *label, const char *value,
                      double v)
{
    put(w, name);
    put(w, "{");
    put_label(w, label, value);
    put(w, "} ");
    put_real(w, v);
}

static void render_row_norms(struct writer *w, const struct norms *n)
{
    const char *mean = "undine_row_norm_mean", *largest = "undine_row_norm_max",
               *name = "undine_row_norm";
    put_header(w, mean, "gauge", "Mean norm of a table's embeddings.");
    for (uint32_t k = 0; k < n->n_tables; k++) {
        put_sized(w, mean, "table", n->table[k].name, n->table[k].mean);
    }
    put_header(w, largest, "gauge", "Largest norm of a table's embeddings.");
    for (uint32_t k = 0; k < n->n_tables; k++) {
        put_sized(w, largest, "table", n->table[k].name, n->table[k].largest);
    }
    put_header(w, name, "gauge", "Quantiles of the norms of a table's embeddings.");
    for (uint32_t k = 0; k < n->n_tables; k++) {
        for (int q = 0; q < NORMS_QUANTILES; q++) {
            char quantile[16];
            (void)snprintf(quantile, sizeof quantile, "%g", NORMS_QUANTILE[q]);
            put(w, name);
            put(w, "{");
            put_label(w, "table", n->table[k].name);
            put(w, ",");
            put_label(w, "quantile", quantile);
            put(w, "} ");
            put_real(w, n->table[k].quantile[q]);
        }
    }
}

static void render_tensor_norms(struct writer *w, const struct norms *n)
{
    const char *norm = "undine_tensor_norm", *largest = "undine_tensor_max";
    put_header(w, norm, "gauge", "Norm of a dense tensor.");
    for (uint32_t i = 0; i < n->n_tensors; i++) {
        put_sized(w, norm, "tensor", n->tensor[i].name, n->tensor[i].norm);
    }
    put_header(w, largest, "gauge", "Largest absolute value of a dense tensor.");
    for (uint32_t i = 0; i < n->n_tensors; i++) {
        put_sized(w, largest, "tensor", n->tensor[i].name, n->tensor[i].largest);
    }
}

static void render_process(struct writer *w, const struct metrics_view *view)
{
    put_header(w, "undine_info", "gauge", "The program: always 1.");
    put(w, "undine_info{");
    put_label(w, "version", view->version);
    put(w, ",");
    put_label(w, "kernels", view->kernels);
    put(w, "} 1\n");
    put_header(w, "undine_rss_bytes", "gauge", "Resident memory of the process.");
    put(w, "undine_rss_bytes ");
    put_u64(w, view->rss_bytes);
}

void metrics_render(struct writer *out, const struct metrics_view *view)
{
    const struct ingest_counters *c = &view->status->ingest.counters;
    for (size_t i = 0; i < sizeof METRICS / sizeof METRICS[0]; i++) {
        const struct metric *m = &METRICS[i];
        put_header(out, m->name, m->type, m->help);
        put(out, m->name);
        put(out, " ");
        put_value(out, m, (const char *)view->status + m->offset);
    }
    render_by_kind(out, "undine_late_by_kind_total", "Events behind the watermark, by kind.",
                   c->late_by_kind);
    render_by_kind(out, "undine_duplicate_by_kind_total", "Events with a known id, by kind.",
                   c->duplicate_by_kind);
    render_malformed(out, c);
    render_accounting(out, &view->status->ingest.accounting);
    render_pause(out, &view->status->pause);
    render_predictions(out, view->status->learner.bin);
    render_slices(out, view->slices);
    render_attention(out, &view->status->learner);
    render_row_norms(out, view->norms);
    render_tensor_norms(out, view->norms);
    render_process(out, view);
}
