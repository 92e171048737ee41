/* cmd_bench.h: the parts of `undine bench`: one function for each benchmark, and what they share.
 */
#ifndef UNDINE_OPS_CMD_BENCH_H
#define UNDINE_OPS_CMD_BENCH_H

#include <jansson.h>
#include <stddef.h>

/* Exit codes.  argv[0] is the benchmark's name. */
int cmd_bench_learner(int argc, char **argv);
int cmd_bench_ingest(int argc, char **argv);
int cmd_bench_score(int argc, char **argv);
int cmd_bench_swap(int argc, char **argv);
int cmd_bench_end_to_end(int argc, char **argv);

/* "Intel(R) Xeon(R) Processor", or "unknown". */
void bench_cpu(char *out, size_t size);
/* Says what is wrong with an option; EXIT_USAGE. */
int bench_usage(const char *what, const char *value, const char *expected);
/* Index of a word among n, or -1. */
int bench_word(const char *word, const char *const *words, int n);
/* One JSON object on one line of standard output; takes the reference.  Exit code. */
int bench_print(json_t *o);

#endif
