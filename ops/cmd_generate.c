#include "base/clock.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/generator.h"
#include "ops/kafka_producer.h"
#include "ops/zfile.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FLUSH_TIMEOUT_MS = 60000, NAP_MS_MAX = 100, TOPIC_BYTES = SOURCE_TOPIC_MAX };

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

/* Where lines go: a file or a broker, at once or when the wall clock reaches their time. */
struct output {
    const char *name;
    FILE *file;
    struct kafka_producer *producer;
    char brokers[256], impressions[TOPIC_BYTES], clicks[TOPIC_BYTES];
    bool paced;
    int64_t wall_ms, start_ms; /* wall time at which event time start_ms is due */
};

/* ---- output ---- */

static void wait_until_due(struct output *o, int64_t time_ms)
{
    bool flushed = false;
    for (;;) {
        int64_t left_ms = time_ms - o->start_ms - (clock_monotonic_ns() / 1000000 - o->wall_ms);
        if (left_ms <= 0 || stopped != 0) {
            return;
        }
        if (!flushed && o->file != NULL) {
            (void)fflush(o->file);
            flushed = true;
        }
        int64_t nap_ms = left_ms < NAP_MS_MAX ? left_ms : NAP_MS_MAX;
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)nap_ms * 1000000}, NULL);
    }
}

static int sink(void *payload, const struct event_line *line, struct undine_err *err)
{
    struct output *o = payload;
    if (o->paced) {
        wait_until_due(o, line->time_ms);
    }
    if (o->file != NULL) {
        return event_sink_file(o->file, line, err);
    }
    const struct kafka_record record = {
        .topic = line->kind == EVENT_IMPRESSION ? o->impressions : o->clicks,
        .partition = -1,
        .key = line->user,
        .key_len = strlen(line->user),
        .payload = line->text,
        .payload_len = line->len - 1, /* a message needs no newline */
    };
    return kafka_producer_send(o->producer, &record, err);
}

/* kafka://HOST:PORT[,HOST:PORT]/PREFIX */
static int open_kafka(struct output *o, const char *address, int64_t partitions,
                      struct undine_err *err)
{
    const char *slash = strchr(address, '/');
    size_t len = slash != NULL ? (size_t)(slash - address) : 0;
    if (len == 0 || len >= sizeof o->brokers ||
        strlen(slash + 1) + sizeof "impressions" > TOPIC_BYTES) {
        return undine_err_set(err, UNDINE_ECONFIG,
                              "--output is %.200s, expected kafka://HOST:PORT/TOPIC_PREFIX",
                              o->name);
    }
    memcpy(o->brokers, address, len);
    (void)snprintf(o->impressions, sizeof o->impressions, "%.*s%s", TOPIC_BYTES - 16, slash + 1,
                   "impressions");
    (void)snprintf(o->clicks, sizeof o->clicks, "%.*s%s", TOPIC_BYTES - 16, slash + 1, "clicks");
    const struct kafka_producer_options opt = {.brokers = o->brokers};
    int rc = kafka_producer_open(&o->producer, &opt, err);
    const char *const topics[] = {o->impressions, o->clicks};
    for (int i = 0; rc >= 0 && partitions > 0 && i < 2; i++) {
        rc = kafka_producer_create_topic(o->producer, topics[i], (int32_t)partitions, err);
    }
    return rc < 0 ? rc : UNDINE_OK;
}

static int open_output(struct output *o, int64_t partitions, struct undine_err *err)
{
    static const char kafka[] = "kafka://";
    if (strncmp(o->name, kafka, sizeof kafka - 1) == 0) {
        return open_kafka(o, o->name + sizeof kafka - 1, partitions, err);
    }
    o->file = zfile_write(o->name, err);
    return o->file != NULL ? UNDINE_OK : UNDINE_EIO;
}

static int close_output(struct output *o, int rc, struct undine_err *err)
{
    struct undine_err closing = {0};
    int closed = zfile_close(o->file, o->name, &closing);
    if (o->producer != NULL && rc == UNDINE_OK) {
        closed = kafka_producer_flush(o->producer, FLUSH_TIMEOUT_MS, &closing);
    }
    kafka_producer_close(o->producer);
    if (closed < 0 && (rc == UNDINE_OK || rc == UNDINE_EIO)) {
        *err = closing;
        return closed;
    }
    return rc;
}

/* ---- report ---- */

static void print_real(FILE *out, const char *gap, const char *name, double v)
{
    if (isfinite(v)) {
        (void)fprintf(out, "%s\"%s\":%.6f", gap, name, v);
    } else { /* JSON has no NaN */
        (void)fprintf(out, "%s\"%s\":null", gap, name);
    }
}

static void report(FILE *out, const struct generator *g, const struct generator_options *opt,
                   double seconds)
{
    struct generator_bayes b;
    generator_bayes(g, &b);
    (void)fputs("{", out);
    event_counts_print(out, generator_writer(g));
    (void)fprintf(out, ",\"seed\":%" PRIu64 ",\"start_ms\":%" PRId64 ",\"seconds\":%.3f", opt->seed,
                  opt->start_ms, seconds);
    print_real(out, ",\"bayes\":{", "click_rate", b.click_rate);
    print_real(out, ",", "logloss", b.logloss);
    print_real(out, ",", "logloss_expected", b.logloss_expected);
    print_real(out, ",", "auc", b.auc);
    print_real(out, ",", "gauc", b.gauc);
    (void)fputs("}}\n", out);
}

/* ---- the command ---- */

static int generate(const struct generator_options *opt, struct output *o, int64_t partitions,
                    struct undine_err *err)
{
    struct generator *g = NULL;
    int64_t start_ns = clock_monotonic_ns();
    o->wall_ms = start_ns / 1000000;
    o->start_ms = opt->start_ms;
    int rc = generator_open(&g, opt, sink, o, err);
    rc = rc == UNDINE_OK ? open_output(o, partitions, err) : rc;
    if (rc == UNDINE_OK) {
        do {
            rc = generator_step(g, err);
        } while (rc == 1 && stopped == 0);
        rc = rc == 1 ? generator_finish(g, err) : rc;
    }
    rc = close_output(o, rc, err);
    if (rc == UNDINE_OK) {
        FILE *out = strcmp(o->name, "-") == 0 ? stderr : stdout;
        report(out, g, opt, (double)(clock_monotonic_ns() - start_ns) * 1e-9);
    }
    generator_close(g);
    return rc;
}

/* Enough events for each user to be known by; an endless stream counts by the minute. */
static uint32_t users_for(uint64_t events, double rate)
{
    double users = (events > 0 ? (double)events : rate * 60) / 50;
    return users > 2000 ? 2000 : users < 10 ? 10 : (uint32_t)users;
}

int cmd_generate(int argc, char **argv)
{
    struct generator_options opt = GENERATOR_OPTIONS_DEFAULT;
    struct output output = {.name = "-"};
    int64_t events = (int64_t)opt.events, seed = (int64_t)opt.seed, users = -1;
    int64_t items = opt.items, categories = opt.categories, start_ms = -1, partitions = 0;
    double rate = 0, click_delay_s = 0;
    const struct args_option options[] = {
        {"output", 0, ARGS_STRING, &output.name, "FILE",
         "- (default), a file (.zst too), or kafka://HOST:PORT/TOPIC_PREFIX"},
        {"events", 0, ARGS_INT, &events, "N", "lines in all (100000); 0 = until interrupted"},
        {"seed", 0, ARGS_INT, &seed, "N", "equal seeds give equal streams (1)"},
        {"users", 0, ARGS_INT, &users, "N", "(one for 50 events or 50/min, 10 to 2000)"},
        {"items", 0, ARGS_INT, &items, "N", "(2000)"},
        {"categories", 0, ARGS_INT, &categories, "N", "(30)"},
        {"click-delay", 0, ARGS_REAL, &click_delay_s, "SECONDS",
         "mean of an exponential delay of clicks (evenly from 0.2 to 4 s)"},
        {"rate", 0, ARGS_REAL, &rate, "N", "events a second of wall time (as fast as possible)"},
        {"start-ms", 0, ARGS_TIME, &start_ms, "TIME",
         "event time of the start (now with --rate, else 2023-11-14T22:13:20Z)"},
        {"partitions", 0, ARGS_INT, &partitions, "N",
         "create the topics with so many partitions where they are missing"},
    };
    int code =
        args_parse(argc, argv,
                   "generate [--events N] [--output FILE]\n\n"
                   "A stream with planted interests (configs/demo.yaml). At the end it says "
                   "what the best possible\nmodel would reach on it, as JSON (on stderr where "
                   "the lines go to stdout).",
                   options, sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    struct undine_err err = {0};
    int rc = UNDINE_OK;
    const struct {
        const char *name;
        int64_t value, least;
    } numbers[] = {{"events", events, 0},         {"items", items, 1},
                   {"categories", categories, 1}, {"partitions", partitions, 0},
                   {"users", users, -1},          {"seed", seed, 0}};
    for (size_t i = 0; rc == UNDINE_OK && i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].value < numbers[i].least || numbers[i].value > INT32_MAX) {
            rc = undine_err_set(&err, UNDINE_ECONFIG, "--%s is %" PRId64 ", expected %d..%d",
                                numbers[i].name, numbers[i].value, numbers[i].least > 0 ? 1 : 0,
                                INT32_MAX);
        }
    }
    if (rc == UNDINE_OK && rate < 0) {
        rc = undine_err_set(&err, UNDINE_ECONFIG, "--rate is %g, expected 0 or more", rate);
    }
    opt.events = (uint64_t)events;
    opt.seed = (uint64_t)seed;
    opt.items = (uint32_t)items;
    opt.categories = (uint32_t)categories;
    opt.click_delay_mean_ms = click_delay_s * 1e3;
    output.paced = rate > 0;
    opt.rate = output.paced ? rate : opt.rate;
    opt.users = users >= 0 ? (uint32_t)users : users_for(opt.events, opt.rate);
    opt.start_ms = start_ms >= 0 ? start_ms : output.paced ? clock_realtime_ms() : opt.start_ms;
    const struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    rc = rc == UNDINE_OK ? generate(&opt, &output, partitions, &err) : rc;
    if (rc != UNDINE_OK) {
        (void)fprintf(stderr, "undine generate: %s\n", err.msg);
    }
    return args_exit_code(rc);
}
