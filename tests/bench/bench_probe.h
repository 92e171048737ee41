/* bench_probe.h: how steady the machine itself is: a piece of arithmetic with nothing of undine in
 * it, run in turns with what is measured.
 *
 * It multiplies and adds over 256 kB, as large as what a request touches: neither fits the first
 * cache, both fit the second.  Its work is always the same, so what it takes longer at times, the
 * machine took: another process on the core, an interrupt, the host's other thread of the same
 * core, which a guest does not see in its accounts of processor time.  One thread. */
#ifndef UNDINE_TESTS_BENCH_PROBE_H
#define UNDINE_TESTS_BENCH_PROBE_H

#include "base/err.h"

#include <stdint.h>

struct bench_probe {
    float *memory;
    uint32_t passes; /* over memory, of one run */
    float result;
};

/* UNDINE_ENOMEM. */
int bench_probe_open(struct bench_probe *p, struct undine_err *err);
void bench_probe_close(struct bench_probe *p); /* fine on a zeroed one */
/* From now on a run takes about so long, while nothing disturbs it. */
void bench_probe_fit(struct bench_probe *p, int64_t ns);
/* How long one took, in ns. */
int64_t bench_probe_run(struct bench_probe *p);

#endif
