#include "configs/config.h"
#include "ops/args.h"
#include "ops/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_text(char *text)
{
    bool ok = text != NULL && fputs(text, stdout) != EOF && fflush(stdout) == 0;
    free(text);
    if (!ok) {
        (void)fprintf(stderr, "undine config: cannot write to standard output\n");
    }
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static int check_or_show(bool show, const char *file, const struct args_list *overrides)
{
    struct undine_err err = {0};
    struct config *c = NULL;
    if (file == NULL) {
        (void)fprintf(stderr, "undine config: --config FILE is missing\n");
        return EXIT_USAGE;
    }
    int rc = config_load(&c, file, overrides->item, overrides->n, &err);
    if (rc == UNDINE_OK && !show) {
        rc = trainer_check(&c->schema, &c->trainer, &err);
        rc = rc < 0 ? rc : gate_check(&c->gate, &err);
        if (rc != UNDINE_OK) {
            (void)undine_err_prefix(&err, "%s", file);
        }
    }
    if (rc != UNDINE_OK) {
        config_free(c);
        (void)fprintf(stderr, "undine config: %s\n", err.msg);
        return args_exit_code(rc);
    }
    int code = EXIT_DONE;
    if (show) {
        code = print_text(config_show(c));
    } else {
        (void)printf("%s: ok: %u tables, %u fields, %u sequences, %u topics\n", file,
                     c->schema.n_tables, c->schema.n_fields, c->schema.n_sequences, c->n_topics);
    }
    config_free(c);
    return code;
}

int cmd_config(int argc, char **argv)
{
    const char *file = NULL;
    struct args_list overrides = {0}, rest = {0};
    const struct args_option options[] = {
        {"config", 'c', ARGS_STRING, &file, "FILE", "configuration (check, show)"},
        {NULL, 'o', ARGS_LIST, &overrides, "KEY=VALUE", "override a key of the configuration"},
    };
    int code = args_parse(argc, argv,
                          "config check|show|reference [--config FILE] [-o KEY=VALUE]...\n\n"
                          "check       say whether a configuration is right\n"
                          "show        print it with every default, secrets masked\n"
                          "reference   print the documentation of every key (Markdown)",
                          options, sizeof options / sizeof options[0], &rest);
    if (code >= 0) {
        return code;
    }
    const char *what = rest.n == 1 ? rest.item[0] : "";
    if (strcmp(what, "reference") == 0) {
        return print_text(config_reference());
    }
    if (strcmp(what, "check") == 0 || strcmp(what, "show") == 0) {
        return check_or_show(what[0] == 's', file, &overrides);
    }
    (void)fprintf(stderr, "undine config: expected one of check, show, reference; see "
                          "`undine config --help`\n");
    return EXIT_USAGE;
}
