#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/log.h"
#include "ops/precision.h"
#include "ops/serve.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { THREADS_MAX = 256, SECONDS_MAX = 86400 };

static int wait_for_signal(void)
{
    sigset_t set;
    int sig = 0;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigwait(&set, &sig);
    /* A second one leaves at once. */
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return sig;
}

/* Before any thread, so that all of them inherit it. */
static void block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int serve(const struct serve_options *opt, int64_t drain_ms)
{
    struct serve *s = NULL;
    struct undine_err err = {0};
    block_signals();
    int rc = serve_open(&s, opt, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "undine serve: %s\n", err.msg);
        return args_exit_code(rc);
    }
    log_info("serve", log_msg("listening"), log_int("port", serve_port(s)),
             log_str("versions", opt->versions_dir), log_int("threads", opt->http.threads));
    (void)wait_for_signal();
    log_info("serve", log_msg("draining: what has been begun is answered"));
    serve_drain(s, drain_ms);
    serve_close(s);
    log_close();
    return EXIT_DONE;
}

static const char *check(const struct serve_options *o, int64_t threads, int64_t body_max,
                         int64_t connections, int64_t drain_s)
{
    if (o->versions_dir == NULL) {
        return "--versions is required";
    }
    if (threads < 1 || threads > THREADS_MAX) {
        return "--threads must be 1 to 256";
    }
    if (body_max < 1024 || body_max > 64 << 20) {
        return "--body-max must be 1024 to 67108864 bytes";
    }
    if (connections < threads || connections > 100000) {
        return "--connections must be --threads to 100000";
    }
    if ((o->http.tls_cert == NULL) != (o->http.tls_key == NULL)) {
        return "--tls-cert and --tls-key go together";
    }
    if (o->refresh_ms < 1 || o->refresh_ms > 3600000) {
        return "--refresh-ms must be 1 to 3600000";
    }
    return drain_s < 0 || drain_s > SECONDS_MAX ? "--drain must be 0 to 86400 seconds" : NULL;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_options o = {.refresh_ms = 100, .http = HTTP_OPTIONS_DEFAULT};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t threads = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : cores;
    int64_t body_max = (int64_t)o.http.body_max, connections = o.http.connections_max, drain_s = 10;
    const char *precision = "f32";
    struct undine_err err = {0};
    o.http.listen = "127.0.0.1:9188";
    const struct args_option options[] = {
        {"versions", 'v', ARGS_STRING, &o.versions_dir, "DIR",
         "where versions are published (required)"},
        {"listen", 'l', ARGS_STRING, &o.http.listen, "ADDR",
         "HOST:PORT, [IPV6]:PORT or :PORT (loopback); default 127.0.0.1:9188"},
        {"threads", 't', ARGS_INT, &threads, "N",
         "that answer, and requests scored at once; default one for each core"},
        {"connections", 0, ARGS_INT, &connections, "N",
         "open at once, others wait to be accepted; default 256"},
        {"body-max", 0, ARGS_INT, &body_max, "BYTES",
         "largest body of a request, all together 64 times as much; default 1048576"},
        {"refresh-ms", 0, ARGS_INT, &o.refresh_ms, "MS",
         "time between two looks for a newer version; default 100"},
        {"precision", 0, ARGS_STRING, &precision, "NAME",
         "f32, or int16: half the time, where the processor has AVX-512 VNNI; default f32"},
        {"drain", 0, ARGS_INT, &drain_s, "SECONDS",
         "at SIGTERM, for requests that have been begun; default 10"},
        {"tls-cert", 0, ARGS_STRING, &o.http.tls_cert, "FILE", "PEM: certificate and its chain"},
        {"tls-key", 0, ARGS_STRING, &o.http.tls_key, "FILE", "PEM: the certificate's key"},
    };
    int code = args_parse(argc, argv, "serve --versions DIR [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    const char *wrong = check(&o, threads, body_max, connections, drain_s);
    if (wrong != NULL) {
        (void)fprintf(stderr, "undine serve: %s\n", wrong);
        return EXIT_USAGE;
    }
    if (precision_parse(&o.precision, precision, &err) < 0) {
        (void)fprintf(stderr, "undine serve: %s\n", err.msg);
        return EXIT_USAGE;
    }
    o.http.threads = (uint32_t)threads;
    o.http.connections_max = (uint32_t)connections;
    o.http.body_max = (size_t)body_max;
    o.http.bodies_max = 64 * (size_t)body_max;
    return serve(&o, drain_s * 1000);
}
