#include "tests/bench/bench_asker.h"

#include "base/clock.h"

#include <stdlib.h>

int bench_asker_open(struct bench_asker *a, const struct bench_world *w, const char *dir,
                     enum undine_precision precision, struct undine_err *err)
{
    struct undine_error why = {0};
    *a = (struct bench_asker){.world = w};
    a->prob = calloc(w->opt.candidates, sizeof *a->prob);
    if (a->prob == NULL) {
        return undine_err_set(err, UNDINE_ENOMEM, "no memory for scores");
    }
    if (undine_scorer_open_with(&a->scorer, dir, precision, &why) < 0 ||
        undine_session_open(&a->session, a->scorer, &why) < 0) {
        bench_asker_close(a);
        return undine_err_set(err, why.code, "%s", why.message);
    }
    return UNDINE_OK;
}

void bench_asker_close(struct bench_asker *a)
{
    undine_session_close(a->session);
    undine_scorer_close(a->scorer);
    free(a->prob);
}

bool bench_asker_ask_one(struct bench_asker *a, int64_t *ns)
{
    uint32_t n = a->world->opt.candidates;
    const struct undine_request *r = &a->world->request[a->at];
    a->at = (a->at + 1) % BENCH_WORLD_REQUESTS;
    int64_t start = clock_monotonic_ns();
    int rc = undine_score(a->session, r, a->prob, NULL);
    *ns = clock_monotonic_ns() - start;
    return rc < 0 || !(a->prob[0] > 0.0f && a->prob[n - 1] < 1.0f);
}

static bool ask_and_record(struct bench_asker *a, struct latency *l)
{
    int64_t ns = 0;
    bool failed = bench_asker_ask_one(a, &ns);
    latency_record(l, ns);
    return failed;
}

uint64_t bench_asker_ask(struct bench_asker *a, struct latency *l, double seconds)
{
    uint64_t failed = 0;
    int64_t end = clock_monotonic_ns() + (int64_t)(seconds * 1e9);
    while (clock_monotonic_ns() < end) {
        failed += ask_and_record(a, l);
    }
    return failed;
}
