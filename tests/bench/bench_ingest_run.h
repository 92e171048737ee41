/* bench_ingest_run.h: how many events a second go from a file or a broker through the commit.
 *
 * The stream (bench_stream.h) lies in a file, so in the page cache, or in new topics of a broker
 * before the clock starts.  Timed is all that the ingest thread does with it: read, decode, order,
 * join, write sequences, arrivals and examples in one batch a commit, WAL sync every so often.
 * Where users
 * begin with views, the clock starts behind as many events as those are in all. Examples are taken
 * as learned at once, so that the log is trimmed as in a daemon whose learner keeps up.  Who wants
 * one core has the process pinned to it from outside: librdkafka and RocksDB have threads of their
 * own. */
#ifndef UNDINE_TESTS_BENCH_INGEST_RUN_H
#define UNDINE_TESTS_BENCH_INGEST_RUN_H

#include "tests/bench/bench_stream.h"

struct bench_ingest_options {
    struct bench_stream stream;
    const char *brokers;  /* NULL: from a file */
    uint32_t partitions;  /* of each of the two topics */
    const char *dir;      /* where the file and the store are made */
    uint32_t runs;        /* 1..BENCH_INGEST_RUNS_MAX */
    int sync_ms;          /* WAL sync at least this often; 0 = each commit */
    uint64_t cache_bytes; /* of users in memory */
    int64_t window_ms;    /* attribution window, of event time */
};

enum { BENCH_INGEST_RUNS_MAX = 100 };

struct bench_ingest_result {
    double events_per_second; /* wall time, median of the runs */
    double events_per_second_min, events_per_second_max;
    double events_per_cpu_second;     /* processor time of the ingest thread, median */
    double events_per_process_second; /* processor time of all threads, median */
    uint64_t events, bytes, examples; /* bytes: of the stream */
    uint64_t clicks;
    uint64_t gaps, recovered; /* of a broker's offsets; records that it gave when asked again: of
                                 all runs */
    uint64_t measured;        /* events: those behind views x users of them */
    uint64_t pending_max;     /* impressions that waited at once, at the end of a commit */
    uint64_t users_bytes, misses, loads; /* of the users' cache; loads: misses that the store had */
};

/* UNDINE_EIO where a run has read another number of events than there are. */
int bench_ingest_run(struct bench_ingest_result *out, const struct bench_ingest_options *opt,
                     struct undine_err *err);

#endif
