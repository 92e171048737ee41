/* bench_table [rows [batch]]: an embedding table that grows to 12,000,000 rows (DIM 18, Adagrad) in
 * calls of table_need with `batch` ids, half of them new: how long the longest call took, what a
 * lookup costs and what a row weighs.  JSON lines on stdout, one for every two million rows and one
 * for the end.  Times are of the wall clock and, since other programs may have the core in between,
 * of this thread's CPU; page faults and zeroing of new memory are in both.  What a busy machine
 * cannot blur is moved_bytes_max: the most that the index cleared and copied in any one call so
 * far. */
#include "base/hash.h"
#include "base/random.h"
#include "learner/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { DIM = 18, SHOWN_EVERY = 2000000, LOOKUPS = 4000000, RUN = 4096 };

static double seconds(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint64_t key_of(uint64_t i)
{
    return hash_mix64(i) | 1; /* two numbers may share an id: then one of them is not new */
}

static void show_calls(double *wall, double *cpu, size_t n, const struct table *t, size_t batch,
                       uint64_t moved_max)
{
    const struct table_budget *budget = t->account.budget;
    qsort(wall, n, sizeof *wall, ascending);
    qsort(cpu, n, sizeof *cpu, ascending);
    size_t p999 = n - 1 - n / 1000, p9999 = n - 1 - n / 10000;
    printf("{\"bench\":\"table\",\"rows\":%u,\"calls\":%zu,\"ids_per_call\":%zu,"
           "\"call_ms\":{\"p50\":%.3f,\"p99.9\":%.3f,\"p99.99\":%.3f,\"max\":%.3f},"
           "\"call_cpu_ms\":{\"p50\":%.3f,\"p99.9\":%.3f,\"p99.99\":%.3f,\"max\":%.3f},"
           "\"moved_bytes_max\":%llu,\"bytes_per_row\":%.1f,\"over_ideal\":%.3f}\n",
           t->n_rows, n, batch, 1e3 * wall[n / 2], 1e3 * wall[p999], 1e3 * wall[p9999],
           1e3 * wall[n - 1], 1e3 * cpu[n / 2], 1e3 * cpu[p999], 1e3 * cpu[p9999], 1e3 * cpu[n - 1],
           (unsigned long long)moved_max, (double)budget->used_bytes / t->n_rows,
           (double)budget->used_bytes / t->n_rows / (8 + 4 + 4 + 2 * DIM * 4));
    (void)fflush(stdout);
}

/* Nanoseconds of CPU for one table_find of a random id, and for an id of a table_need; ids are
 * those of numbers [from, from + n). */
static void lookups(const struct table *t, uint64_t from, uint64_t n, const char *what)
{
    struct random r = {.state = 99};
    uint64_t *keys = calloc(RUN, sizeof *keys);
    uint32_t *rows = calloc(RUN, sizeof *rows);
    uint64_t found = 0;
    double find = 0.0, need = 0.0;
    for (uint64_t done = 0; keys != NULL && rows != NULL && done < LOOKUPS; done += RUN) {
        for (size_t i = 0; i < RUN; i++) {
            keys[i] = key_of(from + random_below(&r, n));
        }
        double start = seconds(CLOCK_THREAD_CPUTIME_ID);
        for (size_t i = 0; i < RUN; i++) {
            found += table_find(t, keys[i]) != TABLE_NONE;
        }
        find += seconds(CLOCK_THREAD_CPUTIME_ID) - start;
        if (from != 0) {
            continue;
        }
        for (size_t i = 0; i < RUN; i++) {
            keys[i] = key_of(from + random_below(&r, n));
        }
        start = seconds(CLOCK_THREAD_CPUTIME_ID);
        struct table *mutable = (struct table *)(uintptr_t)t; /* nothing is new: nothing changes */
        (void)table_need(mutable, keys, rows, RUN, NULL);
        need += seconds(CLOCK_THREAD_CPUTIME_ID) - start;
    }
    printf("{\"bench\":\"table\",\"lookup\":\"%s\",\"found\":%llu,\"find_ns\":%.1f", what,
           (unsigned long long)found, 1e9 * find / LOOKUPS);
    if (from == 0) {
        printf(",\"need_ns\":%.1f", 1e9 * need / LOOKUPS);
    }
    printf("}\n");
    free(keys);
    free(rows);
}

static int grow(struct table *t, uint64_t rows_max, size_t batch, struct undine_err *err)
{
    size_t calls_max = SHOWN_EVERY / (batch / 2) + 2, n = 0;
    uint64_t moved_max = 0;
    uint64_t *keys = calloc(batch, sizeof *keys);
    uint32_t *rows = calloc(batch, sizeof *rows);
    double *wall = calloc(calls_max, sizeof *wall), *cpu = calloc(calls_max, sizeof *cpu);
    struct random r = {.state = 7};
    int rc = keys == NULL || rows == NULL || wall == NULL || cpu == NULL
                 ? undine_err_set(err, UNDINE_ENOMEM, "no memory")
                 : UNDINE_OK;
    for (uint64_t next = 0; rc == UNDINE_OK && next < rows_max;) {
        for (size_t i = 0; i < batch; i++) {
            keys[i] = key_of(i % 2 == 0 ? next++ : random_below(&r, next));
        }
        uint64_t moved = t->index.moved_bytes;
        double wall_start = seconds(CLOCK_MONOTONIC);
        double cpu_start = seconds(CLOCK_THREAD_CPUTIME_ID);
        rc = table_need(t, keys, rows, batch, err);
        cpu[n] = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
        wall[n++] = seconds(CLOCK_MONOTONIC) - wall_start;
        moved = t->index.moved_bytes - moved;
        moved_max = moved > moved_max ? moved : moved_max;
        if (n == calls_max - 1 || next >= rows_max) {
            show_calls(wall, cpu, n, t, batch, moved_max);
            n = 0;
        }
    }
    free(keys);
    free(rows);
    free(wall);
    free(cpu);
    return rc;
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 12000000;
    size_t batch = argc > 2 ? strtoull(argv[2], NULL, 10) : 8192;
    if (rows < 1 || batch < 2) {
        (void)fprintf(stderr, "usage: bench_table [rows [ids a call, at least 2]]\n");
        return 2;
    }
    struct undine_err err = {0};
    struct table_budget budget = {0};
    struct table_options opt = {
        .dim = DIM, .n_slots = DIM, .slot_initial = 0.1f, .init = {.seed = 1, .scale = 0.01f}};
    struct table t;
    int rc = table_init(&t, &opt, &budget, &err);
    if (rc == UNDINE_OK) {
        rc = grow(&t, rows, batch, &err);
    }
    if (rc < 0) {
        (void)fprintf(stderr, "bench_table: %s\n", err.msg);
        return 1;
    }
    lookups(&t, 0, rows, "hit");
    lookups(&t, rows, rows, "miss");
    table_release(&t);
    return 0;
}
