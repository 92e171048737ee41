#include "tests/bench/bench_ingest_run.h"

#include "ingest/ingest.h"
#include "ops/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { PATH_BYTES = 512, MESSAGE_BYTES_MAX = 1 << 20, METADATA_MS = 30000 };

/* Where the stream lies. */
struct stream {
    const struct bench_ingest_options *opt;
    char dir[PATH_BYTES], file[PATH_BYTES + 16];
    struct source_kafka_topic topics[BENCH_STREAM_TOPICS];
    struct kafka_producer *producer;
    uint64_t bytes;
};

/* Topics of this process alone: named as the directory is. */
static int make_topics(struct stream *s, struct undine_err *err)
{
    static const char *const kinds[BENCH_STREAM_TOPICS] = {"impressions", "clicks"};
    const char *unique = strrchr(s->dir, '/') + 1;
    struct kafka_producer_options opt = {.brokers = s->opt->brokers};
    int rc = kafka_producer_open(&s->producer, &opt, err);
    for (int i = 0; rc >= 0 && i < BENCH_STREAM_TOPICS; i++) {
        (void)snprintf(s->topics[i].name, SOURCE_TOPIC_MAX, "%.200s-%s", unique, kinds[i]);
        rc = kafka_producer_create_topic(s->producer, s->topics[i].name,
                                         (int32_t)s->opt->partitions, err);
    }
    return rc < 0 ? rc : UNDINE_OK;
}

static int stream_make(struct stream *s, struct undine_err *err)
{
    (void)snprintf(s->dir, sizeof s->dir, "%s/undine-bench-ingest-XXXXXX", s->opt->dir);
    if (mkdtemp(s->dir) == NULL) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", s->dir);
    }
    (void)snprintf(s->file, sizeof s->file, "%s/events.jsonl", s->dir);
    if (s->opt->brokers == NULL) {
        return bench_stream_write(&s->opt->stream, s->file, &s->bytes, err);
    }
    int rc = make_topics(s, err);
    return rc < 0 ? rc : bench_stream_send(&s->opt->stream, s->producer, s->topics, &s->bytes, err);
}

static void stream_remove(struct stream *s)
{
    struct undine_err ignored;
    for (int i = 0; i < BENCH_STREAM_TOPICS && s->topics[i].name[0] != '\0'; i++) {
        (void)kafka_producer_delete_topic(s->producer, s->topics[i].name, &ignored);
    }
    kafka_producer_close(s->producer);
    tree_remove(s->dir);
}

/* Everything that the ingest thread owns. */
struct pipeline {
    struct store *store;
    struct users *users;
    struct example_log *log;
    struct decoder *decoder;
    struct source *source;
    struct ingest *ingest;
    struct ingest_options options;
};

static int store_part_open(struct pipeline *p, const struct schema *schema, const struct stream *s,
                           const char *dir, struct undine_err *err)
{
    struct decode_options decode = {
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .topic_kinds = {1U << EVENT_IMPRESSION, 1U << EVENT_CLICK | 1U << EVENT_BEHAVIOR},
        .n_topics = BENCH_STREAM_TOPICS, /* of a broker; a file's lines say what they are */
    };
    struct store_options store = {
        .dir = dir, .cache_bytes = 32 << 20, .write_buffer_bytes = 64 << 20};
    int rc = store_open(&p->store, &store, err);
    if (rc == UNDINE_OK) {
        struct users_options users = {.cache_bytes = s->opt->cache_bytes};
        rc = users_open(&p->users, p->store, schema, &users, err);
    }
    if (rc == UNDINE_OK) {
        rc = example_log_open(&p->log, p->store, schema, 0, err);
    }
    if (rc == UNDINE_OK) {
        rc = decoder_open(&p->decoder, schema, &decode, err);
    }
    return rc;
}

static int stream_open(const struct stream *s, struct source **out, struct store *store,
                       struct undine_err *err)
{
    if (s->opt->brokers != NULL) {
        struct source_kafka_options kafka = {.brokers = s->opt->brokers,
                                             .group = "undine-bench",
                                             .topics = s->topics,
                                             .n_topics = BENCH_STREAM_TOPICS,
                                             .n_shards = 1,
                                             .until_end = true,
                                             .metadata_timeout_ms = METADATA_MS};
        return source_kafka_open(out, &kafka, ingest_position, store, err);
    }
    const char *path = s->file;
    struct source_file_options file = {
        .paths = &path, .n_paths = 1, .line_bytes_max = MESSAGE_BYTES_MAX};
    return source_file_open(out, &file, ingest_position, store, err);
}

static int pipeline_open(struct pipeline *p, const struct schema *schema, const struct stream *s,
                         struct undine_err *err)
{
    p->options = (struct ingest_options){
        .order = {.lateness_ms = 1000, .max_future_ms = -1, .waiting_max = 1000000},
        .join = {.window_ms = s->opt->window_ms, .memory_ms = 10000, .negative_rate = 1.0},
        .loop = {.poll_max = 1000,
                 .poll_timeout_ms = 10,
                 .commit_actions_max = 5000,
                 .sync_interval_ms = s->opt->sync_ms,
                 .backlog_max = UINT64_MAX,
                 .malformed_samples = 16},
        .n_shards = 1,
        .close_windows = true,
        .config_digest_text = "",
    };
    int rc = stream_open(s, &p->source, p->store, err);
    if (rc == UNDINE_OK) {
        rc = ingest_open(&p->ingest, schema, &p->options, p->store, p->users, p->log, p->source,
                         p->decoder, err);
    }
    return rc;
}

static void pipeline_close(struct pipeline *p)
{
    ingest_close(p->ingest);
    source_close(p->source);
    decoder_close(p->decoder);
    example_log_close(p->log);
    users_close(p->users);
    store_close(p->store);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { WALL, THREAD, PROCESS, CLOCKS };
static const clockid_t clocks[CLOCKS] = {CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID,
                                         CLOCK_PROCESS_CPUTIME_ID};

struct clocks {
    double s[CLOCKS];
    uint64_t events; /* read before */
};

static void read_clocks(struct clocks *c, uint64_t events)
{
    for (int i = 0; i < CLOCKS; i++) {
        c->s[i] = seconds_of(clocks[i]);
    }
    c->events = events;
}

/* To the end; *begun is set anew where the events before `warm` are behind. */
static int drain(struct pipeline *p, uint64_t warm, struct clocks *begun,
                 struct bench_ingest_result *out, struct undine_err *err)
{
    struct ingest_status st;
    int rc = 1;
    while ((rc = ingest_step(p->ingest, err)) > 0) {
        example_log_trim(p->log, example_log_head(p->log));
        ingest_status(p->ingest, &st);
        uint64_t pending = st.counters.pending;
        out->pending_max = pending > out->pending_max ? pending : out->pending_max;
        if (warm > 0 && st.counters.events >= warm) {
            read_clocks(begun, st.counters.events);
            warm = 0;
        }
    }
    return rc;
}

static void note(struct bench_ingest_result *out, const struct ingest_status *st)
{
    out->events = st->counters.events;
    out->clicks = st->counters.clicks;
    out->examples = st->counters.positives + st->counters.negatives;
    out->users_bytes = st->users.bytes;
    out->misses = st->users.misses;
    out->loads = st->users.loads;
}

/* The source gave too few or too many: say where it ended. */
static int refuse_count(const struct pipeline *p, uint64_t events, uint64_t expected,
                        struct undine_err *err)
{
    const struct source_stats *stats = &p->source->stats;
    int rc = undine_err_set(
        err, UNDINE_EIO,
        "read %llu events, expected %llu; %llu read twice, %llu gaps, %llu of them shown by two "
        "answers, %llu records in the second answer only",
        (unsigned long long)events, (unsigned long long)expected,
        (unsigned long long)stats->duplicates_skipped, (unsigned long long)stats->gaps_explained,
        (unsigned long long)stats->gaps_verified, (unsigned long long)stats->records_recovered);
    for (uint32_t i = 0; i < p->source->n_partitions; i++) {
        const struct source_partition *part = &p->source->partitions[i];
        (void)undine_err_prefix(err, "%d: %lld of %lld (%lld)", part->partition,
                                (long long)part->position.next, (long long)part->end,
                                (long long)part->high);
    }
    return rc;
}

/* *rates: events a second of each clock, from the opening of the source or the last of the users'
 * first views on. */
static int run_once(const struct schema *schema, const struct stream *s,
                    struct bench_ingest_result *out, double rates[CLOCKS], struct undine_err *err)
{
    struct pipeline p = {0};
    char dir[PATH_BYTES + 8];
    struct clocks begun, ended;
    const struct bench_stream *stream = &s->opt->stream;
    (void)snprintf(dir, sizeof dir, "%s/store", s->dir);
    if (mkdir(dir, 0755) != 0) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", dir);
    }
    int rc = store_part_open(&p, schema, s, dir, err);
    read_clocks(&begun, 0);
    if (rc == UNDINE_OK) {
        rc = pipeline_open(&p, schema, s, err);
    }
    uint64_t warm = stream->click_rate >= 0 ? (uint64_t)stream->views * stream->users : 0;
    if (rc == UNDINE_OK && (rc = drain(&p, warm, &begun, out, err)) == UNDINE_OK) {
        struct ingest_status st;
        ingest_status(p.ingest, &st);
        note(out, &st);
        read_clocks(&ended, out->events);
        out->gaps += p.source->stats.gaps_explained;
        out->recovered += p.source->stats.records_recovered;
        out->measured = ended.events - begun.events;
        for (int i = 0; i < CLOCKS; i++) {
            rates[i] = (double)out->measured / (ended.s[i] - begun.s[i]);
        }
        if (out->events != stream->events) {
            rc = refuse_count(&p, out->events, stream->events, err);
        }
    }
    pipeline_close(&p);
    tree_remove(dir);
    return rc;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int bench_ingest_run(struct bench_ingest_result *out, const struct bench_ingest_options *opt,
                     struct undine_err *err)
{
    double rates[CLOCKS][BENCH_INGEST_RUNS_MAX] = {0};
    struct schema schema = bench_stream_schema();
    struct stream s = {.opt = opt};
    *out = (struct bench_ingest_result){0};
    int rc = schema_check(&schema, err);
    if (rc == UNDINE_OK) {
        rc = stream_make(&s, err);
    }
    for (uint32_t i = 0; rc >= 0 && i < opt->runs; i++) {
        double run[CLOCKS] = {0};
        rc = run_once(&schema, &s, out, run, err);
        for (int c = 0; c < CLOCKS; c++) {
            rates[c][i] = run[c];
        }
    }
    stream_remove(&s);
    if (rc < 0) {
        return rc;
    }
    for (int c = 0; c < CLOCKS; c++) {
        qsort(rates[c], opt->runs, sizeof rates[c][0], ascending);
    }
    out->bytes = s.bytes;
    out->events_per_second = rates[WALL][opt->runs / 2];
    out->events_per_second_min = rates[WALL][0];
    out->events_per_second_max = rates[WALL][opt->runs - 1];
    out->events_per_cpu_second = rates[THREAD][opt->runs / 2];
    out->events_per_process_second = rates[PROCESS][opt->runs / 2];
    return UNDINE_OK;
}
