#include "base/clock.h"
#include "tests/bench/bench_asker.h"
#include "tests/bench/bench_score.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CYCLE_MAX = 512 };

struct swap {
    const struct bench_swap_options *opt;
    struct bench_swap_result *out;
    struct bench_asker asker;
    char dir[VERSION_PATH_MAX];
    struct version_info cycle[CYCLE_MAX]; /* full, its deltas, another full one, its deltas */
    uint32_t n, at;
    atomic_bool swapping, stop;
    atomic_uint full, deltas; /* swaps begun */
    int64_t begin_ns;         /* of the first stretch */
};

/* A full version and what changes it. */
static int make_chain(struct swap *s, const struct bench_world *w, struct undine_err *err)
{
    struct version_chain *chain = NULL;
    struct version_info *info = &s->cycle[s->n];
    int rc = bench_world_full(w, s->dir, s->n + 1, info, err);
    if (rc == UNDINE_OK) {
        rc = version_chain_open(&chain, s->dir, info->name, NULL, false, err);
        s->n++;
    }
    for (uint32_t i = 0; rc == UNDINE_OK && i < s->opt->full_every; i++) {
        struct version_chain *next = NULL;
        info = &s->cycle[s->n];
        rc = bench_world_delta(w, s->dir, chain, s->n + 1, s->opt->delta_rows, info, err);
        if (rc == UNDINE_OK) {
            rc = version_chain_open(&next, s->dir, info->name, chain, false, err);
        }
        if (rc == UNDINE_OK) {
            version_chain_close(chain);
            chain = next;
            s->n++;
        }
    }
    version_chain_close(chain);
    return rc;
}

/* Thread `nth` of two to a core of its own, where there are two. */
static void take_core(unsigned nth)
{
    cpu_set_t may, one;
    if (sched_getaffinity(0, sizeof may, &may) != 0 || CPU_COUNT(&may) < 2) {
        return;
    }
    CPU_ZERO(&one);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &may) && nth-- == 0) {
            CPU_SET(cpu, &one);
            (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        }
    }
}

static void sleep_until(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

static void swap_once(struct swap *s)
{
    s->at = (s->at + 1) % s->n;
    const struct version_info *info = &s->cycle[s->at];
    struct undine_err err;
    if (bench_world_publish(s->dir, info->name, &err) < 0) {
        s->out->failed_swaps++;
        return;
    }
    (void)atomic_fetch_add(info->is_delta ? &s->deltas : &s->full, 1);
    int64_t start = clock_monotonic_ns();
    bool swapped = undine_scorer_refresh(s->asker.scorer, NULL) == 1 &&
                   undine_scorer_version(s->asker.scorer) == info->number;
    latency_record(info->is_delta ? &s->out->delta : &s->out->full, clock_monotonic_ns() - start);
    s->out->failed_swaps += !swapped;
}

static void *swap_for_ever(void *payload)
{
    struct swap *s = payload;
    int64_t step_ns = (int64_t)(s->opt->step_s * 1e9), next = clock_monotonic_ns();
    take_core(1);
    while (!atomic_load(&s->stop)) {
        next += step_ns;
        sleep_until(next);
        if (atomic_load(&s->swapping)) {
            swap_once(s);
        }
        next = clock_monotonic_ns() > next + step_ns ? clock_monotonic_ns() : next;
    }
    return NULL;
}

/* Adds a second, or what is left of a stretch, to the stretch and to the series. */
static void ask_second(struct swap *s, struct latency *stretch, double seconds)
{
    static struct latency l; /* large */
    struct bench_swap_second *to = &s->out->second[s->out->n_seconds++];
    uint32_t full = atomic_load(&s->full), deltas = atomic_load(&s->deltas);
    memset(&l, 0, sizeof l);
    to->at_s = 1e-9 * (double)(clock_monotonic_ns() - s->begin_ns);
    to->swapping = atomic_load(&s->swapping);
    s->out->failed += bench_asker_ask(&s->asker, &l, seconds);
    to->full = atomic_load(&s->full) - full;
    to->deltas = atomic_load(&s->deltas) - deltas;
    to->n = l.n;
    to->p50_ns = latency_quantile_ns(&l, 0.5);
    to->p99_ns = latency_quantile_ns(&l, 0.99);
    to->max_ns = l.max_ns;
    latency_add(stretch, &l);
}

static uint32_t seconds_of(double stretch_s)
{
    return (uint32_t)ceil(stretch_s);
}

static void ask_stretch(struct swap *s, struct latency *out, bool swapping)
{
    memset(out, 0, sizeof *out);
    atomic_store(&s->swapping, swapping);
    for (uint32_t i = 0; i < seconds_of(s->opt->round_s); i++) {
        double left = s->opt->round_s - i;
        ask_second(s, out, left < 1.0 ? left : 1.0);
    }
    atomic_store(&s->swapping, false);
}

static void ask_in_turns(struct swap *s)
{
    struct latency warm = {0};
    s->out->failed = bench_asker_ask(&s->asker, &warm, 1.0);
    s->begin_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < s->opt->rounds; i++) {
        static struct latency quiet, swapping; /* large */
        ask_stretch(s, &quiet, false);
        ask_stretch(s, &swapping, true);
        s->out->p99_ratio[i] = (double)latency_quantile_ns(&swapping, 0.99) /
                               (double)latency_quantile_ns(&quiet, 0.99);
        latency_add(&s->out->quiet, &quiet);
        latency_add(&s->out->swapping, &swapping);
    }
}

static int run(struct swap *s, const struct bench_world *w, struct undine_err *err)
{
    pthread_t thread;
    int rc = make_chain(s, w, err);
    s->out->bytes_full = s->cycle[0].bytes;
    s->out->bytes_delta = s->opt->full_every > 0 ? s->cycle[1].bytes : 0;
    if (rc == UNDINE_OK) {
        rc = make_chain(s, w, err);
    }
    if (rc == UNDINE_OK) {
        rc = bench_world_publish(s->dir, s->cycle[0].name, err);
    }
    if (rc == UNDINE_OK) {
        rc = bench_asker_open(&s->asker, w, s->dir, UNDINE_PRECISION_F32, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (pthread_create(&thread, NULL, swap_for_ever, s) != 0) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "no thread for the swaps");
    } else {
        take_core(0);
        ask_in_turns(s);
        atomic_store(&s->stop, true);
        (void)pthread_join(thread, NULL);
    }
    bench_asker_close(&s->asker);
    return rc;
}

int bench_swap_run(struct bench_swap_result *out, const struct bench_swap_options *opt,
                   const char *parent, struct undine_err *err)
{
    struct bench_world w;
    *out = (struct bench_swap_result){0};
    if (opt->rounds < 1 || opt->rounds > BENCH_SWAP_ROUNDS_MAX ||
        opt->full_every >= CYCLE_MAX / 2 || !(opt->step_s > 0.0) || !(opt->round_s > 0.0)) {
        return undine_err_set(err, UNDINE_EINVAL,
                              "rounds are %u and deltas %u, expected 1..%d and 0..%d, and times "
                              "above 0",
                              opt->rounds, opt->full_every, BENCH_SWAP_ROUNDS_MAX,
                              CYCLE_MAX / 2 - 1);
    }
    if (opt->round_s * 2.0 * opt->rounds > BENCH_SWAP_SECONDS_MAX / 2) {
        return undine_err_set(err, UNDINE_EINVAL, "all stretches last longer than %d seconds",
                              BENCH_SWAP_SECONDS_MAX / 2);
    }
    struct swap *s = calloc(1, sizeof *s);
    int rc = bench_world_open(&w, &opt->world, err);
    if (s == NULL || rc < 0) {
        free(s);
        return rc < 0 ? rc : undine_err_set(err, UNDINE_ENOMEM, "no memory for a benchmark");
    }
    s->opt = opt;
    s->out = out;
    rc = bench_world_dir(s->dir, parent, false, err);
    if (rc == UNDINE_OK) {
        rc = run(s, &w, err);
        bench_world_remove(s->dir);
    }
    bench_world_release(&w);
    free(s);
    return rc;
}
