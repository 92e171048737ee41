#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct daemon_status g_status;
static struct trainer_slices g_slices;
static struct norms g_norms;

static void render(struct writer *w, const char *version)
{
    const struct metrics_view view = {.status = &g_status,
                                      .slices = &g_slices,
                                      .norms = &g_norms,
                                      .version = version,
                                      .kernels = "avx2",
                                      .rss_bytes = 1048576};
    writer_init(w);
    metrics_render(w, &view);
    writer_u8(w, 0);
    assert_false(w->bad);
}

static void assert_line(const char *text, const char *line)
{
    size_t len = strlen(line);
    for (const char *at = strstr(text, line); at != NULL; at = strstr(at + 1, line)) {
        if ((at == text || at[-1] == '\n') && at[len] == '\n') {
            return;
        }
    }
    fail_msg("no line `%s`", line);
}

static void test_values(void **state)
{
    (void)state;
    memset(&g_status, 0, sizeof g_status);
    g_status.ingest.counters.events = UINT64_MAX;
    g_status.ingest.counters.late_by_kind[EVENT_CLICK] = 4;
    g_status.ingest.counters.malformed_by_reason[DECODE_JSON] = 9;
    g_status.ingest.watermark_ms = 1650844800123;
    g_status.ingest.partitions = 8;
    g_status.learner.auc = 0.7375;
    g_status.learner.calibration = NAN;
    g_status.learner.logloss = INFINITY;
    g_status.version_age_ms = -1;
    g_status.ready = true;
    struct writer w;
    render(&w, "1.2.3");
    const char *text = (const char *)w.data;
    assert_line(text, "undine_events_total 18446744073709551615");
    assert_line(text, "undine_late_by_kind_total{kind=\"click\"} 4");
    assert_line(text, "undine_late_by_kind_total{kind=\"impression\"} 0");
    assert_line(text, "undine_malformed_by_reason_total{reason=\"json\"} 9");
    assert_line(text, "undine_watermark_timestamp_seconds 1650844800.123");
    assert_line(text, "undine_partitions 8");
    assert_line(text, "undine_auc 0.7375");
    assert_line(text, "undine_calibration NaN");
    assert_line(text, "undine_logloss +Inf");
    assert_line(text, "undine_version_age_seconds NaN");
    assert_line(text, "undine_ready 1");
    assert_line(text, "undine_rss_bytes 1048576");
    assert_line(text, "undine_info{version=\"1.2.3\",kernels=\"avx2\"} 1");
    writer_release(&w);
}

static void test_slices(void **state)
{
    (void)state;
    g_slices = (struct trainer_slices){.n = 2};
    (void)strcpy(g_slices.slice[0].name, "tab \"1\"");
    (void)strcpy(g_slices.slice[1].name, "new_users");
    g_slices.slice[0].metrics.examples = 7;
    g_slices.slice[0].metrics.auc = NAN;
    g_slices.slice[1].metrics.auc = 0.625;
    g_slices.slice[1].metrics.window_ece = 0.25;
    struct writer w;
    render(&w, "1");
    const char *text = (const char *)w.data;
    assert_line(text, "undine_slice_examples_total{slice=\"tab \\\"1\\\"\"} 7");
    assert_line(text, "undine_slice_auc{slice=\"tab \\\"1\\\"\"} NaN");
    assert_line(text, "undine_slice_auc{slice=\"new_users\"} 0.625");
    assert_line(text, "undine_slice_window_ece{slice=\"new_users\"} 0.25");
    writer_release(&w);
}

static void test_labels_are_escaped(void **state)
{
    (void)state;
    struct writer w;
    render(&w, "a\"b\\c\nd");
    assert_line((const char *)w.data,
                "undine_info{version=\"a\\\"b\\\\c\\nd\",kernels=\"avx2\"} 1");
    writer_release(&w);
}

/* A histogram's samples have names of their own. */
static bool is_sample(const char *name, const char *type, const char *kind)
{
    size_t n = strlen(type);
    if (strcmp(kind, "histogram") != 0) {
        return strcmp(name, type) == 0;
    }
    return strncmp(name, type, n) == 0 &&
           (strcmp(name + n, "_bucket") == 0 || strcmp(name + n, "_sum") == 0 ||
            strcmp(name + n, "_count") == 0);
}

/* Each line is a comment or `name[{labels}] value`; each name has one HELP and one TYPE before it,
 * and a counter's name ends in _total. */
static void test_exposition_format(void **state)
{
    (void)state;
    struct writer w;
    render(&w, "1");
    char help[128] = "", type[128] = "", kind[16] = "", name[128];
    size_t n_types = 0, n_samples = 0;
    for (char *line = (char *)w.data, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (sscanf(line, "# HELP %127s", help) == 1) {
            continue;
        }
        if (sscanf(line, "# TYPE %127s %15s", type, kind) == 2) {
            n_types++;
            assert_string_equal(type, help);
            bool counter = strcmp(kind, "counter") == 0;
            assert_true(counter || strcmp(kind, "gauge") == 0 || strcmp(kind, "histogram") == 0);
            const char *tail = type + strlen(type) - strlen("_total");
            assert_int_equal(counter, strcmp(tail, "_total") == 0);
            continue;
        }
        assert_int_equal(sscanf(line, "%127[a-z0-9_]", name), 1);
        assert_true(is_sample(name, type, kind));
        assert_memory_equal(name, "undine_", 7);
        const char *value = strrchr(line, ' ');
        double v;
        assert_non_null(value);
        assert_int_equal(sscanf(value, "%lf", &v), 1);
        n_samples++;
    }
    assert_true(n_types > 60);
    assert_true(n_samples > n_types);
    writer_release(&w);
}

/* Buckets count what lies below them, and the last one all. */
static void test_pause_histogram(void **state)
{
    (void)state;
    struct pause p = {0};
    pause_record(&p, 400000);
    pause_record(&p, 400000);
    pause_record(&p, 4000000);
    pause_record(&p, INT64_C(3000000000));
    pause_status(&p, &g_status.pause);
    struct writer w;
    render(&w, "1");
    const char *text = (const char *)w.data;
    assert_non_null(strstr(text, "undine_publish_pause_seconds_bucket{le=\"0.0005\"} 2\n"));
    assert_non_null(strstr(text, "undine_publish_pause_seconds_bucket{le=\"0.003\"} 2\n"));
    assert_non_null(strstr(text, "undine_publish_pause_seconds_bucket{le=\"0.005\"} 3\n"));
    assert_non_null(strstr(text, "undine_publish_pause_seconds_bucket{le=\"2\"} 3\n"));
    assert_non_null(strstr(text, "undine_publish_pause_seconds_bucket{le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text, "undine_publish_pause_seconds_sum 3.0048\n"));
    assert_non_null(strstr(text, "undine_publish_pause_seconds_count 4\n"));
    assert_true(pause_below(&g_status.pause, 0.5) == 0.0005);
    assert_true(isinf(pause_below(&g_status.pause, 0.99)));
    writer_release(&w);
}

/* Two metrics of one name would make a scrape fail as a whole. */
static void test_names_are_unique(void **state)
{
    (void)state;
    struct writer w;
    render(&w, "1");
    const char *text = (const char *)w.data;
    for (const char *p = strstr(text, "# TYPE "); p != NULL; p = strstr(p + 1, "# TYPE ")) {
        char name[160];
        assert_int_equal(sscanf(p, "# TYPE %127s", name), 1);
        char header[160];
        (void)snprintf(header, sizeof header, "# TYPE %.127s ", name);
        assert_null(strstr(p + 1, header));
    }
    writer_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_exposition_format),
        cmocka_unit_test(test_pause_histogram),
        cmocka_unit_test(test_names_are_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
