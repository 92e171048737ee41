#include "ops/drive.h"

#include "base/clock.h"
#include "ops/args.h"
#include "ops/log.h"
#include "ops/progress.h"
#include "ops/report.h"
#include "ops/tree.h"
#include "ops/web.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DRIVE_POLL_MS = 200 };

static volatile sig_atomic_t stop_signals;

static void on_stop_signal(int sig)
{
    (void)sig;
    if (++stop_signals > 1) {
        _exit(EXIT_FAILED);
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop_signal};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* beyond `ulimit -f` writing fails, as on a full disk */
}

static void show(struct progress *p, const struct daemon_status *st, int64_t *events_shown,
                 int64_t *shown_ms)
{
    int64_t now_ms = clock_monotonic_ns() / 1000000;
    int64_t events = (int64_t)st->ingest.counters.events;
    double rate = now_ms > *shown_ms
                      ? (double)(events - *events_shown) * 1000.0 / (double)(now_ms - *shown_ms)
                      : 0.0;
    *events_shown = events;
    *shown_ms = now_ms;
    progress_show(p, LOG_FIELDS(log_msg("running"), log_int("events", events),
                                log_int("events_per_second", (int64_t)rate),
                                log_int("lag", (int64_t)st->ingest.lag_messages),
                                log_int("examples", (int64_t)st->learner.examples),
                                log_int("backlog", (int64_t)st->backlog),
                                log_real("auc", st->learner.auc),
                                log_real("logloss", st->learner.logloss),
                                log_int("version", (int64_t)st->version.number)));
}

static void watch(struct daemon *d)
{
    struct progress p;
    progress_init(&p, "daemon", progress_on_terminal());
    int64_t events_shown = 0, shown_ms = clock_monotonic_ns() / 1000000;
    bool stopping = false;
    struct daemon_status st;
    while (!daemon_wait(d, DRIVE_POLL_MS)) {
        if (stop_signals > 0 && !stopping) {
            log_info("daemon", log_msg("stopping: the commit is finished and a version written"));
            daemon_stop(d);
            stopping = true;
        }
        if (progress_due(&p)) {
            daemon_status(d, &st);
            show(&p, &st, &events_shown, &shown_ms);
        }
    }
    daemon_status(d, &st);
    progress_end(&p, LOG_FIELDS(log_msg("finished"),
                                log_int("events", (int64_t)st.ingest.counters.events),
                                log_int("examples", (int64_t)st.learner.examples),
                                log_real("auc", st.learner.auc)));
}

/* Open, waiting for a broker that is away: that ends nothing.  UNDINE_EAGAIN where it was told to
 * stop meanwhile. */
static int open_daemon(struct daemon **out, const struct daemon_options *options,
                       struct undine_err *err)
{
    int rc = daemon_open(out, options, err);
    while (rc == UNDINE_EAGAIN && stop_signals == 0) {
        log_warn("daemon", log_msg("no broker answers; trying again"), log_str("reason", err->msg));
        rc = daemon_open(out, options, err);
    }
    return rc;
}

static int report(struct daemon *d, int64_t begun_ns, struct undine_err *err)
{
    struct daemon_status st;
    struct report_parts parts;
    daemon_status(d, &st);
    daemon_slices(d, &parts.slices);
    daemon_norms(d, &parts.norms);
    return report_write(stdout, &st, &parts, (double)(clock_monotonic_ns() - begun_ns) * 1e-9, err);
}

static int run_daemon(const struct drive_options *opt, const struct config *config,
                      const char *state_dir, struct undine_err *err)
{
    struct daemon_options options = opt->daemon;
    options.config = config;
    options.state_dir = state_dir;
    struct restore_lanes progress = {0};
    options.progress = &progress;
    options.log = log_text;
    struct daemon *d = NULL;
    struct web *web = NULL;
    int64_t begun_ns = clock_monotonic_ns();
    int rc = UNDINE_OK;
    if (opt->http && config->http.listen[0] != '\0') {
        rc = web_open(&web, config, &progress, err);
    }
    if (rc == UNDINE_OK) {
        rc = open_daemon(&d, &options, err);
        /* Read again, a damaged state is no better: nobody should start it again and again. */
        rc = rc == UNDINE_ECORRUPT ? UNDINE_ESTATE : rc;
    }
    if (rc == UNDINE_OK) {
        rc = daemon_start(d, err);
    }
    if (rc == UNDINE_OK) {
        rc = web_attach(web, d, err);
    }
    if (rc == UNDINE_OK) {
        watch(d);
        rc = daemon_finish(d, err);
    }
    if (rc == UNDINE_OK) {
        rc = report(d, begun_ns, err);
    } else if (rc == UNDINE_EGUARD) { /* what was learned until then; the guard's word stays */
        (void)report(d, begun_ns, NULL);
    }
    web_close(web);
    daemon_close(d);
    if (rc == UNDINE_EAGAIN) {
        log_info("daemon", log_msg("stopped while no broker answered; the state is as it was"));
        rc = UNDINE_OK;
    }
    return rc;
}

int drive(const struct drive_options *opt)
{
    struct undine_err err = {0};
    struct config *config = NULL;
    char temporary[512];
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(temporary, sizeof temporary, "%s/undine-state.XXXXXX",
                   tmp != NULL ? tmp : "/tmp");
    const char *state_dir = opt->state_dir;
    catch_signals();
    int rc = config_load(&config, opt->config_file, opt->overrides, opt->n_overrides, &err);
    if (rc == UNDINE_OK && state_dir == NULL) {
        state_dir = mkdtemp(temporary);
        if (state_dir == NULL) {
            rc = undine_err_sys(&err, UNDINE_EIO, errno, "temporary state directory `%s`",
                                temporary);
        }
    }
    if (rc == UNDINE_OK) {
        rc = run_daemon(opt, config, state_dir, &err);
    }
    if (opt->state_dir == NULL && state_dir != NULL) {
        tree_remove(state_dir);
    }
    config_free(config);
    log_close();
    if (rc != UNDINE_OK) {
        (void)fprintf(stderr, "undine %s: %s\n", opt->name, err.msg);
    }
    return args_exit_code(rc);
}
