#include "ops/metrics_text.h"

#include <inttypes.h>
#include <stdio.h>

void metrics_put(struct writer *out, const char *name, const char *type, const char *help,
                 uint64_t value)
{
    char text[512];
    int len = snprintf(text, sizeof text, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name,
                       help, name, type, name, value);
    writer_bytes(out, text, (size_t)len);
}
