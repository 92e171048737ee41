#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/cmd_bench.h"
#include "ops/program.h"
#include "tests/bench/bench_ingest_run.h"

#include <stdio.h>

struct ingest_words { /* of the command line */
    int64_t events, users, runs, sync_ms, partitions, views, cache, window_ms;
    double click_rate, rate; /* below 0 and 0: the source's default */
    const char *brokers, *durability, *dir;
};

static int ingest_options(const struct ingest_words *w, struct bench_ingest_options *out)
{
    static const char *const durabilities[] = {"interval", "commit"};
    int d = bench_word(w->durability, durabilities, 2);
    bool kafka = w->brokers != NULL;
    if (d < 0) {
        return bench_usage("--durability", w->durability, "interval or commit");
    }
    int64_t users = w->users > 0 ? w->users : kafka ? 1000000 : 20000;
    if (w->events < 1000 || w->events > 1000000000 || w->users < 0 || users > 10000000 ||
        w->runs < 1 || w->runs > BENCH_INGEST_RUNS_MAX || w->sync_ms < 0 || w->sync_ms > 60000 ||
        w->partitions < 1 || w->partitions > 1000 || w->click_rate > 1 || !(w->rate >= 0) ||
        w->rate > 1e7 || w->cache < 1000000 || w->window_ms < 1 || w->window_ms > 864000000) {
        (void)fprintf(stderr, "undine bench: expected --events 1000..10^9, --users 1..10^7, --runs "
                              "1..100, --sync 0..60000, --partitions 1..1000, --ctr 0..1, --rate "
                              "up to 10^7, --cache from 10^6 and --window 1..864000000\n");
        return EXIT_USAGE;
    }
    if (w->views < 0 || (w->views > 0 && (kafka ? 0.05 : w->click_rate) < 0) ||
        w->views > (w->events - 1) / users) {
        (void)fprintf(stderr,
                      "undine bench: --views is %lld: it needs --ctr, and more --events "
                      "than the first views of --users\n",
                      (long long)w->views);
        return EXIT_USAGE;
    }
    *out = (struct bench_ingest_options){
        .stream = {.events = (uint64_t)w->events,
                   .users = (uint32_t)users,
                   .views = (uint32_t)w->views,
                   .click_rate = kafka && w->click_rate < 0 ? 0.05 : w->click_rate,
                   .rate = w->rate},
        .brokers = w->brokers,
        .partitions = (uint32_t)w->partitions,
        .dir = w->dir,
        .runs = (uint32_t)w->runs,
        .sync_ms = d == 1 ? 0 : (int)w->sync_ms,
        .cache_bytes = (uint64_t)w->cache,
        .window_ms = w->window_ms,
    };
    return -1;
}

static int print_ingest(const struct bench_ingest_options *opt, const struct bench_ingest_result *r)
{
    char cpu[256];
    bench_cpu(cpu, sizeof cpu);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:i, s:I, s:I, s:I, s:I, s:f, s:I}",
        "bench", "ingest", "undine", program_version(), "cpu", cpu, "shape",
        opt->brokers != NULL ? "Kafka to commit, one ingest thread"
                             : "file to commit, one ingest thread",
        "sync_ms", opt->sync_ms, "events_per_second", r->events_per_second, "events_per_second_min",
        r->events_per_second_min, "events_per_second_max", r->events_per_second_max,
        "events_per_cpu_second", r->events_per_cpu_second, "events_per_process_cpu_second",
        r->events_per_process_second, "runs", (int)opt->runs, "events", (json_int_t)r->events,
        "users", (json_int_t)opt->stream.users, "clicks", (json_int_t)r->clicks, "examples",
        (json_int_t)r->examples, "rate", opt->stream.rate > 0 ? opt->stream.rate : 100.0,
        "bytes_per_event", (json_int_t)(r->bytes / r->events));
    (void)json_object_update_new(
        o,
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "views",
                  (json_int_t)opt->stream.views, "measured", (json_int_t)r->measured, "cache_bytes",
                  (json_int_t)opt->cache_bytes, "users_bytes", (json_int_t)r->users_bytes, "misses",
                  (json_int_t)r->misses, "loads", (json_int_t)r->loads, "window_ms",
                  (json_int_t)opt->window_ms, "pending_max", (json_int_t)r->pending_max, "gaps",
                  (json_int_t)r->gaps, "records_recovered", (json_int_t)r->recovered));
    return bench_print(o);
}

int cmd_bench_ingest(int argc, char **argv)
{
    struct ingest_words w = {.events = 1000000,
                             .runs = 3,
                             .sync_ms = 100,
                             .partitions = 4,
                             .cache = 256 << 20,
                             .window_ms = 10000,
                             .click_rate = -1,
                             .durability = "interval",
                             .dir = "/tmp"};
    const struct args_option options[] = {
        {"events", 0, ARGS_INT, &w.events, "N", "events of a run (1000000)"},
        {"users", 0, ARGS_INT, &w.users, "N", "they come from (20000; with --kafka 1000000)"},
        {"ctr", 0, ARGS_REAL, &w.click_rate, "P",
         "share of impressions clicked, and no other behavior (with --kafka 0.05, else views and "
         "planted interests as of `undine generate`)"},
        {"rate", 0, ARGS_REAL, &w.rate, "N", "events a second of event time (100)"},
        {"views", 0, ARGS_INT, &w.views, "N",
         "that each user begins with; timed is what comes behind N x users events; needs --ctr "
         "(0)"},
        {"cache", 0, ARGS_INT, &w.cache, "BYTES", "of users in memory (256 MiB)"},
        {"window", 0, ARGS_INT, &w.window_ms, "MS", "in which a click may come (10000)"},
        {"kafka", 0, ARGS_STRING, &w.brokers, "HOST:PORT",
         "read from topics of that broker, made for it and deleted (from a file)"},
        {"partitions", 0, ARGS_INT, &w.partitions, "N", "of each of the two topics (4)"},
        {"runs", 0, ARGS_INT, &w.runs, "N", "over the same events (3)"},
        {"sync", 0, ARGS_INT, &w.sync_ms, "MS",
         "WAL sync at least this often; 0: each commit (100)"},
        {"durability", 0, ARGS_STRING, &w.durability, "WORD",
         "interval: as --sync says (default); commit: --sync 0"},
        {"dir", 0, ARGS_STRING, &w.dir, "DIR", "where file and store are made (/tmp)"},
    };
    int code = args_parse(argc, argv, "bench ingest [options]", options,
                          sizeof options / sizeof options[0], NULL);
    struct bench_ingest_options opt;
    if (code >= 0 || (code = ingest_options(&w, &opt)) >= 0) {
        return code;
    }
    struct bench_ingest_result r;
    struct undine_err err = {0};
    int rc = bench_ingest_run(&r, &opt, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine bench: %s\n", err.msg);
        return args_exit_code(rc);
    }
    return print_ingest(&opt, &r);
}
