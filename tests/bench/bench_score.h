/* bench_score.h: how long undine_score takes, alone and while versions are swapped under it.
 *
 * One thread asks, one request at once after the other, and every call is recorded.  Alone, a probe
 * of the machine (bench_probe.h), about as long as a call, runs before each round of calls and
 * after the last.  A round is quiet where neither the probe before it nor the one behind took a
 * tenth longer than the fastest tenth of probes, and no other thread got the core in it: how long a
 * call took plays no part in that. For
 * a swap a second thread stands for the publisher and for whoever calls undine_scorer_refresh:
 * every step_s another version is current, a full one after each `full_every` deltas, and the
 * scorer is refreshed.  Quiet and swapping take turns.  Where the process may use two cores, each
 * thread has one. */
#ifndef UNDINE_TESTS_BENCH_SCORE_H
#define UNDINE_TESTS_BENCH_SCORE_H

#include "tests/bench/bench_world.h"
#include "tests/bench/latency.h"

enum { BENCH_SCORE_PRECISIONS = 2 };

struct bench_score_timing {
    struct latency latency;
    struct latency cpu;   /* processor time */
    struct latency quiet; /* of the calls of quiet rounds */
    double cpu_us;        /* mean */
};

struct bench_score_result {
    struct bench_score_timing of[BENCH_SCORE_PRECISIONS];
    struct latency probe;   /* none where requests are counted */
    uint64_t preemptions;   /* by other threads, from the first probe to the last */
    uint64_t failed, bytes; /* bytes: model.safetensors and train.safetensors */
};

struct bench_score_amount {
    enum undine_precision precision[BENCH_SCORE_PRECISIONS]; /* request by request in turns */
    uint32_t n_precisions;
    double seconds;    /* after a warm-up of a quarter of it; at most a million rounds */
    uint64_t requests; /* above 0: so many rounds instead, without a warm-up and probes */
};

/* In a directory of its own under `parent`, or in `keep`, which stays. */
int bench_score_run(struct bench_score_result *out, const struct bench_world_options *opt,
                    const char *parent, const char *keep, const struct bench_score_amount *amount,
                    struct undine_err *err);

struct bench_swap_options {
    struct bench_world_options world;
    double step_s, round_s; /* between two swaps; of a quiet or swapping stretch */
    uint32_t full_every, delta_rows, rounds;
};

enum { BENCH_SWAP_ROUNDS_MAX = 64, BENCH_SWAP_SECONDS_MAX = 4096 };
struct bench_swap_second { /* of one kind of stretch; its last one may be shorter */
    double at_s;           /* its begin, from that of the first stretch on */
    bool swapping;
    uint32_t full, deltas; /* versions that became current in it */
    uint64_t n;
    int64_t p50_ns, p99_ns, max_ns;
};
struct bench_swap_result {
    struct latency quiet, swapping; /* of all rounds */
    struct latency full, delta;     /* undine_scorer_refresh by what came */
    double p99_ratio[BENCH_SWAP_ROUNDS_MAX];
    uint64_t failed, failed_swaps, bytes_full, bytes_delta;
    uint32_t n_seconds;
    struct bench_swap_second second[BENCH_SWAP_SECONDS_MAX];
};

int bench_swap_run(struct bench_swap_result *out, const struct bench_swap_options *opt,
                   const char *parent, struct undine_err *err);

#endif
