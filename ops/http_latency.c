#include "ops/http_latency.h"

#include <inttypes.h>
#include <stdio.h>

static const int64_t BOUND_US[HTTP_LATENCY_BOUNDS] = {50,     100,    200,    500,     1000,
                                                      2000,   5000,   10000,  20000,   50000,
                                                      100000, 200000, 500000, 1000000, 5000000};

void http_latency_add(struct http_latency *l, int64_t ns)
{
    int i = 0;
    while (i < HTTP_LATENCY_BOUNDS && ns > BOUND_US[i] * 1000) {
        i++;
    }
    atomic_fetch_add_explicit(&l->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->ns, (uint64_t)ns, memory_order_relaxed);
}

static void put_line(struct writer *out, const char *name, const char *what, const char *value)
{
    writer_bytes(out, name, strlen(name));
    writer_bytes(out, what, strlen(what));
    writer_bytes(out, " ", 1);
    writer_bytes(out, value, strlen(value));
    writer_bytes(out, "\n", 1);
}

void http_latency_render(const struct http_latency *l, const char *name, const char *help,
                         struct writer *out)
{
    char text[256], what[64];
    uint64_t sum = 0;
    int len = snprintf(text, sizeof text, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    writer_bytes(out, text, (size_t)len);
    for (int i = 0; i <= HTTP_LATENCY_BOUNDS; i++) {
        sum += atomic_load_explicit(&l->bucket[i], memory_order_relaxed);
        if (i < HTTP_LATENCY_BOUNDS) {
            (void)snprintf(what, sizeof what, "_bucket{le=\"%g\"}", (double)BOUND_US[i] * 1e-6);
        } else {
            (void)snprintf(what, sizeof what, "_bucket{le=\"+Inf\"}");
        }
        (void)snprintf(text, sizeof text, "%" PRIu64, sum);
        put_line(out, name, what, text);
    }
    (void)snprintf(text, sizeof text, "%.9f",
                   (double)atomic_load_explicit(&l->ns, memory_order_relaxed) * 1e-9);
    put_line(out, name, "_sum", text);
    (void)snprintf(text, sizeof text, "%" PRIu64, sum);
    put_line(out, name, "_count", text);
}
