/* POST /v1/score behind the server: many threads while versions change, and before there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/scoring.h"
#include "tests/support/version_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, VERSIONS = 8, ANSWER_MAX = 512 };

static const char request[] =
    "{\"user\":\"3\",\"profile\":{\"age\":2},\"sequences\":{\"clicks\":[{\"video\":1,\"tag\":[2]},{"
    "\"video\":4}]},\"candidates\":[{\"video\":5,\"tag\":[1,3]},{\"video\":7}]}";

static char dir[VERSION_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    version_fixture_temp_dir(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    version_fixture_remove(dir);
    return 0;
}

static void publish(uint64_t seed)
{
    const struct version_fixture f = {.seed = seed, .n_rows = 12, .trained_seq = seed};
    struct version_info info;
    version_fixture_write(dir, &f, true, &info);
}

static struct scoring *open_scoring(bool on_demand)
{
    struct scoring *s = NULL;
    struct undine_err err = {0};
    const struct scoring_options o = {
        .versions_dir = dir, .threads = THREADS, .refresh_ms = 5, .on_demand = on_demand};
    assert_int_equal(scoring_open(&s, &o, &err), UNDINE_OK);
    return s;
}

/* Returns the status; the answer's text in out. */
static int ask(struct scoring *s, const char *body, char out[ANSWER_MAX])
{
    struct http_answer a = {.content_type = "application/json"};
    const struct http_request in = {.rest = "", .body = body, .body_len = strlen(body)};
    writer_init(&a.body);
    int status = scoring_handle(s, &in, &a);
    (void)snprintf(out, ANSWER_MAX, "%.*s", (int)a.body.len, (const char *)a.body.data);
    writer_release(&a.body);
    return status;
}

struct answers { /* of each version the first that any thread got */
    struct scoring *scoring;
    atomic_bool stop;
    pthread_mutex_t mutex;
    char text[VERSIONS + 1][ANSWER_MAX];
    uint64_t asked, failed, mixed;
};

static void *ask_on(void *payload)
{
    struct answers *a = payload;
    while (!atomic_load(&a->stop)) {
        char text[ANSWER_MAX];
        int status = ask(a->scoring, request, text);
        unsigned version = 0;
        bool good = status == 200 && sscanf(text, "{\"version\":%u,", &version) == 1 &&
                    version >= 1 && version <= VERSIONS;
        (void)pthread_mutex_lock(&a->mutex);
        a->asked++;
        a->failed += !good;
        if (good && a->text[version][0] == '\0') {
            memcpy(a->text[version], text, sizeof text);
        }
        a->mixed += good && strcmp(a->text[version], text) != 0;
        (void)pthread_mutex_unlock(&a->mutex);
    }
    return NULL;
}

static void test_threads_while_versions_change(void **state)
{
    (void)state;
    static struct answers a = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread[THREADS];
    struct scoring_status st = {0};
    publish(1);
    a.scoring = open_scoring(false);
    while (st.version == 0) {
        (void)usleep(1000);
        scoring_status(a.scoring, &st);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, ask_on, &a), 0);
    }
    for (uint64_t v = 2; v <= VERSIONS; v++) {
        publish(v);
        (void)usleep(30000);
    }
    while (st.version < VERSIONS) {
        (void)usleep(1000);
        scoring_status(a.scoring, &st);
    }
    (void)usleep(30000);
    atomic_store(&a.stop, true);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
    assert_true(a.asked > 100);
    assert_int_equal(a.failed, 0);
    assert_int_equal(a.mixed, 0);
    assert_true(a.text[1][0] != '\0' && a.text[VERSIONS][0] != '\0');
    assert_string_not_equal(strchr(a.text[1], ','), strchr(a.text[VERSIONS], ','));
    struct writer text;
    writer_init(&text);
    scoring_metrics(a.scoring, &text);
    writer_u8(&text, 0);
    char line[64];
    (void)snprintf(line, sizeof line, "\nundine_score_requests_total %llu\n",
                   (unsigned long long)a.asked);
    assert_non_null(strstr((const char *)text.data, line));
    writer_release(&text);
    scoring_close(a.scoring);
}

static void test_nothing_published(void **state)
{
    (void)state;
    char text[ANSWER_MAX];
    struct scoring *s = open_scoring(true);
    struct scoring_status st;
    scoring_status(s, &st);
    assert_string_equal(st.why, ""); /* nobody has asked, so nobody has looked */
    assert_int_equal(ask(s, "{}", text), 503);
    assert_non_null(strstr(text, "/NotReady\""));
    scoring_status(s, &st);
    assert_int_equal(st.version, 0);
    assert_string_not_equal(st.why, "");
    assert_int_equal(st.refresh_failures, 0);
    publish(1);
    int status = 503;
    for (int i = 0; i < 2000 && status == 503; i++) {
        (void)usleep(5000);
        status = ask(s, "{}", text);
    }
    assert_int_equal(status, 200);
    assert_string_equal(text, "{\"version\":1,\"scores\":[]}");
    assert_int_equal(ask(s, "{\"candidates\":[{\"hour\":1}]}", text), 400);
    assert_non_null(strstr(text, "\"pointer\":\"/candidates/0/hour\""));
    /* Four tags are one too many, in two requests of one document. */
    assert_int_equal(ask(s,
                         "{\"requests\":[{\"candidates\":[{\"tag\":[1,2,3,4]}]},"
                         "{\"candidates\":[{\"tag\":[1,2,3,5,3]}]}]}",
                         text),
                     200);
    struct writer metrics;
    writer_init(&metrics);
    scoring_metrics(s, &metrics);
    writer_u8(&metrics, 0);
    assert_non_null(strstr((const char *)metrics.data, "\nundine_score_values_cut_total 2\n"));
    assert_non_null(strstr((const char *)metrics.data, "\nundine_score_steps_cut_total 0\n"));
    writer_release(&metrics);
    scoring_close(s);
    scoring_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_threads_while_versions_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_published, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
