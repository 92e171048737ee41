/* swapping_scorer.c: a scorer as users build one, with one question asked without end: one thread
 * answers, another swaps versions as they appear.
 *
 *   swapping_scorer VERSIONS REQUEST_FILE
 *
 * Every line of standard input is answered with what happened so far, as JSON; the end of input
 * ends it.  Exit code 1 where a request failed, or one version gave two answers. */
#include "base/clock.h"
#include "ops/score_json.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CANDIDATES_MAX = 256, REFRESH_MS = 20, PAUSE_MS = 2 };

struct scoring {
    struct undine_scorer *scorer;
    struct undine_session *session;
    struct score_json json;
    float first[CANDIDATES_MAX], now[CANDIDATES_MAX]; /* first: of the version in use */
    uint64_t version;
    atomic_bool stop;
    atomic_uint_fast64_t requests, versions, swaps, failed, unequal, not_swapped, slowest_us;
};

static void nap(int ms)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

static void ask(struct scoring *s)
{
    struct undine_error err = {0};
    int64_t begun_ns = clock_monotonic_ns();
    int rc = undine_score(s->session, &s->json.request, s->now, &err);
    uint64_t took_us = (uint64_t)(clock_monotonic_ns() - begun_ns) / 1000;
    atomic_fetch_add(&s->requests, 1);
    if (took_us > atomic_load(&s->slowest_us)) {
        atomic_store(&s->slowest_us, took_us);
    }
    if (rc < 0) {
        (void)fprintf(stderr, "swapping_scorer: %s\n", err.message);
        atomic_fetch_add(&s->failed, 1);
        return;
    }
    size_t bytes = s->json.request.n_candidates * sizeof *s->now;
    uint64_t version = undine_session_version(s->session);
    if (version == s->version) {
        atomic_fetch_add(&s->unequal, memcmp(s->first, s->now, bytes) != 0);
    } else {
        memcpy(s->first, s->now, bytes);
        s->version = version;
        atomic_fetch_add(&s->versions, 1);
    }
}

static void *score_main(void *payload)
{
    struct scoring *s = payload;
    while (!atomic_load(&s->stop)) {
        ask(s);
        nap(PAUSE_MS);
    }
    return NULL;
}

static void *refresh_main(void *payload)
{
    struct scoring *s = payload;
    while (!atomic_load(&s->stop)) {
        struct undine_error err = {0};
        int rc = undine_scorer_refresh(s->scorer, &err);
        if (rc < 0) {
            (void)fprintf(stderr, "swapping_scorer: not swapped: %s\n", err.message);
        }
        atomic_fetch_add(&s->swaps, rc > 0);
        atomic_fetch_add(&s->not_swapped, rc < 0);
        nap(REFRESH_MS);
    }
    return NULL;
}

static void tell(struct scoring *s)
{
    (void)printf("{\"requests\":%" PRIu64 ",\"versions\":%" PRIu64 ",\"swaps\":%" PRIu64
                 ",\"failed\":%" PRIu64 ",\"unequal\":%" PRIu64 ",\"not_swapped\":%" PRIu64
                 ",\"slowest_us\":%" PRIu64 "}\n",
                 (uint64_t)atomic_load(&s->requests), (uint64_t)atomic_load(&s->versions),
                 (uint64_t)atomic_load(&s->swaps), (uint64_t)atomic_load(&s->failed),
                 (uint64_t)atomic_load(&s->unequal), (uint64_t)atomic_load(&s->not_swapped),
                 (uint64_t)atomic_load(&s->slowest_us));
    (void)fflush(stdout);
}

static int read_request(struct score_json *json, const char *path)
{
    static char text[1 << 16];
    struct undine_err err = {0};
    FILE *in = fopen(path, "r");
    size_t len = in != NULL ? fread(text, 1, sizeof text, in) : 0;
    if (in != NULL) {
        (void)fclose(in);
    }
    int rc = score_json_parse(json, text, len, &err);
    if (rc < 0 || json->request.n_candidates > CANDIDATES_MAX) {
        (void)fprintf(stderr, "swapping_scorer: %s: %s\n", path, err.msg);
        return -1;
    }
    return 0;
}

static int serve(struct scoring *s)
{
    struct undine_error err = {0};
    pthread_t scorer, refresher;
    char line[16];
    if (undine_session_open(&s->session, s->scorer, &err) < 0 ||
        pthread_create(&scorer, NULL, score_main, s) != 0 ||
        pthread_create(&refresher, NULL, refresh_main, s) != 0) {
        (void)fprintf(stderr, "swapping_scorer: cannot start: %s\n", err.message);
        return 1;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        tell(s);
    }
    atomic_store(&s->stop, true);
    (void)pthread_join(scorer, NULL);
    (void)pthread_join(refresher, NULL);
    tell(s);
    undine_session_close(s->session);
    return atomic_load(&s->failed) + atomic_load(&s->unequal) > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct scoring s;
    struct undine_error err = {0};
    if (argc != 3) {
        (void)fprintf(stderr, "swapping_scorer VERSIONS REQUEST_FILE\n");
        return 2;
    }
    score_json_init(&s.json);
    int code = read_request(&s.json, argv[2]) < 0 ? 1 : 0;
    if (code == 0 && undine_scorer_open(&s.scorer, argv[1], &err) < 0) {
        (void)fprintf(stderr, "swapping_scorer: %s\n", err.message);
        code = 1;
    }
    code = code == 0 ? serve(&s) : code;
    undine_scorer_close(s.scorer);
    score_json_release(&s.json);
    return code;
}
