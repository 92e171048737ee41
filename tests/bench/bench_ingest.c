/* Events through decode, order, join and commit, from memory, on one thread; JSON lines on stdout.
 *     bench_ingest [events] [waiting] [users]
 * events: messages in all, 5 % of them clicks; waiting: how many wait for the watermark (lateness);
 * the attribution window holds five times as many impressions.  The store is synced every 100 ms.
 */
#include "base/clock.h"
#include "ingest/order.h"
#include "tests/support/ingest_world.h"
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { EVENTS_PER_MS = 100, TEXT_MAX = 200 };

static void make_texts(struct memory_log *log, char *texts, size_t n, uint32_t users,
                       int64_t lateness_ms)
{
    struct random r = {1};
    for (size_t k = 0; k < n; k++) {
        char *text = texts + k * TEXT_MAX;
        int64_t time_ms = 1600000000000 + (int64_t)(k / EVENTS_PER_MS);
        time_ms -= (int64_t)random_below(&r, (uint64_t)lateness_ms / 2 + 1);
        if (k % 20 == 19) {
            size_t back = 1 + (size_t)random_below(&r, 20 * EVENTS_PER_MS);
            (void)snprintf(text, TEXT_MAX,
                           "{\"kind\":\"click\",\"impression\":\"i%zu\",\"time\":%lld}",
                           back < k ? k - back : 0, (long long)time_ms);
        } else {
            uint32_t item = (uint32_t)random_below(&r, 100000);
            (void)snprintf(text, TEXT_MAX,
                           "{\"kind\":\"impression\",\"id\":\"i%zu\",\"user\":\"user%u\","
                           "\"time\":%lld,\"candidate\":{\"item\":%u,\"tags\":[%u,%u]},"
                           "\"context\":{\"hour\":%u}}",
                           k, (unsigned)random_below(&r, users), (long long)time_ms, item,
                           item % 30, item % 7, (unsigned)(k % 24));
        }
        memory_log_add(log, 0, text);
    }
}

static void bench_order(size_t waiting)
{
    struct event *events = calloc(2 * waiting, sizeof *events);
    if (events == NULL) {
        abort();
    }
    struct random r = {2};
    for (size_t k = 0; k < 2 * waiting; k++) {
        events[k] = (struct event){.time_ms = (int64_t)(k / EVENTS_PER_MS + random_below(&r, 100)),
                                   .id = random_u64(&r),
                                   .words = sizeof(struct event) / 8};
    }
    struct order o;
    order_init(&o);
    for (size_t k = 0; k < waiting; k++) {
        (void)order_push(&o, 0, &events[k], NULL);
    }
    int64_t start_ns = clock_monotonic_ns();
    for (size_t k = waiting; k < 2 * waiting; k++) {
        (void)order_push(&o, 0, &events[k], NULL);
        (void)order_pop(&o, INT64_MAX);
    }
    double ns = (double)(clock_monotonic_ns() - start_ns) / (double)waiting;
    printf("{\"bench\":\"order\",\"waiting\":%zu,\"ns_per_event\":%.1f}\n", waiting, ns);
    order_release(&o);
    free(events);
}

static double decode_seconds(const struct ingest_world *w, const struct memory_log *log)
{
    struct decoder *d = NULL;
    uint64_t *words = calloc(EVENT_WORDS_MAX, sizeof *words);
    if (words == NULL || decoder_open(&d, &w->schema, &w->decode, NULL) != UNDINE_OK) {
        abort();
    }
    int64_t start_ns = clock_monotonic_ns();
    for (size_t k = 0; k < log->n[0]; k++) {
        uint32_t n = 0;
        const char *text = log->texts[0][k];
        (void)decoder_decode(d, (const uint8_t *)text, strlen(text), SOURCE_TOPIC_ANY, words, &n);
    }
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    decoder_close(d);
    free(words);
    return seconds;
}

static void bench_ingest(size_t n, size_t waiting, uint32_t users)
{
    int64_t lateness_ms = (int64_t)(waiting / EVENTS_PER_MS);
    struct ingest_world w = {.opt = ingest_world_options(lateness_ms, 5 * lateness_ms),
                             .cache_bytes = (uint64_t)512 << 20};
    fixture_schema(&w.schema, 50);
    w.decode.message_bytes_max = 4096;
    w.opt.join.negative_rate = 0.1;
    w.opt.close_windows = false; /* so that there is something to restore */
    w.opt.order.waiting_max = 4 * waiting + 1000;
    w.opt.loop.poll_max = 1000;
    w.opt.loop.commit_actions_max = 4000;
    w.opt.loop.sync_interval_ms = 100;
    struct memory_log log = {.n_partitions = 1};
    char *texts = malloc(n * TEXT_MAX);
    if (texts == NULL) {
        abort();
    }
    make_texts(&log, texts, n, users, lateness_ms);
    double decode = decode_seconds(&w, &log);
    char dir[FIXTURE_PATH_MAX];
    fixture_directory(dir);
    struct memory_source_options source = {.bounded = true};
    struct undine_err err = {.msg = "?"};
    atomic_bool stop = false;
    if (ingest_world_open(&w, dir, &log, &source, &err) != UNDINE_OK) {
        (void)fprintf(stderr, "bench_ingest: %s\n", err.msg);
        exit(1);
    }
    struct rusage before, after;
    (void)getrusage(RUSAGE_THREAD, &before);
    int64_t start_ns = clock_monotonic_ns();
    if (ingest_run(w.ingest, &stop, &err) != UNDINE_OK) {
        (void)fprintf(stderr, "bench_ingest: %s\n", err.msg);
        exit(1);
    }
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    (void)getrusage(RUSAGE_THREAD, &after);
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) +
                 (double)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1e6 +
                 (double)(after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
    struct ingest_status s;
    ingest_status(w.ingest, &s);
    printf("{\"bench\":\"ingest\",\"events\":%zu,\"users\":%u,\"waiting\":%zu,\"seconds\":%.3f,"
           "\"cpu_seconds\":%.3f,\"events_per_second\":%.0f,\"events_per_cpu_second\":%.0f,"
           "\"decode_only_seconds\":%.3f,\"commits\":%llu,\"impressions\":%llu,"
           "\"positives\":%llu,\"negatives\":%llu,\"late\":%llu,\"rss_bytes\":%lld}\n",
           n, users, waiting, seconds, cpu, (double)n / seconds, (double)n / cpu, decode,
           (unsigned long long)s.commit, (unsigned long long)s.counters.impressions,
           (unsigned long long)s.counters.positives, (unsigned long long)s.counters.negatives,
           (unsigned long long)s.counters.late, (long long)after.ru_maxrss * 1024);
    ingest_world_close(&w);
    start_ns = clock_monotonic_ns();
    if (ingest_world_open(&w, dir, &log, &source, &err) != UNDINE_OK) {
        (void)fprintf(stderr, "bench_ingest: %s\n", err.msg);
        exit(1);
    }
    seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    printf("{\"bench\":\"restart\",\"waiting\":%llu,\"pending\":%llu,\"seconds\":%.3f}\n",
           (unsigned long long)s.counters.waiting, (unsigned long long)s.counters.pending, seconds);
    ingest_world_close(&w);
    fixture_remove(dir);
    memory_log_release(&log);
    free(texts);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    size_t waiting = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
    uint32_t users = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100000;
    if (n == 0 || waiting == 0 || users == 0) {
        (void)fprintf(stderr, "usage: bench_ingest [events] [waiting] [users]\n");
        return 2;
    }
    bench_order(waiting);
    bench_ingest(n, waiting, users);
    return 0;
}
