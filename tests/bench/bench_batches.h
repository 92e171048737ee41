/* bench_batches.h: the mini-batches of a shape as a file, for other programs to train on.
 *
 * One line of JSON, then, little-endian and without gaps, for each batch in turn:
 *   u8  label[batch]
 *   u32 steps[batch]              length of the history, oldest step first
 *   u64 id[batch][fields]         fields in the order of the header
 *   u64 step_id[sum of steps][step_fields]
 * The header has shape, batch, batches, fields, step_fields (the first of `fields`, whose tables
 * they share), and for each field the width of its embedding and how many ids it could have. */
#ifndef UNDINE_TESTS_BENCH_BATCHES_H
#define UNDINE_TESTS_BENCH_BATCHES_H

#include "tests/bench/bench_shape.h"

/* The same batches that bench_learner_run goes round.  UNDINE_EIO with the path at fault. */
int bench_batches_write(const struct bench_shape *shape, const char *path, struct undine_err *err);

#endif
