/* bench_end_to_end.h: the whole daemon on a file: how much it takes, and which thread holds it
 * back.
 *
 * Users begin with as many views as a sequence is long; then impressions and their clicks come.
 * Measured is from the moment when a tenth of those is read until ingest has read all.  Ingest may
 * be 16 mini-batches (at least 1,000 examples) ahead of the learner, no more, so both run at the
 * pace of the slower one, and the processor time of a thread by wall time says how far each is from
 * its own limit. */
#ifndef UNDINE_TESTS_BENCH_END_TO_END_H
#define UNDINE_TESTS_BENCH_END_TO_END_H

#include "tests/bench/bench_stream.h"

struct bench_end_options {
    struct bench_stream stream; /* views 0: of the sequences' length */
    double negative_rate;       /* share of negatives that are learned */
    uint32_t batch;
    const char *dir; /* where the file and the state are made */
};

enum { BENCH_END_INGEST, BENCH_END_LEARNER, BENCH_END_PUBLISHER, BENCH_END_THREADS };
extern const char *const bench_end_names[BENCH_END_THREADS]; /* "ingest", ... */

struct bench_end_result {
    double seconds; /* measured */
    double events_per_second, examples_per_second;
    double busy[BENCH_END_THREADS]; /* processor time by wall time */
    double cores;                   /* the same of all threads of the process together */
    int bottleneck;                 /* the busiest */
    uint64_t events, examples;      /* measured */
    uint64_t versions;              /* published by the whole run */
};

/* UNDINE_EINVAL where the stream was too short to be measured. */
int bench_end_run(struct bench_end_result *out, const struct bench_end_options *opt,
                  struct undine_err *err);

#endif
