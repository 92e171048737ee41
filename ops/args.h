/* args.h: the flags that several subcommands share, read in one way.
 *
 * A command describes its flags in a table; args_parse fills the variables, prints what is wrong on
 * stderr, and prints the help on --help.  Only the main thread. */
#ifndef UNDINE_OPS_ARGS_H
#define UNDINE_OPS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes of the program. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_LOSS = 3,
    EXIT_STATE = 4,
    EXIT_GUARD = 5,
    EXIT_SKIPPED = 77
};

enum { ARGS_LIST_MAX = 256 };
struct args_list { /* a flag that may be given several times, or a positional rest */
    const char *item[ARGS_LIST_MAX];
    size_t n;
};

enum args_type { ARGS_FLAG, ARGS_STRING, ARGS_INT, ARGS_REAL, ARGS_TIME, ARGS_LIST };
struct args_option {
    const char *name;  /* "config": --config; NULL: only the letter */
    char letter;       /* 'o': -o as well; 0 = none */
    enum args_type type;
    void *out;         /* bool, const char *, int64_t, double, int64_t ms, struct args_list */
    const char *value; /* name of the value in the help, NULL for flags */
    const char *help;
};

/* Parse argv[1..]; words that are no flags go to rest, or are refused where rest is NULL.
 * Returns -1 to go on, or the exit code with which the command should end (help, usage error). */
int args_parse(int argc, char **argv, const char *summary, const struct args_option *options,
               size_t n_options, struct args_list *rest);

/* Milliseconds since the epoch from "1650812741436" or "2022-04-24T15:05:41Z" (UTC; seconds and "Z" may
 * be left out, and the time of day too). */
bool args_time_ms(int64_t *out, const char *text);

/* Exit code for an UNDINE_E* code. */
int args_exit_code(int rc);

#endif
