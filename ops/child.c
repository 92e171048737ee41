#include "ops/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILD_ARGS_MAX = 32, STOP_TRIES = 150, STOP_NAP_MS = 20, EXIT_NO_EXEC = 127 };

static _Noreturn void become(char *const *argv, const int in[2], const int out[2],
                             const char *stderr_path)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)dup2(in[0] >= 0 ? in[0] : null, STDIN_FILENO);
    (void)dup2(out[1] >= 0 ? out[1] : null, STDOUT_FILENO);
    if (stderr_path != NULL) {
        int fd = open(stderr_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        (void)dup2(fd >= 0 ? fd : null, STDERR_FILENO);
    }
    /* Ctrl-C is for the parent, which ends its children in order. */
    (void)setpgid(0, 0);
    char *args[CHILD_ARGS_MAX + 2] = {(char *)"undine"};
    for (int i = 0; i < CHILD_ARGS_MAX && argv[i] != NULL; i++) {
        args[i + 1] = argv[i];
    }
    (void)execv("/proc/self/exe", args);
    _exit(EXIT_NO_EXEC);
}

static void close_pair(const int fd[2])
{
    for (int i = 0; i < 2; i++) {
        if (fd[i] >= 0) {
            (void)close(fd[i]);
        }
    }
}

int child_start(struct child *c, char *const *argv, bool pipes, const char *stderr_path,
                struct undine_err *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    *c = (struct child){.stdin_fd = -1};
    if (pipes && (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)) {
        int failed = errno;
        close_pair(in);
        close_pair(out);
        return undine_err_sys(err, UNDINE_EIO, failed, "pipe for `undine %s`", argv[0]);
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(argv, in, out, stderr_path);
    }
    if (pid < 0) {
        int failed = errno;
        close_pair(in);
        close_pair(out);
        return undine_err_sys(err, UNDINE_EIO, failed, "starting `undine %s`", argv[0]);
    }
    c->pid = pid;
    if (pipes) {
        (void)close(in[0]);
        (void)close(out[1]);
        c->stdin_fd = in[1];
        c->stdout_file = fdopen(out[0], "r");
    }
    return UNDINE_OK;
}

int child_poll(struct child *c)
{
    int status = 0;
    if (c->pid == 0 || waitpid(c->pid, &status, WNOHANG) == 0) {
        return c->pid == 0 ? 0 : -1;
    }
    c->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void child_stop(struct child *c)
{
    if (c == NULL || c->pid == 0) {
        return;
    }
    if (c->stdin_fd >= 0) {
        (void)close(c->stdin_fd);
        c->stdin_fd = -1;
    }
    (void)kill(c->pid, SIGTERM);
    for (int i = 0; i < STOP_TRIES && child_poll(c) < 0; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = STOP_NAP_MS * 1000000L}, NULL);
    }
    if (c->pid != 0) {
        (void)kill(c->pid, SIGKILL);
        (void)waitpid(c->pid, NULL, 0);
        c->pid = 0;
    }
    if (c->stdout_file != NULL) {
        (void)fclose(c->stdout_file);
        c->stdout_file = NULL;
    }
}
