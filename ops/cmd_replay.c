#include "ops/args.h"
#include "ops/challenger.h"
#include "ops/cmd.h"
#include "ops/drive.h"

#include <stdio.h>

enum { REPLAY_ANY_TIME = -1 };

/* Another configuration on the examples that a state holds. */
static int challenge(const char *file, const struct args_list *overrides, const char *state)
{
    struct undine_err err = {0};
    struct config *config = NULL;
    int rc = config_load(&config, file, overrides->item, overrides->n, &err);
    if (rc == UNDINE_OK) {
        const struct challenger_options opt = {.config = config, .state_dir = state};
        rc = challenger_run(&opt, stdout, &err);
    }
    config_free(config);
    if (rc != UNDINE_OK) {
        (void)fprintf(stderr, "undine replay: %s\n", err.msg);
    }
    return args_exit_code(rc);
}

int cmd_replay(int argc, char **argv)
{
    const char *config = NULL, *state = NULL;
    bool keep_open = false, examples = false;
    int64_t from_ms = REPLAY_ANY_TIME, to_ms = REPLAY_ANY_TIME;
    struct args_list overrides = {0}, inputs = {0};
    const struct args_option options[] = {
        {"config", 'c', ARGS_STRING, &config, "FILE", "configuration (required)"},
        {"input", 'i', ARGS_LIST, &inputs, "FILE...",
         "event lines, .zst too, - for standard input"},
        {"from", 0, ARGS_TIME, &from_ms, "TIME",
         "from Kafka: first record time, ms or 2026-01-31T12:00:00Z"},
        {"to", 0, ARGS_TIME, &to_ms, "TIME",
         "from Kafka: records before this time; default: the end now"},
        {"from-example-log", 0, ARGS_FLAG, &examples, NULL,
         "learn the examples that --state holds, which stays as it is, and compare"},
        {"state", 's', ARGS_STRING, &state, "DIR",
         "keep store and versions; default: a temporary one"},
        {NULL, 'o', ARGS_LIST, &overrides, "KEY=VALUE", "override a key of the configuration"},
        {"keep-open", 0, ARGS_FLAG, &keep_open, NULL, "leave windows open at the end"},
    };
    int code = args_parse(argc, argv,
                          "replay --config FILE (--input FILE... | --from TIME [--to TIME] | "
                          "--from-example-log) [options]",
                          options, sizeof options / sizeof options[0], &inputs);
    if (code >= 0) {
        return code;
    }
    const char *wrong = NULL;
    if (config == NULL) {
        wrong = "--config is required";
    } else if (examples && (inputs.n > 0 || from_ms != REPLAY_ANY_TIME || keep_open)) {
        wrong = "--from-example-log reads neither files nor Kafka";
    } else if (examples && state == NULL) {
        wrong = "--from-example-log needs --state DIR, whose examples are learned";
    } else if (!examples && (inputs.n > 0) == (from_ms != REPLAY_ANY_TIME)) {
        wrong = "give either --input FILE... or --from TIME, which reads Kafka";
    } else if (inputs.n > 0 && to_ms != REPLAY_ANY_TIME) {
        wrong = "--to goes with --from: of a file everything is read";
    } else if (to_ms != REPLAY_ANY_TIME && to_ms <= from_ms) {
        wrong = "--to must be later than --from";
    }
    if (wrong != NULL) {
        (void)fprintf(stderr, "undine replay: %s; see `undine replay --help`\n", wrong);
        return EXIT_USAGE;
    }
    if (examples) {
        return challenge(config, &overrides, state);
    }
    return drive(&(struct drive_options){
        .name = "replay",
        .config_file = config,
        .overrides = overrides.item,
        .n_overrides = overrides.n,
        .state_dir = state,
        .daemon = {.inputs = inputs.n > 0 ? inputs.item : NULL,
                   .n_inputs = inputs.n,
                   .from_ms = from_ms,
                   .to_ms = to_ms,
                   .until_end = true,
                   .keep_open = keep_open,
                   .publish = state != NULL},
    });
}
