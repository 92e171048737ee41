/* bench_ingest_file.h: how many events a second go from a file through the commit, on one core.
 *
 * The stream of `undine generate` lies in a file (written before the clock starts, so it is in the
 * page cache).  Timed is all that the ingest thread does with it: read lines, decode, order, join,
 * write sequences, arrivals and examples in one batch a commit, WAL sync every 100 ms.  Examples
 * are taken as learned at once, so that the log is trimmed as in a daemon whose learner keeps up.
 */
#ifndef UNDINE_TESTS_BENCH_INGEST_FILE_H
#define UNDINE_TESTS_BENCH_INGEST_FILE_H

#include "base/err.h"

#include <stdint.h>

struct bench_ingest_options {
    uint64_t events;
    uint32_t users;
    const char *dir; /* where the file and the store are made */
    uint32_t runs;   /* 1..BENCH_INGEST_RUNS_MAX */
    int sync_ms;     /* WAL sync at least this often; 0 = each commit */
};

enum { BENCH_INGEST_RUNS_MAX = 100 };

struct bench_ingest_result {
    double events_per_second; /* wall time, median of the runs */
    double events_per_second_min, events_per_second_max;
    double events_per_cpu_second; /* processor time of the ingest thread, median */
    uint64_t events, bytes, examples;
};

int bench_ingest_run(struct bench_ingest_result *out, const struct bench_ingest_options *opt,
                     struct undine_err *err);

#endif
