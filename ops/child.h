/* child.h: this program again as a child process, for the demo's broker and traffic.
 *
 * A child gets SIGTERM when its parent dies, so nothing stays behind.  Main thread. */
#ifndef UNDINE_OPS_CHILD_H
#define UNDINE_OPS_CHILD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct child {
    pid_t pid;    /* 0 = none */
    int stdin_fd; /* write end; closing it is what ends the mock broker; -1 = not ours */
    FILE *stdout_file; /* NULL = /dev/null */
};

/* argv: the subcommand and its flags, NULL at the end.  pipes: talk to it over stdin and stdout, else
 * both are /dev/null. stderr goes to the file stderr_path, or with us where it is NULL. */
int child_start(struct child *c, char *const *argv, bool pipes, const char *stderr_path,
                struct undine_err *err);
/* Has it ended?  Returns its exit code, or -1 while it runs. */
int child_poll(struct child *c);
/* Close its stdin, SIGTERM, wait, SIGKILL after 3 s.  NULL-safe, idempotent. */
void child_stop(struct child *c);

#endif
