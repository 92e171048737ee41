#include "tests/bench/bench_ingest_file.h"

#include "base/clock.h"
#include "ingest/ingest.h"
#include "ops/generator.h"
#include "ops/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { PATH_BYTES = 512, MESSAGE_BYTES_MAX = 1 << 20 };

/* The fields of configs/demo.yaml. */
static struct schema stream_schema(void)
{
    struct schema s = {.n_tables = 4, .n_fields = 4, .n_behaviors = 1, .n_sequences = 1};
    static const struct {
        const char *name;
        enum schema_group group;
    } fields[] = {{"user", SCHEMA_USER},
                  {"item", SCHEMA_CANDIDATE},
                  {"category", SCHEMA_CANDIDATE},
                  {"hour", SCHEMA_CONTEXT}};
    for (uint32_t i = 0; i < 4; i++) {
        (void)snprintf(s.tables[i].name, SCHEMA_NAME_MAX, "%s", fields[i].name);
        (void)snprintf(s.fields[i].name, SCHEMA_NAME_MAX, "%s", fields[i].name);
        s.tables[i].dim = 18;
        s.fields[i].group = fields[i].group;
        s.fields[i].table = i;
        s.fields[i].values_max = 1;
    }
    s.fields[0].user_id = true;
    (void)snprintf(s.behaviors[0], SCHEMA_NAME_MAX, "view");
    s.sequences[0] = (struct schema_sequence){
        .length = 50, .n_fields = 2, .field = {1, 2}, .from_click = true, .from_behavior = 1};
    (void)snprintf(s.sequences[0].name, SCHEMA_NAME_MAX, "clicks");
    return s;
}

static int write_stream(const struct bench_ingest_options *opt, const char *path, uint64_t *bytes,
                        struct undine_err *err)
{
    struct generator_options generator_options = GENERATOR_OPTIONS_DEFAULT;
    generator_options.events = opt->events;
    generator_options.users = opt->users;
    struct generator *g = NULL;
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    int rc = generator_open(&g, &generator_options, event_sink_file, f, err);
    while (rc >= 0) {
        rc = generator_step(g, err);
        if (rc == 0) {
            break;
        }
    }
    generator_close(g);
    *bytes = (uint64_t)ftell(f);
    if (fclose(f) != 0 && rc == 0) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "%s", path);
    }
    return rc;
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

static int pipeline_open(struct pipeline *p, const struct schema *schema, const char *dir,
                         const char *path, int sync_ms, struct undine_err *err)
{
    struct decode_options decode = {.message_bytes_max = MESSAGE_BYTES_MAX};
    p->options = (struct ingest_options){
        .order = {.lateness_ms = 1000, .max_future_ms = -1, .waiting_max = 1000000},
        .join = {.window_ms = 10000, .memory_ms = 10000, .negative_rate = 1.0},
        .loop = {.poll_max = 1000,
                 .poll_timeout_ms = 10,
                 .commit_actions_max = 5000,
                 .sync_interval_ms = sync_ms,
                 .backlog_max = UINT64_MAX,
                 .malformed_samples = 16},
        .n_shards = 1,
        .close_windows = true,
        .config_digest_text = "",
    };
    int rc = store_open(&p->store,
                        &(struct store_options){
                            .dir = dir, .cache_bytes = 32 << 20, .write_buffer_bytes = 64 << 20},
                        err);
    if (rc == UNDINE_OK) {
        rc = users_open(&p->users, p->store, schema, &(struct users_options){256 << 20}, err);
    }
    if (rc == UNDINE_OK) {
        rc = example_log_open(&p->log, p->store, schema, 0, err);
    }
    if (rc == UNDINE_OK) {
        rc = decoder_open(&p->decoder, schema, &decode, err);
    }
    if (rc == UNDINE_OK) {
        rc =
            source_file_open(&p->source,
                             &(struct source_file_options){
                                 .paths = &path, .n_paths = 1, .line_bytes_max = MESSAGE_BYTES_MAX},
                             ingest_position, p->store, err);
    }
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

static int64_t thread_cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int run_once(const struct schema *schema, const char *dir, const char *path, int sync_ms,
                    struct bench_ingest_result *out, double rates[2], struct undine_err *err)
{
    struct pipeline p = {0};
    char store_dir[PATH_BYTES + 8];
    (void)snprintf(store_dir, sizeof store_dir, "%s/store", dir);
    if (mkdir(store_dir, 0755) != 0) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", store_dir);
    }
    int rc = pipeline_open(&p, schema, store_dir, path, sync_ms, err);
    int64_t wall_ns = clock_monotonic_ns(), cpu_ns = thread_cpu_ns();
    while (rc >= 0) {
        rc = ingest_step(p.ingest, err);
        if (rc == 0) {
            break;
        }
        example_log_trim(p.log, example_log_head(p.log));
    }
    wall_ns = clock_monotonic_ns() - wall_ns;
    cpu_ns = thread_cpu_ns() - cpu_ns;
    if (rc == 0) {
        struct ingest_status st;
        ingest_status(p.ingest, &st);
        out->events = st.counters.events;
        out->examples = st.counters.positives + st.counters.negatives;
        rates[0] = (double)out->events / ((double)wall_ns * 1e-9);
        rates[1] = (double)out->events / ((double)cpu_ns * 1e-9);
    }
    pipeline_close(&p);
    tree_remove(store_dir);
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
    char dir[PATH_BYTES], path[PATH_BYTES + 16];
    double wall[BENCH_INGEST_RUNS_MAX] = {0}, cpu[BENCH_INGEST_RUNS_MAX] = {0};
    uint32_t runs = opt->runs;
    struct schema schema = stream_schema();
    *out = (struct bench_ingest_result){0};
    (void)snprintf(dir, sizeof dir, "%s/undine-bench.XXXXXX", opt->dir);
    if (mkdtemp(dir) == NULL) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", dir);
    }
    (void)snprintf(path, sizeof path, "%s/events.jsonl", dir);
    int rc = schema_check(&schema, err);
    if (rc == UNDINE_OK) {
        rc = write_stream(opt, path, &out->bytes, err);
    }
    for (uint32_t i = 0; rc >= 0 && i < runs; i++) {
        double rates[2] = {0};
        rc = run_once(&schema, dir, path, opt->sync_ms, out, rates, err);
        wall[i] = rates[0];
        cpu[i] = rates[1];
    }
    tree_remove(dir);
    if (rc < 0) {
        return rc;
    }
    qsort(wall, runs, sizeof wall[0], ascending);
    qsort(cpu, runs, sizeof cpu[0], ascending);
    out->events_per_second = wall[runs / 2];
    out->events_per_second_min = wall[0];
    out->events_per_second_max = wall[runs - 1];
    out->events_per_cpu_second = cpu[runs / 2];
    return UNDINE_OK;
}
