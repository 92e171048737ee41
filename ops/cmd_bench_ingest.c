#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/cmd_bench.h"
#include "ops/program.h"
#include "tests/bench/bench_ingest_file.h"

#include <stdio.h>

int cmd_bench_ingest(int argc, char **argv)
{
    int64_t events = 1000000, users = 20000, runs = 3, sync_ms = 100;
    const char *dir = "/tmp";
    const struct args_option options[] = {
        {"events", 0, ARGS_INT, &events, "N", "events of a run (1000000)"},
        {"users", 0, ARGS_INT, &users, "N", "users they come from (20000)"},
        {"runs", 0, ARGS_INT, &runs, "N", "over the same events (3)"},
        {"sync", 0, ARGS_INT, &sync_ms, "MS", "WAL sync at least this often; 0: each commit (100)"},
        {"dir", 0, ARGS_STRING, &dir, "DIR", "where file and store are made (/tmp)"},
    };
    int code = args_parse(argc, argv, "bench ingest [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    if (events < 1000 || events > 1000000000 || users < 1 || users > 10000000 || runs < 1 ||
        runs > BENCH_INGEST_RUNS_MAX || sync_ms < 0 || sync_ms > 60000) {
        (void)fprintf(stderr, "undine bench: expected --events 1000..10^9, --users 1..10^7, --runs "
                              "1..100 and --sync 0..60000\n");
        return EXIT_USAGE;
    }
    struct bench_ingest_options opt = {.events = (uint64_t)events,
                                       .users = (uint32_t)users,
                                       .dir = dir,
                                       .runs = (uint32_t)runs,
                                       .sync_ms = (int)sync_ms};
    struct bench_ingest_result r;
    struct undine_err err = {0};
    int rc = bench_ingest_run(&r, &opt, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine bench: %s\n", err.msg);
        return args_exit_code(rc);
    }
    char cpu[256];
    bench_cpu(cpu, sizeof cpu);
    return bench_print(json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:i, s:I, s:I, s:I, s:I}", "bench", "ingest",
        "undine", program_version(), "cpu", cpu, "shape", "file to commit, one ingest thread",
        "sync_ms", (int)sync_ms, "events_per_second", r.events_per_second, "events_per_second_min",
        r.events_per_second_min, "events_per_second_max", r.events_per_second_max,
        "events_per_cpu_second", r.events_per_cpu_second, "runs", (int)runs, "events",
        (json_int_t)r.events, "users", (json_int_t)users, "examples", (json_int_t)r.examples,
        "bytes_per_event", (json_int_t)(r.bytes / r.events)));
}
