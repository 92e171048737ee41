/* bench_scorer.c: latency of undine_score, alone and while versions are swapped under it.
 *
 * usage: bench_scorer [ROWS [CANDIDATES [SECONDS]]]    rows of each of five tables; JSON lines */
#include "base/clock.h"
#include "base/random.h"
#include "scorer/undine.h"
#include "tests/support/version_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 50, SAMPLES_MAX = 1 << 20, TAGS = 3, SWAP_PAUSE_US = 200 * 1000 };

struct bench {
    struct undine_scorer *scorer;
    struct undine_session *session;
    char dir[VERSION_PATH_MAX];
    uint32_t rows, candidates;
    double seconds;
    struct random random;
    int64_t *ns; /* (SAMPLES_MAX) */
    atomic_bool stop;
    uint64_t swaps;
    int64_t swap_ns_max;
};

struct item { /* one video and its tags, as a caller would hold them */
    char text[1 + TAGS][16];
    struct undine_value value[1 + TAGS];
    struct undine_feature feature[2];
};

static void make_item(struct bench *b, struct item *item, struct undine_features *out)
{
    for (size_t i = 0; i < 1 + TAGS; i++) {
        int len = snprintf(item->text[i], sizeof item->text[i], "%u",
                           (unsigned)random_below(&b->random, b->rows));
        item->value[i] = (struct undine_value){item->text[i], (size_t)len};
    }
    item->feature[0] = (struct undine_feature){"video", &item->value[0], 1};
    item->feature[1] = (struct undine_feature){"tag", &item->value[1], TAGS};
    *out = (struct undine_features){item->feature, 2};
}

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void measure(struct bench *b, const char *name, bool swapping)
{
    struct item *items = calloc(b->candidates + STEPS, sizeof *items);
    struct undine_features *list = calloc(b->candidates + STEPS, sizeof *list);
    float *p = calloc(b->candidates, sizeof *p);
    if (items == NULL || list == NULL || p == NULL) {
        abort();
    }
    size_t n = 0;
    int64_t end = clock_monotonic_ns() + (int64_t)(b->seconds * 1e9);
    while (clock_monotonic_ns() < end && n < SAMPLES_MAX) {
        for (size_t i = 0; i < b->candidates + STEPS; i++) {
            make_item(b, &items[i], &list[i]);
        }
        struct undine_sequence clicks = {"clicks", list + b->candidates, STEPS};
        struct undine_request req = {.user_id = items[0].value[0],
                                     .sequences = &clicks,
                                     .n_sequences = 1,
                                     .candidates = list,
                                     .n_candidates = b->candidates};
        int64_t start = clock_monotonic_ns();
        if (undine_score(b->session, &req, p, NULL) < 0) {
            abort();
        }
        b->ns[n++] = clock_monotonic_ns() - start;
    }
    qsort(b->ns, n, sizeof *b->ns, by_time);
    (void)printf("{\"bench\":\"%s\",\"requests\":%zu,\"candidates\":%u,\"steps\":%d,"
                 "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"candidates_per_second\":%.0f",
                 name, n, b->candidates, STEPS, (double)b->ns[n / 2] / 1e3,
                 (double)b->ns[n * 99 / 100] / 1e3, (double)b->ns[n * 999 / 1000] / 1e3,
                 1e9 * b->candidates / (double)b->ns[n / 2]);
    if (swapping) {
        (void)printf(",\"swaps\":%llu,\"swap_ms_max\":%.1f", (unsigned long long)b->swaps,
                     (double)b->swap_ns_max / 1e6);
    }
    (void)printf("}\n");
    free(items);
    free(list);
    free(p);
}

static void *swap_for_ever(void *payload)
{
    struct bench *b = payload;
    char path[VERSION_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/CURRENT", b->dir);
    while (!atomic_load(&b->stop)) {
        version_fixture_overwrite(path, b->swaps % 2 == 0 ? "000000000001\n" : "000000000002\n",
                                  13);
        int64_t start = clock_monotonic_ns();
        if (undine_scorer_refresh(b->scorer, NULL) != 1) {
            abort();
        }
        int64_t ns = clock_monotonic_ns() - start;
        b->swap_ns_max = ns > b->swap_ns_max ? ns : b->swap_ns_max;
        b->swaps++;
        (void)usleep(SWAP_PAUSE_US);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct version_info info;
    pthread_t thread;
    b.rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    b.candidates = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 200;
    b.seconds = argc > 3 ? strtod(argv[3], NULL) : 3.0;
    b.ns = calloc(SAMPLES_MAX, sizeof *b.ns);
    if (b.rows == 0 || b.candidates == 0 || b.ns == NULL) {
        return 2;
    }
    version_fixture_temp_dir(b.dir);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct version_fixture f = {.seed = seed, .n_rows = b.rows, .full_model = true};
        int64_t start = clock_monotonic_ns();
        version_fixture_write(b.dir, &f, true, &info);
        (void)printf(
            "{\"bench\":\"fill and write\",\"rows\":%llu,\"bytes\":%llu,\"seconds\":%.2f}\n",
            (unsigned long long)info.rows, (unsigned long long)info.bytes,
            (double)(clock_monotonic_ns() - start) / 1e9);
    }
    if (undine_scorer_open(&b.scorer, b.dir, NULL) < 0 ||
        undine_session_open(&b.session, b.scorer, NULL) < 0) {
        return 1;
    }
    measure(&b, "score", false);
    if (pthread_create(&thread, NULL, swap_for_ever, &b) != 0) {
        return 1;
    }
    measure(&b, "score while swapping", true);
    atomic_store(&b.stop, true);
    (void)pthread_join(thread, NULL);
    undine_session_close(b.session);
    undine_scorer_close(b.scorer);
    version_fixture_remove(b.dir);
    free(b.ns);
    return 0;
}
