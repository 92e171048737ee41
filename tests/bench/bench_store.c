/* What the feature store costs an event: one JSON line a shape.
 *
 * Each event is an impression of a user drawn with a skew: its record is kept, its user found and
 * looked at, an example added; one in twenty is clicked and becomes a step.  A commit holds `batch`
 * events.  A reader keeps up, so that blocks are parsed as well, and trims.
 *
 * usage: bench_store [EVENTS [DIRECTORY]] */
#include "base/clock.h"
#include "featurestore/arrivals.h"
#include "featurestore/example_log.h"
#include "featurestore/store.h"
#include "featurestore/users.h"
#include "tests/support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct shape {
    const char *name;
    uint64_t users;
    uint64_t cache_bytes;
    uint32_t length, batch;
    double examples; /* share of impressions that become examples */
    bool sync;
};

struct bench {
    struct schema schema;
    struct store *store;
    struct users *users;
    struct arrivals *arrivals;
    struct example_log *log;
    struct example_block block;
    struct random random;
    uint64_t example_threshold;
    int64_t now_ms;
    int64_t arrive_ns, apply_ns, commit_ns, read_ns;
    int64_t cpu_ns; /* of this thread, in apply and commit: what a busy machine does not change */
};

static struct undine_err err;

static void must(int rc)
{
    if (rc < 0) {
        (void)fprintf(stderr, "bench_store: %s\n", err.msg);
        exit(1);
    }
}

static int64_t thread_cpu_ns(void)
{
    struct timespec t;
    UNDINE_ASSERT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void open_bench(struct bench *b, const struct shape *shape, const char *dir)
{
    struct store_options store = {.dir = dir,
                                  .cache_bytes = (uint64_t)64 << 20,
                                  .write_buffer_bytes = (uint64_t)128 << 20,
                                  .sync_every_commit = shape->sync};
    struct users_options users = {.cache_bytes = shape->cache_bytes};
    *b = (struct bench){.random = {.state = FIXTURE_SEED}};
    fixture_schema(&b->schema, shape->length);
    b->example_threshold = (uint64_t)(shape->examples * 1000);
    must(store_open(&b->store, &store, &err));
    must(users_open(&b->users, b->store, &b->schema, &users, &err));
    must(arrivals_open(&b->arrivals, b->store, &b->schema, 0, &err));
    must(example_log_open(&b->log, b->store, &b->schema, 0, &err));
    example_block_init(&b->block);
}

static void close_bench(struct bench *b)
{
    example_block_release(&b->block);
    example_log_close(b->log);
    arrivals_close(b->arrivals);
    users_close(b->users);
    store_close(b->store);
}

/* Decode's part: put the events together where they stay. */
static void arrive(struct bench *b, const struct shape *shape, struct event **events)
{
    for (uint32_t i = 0; i < shape->batch; i++) {
        char name[24];
        double u = random_unit(&b->random);
        (void)snprintf(name, sizeof name, "user-%llu",
                       (unsigned long long)((double)shape->users * u * u * u * u));
        uint64_t *words = arrivals_reserve(b->arrivals, &err);
        struct event *e =
            fixture_event(words, &b->schema, &b->random, EVENT_IMPRESSION, b->now_ms++, name);
        events[i] = arrivals_keep(b->arrivals, e->words);
    }
}

static void apply(struct bench *b, const struct shape *shape, struct event **events,
                  uint64_t *hashes)
{
    for (uint32_t i = 0; i < shape->batch; i++) {
        hashes[i] = events[i]->user;
    }
    must(users_prefetch(b->users, hashes, shape->batch, &err));
    for (uint32_t i = 0; i < shape->batch; i++) {
        struct event *e = events[i];
        struct user *u = NULL;
        must(users_find(b->users, e->user, event_user(e), e->user_len, &u, &err));
        must(users_pin(b->users, u, e->time_ms, &err));
        bool clicked = e->tie % 20 == 0;
        if (clicked || e->tie % 1000 < b->example_threshold) {
            struct users_view views[SCHEMA_SEQUENCES_MAX];
            for (uint32_t s = 0; s < b->schema.n_sequences; s++) {
                views[s] = users_view(b->users, u, s, e->time_ms);
            }
            must(example_log_add(b->log, e, clicked ? EXAMPLE_POSITIVE : EXAMPLE_NEGATIVE,
                                 e->time_ms, 1.0F, views, &err));
        }
        users_unpin(b->users, u, e->time_ms);
        if (clicked) {
            must(users_append(b->users, u, e, e->time_ms, EVENT_CLICK, 0, &err));
        }
        arrivals_release(b->arrivals, e);
    }
}

static void commit(struct bench *b, uint64_t number)
{
    must(arrivals_stage(b->arrivals, number, b->now_ms - 100000, &err));
    must(users_stage(b->users, &err));
    must(example_log_stage(b->log, b->now_ms, &err));
    must(store_write(b->store, &err));
    arrivals_commit(b->arrivals);
    users_commit(b->users);
    example_log_commit(b->log);
}

static uint64_t read_all(struct bench *b, uint64_t seq)
{
    while (seq < example_log_head(b->log)) {
        must(example_log_read(b->log, seq, &b->block, &err));
        seq = b->block.first_seq + b->block.n_examples;
    }
    example_log_consumed(b->log, seq);
    return seq;
}

static void report(struct bench *b, const struct shape *shape, uint64_t n_events, uint64_t examples)
{
    struct store_stats stats;
    const struct users_stats *u = users_stats(b->users);
    double n = (double)n_events;
    store_stats(b->store, &stats);
    (void)printf("{\"bench\":\"store\",\"shape\":\"%s\",\"events\":%llu,\"examples\":%llu,"
                 "\"batch\":%u,\"length\":%u,\"users_in_memory\":%llu,\"users_bytes\":%llu,"
                 "\"misses\":%llu,\"evictions\":%llu,\"make_event_us\":%.3f,\"apply_us\":%.3f,"
                 "\"commit_us\":%.3f,\"store_us_per_event\":%.3f,\"store_cpu_us_per_event\":%.3f,"
                 "\"read_us_per_example\":%.3f,"
                 "\"bytes_written_per_event\":%.1f,\"events_per_second\":%.0f}\n",
                 shape->name, (unsigned long long)n_events, (unsigned long long)examples,
                 shape->batch, shape->length, (unsigned long long)u->users,
                 (unsigned long long)u->bytes, (unsigned long long)u->misses,
                 (unsigned long long)u->evictions, (double)b->arrive_ns / n / 1e3,
                 (double)b->apply_ns / n / 1e3, (double)b->commit_ns / n / 1e3,
                 (double)(b->apply_ns + b->commit_ns) / n / 1e3, (double)b->cpu_ns / n / 1e3,
                 (double)b->read_ns / (double)examples / 1e3, (double)stats.bytes_written / n,
                 n / ((double)(b->apply_ns + b->commit_ns) * 1e-9));
    (void)fflush(stdout);
}

static void run(const struct shape *shape, uint64_t n_events, const char *at)
{
    char dir[FIXTURE_PATH_MAX];
    struct bench b;
    uint64_t seq = 0;
    if (at != NULL) {
        (void)snprintf(dir, sizeof dir, "%s/bench-store-%s", at, shape->name);
    } else {
        fixture_directory(dir);
    }
    open_bench(&b, shape, dir);
    struct event **events = calloc(shape->batch, sizeof(struct event *));
    uint64_t *hashes = calloc(shape->batch, sizeof *hashes);
    UNDINE_ASSERT(events != NULL && hashes != NULL);
    uint64_t commits = n_events / shape->batch;
    for (uint64_t c = 1; c <= commits; c++) {
        int64_t t0 = clock_monotonic_ns();
        arrive(&b, shape, events);
        int64_t t1 = clock_monotonic_ns(), cpu = thread_cpu_ns();
        apply(&b, shape, events, hashes);
        int64_t t2 = clock_monotonic_ns();
        commit(&b, c);
        int64_t t3 = clock_monotonic_ns();
        b.cpu_ns += thread_cpu_ns() - cpu;
        seq = read_all(&b, seq);
        int64_t t4 = clock_monotonic_ns();
        if (c % 200 == 0) {
            example_log_trim(b.log, seq);
        }
        b.arrive_ns += t1 - t0;
        b.apply_ns += t2 - t1;
        b.commit_ns += t3 - t2;
        b.read_ns += t4 - t3;
    }
    report(&b, shape, commits * shape->batch, seq);
    free(events);
    free(hashes);
    close_bench(&b);
    fixture_remove(dir);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"warm", 100000, (uint64_t)512 << 20, 50, 1000, 0.1, false},
        {"cold", 1000000, (uint64_t)16 << 20, 50, 1000, 0.1, false},
        {"long_histories", 400, (uint64_t)512 << 20, 50, 1000, 0.1, false},
        {"all_examples", 100000, (uint64_t)512 << 20, 50, 1000, 1.0, false},
        {"synced", 100000, (uint64_t)512 << 20, 50, 1000, 0.1, true},
        {"small_commits", 100000, (uint64_t)512 << 20, 50, 50, 0.1, false},
    };
    uint64_t n_events = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        run(&shapes[i], n_events, argc > 2 ? argv[2] : NULL);
    }
    return 0;
}
