#include "ops/program.h"

#include "learner/blas.h"

#include <stdlib.h>
#include <unistd.h>

const char *program_version(void)
{
    return UNDINE_VERSION;
}

void program_choose_kernels(char **argv)
{
    static const char name[] = "OPENBLAS_CORETYPE"; /* set: by a user, or by the start before */
    const char *core = blas_core_wanted();
    if (core == NULL || getenv(name) != NULL) {
        return;
    }
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    if (n <= 0 || (size_t)n == sizeof path) {
        return;
    }
    path[n] = '\0';
    if (setenv(name, core, 0) == 0) {
        (void)execv(path, argv);
        (void)unsetenv(name);
    }
}
