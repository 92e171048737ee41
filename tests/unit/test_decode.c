#include "ingest/decode.h"

#include "base/hash.h"
#include "ingest/source.h"
#include "tests/support/event_schema.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

enum { MESSAGE_MAX = 4096, TOPIC_MIXED = 0, TOPIC_CLICKS = 1, TOPIC_BEHAVIOR = 2 };

static struct schema schema;
static uint64_t record[EVENT_WORDS_MAX];

static struct decoder *open_decoder(bool by_user_item)
{
    struct decode_options opt = {
        .message_bytes_max = MESSAGE_MAX,
        .topic_kinds = {(1U << EVENT_IMPRESSION) | (1U << EVENT_CLICK) | (1U << EVENT_FORGET),
                        1U << EVENT_CLICK, 1U << EVENT_BEHAVIOR},
        .n_topics = 3,
        .join_by_user_item = by_user_item};
    struct decoder *d = NULL;
    struct undine_err err = {0};
    assert_int_equal(decoder_open(&d, &schema, &opt, &err), 0);
    return d;
}

static int setup(void **state)
{
    assert_int_equal(event_schema(&schema), 0);
    *state = open_decoder(false);
    return 0;
}

static int teardown(void **state)
{
    decoder_close(*state);
    return 0;
}

static enum decode_reason decode_bytes(struct decoder *d, const void *data, size_t len,
                                       uint32_t topic, uint32_t *words)
{
    /* A copy of exactly this size: the sanitizer sees a read behind it. */
    uint8_t *copy = malloc(len + (len == 0));
    memcpy(copy, data, len);
    memset(record, 0xAB, sizeof record);
    enum decode_reason r = decoder_decode(d, copy, len, topic, record, words);
    free(copy);
    if (r == DECODE_OK && *words > 0) {
        assert_true(event_valid(record, *words, &schema));
    }
    return r;
}

static enum decode_reason decode(struct decoder *d, const char *text)
{
    uint32_t words;
    return decode_bytes(d, text, strlen(text), SOURCE_TOPIC_ANY, &words);
}

static const struct event *decode_ok(struct decoder *d, const char *text)
{
    uint32_t words = 0;
    enum decode_reason r = decode_bytes(d, text, strlen(text), SOURCE_TOPIC_ANY, &words);
    if (r != DECODE_OK) {
        fail_msg("%s: %s", decode_reason_name(r), text);
    }
    assert_true(words > 0);
    return (const struct event *)record;
}

#define assert_reason(d, reason, text)                                                             \
    assert_string_equal(decode_reason_name(decode(d, text)), decode_reason_name(reason))

static uint64_t feature(uint32_t field, const char *value)
{
    return hash_feature(schema.tables[schema.fields[field].table].hash_seed, value, strlen(value));
}

static void assert_field(const struct event *e, uint32_t field, const char *values)
{
    uint32_t n;
    const uint64_t *ids = event_field(e, field, &n);
    char copy[256], *rest = copy;
    uint32_t want = 0;
    strcpy(copy, values);
    for (char *v; (v = strsep(&rest, " ")) != NULL && *v != '\0'; want++) {
        assert_true(want < n);
        assert_int_equal(ids[want], feature(field, v));
    }
    assert_int_equal(n, want);
}

#define IMPRESSION(more)                                                                           \
    "{\"kind\":\"impression\",\"id\":\"i1\",\"user\":\"u1\",\"time\":1650812741436" more "}"
#define CLICK(more) "{\"kind\":\"click\",\"impression\":\"i1\",\"time\":1650812741436" more "}"
#define BEHAVIOR(more)                                                                             \
    "{\"kind\":\"behavior\",\"type\":\"cart\",\"user\":\"u1\",\"time\":5" more "}"

static void test_impression(void **state)
{
    const char *text = IMPRESSION(",\"profile\":{\"age\":\"30\"},\"candidate\":{\"video\":5239,"
                                  "\"tag\":[39,\"x\"]},\"context\":{\"hour\":3}");
    const struct event *e = decode_ok(*state, text);
    assert_int_equal(e->kind, EVENT_IMPRESSION);
    assert_int_equal(e->time_ms, 1650812741436);
    assert_int_equal(e->id, hash_id("i1", 2));
    assert_int_equal(e->user, hash_id("u1", 2));
    assert_int_equal(e->tie, hash_id(text, strlen(text)));
    assert_int_equal(e->item, feature(FIELD_VIDEO, "5239"));
    assert_int_equal(e->user_len, 2);
    assert_memory_equal(event_user(e), "u1", 2);
    assert_field(e, FIELD_UID, "u1");
    assert_field(e, FIELD_AGE, "30");
    assert_field(e, FIELD_VIDEO, "5239");
    assert_field(e, FIELD_TAG, "39 x");
    assert_field(e, FIELD_HOUR, "3");
    assert_int_equal(decoder_stats(*state)->missing[FIELD_HOUR], 0);
}

static void test_click(void **state)
{
    const struct event *e = decode_ok(*state, CLICK(""));
    assert_int_equal(e->kind, EVENT_CLICK);
    assert_int_equal(e->id, hash_id("i1", 2));
    assert_int_equal(e->user, 0);
    assert_int_equal(e->user_len, 0);
    assert_int_equal(e->item, 0);
    assert_int_equal(e->n_fields, 0);
    e = decode_ok(*state, CLICK(",\"user\":7"));
    assert_int_equal(e->user, hash_id("7", 1));
    assert_memory_equal(event_user(e), "7", 1);
}

static void test_behavior(void **state)
{
    const char *text = BEHAVIOR(",\"item\":{\"video\":1,\"tag\":[2,3]}");
    const struct event *e = decode_ok(*state, text);
    assert_int_equal(e->kind, EVENT_BEHAVIOR);
    assert_int_equal(e->behavior, BEHAVIOR_CART);
    assert_int_equal(e->id, hash_id(text, strlen(text)));
    assert_int_equal(e->item, feature(FIELD_VIDEO, "1"));
    assert_field(e, FIELD_TAG, "2 3");
    assert_field(e, FIELD_UID, "");
    e = decode_ok(*state, BEHAVIOR(",\"item\":\"v\""));
    assert_field(e, FIELD_VIDEO, "v");
    assert_reason(*state, DECODE_MISSING, BEHAVIOR(""));
    assert_reason(*state, DECODE_MISSING, BEHAVIOR(",\"item\":{}"));
    assert_reason(*state, DECODE_MISSING, BEHAVIOR(",\"item\":{\"tag\":[]}"));
    assert_reason(*state, DECODE_TYPE, BEHAVIOR(",\"item\":[1]"));
    assert_reason(*state, DECODE_MISSING,
                  "{\"kind\":\"behavior\",\"user\":1,\"time\":5,\"item\":1}");
    assert_reason(*state, DECODE_TYPE, "{\"kind\":\"behavior\",\"type\":1,\"user\":1,\"time\":5}");
}

static void test_behavior_ignored(void **state)
{
    uint32_t words = 99;
    const char *text = "{\"kind\":\"behavior\",\"type\":\"like\",\"user\":\"u\",\"time\":1}";
    assert_int_equal(decode_bytes(*state, text, strlen(text), SOURCE_TOPIC_ANY, &words), DECODE_OK);
    assert_int_equal(words, 0);
    assert_int_equal(decoder_stats(*state)->behaviors_ignored, 1);
    assert_int_equal(decoder_stats(*state)->reasons[DECODE_OK], 1);
}

static void test_forget(void **state)
{
    const char *text = "{\"kind\":\"forget\",\"user\":\"u1\",\"time\":0}";
    const struct event *e = decode_ok(*state, text);
    assert_int_equal(e->kind, EVENT_FORGET);
    assert_int_equal(e->time_ms, 0);
    assert_int_equal(e->id, hash_id(text, strlen(text)));
    assert_int_equal(e->user, hash_id("u1", 2));
    assert_reason(*state, DECODE_MISSING, "{\"kind\":\"forget\",\"time\":0}");
}

static void test_ids(void **state)
{
    static const struct {
        const char *json, *bytes;
    } ids[] = {{"5239", "5239"},
               {"\"5239\"", "5239"},
               {"-7", "-7"},
               {"0", "0"},
               {"-0", "0"},
               {"18446744073709551615", "18446744073709551615"},
               {"-9223372036854775808", "-9223372036854775808"},
               {"\"a\\u0062c\"", "abc"},
               {"\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80"},
               {"\"\\\"\\\\\\/\\n\"", "\"\\/\n"},
               {" \"sp ace\" ", "sp ace"},
               {"\"M\xC3\xBCller\"", "M\xC3\xBCller"}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "{\"kind\":\"impression\",\"time\":1,\"id\":%s,\"user\":%s,"
                 "\"candidate\":{\"video\":%s}}",
                 ids[i].json, ids[i].json, ids[i].json);
        const struct event *e = decode_ok(*state, text);
        size_t len = strlen(ids[i].bytes);
        assert_int_equal(e->id, hash_id(ids[i].bytes, len));
        assert_int_equal(e->user, hash_id(ids[i].bytes, len));
        assert_int_equal(e->user_len, len);
        assert_memory_equal(event_user(e), ids[i].bytes, len);
        assert_int_equal(e->item, feature(FIELD_VIDEO, ids[i].bytes));
    }
}

static void test_bad_ids(void **state)
{
    static const struct {
        const char *json;
        enum decode_reason reason;
    } ids[] = {{"1.5", DECODE_TYPE},
               {"1e3", DECODE_TYPE},
               {"true", DECODE_TYPE},
               {"false", DECODE_TYPE},
               {"{}", DECODE_TYPE},
               {"[\"a\"]", DECODE_TYPE},
               {"[[]]", DECODE_TYPE},
               {"18446744073709551616", DECODE_NUMBER},
               {"-9223372036854775809", DECODE_NUMBER},
               {"123456789012345678901234567890", DECODE_NUMBER},
               {"null", DECODE_MISSING},
               {"\"\"", DECODE_MISSING},
               {"[]", DECODE_MISSING},
               {"01", DECODE_JSON},
               {"+1", DECODE_JSON},
               {"1.", DECODE_JSON},
               {".5", DECODE_JSON},
               {"1e", DECODE_JSON},
               {"--1", DECODE_JSON},
               {"-", DECODE_JSON},
               {"NaN", DECODE_JSON},
               {"truex", DECODE_JSON},
               {"nul", DECODE_JSON},
               {"\"\\x\"", DECODE_JSON},
               {"\"\\ud800\"", DECODE_JSON},
               {"\"a\nb\"", DECODE_JSON},
               {"", DECODE_JSON},
               {"1 2", DECODE_JSON},
               {"\"a\"\"b\"", DECODE_JSON},
               {"\"a\":1", DECODE_JSON}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        static const char *const shapes[] = {
            "{\"kind\":\"impression\",\"time\":1,\"user\":1,\"id\":%s}",
            "{\"kind\":\"impression\",\"time\":1,\"user\":%s,\"id\":1}",
            "{\"impression\":%s,\"kind\":\"click\",\"time\":1}",
            "{\"user\":%s,\"kind\":\"forget\",\"time\":1}"};
        for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
            char text[512];
            snprintf(text, sizeof text, shapes[k], ids[i].json);
            if (decode(*state, text) != ids[i].reason) {
                fail_msg("%s: %s, not %s", text, decode_reason_name(decode(*state, text)),
                         decode_reason_name(ids[i].reason));
            }
        }
    }
}

static void test_length(void **state)
{
    char id[DECODE_ID_MAX + 2], text[2048];
    for (int over = 0; over <= 1; over++) {
        memset(id, 'x', sizeof id);
        id[DECODE_ID_MAX + over] = '\0';
        enum decode_reason want = over ? DECODE_LENGTH : DECODE_OK;
        snprintf(text, sizeof text, "{\"kind\":\"forget\",\"time\":1,\"user\":\"%s\"}", id);
        assert_reason(*state, want, text);
        snprintf(text, sizeof text, "{\"kind\":\"click\",\"time\":1,\"impression\":\"%s\"}", id);
        assert_reason(*state, want, text);
        snprintf(text, sizeof text, IMPRESSION(",\"candidate\":{\"tag\":[1,\"%s\"]}"), id);
        assert_reason(*state, want, text);
    }
}

static void test_time(void **state)
{
    static const struct {
        const char *json;
        enum decode_reason reason;
    } times[] = {{"0", DECODE_OK},
                 {"-0", DECODE_OK},
                 {"253402300799999", DECODE_OK},
                 {"253402300800000", DECODE_TIME},
                 {"9223372036854775807", DECODE_TIME},
                 {"18446744073709551615", DECODE_TIME},
                 {"-1", DECODE_TIME},
                 {"1.0", DECODE_NUMBER},
                 {"1e3", DECODE_NUMBER},
                 {"18446744073709551616", DECODE_NUMBER},
                 {"\"1650812741436\"", DECODE_TYPE},
                 {"true", DECODE_TYPE},
                 {"[1]", DECODE_TYPE},
                 {"null", DECODE_MISSING}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"kind\":\"click\",\"impression\":1,\"time\":%s}",
                 times[i].json);
        assert_reason(*state, times[i].reason, text);
    }
    assert_reason(*state, DECODE_MISSING, "{\"kind\":\"click\",\"impression\":1}");
    const struct event *e =
        decode_ok(*state, "{\"kind\":\"click\",\"impression\":1,\"time\":253402300799999}");
    assert_int_equal(e->time_ms, DECODE_TIME_MAX_MS);
}

/* No feature is a number here: what is no id, or no time, is refused and counted, wherever it
 * stands. */
static void test_bad_input_numbers_that_are_none(void **state)
{
    static const struct {
        const char *json;
        enum decode_reason id, time;
    } cases[] = {{"NaN", DECODE_JSON, DECODE_JSON},
                 {"-NaN", DECODE_JSON, DECODE_JSON},
                 {"nan", DECODE_JSON, DECODE_JSON},
                 {"Infinity", DECODE_JSON, DECODE_JSON},
                 {"-Infinity", DECODE_JSON, DECODE_JSON},
                 {"inf", DECODE_JSON, DECODE_JSON},
                 {"1e999", DECODE_TYPE, DECODE_NUMBER},
                 {"-1e999", DECODE_TYPE, DECODE_NUMBER},
                 {"0.5", DECODE_TYPE, DECODE_NUMBER},
                 {"{}", DECODE_TYPE, DECODE_TYPE},
                 {"\"NaN\"", DECODE_OK, DECODE_TYPE}, /* a name like any other */
                 {"\"1650812741436\"", DECODE_OK, DECODE_TYPE}};
    static const char *const of_id[] = {
        "{\"kind\":\"impression\",\"time\":1,\"user\":1,\"id\":%s}",
        "{\"kind\":\"impression\",\"time\":1,\"user\":%s,\"id\":1}",
        "{\"kind\":\"impression\",\"time\":1,\"user\":1,\"id\":1,\"candidate\":{\"video\":%s}}",
        "{\"kind\":\"impression\",\"time\":1,\"user\":1,\"id\":1,\"candidate\":{\"tag\":[1,%s]}}",
        "{\"kind\":\"impression\",\"time\":1,\"user\":1,\"id\":1,\"context\":{\"hour\":%s}}",
        "{\"kind\":\"behavior\",\"type\":\"cart\",\"time\":1,\"user\":1,\"item\":{\"video\":%s}}"};
    uint64_t want[DECODE_REASON_COUNT] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        for (size_t k = 0; k < sizeof of_id / sizeof of_id[0]; k++) {
            snprintf(text, sizeof text, of_id[k], cases[i].json);
            assert_reason(*state, cases[i].id, text);
            want[cases[i].id]++;
        }
        snprintf(text, sizeof text, "{\"kind\":\"click\",\"impression\":1,\"time\":%s}",
                 cases[i].json);
        assert_reason(*state, cases[i].time, text);
        want[cases[i].time]++;
    }
    assert_memory_equal(decoder_stats(*state)->reasons, want, sizeof want);
}

static void test_kind(void **state)
{
    static const char click[] = "{\"impression\":\"i\",\"time\":1}";
    static const char behavior[] = BEHAVIOR(",\"item\":1");
    uint32_t words;
    assert_reason(*state, DECODE_KIND, click);
    assert_reason(*state, DECODE_KIND, "{\"kind\":\"view\",\"impression\":\"i\",\"time\":1}");
    assert_reason(*state, DECODE_KIND, "{\"kind\":\"\",\"impression\":\"i\",\"time\":1}");
    assert_reason(*state, DECODE_KIND, "{\"kind\":null,\"impression\":\"i\",\"time\":1}");
    assert_reason(*state, DECODE_TYPE, "{\"kind\":1,\"impression\":\"i\",\"time\":1}");
    assert_reason(*state, DECODE_OK,
                  "{\"k\\u0069nd\":\"cl\\u0069ck\",\"impression\":1,\"time\":1}");
    assert_int_equal(decode_bytes(*state, click, strlen(click), TOPIC_CLICKS, &words), DECODE_OK);
    assert_int_equal(decode_bytes(*state, click, strlen(click), TOPIC_MIXED, &words), DECODE_KIND);
    assert_int_equal(decode_bytes(*state, behavior, strlen(behavior), TOPIC_BEHAVIOR, &words),
                     DECODE_OK);
    assert_int_equal(decode_bytes(*state, behavior, strlen(behavior), TOPIC_CLICKS, &words),
                     DECODE_KIND);
}

static void test_missing(void **state)
{
    assert_reason(*state, DECODE_MISSING, "{\"kind\":\"impression\",\"user\":1,\"time\":1}");
    assert_reason(*state, DECODE_MISSING, "{\"kind\":\"impression\",\"id\":1,\"time\":1}");
    assert_reason(*state, DECODE_MISSING, "{\"kind\":\"impression\",\"id\":1,\"user\":1}");
    assert_reason(*state, DECODE_MISSING, "{\"kind\":\"click\",\"user\":1,\"time\":1}");
    assert_reason(*state, DECODE_KIND, "{}");
}

static void test_json(void **state)
{
    static const char *const bad[] = {"5",
                                      "\"x\"",
                                      "[]",
                                      "null",
                                      "{",
                                      "}",
                                      "{}{}",
                                      "{} x",
                                      "{\"kind\"}",
                                      "{\"kind\":}",
                                      "{\"kind\":\"click\",}",
                                      "{,}",
                                      "{\"a\":1 \"b\":2}",
                                      "{'a':1}",
                                      "{a:1}",
                                      "{\"a\":[1,]}",
                                      "{\"a\":[1 2]}",
                                      "{\"a\":[}",
                                      "{\"a\":{]}",
                                      "{\"a\":{\"b\":1}",
                                      "{\"a\":\"x}",
                                      "{\"a\":[1,2}",
                                      "{\"a\":1]",
                                      "{\"a\":tru}",
                                      "{\"a\":{\"b\":\"c\":1}}",
                                      "\xEF\xBB\xBF{}",
                                      "{\"kind\":\"click\",\"impression\":\"i\",\"time\":1",
                                      "{\"\\u12\":1}",
                                      "{\"a\":1}}",
                                      "{\"a\" 1}",
                                      "{\"a\"::1}",
                                      "{\"x\":[1:2]}",
                                      "{\"x\":[\"y\":2]}",
                                      "{\"x\":{1:2}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (decode(*state, bad[i]) != DECODE_JSON) {
            fail_msg("%s: %s", bad[i], decode_reason_name(decode(*state, bad[i])));
        }
    }
}

/* Every cut of a good message is refused, and never as anything else than bad JSON. */
static void test_truncated(void **state)
{
    static const char text[] = IMPRESSION(
        ",\"profile\":{\"age\":\"30\"},\"candidate\":{\"video\":\"a\\u00fcb\",\"tag\":[39,12]},"
        "\"other\":{\"deep\":[{\"er\":[null,true]}]}");
    uint32_t words;
    for (size_t len = 1; len < sizeof text - 1; len++) {
        assert_int_equal(decode_bytes(*state, text, len, SOURCE_TOPIC_ANY, &words), DECODE_JSON);
    }
    assert_reason(*state, DECODE_OK, text);
}

static void test_utf8(void **state)
{
    assert_reason(*state, DECODE_UTF8, CLICK(",\"x\":\"\xFF\""));
    assert_reason(*state, DECODE_UTF8, CLICK(",\"x\":\"\xC3\""));
    assert_reason(*state, DECODE_UTF8, CLICK(",\"x\":\"\xED\xA0\x80\""));
    assert_reason(*state, DECODE_UTF8, CLICK(",\"x\":\"\xC0\xAF\""));
    assert_reason(*state, DECODE_UTF8, "\xFE\xFE\xFE");
}

static void test_size(void **state)
{
    uint32_t words;
    static char text[MESSAGE_MAX + 64];
    assert_int_equal(decoder_decode(*state, NULL, 0, 0, record, &words), DECODE_TOMBSTONE);
    assert_int_equal(decode_bytes(*state, "", 0, 0, &words), DECODE_EMPTY);
    assert_int_equal(decode_bytes(*state, " \r\n\t", 4, 0, &words), DECODE_EMPTY);
    memset(text, ' ', sizeof text);
    memcpy(text, CLICK(""), strlen(CLICK("")));
    assert_int_equal(decode_bytes(*state, text, sizeof text, TOPIC_CLICKS, &words), DECODE_OK);
    text[MESSAGE_MAX] = '}';
    assert_int_equal(decode_bytes(*state, text, MESSAGE_MAX + 1, TOPIC_CLICKS, &words),
                     DECODE_TOO_LONG);
    assert_int_equal(decode_bytes(*state, text, MESSAGE_MAX, TOPIC_CLICKS, &words), DECODE_OK);
    assert_int_equal(decoder_stats(*state)->reasons[DECODE_TOO_LONG], 1);
    assert_int_equal(decoder_stats(*state)->reasons[DECODE_EMPTY], 2);
    assert_int_equal(decoder_stats(*state)->reasons[DECODE_TOMBSTONE], 1);
}

static void test_space_around(void **state)
{
    uint64_t tie = decode_ok(*state, CLICK(""))->tie;
    assert_int_equal(decode_ok(*state, CLICK("") "\r\n")->tie, tie);
    assert_int_equal(decode_ok(*state, "  " CLICK("") " \n \n")->tie, tie);
    assert_int_not_equal(decode_ok(*state, CLICK(" "))->tie, tie);
}

static void test_members_any_order_last_wins(void **state)
{
    const struct event *e = decode_ok(
        *state,
        "{\"context\":{\"hour\":3},\"time\":1.5,\"candidate\":7,\"user\":\"a\",\"id\":{},"
        "\"candidate\":{\"tag\":1,\"video\":[true],\"video\":\"v\",\"tag\":[2,3]},"
        "\"time\":9,\"id\":\"i\",\"kind\":\"click\",\"user\":\"b\",\"kind\":\"impression\"}");
    assert_int_equal(e->time_ms, 9);
    assert_int_equal(e->id, hash_id("i", 1));
    assert_int_equal(e->user, hash_id("b", 1));
    assert_field(e, FIELD_VIDEO, "v");
    assert_field(e, FIELD_TAG, "2 3");
    assert_field(e, FIELD_HOUR, "3");
    /* A group that comes twice is replaced, not merged. */
    e = decode_ok(*state, IMPRESSION(",\"candidate\":{\"video\":1},\"candidate\":{\"tag\":2}"));
    assert_field(e, FIELD_VIDEO, "");
    assert_field(e, FIELD_TAG, "2");
    e = decode_ok(*state, IMPRESSION(",\"candidate\":{\"video\":1},\"candidate\":null"));
    assert_field(e, FIELD_VIDEO, "");
}

static void test_unknown_members(void **state)
{
    const struct event *e = decode_ok(
        *state, "{\"x\":[[[{\"kind\":\"click\"}]],1.5e300,123456789012345678901234567890],"
                "\"kind\":\"impression\",\"\":{},\"id\":1,\"user\":2,\"time\":3,"
                "\"candidate\":{\"video\":4,\"age\":[{\"a\":{}}],\"time\":5,\"kind\":0},"
                "\"profile\":{\"uid\":{\"not\":\"read\"},\"video\":true}}");
    assert_field(e, FIELD_VIDEO, "4");
    assert_field(e, FIELD_UID, "2");
    assert_field(e, FIELD_AGE, "");
}

static void test_depth(void **state)
{
    char text[MESSAGE_MAX];
    for (int over = 0; over <= 1; over++) {
        size_t n = strlen(strcpy(text, "{\"impression\":1,\"time\":1,\"kind\":\"click\",\"x\":"));
        int depth = 128 - 1 + over; /* the object is the first container */
        memset(text + n, '[', (size_t)depth);
        text[n + (size_t)depth] = '1';
        memset(text + n + depth + 1, ']', (size_t)depth);
        strcpy(text + n + 2 * depth + 1, "}");
        assert_reason(*state, over ? DECODE_JSON : DECODE_OK, text);
    }
}

static void test_fields(void **state)
{
    const struct decode_stats *stats = decoder_stats(*state);
    const struct event *e =
        decode_ok(*state, IMPRESSION(",\"candidate\":{\"video\":[7],\"tag\":[1,\"1\",null,2,\"\",3,"
                                     "2,4,5,1]},\"profile\":{\"age\":\"\"},\"context\":null"));
    assert_field(e, FIELD_VIDEO, "7");
    assert_field(e, FIELD_TAG, "1 2 3");
    assert_field(e, FIELD_AGE, "");
    assert_int_equal(stats->values_dropped, 2);
    assert_int_equal(stats->values_repeated, 3); /* 1 twice and 2 once more */
    assert_int_equal(stats->missing[FIELD_AGE], 1);
    assert_int_equal(stats->missing[FIELD_HOUR], 1);
    assert_int_equal(stats->missing[FIELD_UID], 0);
    e = decode_ok(*state, IMPRESSION(",\"candidate\":{\"video\":[1,2],\"tag\":9}"));
    assert_field(e, FIELD_VIDEO, "1");
    assert_field(e, FIELD_TAG, "9");
    assert_int_equal(stats->values_dropped, 3);
    assert_reason(*state, DECODE_TYPE, IMPRESSION(",\"candidate\":[]"));
    assert_reason(*state, DECODE_TYPE, IMPRESSION(",\"profile\":\"x\""));
    assert_reason(*state, DECODE_TYPE, IMPRESSION(",\"candidate\":{\"tag\":[[1]]}"));
    assert_reason(*state, DECODE_TYPE, IMPRESSION(",\"candidate\":{\"tag\":[[]]}"));
    assert_reason(*state, DECODE_TYPE, IMPRESSION(",\"candidate\":{\"tag\":[1,2,3,4,5.5]}"));
    assert_reason(*state, DECODE_TYPE, IMPRESSION(",\"candidate\":{\"tag\":{}}"));
    assert_reason(*state, DECODE_NUMBER,
                  IMPRESSION(",\"candidate\":{\"tag\":[18446744073709551616]}"));
    assert_int_equal(stats->values_dropped, 3);
    assert_int_equal(stats->missing[FIELD_HOUR], 2);
}

static void test_join_by_user_item(void **state)
{
    (void)state;
    struct decoder *d = open_decoder(true);
    uint64_t id = decode_ok(d, "{\"kind\":\"impression\",\"user\":\"u\",\"time\":1,"
                               "\"candidate\":{\"video\":5}}")
                      ->id;
    assert_int_equal(
        decode_ok(d, "{\"kind\":\"click\",\"user\":\"u\",\"time\":1,\"item\":\"5\"}")->id, id);
    const struct event *e = decode_ok(
        d, "{\"kind\":\"click\",\"user\":\"u\",\"time\":1,\"item\":{\"video\":5,\"tag\":1}}");
    assert_int_equal(e->id, id);
    assert_int_equal(e->item, feature(FIELD_VIDEO, "5"));
    assert_int_equal(e->n_fields, 0);
    assert_int_not_equal(
        decode_ok(d, "{\"kind\":\"click\",\"user\":\"v\",\"time\":1,\"item\":5}")->id, id);
    assert_int_not_equal(
        decode_ok(d, "{\"kind\":\"click\",\"user\":\"u\",\"time\":1,\"item\":6}")->id, id);
    assert_reason(d, DECODE_MISSING, "{\"kind\":\"click\",\"user\":\"u\",\"time\":1}");
    assert_reason(d, DECODE_MISSING, "{\"kind\":\"click\",\"item\":5,\"time\":1}");
    assert_reason(d, DECODE_MISSING, "{\"kind\":\"click\",\"user\":\"u\",\"time\":1,\"item\":{}}");
    assert_reason(d, DECODE_TYPE, "{\"kind\":\"click\",\"user\":\"u\",\"time\":1,\"item\":true}");
    assert_reason(d, DECODE_MISSING,
                  "{\"kind\":\"impression\",\"id\":1,\"user\":\"u\",\"time\":1}");
    decoder_close(d);
}

static void test_open_refuses(void **state)
{
    (void)state;
    struct schema none = schema;
    struct decoder *d = NULL;
    struct undine_err err = {0};
    struct decode_options opt = {.message_bytes_max = 0};
    assert_int_equal(decoder_open(&d, &schema, &opt, &err), UNDINE_ECONFIG);
    none.n_fields = FIELD_VIDEO;
    opt = (struct decode_options){.message_bytes_max = 100, .join_by_user_item = true};
    assert_int_equal(decoder_open(&d, &none, &opt, &err), UNDINE_ECONFIG);
    assert_non_null(strstr(err.msg, "item"));
    assert_null(d);
    decoder_close(NULL);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_impression),
                                       T(test_click),
                                       T(test_behavior),
                                       T(test_behavior_ignored),
                                       T(test_forget),
                                       T(test_ids),
                                       T(test_bad_ids),
                                       T(test_length),
                                       T(test_time),
                                       T(test_bad_input_numbers_that_are_none),
                                       T(test_kind),
                                       T(test_missing),
                                       T(test_json),
                                       T(test_truncated),
                                       T(test_utf8),
                                       T(test_size),
                                       T(test_space_around),
                                       T(test_members_any_order_last_wins),
                                       T(test_unknown_members),
                                       T(test_depth),
                                       T(test_fields),
                                       T(test_join_by_user_item),
                                       T(test_open_refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
