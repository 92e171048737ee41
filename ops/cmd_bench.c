#include "ops/cmd_bench.h"

#include "learner/model/json_text.h"
#include "ops/args.h"
#include "ops/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_cpu(char *out, size_t size)
{
    (void)snprintf(out, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[512];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", strlen("model name")) == 0 && colon != NULL) {
            (void)snprintf(out, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
            out[strcspn(out, "\n")] = '\0';
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

int bench_usage(const char *what, const char *value, const char *expected)
{
    (void)fprintf(stderr, "undine bench: %s is `%s`, expected %s\n", what, value, expected);
    return EXIT_USAGE;
}

int bench_word(const char *word, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

int bench_print(json_t *o)
{
    char *text = o != NULL ? json_text_print(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    bool ok = text != NULL && puts(text) != EOF && fflush(stdout) == 0;
    free(text);
    json_decref(o);
    if (!ok) {
        (void)fprintf(stderr, "undine bench: cannot write to standard output\n");
    }
    return ok ? EXIT_DONE : EXIT_FAILED;
}

int cmd_bench(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } benches[] = {{"learner", cmd_bench_learner},
                   {"ingest", cmd_bench_ingest},
                   {"score", cmd_bench_score},
                   {"swap", cmd_bench_swap},
                   {"end-to-end", cmd_bench_end_to_end}};
    for (size_t i = 0; argc > 1 && i < sizeof benches / sizeof benches[0]; i++) {
        if (strcmp(argv[1], benches[i].name) == 0) {
            return benches[i].run(argc - 1, argv + 1);
        }
    }
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    (void)fprintf(help ? stdout : stderr,
                  "usage: undine bench learner|ingest|score|swap|end-to-end [options] "
                  "  (`undine bench learner --help`)\n");
    return help ? EXIT_DONE : EXIT_USAGE;
}
