#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/log.h"
#include "ops/progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static FILE *g_out;
static char *g_text;
static size_t g_len;

static int open_log(void **state)
{
    (void)state;
    g_out = open_memstream(&g_text, &g_len);
    assert_non_null(g_out);
    log_init(g_out, LOG_LEVEL_INFO);
    return 0;
}

static int close_log(void **state)
{
    (void)state;
    log_init(NULL, LOG_LEVEL_INFO);
    (void)fclose(g_out);
    free(g_text);
    g_text = NULL;
    return 0;
}

static const char *text(void)
{
    (void)fflush(g_out);
    return g_text;
}

static size_t lines(void)
{
    size_t n = 0;
    for (const char *p = text(); *p != '\0'; p++) {
        n += *p == '\n';
    }
    return n;
}

static void test_logfmt(void **state)
{
    (void)state;
    log_info("ingest", log_msg("caught up"), log_int("lag", -3), log_real("auc", 0.7375),
             log_str("topic", "clicks"), log_str("empty", ""));
    const char *at = strstr(text(), " level=");
    assert_non_null(at);
    assert_string_equal(at, " level=info subsystem=ingest msg=\"caught up\" lag=-3 auc=0.7375 "
                            "topic=clicks empty=\"\"\n");
    assert_memory_equal(text(), "ts=20", 5);
    assert_int_equal(at - text(), strlen("ts=2026-01-02T03:04:05.678Z"));
}

static void test_quotes(void **state)
{
    (void)state;
    log_info("ingest", log_msg("a=b"), log_str("v", "say \"hi\"\n\\\x01"));
    assert_non_null(strstr(text(), "msg=\"a=b\" v=\"say \\\"hi\\\"\\n\\\\\\x01\"\n"));
    assert_int_equal(lines(), 1);
}

static void test_long_lines_are_cut_visibly(void **state)
{
    (void)state;
    char *big = malloc(LOG_LINE_MAX * 2);
    assert_non_null(big);
    memset(big, 'x', LOG_LINE_MAX * 2);
    big[LOG_LINE_MAX * 2 - 1] = '\0';
    log_info("ingest", log_msg("m"), log_str("v", big));
    free(big);
    assert_int_equal(strlen(text()), LOG_LINE_MAX);
    assert_string_equal(text() + LOG_LINE_MAX - 6, "xx...\n");
}

static void test_levels(void **state)
{
    (void)state;
    log_init(g_out, LOG_LEVEL_WARN);
    log_info("ingest", log_msg("not this"));
    log_warn("ingest", log_msg("this"));
    log_debug("ingest", log_msg("nor this"));
    assert_int_equal(lines(), 1);
    assert_non_null(strstr(text(), "level=warn subsystem=ingest msg=this\n"));
}

static void test_debug_contexts(void **state)
{
    (void)state;
    struct undine_err err = {0};
    assert_int_equal(log_debug_contexts("kafka,store", &err), UNDINE_OK);
    assert_true(log_debugs("kafka"));
    assert_false(log_debugs("ingest"));
    log_debug("store", log_msg("yes"));
    log_debug("ingest", log_msg("no"));
    assert_int_equal(lines(), 1);
    assert_int_equal(log_debug_contexts("kafka,ingets", &err), UNDINE_EINVAL);
    assert_non_null(strstr(err.msg, "`ingets`"));
    assert_non_null(strstr(err.msg, "ingest"));
    assert_true(log_debugs("kafka")); /* a refused list changes nothing */
    assert_int_equal(log_debug_contexts("all", &err), UNDINE_OK);
    assert_true(log_debugs("demo"));
}

static void test_similar_lines_are_limited(void **state)
{
    (void)state;
    char message[64];
    for (int i = 0; i < LOG_BURST + 5; i++) {
        (void)snprintf(message, sizeof message, "offset %d is gone", i);
        log_text(NULL, 4, "kafka", message);
    }
    assert_int_equal(lines(), LOG_BURST);
    log_text(NULL, 4, "kafka", "another thing");
    log_text(NULL, 4, "ingest", "offset 1 is gone");
    assert_int_equal(lines(), LOG_BURST + 2);
    log_close();
    assert_int_equal(lines(), LOG_BURST + 3);
    assert_non_null(
        strstr(text(), "subsystem=kafka msg=\"similar lines were held back\" held_back=5\n"));
    log_close(); /* told once */
    assert_int_equal(lines(), LOG_BURST + 3);
}

static void test_librdkafka_levels(void **state)
{
    (void)state;
    log_text(NULL, 0, "kafka", "emergency");
    log_text(NULL, 5, "kafka", "notice");
    log_text(NULL, 7, "kafka", "debug");
    assert_int_equal(lines(), 2);
    assert_non_null(strstr(text(), "level=error subsystem=kafka msg=emergency"));
    assert_non_null(strstr(text(), "level=info subsystem=kafka msg=notice"));
}

static void *write_lines(void *payload)
{
    for (int i = 0; i < 200; i++) {
        log_info(payload, log_msg("from a thread"), log_int("i", i));
    }
    return NULL;
}

static void test_threads_write_whole_lines(void **state)
{
    (void)state;
    pthread_t threads[4];
    char *names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(lines(), 4 * LOG_BURST);
    for (const char *p = text(); *p != '\0'; p = strchr(p, '\n') + 1) {
        assert_memory_equal(p, "ts=20", 5);
    }
}

static void test_progress_on_a_terminal(void **state)
{
    (void)state;
    struct progress p;
    progress_init(&p, "replay", true);
    progress_show(&p,
                  LOG_FIELDS(log_msg("replay"), log_int("events", 1234567), log_real("auc", 0.5)));
    assert_string_equal(text(), "\r\033[Kreplay  events 1,234,567  auc 0.5");
    log_info("ingest", log_msg("hello"));
    const char *repainted = "msg=hello\nreplay  events 1,234,567  auc 0.5";
    assert_string_equal(text() + strlen(text()) - strlen(repainted), repainted);
    progress_end(&p, LOG_FIELDS(log_msg("done"), log_int("events", 7)));
    assert_non_null(strstr(text(), "auc 0.5\r\033[Kts="));
    assert_non_null(strstr(text(), "subsystem=replay msg=done events=7\n"));
}

static void test_progress_in_a_log(void **state)
{
    (void)state;
    struct progress p;
    progress_init(&p, "replay", false);
    assert_false(progress_due(&p));
    progress_show(&p, LOG_FIELDS(log_msg("replay"), log_int("events", 1234567)));
    assert_non_null(strstr(text(), "subsystem=replay msg=replay events=1234567\n"));
    assert_null(strchr(text(), '\r'));
}

static void test_progress_text(void **state)
{
    (void)state;
    char out[64];
    progress_text(out, sizeof out, LOG_FIELDS(log_msg("m"), log_int("n", -1234), log_int("z", 0)),
                  60);
    assert_string_equal(out, "m  n -1,234  z 0");
    progress_text(out, sizeof out, LOG_FIELDS(log_msg("m"), log_int("n", -123)), 60);
    assert_string_equal(out, "m  n -123");
    progress_text(out, sizeof out, LOG_FIELDS(log_msg("0123456789")), 4);
    assert_string_equal(out, "0123");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logfmt, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_quotes, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut_visibly, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_levels, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_debug_contexts, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_similar_lines_are_limited, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_librdkafka_levels, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_threads_write_whole_lines, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_progress_on_a_terminal, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_progress_in_a_log, open_log, close_log),
        cmocka_unit_test_setup_teardown(test_progress_text, open_log, close_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
