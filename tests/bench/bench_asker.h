/* bench_asker.h: a thread that has requests scored, one after the other. */
#ifndef UNDINE_TESTS_BENCH_ASKER_H
#define UNDINE_TESTS_BENCH_ASKER_H

#include "tests/bench/bench_world.h"
#include "tests/bench/latency.h"

struct bench_asker {
    const struct bench_world *world;
    struct undine_scorer *scorer;
    struct undine_session *session;
    float *prob;
    uint32_t at; /* request */
};

/* A scorer of DIR with one session. */
int bench_asker_open(struct bench_asker *a, const struct bench_world *w, const char *dir,
                     enum undine_precision precision, struct undine_err *err);
void bench_asker_close(struct bench_asker *a);
/* For so long; returns the calls that failed, or gave what is no probability. */
uint64_t bench_asker_ask(struct bench_asker *a, struct latency *l, double seconds);
/* One call, and how long it took; returns whether it failed. */
bool bench_asker_ask_one(struct bench_asker *a, int64_t *ns);

#endif
