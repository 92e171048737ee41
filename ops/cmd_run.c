#include "ops/args.h"
#include "ops/cmd.h"
#include "ops/drive.h"
#include "ops/log.h"

#include <stdio.h>

int cmd_run(int argc, char **argv)
{
    const char *config = NULL, *state = "state", *debug = "";
    bool until_end = false, keep_open = false;
    struct args_list overrides = {0}, accept_loss = {0};
    const struct args_option options[] = {
        {"config", 'c', ARGS_STRING, &config, "FILE", "configuration (required)"},
        {"state", 's', ARGS_STRING, &state, "DIR", "store and versions; default ./state"},
        {NULL, 'o', ARGS_LIST, &overrides, "KEY=VALUE", "override a key of the configuration"},
        {"until-end", 0, ARGS_FLAG, &until_end, NULL, "stop at the offsets that are the end now"},
        {"keep-open", 0, ARGS_FLAG, &keep_open, NULL,
         "with --until-end: leave open windows waiting"},
        {"accept-loss", 0, ARGS_LIST, &accept_loss, "TOPIC:PARTITION",
         "go on where the broker lost data; leaves a permanent record"},
        {"debug", 0, ARGS_STRING, &debug, "CONTEXTS", "debug lines of these subsystems, or all"},
    };
    int code = args_parse(argc, argv, "run --config FILE [--state DIR] [options]", options,
                          sizeof options / sizeof options[0], NULL);
    if (code >= 0) {
        return code;
    }
    struct undine_err err;
    if (config == NULL || log_debug_contexts(debug, &err) != UNDINE_OK) {
        (void)fprintf(stderr, "undine run: %s\n",
                      config == NULL ? "--config is required" : err.msg);
        return EXIT_USAGE;
    }
    return drive(&(struct drive_options){
        .name = "run",
        .config_file = config,
        .overrides = overrides.item,
        .n_overrides = overrides.n,
        .state_dir = state,
        .http = true,
        .daemon = {.from_ms = -1,
                   .to_ms = -1,
                   .until_end = until_end,
                   .keep_open = keep_open,
                   .publish = true,
                   .freeze_versions = true,
                   .accept_loss = accept_loss.item,
                   .n_accept_loss = accept_loss.n},
    });
}
