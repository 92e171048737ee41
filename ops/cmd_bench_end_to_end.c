#include "learner/model/model.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/cmd_bench.h"
#include "ops/program.h"
#include "tests/bench/bench_end_to_end.h"

#include <stdio.h>

static int print_end(const struct bench_end_options *opt, const struct bench_end_result *r)
{
    char cpu[256];
    bench_cpu(cpu, sizeof cpu);
    json_t *busy = json_object();
    for (int i = 0; i < BENCH_END_THREADS; i++) {
        (void)json_object_set_new(busy, bench_end_names[i], json_real(r->busy[i]));
    }
    return bench_print(json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:f, s:f, s:f, s:f, s:f, s:o, s:f, s:s, "
        "s:I, "
        "s:I, s:I}",
        "bench", "end-to-end", "undine", program_version(), "cpu", cpu, "kernels", model_kernels(),
        "shape", "file to versions, history 50, unit paper 80-40, MLP 200-80", "stream_events",
        (json_int_t)opt->stream.events, "users", (json_int_t)opt->stream.users, "batch",
        (int)opt->batch, "ctr", opt->stream.click_rate, "negative_rate", opt->negative_rate,
        "seconds", r->seconds, "events_per_second", r->events_per_second, "examples_per_second",
        r->examples_per_second, "busy", busy, "cores", r->cores, "bottleneck",
        bench_end_names[r->bottleneck], "events", (json_int_t)r->events, "examples",
        (json_int_t)r->examples, "versions", (json_int_t)r->versions));
}

int cmd_bench_end_to_end(int argc, char **argv)
{
    int64_t events = 2000000, users = 10000, batch = 256;
    double click_rate = 0.05, negative_rate = 0.1, rate = 10000;
    const char *dir = "/tmp";
    const struct args_option options[] = {
        {"events", 0, ARGS_INT, &events, "N",
         "of the stream, each user's first 50 views among them (2000000)"},
        {"users", 0, ARGS_INT, &users, "N", "they come from (10000)"},
        {"ctr", 0, ARGS_REAL, &click_rate, "P", "share of impressions clicked (0.05)"},
        {"negatives", 0, ARGS_REAL, &negative_rate, "P", "share of negatives learned (0.1)"},
        {"rate", 0, ARGS_REAL, &rate, "N", "events a second of event time (10000)"},
        {"batch", 'b', ARGS_INT, &batch, "N", "examples of a mini-batch (256)"},
        {"dir", 0, ARGS_STRING, &dir, "DIR", "where file and state are made (/tmp)"},
    };
    int code = args_parse(argc, argv, "bench end-to-end [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    if (events < 1000 || events > 1000000000 || users < 1 || users > 10000000 ||
        !(click_rate >= 0 && click_rate <= 1) || !(rate > 0 && rate <= 1e7) || batch < 1 ||
        batch > 20000 || !(negative_rate > 0 && negative_rate <= 1)) {
        (void)fprintf(stderr, "undine bench: expected --events 1000..10^9, --users 1..10^7, --ctr "
                              "0..1, --negatives above 0 and up to 1, --rate up to 10^7 and "
                              "--batch 1..20000\n");
        return EXIT_USAGE;
    }
    struct bench_end_options opt = {.stream = {.events = (uint64_t)events,
                                               .users = (uint32_t)users,
                                               .click_rate = click_rate,
                                               .rate = rate},
                                    .negative_rate = negative_rate,
                                    .batch = (uint32_t)batch,
                                    .dir = dir};
    struct bench_end_result r;
    struct undine_err err = {0};
    int rc = bench_end_run(&r, &opt, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine bench: %s\n", err.msg);
        return args_exit_code(rc);
    }
    return print_end(&opt, &r);
}
