/* Every sum of the accounting is noticed where it does not come out: of counters, before a commit
 * is written, and when a store is opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ingest/loop.h"
#include "tests/support/ingest_world.h"
#include "tests/support/store_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct ingest_counters whole = {.events = 100,
                                             .applied = 60,
                                             .waiting = 10,
                                             .late = 7,
                                             .late_by_kind = {4, 3, 0, 0},
                                             .duplicate = 8,
                                             .duplicate_by_kind = {5, 2, 1, 0},
                                             .malformed = 9,
                                             .malformed_by_reason = {[DECODE_JSON] = 9},
                                             .filtered = 6,
                                             .impressions = 40,
                                             .clicks = 12,
                                             .behaviors = 5,
                                             .forgets = 3,
                                             .clicks_matched = 6,
                                             .clicks_orphan = 4,
                                             .clicks_late = 2,
                                             .positives = 6,
                                             .negatives = 20,
                                             .pending = 9,
                                             .sampled_out = 4,
                                             .dropped = 1,
                                             .revised = 2,
                                             .revised_negatives = 1,
                                             .revised_sampled_out = 1};
static const uint64_t entries = 6 + 20 + 2 + 3;

static struct ingest_options options(void)
{
    struct ingest_options opt = ingest_world_options(10, 100);
    opt.join.late_click = INGEST_LATE_CORRECT;
    return opt;
}

static void closes_but_for(const struct ingest_counters *c, uint64_t waiting, uint64_t n,
                           enum accounting_identity identity)
{
    struct accounting a;
    struct undine_err err = {0};
    struct ingest_options opt = options();
    accounting_of(&a, c, &opt, waiting, n);
    for (int i = 0; i < ACCOUNTING_N; i++) {
        if ((a.gap[i] != 0) != (i == (int)identity)) {
            fail_msg("`%s` is off by %lld", accounting_name((enum accounting_identity)i),
                     (long long)a.gap[i]);
        }
    }
    assert_int_equal(accounting_check(&a, &err), UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, accounting_text(identity)));
    assert_non_null(strstr(err.msg, "+1"));
}

static void test_each_sum_is_noticed_by_its_name(void **state)
{
    (void)state;
    struct accounting a;
    struct ingest_options opt = options();
    accounting_of(&a, &whole, &opt, 10, entries);
    assert_true(accounting_closes(&a) && ingest_counters_close(&whole));

#define BROKEN(identity, change)                                                                   \
    do {                                                                                           \
        struct ingest_counters c = whole;                                                          \
        change;                                                                                    \
        closes_but_for(&c, 10, entries, identity);                                                 \
    } while (0)
    BROKEN(ACCOUNTING_EVENTS, c.filtered--);
    BROKEN(ACCOUNTING_APPLIED, c.behaviors--);
    BROKEN(ACCOUNTING_IMPRESSIONS, c.sampled_out--);
    BROKEN(ACCOUNTING_CLICKS, c.clicks_orphan--);
    BROKEN(ACCOUNTING_REVISED, c.revised_negatives--);
    BROKEN(ACCOUNTING_LATE, c.late_by_kind[EVENT_CLICK]--);
    BROKEN(ACCOUNTING_DUPLICATE, c.duplicate_by_kind[EVENT_BEHAVIOR]--);
    BROKEN(ACCOUNTING_MALFORMED, c.malformed_by_reason[DECODE_JSON]--);
    BROKEN(ACCOUNTING_POLICY, (c.clicks_late--, c.clicks_matched++));
#undef BROKEN
    closes_but_for(&whole, 9, entries, ACCOUNTING_WAITING);
    closes_but_for(&whole, 10, entries + 1, ACCOUNTING_EXAMPLES);
}

/* ---- a commit ---- */

static const char *const few[] = {
    "{\"kind\":\"impression\",\"id\":\"i1\",\"user\":\"u\",\"time\":1000,\"candidate\":{\"item\":1}"
    "}",
    "{\"kind\":\"impression\",\"id\":\"i2\",\"user\":\"u\",\"time\":1005,\"candidate\":{\"item\":2}"
    "}",
    "{\"kind\":\"impression\",\"id\":\"i3\",\"user\":\"u\",\"time\":5000,\"candidate\":{\"item\":2}"
    "}",
};

static void world_open(struct ingest_world *w, const char *dir, const struct memory_log *log)
{
    struct undine_err err = {.msg = "?"};
    struct memory_source_options source = {0};
    *w = (struct ingest_world){.opt = ingest_world_options(10, 100)};
    fixture_schema(&w->schema, 3);
    if (ingest_world_open(w, dir, log, &source, &err) != UNDINE_OK) {
        fail_msg("open: %s", err.msg);
    }
}

/* In the child: two good commits' worth, then a counter that is wrong.  Exit 0 where the step says
 * so, writes nothing, and shows the gap. */
static void commit_wrong(const char *dir, struct memory_log *log)
{
    struct ingest_world w;
    struct undine_err err = {0};
    struct ingest_status status;
    world_open(&w, dir, log);
    bool ok = ingest_step(w.ingest, &err) == 1;
    ingest_status(w.ingest, &status);
    uint64_t commit = status.commit;
    w.ingest->meta.counters.filtered++;
    memory_log_add(log, 0, few[2]);
    ok = ok && ingest_step(w.ingest, &err) == UNDINE_ECORRUPT;
    ok = ok && strstr(err.msg, "is not written") != NULL && strstr(err.msg, "filtered") != NULL;
    ingest_status(w.ingest, &status);
    ok = ok && status.accounting.gap[ACCOUNTING_EVENTS] == -1 && status.commit == commit;
    ingest_world_close(&w);
    if (!ok) {
        (void)fprintf(stderr, "%s\n", err.msg);
    }
    _exit(ok ? 0 : 1);
}

static void test_commit_that_does_not_close_is_not_written(void **state)
{
    (void)state;
    char dir[FIXTURE_PATH_MAX];
    struct memory_log log = {.n_partitions = 1};
    memory_log_add(&log, 0, few[0]);
    memory_log_add(&log, 0, few[1]);
    fixture_directory(dir);
    pid_t child = fork();
    if (child == 0) {
        commit_wrong(dir, &log);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
#ifdef UNDINE_FAULTS
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#else
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#endif
    /* What stood before it closes, and goes on. */
    struct ingest_world w;
    struct ingest_status s;
    memory_log_add(&log, 0, few[2]);
    world_open(&w, dir, &log);
    assert_int_equal(ingest_step(w.ingest, NULL), 1);
    ingest_status(w.ingest, &s);
    assert_true(accounting_closes(&s.accounting));
    assert_int_equal(s.counters.events, 3);
    assert_int_equal(s.counters.filtered, 0);
    assert_int_equal(s.counters.negatives, 2);
    ingest_world_close(&w);
    memory_log_release(&log);
    fixture_remove(dir);
}

/* ---- a store ---- */

static void test_store_whose_counters_do_not_close_is_refused(void **state)
{
    (void)state;
    char dir[FIXTURE_PATH_MAX];
    struct memory_log log = {.n_partitions = 1};
    struct memory_source_options source = {0};
    for (int k = 0; k < 3; k++) {
        memory_log_add(&log, 0, few[k]);
    }
    fixture_directory(dir);
    struct ingest_world w;
    world_open(&w, dir, &log);
    assert_int_equal(ingest_step(w.ingest, NULL), 1);
    struct meta_ingest m = w.ingest->meta;
    ingest_world_close(&w);
    m.counters.negatives++;
    m.counters.impressions++;
    m.counters.applied++;
    m.counters.events++; /* the counters alone close: the example log knows better */
    assert_true(ingest_counters_close(&m.counters));
    struct store *store = fixture_store(dir);
    struct writer value;
    writer_init(&value);
    meta_ingest_encode(&value, &m);
    store_put(store, STORE_META, META_INGEST, strlen(META_INGEST), value.data, value.len);
    assert_int_equal(store_write(store, NULL), UNDINE_OK);
    store_close(store);
    writer_release(&value);
    struct undine_err err = {0};
    assert_int_equal(ingest_world_open(&w, dir, &log, &source, &err), UNDINE_ECORRUPT);
    assert_non_null(strstr(err.msg, accounting_text(ACCOUNTING_EXAMPLES)));
    w.ingest = NULL;
    ingest_world_close(&w);
    memory_log_release(&log);
    fixture_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_sum_is_noticed_by_its_name),
        cmocka_unit_test(test_commit_that_does_not_close_is_not_written),
        cmocka_unit_test(test_store_whose_counters_do_not_close_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
