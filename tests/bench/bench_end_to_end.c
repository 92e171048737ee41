#include "tests/bench/bench_end_to_end.h"

#include "ops/daemon.h"
#include "ops/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PATH_BYTES = 512,
    SAMPLE_MS = 20,
    SEQUENCE = 50,
    BACKLOG_BATCHES = 16,
    WARM_UP = 10 /* one in so many */
};

const char *const bench_end_names[BENCH_END_THREADS] = {"ingest", "learner", "publisher"};
static const char *const thread_names[BENCH_END_THREADS] = {"undine-ingest", "undine-learner",
                                                            "undine-publish"};

/* The shape `online` on the events of bench_stream.c. */
static const char config_text[] =
    "tables: {user: 18, item: 18, category: 18, hour: 18}\n"
    "fields:\n"
    "  - {name: user, of: user, user_id: true}\n"
    "  - {name: item, of: candidate}\n"
    "  - {name: category, of: candidate}\n"
    "  - {name: hour, of: context}\n"
    "behaviors: [view]\n"
    "sequences:\n"
    "  - {name: clicks, fields: [item, category], length: 50, from: [click, view]}\n"
    "topics:\n"
    "  - {name: impressions, kinds: [impression]}\n"
    "  - {name: clicks, kinds: [click, behavior]}\n"
    "brokers: localhost:9092\n"
    "group: undine-bench\n"
    "order: {lateness: 1s}\n"
    "join: {window: 10s, memory: 10s}\n"
    "model:\n"
    "  kind: din\n"
    "  unit: {input: paper, hidden: [80, 40]}\n"
    "  mlp: {hidden: [200, 80]}\n"
    "learner:\n"
    "  optimizer: {kind: adagrad}\n"
    "  regularizer: {kind: mba, lambda: 0.01}\n"
    "snapshot: {interval: 5s, keep: 2}\n"
    "users: {cache: 256MiB}\n"
    "store: {cache: 32MiB, write_buffer: 64MiB}\n";

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what a moment looks like ---- */

struct sample {
    double wall_s, process_s, thread_s[BENCH_END_THREADS];
    uint64_t events, examples;
    bool all; /* no thread has left */
};

/* Processor time of a thread of this process and which one it is; -1: another one, or gone. */
static int thread_of(const char *task, double *cpu_s)
{
    char path[PATH_BYTES], line[1024];
    unsigned long user = 0, kernel = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%.32s/stat", task);
    FILE *f = fopen(path, "re");
    bool read = f != NULL && fgets(line, sizeof line, f) != NULL;
    if (f != NULL) {
        (void)fclose(f);
    }
    char *name = read ? strchr(line, '(') : NULL, *end = read ? strrchr(line, ')') : NULL;
    const char *numbers = " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu";
    if (name == NULL || end == NULL || sscanf(end + 1, numbers, &user, &kernel) != 2) {
        return -1;
    }
    *end = '\0';
    *cpu_s = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    for (int i = 0; i < BENCH_END_THREADS; i++) {
        if (strcmp(name + 1, thread_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static struct sample look(struct daemon *d)
{
    struct sample s = {.wall_s = seconds_of(CLOCK_MONOTONIC),
                       .process_s = seconds_of(CLOCK_PROCESS_CPUTIME_ID)};
    struct daemon_status st;
    int found = 0;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *e = NULL;
    while (tasks != NULL && (e = readdir(tasks)) != NULL) {
        double cpu_s = 0.0;
        int i = e->d_name[0] == '.' ? -1 : thread_of(e->d_name, &cpu_s);
        if (i >= 0) {
            s.thread_s[i] = cpu_s;
            found++;
        }
    }
    if (tasks != NULL) {
        (void)closedir(tasks);
    }
    daemon_status(d, &st);
    s.events = st.ingest.counters.events;
    s.examples = st.learner.examples;
    s.all = found == BENCH_END_THREADS;
    return s;
}

static void between(const struct sample *first, const struct sample *last,
                    struct bench_end_result *out)
{
    double wall_s = last->wall_s - first->wall_s;
    out->seconds = wall_s;
    out->events = last->events - first->events;
    out->examples = last->examples - first->examples;
    out->events_per_second = (double)out->events / wall_s;
    out->examples_per_second = (double)out->examples / wall_s;
    out->cores = (last->process_s - first->process_s) / wall_s;
    for (int i = 0; i < BENCH_END_THREADS; i++) {
        out->busy[i] = (last->thread_s[i] - first->thread_s[i]) / wall_s;
        out->bottleneck = out->busy[i] > out->busy[out->bottleneck] ? i : out->bottleneck;
    }
}

/* ---- a run ---- */

static int run_daemon(struct daemon *d, uint64_t warm_events, struct bench_end_result *out,
                      struct undine_err *err)
{
    struct sample first = {0}, last = {0};
    struct daemon_status st;
    int rc = daemon_start(d, err);
    if (rc < 0) {
        return rc;
    }
    while (!daemon_wait(d, SAMPLE_MS)) {
        struct sample s = look(d);
        if (s.all && s.events >= warm_events) {
            first = first.wall_s > 0 ? first : s;
            last = s;
        }
    }
    rc = daemon_finish(d, err);
    if (rc < 0) {
        return rc;
    }
    if (last.examples <= first.examples || last.events <= first.events) {
        return undine_err_set(err, UNDINE_EINVAL,
                              "the stream was over before anything was measured: more --events");
    }
    between(&first, &last, out);
    daemon_status(d, &st);
    out->versions = st.versions_published;
    return UNDINE_OK;
}

static int run_in(const char *dir, const struct bench_stream *stream, struct config *config,
                  struct bench_end_result *out, struct undine_err *err)
{
    char file[PATH_BYTES + 16], state[PATH_BYTES + 16];
    uint64_t bytes = 0, views = (uint64_t)stream->views * stream->users;
    (void)snprintf(file, sizeof file, "%s/events.jsonl", dir);
    (void)snprintf(state, sizeof state, "%s/state", dir);
    const char *const inputs[] = {file};
    struct daemon_options options = {.config = config,
                                     .state_dir = state,
                                     .inputs = inputs,
                                     .n_inputs = 1,
                                     .from_ms = -1,
                                     .to_ms = -1,
                                     .until_end = true,
                                     .publish = true};
    struct daemon *d = NULL;
    int rc = bench_stream_write(stream, file, &bytes, err);
    if (rc == UNDINE_OK) {
        rc = daemon_open(&d, &options, err);
    }
    if (rc == UNDINE_OK) {
        rc = run_daemon(d, views + (stream->events - views) / WARM_UP, out, err);
    }
    daemon_close(d);
    return rc;
}

int bench_end_run(struct bench_end_result *out, const struct bench_end_options *opt,
                  struct undine_err *err)
{
    char dir[PATH_BYTES], rate[64], batch[64], backlog[64];
    const char *const overrides[] = {rate, batch, backlog};
    struct bench_stream stream = opt->stream;
    struct config *config = NULL;
    *out = (struct bench_end_result){0};
    stream.views = stream.views > 0 ? stream.views : SEQUENCE;
    if (stream.events < 2 * (uint64_t)stream.views * stream.users) {
        return undine_err_set(
            err, UNDINE_EINVAL,
            "%llu events, expected at least %llu: the users' first views are half "
            "of that",
            (unsigned long long)stream.events, 2ULL * stream.views * stream.users);
    }
    (void)snprintf(rate, sizeof rate, "join.negative_rate=%.9g", opt->negative_rate);
    (void)snprintf(batch, sizeof batch, "learner.batch=%u", opt->batch);
    (void)snprintf(backlog, sizeof backlog, "ingest.backlog_max=%u",
                   BACKLOG_BATCHES * opt->batch < 1000 ? 1000 : BACKLOG_BATCHES * opt->batch);
    int rc = config_parse(&config, "bench", config_text, sizeof config_text - 1, overrides, 3, err);
    if (rc < 0) {
        return rc;
    }
    (void)snprintf(dir, sizeof dir, "%s/undine-bench-end-XXXXXX", opt->dir);
    if (mkdtemp(dir) == NULL) {
        rc = undine_err_sys(err, UNDINE_EIO, errno, "%s", dir);
    } else {
        rc = run_in(dir, &stream, config, out, err);
        tree_remove(dir);
    }
    config_free(config);
    return rc;
}
