/* batch_dump.h: mini-batches that the learner refused, kept for people to look at.
 *
 * STATE/dumps/<first example_seq, 12 digits>.jsonl: a line about the batch (why, from, to), then a
 * line an example: its number, label, sampling rate, prediction (null where it is not finite), and
 * its ids as the model saw them, by field and by sequence.  The newest DUMPS_KEPT stay.  A dump that
 * cannot be written costs nothing else.  Learner thread. */
#ifndef UNDINE_OPS_BATCH_DUMP_H
#define UNDINE_OPS_BATCH_DUMP_H

#include "learner/trainer.h"

#include <stdio.h>

enum { BATCH_DUMPS_KEPT = 10 };

/* Write the batch that t is at; dir is made where it is missing. */
int batch_dump_write(const char *dir, const struct trainer *t, const char *why,
                     struct undine_err *err);
/* Print the newest dump, or that of a batch that begins at seq (-1 = newest).  UNDINE_ENOTFOUND. */
int batch_dump_print(const char *dir, long long seq, FILE *out, struct undine_err *err);

#endif
