#include "base/random.h"
#include "tests/support/decode_twin.h"
#include "tests/support/event_schema.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* Random messages: mostly events, with any member missing, twice, of a wrong type or unknown, and
 * in any order.  Property: the decoder and its twin agree on the reason and on every id. */

enum { SEED = 20240611, ROUNDS = 60000, TEXT_MAX = 1 << 16 };

struct maker {
    struct random random;
    char text[TEXT_MAX];
    size_t len;
};

static void put(struct maker *m, const char *s)
{
    size_t n = strlen(s);
    assert_true(m->len + n < TEXT_MAX);
    memcpy(m->text + m->len, s, n);
    m->len += n;
}

static bool one_in(struct maker *m, uint64_t n)
{
    return random_below(&m->random, n) == 0;
}

#define PICK(m, list) ((list)[random_below(&(m)->random, sizeof(list) / sizeof *(list))])

static void put_space(struct maker *m)
{
    static const char *const spaces[] = {" ", "\t", "\r\n", "  "};
    if (one_in(m, 12)) {
        put(m, PICK(m, spaces));
    }
}

static void put_odd(struct maker *m)
{
    static const char *const odd[] = {"null",
                                      "true",
                                      "false",
                                      "{}",
                                      "[]",
                                      "[[]]",
                                      "[{\"a\":1}]",
                                      "{\"video\":{}}",
                                      "1.5",
                                      "-2e9",
                                      "\"\"",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "9223372036854775808",
                                      "01",
                                      "nul",
                                      "\"\\u00e9\"",
                                      "\"\\ud83d\\ude00\"",
                                      "\"\\ud800\"",
                                      "\"\\q\"",
                                      "\"\xC3\xA9\"",
                                      "\"\xFF\"",
                                      "-0",
                                      "0.0",
                                      "\"a\\u0000b\"",
                                      "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
                                      "",
                                      "1 1",
                                      "\"x\":1"};
    put(m, PICK(m, odd));
}

static void put_id(struct maker *m)
{
    char text[400];
    unsigned n = (unsigned)random_below(&m->random, 12);
    switch (random_below(&m->random, 24)) {
    case 0:
        put_odd(m);
        return;
    case 1:
        memset(text, 'x', sizeof text);
        text[0] = '"';
        snprintf(text + 250 + n, 4, "\"");
        break;
    default:
        snprintf(text, sizeof text, one_in(m, 2) ? "%u" : "\"%u\"", n);
        break;
    }
    put(m, text);
}

static void put_ids(struct maker *m)
{
    if (one_in(m, 3)) {
        put_id(m);
        return;
    }
    put(m, "[");
    for (uint64_t i = 0, n = random_below(&m->random, 7); i < n; i++) {
        put(m, i > 0 ? "," : "");
        put_space(m);
        put_id(m);
    }
    put(m, "]");
}

static void put_group(struct maker *m)
{
    static const char *const names[] = {"video", "tag",       "age",   "hour",
                                        "uid",   "t\\u0061g", "other", ""};
    if (one_in(m, 25)) {
        put_odd(m);
        return;
    }
    put(m, "{");
    for (uint64_t i = 0, n = random_below(&m->random, 6); i < n; i++) {
        put(m, i > 0 ? "," : "");
        put(m, "\"");
        put(m, PICK(m, names));
        put(m, "\":");
        put_ids(m);
    }
    put(m, "}");
}

static void put_time(struct maker *m)
{
    static const char *const times[] = {
        "0", "1650812741436", "253402300799999", "253402300800000", "-1", "1.0", "\"5\""};
    put(m, PICK(m, times));
}

static void put_member(struct maker *m, const char *name)
{
    static const char *const kinds[] = {"\"impression\"", "\"click\"", "\"behavior\"",
                                        "\"forget\""};
    static const char *const types[] = {"\"cart\"", "\"long_view\"", "\"like\"", "\"c\\u0061rt\""};
    put(m, "\"");
    put(m, name);
    put(m, "\"");
    put_space(m);
    put(m, ":");
    put_space(m);
    if (one_in(m, 60)) {
        put_odd(m);
    } else if (strcmp(name, "kind") == 0) {
        put(m, PICK(m, kinds));
    } else if (strcmp(name, "type") == 0) {
        put(m, PICK(m, types));
    } else if (strcmp(name, "time") == 0) {
        if (one_in(m, 10)) {
            put_time(m);
        } else {
            put(m, "1650812741436");
        }
    } else if (strcmp(name, "item") == 0) {
        if (one_in(m, 2)) {
            put_id(m);
        } else {
            put_group(m);
        }
    } else if (strlen(name) >= 7) { /* profile, candidate, context */
        put_group(m);
    } else {
        put_id(m);
    }
    put_space(m);
}

static void make_message(struct maker *m)
{
    static const char *const names[] = {
        "kind", "id",      "user",      "time",    "impress\\u0069on", "type",
        "item", "profile", "candidate", "context", "unknown"};
    enum { N = sizeof names / sizeof *names };
    unsigned order[N + 3];
    size_t n = 0;
    for (unsigned i = 0; i < N; i++) {
        if (!one_in(m, 12)) {
            order[n++] = i;
        }
    }
    for (int i = 0; i < 3 && one_in(m, 3); i++) {
        order[n++] = (unsigned)random_below(&m->random, N);
    }
    for (size_t i = n; i > 1; i--) {
        size_t k = random_below(&m->random, i);
        unsigned t = order[i - 1];
        order[i - 1] = order[k];
        order[k] = t;
    }
    m->len = 0;
    put(m, "{");
    for (size_t i = 0; i < n; i++) {
        put(m, i > 0 ? "," : "");
        put_space(m);
        put_member(m, order[i] == 4 && one_in(m, 2) ? "impression" : names[order[i]]);
    }
    put(m, "}");
    put_space(m);
}

static void test_twin(void **state)
{
    (void)state;
    static struct maker m = {.random = {SEED}};
    struct schema schema;
    assert_int_equal(event_schema(&schema), 0);
    printf("seed %d\n", SEED);
    for (int by_user_item = 0; by_user_item <= 1; by_user_item++) {
        struct decode_options opt = {.message_bytes_max = TEXT_MAX,
                                     .join_by_user_item = by_user_item};
        struct decoder *d = NULL;
        assert_int_equal(decoder_open(&d, &schema, &opt, NULL), 0);
        for (int i = 0; i < ROUNDS / 2; i++) {
            make_message(&m);
            const char *differs =
                decode_twin_differs(d, &schema, by_user_item, (uint8_t *)m.text, m.len);
            if (differs != NULL) {
                fail_msg("message %d: %s differs: %.*s", i, differs, (int)m.len, m.text);
            }
        }
        /* The messages reach every reason that a message's content can have. */
        const struct decode_stats *stats = decoder_stats(d);
        for (int r = 0; r < DECODE_REASON_COUNT; r++) {
            bool outside = r == DECODE_EMPTY || r == DECODE_TOMBSTONE || r == DECODE_TOO_LONG ||
                           r == DECODE_FUTURE;
            printf("%s %llu\n", decode_reason_name((enum decode_reason)r),
                   (unsigned long long)stats->reasons[r]);
            assert_true(outside || stats->reasons[r] > 0);
        }
        assert_true(stats->reasons[DECODE_OK] > ROUNDS / 20);
        assert_true(stats->values_dropped > 0 && stats->behaviors_ignored > 0);
        decoder_close(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_twin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
