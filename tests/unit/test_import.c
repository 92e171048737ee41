/* The importers on small files made here, on the worked example of docs/import.md, and on the
 * published data where it is there. */
#include "ops/import.h"
#include "ops/import_mapping.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include <setjmp.h>

#include <cmocka.h>

enum { NAMES = 5 };
static char dir[] = "/tmp/undine-import-XXXXXX";
static char paths[NAMES][128];

static const char *put(int i, const char *text)
{
    (void)snprintf(paths[i], sizeof paths[i], "%s/f%d", dir, i);
    FILE *f = fopen(paths[i], "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return paths[i];
}

static void remove_files(void)
{
    for (int i = 0; i < NAMES; i++) {
        (void)unlink(paths[i]);
    }
}

/* All lines in one text. */
static int collect(void *payload, const struct event_line *line, struct undine_err *err)
{
    (void)err;
    return fwrite(line->text, 1, line->len, payload) == line->len ? UNDINE_OK : UNDINE_EIO;
}

struct run {
    char *text;
    size_t len;
    FILE *file;
    struct event_writer *w;
};

static void run_begin(struct run *r)
{
    *r = (struct run){0};
    r->file = open_memstream(&r->text, &r->len);
    assert_non_null(r->file);
    assert_int_equal(event_writer_open(&r->w, collect, r->file, NULL), UNDINE_OK);
}

static void run_end(struct run *r)
{
    assert_int_equal(event_release(r->w, INT64_MAX, NULL), UNDINE_OK);
    assert_int_equal(fclose(r->file), 0);
}

static void run_release(struct run *r)
{
    event_writer_close(r->w);
    free(r->text);
}

/* ---- csv ---- */

/* The text of the n-th fenced block of a language. */
static char *block_of(const char *document, const char *language)
{
    char fence[32];
    (void)snprintf(fence, sizeof fence, "\n```%s\n", language);
    const char *start = strstr(document, fence);
    assert_non_null(start);
    start += strlen(fence);
    const char *end = strstr(start, "\n```");
    assert_non_null(end);
    return strndup(start, (size_t)(end - start) + 1);
}

static void test_worked_example(void **state)
{
    (void)state;
    char document[20000] = "";
    FILE *f = fopen(UNDINE_SOURCE_DIR "/docs/import.md", "r");
    assert_non_null(f);
    assert_true(fread(document, 1, sizeof document - 1, f) > 0);
    assert_int_equal(fclose(f), 0);
    char *csv = block_of(document, "csv"), *mapping = block_of(document, "yaml");
    char *expected = block_of(document, "jsonl");
    const struct import_csv opt = {.mapping = put(0, mapping), .input = put(1, csv)};
    struct import_csv_counts counts = {0};
    struct undine_err err = {0};
    struct run r;
    run_begin(&r);
    if (import_csv(&opt, r.w, &counts, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    run_end(&r);
    assert_string_equal(r.text, expected);
    assert_int_equal(counts.rows, 3);
    run_release(&r);
    free(csv);
    free(mapping);
    free(expected);
    remove_files();
}

static void csv_case(const char *mapping, const char *csv, bool sort, const char *expected)
{
    const struct import_csv opt = {put(0, mapping), put(1, csv), sort};
    struct import_csv_counts counts = {0};
    struct undine_err err = {0};
    struct run r;
    run_begin(&r);
    int rc = import_csv(&opt, r.w, &counts, &err);
    run_end(&r);
    if (rc != UNDINE_OK) {
        assert_string_equal(err.msg + (strncmp(err.msg, dir, strlen(dir)) == 0 ? strlen(dir) : 0),
                            expected);
    } else {
        assert_string_equal(r.text, expected);
    }
    run_release(&r);
    remove_files();
}

static void test_csv_kinds(void **state)
{
    (void)state;
    csv_case(
        "header: false\ndelimiter: tab\nquotes: false\n"
        "kind: {column: '2', values: {show: impression, tap: click, buy: behavior, bye: forget}}\n"
        "user: '1'\ntime: {column: '3', unit: iso}\ntype: {value: bought}\ncandidate: {a: '4'}\n",
        "u\tshow\t1970-01-01T00:00:01Z\tx\nu\ttap\t1970-01-01T00:00:02Z\tx\n"
        "u\tbuy\t1970-01-01T00:00:03Z\t\"y\nu\thm\t1970-01-01T00:00:03Z\ty\n"
        "u\tbye\t1970-01-01T00:00:04Z\n",
        false,
        "{\"kind\":\"impression\",\"time\":1000,\"user\":\"u\",\"id\":\"r0\",\"candidate\":{"
        "\"a\":\"x\"}}\n"
        "{\"kind\":\"click\",\"time\":2000,\"user\":\"u\",\"item\":\"x\"}\n"
        "{\"kind\":\"behavior\",\"time\":3000,\"user\":\"u\",\"type\":\"bought\",\"item\":{"
        "\"a\":\"\\\"y\"}}\n"
        "{\"kind\":\"forget\",\"time\":4000,\"user\":\"u\"}\n");
    static const char map[] = "kind: click\nimpression: i\ntime: {column: t, unit: us}\n";
    csv_case(map, "i,t\na,5000\nb,3000\n", false,
             "{\"kind\":\"click\",\"time\":5,\"impression\":\"a\"}\n"
             "{\"kind\":\"click\",\"time\":3,\"impression\":\"b\"}\n");
    csv_case(map, "i,t\na,5000\nb,3000\n", true,
             "{\"kind\":\"click\",\"time\":3,\"impression\":\"b\"}\n"
             "{\"kind\":\"click\",\"time\":5,\"impression\":\"a\"}\n");
}

static void test_csv_errors(void **state)
{
    (void)state;
    static const char good[] = "kind: impression\nuser: u\ntime: t\ncandidate: {a: a}\n";
    csv_case(good, "u,t,a\nx,12,1\nx,1z,1\n", false,
             "/f1:3: `time` is `1z`, expected a time in the unit of the mapping");
    csv_case(good, "u,t,a\n,12,1\n", false, "/f1:2: `user` is ``, expected an id");
    csv_case(good, "u,t,b\n", false, "/f1: no column `a`; did you mean `u`?");
    csv_case("kind: impressio\n", "", false,
             "/f0:1: `kind` is `impressio`, expected one of `impression`, `click`, `behavior`, "
             "`forget`");
    csv_case("kind: impression\nusr: u\n", "", false,
             "/f0:2: unknown key `usr`; did you mean `user`?");
    csv_case("kind: impression\nkind: click\n", "", false, "/f0:2: `kind` is set twice");
    csv_case("kind: impression\nuser: u\ntime: t\n", "", false,
             "/f0: `candidate` is missing: the fields of the ad");
    csv_case("kind: {column: k}\n", "", false,
             "/f0:1: `kind` is `a mapping or a list`, expected `values`: what each text of the "
             "column stands for");
    csv_case("time: {column: t, unit: h}\n", "", false,
             "/f0:1: `unit` is `h`, expected one of `s`, `ms`, `us`, `ns`, `iso`");
    csv_case("user: {column: a, value: b}\n", "", false,
             "/f0:1: `user` is `a mapping or a list`, expected a column's name, {column: NAME} or "
             "{value: TEXT}");
    csv_case("delimiter: ab\n", "", false,
             "/f0:1: `delimiter` is `ab`, expected one character, or `tab`");
    csv_case("a: [\n", "", false, "/f0:2: not YAML: did not find expected node content");
    csv_case("", "", false, "/f0: `kind` is missing: what a row is");
}

/* ---- kuairand ---- */

static void kuairand_case(const char *log, const char *expected)
{
    const struct import_kuairand opt = {
        .log = put(0, log),
        .history = put(1, "user_id\thistory_len\tlast_time_ms\texposed_seq_last50\t"
                          "liked_seq_last50\tlong_watch_seq_last50\n"
                          "7\t3\t5000\t1 2 9\t\t2 1 9\n8\t1\t4000\t1\t\t\n"),
        .users = put(2, "user_id,user_active_degree,follow_user_num,follow_user_num_range,"
                        "onehot_feat0\n7,full_active,514,\"(0,10]\",\n"),
        .videos = put(3, "video_id,author_id,tag\n1,11,5\n2,12,\"5,6\"\n3,13,unknown\n"),
        .click_delay_ms = 1000,
    };
    struct import_kuairand_counts counts = {0};
    struct undine_err err = {0};
    struct run r;
    run_begin(&r);
    int rc = import_kuairand(&opt, r.w, &counts, &err);
    run_end(&r);
    if (rc != UNDINE_OK) {
        assert_string_equal(err.msg + strlen(dir), expected);
    } else {
        assert_string_equal(r.text, expected);
        assert_int_equal(counts.users_without_profile, 1);
        assert_int_equal(counts.videos_unknown, 1);
    }
    run_release(&r);
    remove_files();
}

static void test_kuairand_small(void **state)
{
    (void)state;
    kuairand_case(
        "user_id,video_id,hourmin,time_ms,is_click,tab,author_id,tag\n"
        "7,1,1300,6000,1,4,11,5\n7,2,0,6000,0,1,12,\"5,6\"\n8,3,2359,6500,1,0,13,unknown\n",
        "{\"kind\":\"behavior\",\"time\":3000,\"user\":\"7\",\"type\":\"long_watch\",\"item\":{"
        "\"video\":\"2\",\"author\":\"12\",\"tag\":[\"5\",\"6\"]}}\n"
        "{\"kind\":\"behavior\",\"time\":4000,\"user\":\"7\",\"type\":\"long_watch\",\"item\":{"
        "\"video\":\"1\",\"author\":\"11\",\"tag\":\"5\"}}\n"
        "{\"kind\":\"behavior\",\"time\":5000,\"user\":\"7\",\"type\":\"long_watch\",\"item\":{"
        "\"video\":\"9\"}}\n"
        "{\"kind\":\"impression\",\"time\":6000,\"user\":\"7\",\"id\":\"r0\",\"candidate\":{"
        "\"video\":\"1\",\"author\":\"11\",\"tag\":\"5\"},\"context\":{\"tab\":\"4\",\"hour\":"
        "\"13\"},"
        "\"profile\":{\"user_active_degree\":\"full_active\",\"follow_user_num_range\":\"(0,10]\"}}"
        "\n"
        "{\"kind\":\"impression\",\"time\":6000,\"user\":\"7\",\"id\":\"r1\",\"candidate\":{"
        "\"video\":\"2\",\"author\":\"12\",\"tag\":[\"5\",\"6\"]},\"context\":{\"tab\":\"1\","
        "\"hour\":"
        "\"0\"},\"profile\":{\"user_active_degree\":\"full_active\",\"follow_user_num_range\":"
        "\"(0,10]\"}}\n"
        "{\"kind\":\"impression\",\"time\":6500,\"user\":\"8\",\"id\":\"r2\",\"candidate\":{"
        "\"video\":\"3\",\"author\":\"13\"},\"context\":{\"tab\":\"0\",\"hour\":\"23\"}}\n"
        "{\"kind\":\"click\",\"time\":7000,\"user\":\"7\",\"impression\":\"r0\"}\n"
        "{\"kind\":\"click\",\"time\":7500,\"user\":\"8\",\"impression\":\"r2\"}\n");
    kuairand_case(
        "user_id,video_id,hourmin,time_ms,is_click,tab,author_id,tag\n7,1,2500,1,1,1,1,1\n",
        "/f0:2: `hourmin` is `2500`, expected an integer");
    kuairand_case("user_id,video_id,hourmin,time_ms,is_click,tab,author_id\n",
                  "/f0: no column `tag`; did you mean `tab`?");
}

/* More of the candidate, time since the user was last shown anything, and exposures as behaviour.
 */
static void test_kuairand_wide(void **state)
{
    (void)state;
    const struct import_kuairand opt = {
        .log = put(0, "user_id,video_id,hourmin,time_ms,is_click,tab,author_id,tag,duration_ms\n"
                      "7,1,1300,6000,0,4,11,5,8000\n7,2,1300,6000,0,4,12,6,100\n"
                      "7,1,1300,13000,0,4,11,5,8000\n"),
        .history = put(1, "user_id\tlast_time_ms\texposed_seq_last50\tlong_watch_seq_last50\n"
                          "7\t5000\t2 1\t2\n"),
        .users = put(2, "user_id,user_active_degree\n8,full_active\n"),
        .videos = put(3, "video_id,author_id,tag,video_type,upload_type,music_type\n"
                         "1,11,5,NORMAL,Web,9.0\n2,12,6,AD,,4.0\n"),
        .click_delay_ms = 1000,
        .wide = true,
    };
    static const char expected[] =
        "{\"kind\":\"behavior\",\"time\":4000,\"user\":\"7\",\"type\":\"exposed\",\"item\":{"
        "\"video\":\"2\",\"author\":\"12\",\"tag\":\"6\"}}\n"
        "{\"kind\":\"behavior\",\"time\":5000,\"user\":\"7\",\"type\":\"long_watch\",\"item\":{"
        "\"video\":\"2\",\"author\":\"12\",\"tag\":\"6\"}}\n"
        "{\"kind\":\"behavior\",\"time\":5000,\"user\":\"7\",\"type\":\"exposed\",\"item\":{"
        "\"video\":\"1\",\"author\":\"11\",\"tag\":\"5\"}}\n"
        "{\"kind\":\"impression\",\"time\":6000,\"user\":\"7\",\"id\":\"r0\",\"candidate\":{"
        "\"video\":\"1\",\"author\":\"11\",\"tag\":\"5\",\"duration\":\"6\",\"video_type\":"
        "\"NORMAL\",\"upload_type\":\"Web\",\"music_type\":\"9.0\"},\"context\":{\"tab\":\"4\","
        "\"hour\":\"13\",\"gap\":\"none\"}}\n"
        "{\"kind\":\"impression\",\"time\":6000,\"user\":\"7\",\"id\":\"r1\",\"candidate\":{"
        "\"video\":\"2\",\"author\":\"12\",\"tag\":\"6\",\"duration\":\"-2\",\"video_type\":"
        "\"AD\",\"music_type\":\"4.0\"},\"context\":{\"tab\":\"4\",\"hour\":\"13\",\"gap\":"
        "\"none\"}}\n"
        "{\"kind\":\"behavior\",\"time\":7000,\"user\":\"7\",\"type\":\"exposed\",\"item\":{"
        "\"video\":\"1\",\"author\":\"11\",\"tag\":\"5\"}}\n"
        "{\"kind\":\"behavior\",\"time\":7000,\"user\":\"7\",\"type\":\"exposed\",\"item\":{"
        "\"video\":\"2\",\"author\":\"12\",\"tag\":\"6\"}}\n"
        "{\"kind\":\"impression\",\"time\":13000,\"user\":\"7\",\"id\":\"r2\",\"candidate\":{"
        "\"video\":\"1\",\"author\":\"11\",\"tag\":\"5\",\"duration\":\"6\",\"video_type\":"
        "\"NORMAL\",\"upload_type\":\"Web\",\"music_type\":\"9.0\"},\"context\":{\"tab\":\"4\","
        "\"hour\":\"13\",\"gap\":\"4\"}}\n"
        "{\"kind\":\"behavior\",\"time\":14000,\"user\":\"7\",\"type\":\"exposed\",\"item\":{"
        "\"video\":\"1\",\"author\":\"11\",\"tag\":\"5\"}}\n";
    struct import_kuairand_counts counts = {0};
    struct undine_err err = {0};
    struct run r;
    run_begin(&r);
    if (import_kuairand(&opt, r.w, &counts, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    run_end(&r);
    assert_string_equal(r.text, expected);
    run_release(&r);
    remove_files();
}

/* Folder of the published data, or NULL after saying so. */
static const char *data_file(const char *name)
{
    static char path[4][512];
    static int next;
    const char *folders[] = {getenv("UNDINE_DATA"), UNDINE_SOURCE_DIR "/../shared/data"};
    for (int i = 0; i < 2; i++) {
        char *p = path[next % 4];
        (void)snprintf(p, sizeof path[0], "%s/%s", folders[i] != NULL ? folders[i] : "", name);
        if (folders[i] != NULL && access(p, R_OK) == 0) {
            next++;
            return p;
        }
    }
    (void)printf("SKIPPED: %s is not on this machine (UNDINE_DATA names its folder)\n", name);
    return NULL;
}

static int drop(void *payload, const struct event_line *line, struct undine_err *err)
{
    (void)err;
    int64_t *last_ms = payload;
    assert_true(line->time_ms >= *last_ms);
    *last_ms = line->time_ms;
    return UNDINE_OK;
}

static void test_kuairand_published(void **state)
{
    (void)state;
    const struct import_kuairand opt = {
        .log = data_file("kuairand_pure/log_standard_20220425_20220504.csv.zst"),
        .history = data_file("kuairand_pure/user_history_until_20220424.tsv.zst"),
        .users = data_file("kuairand_pure/user_features_pure.csv.zst"),
        .videos = data_file("kuairand_pure/video_features_basic_pure.csv.zst"),
        .click_delay_ms = 1000,
    };
    if (opt.log == NULL || opt.history == NULL || opt.users == NULL || opt.videos == NULL) {
        skip();
    }
    struct import_kuairand_counts counts = {0};
    struct undine_err err = {0};
    struct event_writer *w = NULL;
    int64_t last_ms = 0;
    assert_int_equal(event_writer_open(&w, drop, &last_ms, NULL), UNDINE_OK);
    if (import_kuairand(&opt, w, &counts, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(event_release(w, INT64_MAX, &err), UNDINE_OK);
    const struct event_counts *c = event_counts_of(w);
    assert_int_equal(c->made[EVENT_IMPRESSION], 171671);
    assert_int_equal(c->made[EVENT_CLICK], 76099);
    assert_int_equal(c->made[EVENT_BEHAVIOR], 390929);
    assert_int_equal(counts.users_without_profile, 0);
    assert_int_equal(counts.videos_unknown, 0);
    event_writer_close(w);
}

/* ---- amazon ---- */

static void test_amazon_small(void **state)
{
    (void)state;
    /* One splitmix64 from state 42: its first numbers, high halves times 3 items >> 32, and top
     * bits, worked out by hand: 13679457532755275413 -> 2 (item 30, free), 2949826092126892291: top
     * bit 0. */
    const struct import_amazon opt = {
        .input = put(0, "user\titem\tcate\ttimestamp\n5\t20\t2\t1000\n6\t10\t1\t500\n"
                        "5\t10\t1\t2000\n"),
        .click_delay_ms = 1,
    };
    struct undine_err err = {0};
    struct run r;
    run_begin(&r);
    assert_int_equal(import_amazon(&opt, r.w, &err), UNDINE_ECORRUPT); /* two items, both had */
    assert_string_equal(err.msg + strlen(dir),
                        "/f0: user 5 may have reviewed all of 2 items, no negative is left");
    run_end(&r);
    run_release(&r);
    (void)put(0, "user\titem\tcate\ttimestamp\n5\t20\t2\t1000\n6\t30\t3\t500\n5\t10\t1\t2000\n");
    run_begin(&r);
    assert_int_equal(import_amazon(&opt, r.w, &err), UNDINE_OK);
    run_end(&r);
    assert_string_equal(
        r.text,
        "{\"kind\":\"behavior\",\"time\":500000,\"user\":\"6\",\"type\":\"review\",\"item\":{"
        "\"item\":\"30\",\"category\":\"3\"}}\n"
        "{\"kind\":\"behavior\",\"time\":1000000,\"user\":\"5\",\"type\":\"review\",\"item\":{"
        "\"item\":\"20\",\"category\":\"2\"}}\n"
        "{\"kind\":\"impression\",\"time\":2000000,\"user\":\"5\",\"id\":\"p2\",\"candidate\":{"
        "\"item\":\"10\",\"category\":\"1\"}}\n"
        "{\"kind\":\"impression\",\"time\":2000000,\"user\":\"5\",\"id\":\"n2\",\"candidate\":{"
        "\"item\":\"30\",\"category\":\"3\"}}\n"
        "{\"kind\":\"click\",\"time\":2000001,\"user\":\"5\",\"impression\":\"p2\"}\n");
    run_release(&r);
    remove_files();
}

/* Steps that each user had strictly before each impression, from the lines alone. */
struct histories {
    json_t *by_user; /* user -> [times]: ascending, because the lines are */
    uint64_t impressions, clicked, empty, steps;
};

static int count_history(void *payload, const struct event_line *line, struct undine_err *err)
{
    struct histories *h = payload;
    (void)err;
    json_t *times = json_object_get(h->by_user, line->user);
    if (times == NULL) {
        times = json_array();
        assert_int_equal(json_object_set_new(h->by_user, line->user, times), 0);
    }
    if (line->kind != EVENT_IMPRESSION) {
        h->clicked += line->kind == EVENT_CLICK;
        return json_array_append_new(times, json_integer(line->time_ms));
    }
    size_t n = json_array_size(times);
    while (n > 0 && json_integer_value(json_array_get(times, n - 1)) >= line->time_ms) {
        n--;
    }
    h->impressions++;
    h->empty += n == 0;
    h->steps += n < 50 ? n : 50;
    return UNDINE_OK;
}

static void test_amazon_published(void **state)
{
    (void)state;
    const struct import_amazon opt = {data_file("amazon_beauty/interactions.tsv.zst"), 1000};
    if (opt.input == NULL) {
        skip();
    }
    struct histories h = {.by_user = json_object()};
    struct undine_err err = {0};
    struct event_writer *w = NULL;
    assert_int_equal(event_writer_open(&w, count_history, &h, NULL), UNDINE_OK);
    if (import_amazon(&opt, w, &err) != UNDINE_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(event_release(w, INT64_MAX, &err), UNDINE_OK);
    assert_int_equal(h.impressions, 352278);
    assert_int_equal(h.clicked, 176139);
    assert_int_equal(h.empty, 50406);
    assert_int_equal((int)(100.0 * (double)h.steps / (double)h.impressions + 0.5), 707);
    json_decref(h.by_user);
    event_writer_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worked_example),     cmocka_unit_test(test_csv_kinds),
        cmocka_unit_test(test_csv_errors),         cmocka_unit_test(test_kuairand_small),
        cmocka_unit_test(test_kuairand_wide),      cmocka_unit_test(test_amazon_small),
        cmocka_unit_test(test_kuairand_published), cmocka_unit_test(test_amazon_published),
    };
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_files();
    return rmdir(dir) != 0 || failed != 0;
}
