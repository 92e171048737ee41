#include "base/nearest.h"
#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/program.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    const char *summary; /* NULL: for tests and demos, not in the help */
    int (*run)(int argc, char **argv);
};

/* In the order in which a user meets them. */
static const struct command COMMANDS[] = {
    {"run", "the daemon: learn from Kafka, publish versions", cmd_run},
    {"replay", "learn from files or a past stretch of Kafka, report in JSON", cmd_replay},
    {"serve", "score requests over HTTP with the published version", cmd_serve},
    {"score", "score requests in bulk with the published version", cmd_score},
    {"export", "a version as a graph and rows for onnxruntime", cmd_export},
    {"demo", "everything on this machine: broker, traffic, daemon, scorer", cmd_demo},
    {"inspect", "look into a store or a version, a live one too", cmd_inspect},
    {"rollback", "go back to an earlier version, and publish none until told", cmd_rollback},
    {"publish", "publish a version by hand; hold and resume publication", cmd_publish},
    {"diff", "what is different between two versions", cmd_diff},
    {"generate", "a synthetic stream whose best possible model is known", cmd_generate},
    {"import", "published data sets and CSV files become event lines", cmd_import},
    {"produce", "send event lines to Kafka, each user's to one partition", cmd_produce},
    {"config", "check or print a configuration, print the reference of every key", cmd_config},
    {"bench", "measure how fast this machine learns", cmd_bench},
    {"mock-broker", NULL, cmd_mock_broker},
    {NULL, NULL, NULL},
};

static void print_help(FILE *out)
{
    (void)fprintf(out,
                  "undine %s: online Deep Interest Network training behind event streams\n\n"
                  "usage: undine COMMAND [OPTION...]\n\n",
                  program_version());
    for (const struct command *c = COMMANDS; c->name != NULL; c++) {
        if (c->summary != NULL) {
            (void)fprintf(out, "  %-12s %s\n", c->name, c->summary);
        }
    }
    (void)fprintf(
        out, "\n  undine help COMMAND   options of a command\n"
             "  undine --version\n\n"
             "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 data loss at the source,\n"
             "4 state does not fit the configuration, 5 stopped by a guard.\n");
}

static const struct command *find_command(const char *name)
{
    for (const struct command *c = COMMANDS; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    struct nearest n = nearest_of(name);
    for (const struct command *c = COMMANDS; c->name != NULL; c++) {
        nearest_offer(&n, c->name);
    }
    (void)fprintf(stderr, "undine: no command `%s`", name);
    if (n.name != NULL) {
        (void)fprintf(stderr, "; did you mean `%s`?\n", n.name);
    } else {
        (void)fprintf(stderr, "; `undine --help` lists them\n");
    }
    return EXIT_USAGE;
}

static int help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return EXIT_DONE;
    }
    const struct command *c = find_command(argv[1]);
    if (c == NULL) {
        return unknown_command(argv[1]);
    }
    char flag[] = "--help";
    char *asked[] = {argv[1], flag, NULL};
    return c->run(2, asked);
}

int main(int argc, char **argv)
{
    program_choose_kernels(argv);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        return help(argc - 1, argv + 1);
    }
    if (strcmp(name, "--version") == 0) {
        (void)printf("undine %s\n", program_version());
        return EXIT_DONE;
    }
    const struct command *c = find_command(name);
    return c != NULL ? c->run(argc - 1, argv + 1) : unknown_command(name);
}
