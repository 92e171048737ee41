#include "ops/program.h"

const char *program_version(void)
{
    return UNDINE_VERSION;
}
