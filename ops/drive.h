/* drive.h: one daemon from start to end, for the commands that run one: signals, progress, HTTP, report. */
#ifndef UNDINE_OPS_DRIVE_H
#define UNDINE_OPS_DRIVE_H

#include "ops/daemon.h"

struct drive_options {
    const char *name; /* of the command, for messages */
    const char *config_file;
    const char *const *overrides;
    size_t n_overrides;
    const char *state_dir; /* NULL: a temporary one, removed at the end */
    struct daemon_options daemon; /* config, state_dir and log are filled here */
    bool http;
};

/* Run until it is finished or told to stop.  SIGTERM and SIGINT end it cleanly, a second one at once.
 * The report goes to stdout.  Returns the exit code. */
int drive(const struct drive_options *opt);

#endif
