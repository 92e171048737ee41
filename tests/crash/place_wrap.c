/* place_wrap.c: where a program under test was ended by a signal.  UNDINE_IO_PLACE names a file
 * that gets a line: the signal's number, then the functions from the innermost outwards as
 * library:symbol, without those of the C library and of this one; symbol "?" where it has no name
 * that others see. */
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES_MAX = 32, LINE_MAX_BYTES = 4096 };

static char place_file[4096]; /* from before memory may be refused */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void describe(char *line, size_t size, int number)
{
    void *frame[FRAMES_MAX];
    Dl_info self, at;
    (void)dladdr((void *)place_file, &self);
    int n = backtrace(frame, FRAMES_MAX);
    size_t len = (size_t)snprintf(line, size, "%d", number);
    for (int i = 0; i < n && len + 1 < size; i++) {
        /* Return addresses lie behind the call, which may end its function. */
        if (dladdr((char *)frame[i] - 1, &at) == 0 || at.dli_fbase == self.dli_fbase ||
            strncmp(base_of(at.dli_fname), "libc.so", strlen("libc.so")) == 0) {
            continue;
        }
        len += (size_t)snprintf(line + len, size - len, " %s:%s", base_of(at.dli_fname),
                                at.dli_sname != NULL ? at.dli_sname : "?");
    }
}

static void ended(int number)
{
    char line[LINE_MAX_BYTES];
    describe(line, sizeof line - 1, number);
    size_t len = strnlen(line, sizeof line - 2);
    line[len] = '\n';
    int fd = open(place_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    (void)!write(fd, line, len + 1);
    (void)close(fd);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

__attribute__((constructor)) static void place_start(void)
{
    const char *path = getenv("UNDINE_IO_PLACE");
    if (path == NULL || strlen(path) >= sizeof place_file) {
        return;
    }
    (void)strcpy(place_file, path);
    void *frame[1];
    (void)backtrace(frame, 1); /* loads what it needs now */
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction act = {.sa_handler = ended, .sa_flags = (int)(SA_NODEFER | SA_RESETHAND)};
        (void)sigaction(signals[i], &act, NULL);
    }
}
