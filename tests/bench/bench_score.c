#include "tests/bench/bench_score.h"

#include "base/clock.h"
#include "tests/bench/bench_asker.h"
#include "tests/bench/bench_probe.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { ROUNDS_MAX = 1 << 20, QUIET_PERCENT = 110 };
#define UNDISTURBED 0.1 /* the quantile that stands for what a thing takes by itself */

struct round {         /* a probe, then each precision the same request */
    int64_t preempted; /* before it: how often another thread got the core */
    int64_t probe_ns, ns[BENCH_SCORE_PRECISIONS], cpu_ns[BENCH_SCORE_PRECISIONS];
};

struct measurement {
    struct bench_asker asker[BENCH_SCORE_PRECISIONS];
    uint32_t n_precisions;
    struct bench_probe probe;
    struct round *round; /* (n_max + 1): behind the last one a probe */
    uint64_t n, n_max, failed;
};

static int64_t processor_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t preemptions(void)
{
    struct rusage use;
    return getrusage(RUSAGE_THREAD, &use) == 0 ? use.ru_nivcsw : 0;
}

/* A request in turns of all precisions: what the machine does meanwhile, it does to all of them. */
static void ask(struct measurement *m, struct round *out)
{
    for (uint32_t p = 0; p < m->n_precisions; p++) {
        int64_t start = processor_ns();
        m->failed += bench_asker_ask_one(&m->asker[p], &out->ns[p]);
        out->cpu_ns[p] = processor_ns() - start;
    }
}

static int by_first(const void *a, const void *b)
{
    const struct round *x = a, *y = b;
    return (x->ns[0] > y->ns[0]) - (x->ns[0] < y->ns[0]);
}

/* Warms all up, and has a probe take as long as a call of the first precision. */
static void warm_up(struct measurement *m, double seconds)
{
    uint64_t n = 0;
    int64_t end = clock_monotonic_ns() + (int64_t)(seconds * 1e9);
    while (clock_monotonic_ns() < end && n < m->n_max) {
        ask(m, &m->round[n++]);
    }
    qsort(m->round, n, sizeof *m->round, by_first);
    bench_probe_fit(&m->probe, n > 0 ? m->round[(uint64_t)(UNDISTURBED * (double)n)].ns[0] : 0);
}

static void probe(struct measurement *m, struct round *out)
{
    out->preempted = preemptions();
    out->probe_ns = bench_probe_run(&m->probe);
}

static void ask_for(struct measurement *m, double seconds)
{
    int64_t end = clock_monotonic_ns() + (int64_t)(seconds * 1e9);
    while (clock_monotonic_ns() < end && m->n < m->n_max) {
        probe(m, &m->round[m->n]);
        ask(m, &m->round[m->n++]);
    }
    probe(m, &m->round[m->n]);
}

static bool is_quiet(const struct round *r, int64_t most_ns)
{
    return r->probe_ns <= most_ns && r[1].probe_ns <= most_ns && r->preempted == r[1].preempted;
}

static void record(struct bench_score_result *out, const struct measurement *m, bool probed)
{
    for (uint64_t i = 0; probed && i <= m->n; i++) {
        latency_record(&out->probe, m->round[i].probe_ns);
    }
    int64_t most = latency_quantile_ns(&out->probe, UNDISTURBED) * QUIET_PERCENT / 100;
    for (uint64_t i = 0; i < m->n; i++) {
        const struct round *r = &m->round[i];
        bool quiet = probed && is_quiet(r, most);
        for (uint32_t p = 0; p < m->n_precisions; p++) {
            struct bench_score_timing *to = &out->of[p];
            latency_record(&to->latency, r->ns[p]);
            latency_record(&to->cpu, r->cpu_ns[p]);
            to->cpu_us += 1e-3 * (double)r->cpu_ns[p] / (double)m->n;
            if (quiet) {
                latency_record(&to->quiet, r->ns[p]);
            }
        }
    }
    out->preemptions = (uint64_t)(m->round[m->n].preempted - m->round[0].preempted);
    out->failed = m->failed;
}

static void measure(struct bench_score_result *out, struct measurement *m,
                    const struct bench_score_amount *amount)
{
    if (amount->requests > 0) {
        while (m->n < m->n_max) {
            ask(m, &m->round[m->n++]);
        }
    } else {
        warm_up(m, amount->seconds / 4.0);
        ask_for(m, amount->seconds);
    }
    record(out, m, amount->requests == 0);
}

static int open_and_measure(struct bench_score_result *out, const struct bench_world *w,
                            const char *dir, const struct bench_score_amount *amount,
                            struct undine_err *err)
{
    struct measurement m = {.n_precisions = amount->n_precisions,
                            .n_max = amount->requests > 0 ? amount->requests : ROUNDS_MAX};
    UNDINE_ASSERT(m.n_precisions >= 1 && m.n_precisions <= BENCH_SCORE_PRECISIONS);
    int rc = bench_probe_open(&m.probe, err);
    if (rc == UNDINE_OK && (m.round = calloc(m.n_max + 1, sizeof *m.round)) == NULL) {
        rc = undine_err_set(err, UNDINE_ENOMEM, "no memory for the times of requests");
    }
    for (uint32_t p = 0; rc == UNDINE_OK && p < m.n_precisions; p++) {
        rc = bench_asker_open(&m.asker[p], w, dir, amount->precision[p], err);
    }
    if (rc == UNDINE_OK) {
        measure(out, &m, amount);
    }
    for (uint32_t p = 0; p < m.n_precisions; p++) {
        bench_asker_close(&m.asker[p]);
    }
    bench_probe_close(&m.probe);
    free(m.round);
    return rc;
}

int bench_score_run(struct bench_score_result *out, const struct bench_world_options *opt,
                    const char *parent, const char *keep, const struct bench_score_amount *amount,
                    struct undine_err *err)
{
    struct bench_world w;
    struct version_info info = {0};
    char dir[VERSION_PATH_MAX];
    *out = (struct bench_score_result){0};
    int rc = bench_world_open(&w, opt, err);
    if (rc < 0) {
        return rc;
    }
    rc = bench_world_dir(dir, keep != NULL ? keep : parent, keep != NULL, err);
    if (rc == UNDINE_OK && (rc = bench_world_full(&w, dir, 1, &info, err)) == UNDINE_OK) {
        rc = open_and_measure(out, &w, dir, amount, err);
    }
    out->bytes = info.bytes;
    bench_world_release(&w);
    if (keep == NULL) {
        bench_world_remove(dir);
    }
    return rc;
}
