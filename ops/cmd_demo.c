/* cmd_demo.c: the whole loop on this machine: a broker and traffic in processes of their own, the
 * daemon, and a scorer that swaps. */
#include "base/clock.h"
#include "ops/args.h"
#include "ops/child.h"
#include "ops/cmd.h"
#include "ops/daemon.h"
#include "ops/demo_probe.h"
#include "ops/kafka_producer.h"
#include "ops/log.h"
#include "ops/tree.h"
#include "ops/web.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PARTITIONS = 4, ROW_MS = 1000, HEADER_EVERY = 20, PATH_BYTES = 512, BROKERS_BYTES = 256 };

static volatile sig_atomic_t demo_stopped;

static void on_demo_signal(int sig)
{
    (void)sig;
    demo_stopped = 1;
}

struct demo {
    /* options */
    const char *kafka, *config_file;
    int64_t seconds, rate;
    struct args_list overrides;
    /* what runs */
    char dir[PATH_BYTES], state[PATH_BYTES + 8], log[PATH_BYTES + 16], brokers[BROKERS_BYTES];
    char prefix[64]; /* of the topics' names: ours alone on a broker that others use */
    struct child broker, traffic;
    struct config *config;
    struct daemon *daemon;
    struct web *web;
    struct demo_probe probe;
    FILE *log_file;
    uint64_t events_shown;
    int64_t shown_ns;
};

/* ---- starting ---- */

static int make_directory(struct demo *d, struct undine_err *err)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(d->dir, sizeof d->dir, "%s/undine-demo.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(d->dir) == NULL) {
        int failed = errno;
        d->dir[0] = '\0';
        return undine_err_sys(err, UNDINE_EIO, failed, "a temporary directory in %s",
                              tmp != NULL ? tmp : "/tmp");
    }
    (void)snprintf(d->state, sizeof d->state, "%s/state", d->dir);
    (void)snprintf(d->log, sizeof d->log, "%s/demo.log", d->dir);
    d->log_file = fopen(d->log, "a");
    if (d->log_file == NULL) {
        return undine_err_sys(err, UNDINE_EIO, errno, "%s", d->log);
    }
    log_init(d->log_file, LOG_LEVEL_INFO);
    return UNDINE_OK;
}

static int start_broker(struct demo *d, struct undine_err *err)
{
    if (d->kafka != NULL) {
        (void)snprintf(d->brokers, sizeof d->brokers, "%s", d->kafka);
        (void)snprintf(d->prefix, sizeof d->prefix, "undine-demo-%d-", (int)getpid());
        return UNDINE_OK;
    }
    char *argv[] = {(char *)"mock-broker", NULL};
    int rc = child_start(&d->broker, argv, true, d->log, err);
    char line[BROKERS_BYTES] = "";
    if (rc == UNDINE_OK &&
        (d->broker.stdout_file == NULL || fgets(line, sizeof line, d->broker.stdout_file) == NULL ||
         sscanf(line, "BOOT %255s", d->brokers) != 1)) {
        rc = undine_err_set(err, UNDINE_EIO, "the embedded broker did not start: `%s`", line);
    }
    return rc;
}

/* Topics before the daemon, which asks for them at once. */
static int create_topics(struct demo *d, struct undine_err *err)
{
    char command[SOURCE_TOPIC_MAX + 32];
    struct kafka_producer *admin = NULL;
    int rc = UNDINE_OK;
    if (d->kafka != NULL) {
        rc = kafka_producer_open(&admin, &(struct kafka_producer_options){.brokers = d->brokers},
                                 err);
    }
    for (uint32_t i = 0; rc >= 0 && i < d->config->n_topics; i++) {
        char name[SOURCE_TOPIC_MAX];
        (void)snprintf(name, sizeof name, "%.60s%.190s", d->prefix, d->config->topics[i].name);
        (void)snprintf(d->config->topics[i].name, SOURCE_TOPIC_MAX, "%s", name);
        int n = snprintf(command, sizeof command, "topic %s %d\n", name, PARTITIONS);
        if (d->kafka != NULL) {
            rc = kafka_producer_create_topic(admin, name, PARTITIONS, err);
        } else if (write(d->broker.stdin_fd, command, (size_t)n) != n) {
            rc = undine_err_sys(err, UNDINE_EIO, errno, "talking to the embedded broker");
        }
    }
    kafka_producer_close(admin);
    return rc < 0 ? rc : UNDINE_OK;
}

static int start_traffic(struct demo *d, struct undine_err *err)
{
    char output[BROKERS_BYTES + 96], rate[32];
    (void)snprintf(output, sizeof output, "kafka://%s/%s", d->brokers, d->prefix);
    (void)snprintf(rate, sizeof rate, "%lld", (long long)d->rate);
    char *argv[] = {(char *)"generate",
                    (char *)"--events",
                    (char *)"0",
                    (char *)"--rate",
                    rate,
                    (char *)"--output",
                    output,
                    NULL};
    return child_start(&d->traffic, argv, false, d->log, err);
}

static int start_daemon(struct demo *d, struct undine_err *err)
{
    struct daemon_options opt = {
        .config = d->config,
        .state_dir = d->state,
        .from_ms = -1,
        .to_ms = -1,
        .publish = true,
        .log = log_text,
    };
    int rc = daemon_open(&d->daemon, &opt, err);
    if (rc == UNDINE_OK && d->config->http.listen[0] != '\0') {
        struct undine_err taken;
        if (web_open(&d->web, d->config, NULL, &taken) != UNDINE_OK) {
            (void)printf("no HTTP: %s\n", taken.msg); /* the demo does not need it */
        }
    }
    if (rc == UNDINE_OK) {
        rc = daemon_start(d->daemon, err);
    }
    if (rc == UNDINE_OK) {
        rc = web_attach(d->web, d->daemon, err);
    }
    d->probe.versions_dir = d->daemon != NULL ? daemon_versions_dir(d->daemon) : NULL;
    return rc;
}

/* configs/demo.yaml of the source tree this program was built in, unless another one is named. */
static const char *default_config(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0) {
        return "configs/demo.yaml";
    }
    out[n] = '\0';
    for (int up = 0; up < 3; up++) { /* build/release/undine */
        char *slash = strrchr(out, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
    }
    size_t len = strlen(out);
    (void)snprintf(out + len, size - len, "/configs/demo.yaml");
    return access(out, R_OK) == 0 ? out : "configs/demo.yaml";
}

static int start(struct demo *d, struct undine_err *err)
{
    char path[PATH_BYTES], brokers[BROKERS_BYTES + 16];
    const char *overrides[ARGS_LIST_MAX + 1];
    int rc = make_directory(d, err);
    if (rc == UNDINE_OK) {
        rc = start_broker(d, err);
    }
    if (rc == UNDINE_OK) {
        (void)snprintf(brokers, sizeof brokers, "brokers=%s", d->brokers);
        overrides[0] = brokers;
        memcpy(&overrides[1], d->overrides.item, d->overrides.n * sizeof overrides[0]);
        const char *file =
            d->config_file != NULL ? d->config_file : default_config(path, sizeof path);
        rc = config_load(&d->config, file, overrides, d->overrides.n + 1, err);
    }
    if (rc == UNDINE_OK) {
        rc = create_topics(d, err);
    }
    if (rc == UNDINE_OK) {
        rc = start_traffic(d, err);
    }
    if (rc == UNDINE_OK) {
        rc = start_daemon(d, err);
    }
    return rc;
}

/* ---- showing ---- */

static void print_header(void)
{
    (void)printf(
        "\n    s  events/s     lag   examples |     model      | item popularity | version    "
        "score of a candidate\n"
        "                                   |   auc  logloss |    auc  logloss |         in the "
        "user's interest  outside\n");
}

static void print_row(struct demo *d, int64_t second)
{
    struct daemon_status st;
    daemon_status(d->daemon, &st);
    int64_t now_ns = clock_monotonic_ns();
    double seconds = (double)(now_ns - d->shown_ns) * 1e-9;
    double rate = (double)(st.ingest.counters.events - d->events_shown) / seconds;
    d->events_shown = st.ingest.counters.events;
    d->shown_ns = now_ns;
    const struct trainer_metrics *m = &st.learner;
    (void)printf("%5lld  %8.0f %7llu %10llu | ", (long long)second, rate,
                 (unsigned long long)st.ingest.lag_messages, (unsigned long long)m->examples);
    if (m->examples == 0) {
        (void)printf("  -       -    |    -       -    |");
    } else {
        (void)printf("%.3f   %.4f |  %.3f   %.4f |", m->auc, m->logloss, m->popularity_auc,
                     m->popularity_logloss);
    }
    if (d->probe.version == 0) {
        (void)printf(" %7s\n", "-");
    } else {
        (void)printf(" %7llu %22.3f  %7.3f\n", (unsigned long long)d->probe.version,
                     (double)d->probe.now[0], (double)d->probe.now[1]);
    }
    (void)fflush(stdout);
}

static int watch(struct demo *d, struct undine_err *err)
{
    int64_t begun_ns = clock_monotonic_ns(), second = 0;
    d->shown_ns = begun_ns;
    while (demo_stopped == 0 && (d->seconds <= 0 || second < d->seconds)) {
        if (second % HEADER_EVERY == 0) {
            print_header();
        }
        if (daemon_wait(d->daemon, ROW_MS)) {
            return daemon_finish(d->daemon, err);
        }
        second = (clock_monotonic_ns() - begun_ns) / 1000000000;
        int rc = demo_probe_step(&d->probe, err);
        if (rc != UNDINE_OK) {
            return rc;
        }
        if (child_poll(&d->traffic) >= 0) {
            return undine_err_set(err, UNDINE_EIO,
                                  "the traffic generator has ended; its last words "
                                  "are in the log");
        }
        print_row(d, second);
    }
    return UNDINE_OK;
}

static int finish(struct demo *d, struct undine_err *err)
{
    (void)printf("\nstopping: finishing the commit, writing a last version\n");
    child_stop(&d->traffic);
    daemon_stop(d->daemon);
    int rc = daemon_finish(d->daemon, err);
    if (rc == UNDINE_OK) {
        rc = demo_probe_step(&d->probe, err);
    }
    if (rc != UNDINE_OK) {
        return rc;
    }
    struct daemon_status st;
    daemon_status(d->daemon, &st);
    const struct demo_probe *p = &d->probe;
    (void)printf("%llu events, %llu examples learned, every event accounted for: %s\n"
                 "model: AUC %.3f, logloss %.4f; item popularity: AUC %.3f, logloss %.4f\n"
                 "scores, in the user's interest / outside: version %llu %.3f / %.3f, version %llu "
                 "%.3f / %.3f after %llu swaps\n",
                 (unsigned long long)st.ingest.counters.events,
                 (unsigned long long)st.learner.examples,
                 ingest_counters_close(&st.ingest.counters) ? "yes" : "NO", st.learner.auc,
                 st.learner.logloss, st.learner.popularity_auc, st.learner.popularity_logloss,
                 (unsigned long long)p->first_version, (double)p->first[0], (double)p->first[1],
                 (unsigned long long)p->version, (double)p->now[0], (double)p->now[1],
                 (unsigned long long)p->swaps);
    return UNDINE_OK;
}

/* ---- ending ---- */

/* What went wrong is often said best by the log, which is about to be removed. */
static void print_log_tail(const struct demo *d)
{
    char line[1024];
    FILE *f = d->dir[0] != '\0' ? fopen(d->log, "r") : NULL;
    if (f == NULL) {
        return;
    }
    if (fseek(f, -3000, SEEK_END) == 0) {
        (void)fgets(line, sizeof line, f); /* the middle of a line */
    }
    while (fgets(line, sizeof line, f) != NULL) {
        (void)fputs(line, stderr);
    }
    (void)fclose(f);
}

static void delete_topics(const struct demo *d)
{
    struct kafka_producer *admin = NULL;
    const struct kafka_producer_options opt = {.brokers = d->brokers};
    struct undine_err err;
    if (d->kafka == NULL || d->config == NULL || kafka_producer_open(&admin, &opt, &err) != 0) {
        return;
    }
    for (uint32_t i = 0; i < d->config->n_topics; i++) {
        if (kafka_producer_delete_topic(admin, d->config->topics[i].name, &err) < 0) {
            (void)fprintf(stderr, "undine demo: %s\n", err.msg);
        }
    }
    kafka_producer_close(admin);
}

static void demo_close(struct demo *d)
{
    demo_probe_release(&d->probe);
    child_stop(&d->traffic);
    web_close(d->web);
    daemon_close(d->daemon);
    delete_topics(d);
    child_stop(&d->broker);
    config_free(d->config);
    log_init(stderr, LOG_LEVEL_INFO);
    if (d->log_file != NULL) {
        (void)fclose(d->log_file);
    }
    if (d->dir[0] != '\0') {
        tree_remove(d->dir);
    }
}

int cmd_demo(int argc, char **argv)
{
    struct demo d = {.rate = 3000, .broker.stdin_fd = -1, .traffic.stdin_fd = -1};
    const struct args_option options[] = {
        {"seconds", 0, ARGS_INT, &d.seconds, "N", "stop after N seconds (until Ctrl-C)"},
        {"kafka", 0, ARGS_STRING, &d.kafka, "HOST:PORT",
         "your broker; topics of its own are made and deleted (an embedded one)"},
        {"rate", 0, ARGS_INT, &d.rate, "N", "events a second (3000)"},
        {"config", 'c', ARGS_STRING, &d.config_file, "FILE", "configuration (configs/demo.yaml)"},
        {NULL, 'o', ARGS_LIST, &d.overrides, "KEY=VALUE", "override a key of the configuration"},
    };
    int code = args_parse(argc, argv, "demo [--seconds N] [--kafka HOST:PORT]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    if (d.seconds < 0) {
        (void)fprintf(stderr, "undine demo: --seconds is %lld, expected 0 (until Ctrl-C) or more\n",
                      (long long)d.seconds);
        return EXIT_USAGE;
    }
    if (d.rate < 1 || d.rate > 1000000 || d.overrides.n == ARGS_LIST_MAX) {
        (void)fprintf(stderr, "undine demo: --rate is %lld, expected 1..1000000\n",
                      (long long)d.rate);
        return EXIT_USAGE;
    }
    const struct sigaction action = {.sa_handler = on_demo_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    struct undine_err err = {0};
    int rc = start(&d, &err);
    if (demo_stopped != 0) { /* a signal ends reads and waits of the start early: no failure */
        demo_close(&d);
        (void)printf("stopped before it began\n");
        return EXIT_DONE;
    }
    if (rc == UNDINE_OK) {
        (void)printf(
            "broker %s (%s), traffic %lld events/s with planted interests, daemon and scorer "
            "in %s\n",
            d.brokers, d.kafka != NULL ? "yours" : "embedded", (long long)d.rate, d.dir);
        (void)printf(
            "the first examples come when the first attribution window (join.window, %lld s) has "
            "passed\n",
            (long long)(d.config->ingest.join.window_ms / 1000));
        rc = watch(&d, &err);
    }
    if (rc == UNDINE_OK) {
        rc = finish(&d, &err);
    }
    if (rc != UNDINE_OK) {
        print_log_tail(&d);
        (void)fprintf(stderr, "undine demo: %s\n", err.msg);
    }
    demo_close(&d);
    return args_exit_code(rc);
}
