#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "featurestore/event.h"
#include "tests/support/store_fixture.h"

#include <string.h>

static struct schema schema;
static uint64_t words[EVENT_WORDS_MAX], other[EVENT_WORDS_MAX];

static void parts_come_back(void **state)
{
    (void)state;
    const uint8_t counts[FIXTURE_FIELDS] = {1, 1, 3, 0};
    const uint64_t ids[] = {10, 20, 30, 31, 32};
    struct event head = {.time_ms = -5, .id = 1, .user = 2, .tie = 3, .item = 20};
    memset(words, 0xff, sizeof words);
    uint32_t n = event_build(words, &head, &schema, counts, ids, "alice@home", 10);
    const struct event *e = (const struct event *)words;
    assert_int_equal(n, 6 + 1 + 5 + 2);
    assert_int_equal(e->words, n);
    assert_int_equal(e->time_ms, -5);
    assert_int_equal(e->n_fields, FIXTURE_FIELDS);
    assert_int_equal(e->user_len, 10);
    assert_memory_equal(event_user(e), "alice@home", 10);
    assert_memory_equal(event_counts(e), counts, sizeof counts);
    assert_memory_equal(event_ids(e), ids, sizeof ids);
    uint32_t k;
    assert_ptr_equal(event_field(e, FIXTURE_TAGS, &k), event_ids(e) + 2);
    assert_int_equal(k, 3);
    assert_null(event_field(e, FIXTURE_HOUR, &k));
    assert_int_equal(k, 0);
    assert_null(event_field(e, FIXTURE_FIELDS, &k));
    assert_true(event_valid(words, n, &schema));
}

static void a_click_may_have_nothing(void **state)
{
    (void)state;
    struct event head = {.time_ms = 9, .kind = EVENT_CLICK, .id = 4};
    uint32_t n = event_build(words, &head, &schema, NULL, NULL, NULL, 0);
    const struct event *e = (const struct event *)words;
    assert_int_equal(n, 6);
    assert_int_equal(e->n_fields, 0);
    uint32_t k;
    assert_null(event_field(e, 0, &k));
    assert_true(event_valid(words, n, &schema));
    head.kind = EVENT_FORGET; /* names its user always */
    n = event_build(words, &head, &schema, NULL, NULL, NULL, 0);
    assert_false(event_valid(words, n, &schema));
}

static void the_largest_event_fits(void **state)
{
    (void)state;
    static struct schema wide;
    static uint64_t ids[SCHEMA_FIELDS_MAX * SCHEMA_VALUES_MAX];
    uint8_t counts[SCHEMA_FIELDS_MAX];
    char user[255];
    wide.n_fields = SCHEMA_FIELDS_MAX;
    for (uint32_t f = 0; f < wide.n_fields; f++) {
        wide.fields[f].values_max = SCHEMA_VALUES_MAX;
    }
    memset(counts, SCHEMA_VALUES_MAX, sizeof counts);
    memset(user, 'u', sizeof user);
    struct event head = {.kind = EVENT_IMPRESSION};
    uint32_t n = event_build(words, &head, &wide, counts, ids, user, sizeof user);
    assert_int_equal(n, EVENT_WORDS_MAX);
    assert_true(event_valid(words, n, &wide));
}

static void order_is_time_kind_id_tie_content(void **state)
{
    (void)state;
    const uint8_t counts[FIXTURE_FIELDS] = {0, 1, 0, 0};
    const uint64_t id = 7;
    struct event low = {.time_ms = -1, .kind = EVENT_CLICK, .id = 5, .tie = 5};
    struct event heads[] = {low, low, low, low};
    heads[0].time_ms = 0;
    heads[1].kind = EVENT_BEHAVIOR;
    heads[2].id = 6;
    heads[3].tie = 6;
    (void)event_build(words, &low, &schema, NULL, NULL, "u", 1);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        (void)event_build(other, &heads[i], &schema, NULL, NULL, "u", 1);
        assert_true(event_compare((struct event *)words, (struct event *)other) < 0);
        assert_true(event_compare((struct event *)other, (struct event *)words) > 0);
    }
    (void)event_build(other, &low, &schema, NULL, NULL, "u", 1);
    assert_int_equal(event_compare((struct event *)words, (struct event *)other), 0);
    (void)event_build(other, &low, &schema, NULL, NULL, "v", 1);
    assert_true(event_compare((struct event *)words, (struct event *)other) != 0);
    (void)event_build(other, &low, &schema, counts, &id, "u", 1);
    assert_true(event_compare((struct event *)words, (struct event *)other) < 0);
}

/* Any one byte of sizes, counts or padding that is wrong makes the record invalid or leaves it
 * whole. */
static void damage_never_reads_past_the_end(void **state)
{
    (void)state;
    struct random r = {.state = FIXTURE_SEED};
    for (int round = 0; round < 200; round++) {
        enum event_kind kind = (enum event_kind)random_below(&r, EVENT_KINDS);
        const struct event *e = fixture_event(words, &schema, &r, kind, 1000, "somebody");
        uint32_t n = e->words;
        assert_true(event_valid(words, n, &schema));
        for (uint32_t less = 0; less < n; less++) {
            assert_false(event_valid(words, less, &schema));
        }
        memcpy(other, words, n * sizeof words[0]);
        ((uint8_t *)other)[random_below(&r, n * 8)] ^= (uint8_t)(1 + random_below(&r, 255));
        if (event_valid(other, n, &schema)) {
            const struct event *d = (const struct event *)other;
            assert_true(d->words <= n);
            assert_true((const uint64_t *)event_user(d) <= other + n);
            uint32_t k;
            const uint64_t *ids = event_field(d, FIXTURE_HOUR, &k);
            assert_true(ids == NULL || ids + k <= other + n);
        }
    }
}

static void counts_are_bounded_by_the_schema(void **state)
{
    (void)state;
    const uint64_t ids[] = {1, 2};
    const uint8_t counts[FIXTURE_FIELDS] = {0, 2, 0, 0}; /* item holds one */
    struct event head = {.kind = EVENT_IMPRESSION};
    uint32_t n = event_build(words, &head, &schema, counts, ids, "u", 1);
    assert_false(event_valid(words, n, &schema));
}

static int setup(void **state)
{
    (void)state;
    fixture_schema(&schema, 10);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_back),
        cmocka_unit_test(a_click_may_have_nothing),
        cmocka_unit_test(the_largest_event_fits),
        cmocka_unit_test(order_is_time_kind_id_tie_content),
        cmocka_unit_test(damage_never_reads_past_the_end),
        cmocka_unit_test(counts_are_bounded_by_the_schema),
    };
    print_message("seed %d\n", FIXTURE_SEED);
    return cmocka_run_group_tests(tests, setup, NULL);
}
