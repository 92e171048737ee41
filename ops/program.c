#include "ops/program.h"

#include <stdlib.h>
#include <unistd.h>

const char *program_version(void)
{
    return UNDINE_VERSION;
}

void program_choose_kernels(char **argv)
{
    (void)argv;
}
